/**
 * SSE, SSE2 and SSE3 floating-point arithmetic. Everything that computes goes through `scalarF32`, `scalarF64`,
 * `packedF32` and `packedF64`, which is where exactness lives: WebAssembly gives the IEEE result for round-to-nearest
 * without flushing, but leaves the choice of a NaN open, so a NaN result takes a slow path with the x86 rule (SDM volume
 * 1, table 4-7): the first operand if it is a NaN, else the second, quieted; else the default NaN, which is negative.
 *
 * Not yet: MXCSR rounding modes, FZ and DAZ, exception flags and unmasked exceptions of these operations.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { procedure } from '../ir/procedure.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import type { Operands } from '../isa/operands.ts'
import { sse } from './fpu-guard.ts'

export type Arithmetic = 'add' | 'sub' | 'mul' | 'div' | 'sqrt' | 'min' | 'max'

const DEFAULT_NAN32 = 0xffc0_0000
const QUIET32 = 0x0040_0000
const DEFAULT_NAN64 = 0xfff8_0000_0000_0000n
const QUIET64 = 0x0008_0000_0000_0000n

/** The NaN that an operation on x and y (bits) gives. */
const nanF64 = procedure('nanF64', { parameters: [Type.i64, Type.i64], result: Type.i64 }, (b, x, y) => {
  const isNan = (bits: Value): Value =>
    b.i64.gtU(b.i64.shl(bits, b.const64(1)), b.const64(0xffe0_0000_0000_0000n))
  const quiet = (bits: Value): Value => b.i64.or(bits, b.const64(QUIET64))
  b.return(b.select(isNan(x), quiet(x), b.select(isNan(y), quiet(y), b.const64(DEFAULT_NAN64))))
})
const nanF32 = procedure('nanF32', { parameters: [Type.i32, Type.i32], result: Type.i32 }, (b, x, y) => {
  const isNan = (bits: Value): Value => b.i32.gtU(b.i32.shl(bits, b.const32(1)), b.const32(0xff00_0000))
  const quiet = (bits: Value): Value => b.i32.or(bits, b.const32(QUIET32))
  b.return(b.select(isNan(x), quiet(x), b.select(isNan(y), quiet(y), b.const32(DEFAULT_NAN32))))
})

/** The same for each lane of a result that is a NaN. (x, y, result) -> result */
const packedNan = (lanes: 'f32x4' | 'f64x2') =>
  procedure(
    `${lanes}Nan`,
    { parameters: [Type.v128, Type.v128, Type.v128], result: Type.v128 },
    (b, x, y, result) => {
      const splat = (value: bigint | number): Value =>
        lanes === 'f32x4' ? b.i32x4.splat(b.const32(Number(value))) : b.i64x2.splat(b.const64(value))
      const quiet = splat(lanes === 'f32x4' ? QUIET32 : QUIET64)
      const standard = splat(lanes === 'f32x4' ? DEFAULT_NAN32 : DEFAULT_NAN64)
      const { bitselect, or } = b.v128
      const isNan = (value: Value): Value => b[lanes].ne(value, value)
      const ofSecond = bitselect(or(y, quiet), standard, isNan(y))
      const nan = bitselect(or(x, quiet), ofSecond, isNan(x))
      b.return(bitselect(nan, result, isNan(result)))
    },
  )
const packedNanF32 = packedNan('f32x4')
const packedNanF64 = packedNan('f64x2')

/** `result`, but the x86 NaN of x and y where it is a NaN. */
export function withNanF64(b: Builder, x: Value, y: Value, value: Value): Value {
  const result = b.local(Type.f64, value)
  b.if(b.f64.ne(b.get(result), b.get(result)), () =>
    b.set(result, b.f64.reinterpretI64(b.call(nanF64, b.i64.reinterpretF64(x), b.i64.reinterpretF64(y)))),
  )
  return b.get(result)
}
export function withNanF32(b: Builder, x: Value, y: Value, value: Value): Value {
  const result = b.local(Type.f32, value)
  b.if(b.f32.ne(b.get(result), b.get(result)), () =>
    b.set(result, b.f32.reinterpretI32(b.call(nanF32, b.i32.reinterpretF32(x), b.i32.reinterpretF32(y)))),
  )
  return b.get(result)
}
/** The same for each lane. */
export function withNanPacked(b: Builder, lanes: 'f32x4' | 'f64x2', x: Value, y: Value, value: Value): Value {
  const result = b.local(Type.v128, value)
  b.if(b.v128.anyTrue(b[lanes].ne(b.get(result), b.get(result))), () =>
    b.set(result, b.call(lanes === 'f32x4' ? packedNanF32 : packedNanF64, x, y, b.get(result))),
  )
  return b.get(result)
}

/** One operation on f64 values. For `sqrt` pass the operand as `y` too. */
export function scalarF64(b: Builder, operation: Arithmetic, x: Value, y: Value): Value {
  if (operation === 'min') return b.select(b.f64.lt(x, y), x, y)
  if (operation === 'max') return b.select(b.f64.gt(x, y), x, y)
  return withNanF64(b, x, y, operation === 'sqrt' ? b.f64.sqrt(y) : b.f64[operation](x, y))
}

