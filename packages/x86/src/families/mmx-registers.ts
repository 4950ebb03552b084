/**
 * MMX registers as operands (SDM volume 1, chapter 9): MMn is the significand of the x87 register Rn. Every MMX
 * instruction (but EMMS) marks all x87 registers valid and sets TOP to 0; a write sets the register's exponent to ones.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import type { Body } from '../isa/form.ts'
import type { Operands } from '../isa/operands.ts'
import { State } from '../state-layout.ts'
import { requireMmx } from './fpu-guard.ts'

const FSW_TOP = 0x3800

/** A body that is guarded as MMX instructions are, and puts the x87 unit in MMX state once it is done. */
export function mmx(body: Body): Body {
  return (b, o) => {
    requireMmx(b)
    body(b, o)
    enterMmx(b)
  }
}

/** Empties the x87 stack's top and marks every register valid: what executing an MMX instruction does. */
export function enterMmx(b: Builder): void {
  b.stateStore(Access.i32, State.fsw, b.i32.and(b.stateLoad(Access.i32, State.fsw), b.const32(~FSW_TOP)))
  b.stateStore(Access.i32, State.ftw, b.const32(0xff))
}

/** An MMX register or 64 bits of memory as the low half of a vector. */
export function readMmx(b: Builder, o: Operands, index: number): Value {
  return b.i64x2.splat(o.readLow(index, Access.u64))
}

/** Operand 0 as the low half and operand 1 as the high half of a vector. */
export function readMmxPair(b: Builder, o: Operands): Value {
  const y = o.readLow(1, Access.u64)
  return b.replaceLane('i64x2', b.i64x2.splat(o.readLow(0, Access.u64)), 1, y)
}

/** Writes the low half of a vector to an MMX register. */
export function writeMmx(b: Builder, o: Operands, index: number, vector: Value): void {
  writeMmx64(b, o, index, b.extractLane('i64x2', vector, 0))
}

/** Writes an i64 to an MMX register. */
export function writeMmx64(b: Builder, o: Operands, index: number, value: Value): void {
  const { offset, dynamic } = o.binding.register(index)
  b.stateStore(Access.u64, offset, value, dynamic)
  b.stateStore(Access.u16, offset + 8, b.const64(0xffff), dynamic)
}
