/**
 * What far transfers of every kind share: checks of the target, and loading CS, SS and the privilege level once nothing
 * can fault any more.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { SEGMENT_BYTES, Segment, SegmentField, State, segmentOffset, Vector } from '../state-layout.ts'
import { bit, bitField32, notCanonical } from './bit-field.ts'
import {
  currentPrivilege,
  DescriptorBit,
  descriptorLimit,
  isNull,
  storeNullSegment,
  storeRealSegment,
  storeSegment,
} from './descriptor.ts'
import { modeChanged } from './engine.ts'
import { attributesOf, inLongMode } from './mode.ts'
import { setStackPointer } from './stack.ts'

const { i32, i64 } = Type

/** i32: whether a code descriptor means 64-bit code. The bit is reserved outside IA-32e mode. */
export function isLong(b: Builder, descriptor: Value): Value {
  return b.i32.and(inLongMode(b), bit(b, descriptor, DescriptorBit.long))
}

/** i32: neither L and D both set in IA-32e mode. */
export function sizeIsLegal(b: Builder, descriptor: Value): Value {
  const both = b.i32.eq(bitField32(b, descriptor, DescriptorBit.long, 2), b.const32(3))
  return b.i32.eqz(b.i32.and(inLongMode(b), both))
}

/** #GP(0) unless RIP is canonical, or within the limit of a segment that is not 64-bit code. */
export function requireTarget(b: Builder, descriptor: Value, rip: Value): void {
  const outside = b.i64.gtU(rip, descriptorLimit(b, descriptor))
  b.if(b.select(isLong(b, descriptor), notCanonical(b, rip), outside), () => b.raise(Vector.gp, b.const32(0)))
}

/** #GP(0) unless an offset is within the limit that CS has now: far transfers of real and virtual-8086 mode. */
export function requireRealTarget(b: Builder, offset: Value): void {
  const limit = b.stateLoad(Access.u32, segmentOffset(Segment.cs, SegmentField.limit))
  b.if(b.i64.gtU(offset, limit), () => b.raise(Vector.gp, b.const32(0)))
}

/** CS and IP of real and virtual-8086 mode. (selector, offset) */
export const enterRealCode: Procedure = procedure(
  'enterRealCode',
  { parameters: [i32, i64] },
  (b, selector, offset) => {
    b.call(storeRealSegment, b.const32(Segment.cs), selector!)
    b.stateStore(Access.u64, State.rip, offset!)
    b.call(modeChanged)
    b.return()
  },
)

/** Data segments that the outer privilege may not use become null. (new privilege) */
const dropInnerSegments: Procedure = procedure('dropInnerSegments', { parameters: [i32] }, (b, privilege) => {
  for (const segment of [Segment.es, Segment.ds, Segment.fs, Segment.gs]) {
    const at = State.segments + segment * SEGMENT_BYTES
    const attributes = b.stateLoad(Access.u16, at + SegmentField.attributes)
    const conforming = b.i32.eq(bitField32(b, attributes, 2, 2), b.const32(3))
    const inner = b.i32.ltU(bitField32(b, attributes, 5, 2), privilege!)
    const drops = b.i32.and(b.i32.and(inner, bit(b, attributes, 7)), b.i32.eqz(conforming))
    b.if(drops, () => {
      b.stateStore(Access.u16, at + SegmentField.selector, b.const64(0))
      b.stateStore(Access.u16, at + SegmentField.attributes, b.const64(0))
    })
  }
  b.return()
})

/** Loads CS, CPL (the selector's RPL) and RIP; going outward drops data segments. (selector, descriptor, rip) */
export const enterCode: Procedure = procedure(
  'enterCode',
  { parameters: [i32, i64, i64] },
  (b, selector, descriptor, rip) => {
    const privilege = b.i32.and(selector!, b.const32(3))
    const before = currentPrivilege(b)
    const attributesBefore = attributesOf(b, Segment.cs)
    b.call(storeSegment, b.const32(Segment.cs), selector!, descriptor!)
    b.stateStore(Access.i32, State.cpl, privilege)
    b.stateStore(Access.u64, State.rip, rip!)
    b.if(b.i32.gtU(privilege, before), () => b.call(dropInnerSegments, privilege))
    // 64-bit code of the same privilege: whatever engines choose by this stays.
    const stays = b.i32.and(
      b.i32.eq(before, privilege),
      b.i32.and(isLong(b, descriptor!), bit(b, attributesBefore, 13)),
    )
    b.if(b.i32.eqz(stays), () => b.call(modeChanged))
    b.return()
  },
)

/** Loads SS and the stack pointer; a null selector leaves no segment. */
export function enterStack(
  b: Builder,
  selector: Value,
  descriptor: Value,
  pointer: Value,
  long: Value,
): void {
  b.if(
    isNull(b, selector),
    () => b.call(storeNullSegment, b.const32(Segment.ss), selector, b.i32.and(selector, b.const32(3))),
    () => b.call(storeSegment, b.const32(Segment.ss), selector, descriptor),
  )
  b.if(
    long,
    () => b.stateStore(Access.u64, State.gpr + 4 * 8, pointer),
    () => b.call(setStackPointer, pointer),
  )
}