/** One operation on f32 values. For `sqrt` pass the operand as `y` too. */
export function scalarF32(b: Builder, operation: Arithmetic, x: Value, y: Value): Value {
  if (operation === 'min') return b.select(b.f32.lt(x, y), x, y)
  if (operation === 'max') return b.select(b.f32.gt(x, y), x, y)
  return withNanF32(b, x, y, operation === 'sqrt' ? b.f32.sqrt(y) : b.f32[operation](x, y))
}

function packed(b: Builder, lanes: 'f32x4' | 'f64x2', operation: Arithmetic, x: Value, y: Value): Value {
  // `pmin(y, x)` is x < y ? x : y, which is what MINPS does with NaNs and zeros.
  if (operation === 'min') return b[lanes].pmin(y, x)
  if (operation === 'max') return b[lanes].pmax(y, x)
  return withNanPacked(b, lanes, x, y, operation === 'sqrt' ? b[lanes].sqrt(y) : b[lanes][operation](x, y))
}

/** One operation on four f32 lanes. For `sqrt` pass the operand as `y` too. */
export function packedF32(b: Builder, operation: Arithmetic, x: Value, y: Value): Value {
  return packed(b, 'f32x4', operation, x, y)
}

/** One operation on two f64 lanes. For `sqrt` pass the operand as `y` too. */
export function packedF64(b: Builder, operation: Arithmetic, x: Value, y: Value): Value {
  return packed(b, 'f64x2', operation, x, y)
}

const bodies: Readonly<Record<'PS' | 'PD' | 'SS' | 'SD', (operation: Arithmetic) => Body>> = {
  PS: (operation) =>
    sse((b, o) => {
      const y = o.readVector(1)
      o.writeVector(0, packedF32(b, operation, operation === 'sqrt' ? y : o.readVector(0), y))
    }),
  PD: (operation) =>
    sse((b, o) => {
      const y = o.readVector(1)
      o.writeVector(0, packedF64(b, operation, operation === 'sqrt' ? y : o.readVector(0), y))
    }),
  SS: (operation) =>
    sse((b, o) => {
      const y = o.readLow(1, Access.f32)
      o.writeLow(
        0,
        Access.f32,
        scalarF32(b, operation, operation === 'sqrt' ? y : o.readLow(0, Access.f32), y),
      )
    }),
  SD: (operation) =>
    sse((b, o) => {
      const y = o.readLow(1, Access.f64)
      o.writeLow(
        0,
        Access.f64,
        scalarF64(b, operation, operation === 'sqrt' ? y : o.readLow(0, Access.f64), y),
      )
    }),
}

const shapes = {
  PS: { prefix: 'NP', source: 'xmm2/m128', feature: 'sse' },
  PD: { prefix: '66', source: 'xmm2/m128', feature: 'sse2' },
  SS: { prefix: 'F3', source: 'xmm2/m32', feature: 'sse' },
  SD: { prefix: 'F2', source: 'xmm2/m64', feature: 'sse2' },
} as const
const hotForms = new Set([
  'ADDSD',
  'SUBSD',
  'MULSD',
  'DIVSD',
  'ADDPD',
  'SUBPD',
  'MULPD',
  'ADDSS',
  'SUBSS',
  'MULSS',
])

/** The PS, PD, SS and SD forms of one operation. */
function arithmeticForms(name: string, opcode: string, operation: Arithmetic): Form[] {
  return (['PS', 'PD', 'SS', 'SD'] as const).map((suffix) => {
    const { prefix, source, feature } = shapes[suffix]
    const options: FormOptions = { feature, user: true, hot: hotForms.has(name + suffix) }
    return form(
      `${name}${suffix} xmm1, ${source}`,
      `${prefix} 0F ${opcode} /r`,
      bodies[suffix](operation),
      options,
    )
  })
}

// Estimates. Processors give 12 bits from tables of their own; here it is the rounded exact value, which is within the
// documented error (1.5 * 2^-12). Denormals count as zero in operands and results.

/** RCPPS or RSQRTPS of four lanes. */
function estimate(b: Builder, root: boolean, x: Value): Value {
  const { and, or, andnot, bitselect } = b.v128
  const sign = b.i32x4.splat(b.const32(0x8000_0000))
  const smallest = b.f32x4.splat(b.constF32(2 ** -126))
  const one = b.f32x4.splat(b.constF32(1))
  const flush = (value: Value): Value => {
    const tiny = b.f32x4.lt(b.f32x4.abs(value), smallest)
    return bitselect(and(value, sign), value, tiny)
  }
  const operand = flush(x)
  const divisor = root ? b.f32x4.sqrt(operand) : operand
  // A zero's sign survives its root (-0 gives -infinity), a negative number's root is the default NaN.
  const result = flush(b.f32x4.div(one, divisor))
  const quiet = or(x, b.i32x4.splat(b.const32(QUIET32)))
  const standard = b.i32x4.splat(b.const32(DEFAULT_NAN32))
  const nan = bitselect(quiet, standard, b.f32x4.ne(x, x))
  const isNan = b.f32x4.ne(result, result)
  return or(and(nan, isNan), andnot(result, isNan))
}
const estimatePacked = (root: boolean): Body =>
  sse((b, o) => o.writeVector(0, estimate(b, root, o.readVector(1))))
