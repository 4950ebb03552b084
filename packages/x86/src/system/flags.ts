/**
 * RFLAGS as a whole. The arithmetic flags live in three words of their own (see state-layout.ts), the others in
 * `State.rflags`; these procedures join and split them.
 *
 * RF is never kept: every instruction but IRET clears it, and as long as there are no instruction breakpoints nobody
 * can tell. Delivery of a fault pushes it set.
 */
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { ARITHMETIC_FLAGS, Flag, State } from '../state-layout.ts'
import { anyBit } from './bit-field.ts'
import { modeChanged } from './engine.ts'

const { i64 } = Type

/** Flags that `State.rflags` holds and that can be written: all but the arithmetic ones, RF, VM and bit 1. */
export const STORED_FLAGS: number =
  Flag.tf | Flag.if | Flag.df | Flag.iopl | Flag.nt | Flag.ac | Flag.vif | Flag.vip | Flag.id

/** All of RFLAGS. () -> i64 */
export const readFlags: Procedure = procedure('readFlags', { result: i64 }, (b) => {
  b.return(b.i64.or(b.stateLoad(Access.u64, State.rflags), b.i64.extendI32U(b.flags())))
})

/**
 * Replaces the flags in `mask` by those of `value`. (value i64, mask i64). RF, VM and reserved bits stay as they are
 * whatever the mask says. Who may change IOPL and IF is the caller's question. Tells the engine when AC changes
 * (SMAP); whoever sets IF or TF must end the instruction with `resync`.
 */
export const writeFlags: Procedure = procedure('writeFlags', { parameters: [i64, i64] }, (b, value, mask) => {
  const difference = b.i32.and(
    b.i32.xor(b.flags(), b.i32.wrapI64(value!)),
    b.i32.and(b.i32.wrapI64(mask!), b.const32(ARITHMETIC_FLAGS)),
  )
  b.flagsSet(ARITHMETIC_FLAGS, b.i32.xor(b.flags(), difference))
  const old = b.stateLoad(Access.u64, State.rflags)
  const change = b.i64.and(b.i64.xor(old, value!), b.i64.and(mask!, b.const64(STORED_FLAGS)))
  b.stateStore(Access.u64, State.rflags, b.i64.xor(old, change))
  b.if(anyBit(b, change, Flag.ac), () => b.call(modeChanged))
  b.return()
})
