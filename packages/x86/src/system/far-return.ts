/**
 * IRET and far returns, far jumps and calls, from 64-bit mode (SDM volume 2, IRET, RET, JMP and CALL; volume 3, 5.8).
 *
 * Each procedure loads everything that may fault first, then changes registers, and leaves the new RIP in `State.rip`;
 * the body ends with `resync`. Returning to a compatibility-mode segment loads it; whether its code can be executed is
 * the engine's affair.
 *
 * Not done: call gates (#GP as for any descriptor that is no code), task gates, return to virtual-8086 mode.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import {
  ARITHMETIC_FLAGS,
  Flag,
  SEGMENT_BYTES,
  Segment,
  SegmentField,
  State,
  Vector,
} from '../state-layout.ts'
import { anyBit, bit, bitField32, notCanonical } from './bit-field.ts'
import {
  currentPrivilege,
  DescriptorBit,
  descriptorLimit,
  descriptorPrivilege,
  isCode,
  isNull,
  isWritableData,
  markAccessed,
  readDescriptor,
  selectorIndex,
  selectorOf,
  storeNullSegment,
  storeSegment,
} from './descriptor.ts'
import { modeChanged } from './engine.ts'
import { writeFlags } from './flags.ts'

const { i32, i64 } = Type
const RSP = State.gpr + 4 * 8

/** Loads `bytes` (i32: 2, 4 or 8) from the stack. (address, bytes) -> i64 */
const loadStack: Procedure = procedure(
  'loadStack',
  { parameters: [i64, i32], result: i64, mayFault: true },
  (b, address, bytes) => {
    b.if(b.i32.eq(bytes!, b.const32(8)), () => b.return(b.guestLoad(Access.u64, address!)))
    b.if(b.i32.eq(bytes!, b.const32(4)), () => b.return(b.guestLoad(Access.u32, address!)))
    b.return(b.guestLoad(Access.u16, address!))
  },
)

/** Stores `bytes` (i32: 2, 4 or 8) to the stack. (address, bytes, value) */
const storeStack: Procedure = procedure(
  'storeStack',
  { parameters: [i64, i32, i64], mayFault: true },
  (b, address, bytes, value) => {
    b.if(
      b.i32.eq(bytes!, b.const32(8)),
      () => b.guestStore(Access.u64, address!, value!),
      () =>
        b.if(
          b.i32.eq(bytes!, b.const32(4)),
          () => b.guestStore(Access.u32, address!, value!),
          () => b.guestStore(Access.u16, address!, value!),
        ),
    )
    b.return()
  },
)

/** i32: whether a code descriptor means 64-bit code. */
function isLong(b: Builder, descriptor: Value): Value {
  return bit(b, descriptor, DescriptorBit.long)
}

/** #GP(0) unless RIP is canonical, or within the limit of a compatibility-mode segment. */
function requireTarget(b: Builder, descriptor: Value, rip: Value): void {
  const outside = b.i64.gtU(rip, descriptorLimit(b, descriptor))
  b.if(b.select(isLong(b, descriptor), notCanonical(b, rip), outside), () => b.raise(Vector.gp, b.const32(0)))
}

/** The descriptor of the code segment that a return goes to. (selector) -> i64 */
const returnCode: Procedure = procedure(
  'returnCode',
  { parameters: [i32], result: i64, mayFault: true },
  (b, selector) => {
    const error = selectorIndex(b, selector!)
    const rpl = b.i32.and(selector!, b.const32(3))
    b.if(isNull(b, selector!), () => b.raise(Vector.gp, b.const32(0)))
    const descriptor = b.call(readDescriptor, selector!, error)
    const dpl = descriptorPrivilege(b, descriptor)
    const levelFits = b.select(
      bit(b, descriptor, DescriptorBit.conforming),
      b.i32.leU(dpl, rpl),
      b.i32.eq(dpl, rpl),
    )
    const both = b.i32.eq(bitField32(b, descriptor, DescriptorBit.long, 2), b.const32(3))
    const fits = [isCode(b, descriptor), b.i32.geU(rpl, currentPrivilege(b)), levelFits, b.i32.eqz(both)]
    b.if(b.i32.eqz(fits.reduce((x, y) => b.i32.and(x, y))), () => b.raise(Vector.gp, error))
    b.if(b.i32.eqz(bit(b, descriptor, DescriptorBit.present)), () => b.raise(Vector.np, error))
    markAccessed(b, selector!, descriptor)
    b.return(descriptor)
  },
)

