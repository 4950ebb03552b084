/** Setting arithmetic flags to a combination that need not be the outcome of an operation. */
import {
  Access,
  ARITHMETIC_FLAGS,
  Flag,
  type Procedure,
  procedure,
  State,
  Type,
  type Value,
} from '@trapframe/x86'

const { i32 } = Type

/** (mask of flags to set, i32 with the flags at their EFLAGS positions) */
export const setFlags: Procedure = procedure('setFlags', { parameters: [i32, i32] }, (b, mask, image) => {
  const keep = b.i32.and(b.flags(), b.i32.xor(mask!, b.const32(ARITHMETIC_FLAGS)))
  const flags = b.i32.or(keep, b.i32.and(image!, mask!))
  const isSet = (flag: number): Value => b.i32.ne(b.i32.and(flags, b.const32(flag)), b.const32(0))
  const bitAt = (condition: Value, place: number): Value =>
    b.i64.shl(b.i64.extendI32U(condition), b.const64(place))
  // A non-zero result has an even low byte; what SF and PF then lack is put into aux.
  b.stateStore(Access.u64, State.flagsResult, b.select(isSet(Flag.zf), b.const64(0), b.const64(0x100)))
  const aux = b.i64.or(
    bitAt(isSet(Flag.sf), 63),
    b.i64.or(bitAt(b.i32.eqz(isSet(Flag.pf)), 8), bitAt(isSet(Flag.af), 4)),
  )
  b.stateStore(Access.u64, State.flagsAux, aux)
  const carry = isSet(Flag.cf)
  b.stateStore(
    Access.u64,
    State.flagsCarry,
    b.i64.or(bitAt(carry, 63), bitAt(b.i32.xor(carry, isSet(Flag.of)), 62)),
  )
})
