/**
 * SSE and SSE2 conversions (SDM volume 2, CVT*). Conversions to integers round as MXCSR.RC says (truncating ones aside)
 * and give the integer indefinite (top bit only) with the invalid flag for NaNs and what does not fit. Conversions of
 * integers to floating point, and between the formats, round to nearest.
 *
 * Not yet: the precision flag, RC for results in floating point, unmasked exceptions.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { State } from '../state-layout.ts'
import { sse } from './fpu-guard.ts'

const MXCSR_IE = 1
const MXCSR_RC = 0x6000

/** Sets the sticky invalid flag. */
export const raiseInvalid: Procedure = procedure('mxcsrInvalid', {}, (b) =>
  b.stateStore(Access.i32, State.mxcsr, b.i32.or(b.stateLoad(Access.i32, State.mxcsr), b.const32(MXCSR_IE))),
)

/** Rounds to an integer in a directed mode. (x, RC 1 to 3) */
const roundDirectedF64 = procedure(
  'roundDirectedF64',
  { parameters: [Type.f64, Type.i32], result: Type.f64 },
  (b, x, rc) =>
    b.return(
      b.select(
        b.i32.eq(rc, b.const32(1)),
        b.f64.floor(x),
        b.select(b.i32.eq(rc, b.const32(2)), b.f64.ceil(x), b.f64.trunc(x)),
      ),
    ),
)
const roundDirected = (lanes: 'f32x4' | 'f64x2') =>
  procedure(`${lanes}RoundDirected`, { parameters: [Type.v128, Type.i32], result: Type.v128 }, (b, x, rc) =>
    b.return(
      b.select(
        b.i32.eq(rc, b.const32(1)),
        b[lanes].floor(x),
        b.select(b.i32.eq(rc, b.const32(2)), b[lanes].ceil(x), b[lanes].trunc(x)),
      ),
    ),
  )
const roundDirectedPacked = { f32x4: roundDirected('f32x4'), f64x2: roundDirected('f64x2') }

/** MXCSR's rounding control, 0 to 3, i32: nearest, down, up, towards zero. */
export function roundingControl(b: Builder): Value {
  return b.i32.shrU(b.i32.and(b.stateLoad(Access.i32, State.mxcsr), b.const32(MXCSR_RC)), b.const32(13))
}

/** An f64 as an integral f64, rounded by `rc` (i32, 0 to 3). NaNs and infinities stay what they are. */
export function roundF64(b: Builder, x: Value, rc: Value): Value {
  const result = b.local(Type.f64, b.f64.nearest(x))
  b.if(rc, () => b.set(result, b.call(roundDirectedF64, x, rc)))
  return b.get(result)
}
export function roundPacked(b: Builder, lanes: 'f32x4' | 'f64x2', x: Value, rc: Value): Value {
  const result = b.local(Type.v128, b[lanes].nearest(x))
  b.if(rc, () => b.set(result, b.call(roundDirectedPacked[lanes], x, rc)))
  return b.get(result)
}

/** An f64 as a signed integer of 32 or 64 bits (zero-extended i64). @param truncate - towards zero, whatever MXCSR says */
function toInteger(b: Builder, bits: 32 | 64, x: Value, truncate: boolean): Value {
  const limit = b.constF64(2 ** (bits - 1))
  const value = truncate ? x : roundF64(b, x, roundingControl(b))
  const integer = bits === 32 ? b.i64.extendI32U(b.i32.truncSatF64S(value)) : b.i64.truncSatF64S(value)
  const result = b.local(Type.i64, integer)
  b.if(b.i32.eqz(b.f64.lt(b.f64.abs(value), limit)), () => {
    // Saturation gives the indefinite for what is too small; only NaNs and large values need it.
    b.set(result, b.const64(bits === 32 ? 0x8000_0000n : 0x8000_0000_0000_0000n))
    // The smallest integer is not out of range. Beyond 2^53 its next smaller neighbour is a whole step away.
    const lowest = b.constF64(bits === 32 ? -2147483649 : -(2 ** 63) - 2 ** 11)
    const fits = b.i32.and(b.f64.gt(value, lowest), b.f64.lt(value, b.constF64(0)))
    b.if(b.i32.eqz(fits), () => {
      b.call(raiseInvalid)
    })
  })
  return b.get(result)
}

const floatToInteger = (source: 'f32' | 'f64', bits: 32 | 64, truncate: boolean): Body =>
  sse((b, o) => {
    const x = source === 'f64' ? o.readLow(1, Access.f64) : b.f64.promoteF32(o.readLow(1, Access.f32))
    o.write(0, toInteger(b, bits, x, truncate))
  })

