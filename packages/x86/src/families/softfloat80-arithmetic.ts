/**
 * 80-bit addition, multiplication, division, square root and remainder (conventions: softfloat80.ts).
 */
import type { Builder, Local, Value } from '../ir/builder.ts'
import { int64 } from '../ir/int64.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { State } from '../state-layout.ts'
import {
  BEFORE,
  BIAS,
  droppedBits,
  exponentOf,
  forgetDenormal,
  give,
  giveIndefinite,
  INTEGER_BIT,
  isNanOrUnsupported,
  MAX_EXPONENT,
  nanOf,
  raise,
  raiseDenormal,
  raiseInvalid,
  round,
  roundingControl,
  SIGN,
  shiftRightHigh,
  shiftRightLow,
  unmaskedOf,
  X87,
} from './softfloat80.ts'

const { i32, i64 } = Type
const binary = { parameters: [i64, i64, i64, i64], result: i64 } as const

/** Leaves with a NaN if an operand is one or is unsupported. */
function nanFirst(
  b: Builder,
  xSignificand: Value,
  xExponent: Value,
  ySignificand: Value,
  yExponent: Value,
): void {
  const odd = b.i32.or(
    isNanOrUnsupported(b, xSignificand, xExponent),
    isNanOrUnsupported(b, ySignificand, yExponent),
  )
  b.if(odd, () => b.return(b.call(nanOf, xSignificand, xExponent, ySignificand, yExponent)))
}

function invalid(b: Builder): void {
  raiseInvalid(b)
  giveIndefinite(b)
}

/** A non-zero operand with its integer bit at bit 63: exponent as though denormals had more of them. */
function normalise(
  b: Builder,
  significand: Value,
  signExponent: Value,
): { significand: Value; exponent: Value } {
  const w = int64(b)
  const exponent = exponentOf(b, signExponent)
  const count = w.clz(significand)
  return {
    significand: w.shl(significand, count),
    exponent: w.sub(w.select(w.isZero(exponent), 1n, exponent), count),
  }
}

/** x + y, or x - y with `subtract` = 0x8000. (x, x, y, y, subtract) */
export const add: Procedure = procedure(
  'f80Add',
  { parameters: [i64, i64, i64, i64, i64], result: i64 },
  (b, x, xe, y, ye, subtract) => {
    const w = int64(b)
    nanFirst(b, x, xe, y, ye)
    const xSign = w.and(xe, SIGN)
    const ySign = w.and(w.xor(ye, subtract), SIGN)
    const xExponent = exponentOf(b, xe)
    const yExponent = exponentOf(b, ye)
    const differ = w.ne(xSign, ySign)
    const xInfinite = w.eq(xExponent, MAX_EXPONENT)
    const yInfinite = w.eq(yExponent, MAX_EXPONENT)
    b.if(b.i32.and(b.i32.and(xInfinite, yInfinite), differ), () => invalid(b))
    raiseDenormal(b, [x, xe], [y, ye])
    b.if(xInfinite, () => give(b, x, xe))
    b.if(yInfinite, () => give(b, y, w.or(ySign, MAX_EXPONENT)))
    const zeroSign = w.select(w.eq(roundingControl(b), 1n), SIGN, 0n)
    b.if(w.isZero(w.or(x, y)), () => give(b, w.of(0n), w.select(differ, zeroSign, xSign)))

    // The operand of larger magnitude is `large`.
    const xScale = w.select(w.isZero(xExponent), 1n, xExponent)
    const yScale = w.select(w.isZero(yExponent), 1n, yExponent)
    const swap = b.i32.or(w.ltU(xScale, yScale), b.i32.and(w.eq(xScale, yScale), w.ltU(x, y)))
    const large = w.select(swap, y, x)
    const small = w.select(swap, x, y)
    const sign = w.select(swap, ySign, xSign)
    const exponent = b.local(i64, w.select(swap, yScale, xScale))
    const distance = w.sub(b.get(exponent), w.select(swap, xScale, yScale))
    const smallHigh = b.call(shiftRightHigh, small, distance)
    const smallLow = b.call(shiftRightLow, small, w.of(0n), distance)
    const high = b.local(i64)
    const low = b.local(i64)
    b.if(
      differ,
      () => {
        b.set(low, w.sub(0n, smallLow))
        b.set(high, w.sub(w.sub(large, smallHigh), w.fromBool(w.ne(smallLow, 0n))))
        b.if(w.isZero(w.or(b.get(high), b.get(low))), () => give(b, w.of(0n), zeroSign))
      },
      () => {
        const sum = w.add(large, smallHigh)
        const carry = w.ltU(sum, large)
        const carried = w.or(w.or(w.shl(sum, 63n), w.shr(smallLow, 1n)), w.and(smallLow, 1n))
        b.set(low, w.select(carry, carried, smallLow))
        b.set(high, w.select(carry, w.or(w.shr(sum, 1n), INTEGER_BIT), sum))
        b.set(exponent, w.add(b.get(exponent), w.fromBool(carry)))
      },
    )
    b.if(w.isZero(b.get(high)), () => {
      b.set(high, b.get(low))
      b.set(low, w.of(0n))
      b.set(exponent, w.sub(b.get(exponent), 64n))
    })
    const count = w.clz(b.get(high))
    // With a count of 0 the shift by 64 would be one by 0.
    const moved = w.shr(w.shr(b.get(low), 1n), w.sub(63n, count))
    const normal = w.or(w.shl(b.get(high), count), moved)
    const rest = w.shl(b.get(low), count)
    b.return(
      b.call(round, sign, w.sub(b.get(exponent), count), normal, rest, droppedBits(b), w.of(MAX_EXPONENT)),
    )
  },
)

