/**
 * Delivery of exceptions and interrupts through the IDT of protected mode, also out of virtual-8086 mode (SDM volume 3,
 * 6.12, 21.3.1): interrupt, trap and task gates of 32 and 16 bits.
 */
import type { Value } from '../ir/builder.ts'
import { Privilege } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { Segment, State, Vector } from '../state-layout.ts'
import { bit, bitField, bitField32 } from './bit-field.ts'
import {
  currentPrivilege,
  DescriptorBit,
  descriptorLimit,
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
import { modeChanged } from './engine.ts'
import { beginHandler, clearHandlerFlags, frameFlags, Treat } from './event.ts'
import { readFlags } from './flags.ts'
import { attributesOf, inVirtual8086 } from './mode.ts'
import { setStackPointer, stackPointer, storeStack } from './stack.ts'
import { findInnerStack, requireFrame, storeSwitched, switchMask } from './stack-switch.ts'
import { switchTask, TaskSwitch } from './task-switch.ts'

const { i32, i64 } = Type

/** Through a task gate. (TSS selector, error code or -1, 1: EXT) */
const deliverToTask: Procedure = procedure(
  'deliverToTask',
  { parameters: [i32, i32, i32], mayFault: true },
  (b, selector, errorCode, external) => {
    b.call(switchTask, selector!, b.const32(TaskSwitch.gate), b.stateLoad(Access.u64, State.rip), external!)
    b.if(b.i32.ne(errorCode!, b.const32(-1)), () => {
      const bytes = b.select(bit(b, attributesOf(b, Segment.tr), 3), b.const32(4), b.const32(2))
      const pointer = b.i64.sub(stackPointer(b), b.i64.extendI32U(bytes))
      b.call(storeStack, pointer, bytes, b.i64.extendI32U(errorCode!))
      b.call(setStackPointer, pointer)
    })
    b.return()
  },
)

/** Delivers one event in protected or virtual-8086 mode. (vector, error code or -1, Treat bits) */
export const deliverProtected: Procedure = procedure(
  'deliverProtected',
  { parameters: [i32, i32, i32], mayFault: true },
  (b, vector, errorCode, treat) => {
    const external = b.i32.and(treat!, b.const32(Treat.external))
    const cpl = currentPrivilege(b)

    // The gate.
    const gateOffset = b.i32.shl(vector!, b.const32(3))
    const gateError = b.i32.or(b.i32.or(gateOffset, b.const32(2)), external)
    b.if(b.i32.gtU(b.i32.or(gateOffset, b.const32(7)), b.stateLoad(Access.i32, State.idtrLimit)), () =>
      b.raise(Vector.gp, gateError),
    )
    const gateAddress = b.i64.add(b.stateLoad(Access.u64, State.idtrBase), b.i64.extendI32U(gateOffset))
    const gate = b.guestLoad(Access.u64, gateAddress, Privilege.supervisor)
    const type = bitField32(b, gate, 40, 5)
    const types = (1 << 5) | (1 << 6) | (1 << 7) | (1 << 14) | (1 << 15)
    b.if(b.i32.eqz(b.i32.and(b.i32.shrU(b.const32(types), type), b.i32.ltU(type, b.const32(16)))), () =>
      b.raise(Vector.gp, gateError),
    )
    const checked = b.i32.ne(b.i32.and(treat!, b.const32(Treat.checked)), b.const32(0))
    b.if(b.i32.and(checked, b.i32.ltU(bitField32(b, gate, 45, 2), cpl)), () => b.raise(Vector.gp, gateError))
    b.if(b.i32.eqz(bit(b, gate, 47)), () => b.raise(Vector.np, gateError))
    const selector = bitField32(b, gate, 16, 16)
    b.if(b.i32.eq(type, b.const32(5)), () => {
      beginHandler(b, vector!)
      b.call(deliverToTask, selector, errorCode!, external)
      b.return()
    })

    // The code segment.
    b.if(isNull(b, selector), () => b.raise(Vector.gp, external))
    const selectorError = b.i32.or(selectorIndex(b, selector), external)
    const code = b.call(readDescriptor, selector, selectorError)
    const dpl = descriptorPrivilege(b, code)
    b.if(b.i32.eqz(b.i32.and(isCode(b, code), b.i32.leU(dpl, cpl))), () => b.raise(Vector.gp, selectorError))
    b.if(b.i32.eqz(bit(b, code, DescriptorBit.present)), () => b.raise(Vector.np, selectorError))
    const privilege = b.select(bit(b, code, DescriptorBit.conforming), cpl, dpl)
    const changes = b.i32.ne(privilege, cpl)
    const virtual = inVirtual8086(b)
    b.if(b.i32.and(virtual, b.i32.ne(privilege, b.const32(0))), () => b.raise(Vector.gp, selectorError))
    const bytes = b.select(bit(b, gate, 43), b.const32(4), b.const32(2))
    const high = b.i64.shl(bitField(b, gate, 48, 16), b.const64(16))
    const target = b.i64.or(bitField(b, gate, 0, 16), b.select(bit(b, gate, 43), high, b.const64(0)))
    const requireLimit = (): void =>
      b.if(b.i64.gtU(target, descriptorLimit(b, code)), () => b.raise(Vector.gp, external))

    // The frame.
    const width = b.i64.extendI32U(bytes)
    const hasCode = b.i32.ne(errorCode!, b.const32(-1))
    const image = frameFlags(b, b.call(readFlags), treat!)
    const outer = stackPointer(b)
    const pointer = b.local(i64, outer)
    const selectorValue = (segment: number): Value => b.i64.extendI32U(selectorOf(b, segment))
    const stackSegment = selectorValue(Segment.ss)
    const returnFrame: Value[] = [image, selectorValue(Segment.cs), b.stateLoad(Access.u64, State.rip)]
    const pushBy =
      (store: Procedure) =>
      (value: Value): void => {
        b.set(pointer, b.i64.sub(b.get(pointer), width))
        b.call(store, b.get(pointer), bytes, value)
      }
    b.if(
      changes,
      () => {
        b.call(findInnerStack, privilege, b.const32(0), external)
        b.set(pointer, b.stateLoad(Access.u64, State.switchPointer))
        const count = b.i32.add(b.select(virtual, b.const32(9), b.const32(5)), hasCode)
        b.call(requireFrame, b.i32.mul(count, bytes), external)
        requireLimit()
        const push = pushBy(storeSwitched)
        b.if(virtual, () => {
          for (const segment of [Segment.gs, Segment.fs, Segment.ds, Segment.es]) push(selectorValue(segment))
        })
        for (const value of [stackSegment, outer, ...returnFrame]) push(value)
        b.if(hasCode, () => push(b.i64.extendI32U(errorCode!)))
      },
      () => {
        requireLimit()
        const push = pushBy(storeStack)
        for (const value of returnFrame) push(value)
        b.if(hasCode, () => push(b.i64.extendI32U(errorCode!)))
      },
    )
    markAccessed(b, selector, code)

    // From here on nothing faults.
    b.if(
      changes,
      () => {
        const mask = switchMask(b)
        const kept = b.i64.and(outer, b.i64.xor(mask, b.const64(0xffff_ffff)))
        b.stateStore(Access.u64, State.gpr + 4 * 8, b.i64.or(kept, b.i64.and(b.get(pointer), mask)))
        b.call(
          storeSegment,
          b.const32(Segment.ss),
          b.stateLoad(Access.i32, State.switchSelector),
          b.stateLoad(Access.u64, State.switchDescriptor),
        )
      },
      () => b.call(setStackPointer, b.get(pointer)),
    )
    clearHandlerFlags(b, b.i32.eqz(b.i32.and(type, b.const32(1))))
    b.if(virtual, () => {
      for (const segment of [Segment.gs, Segment.fs, Segment.ds, Segment.es])
        b.call(storeNullSegment, b.const32(segment), b.const32(0), b.const32(0))
    })
    b.call(storeSegment, b.const32(Segment.cs), b.i32.or(selectorIndex(b, selector), privilege), code)
    b.stateStore(Access.i32, State.cpl, privilege)
    b.stateStore(Access.u64, State.rip, target)
    beginHandler(b, vector!)
    b.call(modeChanged)
    b.return()
  },
)
