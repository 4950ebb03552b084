/**
 * SSE and SSE2 floating-point comparisons (SDM volume 2, CMPPS, table 3-1; COMISD). Comparisons read NaNs and never
 * make one, so WebAssembly's are exact. Not yet: the invalid flag that a NaN operand sets in MXCSR.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { type Body, type Form, form } from '../isa/form.ts'
import { ARITHMETIC_FLAGS } from '../state-layout.ts'
import { sse } from './fpu-guard.ts'

/** Predicates 0 to 3: equal, less than, less or equal, unordered. 4 to 7 are their negations. */
function packedPredicate(b: Builder, lanes: 'f32x4' | 'f64x2', base: number, x: Value, y: Value): Value {
  if (base === 0) return b[lanes].eq(x, y)
  if (base === 1) return b[lanes].lt(x, y)
  if (base === 2) return b[lanes].le(x, y)
  return b.v128.or(b[lanes].ne(x, x), b[lanes].ne(y, y))
}
function scalarPredicate(b: Builder, type: 'f32' | 'f64', base: number, x: Value, y: Value): Value {
  if (base === 0) return b[type].eq(x, y)
  if (base === 1) return b[type].lt(x, y)
  if (base === 2) return b[type].le(x, y)
  return b.i32.or(b[type].ne(x, x), b[type].ne(y, y))
}

/** Picks among predicates 0 to 3 by the low two bits of `imm` (i32), which may not be known yet. */
function pick(b: Builder, imm: Value, make: (base: number) => Value): Value {
  const known = b.constantOf(imm)
  if (known !== undefined) return make(Number(known) & 3)
  const bit = (mask: number): Value => b.i32.and(imm, b.const32(mask))
  return b.select(bit(2), b.select(bit(1), make(3), make(2)), b.select(bit(1), make(1), make(0)))
}

/** All ones where the predicate is to be negated (bit 2 of the immediate), i32. */
function negation(b: Builder, imm: Value): Value {
  return b.i32.sub(b.const32(0), b.i32.and(b.i32.shrU(imm, b.const32(2)), b.const32(1)))
}

const comparePacked = (lanes: 'f32x4' | 'f64x2'): Body =>
  sse((b, o) => {
    const y = o.readVector(1)
    const x = o.readVector(0)
    const imm = b.i32.wrapI64(o.read(2))
    const result = pick(b, imm, (base) => packedPredicate(b, lanes, base, x, y))
    o.writeVector(0, b.v128.xor(result, b.i32x4.splat(negation(b, imm))))
  })

const compareScalar = (type: 'f32' | 'f64'): Body =>
  sse((b, o) => {
    const access = type === 'f32' ? Access.f32 : Access.f64
    const y = o.readLow(1, access)
    const x = o.readLow(0, access)
    const imm = b.i32.wrapI64(o.read(2))
    const result = pick(b, imm, (base) => scalarPredicate(b, type, base, x, y))
    const mask = b.i32.xor(b.i32.sub(b.const32(0), result), negation(b, imm))
    o.writeLow(0, type === 'f32' ? Access.u32 : Access.u64, b.i64.extendI32S(mask))
  })

/** (U)COMISS, (U)COMISD: unordered sets ZF, PF and CF; less CF; equal ZF. OF, SF and AF are cleared. */
const compareToFlags = (type: 'f32' | 'f64'): Body =>
  sse((b, o) => {
    const access = type === 'f32' ? Access.f32 : Access.f64
    const y = o.readLow(1, access)
    const x = o.readLow(0, access)
    const less = b[type].lt(x, y)
    const greater = b[type].gt(x, y)
    const notLess = b[type].ge(x, y)
    const carry = b.i32.eqz(notLess)
    const zero = b.i32.eqz(b.i32.or(less, greater))
    const parity = b.i32.eqz(b.i32.or(less, notLess))
    const high = b.i32.or(b.i32.shl(zero, b.const32(6)), b.i32.shl(parity, b.const32(2)))
    b.flagsSet(ARITHMETIC_FLAGS, b.i32.or(carry, high))
  })

export const sseCompareForms: readonly Form[] = [
  form('UCOMISS xmm1, xmm2/m32', 'NP 0F 2E /r', compareToFlags('f32'), { feature: 'sse', user: true }),
  form('UCOMISD xmm1, xmm2/m64', '66 0F 2E /r', compareToFlags('f64'), {
    feature: 'sse2',
    user: true,
    hot: true,
  }),
  form('COMISS xmm1, xmm2/m32', 'NP 0F 2F /r', compareToFlags('f32'), { feature: 'sse', user: true }),
  form('COMISD xmm1, xmm2/m64', '66 0F 2F /r', compareToFlags('f64'), {
    feature: 'sse2',
    user: true,
    hot: true,
  }),
  form('CMPPS xmm1, xmm2/m128, imm8', 'NP 0F C2 /r ib', comparePacked('f32x4'), {
    feature: 'sse',
    user: true,
  }),
  form('CMPPD xmm1, xmm2/m128, imm8', '66 0F C2 /r ib', comparePacked('f64x2'), {
    feature: 'sse2',
    user: true,
  }),
  form('CMPSS xmm1, xmm2/m32, imm8', 'F3 0F C2 /r ib', compareScalar('f32'), { feature: 'sse', user: true }),
  form('CMPSD xmm1, xmm2/m64, imm8', 'F2 0F C2 /r ib', compareScalar('f64'), { feature: 'sse2', user: true }),
]
