/**
 * 80-bit conversions, comparison and the operations that only move exponents (conventions: softfloat80.ts).
 */
import type { Builder, Value } from '../ir/builder.ts'
import { int64 } from '../ir/int64.ts'
import { Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import {
  BIAS,
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
  round,
  roundsUp,
  SIGN,
  shiftRightHigh,
  shiftRightLow,
  signExponentOf,
  X87,
} from './softfloat80.ts'

const { i32, i64 } = Type

/** The formats that memory has, beside the 80-bit one. */
interface Format {
  /** Bits of the fraction, without the implicit one. */
  readonly fractionBits: bigint
  readonly maxExponent: bigint
  readonly bias: bigint
}
const single: Format = { fractionBits: 23n, maxExponent: 0xffn, bias: 127n }
const double: Format = { fractionBits: 52n, maxExponent: 0x7ffn, bias: 1023n }

/**
 * Widens f32 or f64 bits. A denormal raises #D; a signalling NaN still signals: the operation that it is for raises #I,
 * FLD by `quieten`.
 */
function widenFrom(name: string, { fractionBits, maxExponent, bias }: Format): Procedure {
  return procedure(name, { parameters: [i64], result: i64 }, (b, bits) => {
    const w = int64(b)
    const exponent = w.and(w.shr(bits, fractionBits), maxExponent)
    const fraction = w.shl(bits, 63n - fractionBits)
    const significand = w.and(fraction, INTEGER_BIT - 1n)
    const exponentBits = maxExponent === 0xffn ? 8n : 11n
    const sign = w.shl(w.and(w.shr(bits, fractionBits + exponentBits), 1n), 15n)
    b.if(w.isZero(exponent), () => {
      b.if(w.isZero(significand), () => give(b, w.of(0n), sign))
      raise(b, X87.denormal)
      const count = w.clz(significand)
      give(b, w.shl(significand, count), w.or(sign, w.sub(BIAS - bias + 1n, count)))
    })
    const wide = w.select(w.eq(exponent, maxExponent), MAX_EXPONENT, w.add(exponent, BIAS - bias))
    give(b, w.or(significand, INTEGER_BIT), w.or(sign, wide))
  })
}
export const fromF32: Procedure = widenFrom('f80FromF32', single)
export const fromF64: Procedure = widenFrom('f80FromF64', double)

/** What FLD makes of a signalling NaN from memory. (significand, sign and exponent) */
export const quieten: Procedure = procedure(
  'f80Quieten',
  { parameters: [i64, i64], result: i64 },
  (b, x, xe) => {
    b.if(isNanOrUnsupported(b, x, xe), () => b.return(b.call(nanOf, x, xe, x, xe)))
    give(b, x, xe)
  },
)

/** From a signed 64-bit integer; exact. */
export const fromInteger: Procedure = procedure(
  'f80FromInteger',
  { parameters: [i64], result: i64 },
  (b, value) => {
    const w = int64(b)
    b.if(w.isZero(value), () => give(b, w.of(0n), w.of(0n)))
    const negative = w.ltS(value, 0n)
    const magnitude = w.select(negative, w.sub(0n, value), value)
    const count = w.clz(magnitude)
    give(b, w.shl(magnitude, count), w.or(w.sub(BIAS + 63n, count), w.select(negative, SIGN, 0n)))
  },
)

/** Rounds to f32 or f64 bits. */
function narrowTo(name: string, { fractionBits, maxExponent, bias }: Format): Procedure {
  return procedure(name, { parameters: [i64, i64], result: i64 }, (b, x, xe) => {
    const w = int64(b)
    const dropped = 63n - fractionBits
    const signShift = fractionBits + (maxExponent === 0xffn ? 8n : 11n)
    const pack = (signExponent: Value, exponent: Value, significand: Value): Value => {
      const sign = w.shl(w.shr(signExponent, 15n), signShift)
      const fraction = w.and(w.shr(significand, dropped), (1n << fractionBits) - 1n)
      return w.or(w.or(sign, w.shl(exponent, fractionBits)), fraction)
    }
    b.if(isNanOrUnsupported(b, x, xe), () => {
      const nan = b.call(nanOf, x, xe, x, xe)
      b.return(pack(signExponentOf(b), w.of(maxExponent), nan))
    })
    const exponent = exponentOf(b, xe)
    b.if(w.eq(exponent, MAX_EXPONENT), () => b.return(pack(xe, w.of(maxExponent), w.of(0n))))
    b.if(w.isZero(x), () => b.return(pack(xe, w.of(0n), w.of(0n))))
    const count = w.clz(x)
    const scale = w.sub(w.sub(w.select(w.isZero(exponent), 1n, exponent), count), BIAS - bias)
    const rounded = b.call(
      round,
      w.and(xe, SIGN),
      scale,
      w.shl(x, count),
      w.of(0n),
      w.of(dropped),
      w.of(maxExponent),
    )
    const result = signExponentOf(b)
    b.return(pack(result, exponentOf(b, result), rounded))
  })
}
export const toF32: Procedure = narrowTo('f80ToF32', single)
export const toF64: Procedure = narrowTo('f80ToF64', double)

/** Significand and exponent as a whole number and 64 bits of fraction. Exponents below BIAS + 63 only. */
function splitInteger(b: Builder, significand: Value, exponent: Value): { whole: Value; fraction: Value } {
  const w = int64(b)
  const count = w.sub(BIAS + 63n, exponent)
  return {
    whole: b.call(shiftRightHigh, significand, count),
    fraction: b.call(shiftRightLow, significand, w.of(0n), count),
  }
}

/**
 * To a signed integer of 16, 32 or 64 bits, zero-extended; the integer indefinite for what does not fit.
 * (significand, sign and exponent, bits, truncate: towards zero whatever RC says)
 */
export const toInteger: Procedure = procedure(
  'f80ToInteger',
  { parameters: [i64, i64, i64, i32], result: i64 },
  (b, x, xe, bits, truncate) => {
    const w = int64(b)
    const indefinite = w.shl(1n, w.sub(bits, 1n))
    const invalid = (): void => {
      raise(b, X87.invalid)
      b.return(indefinite)
    }
    const exponent = exponentOf(b, xe)
    const negative = w.and(xe, SIGN)
    b.if(b.i32.or(isNanOrUnsupported(b, x, xe), w.gtU(exponent, BIAS + 63n)), invalid)
    const magnitude = b.local(i64, x)
    const rest = b.local(i64, w.of(0n))
    const up = b.local(i32, b.const32(0))
    b.if(w.ltU(exponent, BIAS + 63n), () => {
      const { whole, fraction } = splitInteger(b, x, exponent)
      b.set(rest, fraction)
      b.set(up, b.i32.and(b.call(roundsUp, negative, fraction, w.and(whole, 1n)), b.i32.eqz(truncate)))
      b.set(magnitude, w.add(whole, w.fromBool(b.get(up))))
    })
    const most = w.select(w.ne(negative, 0n), indefinite, w.sub(indefinite, 1n))
    b.if(w.gtU(b.get(magnitude), most), invalid)
    b.if(w.ne(b.get(rest), 0n), () => {
      raise(b, X87.precision)
      b.if(b.get(up), () => raise(b, X87.c1))
    })
    const result = w.select(w.ne(negative, 0n), w.sub(0n, b.get(magnitude)), b.get(magnitude))
    b.return(w.and(result, w.or(indefinite, w.sub(indefinite, 1n))))
  },
)

/** FRNDINT. */
export const roundToInteger: Procedure = procedure(
  'f80RoundToInteger',
  { parameters: [i64, i64], result: i64 },
  (b, x, xe) => {
    const w = int64(b)
    b.if(isNanOrUnsupported(b, x, xe), () => b.return(b.call(nanOf, x, xe, x, xe)))
    const exponent = exponentOf(b, xe)
    b.if(b.i32.or(w.geU(exponent, BIAS + 63n), w.isZero(x)), () => give(b, x, xe))
    raiseDenormal(b, [x, xe])
    const { whole, fraction } = splitInteger(b, x, exponent)
    const sign = w.and(xe, SIGN)
    const up = b.call(roundsUp, sign, fraction, w.and(whole, 1n))
    b.if(w.ne(fraction, 0n), () => {
      raise(b, X87.precision)
      b.if(up, () => raise(b, X87.c1))
    })
    const result = w.add(whole, w.fromBool(up))
    b.if(w.isZero(result), () => give(b, w.of(0n), sign))
    const count = w.clz(result)
    give(b, w.shl(result, count), w.or(sign, w.sub(BIAS + 63n, count)))
  },
)

/** Condition codes of a comparison: less C0, equal C3, unordered C3, C2 and C0. */
export const Compared = { greater: 0, less: 0x100, equal: 0x4000, unordered: 0x4500 } as const

/** Compares; NaNs raise #I, quiet ones only without `quiet`. (x, x, y, y, quiet) -> condition codes */
export const compare: Procedure = procedure(
  'f80Compare',
  { parameters: [i64, i64, i64, i64, i32], result: i32 },
  (b, x, xe, y, ye, quiet) => {
    const w = int64(b)
    b.if(b.i32.or(isNanOrUnsupported(b, x, xe), isNanOrUnsupported(b, y, ye)), () => {
      forgetDenormal(b)
      b.if(
        quiet,
        () => {
          b.call(nanOf, x, xe, y, ye)
        },
        () => raise(b, X87.invalid),
      )
      b.return(b.const32(Compared.unordered))
    })
    raiseDenormal(b, [x, xe], [y, ye])
    b.if(w.isZero(w.or(x, y)), () => b.return(b.const32(Compared.equal)))
    const scale = (signExponent: Value): Value => {
      const exponent = exponentOf(b, signExponent)
      return w.select(w.isZero(exponent), 1n, exponent)
    }
    const xNegative = w.and(xe, SIGN)
    const yNegative = w.and(ye, SIGN)
    const ordered = (less: Value): void =>
      b.return(b.select(less, b.const32(Compared.less), b.const32(Compared.greater)))
    b.if(w.ne(xNegative, yNegative), () => ordered(w.ne(xNegative, 0n)))
    const xScale = scale(xe)
    const yScale = scale(ye)
    const same = w.eq(xScale, yScale)
    b.if(b.i32.and(same, w.eq(x, y)), () => b.return(b.const32(Compared.equal)))
    const smaller = b.i32.or(w.ltU(xScale, yScale), b.i32.and(same, w.ltU(x, y)))
    ordered(b.i32.xor(smaller, w.ne(xNegative, 0n)))
  },
)

/** FSCALE: x times 2 to the power of y, which is truncated. */
export const scale: Procedure = procedure(
  'f80Scale',
  { parameters: [i64, i64, i64, i64], result: i64 },
  (b, x, xe, y, ye) => {
    const w = int64(b)
    const odd = b.i32.or(isNanOrUnsupported(b, x, xe), isNanOrUnsupported(b, y, ye))
    b.if(odd, () => b.return(b.call(nanOf, x, xe, y, ye)))
    const sign = w.and(xe, SIGN)
    const exponent = exponentOf(b, xe)
    const yExponent = exponentOf(b, ye)
    const infinite = w.eq(exponent, MAX_EXPONENT)
    const zero = w.isZero(x)
    const down = w.ne(w.and(ye, SIGN), 0n)
    b.if(w.eq(yExponent, MAX_EXPONENT), () => {
      b.if(b.select(down, infinite, zero), () => {
        raise(b, X87.invalid)
        giveIndefinite(b)
      })
      raiseDenormal(b, [x, xe])
      b.if(
        down,
        () => give(b, w.of(0n), sign),
        () => give(b, w.of(INTEGER_BIT), w.or(sign, MAX_EXPONENT)),
      )
    })
    raiseDenormal(b, [x, xe], [y, ye])
    b.if(b.i32.or(infinite, zero), () => give(b, x, xe))
    // Anything from 2^16 on takes every number out of range.
    const far = w.geU(yExponent, BIAS + 16n)
    const near = b.call(shiftRightHigh, y, w.sub(BIAS + 63n, yExponent))
    const magnitude = w.select(far, 0x1_0000n, near)
    const by = w.select(down, w.sub(0n, magnitude), magnitude)
    const count = w.clz(x)
    const from = w.sub(w.select(w.isZero(exponent), 1n, exponent), count)
    b.return(b.call(round, sign, w.add(from, by), w.shl(x, count), w.of(0n), w.of(0n), w.of(MAX_EXPONENT)))
  },
)

/** FXTRACT, first result: the exponent as a number. */
export const extractExponent: Procedure = procedure(
  'f80ExtractExponent',
  { parameters: [i64, i64], result: i64 },
  (b, x, xe) => {
    const w = int64(b)
    b.if(isNanOrUnsupported(b, x, xe), () => b.return(b.call(nanOf, x, xe, x, xe)))
    const exponent = exponentOf(b, xe)
    b.if(w.eq(exponent, MAX_EXPONENT), () => give(b, w.of(INTEGER_BIT), w.of(MAX_EXPONENT)))
    b.if(w.isZero(x), () => {
      raise(b, X87.zeroDivide)
      give(b, w.of(INTEGER_BIT), w.of(SIGN | MAX_EXPONENT))
    })
    raiseDenormal(b, [x, xe])
    const unbiased = w.sub(w.sub(w.select(w.isZero(exponent), 1n, exponent), w.clz(x)), BIAS)
    b.return(b.call(fromInteger, unbiased))
  },
)
/** FXTRACT, second result: the significand as a number from [1, 2), with x's sign. */
export const extractSignificand: Procedure = procedure(
  'f80ExtractSignificand',
  { parameters: [i64, i64], result: i64 },
  (b, x, xe) => {
    const w = int64(b)
    b.if(isNanOrUnsupported(b, x, xe), () => b.return(b.call(nanOf, x, xe, x, xe)))
    b.if(b.i32.or(w.isZero(x), w.eq(exponentOf(b, xe), MAX_EXPONENT)), () => give(b, x, xe))
    give(b, w.shl(x, w.clz(x)), w.or(w.and(xe, SIGN), BIAS))
  },
)

/** FXAM's classes: C3, C2 and C0. */
const Class = {
  unsupported: 0,
  nan: 0x100,
  normal: 0x400,
  infinity: 0x500,
  zero: 0x4000,
  empty: 0x4100,
  denormal: 0x4400,
} as const
/** Class of a value. (significand, sign and exponent, empty) -> condition codes with the sign in C1 */
export const classify: Procedure = procedure(
  'f80Classify',
  { parameters: [i64, i64, i32], result: i32 },
  (b, x, xe, empty) => {
    const w = int64(b)
    const sign = b.select(w.ne(w.and(xe, SIGN), 0n), b.const32(X87.c1), b.const32(0))
    const of = (known: number): void => b.return(b.i32.or(b.const32(known), sign))
    b.if(empty, () => of(Class.empty))
    const exponent = exponentOf(b, xe)
    b.if(w.isZero(exponent), () =>
      b.if(
        w.isZero(x),
        () => of(Class.zero),
        () => of(Class.denormal),
      ),
    )
    b.if(w.geS(x, 0n), () => of(Class.unsupported))
    b.if(w.ne(exponent, MAX_EXPONENT), () => of(Class.normal))
    b.if(w.isZero(w.shl(x, 1n)), () => of(Class.infinity))
    of(Class.nan)
  },
)

/** Constants of FLD1 …: exact, or truncated with the next 2 bits, which is all that rounding needs. */
interface Constant {
  readonly significand: bigint
  readonly exponent: bigint
  /** The rest is more than half a unit. */
  readonly aboveHalf?: boolean
  readonly exact?: boolean
}
/** Emits a constant, rounded as RC says; no flags. Gives the significand; the exponent is as it is. */
export function constantSignificand(b: Builder, { significand, aboveHalf, exact }: Constant): Value {
  const w = int64(b)
  if (exact) return w.of(significand)
  const fraction = w.of(aboveHalf ? 3n << 62n : 1n << 62n)
  return w.add(significand, w.fromBool(b.call(roundsUp, w.of(0n), fraction, w.of(significand & 1n))))
}
/** By mnemonic. The significands are those of the numbers, cut off after 64 bits. */
export const constants: Readonly<Record<string, Constant>> = {
  FLD1: { significand: INTEGER_BIT, exponent: BIAS, exact: true },
  FLDZ: { significand: 0n, exponent: 0n, exact: true },
  /** log2(10) */
  FLDL2T: { significand: 0xd49a_784b_cd1b_8afen, exponent: 0x4000n },
  /** log2(e) */
  FLDL2E: { significand: 0xb8aa_3b29_5c17_f0bbn, exponent: 0x3fffn, aboveHalf: true },
  FLDPI: { significand: 0xc90f_daa2_2168_c234n, exponent: 0x4000n, aboveHalf: true },
  /** log10(2) */
  FLDLG2: { significand: 0x9a20_9a84_fbcf_f798n, exponent: 0x3ffdn, aboveHalf: true },
  /** ln(2) */
  FLDLN2: { significand: 0xb172_17f7_d1cf_79abn, exponent: 0x3ffen, aboveHalf: true },
}
