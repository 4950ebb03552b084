/**
 * Interrupts and exceptions through the interrupt table of real mode, which virtual-8086 mode uses too, for those
 * software interrupts that the bitmap of the task-state segment redirects to the 8086 program (SDM volume 3, 21.1.4,
 * 21.3.3). There are no error codes.
 */
import { Privilege, type Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { Flag, Segment, SegmentField, State, segmentOffset, Vector } from '../state-layout.ts'
import { anyBit, bit, bitField32 } from './bit-field.ts'
import { Cr4 } from './control-bits.ts'
import { baseOf, selectorOf } from './descriptor.ts'
import { enterRealCode, requireRealTarget } from './enter-code.ts'
import { beginHandler } from './event.ts'
import { readFlags } from './flags.ts'
import { attributesOf, rflagsOf } from './mode.ts'
import { setStackPointer, stackPointer, storeStack } from './stack.ts'

const { i32, i64 } = Type

/** The frame of three words, and the handler's CS:IP. (vector, linear address of the table, FLAGS image, flags to clear) */
const enterRealHandler: Procedure = procedure(
  'enterRealHandler',
  { parameters: [i32, i64, i64, i64], mayFault: true },
  (b, vector, table, image, cleared) => {
    const address = b.i64.add(table!, b.i64.extendI32U(b.i32.shl(vector!, b.const32(2))))
    const entry = b.guestLoad(Access.u32, address, Privilege.supervisor)
    const offset = b.i64.and(entry, b.const64(0xffff))
    requireRealTarget(b, offset)
    const pointer = stackPointer(b)
    const frame: Value[] = [
      image!,
      b.i64.extendI32U(selectorOf(b, Segment.cs)),
      b.stateLoad(Access.u64, State.rip),
    ]
    frame.forEach((value, index) =>
      b.call(storeStack, b.i64.sub(pointer, b.const64(2 * (index + 1))), b.const32(2), value),
    )
    b.call(setStackPointer, b.i64.sub(pointer, b.const64(6)))
    b.stateStore(Access.u64, State.rflags, b.i64.and(rflagsOf(b), b.i64.xor(cleared!, b.const64(-1))))
    beginHandler(b, vector!)
    b.call(enterRealCode, b.i32.wrapI64(b.i64.shrU(entry, b.const64(16))), offset)
    b.return()
  },
)

/** Delivers an event in real mode. (vector) */
export const deliverReal: Procedure = procedure(
  'deliverReal',
  { parameters: [i32], mayFault: true },
  (b, vector) => {
    const last = b.i32.or(b.i32.shl(vector!, b.const32(2)), b.const32(3))
    b.if(b.i32.gtU(last, b.stateLoad(Access.i32, State.idtrLimit)), () => b.raise(Vector.gp, b.const32(0)))
    const table = b.stateLoad(Access.u64, State.idtrBase)
    b.call(
      enterRealHandler,
      vector!,
      table,
      b.call(readFlags),
      b.const64(Flag.if | Flag.tf | Flag.ac | Flag.rf),
    )
    b.return()
  },
)

/** i32: whether the bitmap of the TSS keeps an interrupt from being redirected. (vector) */
const interruptIsKept: Procedure = procedure(
  'interruptIsKept',
  { parameters: [i32], result: i32, mayFault: true },
  (b, vector) => {
    const kept = b.const32(1)
    const limit = b.stateLoad(Access.i32, segmentOffset(Segment.tr, SegmentField.limit))
    b.if(b.i32.or(b.i32.ltU(limit, b.const32(0x67)), b.i32.eqz(bit(b, attributesOf(b, Segment.tr), 3))), () =>
      b.return(kept),
    )
    const task = baseOf(b, Segment.tr)
    const map = b.i32.wrapI64(b.guestLoad(Access.u16, b.i64.add(task, b.const64(0x66)), Privilege.supervisor))
    // The 32 bytes below the I/O bitmap.
    const at = b.i32.add(b.i32.sub(map, b.const32(32)), b.i32.shrU(vector!, b.const32(3)))
    b.if(b.i32.gtU(at, limit), () => b.return(kept))
    const byte = b.guestLoad(Access.u8, b.i64.add(task, b.i64.extendI32U(at)), Privilege.supervisor)
    b.return(b.i32.and(b.i32.shrU(b.i32.wrapI64(byte), b.i32.and(vector!, b.const32(7))), b.const32(1)))
  },
)

/** INT n in virtual-8086 mode. (vector) -> 1: delivered to the 8086 program; 0: it goes through the IDT. #GP(0) otherwise. */
export const deliverVirtual8086: Procedure = procedure(
  'deliverVirtual8086',
  { parameters: [i32], result: i32, mayFault: true },
  (b, vector) => {
    const flags = b.call(readFlags)
    const iopl3 = b.i32.eq(bitField32(b, flags, 12, 2), b.const32(3))
    const redirects = b.local(i32, b.const32(0))
    b.if(anyBit(b, b.stateLoad(Access.u64, State.cr4), Cr4.vme), () =>
      b.set(redirects, b.i32.eqz(b.call(interruptIsKept, vector!))),
    )
    b.if(b.i32.eqz(b.get(redirects)), () => {
      b.if(b.i32.eqz(iopl3), () => b.raise(Vector.gp, b.const32(0)))
      b.return(b.const32(0))
    })
    // Below IOPL 3 the program's IF is VIF, and it sees IOPL as 3.
    const vif = b.i64.and(b.i64.shrU(flags, b.const64(10)), b.const64(Flag.if))
    const virtual = b.i64.or(b.i64.or(b.i64.and(flags, b.const64(~Flag.if)), vif), b.const64(Flag.iopl))
    const always = Flag.tf | Flag.nt | Flag.rf
    b.call(
      enterRealHandler,
      vector!,
      b.const64(0),
      b.select(iopl3, flags, virtual),
      b.select(iopl3, b.const64(always | Flag.if), b.const64(always | Flag.vif)),
    )
    b.return(b.const32(1))
  },
)
