/** Packed decimal of 18 digits to and from integers, for FBLD and FBSTP (SDM volume 1, section 4.7). */
import { int64 } from '../ir/int64.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { State } from '../state-layout.ts'
import { SIGN, signExponentOf } from './softfloat80.ts'
import { fromInteger } from './softfloat80-convert.ts'

const { i32, i64 } = Type

/** (digits 0 to 15, digits 16 and 17 with the sign in bit 15) -> f80 */
export const fromBcd: Procedure = procedure(
  'f80FromBcd',
  { parameters: [i64, i64], result: i64 },
  (b, low, high) => {
    const w = int64(b)
    const value = b.local(i64, w.add(w.mul(w.and(w.shr(high, 4n), 15n), 10n), w.and(high, 15n)))
    const digits = b.local(i64, low)
    const count = b.local(i32, b.const32(16))
    b.loop((again) => {
      b.set(value, w.add(w.mul(b.get(value), 10n), w.shr(b.get(digits), 60n)))
      b.set(digits, w.shl(b.get(digits), 4n))
      b.set(count, b.i32.sub(b.get(count), b.const32(1)))
      b.brIf(b.get(count), again)
    })
    const significand = b.call(fromInteger, b.get(value))
    b.stateStore(Access.u64, State.f80Exponent, w.or(signExponentOf(b), w.and(high, SIGN)))
    b.return(significand)
  },
)

/** The low 16 digits of a number. */
export const toBcdLow: Procedure = procedure(
  'toBcdLow',
  { parameters: [i64], result: i64 },
  (b, magnitude) => {
    const w = int64(b)
    const rest = b.local(i64, magnitude)
    const digits = b.local(i64, w.of(0n))
    const count = b.local(i32, b.const32(16))
    b.loop((again) => {
      const digit = b.i64.remU(b.get(rest), w.of(10n))
      b.set(digits, b.i64.rotr(w.or(b.get(digits), digit), w.of(4n)))
      b.set(rest, b.i64.divU(b.get(rest), w.of(10n)))
      b.set(count, b.i32.sub(b.get(count), b.const32(1)))
      b.brIf(b.get(count), again)
    })
    b.return(b.get(digits))
  },
)

/** Digits 16 and 17 of a number below 10^18. */
export const toBcdHigh: Procedure = procedure(
  'toBcdHigh',
  { parameters: [i64], result: i64 },
  (b, magnitude) => {
    const w = int64(b)
    const top = b.i64.divU(magnitude, w.of(10n ** 16n))
    b.return(w.or(w.shl(b.i64.divU(top, w.of(10n)), 4n), b.i64.remU(top, w.of(10n))))
  },
)
