/**
 * Segmented addresses: what bodies of instructions have outside 64-bit mode where they have linear addresses inside it.
 *
 * A segmented address is an i64 that is no canonical address: bit 62 set, bit 63 clear, the segment in bits 40 to 42, the
 * offset in bits 0 to 31, and a bias (bit 36) so that adding to an address, or subtracting, never reaches the segment.
 * Bodies add displacements to it as to a linear one. The engine's TLB never holds such an address, so the inlined
 * fast path misses; the way behind it resolves the address by `segmentLinear` and looks again. In 64-bit mode there are
 * no segmented addresses, and an address with these bits is simply not canonical.
 *
 * The checks (SDM volume 3, 5.3 to 5.5): limit, expand-down, present, readable, writable. #SS(0) for SS, #GP(0) for others.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { SEGMENT_BYTES, Segment, SegmentField, State, Vector } from '../state-layout.ts'
import { bit } from './bit-field.ts'
import { in64BitMode, usesDescriptors } from './mode.ts'

const { i32, i64 } = Type
const SEGMENT_SHIFT = 40
/** What a segmented address of ES:0 is. */
export const SEGMENTED: bigint = (1n << 62n) | (1n << 36n)

/** Segmented address of offset 0. @param segment - i32 */
export function segmentedBase(b: Builder, segment: Value): Value {
  return b.i64.or(b.i64.shl(b.i64.extendI32U(segment), b.const64(SEGMENT_SHIFT)), b.const64(SEGMENTED))
}
/** As `segmentedBase` for a segment that is known. */
export function segmentedConstant(b: Builder, segment: number): Value {
  return b.const64(SEGMENTED | (BigInt(segment) << BigInt(SEGMENT_SHIFT)))
}

/** i32: whether an address has the form of a segmented one. The mode has to be known to be legacy. */
export function isSegmented(b: Builder, address: Value): Value {
  return b.i64.eq(b.i64.shrU(address, b.const64(62)), b.const64(1))
}

const segmentAt = (b: Builder, address: Value): Value =>
  b.i32.mul(
    b.i32.and(b.i32.wrapI64(b.i64.shrU(address, b.const64(SEGMENT_SHIFT))), b.const32(7)),
    b.const32(SEGMENT_BYTES),
  )
const offsetOf = (b: Builder, address: Value): Value => b.i64.and(address, b.const64(0xffff_ffff))

/** Linear address of a segmented one, without checks. (address) -> i64 */
export const segmentLinearUnchecked: Procedure = procedure(
  'segmentLinearUnchecked',
  { parameters: [i64], result: i64 },
  (b, address) => {
    const base = b.stateLoad(Access.u64, State.segments + SegmentField.base, segmentAt(b, address!))
    b.return(b.i64.and(b.i64.add(base, offsetOf(b, address!)), b.const64(0xffff_ffff)))
  },
)

/** Linear address of a segmented one, after the checks of an access. (address, bytes, 1: writes) -> i64 */
export const segmentLinear: Procedure = procedure(
  'segmentLinear',
  { parameters: [i64, i32, i32], result: i64, mayFault: true },
  (b, address, bytes, write) => {
    const at = segmentAt(b, address!)
    const fault = (): void =>
      b.if(
        b.i32.eq(at, b.const32(Segment.ss * SEGMENT_BYTES)),
        () => b.raise(Vector.ss, b.const32(0)),
        () => b.raise(Vector.gp, b.const32(0)),
      )
    const attributes = b.stateLoad(Access.u16, State.segments + SegmentField.attributes, at)
    const limit = b.stateLoad(Access.u32, State.segments + SegmentField.limit, at)
    const offset = offsetOf(b, address!)
    const last = b.i64.add(offset, b.i64.extendI32U(b.i32.sub(bytes!, b.const32(1))))
    const code = bit(b, attributes, 3)
    // Below the limit; the last byte of a segment of 4 GiB is followed by its first.
    const outside = b.i32.and(b.i64.gtU(last, limit), b.i64.ne(limit, b.const64(0xffff_ffff)))
    b.if(
      usesDescriptors(b),
      () => {
        // Data: readable always, writable if bit 1. Code: never writable, readable if bit 1.
        const second = bit(b, attributes, 1)
        const allowed = b.select(
          write!,
          b.i32.and(second, b.i32.eqz(code)),
          b.i32.or(second, b.i32.eqz(code)),
        )
        b.if(b.i32.eqz(b.i32.and(allowed, bit(b, attributes, 7))), fault)
        b.if(
          b.i32.and(bit(b, attributes, 2), b.i32.eqz(code)),
          () => {
            const top = b.select(bit(b, attributes, 14), b.const64(0xffff_ffff), b.const64(0xffff))
            b.if(b.i32.or(b.i64.leU(offset, limit), b.i64.gtU(last, top)), fault)
          },
          () => b.if(outside, fault),
        )
      },
      () => b.if(outside, fault),
    )
    const base = b.stateLoad(Access.u64, State.segments + SegmentField.base, at)
    b.return(b.i64.and(b.i64.add(base, offset), b.const64(0xffff_ffff)))
  },
)

/** i32: whether a whole page around a segmented address may be accessed, and offsets and linear addresses have the same low bits. (address, 1: writes) */
export const segmentCoversPage: Procedure = procedure(
  'segmentCoversPage',
  { parameters: [i64, i32], result: i32 },
  (b, address, write) => {
    const at = segmentAt(b, address!)
    const attributes = b.stateLoad(Access.u16, State.segments + SegmentField.attributes, at)
    const limit = b.stateLoad(Access.u32, State.segments + SegmentField.limit, at)
    const base = b.stateLoad(Access.u64, State.segments + SegmentField.base, at)
    const code = bit(b, attributes, 3)
    const second = bit(b, attributes, 1)
    const expandDown = b.i32.and(bit(b, attributes, 2), b.i32.eqz(code))
    const allowed = b.select(write!, b.i32.and(second, b.i32.eqz(code)), b.i32.or(second, b.i32.eqz(code)))
    const typed = b.i32.or(
      b.i32.eqz(usesDescriptors(b)),
      b.i32.and(b.i32.and(allowed, bit(b, attributes, 7)), b.i32.eqz(expandDown)),
    )
    const inside = b.i64.leU(b.i64.or(offsetOf(b, address!), b.const64(0xfff)), limit)
    const aligned = b.i64.eqz(b.i64.and(base, b.const64(0xfff)))
    b.return(b.i32.and(b.i32.and(typed, inside), aligned))
  },
)

/** Linear address of an operand that is only named, not accessed (INVLPG), or whose alignment counts. */
export function linearOf(b: Builder, address: Value): Value {
  return b.mode === 'legacy' ? b.call(segmentLinearUnchecked, address) : address
}

/** An address in a segment at run time: linear in 64-bit mode, segmented elsewhere. (segment i32, offset) -> i64 */
export const addressIn: Procedure = procedure(
  'addressIn',
  { parameters: [i32, i64], result: i64 },
  (b, segment, offset) => {
    b.if(in64BitMode(b), () => b.return(offset!))
    b.return(b.i64.add(segmentedBase(b, segment!), offsetOf(b, offset!)))
  },
)
