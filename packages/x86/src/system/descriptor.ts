/**
 * Segment descriptors: finding them in the GDT and LDT, reading, marking accessed, and loading segment registers
 * (SDM volume 3, 3.4 and 5.x). Tables are read with supervisor rights whatever the CPL.
 *
 * A segment register that holds a null selector keeps P = 0 in its attributes; that is how it is told from a usable one.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Privilege } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { SEGMENT_BYTES, Segment, SegmentField, State, segmentOffset, Vector } from '../state-layout.ts'
import { bit, bitField, bitField32 } from './bit-field.ts'
import { in64BitMode, inVirtual8086, usesDescriptors } from './mode.ts'

const { i32, i64 } = Type

/** Bit numbers in a descriptor, taken as one i64. */
export const DescriptorBit = {
  accessed: 40,
  /** Data: writable. Code: readable. */
  writable: 41,
  conforming: 42,
  code: 43,
  /** Code or data, not system. */
  segment: 44,
  dpl: 45,
  present: 47,
  long: 53,
  big: 54,
  granularity: 55,
} as const

/** Attributes as `State.segments` keeps them: what SYSCALL and SYSRET load without looking at the GDT. */
export const FixedAttributes = {
  kernelCode64: 0xa09b,
  kernelCode32: 0xc09b,
  kernelData: 0xc093,
  userCode64: 0xa0fb,
  userCode32: 0xc0fb,
  userData: 0xc0f3,
} as const

/** The current privilege level, i32. */
export function currentPrivilege(b: Builder): Value {
  return b.stateLoad(Access.i32, State.cpl)
}

/** #GP(0) unless CPL = 0. */
export function requireSupervisor(b: Builder): void {
  b.if(currentPrivilege(b), () => b.raise(Vector.gp, b.const32(0)))
}

/** Selector without its RPL, i32: what error codes carry. */
export function selectorIndex(b: Builder, selector: Value): Value {
  return b.i32.and(selector, b.const32(0xfffc))
}

/** i32: whether a selector (i32) is null. */
export function isNull(b: Builder, selector: Value): Value {
  return b.i32.eqz(selectorIndex(b, selector))
}

export function descriptorPrivilege(b: Builder, descriptor: Value): Value {
  return bitField32(b, descriptor, DescriptorBit.dpl, 2)
}

/** i32: whether a descriptor is of a code segment. */
export function isCode(b: Builder, descriptor: Value): Value {
  const type = bitField32(b, descriptor, DescriptorBit.code, 2)
  return b.i32.eq(type, b.const32(3))
}

/** i32: whether a descriptor is of a writable data segment. */
export function isWritableData(b: Builder, descriptor: Value): Value {
  const type = b.i64.and(bitField(b, descriptor, DescriptorBit.accessed, 5), b.const64(0b11010))
  return b.i64.eq(type, b.const64(0b10010))
}

/** 32-bit base of a descriptor, i64. */
export function descriptorBase(b: Builder, descriptor: Value): Value {
  return b.i64.or(bitField(b, descriptor, 16, 24), b.i64.shl(bitField(b, descriptor, 56, 8), b.const64(24)))
}

/** Byte-granular limit of a descriptor, i64 below 2^32. */
export function descriptorLimit(b: Builder, descriptor: Value): Value {
  const raw = b.i64.or(
    bitField(b, descriptor, 0, 16),
    b.i64.shl(bitField(b, descriptor, 48, 4), b.const64(16)),
  )
  const scaled = b.i64.or(b.i64.shl(raw, b.const64(12)), b.const64(0xfff))
  return b.select(bit(b, descriptor, DescriptorBit.granularity), scaled, raw)
}

/** Selector of a segment register, i32. */
export function selectorOf(b: Builder, segment: number): Value {
  return b.i32.wrapI64(b.stateLoad(Access.u16, segmentOffset(segment, SegmentField.selector)))
}

/** Base of a segment register, i64. */
export function baseOf(b: Builder, segment: number): Value {
  return b.stateLoad(Access.u64, segmentOffset(segment, SegmentField.base))
}

/** Sets a segment register to values that are known. */
export function storeFixedSegment(b: Builder, segment: number, selector: Value, attributes: number): void {
  b.stateStore(Access.u64, segmentOffset(segment, SegmentField.base), b.const64(0))
  b.stateStore(Access.i32, segmentOffset(segment, SegmentField.limit), b.const32(-1))
  b.stateStore(
    Access.u16,
    segmentOffset(segment, SegmentField.selector),
    b.i64.extendI32U(b.i32.and(selector, b.const32(0xffff))),
  )
  b.stateStore(Access.u16, segmentOffset(segment, SegmentField.attributes), b.const64(attributes))
}