/** High half of the 128-bit product. */
const multiplyHigh = procedure('multiplyHigh', { parameters: [i64, i64], result: i64 }, (b, x, y) => {
  const w = int64(b)
  const lowHalf = (value: Value): Value => w.and(value, 0xffff_ffffn)
  const highHalf = (value: Value): Value => w.shr(value, 32n)
  const low = w.mul(lowHalf(x), lowHalf(y))
  const first = w.add(w.mul(highHalf(x), lowHalf(y)), highHalf(low))
  const second = w.add(w.mul(lowHalf(x), highHalf(y)), lowHalf(first))
  b.return(w.add(w.add(w.mul(highHalf(x), highHalf(y)), highHalf(first)), highHalf(second)))
})

/** x * y. */
export const multiply: Procedure = procedure('f80Multiply', binary, (b, x, xe, y, ye) => {
  const w = int64(b)
  nanFirst(b, x, xe, y, ye)
  const sign = w.and(w.xor(xe, ye), SIGN)
  const anyInfinite = b.i32.or(w.eq(exponentOf(b, xe), MAX_EXPONENT), w.eq(exponentOf(b, ye), MAX_EXPONENT))
  const anyZero = b.i32.or(w.isZero(x), w.isZero(y))
  b.if(b.i32.and(anyInfinite, anyZero), () => invalid(b))
  raiseDenormal(b, [x, xe], [y, ye])
  b.if(anyInfinite, () => give(b, w.of(INTEGER_BIT), w.or(sign, MAX_EXPONENT)))
  b.if(anyZero, () => give(b, w.of(0n), sign))
  const left = normalise(b, x, xe)
  const right = normalise(b, y, ye)
  const high = b.call(multiplyHigh, left.significand, right.significand)
  const low = w.mul(left.significand, right.significand)
  // The product of two numbers from [1, 2) is below 4.
  const two = w.shr(high, 63n)
  const one = w.sub(1n, two)
  const normal = w.or(w.shl(high, one), w.and(w.shr(low, 63n), one))
  const exponent = w.add(w.sub(w.add(left.exponent, right.exponent), BIAS), two)
  b.return(b.call(round, sign, exponent, normal, w.shl(low, one), droppedBits(b), w.of(MAX_EXPONENT)))
})

