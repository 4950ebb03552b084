/**
 * The six arithmetic flags as the state keeps them: three words, defined at the head of ../state-layout.ts. This is
 * the definition in executable form; it works on a state of any engine.
 */
import { Flag, State } from '../state-layout.ts'

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value)

function evenParity(byte: bigint): boolean {
  let ones = 0
  for (let rest = byte & 0xffn; rest !== 0n; rest &= rest - 1n) ones++
  return ones % 2 === 0
}

/** The six flags at their EFLAGS positions. */
export function readArithmeticFlags(state: DataView): number {
  const result = state.getBigUint64(State.flagsResult, true)
  const carry = state.getBigUint64(State.flagsCarry, true)
  const aux = state.getBigUint64(State.flagsAux, true)
  let flags = 0
  if (carry >> 63n) flags |= Flag.cf
  if (evenParity(result ^ (aux >> 8n))) flags |= Flag.pf
  if (aux & 0x10n) flags |= Flag.af
  if (result === 0n) flags |= Flag.zf
  if ((result ^ aux) >> 63n) flags |= Flag.sf
  if (u64(carry ^ (carry << 1n)) >> 63n) flags |= Flag.of
  return flags
}

/** Stores any combination of the six flags; other bits of `flags` are not looked at. */
export function writeArithmeticFlags(state: DataView, flags: number): void {
  const has = (flag: number): bigint => (flags & flag ? 1n : 0n)
  const parityEven = has(Flag.pf)
  const sign = has(Flag.sf)
  let aux = has(Flag.af) << 4n
  let result = 0n
  if (flags & Flag.zf) {
    // A result of zero has SF = 0 and PF = 1; aux turns them round.
    aux |= (sign << 63n) | (parityEven ? 0n : 0x100n)
  } else {
    result = (sign << 63n) | 0x100n | (parityEven ? 0n : 1n)
  }
  state.setBigUint64(State.flagsResult, result, true)
  state.setBigUint64(State.flagsCarry, (has(Flag.cf) << 63n) | ((has(Flag.cf) ^ has(Flag.of)) << 62n), true)
  state.setBigUint64(State.flagsAux, aux, true)
}

/** Flags of x + y (+ carry) = result, operands zero-extended. @param keepCarry - CF stays */
export function storeAddFlags(
  state: DataView,
  bits: number,
  x: bigint,
  y: bigint,
  result: bigint,
  keepCarry: boolean,
): void {
  storeCarries(state, bits, (x & y) | ((x | y) & ~result), x ^ y ^ result, result, keepCarry)
}

/** Flags of x - y (- borrow) = result. */
export function storeSubFlags(
  state: DataView,
  bits: number,
  x: bigint,
  y: bigint,
  result: bigint,
  keepCarry: boolean,
): void {
  storeCarries(state, bits, (~x & y) | ((~x | y) & result), x ^ y ^ result, result, keepCarry)
}

/** ZF, SF and PF of the result; CF, OF and AF are cleared. */
export function storeLogicFlags(state: DataView, bits: number, result: bigint): void {
  state.setBigInt64(State.flagsResult, BigInt.asIntN(bits, result), true)
  state.setBigUint64(State.flagsCarry, 0n, true)
  state.setBigUint64(State.flagsAux, 0n, true)
}

function storeCarries(
  state: DataView,
  bits: number,
  carries: bigint,
  halves: bigint,
  result: bigint,
  keepCarry: boolean,
): void {
  let carry = u64(carries << BigInt(64 - bits))
  if (keepCarry) {
    const overflow = u64(carry ^ (carry << 1n)) >> 63n
    const old = state.getBigUint64(State.flagsCarry, true) >> 63n
    carry = (old << 63n) | ((old ^ overflow) << 62n)
  }
  state.setBigInt64(State.flagsResult, BigInt.asIntN(bits, result), true)
  state.setBigUint64(State.flagsCarry, carry, true)
  state.setBigUint64(State.flagsAux, halves & 0x10n, true)
}

/** Whether condition code 0 to 15 (as in Jcc) holds for flags at their EFLAGS positions. */
export function conditionHolds(code: number, flags: number): boolean {
  const cf = (flags & Flag.cf) !== 0
  const zf = (flags & Flag.zf) !== 0
  const less = ((flags & Flag.sf) !== 0) !== ((flags & Flag.of) !== 0)
  const holds = [
    (flags & Flag.of) !== 0,
    cf,
    zf,
    cf || zf,
    (flags & Flag.sf) !== 0,
    (flags & Flag.pf) !== 0,
    less,
    less || zf,
  ]
  return holds[code >> 1]! !== ((code & 1) !== 0)
}