const integerToFloat = (target: 'f32' | 'f64', bits: 32 | 64): Body =>
  sse((b, o) => {
    const integer = o.read(1)
    const value = bits === 32 ? b[target].convertI32S(b.i32.wrapI64(integer)) : b[target].convertI64S(integer)
    o.writeLow(0, target === 'f32' ? Access.f32 : Access.f64, value)
  })

// Between the formats a NaN keeps its sign and the top of its payload, and is quieted.
const nanToF32 = procedure('nanToF32', { parameters: [Type.i64], result: Type.i32 }, (b, bits) => {
  const sign = b.i64.and(b.i64.shrU(bits, b.const64(32)), b.const64(0x8000_0000))
  const payload = b.i64.and(b.i64.shrU(bits, b.const64(29)), b.const64(0x3f_ffff))
  b.return(b.i32.wrapI64(b.i64.or(b.i64.or(sign, payload), b.const64(0x7fc0_0000))))
})
const nanToF64 = procedure('nanToF64', { parameters: [Type.i32], result: Type.i64 }, (b, bits) => {
  const wide = b.i64.extendI32U(bits)
  const sign = b.i64.shl(b.i64.and(wide, b.const64(0x8000_0000)), b.const64(32))
  const payload = b.i64.shl(b.i64.and(wide, b.const64(0x7f_ffff)), b.const64(29))
  b.return(b.i64.or(b.i64.or(sign, payload), b.const64(0x7ff8_0000_0000_0000n)))
})

export function narrow(b: Builder, x: Value): Value {
  const result = b.local(Type.f32, b.f32.demoteF64(x))
  b.if(b.f32.ne(b.get(result), b.get(result)), () =>
    b.set(result, b.f32.reinterpretI32(b.call(nanToF32, b.i64.reinterpretF64(x)))),
  )
  return b.get(result)
}
export function widen(b: Builder, x: Value): Value {
  const result = b.local(Type.f64, b.f64.promoteF32(x))
  b.if(b.f64.ne(b.get(result), b.get(result)), () =>
    b.set(result, b.f64.reinterpretI64(b.call(nanToF64, b.i32.reinterpretF32(x)))),
  )
  return b.get(result)
}

const narrowScalar = sse((b, o) => o.writeLow(0, Access.f32, narrow(b, o.readLow(1, Access.f64))))
const widenScalar = sse((b, o) => o.writeLow(0, Access.f64, widen(b, o.readLow(1, Access.f32))))

const narrowPacked = sse((b, o) => {
  const x = o.readVector(1)
  const result = b.local(Type.v128, b.f32x4.demoteF64x2Zero(x))
  b.if(b.v128.anyTrue(b.f64x2.ne(x, x)), () => {
    for (const lane of [0, 1])
      b.set(result, b.replaceLane('f32x4', b.get(result), lane, narrow(b, b.extractLane('f64x2', x, lane))))
  })
  o.writeVector(0, b.get(result))
})
const widenPacked = sse((b, o) => {
  const x = b.local(Type.v128, b.i64x2.splat(o.readLow(1, Access.u64)))
  const result = b.local(Type.v128, b.f64x2.promoteLowF32x4(b.get(x)))
  b.if(b.v128.anyTrue(b.f64x2.ne(b.get(result), b.get(result))), () => {
    for (const lane of [0, 1])
      b.set(
        result,
        b.replaceLane('f64x2', b.get(result), lane, widen(b, b.extractLane('f32x4', b.get(x), lane))),
      )
  })
  o.writeVector(0, b.get(result))
})

/** Four f32 lanes as i32. */
export function packedF32ToI32(b: Builder, x: Value, truncate: boolean): Value {
  const value = truncate ? x : roundPacked(b, 'f32x4', x, roundingControl(b))
  const below = b.f32x4.lt(value, b.f32x4.splat(b.constF32(2 ** 31)))
  const above = b.f32x4.ge(value, b.f32x4.splat(b.constF32(-(2 ** 31))))
  b.if(b.i32.eqz(b.i32x4.allTrue(b.v128.and(below, above))), () => {
    b.call(raiseInvalid)
  })
  const indefinite = b.i32x4.splat(b.const32(0x8000_0000))
  return b.v128.bitselect(b.i32x4.truncSatF32x4S(value), indefinite, below)
}

