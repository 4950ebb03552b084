/**
 * General registers that instructions use without naming them as operands, and the stack.
 *
 * Stack addresses are RSP itself: 64-bit mode has no base for SS. Nothing here checks for canonical addresses; guest
 * accesses do.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { State } from '../state-layout.ts'
import { accessOf } from './sizes.ts'

/** Numbers of the general registers. */
export const Gpr = { rax: 0, rcx: 1, rdx: 2, rbx: 3, rsp: 4, rbp: 5, rsi: 6, rdi: 7 } as const

/** The low `bits` bits of a register, zero-extended. */
export function readGpr(b: Builder, register: number, bits = 64): Value {
  return b.stateLoad(accessOf(bits), State.gpr + register * 8)
}

/** Writes the low `bits` bits; 32 bits clear the upper half. */
export function writeGpr(b: Builder, register: number, value: Value, bits = 64): void {
  const access = bits === 32 ? Access.u64 : accessOf(bits)
  b.stateStore(access, State.gpr + register * 8, b.truncate(bits === 32 ? 32 : 64, value))
}

/** AH. */
export const AH: number = State.gpr + 1

/** Stores below RSP, then moves RSP. */
export function push(b: Builder, value: Value, bits = 64): void {
  const top = b.i64.sub(readGpr(b, Gpr.rsp), b.const64(bits / 8))
  b.guestStore(accessOf(bits), top, value)
  writeGpr(b, Gpr.rsp, top)
}

/** Loads at RSP; the caller moves RSP by `afterPop` when nothing can fault any more. */
export function top(b: Builder, bits = 64): Value {
  return b.guestLoad(accessOf(bits), readGpr(b, Gpr.rsp))
}

/** RSP without its topmost `bytes` bytes. */
export function afterPop(b: Builder, bytes: number): Value {
  return b.i64.add(readGpr(b, Gpr.rsp), b.const64(bytes))
}