/** (high : low) / divisor, high < divisor. The remainder is left in `State.f80Exponent`. */
const divideWide = procedure(
  'divideWide',
  { parameters: [i64, i64, i64], result: i64 },
  (b, high, low, divisor) => {
    const w = int64(b)
    const remainder = b.local(i64, high)
    const quotient = b.local(i64, low)
    const count = b.local(i32, b.const32(64))
    b.loop((again) => {
      const overflow = w.ltS(b.get(remainder), 0n)
      const shifted = w.or(w.shl(b.get(remainder), 1n), w.shr(b.get(quotient), 63n))
      const fits = b.i32.or(overflow, w.geU(shifted, divisor))
      b.set(remainder, w.select(fits, w.sub(shifted, divisor), shifted))
      b.set(quotient, w.or(w.shl(b.get(quotient), 1n), w.fromBool(fits)))
      b.set(count, b.i32.sub(b.get(count), b.const32(1)))
      b.brIf(b.get(count), again)
    })
    b.stateStore(Access.u64, State.f80Exponent, b.get(remainder))
    b.return(b.get(quotient))
  },
)

/** 64 bits that tell a remainder's part of the divisor to rounding: nothing, below, exactly, above one half. */
function fractionOf(b: Builder, isZero: Value, aboveHalf: Value, half: Value): Value {
  const w = int64(b)
  return w.select(isZero, 0n, w.select(half, INTEGER_BIT, w.select(aboveHalf, 3n << 62n, 1n << 62n)))
}

/** x / y. */
export const divide: Procedure = procedure('f80Divide', binary, (b, x, xe, y, ye) => {
  const w = int64(b)
  nanFirst(b, x, xe, y, ye)
  const sign = w.and(w.xor(xe, ye), SIGN)
  const xInfinite = w.eq(exponentOf(b, xe), MAX_EXPONENT)
  const yInfinite = w.eq(exponentOf(b, ye), MAX_EXPONENT)
  const xZero = w.isZero(x)
  const yZero = w.isZero(y)
  b.if(b.i32.or(b.i32.and(xInfinite, yInfinite), b.i32.and(xZero, yZero)), () => invalid(b))
  // Division by zero takes precedence over a denormal dividend.
  b.if(
    yZero,
    () => {
      forgetDenormal(b)
      b.if(b.i32.eqz(xInfinite), () => raise(b, X87.zeroDivide))
    },
    () => raiseDenormal(b, [x, xe], [y, ye]),
  )
  b.if(b.i32.or(xInfinite, yZero), () => give(b, w.of(INTEGER_BIT), w.or(sign, MAX_EXPONENT)))
  b.if(b.i32.or(yInfinite, xZero), () => give(b, w.of(0n), sign))
  const left = normalise(b, x, xe)
  const right = normalise(b, y, ye)
  const below = w.ltU(left.significand, right.significand)
  const high = w.select(below, left.significand, w.shr(left.significand, 1n))
  const quotient = b.call(
    divideWide,
    high,
    w.select(below, 0n, w.shl(left.significand, 63n)),
    right.significand,
  )
  const remainder = b.stateLoad(Access.u64, State.f80Exponent)
  const rest = w.sub(right.significand, remainder)
  const low = fractionOf(b, w.isZero(remainder), w.gtU(remainder, rest), w.eq(remainder, rest))
  const exponent = w.sub(w.add(w.sub(left.exponent, right.exponent), BIAS), w.fromBool(below))
  b.return(b.call(round, sign, exponent, quotient, low, droppedBits(b), w.of(MAX_EXPONENT)))
})

