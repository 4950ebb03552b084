/**
 * 80-bit floating point in software: what all operations share (SDM volume 1, sections 4.8, 4.9 and 8.5).
 *
 * A value is two i64: significand with explicit integer bit, and sign and exponent in 16 bits. Procedures return the
 * significand and leave sign and exponent in `State.f80Exponent`. Exceptions and C1 are gathered in `State.f80Raised`
 * at their status-word positions; the instruction moves them to the status word once nothing can fault any more.
 * Control comes from `State.fcw`: rounding always, precision where the caller asks for it.
 *
 * Results are those of the masked response, but overflow and underflow that are unmasked bias the exponent. Tininess is
 * detected after rounding.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { int64 } from '../ir/int64.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { State } from '../state-layout.ts'

const { i32, i64 } = Type

/** Exception bits of status and control word, and C1. */
export const X87 = {
  invalid: 1,
  denormal: 2,
  zeroDivide: 4,
  overflow: 8,
  underflow: 0x10,
  precision: 0x20,
  stack: 0x40,
  c1: 0x200,
} as const

export const INTEGER_BIT: bigint = 1n << 63n
export const QUIET_BIT: bigint = 1n << 62n
export const SIGN = 0x8000n
export const MAX_EXPONENT = 0x7fffn
export const BIAS = 16383n
/** The real indefinite: a negative quiet NaN without payload. */
export const INDEFINITE_SIGNIFICAND: bigint = INTEGER_BIT | QUIET_BIT
export const INDEFINITE_EXPONENT = 0xffffn
/** What unmasked overflow and underflow move the exponent by. */
const WRAP = 24576n

/** Adds to the exceptions of this instruction. */
export function raise(b: Builder, bits: number): void {
  b.stateStore(
    Access.i32,
    State.f80Raised,
    b.i32.or(b.stateLoad(Access.i32, State.f80Raised), b.const32(bits)),
  )
}

/** Exceptions whose unmasked response leaves operands alone. */
export const BEFORE: number = X87.invalid | X87.denormal | X87.zeroDivide

/** Gathered exceptions of `mask` whose response is not masked, i32. */
export function unmaskedOf(b: Builder, mask: number): Value {
  const raised = b.i32.and(b.stateLoad(Access.i32, State.f80Raised), b.const32(mask))
  return b.i32.and(raised, b.i32.xor(b.stateLoad(Access.i32, State.fcw), b.const32(-1)))
}

/** Raises #I, which takes precedence over the #D that an operand may have raised. */
export function raiseInvalid(b: Builder): void {
  forgetDenormal(b)
  raise(b, X87.invalid)
}
export function forgetDenormal(b: Builder): void {
  const others = b.i32.and(b.stateLoad(Access.i32, State.f80Raised), b.const32(~X87.denormal))
  b.stateStore(Access.i32, State.f80Raised, others)
}

/** Leaves a procedure with a value. */
export function give(b: Builder, significand: Value, signExponent: Value): void {
  b.stateStore(Access.u64, State.f80Exponent, signExponent)
  b.return(significand)
}

/** Leaves a procedure with the real indefinite. */
export function giveIndefinite(b: Builder): void {
  give(b, b.const64(INDEFINITE_SIGNIFICAND), b.const64(INDEFINITE_EXPONENT))
}

/** The second result of the procedure that was called last. */
export function signExponentOf(b: Builder): Value {
  return b.stateLoad(Access.u64, State.f80Exponent)
}

export function exponentOf(b: Builder, signExponent: Value): Value {
  return int64(b).and(signExponent, MAX_EXPONENT)
}

/** NaN, or an encoding without the integer bit that a non-zero exponent demands (unsupported). i32 */
export function isNanOrUnsupported(b: Builder, significand: Value, signExponent: Value): Value {
  const w = int64(b)
  const exponent = exponentOf(b, signExponent)
  const unsupported = b.i32.and(w.ne(exponent, 0n), w.geS(significand, 0n))
  const nan = b.i32.and(w.eq(exponent, MAX_EXPONENT), w.ne(w.shl(significand, 1n), 0n))
  return b.i32.or(unsupported, nan)
}

/** A denormal or pseudo-denormal: exponent 0, but not zero. i32 */
export function isDenormal(b: Builder, significand: Value, signExponent: Value): Value {
  const w = int64(b)
  return b.i32.and(w.isZero(exponentOf(b, signExponent)), w.ne(significand, 0n))
}

/** RC, 0 to 3: nearest, down, up, towards zero. i64 */
export function roundingControl(b: Builder): Value {
  const w = int64(b)
  return w.and(w.shr(b.stateLoad(Access.u32, State.fcw), 10n), 3n)
}