const lowDwords = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27]
/** Two f64 lanes as i32 in the low half; the high half is zero. */
export function packedF64ToI32(b: Builder, x: Value, truncate: boolean): Value {
  const value = truncate ? x : roundPacked(b, 'f64x2', x, roundingControl(b))
  const below = b.f64x2.lt(value, b.f64x2.splat(b.constF64(2 ** 31)))
  const above = b.f64x2.gt(value, b.f64x2.splat(b.constF64(-(2 ** 31) - 1)))
  b.if(b.i32.eqz(b.i64x2.allTrue(b.v128.and(below, above))), () => {
    b.call(raiseInvalid)
  })
  const zero = b.constV128(new Uint8Array(16))
  const indefinite = b.replaceLane('i64x2', zero, 0, b.const64(0x8000_0000_8000_0000n))
  const mask = b.shuffle(below, zero, lowDwords)
  return b.v128.bitselect(
    b.i32x4.truncSatF64x2SZero(value),
    indefinite,
    b.replaceLane('i64x2', mask, 1, b.const64(0)),
  )
}

const f32ToI32 = (truncate: boolean): Body =>
  sse((b, o) => o.writeVector(0, packedF32ToI32(b, o.readVector(1), truncate)))
const f64ToI32 = (truncate: boolean): Body =>
  sse((b, o) => o.writeVector(0, packedF64ToI32(b, o.readVector(1), truncate)))
const i32ToF32 = sse((b, o) => o.writeVector(0, b.f32x4.convertI32x4S(o.readVector(1))))
const i32ToF64 = sse((b, o) =>
  o.writeVector(0, b.f64x2.convertLowI32x4S(b.i64x2.splat(o.readLow(1, Access.u64)))),
)

const sse1: FormOptions = { feature: 'sse', user: true }
const sse2: FormOptions = { feature: 'sse2', user: true }
const hot2: FormOptions = { feature: 'sse2', user: true, hot: true }

export const sseConvertForms: readonly Form[] = [
  form('CVTSI2SS xmm1, r/m32', 'F3 0F 2A /r', integerToFloat('f32', 32), sse1),
  form('CVTSI2SS xmm1, r/m64', 'F3 REX.W 0F 2A /r', integerToFloat('f32', 64), sse1),
  form('CVTSI2SD xmm1, r/m32', 'F2 0F 2A /r', integerToFloat('f64', 32), hot2),
  form('CVTSI2SD xmm1, r/m64', 'F2 REX.W 0F 2A /r', integerToFloat('f64', 64), hot2),
  form('CVTTSS2SI r32, xmm1/m32', 'F3 0F 2C /r', floatToInteger('f32', 32, true), sse1),
  form('CVTTSS2SI r64, xmm1/m32', 'F3 REX.W 0F 2C /r', floatToInteger('f32', 64, true), sse1),
  form('CVTTSD2SI r32, xmm1/m64', 'F2 0F 2C /r', floatToInteger('f64', 32, true), hot2),
  form('CVTTSD2SI r64, xmm1/m64', 'F2 REX.W 0F 2C /r', floatToInteger('f64', 64, true), hot2),
  form('CVTSS2SI r32, xmm1/m32', 'F3 0F 2D /r', floatToInteger('f32', 32, false), sse1),
  form('CVTSS2SI r64, xmm1/m32', 'F3 REX.W 0F 2D /r', floatToInteger('f32', 64, false), sse1),
  form('CVTSD2SI r32, xmm1/m64', 'F2 0F 2D /r', floatToInteger('f64', 32, false), sse2),
  form('CVTSD2SI r64, xmm1/m64', 'F2 REX.W 0F 2D /r', floatToInteger('f64', 64, false), sse2),

  form('CVTPS2PD xmm1, xmm2/m64', 'NP 0F 5A /r', widenPacked, sse2),
  form('CVTPD2PS xmm1, xmm2/m128', '66 0F 5A /r', narrowPacked, sse2),
  form('CVTSS2SD xmm1, xmm2/m32', 'F3 0F 5A /r', widenScalar, sse2),
  form('CVTSD2SS xmm1, xmm2/m64', 'F2 0F 5A /r', narrowScalar, sse2),
  form('CVTDQ2PS xmm1, xmm2/m128', 'NP 0F 5B /r', i32ToF32, sse2),
  form('CVTPS2DQ xmm1, xmm2/m128', '66 0F 5B /r', f32ToI32(false), sse2),
  form('CVTTPS2DQ xmm1, xmm2/m128', 'F3 0F 5B /r', f32ToI32(true), sse2),
  form('CVTTPD2DQ xmm1, xmm2/m128', '66 0F E6 /r', f64ToI32(true), sse2),
  form('CVTPD2DQ xmm1, xmm2/m128', 'F2 0F E6 /r', f64ToI32(false), sse2),
  form('CVTDQ2PD xmm1, xmm2/m64', 'F3 0F E6 /r', i32ToF64, sse2),
]