/** Integer square root of a 128-bit number, digit by digit. `State.f80Exponent`: the remainder is 0: 0, below or equal the root: 1, above: 2. */
const rootWide = procedure('rootWide', { parameters: [i64, i64], result: i64 }, (b, high, low) => {
  const w = int64(b)
  const [radicandHigh, radicandLow] = [b.local(i64, high), b.local(i64, low)]
  const zero = (): Local => b.local(i64, w.of(0n))
  const [root, restHigh, restLow] = [zero(), zero(), zero()]
  const count = b.local(i32, b.const32(64))
  b.loop((again) => {
    const nextHigh = w.or(w.shl(b.get(restHigh), 2n), w.shr(b.get(restLow), 62n))
    const nextLow = w.or(w.shl(b.get(restLow), 2n), w.shr(b.get(radicandHigh), 62n))
    b.set(radicandHigh, w.or(w.shl(b.get(radicandHigh), 2n), w.shr(b.get(radicandLow), 62n)))
    b.set(radicandLow, w.shl(b.get(radicandLow), 2n))
    const trialHigh = w.shr(b.get(root), 62n)
    const trialLow = w.or(w.shl(b.get(root), 2n), 1n)
    const fits = b.i32.or(
      w.gtU(nextHigh, trialHigh),
      b.i32.and(w.eq(nextHigh, trialHigh), w.geU(nextLow, trialLow)),
    )
    const borrow = w.fromBool(w.ltU(nextLow, trialLow))
    b.set(restHigh, w.select(fits, w.sub(w.sub(nextHigh, trialHigh), borrow), nextHigh))
    b.set(restLow, w.select(fits, w.sub(nextLow, trialLow), nextLow))
    b.set(root, w.or(w.shl(b.get(root), 1n), w.fromBool(fits)))
    b.set(count, b.i32.sub(b.get(count), b.const32(1)))
    b.brIf(b.get(count), again)
  })
  const above = b.i32.or(w.ne(b.get(restHigh), 0n), w.gtU(b.get(restLow), b.get(root)))
  const zeroRest = w.isZero(w.or(b.get(restHigh), b.get(restLow)))
  b.stateStore(Access.u64, State.f80Exponent, w.select(zeroRest, 0n, w.select(above, 2n, 1n)))
  b.return(b.get(root))
})

/** Square root. */
export const squareRoot: Procedure = procedure(
  'f80SquareRoot',
  { parameters: [i64, i64], result: i64 },
  (b, x, xe) => {
    const w = int64(b)
    b.if(isNanOrUnsupported(b, x, xe), () => b.return(b.call(nanOf, x, xe, x, xe)))
    b.if(w.isZero(x), () => give(b, x, xe))
    b.if(w.ne(w.and(xe, SIGN), 0n), () => invalid(b))
    b.if(w.eq(xe, MAX_EXPONENT), () => give(b, x, xe))
    raiseDenormal(b, [x, xe])
    const { significand, exponent } = normalise(b, x, xe)
    // BIAS is odd: an odd exponent is an even power of two.
    const even = w.and(exponent, 1n)
    const root = b.call(
      rootWide,
      w.shr(significand, even),
      w.select(b.i32.wrapI64(even), w.shl(significand, 63n), 0n),
    )
    const rest = b.stateLoad(Access.u64, State.f80Exponent)
    const low = fractionOf(b, w.isZero(rest), w.eq(rest, 2n), b.const32(0))
    const half = b.i64.shrS(w.sub(exponent, BIAS), b.const64(1))
    b.return(b.call(round, w.of(0n), w.add(half, BIAS), root, low, droppedBits(b), w.of(MAX_EXPONENT)))
  },
)

const C0 = 0x100
const C1 = 0x200
export const C2 = 0x400
const C3 = 0x4000

/** C0 to C3 are what this instruction raises: those of the status word are cleared. */
function defineConditionCodes(b: Builder): void {
  const others = b.i32.and(b.stateLoad(Access.i32, State.fsw), b.const32(~(C0 | C1 | C2 | C3)))
  b.stateStore(Access.i32, State.fsw, others)
}

/**
 * FPREM (nearest = 0: quotient towards zero) and FPREM1 (nearest = 1). Three bits of the quotient go to C0, C3, C1; C2
 * tells that the exponents were 64 or more apart and only part of the reduction was done. The status word loses its
 * condition codes unless the operation is invalid. (x, x, y, y, nearest)
 */