const estimateScalar = (root: boolean): Body =>
  sse((b, o) => {
    const result = estimate(b, root, b.f32x4.splat(o.readLow(1, Access.f32)))
    o.writeLow(0, Access.f32, b.extractLane('f32x4', result, 0))
  })

const logic = (operation: 'and' | 'or' | 'xor'): Body =>
  sse((b, o) => o.writeVector(0, b.v128[operation](o.readVector(0), o.readVector(1))))
const andNot = sse((b, o) => o.writeVector(0, b.v128.andnot(o.readVector(1), o.readVector(0))))

/** The forms without a scalar variant, PS and PD. */
function packedForms(name: string, opcode: string, body: Body, isHot = false): Form[] {
  return [
    form(`${name}PS xmm1, xmm2/m128`, `NP 0F ${opcode} /r`, body, { feature: 'sse', user: true, hot: isHot }),
    form(`${name}PD xmm1, xmm2/m128`, `66 0F ${opcode} /r`, body, {
      feature: 'sse2',
      user: true,
      hot: isHot,
    }),
  ]
}

// SSE3: adjacent lanes.
const evenF32 = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27]
const oddF32 = evenF32.map((byte) => byte + 4)
const evenF64 = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]
const oddF64 = evenF64.map((byte) => byte + 8)

const horizontal = (lanes: 'f32x4' | 'f64x2', operation: 'add' | 'sub'): Body =>
  sse((b, o) => {
    const y = o.readVector(1)
    const x = o.readVector(0)
    const even = b.shuffle(x, y, lanes === 'f32x4' ? evenF32 : evenF64)
    const odd = b.shuffle(x, y, lanes === 'f32x4' ? oddF32 : oddF64)
    o.writeVector(0, packed(b, lanes, operation, even, odd))
  })

/** ADDSUBPS, ADDSUBPD: even lanes are subtracted, odd ones added. */
const addSub = (lanes: 'f32x4' | 'f64x2'): Body =>
  sse((b, o: Operands) => {
    const y = o.readVector(1)
    const x = o.readVector(0)
    const odd = Array.from({ length: 16 }, (_, byte) => (byte & (lanes === 'f32x4' ? 4 : 8) ? 0xff : 0))
    const sum = packed(b, lanes, 'add', x, y)
    o.writeVector(0, b.v128.bitselect(sum, packed(b, lanes, 'sub', x, y), b.constV128(odd)))
  })

const sse3: FormOptions = { feature: 'sse3', user: true }

export const sseArithmeticForms: readonly Form[] = [
  ...arithmeticForms('SQRT', '51', 'sqrt'),
  ...arithmeticForms('ADD', '58', 'add'),
  ...arithmeticForms('MUL', '59', 'mul'),
  ...arithmeticForms('SUB', '5C', 'sub'),
  ...arithmeticForms('MIN', '5D', 'min'),
  ...arithmeticForms('DIV', '5E', 'div'),
  ...arithmeticForms('MAX', '5F', 'max'),

  form('RSQRTPS xmm1, xmm2/m128', 'NP 0F 52 /r', estimatePacked(true), { feature: 'sse', user: true }),
  form('RSQRTSS xmm1, xmm2/m32', 'F3 0F 52 /r', estimateScalar(true), { feature: 'sse', user: true }),
  form('RCPPS xmm1, xmm2/m128', 'NP 0F 53 /r', estimatePacked(false), { feature: 'sse', user: true }),
  form('RCPSS xmm1, xmm2/m32', 'F3 0F 53 /r', estimateScalar(false), { feature: 'sse', user: true }),

  ...packedForms('AND', '54', logic('and'), true),
  ...packedForms('ANDN', '55', andNot),
  ...packedForms('OR', '56', logic('or')),
  ...packedForms('XOR', '57', logic('xor'), true),

  form('HADDPD xmm1, xmm2/m128', '66 0F 7C /r', horizontal('f64x2', 'add'), sse3),
  form('HADDPS xmm1, xmm2/m128', 'F2 0F 7C /r', horizontal('f32x4', 'add'), sse3),
  form('HSUBPD xmm1, xmm2/m128', '66 0F 7D /r', horizontal('f64x2', 'sub'), sse3),
  form('HSUBPS xmm1, xmm2/m128', 'F2 0F 7D /r', horizontal('f32x4', 'sub'), sse3),
  form('ADDSUBPD xmm1, xmm2/m128', '66 0F D0 /r', addSub('f64x2'), sse3),
  form('ADDSUBPS xmm1, xmm2/m128', 'F2 0F D0 /r', addSub('f32x4'), sse3),
]