/** Linear address of a selector's descriptor, or -1 beyond the table's limit. (selector i32) -> i64 */
export const descriptorAddress: Procedure = procedure(
  'descriptorAddress',
  { parameters: [i32], result: i64 },
  (b, selector) => {
    const base = b.local(i64)
    const limit = b.local(i32)
    b.if(
      b.i32.and(selector!, b.const32(4)),
      () => {
        const attributes = b.stateLoad(Access.u16, segmentOffset(Segment.ldtr, SegmentField.attributes))
        b.if(b.i32.eqz(bit(b, attributes, 7)), () => b.return(b.const64(-1)))
        b.set(base, baseOf(b, Segment.ldtr))
        b.set(limit, b.stateLoad(Access.i32, segmentOffset(Segment.ldtr, SegmentField.limit)))
      },
      () => {
        b.set(base, b.stateLoad(Access.u64, State.gdtrBase))
        b.set(limit, b.stateLoad(Access.i32, State.gdtrLimit))
      },
    )
    const offset = b.i32.and(selector!, b.const32(0xfff8))
    b.if(b.i32.gtU(b.i32.or(offset, b.const32(7)), b.get(limit)), () => b.return(b.const64(-1)))
    b.return(b.i64.add(b.get(base), b.i64.extendI32U(offset)))
  },
)

/** The descriptor of a selector that is not null; #GP(errorCode) beyond the table. (selector, errorCode) -> i64 */
export const readDescriptor: Procedure = procedure(
  'readDescriptor',
  { parameters: [i32, i32], result: i64, mayFault: true },
  (b, selector, errorCode) => {
    const address = b.call(descriptorAddress, selector!)
    b.if(b.i64.eq(address, b.const64(-1)), () => b.raise(Vector.gp, errorCode!))
    b.return(b.guestLoad(Access.u64, address, Privilege.supervisor))
  },
)

/** Sets bits in the type field of a descriptor in memory: accessed, or busy. (selector, bits) */
const markDescriptor: Procedure = procedure(
  'markDescriptor',
  { parameters: [i32, i64], mayFault: true },
  (b, selector, bits) => {
    const address = b.i64.add(b.call(descriptorAddress, selector!), b.const64(5))
    const reference = b.guestRef(Access.u8, address, Privilege.supervisor)
    const expected = b.local(i64, b.refLoad(Access.u8, reference))
    b.loop((again) => {
      const old = b.get(expected)
      const found = b.refCompareExchange(Access.u8, reference, old, b.i64.or(old, bits!), address)
      b.set(expected, found)
      b.brIf(b.i64.ne(found, old), again)
    })
    b.return()
  },
)

/** Sets the accessed bit of a segment descriptor unless it is set. May fault, so before anything changes. */
export function markAccessed(b: Builder, selector: Value, descriptor: Value): void {
  b.if(b.i32.eqz(bit(b, descriptor, DescriptorBit.accessed)), () =>
    b.call(markDescriptor, selector, b.const64(1)),
  )
}

/** Clears the busy bit of a task-state segment's descriptor. (selector) */
export const clearBusy: Procedure = procedure(
  'clearBusy',
  { parameters: [i32], mayFault: true },
  (b, selector) => {
    const address = b.i64.add(b.call(descriptorAddress, selector!), b.const64(5))
    const type = b.guestLoad(Access.u8, address, Privilege.supervisor)
    b.guestStore(Access.u8, address, b.i64.and(type, b.const64(~2)), Privilege.supervisor)
    b.return()
  },
)

/** Marks the descriptor of a task-state segment busy. */
export function markBusy(b: Builder, selector: Value): void {
  b.call(markDescriptor, selector, b.const64(2))
}

/** Puts selector and descriptor into a segment register. (segment i32, selector i32, descriptor i64) */
export const storeSegment: Procedure = procedure(
  'storeSegment',
  { parameters: [i32, i32, i64] },
  (b, segment, selector, descriptor) => {
    const at = b.i32.mul(segment!, b.const32(SEGMENT_BYTES))
    const store = (access: Access, field: number, value: Value): void =>
      b.stateStore(access, State.segments + field, value, at)
    store(Access.u64, SegmentField.base, descriptorBase(b, descriptor!))
    store(Access.u32, SegmentField.limit, descriptorLimit(b, descriptor!))
    store(Access.u16, SegmentField.selector, b.i64.extendI32U(selector!))
    // As `markAccessed` left it in memory: a segment that is loaded has its accessed bit set. System types stay.
    const accessed = bitField(b, descriptor!, DescriptorBit.segment, 1)
    const attributes = b.i64.and(b.i64.shrU(descriptor!, b.const64(40)), b.const64(0xf0ff))
    store(Access.u16, SegmentField.attributes, b.i64.or(attributes, accessed))
    b.return()
  },
)

