/**
 * IRET and far RET in every mode (SDM volume 2, IRET and RET; volume 3, 5.8.6, 6.12, 20.2).
 *
 * Each procedure loads everything that may fault first, then changes registers, and leaves the new RIP in `State.rip`;
 * the body ends with `resync`.
 */
import { type Builder, Privilege, type Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { ARITHMETIC_FLAGS, Flag, Segment, State, Vector } from '../state-layout.ts'
import { anyBit, bit, bitField32 } from './bit-field.ts'
import { Cr4 } from './control-bits.ts'
import {
  baseOf,
  currentPrivilege,
  DescriptorBit,
  descriptorPrivilege,
  isCode,
  isNull,
  isWritableData,
  markAccessed,
  readDescriptor,
  selectorIndex,
  storeRealSegment,
} from './descriptor.ts'
import {
  enterCode,
  enterRealCode,
  enterStack,
  isLong,
  requireRealTarget,
  requireTarget,
  sizeIsLegal,
} from './enter-code.ts'
import { writeFlags } from './flags.ts'
import { in64BitMode, inLongMode, inVirtual8086, rflagsOf, usesDescriptors } from './mode.ts'
import { loadStack, setStackPointer, stackPointer } from './stack.ts'
import { switchTask, TaskSwitch } from './task-switch.ts'

const { i32, i64 } = Type
const gp0 = (b: Builder): void => b.raise(Vector.gp, b.const32(0))
const selectorIn = (b: Builder, value: Value): Value => b.i32.and(b.i32.wrapI64(value), b.const32(0xffff))

/** The descriptor of the code segment that a return goes to. (selector) -> i64 */
const returnCode: Procedure = procedure(
  'returnCode',
  { parameters: [i32], result: i64, mayFault: true },
  (b, selector) => {
    const error = selectorIndex(b, selector!)
    const rpl = b.i32.and(selector!, b.const32(3))
    b.if(isNull(b, selector!), () => gp0(b))
    const descriptor = b.call(readDescriptor, selector!, error)
    const dpl = descriptorPrivilege(b, descriptor)
    const levelFits = b.select(
      bit(b, descriptor, DescriptorBit.conforming),
      b.i32.leU(dpl, rpl),
      b.i32.eq(dpl, rpl),
    )
    const fits = [
      isCode(b, descriptor),
      b.i32.geU(rpl, currentPrivilege(b)),
      levelFits,
      sizeIsLegal(b, descriptor),
    ]
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
      b.if(b.i32.eqz(allowed), () => gp0(b))
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

/** A value of the frame: `index` slots of `bytes` (i32) above a stack pointer. */
function slotOf(b: Builder, pointer: Value, bytes: Value, index: number): Value {
  const offset = b.i64.mul(b.i64.extendI32U(bytes), b.const64(index))
  return b.call(loadStack, b.i64.add(pointer, offset), bytes)
}
/** The stack pointer `index` slots further up. */
const above = (b: Builder, pointer: Value, bytes: Value, index: number): Value =>
  b.i64.add(pointer, b.i64.mul(b.i64.extendI32U(bytes), b.const64(index)))

const ALWAYS = ARITHMETIC_FLAGS | Flag.tf | Flag.df | Flag.nt
/** RF, AC and ID are in the upper half: not there with an operand of 16 bits. */
const upperFlags = (b: Builder, bytes: Value): Value =>
  b.select(b.i32.eq(bytes, b.const32(2)), b.const64(ALWAYS), b.const64(ALWAYS | Flag.ac | Flag.id | Flag.rf))

/** IRET of virtual-8086 mode with IOPL < 3: #GP(0), or with VME the frame's IF becomes VIF. (operand bytes) */
const returnInVirtual8086: Procedure = procedure(
  'returnInVirtual8086',
  { parameters: [i32], mayFault: true },
  (b, bytes) => {
    const flags = rflagsOf(b)
    const extended = anyBit(b, b.stateLoad(Access.u64, State.cr4), Cr4.vme)
    b.if(b.i32.eqz(b.i32.and(extended, b.i32.eq(bytes!, b.const32(2)))), () => gp0(b))
    const pointer = stackPointer(b)
    const offset = slotOf(b, pointer, bytes!, 0)
    const selector = selectorIn(b, slotOf(b, pointer, bytes!, 1))
    const image = slotOf(b, pointer, bytes!, 2)
    requireRealTarget(b, offset)
    const pending = b.i32.and(anyBit(b, flags, Flag.vip), anyBit(b, image, Flag.if))
    b.if(b.i32.or(pending, anyBit(b, image, Flag.tf)), () => gp0(b))
    b.call(setStackPointer, above(b, pointer, bytes!, 3))
    const virtual = b.i64.shl(b.i64.and(image, b.const64(Flag.if)), b.const64(10))
    b.call(
      writeFlags,
      b.i64.or(b.i64.and(image, b.const64(~Flag.vif)), virtual),
      b.const64(ALWAYS | Flag.vif),
    )
    b.call(enterRealCode, selector, offset)
    b.return()
  },
)

/** IRET of real mode, and of virtual-8086 mode with IOPL 3. (operand bytes) */
const returnInReal: Procedure = procedure(
  'returnInReal',
  { parameters: [i32], mayFault: true },
  (b, bytes) => {
    const pointer = stackPointer(b)
    const offset = slotOf(b, pointer, bytes!, 0)
    const selector = selectorIn(b, slotOf(b, pointer, bytes!, 1))
    const image = slotOf(b, pointer, bytes!, 2)
    requireRealTarget(b, offset)
    b.call(setStackPointer, above(b, pointer, bytes!, 3))
    const privileged = b.select(inVirtual8086(b), b.const64(Flag.if), b.const64(Flag.if | Flag.iopl))
    b.call(writeFlags, image, b.i64.or(upperFlags(b, bytes!), privileged))
    b.call(enterRealCode, selector, offset)
    b.return()
  },
)

/** From CPL 0 back to virtual-8086 mode. (EIP, CS selector, EFLAGS image) */
const returnToVirtual8086: Procedure = procedure(
  'returnToVirtual8086',
  { parameters: [i64, i32, i64], mayFault: true },
  (b, offset, selector, image) => {
    const pointer = stackPointer(b)
    const bytes = b.const32(4)
    const newPointer = slotOf(b, pointer, bytes, 3)
    const segments = [Segment.ss, Segment.es, Segment.ds, Segment.fs, Segment.gs].map(
      (segment, index) => [segment, selectorIn(b, slotOf(b, pointer, bytes, 4 + index))] as const,
    )
    b.if(b.i64.gtU(offset!, b.const64(0xffff)), () => gp0(b))
    const all = upperFlags(b, bytes)
    b.call(writeFlags, image!, b.i64.or(all, b.const64(Flag.if | Flag.iopl | Flag.vif | Flag.vip)))
    b.stateStore(Access.u64, State.rflags, b.i64.or(rflagsOf(b), b.const64(Flag.vm)))
    b.stateStore(Access.i32, State.cpl, b.const32(3))
    for (const [segment, value] of segments) b.call(storeRealSegment, b.const32(segment), value)
    b.stateStore(Access.u64, State.gpr + 4 * 8, b.truncate(32, newPointer))
    b.call(enterRealCode, selector!, b.i64.and(offset!, b.const64(0xffff)))
    b.return()
  },
)

/** IRET. (operand bytes: 2, 4 or 8) */
export const interruptReturn: Procedure = procedure(
  'interruptReturn',
  { parameters: [i32], mayFault: true },
  (b, bytes) => {
    const flags = rflagsOf(b)
    const iopl = bitField32(b, flags, 12, 2)
    const unblock = (): void => b.stateStore(Access.i32, State.nmiBlocked, b.const32(0))
    b.if(b.i32.eqz(usesDescriptors(b)), () => {
      b.if(
        b.i32.and(inVirtual8086(b), b.i32.ltU(iopl, b.const32(3))),
        () => b.call(returnInVirtual8086, bytes!),
        () => b.call(returnInReal, bytes!),
      )
      unblock()
      b.return()
    })
    b.if(anyBit(b, flags, Flag.nt), () => {
      b.if(inLongMode(b), () => gp0(b))
      const back = b.guestLoad(Access.u16, baseOf(b, Segment.tr), Privilege.supervisor)
      // The saved EIP is that of the next instruction, which the body left in State.rip.
      const next = b.stateLoad(Access.u64, State.rip)
      b.call(switchTask, b.i32.wrapI64(back), b.const32(TaskSwitch.return), next, b.const32(0))
      unblock()
      b.return()
    })
    const pointer = stackPointer(b)
    const newRip = slotOf(b, pointer, bytes!, 0)
    const selector = selectorIn(b, slotOf(b, pointer, bytes!, 1))
    const image = slotOf(b, pointer, bytes!, 2)
    const cpl = currentPrivilege(b)
    const wide = b.i32.and(b.i32.eq(bytes!, b.const32(4)), b.i32.eqz(inLongMode(b)))
    b.if(b.i32.and(b.i32.and(wide, anyBit(b, image, Flag.vm)), b.i32.eqz(cpl)), () => {
      b.call(returnToVirtual8086, newRip, selector, image)
      unblock()
      b.return()
    })
    const code = b.call(returnCode, selector)
    const privilege = b.i32.and(selector, b.const32(3))
    const interrupts = b.select(b.i32.leU(cpl, iopl), b.const64(Flag.if), b.const64(0))
    const narrow = b.i32.eq(bytes!, b.const32(2))
    const system = b.select(
      b.i32.eqz(cpl),
      b.select(narrow, b.const64(Flag.iopl), b.const64(Flag.iopl | Flag.vif | Flag.vip)),
      b.const64(0),
    )
    const mask = b.i64.or(upperFlags(b, bytes!), b.i64.or(interrupts, system))
    // 64-bit mode always returns to a stack of the frame, others only to an outer level.
    b.if(
      b.i32.or(in64BitMode(b), b.i32.ne(privilege, cpl)),
      () => {
        const newPointer = slotOf(b, pointer, bytes!, 3)
        const stackSelector = selectorIn(b, slotOf(b, pointer, bytes!, 4))
        const long = isLong(b, code)
        const stack = b.call(returnStack, stackSelector, privilege, long)
        requireTarget(b, code, newRip)
        b.call(writeFlags, image, mask)
        // From 64-bit code the whole frame word becomes RSP.
        const whole = b.i32.or(long, in64BitMode(b))
        enterStack(b, stackSelector, stack, newPointer, whole)
      },
      () => {
        requireTarget(b, code, newRip)
        b.call(writeFlags, image, mask)
        b.call(setStackPointer, above(b, pointer, bytes!, 3))
      },
    )
    b.call(enterCode, selector, code, newRip)
    unblock()
    b.return()
  },
)

/** RETF. (operand size in bytes: 2, 4 or 8; bytes of parameters to release i64) */
export const farReturn: Procedure = procedure(
  'farReturn',
  { parameters: [i32, i64], mayFault: true },
  (b, bytes, release) => {
    const pointer = stackPointer(b)
    const newRip = slotOf(b, pointer, bytes!, 0)
    const selector = selectorIn(b, slotOf(b, pointer, bytes!, 1))
    const released = b.i64.add(above(b, pointer, bytes!, 2), release!)
    b.if(b.i32.eqz(usesDescriptors(b)), () => {
      requireRealTarget(b, newRip)
      b.call(setStackPointer, released)
      b.call(enterRealCode, selector, newRip)
      b.return()
    })
    const code = b.call(returnCode, selector)
    requireTarget(b, code, newRip)
    const privilege = b.i32.and(selector, b.const32(3))
    b.if(
      b.i32.eq(privilege, currentPrivilege(b)),
      () => b.call(setStackPointer, released),
      () => {
        const newPointer = slotOf(b, released, bytes!, 0)
        const stackSelector = selectorIn(b, slotOf(b, released, bytes!, 1))
        const long = isLong(b, code)
        const stack = b.call(returnStack, stackSelector, privilege, long)
        const whole = b.i32.or(long, in64BitMode(b))
        enterStack(b, stackSelector, stack, b.i64.add(newPointer, release!), whole)
      },
    )
    b.call(enterCode, selector, code, newRip)
    b.return()
  },
)
