/**
 * General registers that instructions use without naming them as operands, and the stack.
 *
 * In 64-bit mode stack addresses are RSP itself, for there is no base for SS; elsewhere SS:ESP or SS:SP (system/stack.ts).
 * Nothing here checks for canonical addresses; guest accesses do.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { State } from '../state-layout.ts'
import { loadStack, setStackPointer, storeStack } from '../system/stack.ts'
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

/** Loads `bits` bits at a stack pointer. */
export function stackLoad(b: Builder, pointer: Value, bits: number): Value {
  if (b.mode === 'long') return b.guestLoad(accessOf(bits), pointer)
  return b.call(loadStack, pointer, b.const32(bits / 8))
}

/** Stores `bits` bits at a stack pointer. */
export function stackStore(b: Builder, pointer: Value, value: Value, bits: number): void {
  if (b.mode === 'long') b.guestStore(accessOf(bits), pointer, value)
  else b.call(storeStack, pointer, b.const32(bits / 8), value)
}

/** Sets RSP, as far as the stack's address size goes. */
export function writeStackPointer(b: Builder, pointer: Value): void {
  if (b.mode === 'long') writeGpr(b, Gpr.rsp, pointer)
  else b.call(setStackPointer, pointer)
}

/** Stores below RSP, then moves RSP. */
export function push(b: Builder, value: Value, bits = 64): void {
  const top = b.i64.sub(readGpr(b, Gpr.rsp), b.const64(bits / 8))
  stackStore(b, top, value, bits)
  writeStackPointer(b, top)
}

/** Loads at RSP; the caller moves RSP by `afterPop` when nothing can fault any more. */
export function top(b: Builder, bits = 64): Value {
  return stackLoad(b, readGpr(b, Gpr.rsp), bits)
}

/** RSP without its topmost `bytes` bytes. */
export function afterPop(b: Builder, bytes: number): Value {
  return b.i64.add(readGpr(b, Gpr.rsp), b.const64(bytes))
}