/** Bits of a significand that precision control takes away: 0, 11 or 40. i64 */
export function droppedBits(b: Builder): Value {
  const w = int64(b)
  const control = w.and(w.shr(b.stateLoad(Access.u32, State.fcw), 8n), 3n)
  return w.select(w.isZero(control), 40n, w.select(w.eq(control, 2n), 11n, 0n))
}

/**
 * Whether a magnitude is rounded up. (sign: 0 or not, fraction: what is cut off, 2^63 is one half, odd: last kept bit,
 * 0 or not) -> 0 or 1
 */
export const roundsUp: Procedure = procedure(
  'f80RoundsUp',
  { parameters: [i64, i64, i64], result: i32 },
  (b, sign, fraction, odd) => {
    const w = int64(b)
    const rc = roundingControl(b)
    b.if(w.isZero(rc), () => {
      const tie = b.i32.and(w.eq(fraction, INTEGER_BIT), w.ne(odd, 0n))
      b.return(b.i32.or(w.gtU(fraction, INTEGER_BIT), tie))
    })
    const towards = w.select(w.ne(sign, 0n), 1n, 2n)
    b.return(b.i32.and(w.eq(rc, towards), w.ne(fraction, 0n)))
  },
)

/** A 128-bit value shifted right by `count` (>= 0); what falls off is or'ed into the lowest bit. High half of the result. */
export const shiftRightHigh: Procedure = procedure(
  'f80ShiftRightHigh',
  { parameters: [i64, i64], result: i64 },
  (b, high, count) => {
    const w = int64(b)
    b.return(w.select(w.geU(count, 64n), 0n, w.shr(high, count)))
  },
)
/** Low half of the same shift. (high, low, count) */
export const shiftRightLow: Procedure = procedure(
  'f80ShiftRightLow',
  { parameters: [i64, i64, i64], result: i64 },
  (b, high, low, count) => {
    const w = int64(b)
    const sticky = (value: Value): Value => w.fromBool(w.ne(value, 0n))
    b.if(w.isZero(count), () => b.return(low))
    b.if(w.ltU(count, 64n), () => {
      const back = w.sub(64n, count)
      b.return(w.or(w.or(w.shl(high, back), w.shr(low, count)), sticky(w.shl(low, back))))
    })
    b.if(w.eq(count, 64n), () => b.return(w.or(high, sticky(low))))
    b.if(w.geU(count, 128n), () => b.return(sticky(w.or(high, low))))
    const lost = w.or(w.shl(high, w.sub(128n, count)), low)
    b.return(w.or(w.shr(high, w.sub(count, 64n)), sticky(lost)))
  },
)

/**
 * Rounds and packs. (sign: 0 or 0x8000, exponent: biased, any size, high: normalised, low: 64 more bits, dropped: 0, 11
 * or 40 bits that the format has less, limit: first exponent that is too large, 0x7fff for a register)
 */