export const remainder: Procedure = procedure(
  'f80Remainder',
  { parameters: [i64, i64, i64, i64, i32], result: i64 },
  (b, x, xe, y, ye, nearest) => {
    const w = int64(b)
    nanFirst(b, x, xe, y, ye)
    b.if(b.i32.or(w.eq(exponentOf(b, xe), MAX_EXPONENT), w.isZero(y)), () => invalid(b))
    raiseDenormal(b, [x, xe], [y, ye])
    b.if(unmaskedOf(b, BEFORE), () => give(b, x, xe))
    defineConditionCodes(b)
    b.if(b.i32.or(w.isZero(x), w.eq(exponentOf(b, ye), MAX_EXPONENT)), () => {
      const { significand, exponent } = normalise(b, x, xe)
      b.if(w.isZero(x), () => give(b, x, xe))
      b.return(b.call(round, w.and(xe, SIGN), exponent, significand, w.of(0n), w.of(0n), w.of(MAX_EXPONENT)))
    })
    const left = normalise(b, x, xe)
    const right = normalise(b, y, ye)
    const distance = w.sub(left.exponent, right.exponent)
    const sign = b.local(i64, w.and(xe, SIGN))
    const rest = b.local(i64, left.significand)
    const exponent = b.local(i64, left.exponent)
    const quotient = b.local(i64, w.of(0n))
    b.if(w.geS(distance, 0n), () => {
      // How many quotient bits at once, when it is not all of them, is the implementation's choice: 32 to 63.
      const partial = w.geS(distance, 64n)
      const steps = w.select(partial, w.or(w.and(distance, 31n), 32n), distance)
      const stepsLeft = b.local(i64, steps)
      const overflow = b.local(i32, b.const32(0))
      b.loop((again) => {
        const fits = b.i32.or(b.get(overflow), w.geU(b.get(rest), right.significand))
        b.set(rest, w.select(fits, w.sub(b.get(rest), right.significand), b.get(rest)))
        b.set(quotient, w.or(w.shl(b.get(quotient), 1n), w.fromBool(fits)))
        b.if(w.ne(b.get(stepsLeft), 0n), () => {
          b.set(overflow, w.ltS(b.get(rest), 0n))
          b.set(rest, w.shl(b.get(rest), 1n))
          b.set(stepsLeft, w.sub(b.get(stepsLeft), 1n))
          b.br(again)
        })
      })
      b.set(exponent, w.sub(b.get(exponent), steps))
      b.if(partial, () => {
        raise(b, C2)
        b.set(quotient, w.of(0n))
      })
    })
    const whole = w.leS(distance, 63n)
    b.if(b.i32.and(nearest, whole), () => {
      // Is x more than half of y? Then the quotient is one more and the remainder changes its sign.
      b.if(
        w.geS(distance, 0n),
        () => {
          const other = w.sub(right.significand, b.get(rest))
          const tie = b.i32.and(w.eq(b.get(rest), other), b.i32.wrapI64(w.and(b.get(quotient), 1n)))
          b.if(b.i32.or(w.gtU(b.get(rest), other), tie), () => {
            b.set(rest, other)
            b.set(sign, w.xor(b.get(sign), SIGN))
            b.set(quotient, w.add(b.get(quotient), 1n))
          })
        },
        () =>
          b.if(b.i32.and(w.eq(distance, -1n), w.gtU(b.get(rest), right.significand)), () => {
            b.set(rest, w.sub(w.shl(right.significand, 1n), b.get(rest)))
            b.set(sign, w.xor(b.get(sign), SIGN))
            b.set(quotient, w.of(1n))
          }),
      )
    })
    b.if(b.i32.wrapI64(w.and(b.get(quotient), 4n)), () => raise(b, C0))
    b.if(b.i32.wrapI64(w.and(b.get(quotient), 2n)), () => raise(b, C3))
    b.if(b.i32.wrapI64(w.and(b.get(quotient), 1n)), () => raise(b, C1))
    b.if(w.isZero(b.get(rest)), () => give(b, w.of(0n), w.and(xe, SIGN)))
    const count = w.clz(b.get(rest))
    const normal = w.shl(b.get(rest), count)
    b.return(
      b.call(
        round,
        b.get(sign),
        w.sub(b.get(exponent), count),
        normal,
        w.of(0n),
        w.of(0n),
        w.of(MAX_EXPONENT),
      ),
    )
  },
)
