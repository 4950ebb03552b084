/**
 * Delivery of exceptions and interrupts through the 64-bit IDT (SDM volume 3, 6.14; the operation of INT n in volume 2).
 *
 * `State.rip` is the return address that goes into the frame. Everything that may fault comes before the first change
 * of a register; the frame itself may have been written more than once. Shadow stacks are not done.
 */
import { Privilege } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { Segment, State, Vector } from '../state-layout.ts'
import { bit, bitField, bitField32, notCanonical } from './bit-field.ts'
import {
  currentPrivilege,
  DescriptorBit,
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
import { attributesOf } from './mode.ts'
import { findInnerStack } from './stack-switch.ts'

const { i32, i64 } = Type
const RSP = State.gpr + 4 * 8

/** Delivers one event in IA-32e mode. (vector, error code or -1, Treat bits) */
export const deliverLong: Procedure = procedure(
  'deliverLong',
  { parameters: [i32, i32, i32], mayFault: true },
  (b, vector, errorCode, treat) => {
    const external = b.i32.and(treat!, b.const32(Treat.external))
    const cpl = currentPrivilege(b)

    // The gate.
    const gateError = b.i32.or(b.i32.or(b.i32.shl(vector!, b.const32(3)), b.const32(2)), external)
    const gateOffset = b.i32.shl(vector!, b.const32(4))
    b.if(b.i32.gtU(b.i32.or(gateOffset, b.const32(15)), b.stateLoad(Access.i32, State.idtrLimit)), () =>
      b.raise(Vector.gp, gateError),
    )
    const gateAddress = b.i64.add(b.stateLoad(Access.u64, State.idtrBase), b.i64.extendI32U(gateOffset))
    const gate = b.guestLoad(Access.u64, gateAddress, Privilege.supervisor)
    const gateHigh = b.guestLoad(Access.u64, b.i64.add(gateAddress, b.const64(8)), Privilege.supervisor)
    const type = bitField32(b, gate, 40, 5)
    b.if(b.i32.ne(b.i32.or(type, b.const32(1)), b.const32(0xf)), () => b.raise(Vector.gp, gateError))
    b.if(
      b.i32.and(
        b.i32.ne(b.i32.and(treat!, b.const32(Treat.checked)), b.const32(0)),
        b.i32.ltU(bitField32(b, gate, 45, 2), cpl),
      ),
      () => b.raise(Vector.gp, gateError),
    )
    b.if(b.i32.eqz(bit(b, gate, 47)), () => b.raise(Vector.np, gateError))

    // The code segment.
    const selector = bitField32(b, gate, 16, 16)
    b.if(isNull(b, selector), () => b.raise(Vector.gp, external))
    const selectorError = b.i32.or(selectorIndex(b, selector), external)
    const descriptor = b.call(readDescriptor, selector, selectorError)
    const dpl = descriptorPrivilege(b, descriptor)
    const long = b.i32.eq(bitField32(b, descriptor, DescriptorBit.long, 2), b.const32(1))
    b.if(b.i32.eqz(b.i32.and(b.i32.and(isCode(b, descriptor), b.i32.leU(dpl, cpl)), long)), () =>
      b.raise(Vector.gp, selectorError),
    )
    b.if(b.i32.eqz(bit(b, descriptor, DescriptorBit.present)), () => b.raise(Vector.np, selectorError))
    const privilege = b.select(bit(b, descriptor, DescriptorBit.conforming), cpl, dpl)
    const changes = b.i32.ne(privilege, cpl)

    // The stack.
    const stack = b.local(i64, b.stateLoad(Access.u64, RSP))
    const ist = bitField32(b, gate, 32, 3)
    b.if(b.i32.or(ist, changes), () => {
      b.call(findInnerStack, privilege, ist, external)
      b.set(stack, b.stateLoad(Access.u64, State.switchPointer))
    })
    b.if(notCanonical(b, b.get(stack)), () => b.raise(Vector.ss, external))
    const target = b.i64.or(
      b.i64.or(bitField(b, gate, 0, 16), b.i64.shl(bitField(b, gate, 48, 16), b.const64(16))),
      b.i64.shl(gateHigh, b.const64(32)),
    )
    b.if(notCanonical(b, target), () => b.raise(Vector.gp, external))

    // The frame.
    const hasCode = b.i32.ne(errorCode!, b.const32(-1))
    const top = b.i64.and(b.get(stack), b.const64(-16))
    const image = frameFlags(b, b.call(readFlags), treat!)
    const frame = [
      b.i64.extendI32U(selectorOf(b, Segment.ss)),
      b.stateLoad(Access.u64, RSP),
      image,
      b.i64.extendI32U(selectorOf(b, Segment.cs)),
      b.stateLoad(Access.u64, State.rip),
    ]
    const push = (rights: Privilege): void => {
      frame.forEach((value, index) => {
        b.guestStore(Access.u64, b.i64.sub(top, b.const64(8 * (index + 1))), value, rights)
      })
      b.if(hasCode, () =>
        b.guestStore(Access.u64, b.i64.sub(top, b.const64(48)), b.i64.extendI32U(errorCode!), rights),
      )
    }
    // Ring 3 only reaches itself: then the access is a user's.
    b.if(
      b.i32.eq(privilege, b.const32(3)),
      () => push(Privilege.current),
      () => push(Privilege.supervisor),
    )
    markAccessed(b, selector, descriptor)

    // From here on nothing faults.
    b.stateStore(Access.u64, RSP, b.i64.sub(top, b.select(hasCode, b.const64(48), b.const64(40))))
    const before = attributesOf(b, Segment.cs)
    b.call(storeSegment, b.const32(Segment.cs), b.i32.or(selectorIndex(b, selector), privilege), descriptor)
    clearHandlerFlags(b, b.i32.eqz(b.i32.and(type, b.const32(1))))
    b.stateStore(Access.u64, State.rip, target)
    beginHandler(b, vector!)
    b.if(changes, () => {
      b.call(storeNullSegment, b.const32(Segment.ss), privilege, privilege)
      b.stateStore(Access.i32, State.cpl, privilege)
    })
    b.if(b.i32.or(changes, b.i32.eqz(bit(b, before, 13))), () => b.call(modeChanged))
    b.return()
  },
)
