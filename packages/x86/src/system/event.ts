/** How the delivery procedures of the modes are told what an event is, and what they share. */
import type { Builder, Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { Flag, State, Vector } from '../state-layout.ts'

/** How `deliverEvent` treats an event. */
export const Treat = {
  /** Error codes of nested faults have EXT set. */
  external: 1,
  /** The gate's DPL must allow the CPL. */
  checked: 2,
  /** RF is set in the frame: a fault. */
  restart: 4,
  /** INT n, which virtual-8086 mode restricts. */
  numbered: 8,
} as const

/** RFLAGS image of a frame: RF is set for faults, so that the handler returns past an instruction breakpoint. */
export function frameFlags(b: Builder, flags: Value, treat: Value): Value {
  const restart = b.i32.and(treat, b.const32(Treat.restart))
  return b.i64.or(flags, b.select(restart, b.const64(Flag.rf), b.const64(0)))
}

/** What every delivery does to the CPU beside registers: it wakes, and #DB switches general-detect off. */
export function beginHandler(b: Builder, vector: Value): void {
  b.stateStore(Access.i32, State.halted, b.const32(0))
  b.stateStore(Access.i32, State.interruptShadow, b.const32(0))
  b.if(b.i32.eq(vector, b.const32(Vector.db)), () => {
    const dr7 = b.stateLoad(Access.u64, State.dr + 5 * 8)
    b.stateStore(Access.u64, State.dr + 5 * 8, b.i64.and(dr7, b.const64(~0x2000)))
  })
}

/** Clears the flags that a handler starts without. @param interrupts - i32: IF too */
export function clearHandlerFlags(b: Builder, interrupts: Value): void {
  const always = Flag.tf | Flag.nt | Flag.rf | Flag.vm
  const cleared = b.select(interrupts, b.const64(~(always | Flag.if)), b.const64(~always))
  b.stateStore(Access.u64, State.rflags, b.i64.and(b.stateLoad(Access.u64, State.rflags), cleared))
}
