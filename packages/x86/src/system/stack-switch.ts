/**
 * The stacks of inner privilege levels, as the task-state segment tells them (SDM volume 3, 5.8.5, 6.12.1, 8.2), for
 * interrupts and call gates; and the frame that is pushed on such a stack before SS is loaded.
 *
 * `findInnerStack` leaves what it found in `State.switchSelector`, `switchDescriptor` and `switchPointer`.
 */
import { type Builder, Privilege, type Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { Segment, SegmentField, State, segmentOffset, Vector } from '../state-layout.ts'
import { bit, bitField32, notCanonical } from './bit-field.ts'
import {
  baseOf,
  DescriptorBit,
  descriptorAddress,
  descriptorBase,
  descriptorLimit,
  descriptorPrivilege,
  isNull,
  isWritableData,
  markAccessed,
  selectorIndex,
  selectorOf,
} from './descriptor.ts'
import { attributesOf, inLongMode } from './mode.ts'

const { i32, i64 } = Type

/** Reads the TSS at `offset` (i32); #TS(TR) when `lastByte` (i32) is beyond its limit. */
function readTask(b: Builder, access: Access, offset: Value, bytes: number, external: Value): Value {
  const limit = b.stateLoad(Access.i32, segmentOffset(Segment.tr, SegmentField.limit))
  b.if(b.i32.gtU(b.i32.add(offset, b.const32(bytes - 1)), limit), () =>
    b.raise(Vector.ts, b.i32.or(selectorIndex(b, selectorOf(b, Segment.tr)), external)),
  )
  return b.guestLoad(access, b.i64.add(baseOf(b, Segment.tr), b.i64.extendI32U(offset)), Privilege.supervisor)
}

/** The stack of `privilege`, outside IA-32e mode, checked. (privilege, 1: EXT in error codes) */
const findLegacyStack: Procedure = procedure(
  'findLegacyStack',
  { parameters: [i32, i32], mayFault: true },
  (b, privilege, external) => {
    const selector = b.local(i32)
    const pointer = b.local(i64)
    b.if(
      bit(b, attributesOf(b, Segment.tr), 3),
      () => {
        const offset = b.i32.add(b.i32.shl(privilege!, b.const32(3)), b.const32(4))
        const segment = readTask(b, Access.u16, b.i32.add(offset, b.const32(4)), 2, external!)
        b.set(pointer, readTask(b, Access.u32, offset, 4, external!))
        b.set(selector, b.i32.wrapI64(segment))
      },
      () => {
        const offset = b.i32.add(b.i32.shl(privilege!, b.const32(2)), b.const32(2))
        const segment = readTask(b, Access.u16, b.i32.add(offset, b.const32(2)), 2, external!)
        b.set(pointer, readTask(b, Access.u16, offset, 2, external!))
        b.set(selector, b.i32.wrapI64(segment))
      },
    )
    const chosen = b.get(selector)
    const error = b.i32.or(selectorIndex(b, chosen), external!)
    const ts = (): void => b.raise(Vector.ts, error)
    b.if(isNull(b, chosen), () => b.raise(Vector.ts, external!))
    const address = b.call(descriptorAddress, chosen)
    b.if(b.i64.eq(address, b.const64(-1)), ts)
    const descriptor = b.guestLoad(Access.u64, address, Privilege.supervisor)
    const levels = b.i32.and(
      b.i32.eq(b.i32.and(chosen, b.const32(3)), privilege!),
      b.i32.eq(descriptorPrivilege(b, descriptor), privilege!),
    )
    b.if(b.i32.eqz(b.i32.and(levels, isWritableData(b, descriptor))), ts)
    b.if(b.i32.eqz(bit(b, descriptor, DescriptorBit.present)), () => b.raise(Vector.ss, error))
    markAccessed(b, chosen, descriptor)
    b.stateStore(Access.i32, State.switchSelector, chosen)
    b.stateStore(Access.u64, State.switchDescriptor, descriptor)
    b.stateStore(Access.u64, State.switchPointer, b.get(pointer))
    b.return()
  },
)

/**
 * The stack that an event or call gate to `privilege` gets. (privilege; interrupt stack 1 to 7, or 0; 1: EXT). In
 * IA-32e mode SS becomes null (descriptor 0), and the pointer is canonical.
 */
export const findInnerStack: Procedure = procedure(
  'findInnerStack',
  { parameters: [i32, i32, i32], mayFault: true },
  (b, privilege, interruptStack, external) => {
    b.if(b.i32.eqz(inLongMode(b)), () => {
      b.call(findLegacyStack, privilege!, external!)
      b.return()
    })
    const offset = b.select(
      interruptStack!,
      b.i32.add(b.i32.shl(interruptStack!, b.const32(3)), b.const32(28)),
      b.i32.add(b.i32.shl(privilege!, b.const32(3)), b.const32(4)),
    )
    const pointer = readTask(b, Access.u64, offset, 8, external!)
    b.if(notCanonical(b, pointer), () => b.raise(Vector.ss, external!))
    b.stateStore(Access.i32, State.switchSelector, privilege!)
    b.stateStore(Access.u64, State.switchDescriptor, b.const64(0))
    b.stateStore(Access.u64, State.switchPointer, pointer)
    b.return()
  },
)

/**
 * Whether a frame fits the stack that `findLegacyStack` found: #SS(selector) if not. (bytes of the frame, 1: EXT)
 */
export const requireFrame: Procedure = procedure(
  'requireFrame',
  { parameters: [i32, i32], mayFault: true },
  (b, bytes, external) => {
    const descriptor = b.stateLoad(Access.u64, State.switchDescriptor)
    const mask = switchMask(b)
    const pointer = b.i64.and(b.stateLoad(Access.u64, State.switchPointer), mask)
    const size = b.i64.extendI32U(bytes!)
    const low = b.i64.and(b.i64.sub(pointer, size), mask)
    const high = b.i64.and(b.i64.sub(pointer, b.const64(1)), mask)
    const limit = descriptorLimit(b, descriptor)
    const expandDown = b.i32.eq(bitField32(b, descriptor, DescriptorBit.conforming, 2), b.const32(1))
    const wraps = b.i64.gtU(low, high)
    const outside = b.select(
      expandDown,
      b.i32.or(b.i64.leU(low, limit), b.i64.gtU(high, mask)),
      b.i64.gtU(high, limit),
    )
    b.if(b.i32.or(outside, wraps), () =>
      b.raise(
        Vector.ss,
        b.i32.or(selectorIndex(b, b.stateLoad(Access.i32, State.switchSelector)), external!),
      ),
    )
    b.return()
  },
)

/** Address size of the stack that was found. */
export function switchMask(b: Builder): Value {
  const descriptor = b.stateLoad(Access.u64, State.switchDescriptor)
  return b.select(bit(b, descriptor, DescriptorBit.big), b.const64(0xffff_ffff), b.const64(0xffff))
}

/** Stores to the stack that was found, before SS is loaded; `requireFrame` has been called. (pointer, bytes: 2 or 4, value) */
export const storeSwitched: Procedure = procedure(
  'storeSwitched',
  { parameters: [i64, i32, i64], mayFault: true },
  (b, pointer, bytes, value) => {
    const base = descriptorBase(b, b.stateLoad(Access.u64, State.switchDescriptor))
    const linear = b.i64.and(b.i64.add(base, b.i64.and(pointer!, switchMask(b))), b.const64(0xffff_ffff))
    b.if(
      b.i32.eq(bytes!, b.const32(4)),
      () => b.guestStore(Access.u32, linear, value!, Privilege.supervisor),
      () => b.guestStore(Access.u16, linear, value!, Privilege.supervisor),
    )
    b.return()
  },
)
