/**
 * WebAssembly's scalar operations (core specification, section 4.3) on the evaluator's values, by opcode.
 */
import {
  EvaluatorError,
  f32Bits,
  f32Value,
  f64Bits,
  f64Value,
  integerToF32,
  roundTiesToEven,
  type Scalar,
  truncateSaturated32,
  truncateSaturated64,
} from './value.ts'

export type Operation = (x: Scalar, y: Scalar, z: Scalar) => Scalar

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value)
const s64 = (value: bigint): bigint => BigInt.asIntN(64, value)

/** What WebAssembly would trap on: bodies must guard against it, a trap would end the host's run loop. */
function divisor<T extends number | bigint>(value: T, zero: T): T {
  if (value === zero) throw new EvaluatorError('IR divides by zero: WebAssembly would trap')
  return value
}
const overflow = (): never => {
  throw new EvaluatorError('IR division overflows: WebAssembly would trap')
}

function popcount(value: bigint): number {
  let count = 0
  for (let rest = value; rest !== 0n; rest &= rest - 1n) count++
  return count
}
function leadingZeros(value: bigint): number {
  return value === 0n ? 64 : 64 - value.toString(2).length
}
function trailingZeros(value: bigint): number {
  return value === 0n ? 64 : (value & -value).toString(2).length - 1
}

const i32Compare: ((x: number, y: number) => boolean)[] = [
  (x, y) => x === y,
  (x, y) => x !== y,
  (x, y) => x < y,
  (x, y) => x >>> 0 < y >>> 0,
  (x, y) => x > y,
  (x, y) => x >>> 0 > y >>> 0,
  (x, y) => x <= y,
  (x, y) => x >>> 0 <= y >>> 0,
  (x, y) => x >= y,
  (x, y) => x >>> 0 >= y >>> 0,
]
const i64Compare: ((x: bigint, y: bigint) => boolean)[] = [
  (x, y) => x === y,
  (x, y) => x !== y,
  (x, y) => s64(x) < s64(y),
  (x, y) => x < y,
  (x, y) => s64(x) > s64(y),
  (x, y) => x > y,
  (x, y) => s64(x) <= s64(y),
  (x, y) => x <= y,
  (x, y) => s64(x) >= s64(y),
  (x, y) => x >= y,
]
/** eq ne lt gt le ge, false with a NaN but for ne. */
export const floatCompare: readonly ((x: number, y: number) => boolean)[] = [
  (x, y) => x === y,
  (x, y) => x !== y,
  (x, y) => x < y,
  (x, y) => x > y,
  (x, y) => x <= y,
  (x, y) => x >= y,
]
const i32Unary: ((x: number) => number)[] = [
  (x) => Math.clz32(x),
  (x) => (x === 0 ? 32 : 31 - Math.clz32(x & -x)),
  (x) => popcount(BigInt(x >>> 0)),
]
const i32Binary: ((x: number, y: number) => number)[] = [
  (x, y) => x + y,
  (x, y) => x - y,
  (x, y) => Math.imul(x, y),
  (x, y) => (x === -(2 ** 31) && y === -1 ? overflow() : Math.trunc(x / divisor(y, 0))),
  (x, y) => Math.trunc((x >>> 0) / divisor(y >>> 0, 0)),
  (x, y) => x % divisor(y, 0),
  (x, y) => (x >>> 0) % divisor(y >>> 0, 0),
  (x, y) => x & y,
  (x, y) => x | y,
  (x, y) => x ^ y,
  (x, y) => x << (y & 31),
  (x, y) => x >> (y & 31),
  (x, y) => x >>> (y & 31),
  (x, y) => (x << (y & 31)) | (y & 31 ? x >>> (32 - (y & 31)) : 0),
  (x, y) => (x >>> (y & 31)) | (y & 31 ? x << (32 - (y & 31)) : 0),
]
const i64Unary: ((x: bigint) => number)[] = [leadingZeros, trailingZeros, popcount]
const i64Binary: ((x: bigint, y: bigint) => bigint)[] = [
  (x, y) => x + y,
  (x, y) => x - y,
  (x, y) => x * y,
  (x, y) => (s64(x) === -(2n ** 63n) && s64(y) === -1n ? overflow() : s64(x) / divisor(s64(y), 0n)),
  (x, y) => x / divisor(y, 0n),
  (x, y) => s64(x) % divisor(s64(y), 0n),
  (x, y) => x % divisor(y, 0n),
  (x, y) => x & y,
  (x, y) => x | y,
  (x, y) => x ^ y,
  (x, y) => x << (y & 63n),
  (x, y) => s64(x) >> (y & 63n),
  (x, y) => x >> (y & 63n),
  (x, y) => (x << (y & 63n)) | (x >> (64n - (y & 63n))),
  (x, y) => (x >> (y & 63n)) | (x << (64n - (y & 63n))),
]
/** ceil floor trunc nearest. */
export const floatRounding: readonly ((x: number) => number)[] = [
  Math.ceil,
  Math.floor,
  Math.trunc,
  roundTiesToEven,
]
/** ceil floor trunc nearest sqrt; abs and neg work on the bits and are apart. */
const floatUnary: readonly ((x: number) => number)[] = [...floatRounding, Math.sqrt]
/** add sub mul div min max. Math.min and Math.max order the zeros and propagate NaN as WebAssembly does. */
export const floatBinary: readonly ((x: number, y: number) => number)[] = [
  (x, y) => x + y,
  (x, y) => x - y,
  (x, y) => x * y,
  (x, y) => x / y,
  Math.min,
  Math.max,
]