/** The descriptor of the stack segment of a return, 0 for null. (selector, new privilege, to 64-bit code) -> i64 */
const returnStack: Procedure = procedure(
  'returnStack',
  { parameters: [i32, i32, i32], result: i64, mayFault: true },
  (b, selector, privilege, long) => {
    const error = selectorIndex(b, selector!)
    const rpl = b.i32.and(selector!, b.const32(3))
    const level = b.i32.eq(rpl, privilege!)
    b.if(isNull(b, selector!), () => {
      const allowed = b.i32.and(b.i32.and(long!, level), b.i32.ne(privilege!, b.const32(3)))
      b.if(b.i32.eqz(allowed), () => b.raise(Vector.gp, b.const32(0)))
      b.return(b.const64(0))
    })
    const descriptor = b.call(readDescriptor, selector!, error)
    const fits = b.i32.and(
      b.i32.and(level, isWritableData(b, descriptor)),
      b.i32.eq(descriptorPrivilege(b, descriptor), privilege!),
    )
    b.if(b.i32.eqz(fits), () => b.raise(Vector.gp, error))
    b.if(b.i32.eqz(bit(b, descriptor, DescriptorBit.present)), () => b.raise(Vector.ss, error))
    markAccessed(b, selector!, descriptor)
    b.return(descriptor)
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

/** Loads CS, CPL and RIP of a transfer to another (or the same) privilege. (selector, descriptor, rip) */
const enterCode: Procedure = procedure(
  'enterCode',
  { parameters: [i32, i64, i64] },
  (b, selector, descriptor, rip) => {
    const privilege = b.i32.and(selector!, b.const32(3))
    const before = currentPrivilege(b)
    const modeBefore = b.stateLoad(
      Access.u16,
      State.segments + Segment.cs * SEGMENT_BYTES + SegmentField.attributes,
    )
    b.call(storeSegment, b.const32(Segment.cs), selector!, descriptor!)
    b.stateStore(Access.i32, State.cpl, privilege)
    b.stateStore(Access.u64, State.rip, rip!)
    b.if(b.i32.ne(before, privilege), () => b.call(dropInnerSegments, privilege))
    // L, D and privilege are what engines choose their tables by.
    const sameMode = b.i64.eq(
      b.i64.and(b.i64.xor(modeBefore, b.i64.shrU(descriptor!, b.const64(40))), b.const64(0x6000)),
      b.const64(0),
    )
    b.if(b.i32.or(b.i32.ne(before, privilege), b.i32.eqz(sameMode)), () => b.call(modeChanged))
    b.return()
  },
)

function enterStack(b: Builder, selector: Value, descriptor: Value, rsp: Value): void {
  b.if(
    isNull(b, selector),
    () => {
      b.call(storeNullSegment, b.const32(Segment.ss), selector, b.i32.and(selector, b.const32(3)))
    },
    () => {
      b.call(storeSegment, b.const32(Segment.ss), selector, descriptor)
    },
  )
  b.stateStore(Access.u64, RSP, rsp)
}

/** IRET in 64-bit mode. (operand size in bytes: 2, 4 or 8) */
export const interruptReturn: Procedure = procedure(
  'interruptReturn',
  { parameters: [i32], mayFault: true },
  (b, bytes) => {
    const flags = b.stateLoad(Access.u64, State.rflags)
    b.if(anyBit(b, flags, Flag.nt), () => b.raise(Vector.gp, b.const32(0)))
    const rsp = b.stateLoad(Access.u64, RSP)
    const width = b.i64.extendI32U(bytes!)
    const slot = (index: number): Value =>
      b.call(loadStack, b.i64.add(rsp, b.i64.mul(width, b.const64(index))), bytes!)
    const newRip = slot(0)
    const selector = b.i32.and(b.i32.wrapI64(slot(1)), b.const32(0xffff))
    const image = slot(2)
    const newRsp = slot(3)
    const stackSelector = b.i32.and(b.i32.wrapI64(slot(4)), b.const32(0xffff))
    const code = b.call(returnCode, selector)
    const privilege = b.i32.and(selector, b.const32(3))
    const stack = b.call(returnStack, stackSelector, privilege, isLong(b, code))
    requireTarget(b, code, newRip)

    const cpl = currentPrivilege(b)
    const user = ARITHMETIC_FLAGS | Flag.tf | Flag.df | Flag.nt
    const wide = b.select(
      b.i32.eq(bytes!, b.const32(2)),
      b.const64(user),
      b.const64(user | Flag.ac | Flag.id),
    )
    const interrupts = b.select(b.i32.leU(cpl, bitField32(b, flags, 12, 2)), b.const64(Flag.if), b.const64(0))
    const system = b.select(b.i32.eqz(cpl), b.const64(Flag.iopl | Flag.vif | Flag.vip), b.const64(0))
    b.call(writeFlags, image, b.i64.or(wide, b.i64.or(interrupts, system)))
    enterStack(b, stackSelector, stack, newRsp)
    b.call(enterCode, selector, code, newRip)
    b.stateStore(Access.i32, State.nmiBlocked, b.const32(0))
    b.return()
  },
)

/** RETF. (operand size in bytes: 2, 4 or 8; bytes of parameters to release i64) */
export const farReturn: Procedure = procedure(
  'farReturn',
  { parameters: [i32, i64], mayFault: true },
  (b, bytes, release) => {
    const rsp = b.stateLoad(Access.u64, RSP)
    const width = b.i64.extendI32U(bytes!)
    const newRip = b.call(loadStack, rsp, bytes!)
    const selector = b.i32.and(
      b.i32.wrapI64(b.call(loadStack, b.i64.add(rsp, width), bytes!)),
      b.const32(0xffff),
    )
    const code = b.call(returnCode, selector)
    requireTarget(b, code, newRip)
    const released = b.i64.add(b.i64.add(rsp, b.i64.shl(width, b.const64(1))), release!)
    const privilege = b.i32.and(selector, b.const32(3))
    b.if(
      b.i32.eq(privilege, currentPrivilege(b)),
      () => {
        b.stateStore(Access.u64, RSP, released)
      },
      () => {
        const newRsp = b.call(loadStack, released, bytes!)
        const stackSelector = b.i32.and(
          b.i32.wrapI64(b.call(loadStack, b.i64.add(released, width), bytes!)),
          b.const32(0xffff),
        )
        const stack = b.call(returnStack, stackSelector, privilege, isLong(b, code))
        enterStack(b, stackSelector, stack, b.i64.add(newRsp, release!))
      },
    )
    b.call(enterCode, selector, code, newRip)
    b.return()
  },
)

/** The code descriptor that a far JMP or CALL goes to; the CPL stays. (selector, offset) -> i64 */
const transferCode: Procedure = procedure(
  'transferCode',
  { parameters: [i32, i64], result: i64, mayFault: true },
  (b, selector, offset) => {
    const error = selectorIndex(b, selector!)
    const rpl = b.i32.and(selector!, b.const32(3))
    const cpl = currentPrivilege(b)
    b.if(isNull(b, selector!), () => b.raise(Vector.gp, b.const32(0)))
    const descriptor = b.call(readDescriptor, selector!, error)
    const dpl = descriptorPrivilege(b, descriptor)
    const levelFits = b.select(
      bit(b, descriptor, DescriptorBit.conforming),
      b.i32.leU(dpl, cpl),
      b.i32.and(b.i32.eq(dpl, cpl), b.i32.leU(rpl, cpl)),
    )
    const both = b.i32.eq(bitField32(b, descriptor, DescriptorBit.long, 2), b.const32(3))
    const fits = b.i32.and(b.i32.and(isCode(b, descriptor), levelFits), b.i32.eqz(both))
    b.if(b.i32.eqz(fits), () => b.raise(Vector.gp, error))
    b.if(b.i32.eqz(bit(b, descriptor, DescriptorBit.present)), () => b.raise(Vector.np, error))
    requireTarget(b, descriptor, offset!)
    markAccessed(b, selector!, descriptor)
    b.return(descriptor)
  },
)

/** Far JMP to a code segment. (selector, offset) */
export const farJump: Procedure = procedure(
  'farJump',
  { parameters: [i32, i64], mayFault: true },
  (b, selector, offset) => {
    const code = b.call(transferCode, selector!, offset!)
    b.call(enterCode, b.i32.or(selectorIndex(b, selector!), currentPrivilege(b)), code, offset!)
    b.return()
  },
)

/** Far CALL to a code segment. (selector, offset, operand size in bytes: 2, 4 or 8; return RIP) */
export const farCall: Procedure = procedure(
  'farCall',
  { parameters: [i32, i64, i32, i64], mayFault: true },
  (b, selector, offset, bytes, returnRip) => {
    const code = b.call(transferCode, selector!, offset!)
    const width = b.i64.extendI32U(bytes!)
    const rsp = b.stateLoad(Access.u64, RSP)
    const top = b.i64.sub(rsp, b.i64.shl(width, b.const64(1)))
    b.call(storeStack, b.i64.sub(rsp, width), bytes!, b.i64.extendI32U(selectorOf(b, Segment.cs)))
    b.call(storeStack, top, bytes!, returnRip!)
    b.stateStore(Access.u64, RSP, top)
    b.call(enterCode, b.i32.or(selectorIndex(b, selector!), currentPrivilege(b)), code, offset!)
    b.return()
  },
)
