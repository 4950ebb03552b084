/**
 * Far JMP and CALL in every mode (SDM volume 2, JMP and CALL; volume 3, 5.8): code segments, call gates, task gates and
 * task-state segments. What may fault comes first; the new RIP is left in `State.rip` and the body ends with `resync`.
 */
import { Privilege, type Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { Segment, State, Vector } from '../state-layout.ts'
import { bit, bitField, bitField32, notCanonical } from './bit-field.ts'
import {
  currentPrivilege,
  DescriptorBit,
  descriptorAddress,
  descriptorPrivilege,
  isCode,
  isNull,
  markAccessed,
  readDescriptor,
  selectorIndex,
  selectorOf,
  storeNullSegment,
  storeSegment,
} from './descriptor.ts'
import {
  enterCode,
  enterRealCode,
  isLong,
  requireRealTarget,
  requireTarget,
  sizeIsLegal,
} from './enter-code.ts'
import { inLongMode, usesDescriptors } from './mode.ts'
import { loadStack, setStackPointer, stackPointer, storeStack } from './stack.ts'
import { findInnerStack, requireFrame, storeSwitched, switchMask } from './stack-switch.ts'
import { switchTask, TaskSwitch } from './task-switch.ts'

const { i32, i64 } = Type
const gp0 = (b: Parameters<typeof isNull>[0]): void => b.raise(Vector.gp, b.const32(0))

/** Pushes the return address of a far CALL on the running stack. (bytes, return RIP) -> stack pointer to be set */
const pushReturn: Procedure = procedure(
  'pushReturn',
  { parameters: [i32, i64], result: i64, mayFault: true },
  (b, bytes, returnRip) => {
    const pointer = stackPointer(b)
    const width = b.i64.extendI32U(bytes!)
    const top = b.i64.sub(pointer, b.i64.shl(width, b.const64(1)))
    b.call(storeStack, b.i64.sub(pointer, width), bytes!, b.i64.extendI32U(selectorOf(b, Segment.cs)))
    b.call(storeStack, top, bytes!, returnRip!)
    b.return(top)
  },
)

/** To a code segment of the same privilege. (selector, descriptor, offset, operand bytes, 1: CALL, return RIP) */
const transferToCode: Procedure = procedure(
  'transferToCode',
  { parameters: [i32, i64, i64, i32, i32, i64], mayFault: true },
  (b, selector, descriptor, offset, bytes, calls, returnRip) => {
    const error = selectorIndex(b, selector!)
    const rpl = b.i32.and(selector!, b.const32(3))
    const cpl = currentPrivilege(b)
    const dpl = descriptorPrivilege(b, descriptor!)
    const levelFits = b.select(
      bit(b, descriptor!, DescriptorBit.conforming),
      b.i32.leU(dpl, cpl),
      b.i32.and(b.i32.eq(dpl, cpl), b.i32.leU(rpl, cpl)),
    )
    const fits = b.i32.and(b.i32.and(isCode(b, descriptor!), levelFits), sizeIsLegal(b, descriptor!))
    b.if(b.i32.eqz(fits), () => b.raise(Vector.gp, error))
    b.if(b.i32.eqz(bit(b, descriptor!, DescriptorBit.present)), () => b.raise(Vector.np, error))
    requireTarget(b, descriptor!, offset!)
    markAccessed(b, selector!, descriptor!)
    const top = b.local(i64)
    b.if(calls!, () => b.set(top, b.call(pushReturn, bytes!, returnRip!)))
    b.if(calls!, () => b.call(setStackPointer, b.get(top)))
    b.call(enterCode, b.i32.or(error, cpl), descriptor!, offset!)
    b.return()
  },
)

/** CALL through a gate to an inner privilege. (gate, target selector, code descriptor, offset, return RIP) */
const callInward: Procedure = procedure(
  'callInward',
  { parameters: [i64, i32, i64, i64, i64], mayFault: true },
  (b, gate, selector, code, offset, returnRip) => {
    const privilege = descriptorPrivilege(b, code!)
    const none = b.const32(0)
    const returnSelector = b.i64.extendI32U(selectorOf(b, Segment.cs))
    const stackSelector = b.i64.extendI32U(selectorOf(b, Segment.ss))
    const target = b.i32.or(selectorIndex(b, selector!), privilege)
    b.call(findInnerStack, privilege, none, none)
    const start = b.stateLoad(Access.u64, State.switchPointer)
    const outer = stackPointer(b)
    b.if(inLongMode(b), () => {
      const frame: Value[] = [stackSelector, outer, returnSelector, returnRip!]
      frame.forEach((value, index) =>
        b.guestStore(Access.u64, b.i64.sub(start, b.const64(8 * (index + 1))), value, Privilege.supervisor),
      )
      markAccessed(b, selector!, code!)
      b.call(storeNullSegment, b.const32(Segment.ss), privilege, privilege)
      b.call(enterCode, target, code!, offset!)
      b.stateStore(Access.u64, State.gpr + 4 * 8, b.i64.sub(start, b.const64(32)))
      b.return()
    })
    const bytes = b.select(bit(b, gate!, 43), b.const32(4), b.const32(2))
    const width = b.i64.extendI32U(bytes)
    const parameters = bitField32(b, gate!, 32, 5)
    b.call(requireFrame, b.i32.mul(b.i32.add(parameters, b.const32(4)), bytes), none)
    const pointer = b.local(i64, start)
    const push = (value: Value): void => {
      b.set(pointer, b.i64.sub(b.get(pointer), width))
      b.call(storeSwitched, b.get(pointer), bytes, value)
    }
    push(stackSelector)
    push(outer)
    const left = b.local(i32, parameters)
    b.block((done) =>
      b.loop((again) => {
        b.brIf(b.i32.eqz(b.get(left)), done)
        b.set(left, b.i32.sub(b.get(left), b.const32(1)))
        push(b.call(loadStack, b.i64.add(outer, b.i64.mul(width, b.i64.extendI32U(b.get(left)))), bytes))
        b.br(again)
      }),
    )
    push(returnSelector)
    push(returnRip!)
    markAccessed(b, selector!, code!)
    b.call(
      storeSegment,
      b.const32(Segment.ss),
      b.stateLoad(Access.i32, State.switchSelector),
      b.stateLoad(Access.u64, State.switchDescriptor),
    )
    const mask = switchMask(b)
    b.call(enterCode, target, code!, offset!)
    b.stateStore(
      Access.u64,
      State.gpr + 4 * 8,
      b.i64.or(b.i64.and(outer, b.i64.xor(mask, b.const64(0xffff_ffff))), b.i64.and(b.get(pointer), mask)),
    )
    b.return()
  },
)

/** Through a call gate whose privilege and presence have been checked. (gate selector, gate, 1: CALL, return RIP) */
const transferByGate: Procedure = procedure(
  'transferByGate',
  { parameters: [i32, i64, i32, i64], mayFault: true },
  (b, gateSelector, gate, calls, returnRip) => {
    const long = inLongMode(b)
    const offset = b.local(i64, bitField(b, gate!, 0, 16))
    const bytes = b.local(i32, b.const32(2))
    b.if(bit(b, gate!, 43), () => {
      b.set(bytes, b.const32(4))
      b.set(offset, b.i64.or(b.get(offset), b.i64.shl(bitField(b, gate!, 48, 16), b.const64(16))))
    })
    b.if(long, () => {
      const gateError = selectorIndex(b, gateSelector!)
      const second = b.call(descriptorAddress, b.i32.add(gateSelector!, b.const32(8)))
      b.if(b.i64.eq(second, b.const64(-1)), () => b.raise(Vector.gp, gateError))
      const high = b.guestLoad(Access.u64, second, Privilege.supervisor)
      b.if(bitField32(b, high, 40, 5), () => b.raise(Vector.gp, gateError))
      b.set(bytes, b.const32(8))
      b.set(offset, b.i64.or(b.get(offset), b.i64.shl(high, b.const64(32))))
    })
    const selector = bitField32(b, gate!, 16, 16)
    const error = selectorIndex(b, selector)
    b.if(isNull(b, selector), () => gp0(b))
    const code = b.call(readDescriptor, selector, error)
    const cpl = currentPrivilege(b)
    const dpl = descriptorPrivilege(b, code)
    const conforming = bit(b, code, DescriptorBit.conforming)
    // JMP does not change the privilege.
    const levelFits = b.select(b.i32.or(conforming, calls!), b.i32.leU(dpl, cpl), b.i32.eq(dpl, cpl))
    const only64 = b.i32.eq(bitField32(b, code, DescriptorBit.long, 2), b.const32(1))
    const sized = b.i32.or(b.i32.eqz(long), only64)
    b.if(b.i32.eqz(b.i32.and(b.i32.and(isCode(b, code), levelFits), sized)), () => b.raise(Vector.gp, error))
    b.if(b.i32.eqz(bit(b, code, DescriptorBit.present)), () => b.raise(Vector.np, error))
    const target = b.get(offset)
    b.if(
      isLong(b, code),
      () => b.if(notCanonical(b, target), () => gp0(b)),
      () => requireTarget(b, code, target),
    )
    const inward = b.i32.and(b.i32.and(calls!, b.i32.eqz(conforming)), b.i32.ltU(dpl, cpl))
    b.if(inward, () => {
      b.call(callInward, gate!, selector, code, target, returnRip!)
      b.return()
    })
    markAccessed(b, selector, code)
    const top = b.local(i64)
    b.if(calls!, () => b.set(top, b.call(pushReturn, b.get(bytes), returnRip!)))
    b.if(calls!, () => b.call(setStackPointer, b.get(top)))
    b.call(enterCode, b.i32.or(error, cpl), code, target)
    b.return()
  },
)

/** Far JMP or CALL. (selector, offset cut to the operand size, operand bytes: 2, 4 or 8; 1: CALL; return RIP) */
export const farTransfer: Procedure = procedure(
  'farTransfer',
  { parameters: [i32, i64, i32, i32, i64], mayFault: true },
  (b, selector, offset, bytes, calls, returnRip) => {
    b.if(b.i32.eqz(usesDescriptors(b)), () => {
      requireRealTarget(b, offset!)
      const top = b.local(i64)
      b.if(calls!, () => b.set(top, b.call(pushReturn, bytes!, returnRip!)))
      b.if(calls!, () => b.call(setStackPointer, b.get(top)))
      b.call(enterRealCode, selector!, offset!)
      b.return()
    })
    b.if(isNull(b, selector!), () => gp0(b))
    const error = selectorIndex(b, selector!)
    const descriptor = b.call(readDescriptor, selector!, error)
    b.if(bit(b, descriptor, DescriptorBit.segment), () => {
      b.call(transferToCode, selector!, descriptor, offset!, bytes!, calls!, returnRip!)
      b.return()
    })
    const type = bitField32(b, descriptor, DescriptorBit.accessed, 4)
    const dpl = descriptorPrivilege(b, descriptor)
    // Call gates; outside IA-32e mode also task gates, available TSSs, and gates of 16 bits.
    const types = b.select(
      inLongMode(b),
      b.const32(1 << 12),
      b.const32((1 << 12) | (1 << 4) | (1 << 5) | (1 << 1) | (1 << 9)),
    )
    const known = b.i32.and(b.i32.shrU(types, type), b.const32(1))
    const visible = b.i32.and(
      b.i32.leU(currentPrivilege(b), dpl),
      b.i32.leU(b.i32.and(selector!, b.const32(3)), dpl),
    )
    b.if(b.i32.eqz(b.i32.and(known, visible)), () => b.raise(Vector.gp, error))
    const present = bit(b, descriptor, DescriptorBit.present)
    b.if(b.i32.eqz(present), () => b.raise(Vector.np, error))
    const gate = b.i32.eq(b.i32.and(type, b.const32(7)), b.const32(4))
    b.if(gate, () => {
      b.call(transferByGate, selector!, descriptor, calls!, returnRip!)
      b.return()
    })
    const kind = b.select(calls!, b.const32(TaskSwitch.call), b.const32(TaskSwitch.jump))
    const task = b.select(b.i32.eq(type, b.const32(5)), bitField32(b, descriptor, 16, 16), selector!)
    b.call(switchTask, task, kind, returnRip!, b.const32(0))
    b.return()
  },
)