/** Puts a null selector into a segment register. (segment i32, selector i32, privilege that SS keeps as DPL i32) */
export const storeNullSegment: Procedure = procedure(
  'storeNullSegment',
  { parameters: [i32, i32, i32] },
  (b, segment, selector, privilege) => {
    const at = b.i32.mul(segment!, b.const32(SEGMENT_BYTES))
    const store = (access: Access, field: number, value: Value): void =>
      b.stateStore(access, State.segments + field, value, at)
    store(Access.u64, SegmentField.base, b.const64(0))
    store(Access.u32, SegmentField.limit, b.const64(0))
    store(Access.u16, SegmentField.selector, b.i64.extendI32U(selector!))
    store(Access.u16, SegmentField.attributes, b.i64.extendI32U(b.i32.shl(privilege!, b.const32(5))))
    b.return()
  },
)

/**
 * Loads a segment register as real and virtual-8086 mode do. (segment i32, selector i32). In real mode limit and
 * attributes stay as they are ("unreal mode"), unless the register held a null selector.
 */
export const storeRealSegment: Procedure = procedure(
  'storeRealSegment',
  { parameters: [i32, i32] },
  (b, segment, selector) => {
    const at = b.i32.mul(segment!, b.const32(SEGMENT_BYTES))
    const store = (access: Access, field: number, value: Value): void =>
      b.stateStore(access, State.segments + field, value, at)
    store(Access.u64, SegmentField.base, b.i64.shl(b.i64.extendI32U(selector!), b.const64(4)))
    store(Access.u16, SegmentField.selector, b.i64.extendI32U(selector!))
    const attributes = b.stateLoad(Access.u16, State.segments + SegmentField.attributes, at)
    const virtual = inVirtual8086(b)
    b.if(b.i32.or(virtual, b.i32.eqz(bit(b, attributes, 7))), () => {
      store(Access.u32, SegmentField.limit, b.const64(0xffff))
      store(Access.u16, SegmentField.attributes, b.select(virtual, b.const64(0xf3), b.const64(0x93)))
    })
    b.return()
  },
)

/** The checks of `loadSegment` for a data segment (SS excepted), with its descriptor read. (selector, descriptor) */
const checkData: Procedure = procedure(
  'checkData',
  { parameters: [i32, i64], mayFault: true },
  (b, selector, descriptor) => {
    const error = selectorIndex(b, selector!)
    const rpl = b.i32.and(selector!, b.const32(3))
    const dpl = descriptorPrivilege(b, descriptor!)
    const code = isCode(b, descriptor!)
    const readable = b.i32.and(
      bit(b, descriptor!, DescriptorBit.segment),
      b.i32.or(b.i32.eqz(code), bit(b, descriptor!, DescriptorBit.writable)),
    )
    const anyLevel = b.i32.and(code, bit(b, descriptor!, DescriptorBit.conforming))
    const privileged = b.i32.and(b.i32.leU(rpl, dpl), b.i32.leU(currentPrivilege(b), dpl))
    b.if(b.i32.eqz(b.i32.and(readable, b.i32.or(anyLevel, privileged))), () => b.raise(Vector.gp, error))
    b.if(b.i32.eqz(bit(b, descriptor!, DescriptorBit.present)), () => b.raise(Vector.np, error))
    b.return()
  },
)

/**
 * MOV to a segment register, POP of one, LDS and its like, in every mode; CS excepted. (segment i32, selector i32). The
 * caller sets the interrupt shadow for SS and ends the instruction with `resync` for it.
 */
export const loadSegment: Procedure = procedure(
  'loadSegment',
  { parameters: [i32, i32], mayFault: true },
  (b, segment, selector) => {
    b.if(b.i32.eqz(usesDescriptors(b)), () => {
      b.call(storeRealSegment, segment!, selector!)
      b.return()
    })
    const cpl = currentPrivilege(b)
    const rpl = b.i32.and(selector!, b.const32(3))
    const isStack = b.i32.eq(segment!, b.const32(Segment.ss))
    const raise = (vector: number): void => b.raise(vector, selectorIndex(b, selector!))
    b.if(isNull(b, selector!), () => {
      // Only 64-bit mode does without a stack segment, and not at CPL 3.
      const allowed = b.i32.and(in64BitMode(b), b.i32.and(b.i32.ne(cpl, b.const32(3)), b.i32.eq(cpl, rpl)))
      b.if(b.i32.and(isStack, b.i32.eqz(allowed)), () => b.raise(Vector.gp, b.const32(0)))
      b.call(storeNullSegment, segment!, selector!, cpl)
      b.return()
    })
    const descriptor = b.call(readDescriptor, selector!, selectorIndex(b, selector!))
    b.if(
      isStack,
      () => {
        const dpl = descriptorPrivilege(b, descriptor)
        const fits = b.i32.and(
          isWritableData(b, descriptor),
          b.i32.and(b.i32.eq(rpl, cpl), b.i32.eq(dpl, cpl)),
        )
        b.if(b.i32.eqz(fits), () => raise(Vector.gp))
        b.if(b.i32.eqz(bit(b, descriptor, DescriptorBit.present)), () => raise(Vector.ss))
      },
      () => b.call(checkData, selector!, descriptor),
    )
    markAccessed(b, selector!, descriptor)
    b.call(storeSegment, segment!, selector!, descriptor)
    b.return()
  },
)