export const round: Procedure = procedure(
  'f80Round',
  { parameters: [i64, i64, i64, i64, i64, i64], result: i64 },
  (b, sign, exponentIn, highIn, lowIn, dropped, limit) => {
    const w = int64(b)
    const exponent = b.local(i64, exponentIn)
    const high = b.local(i64, highIn)
    const low = b.local(i64, lowIn)
    const tiny = b.local(i32, b.const32(0))
    const unit = w.shl(1n, dropped)
    const forRegister = w.eq(limit, MAX_EXPONENT)
    const unmasked = (bit: number): Value => w.isZero(w.and(b.stateLoad(Access.u32, State.fcw), BigInt(bit)))

    const keptNow = (): Value => w.and(b.get(high), w.sub(0n, unit))
    const fractionNow = (): Value => {
      const inHigh = w.or(w.shl(b.get(high), w.sub(64n, dropped)), w.fromBool(w.ne(b.get(low), 0n)))
      return w.select(w.isZero(dropped), b.get(low), inHigh)
    }
    const up = (kept: Value, fraction: Value): Value => b.call(roundsUp, sign, fraction, w.and(kept, unit))

    b.if(w.leS(b.get(exponent), 0n), () => {
      const kept = keptNow()
      // Rounded with an unbounded exponent, would it become the smallest normal number?
      const carries = b.i32.and(up(kept, fractionNow()), w.isZero(w.add(kept, unit)))
      b.set(tiny, b.i32.eqz(b.i32.and(w.isZero(b.get(exponent)), carries)))
      b.if(
        b.i32.and(b.i32.and(b.get(tiny), forRegister), unmasked(X87.underflow)),
        () => {
          raise(b, X87.underflow)
          // FSCALE can be further out than the exponent is moved: then the result is zero (or infinity).
          b.if(w.leS(b.get(exponent), -WRAP), () => {
            raise(b, X87.precision)
            give(b, w.of(0n), sign)
          })
          b.set(exponent, w.add(b.get(exponent), WRAP))
          b.set(tiny, b.const32(0))
        },
        () => {
          b.if(b.i32.and(b.get(tiny), unmasked(X87.underflow)), () => raise(b, X87.underflow))
          const count = w.sub(1n, b.get(exponent))
          b.set(low, b.call(shiftRightLow, b.get(high), b.get(low), count))
          b.set(high, b.call(shiftRightHigh, b.get(high), count))
          b.set(exponent, b.const64(0))
        },
      )
    })

    const kept = b.local(i64, keptNow())
    const fraction = fractionNow()
    const roundedUp = up(b.get(kept), fraction)
    b.if(w.ne(fraction, 0n), () => {
      raise(b, X87.precision)
      b.if(b.get(tiny), () => raise(b, X87.underflow))
    })
    b.if(roundedUp, () => {
      b.set(kept, w.add(b.get(kept), unit))
      b.if(w.isZero(b.get(kept)), () => {
        b.set(kept, b.const64(INTEGER_BIT))
        b.set(exponent, w.add(b.get(exponent), 1n))
      })
      // A denormal became the smallest normal number.
      b.if(w.isZero(b.get(exponent)), () => b.set(exponent, w.shr(b.get(kept), 63n)))
    })
    const infinite = b.local(i32, roundedUp)
    b.if(w.geS(b.get(exponent), limit), () => {
      raise(b, X87.overflow)
      const near = b.i32.and(forRegister, w.ltS(b.get(exponent), WRAP + MAX_EXPONENT))
      b.if(
        b.i32.and(near, unmasked(X87.overflow)),
        () => b.set(exponent, w.sub(b.get(exponent), WRAP)),
        () => {
          raise(b, X87.precision)
          const rc = roundingControl(b)
          const away = b.i32.or(w.isZero(rc), w.eq(rc, w.select(w.ne(sign, 0n), 1n, 2n)))
          b.set(infinite, b.i32.or(away, b.i32.and(forRegister, unmasked(X87.overflow))))
          b.set(exponent, w.select(b.get(infinite), limit, w.sub(limit, 1n)))
          b.set(kept, w.select(b.get(infinite), INTEGER_BIT, w.sub(0n, unit)))
        },
      )
    })
    b.if(b.get(infinite), () => raise(b, X87.c1))
    give(b, b.get(kept), w.or(sign, b.get(exponent)))
  },
)

/**
 * The NaN that an operation on x and y gives, at least one of which is a NaN or unsupported (SDM volume 1, table 4-7):
 * a quiet NaN beats a signalling one, else the larger significand, else the positive one. For one operand pass it twice.
 */
export const nanOf: Procedure = procedure(
  'f80Nan',
  { parameters: [i64, i64, i64, i64], result: i64 },
  (b, xSignificand, xExponent, ySignificand, yExponent) => {
    const w = int64(b)
    forgetDenormal(b)
    const unsupported = (significand: Value, exponent: Value): Value =>
      b.i32.and(w.ne(w.and(exponent, MAX_EXPONENT), 0n), w.geS(significand, 0n))
    b.if(b.i32.or(unsupported(xSignificand, xExponent), unsupported(ySignificand, yExponent)), () => {
      raise(b, X87.invalid)
      giveIndefinite(b)
    })
    const isNan = (significand: Value, exponent: Value): Value =>
      b.i32.and(w.eq(w.and(exponent, MAX_EXPONENT), MAX_EXPONENT), w.ne(w.shl(significand, 1n), 0n))
    const signals = (nan: Value, significand: Value): Value =>
      b.i32.and(nan, w.isZero(w.and(significand, QUIET_BIT)))
    const xNan = isNan(xSignificand, xExponent)
    const yNan = isNan(ySignificand, yExponent)
    const xSignals = signals(xNan, xSignificand)
    const ySignals = signals(yNan, ySignificand)
    b.if(b.i32.or(xSignals, ySignals), () => raise(b, X87.invalid))
    const x = w.or(xSignificand, QUIET_BIT)
    const y = w.or(ySignificand, QUIET_BIT)
    const giveX = (): void => give(b, x, xExponent)
    const giveY = (): void => give(b, y, yExponent)
    b.if(b.i32.eqz(yNan), giveX)
    b.if(b.i32.eqz(xNan), giveY)
    b.if(b.i32.ne(xSignals, ySignals), () => b.if(xSignals, giveY, giveX))
    b.if(w.gtU(x, y), giveX)
    b.if(w.gtU(y, x), giveY)
    b.if(w.ltU(xExponent, yExponent), giveX)
    giveY()
  },
)

/** Raises the denormal exception if one of two operands is denormal. */
export function raiseDenormal(
  b: Builder,
  ...operands: readonly (readonly [significand: Value, signExponent: Value])[]
): void {
  const any = operands
    .map(([significand, signExponent]) => isDenormal(b, significand, signExponent))
    .reduce((x, y) => b.i32.or(x, y))
  b.if(any, () => raise(b, X87.denormal))
}