const F32_SIGN = 0x8000_0000 | 0
const F64_SIGN = 1n << 63n

/** Scalar operations by opcode. */
export const scalarOperations: Operation[] = []
const define = (opcode: number, operation: (x: never, y: never, z: never) => Scalar): void => {
  scalarOperations[opcode] = operation as Operation
}

define(0x45, (x: number) => +(x === 0))
define(0x50, (x: bigint) => +(x === 0n))
i32Compare.forEach((f, index) => define(0x46 + index, (x: number, y: number) => +f(x, y)))
i64Compare.forEach((f, index) => define(0x51 + index, (x: bigint, y: bigint) => +f(x, y)))
floatCompare.forEach((f, index) => {
  define(0x5b + index, (x: number, y: number) => +f(f32Value(x), f32Value(y)))
  define(0x61 + index, (x: bigint, y: bigint) => +f(f64Value(x), f64Value(y)))
})
i32Unary.forEach((f, index) => define(0x67 + index, f))
i32Binary.forEach((f, index) => define(0x6a + index, (x: number, y: number) => f(x, y) | 0))
i64Unary.forEach((f, index) => define(0x79 + index, (x: bigint) => BigInt(f(x))))
i64Binary.forEach((f, index) => define(0x7c + index, (x: bigint, y: bigint) => u64(f(x, y))))

define(0x8b, (x: number) => x & ~F32_SIGN)
define(0x8c, (x: number) => x ^ F32_SIGN)
define(0x99, (x: bigint) => x & ~F64_SIGN)
define(0x9a, (x: bigint) => x ^ F64_SIGN)
floatUnary.forEach((f, index) => {
  define(0x8d + index, (x: number) => f32Bits(f(f32Value(x))))
  define(0x9b + index, (x: bigint) => f64Bits(f(f64Value(x))))
})
// A sum, product, quotient or root of two f32 that is computed in f64 and then rounded is rounded right (53 >= 2 x 24 + 2).
floatBinary.forEach((f, index) => {
  define(0x92 + index, (x: number, y: number) => f32Bits(f(f32Value(x), f32Value(y))))
  define(0xa0 + index, (x: bigint, y: bigint) => f64Bits(f(f64Value(x), f64Value(y))))
})
define(0x98, (x: number, y: number) => (x & ~F32_SIGN) | (y & F32_SIGN))
define(0xa6, (x: bigint, y: bigint) => (x & ~F64_SIGN) | (y & F64_SIGN))

define(0xa7, (x: bigint) => Number(BigInt.asIntN(32, x)))
define(0xac, (x: number) => u64(BigInt(x)))
define(0xad, (x: number) => BigInt(x >>> 0))
define(0xb2, (x: number) => f32Bits(Math.fround(x)))
define(0xb4, (x: bigint) => f32Bits(integerToF32(s64(x))))
define(0xb5, (x: bigint) => f32Bits(integerToF32(x)))
define(0xb6, (x: bigint) => f32Bits(Math.fround(f64Value(x))))
define(0xb7, (x: number) => f64Bits(x))
define(0xb9, (x: bigint) => f64Bits(Number(s64(x))))
define(0xba, (x: bigint) => f64Bits(Number(x)))
define(0xbb, (x: number) => f64Bits(f32Value(x)))
for (const reinterpretation of [0xbc, 0xbd, 0xbe, 0xbf]) define(reinterpretation, (x: Scalar) => x)
define(0xc0, (x: number) => (x << 24) >> 24)
define(0xc1, (x: number) => (x << 16) >> 16)
define(0xc2, (x: bigint) => u64(BigInt.asIntN(8, x)))
define(0xc3, (x: bigint) => u64(BigInt.asIntN(16, x)))
define(0xc4, (x: bigint) => u64(BigInt.asIntN(32, x)))
define(0x240, (x: number) => truncateSaturated32(f32Value(x)))
define(0x242, (x: bigint) => truncateSaturated32(f64Value(x)))
define(0x244, (x: number) => truncateSaturated64(f32Value(x)))
define(0x246, (x: bigint) => truncateSaturated64(f64Value(x)))
