/**
 * WebAssembly's 128-bit operations (core specification, sections 4.3.5 and 4.3.6) on the evaluator's values, by
 * opcode (0x100 + sub-opcode). A vector is a Uint8Array with a buffer of its own, 16 bytes, lane 0 first; lanes are seen
 * through typed arrays, so the host is taken to be little-endian, as every JavaScript host is.
 */
import { Lane } from '../ir/op.ts'
import { floatBinary, floatCompare, floatRounding, type Operation } from './scalar-operations.ts'
import { f32Bits, f32Value, f64Bits, f64Value, type Scalar, truncateSaturated32 } from './value.ts'

/** Vector operations by opcode. */
export const vectorOperations: Operation[] = []
const simd = 0x100
const define = (opcode: number, operation: (x: never, y: never, z: never) => Scalar): void => {
  vectorOperations[simd + opcode] = operation as Operation
}

type Vector = Uint8Array
type Lanes = { length: number; [index: number]: number }
type LanesOf = (vector: Vector) => Lanes
const s8: LanesOf = (v) => new Int8Array(v.buffer)
const u8: LanesOf = (v) => new Uint8Array(v.buffer)
const s16: LanesOf = (v) => new Int16Array(v.buffer)
const u16: LanesOf = (v) => new Uint16Array(v.buffer)
const s32: LanesOf = (v) => new Int32Array(v.buffer)
const u32: LanesOf = (v) => new Uint32Array(v.buffer)
const u64 = (v: Vector): BigUint64Array => new BigUint64Array(v.buffer)
const s64 = (v: Vector): BigInt64Array => new BigInt64Array(v.buffer)
const empty = (): Vector => new Uint8Array(16)

/** result[i] = f(x[i], y[i]) with lanes read by `from` and written by `to` (wrapping). */
function lanewise(from: LanesOf, f: (x: number, y: number) => number, to: LanesOf = from) {
  return (x: Vector, y: Vector): Vector => {
    const result = empty()
    const lanes = to(result)
    const left = from(x)
    const right = from(y)
    for (let i = 0; i < lanes.length; i++) lanes[i] = f(left[i]!, right[i]!)
    return result
  }
}
function lanewiseUnary(from: LanesOf, f: (x: number) => number) {
  return (x: Vector): Vector => {
    const result = empty()
    const lanes = from(result)
    const left = from(x)
    for (let i = 0; i < lanes.length; i++) lanes[i] = f(left[i]!)
    return result
  }
}
function shift(from: LanesOf, bits: number, f: (x: number, count: number) => number) {
  return (x: Vector, count: number): Vector => lanewiseUnary(from, (lane) => f(lane, count & (bits - 1)))(x)
}
function wideUnary(f: (x: bigint) => bigint) {
  return (x: Vector): Vector => {
    const result = empty()
    const lanes = u64(result)
    const left = u64(x)
    for (let i = 0; i < 2; i++) lanes[i] = BigInt.asUintN(64, f(left[i]!))
    return result
  }
}
function wide(f: (x: bigint, y: bigint) => bigint) {
  return (x: Vector, y: Vector): Vector => {
    const result = empty()
    const lanes = u64(result)
    const left = u64(x)
    const right = u64(y)
    for (let i = 0; i < 2; i++) lanes[i] = BigInt.asUintN(64, f(left[i]!, right[i]!))
    return result
  }
}
/** The lanes of `from` from `first` on, as wider lanes. */
function extend(from: LanesOf, to: LanesOf, high: boolean) {
  return (x: Vector): Vector => {
    const result = empty()
    const lanes = to(result)
    const source = from(x)
    for (let i = 0; i < lanes.length; i++) lanes[i] = source[i + (high ? lanes.length : 0)]!
    return result
  }
}
function narrow(from: LanesOf, to: LanesOf, low: number, high: number) {
  return (x: Vector, y: Vector): Vector => {
    const result = empty()
    const lanes = to(result)
    const left = from(x)
    const right = from(y)
    const half = left.length
    for (let i = 0; i < half; i++) {
      lanes[i] = Math.max(low, Math.min(high, left[i]!))
      lanes[half + i] = Math.max(low, Math.min(high, right[i]!))
    }
    return result
  }
}
const saturate = (low: number, high: number, f: (x: number, y: number) => number) => (x: number, y: number) =>
  Math.max(low, Math.min(high, f(x, y)))
const add = (x: number, y: number): number => x + y
const sub = (x: number, y: number): number => x - y
const average = (x: number, y: number): number => (x + y + 1) >> 1
const allTrue = (lanes: Lanes): number => {
  for (let i = 0; i < lanes.length; i++) if (lanes[i] === 0) return 0
  return 1
}
const bitmask = (lanes: Lanes): number => {
  let mask = 0
  for (let i = 0; i < lanes.length; i++) if (lanes[i]! < 0) mask |= 1 << i
  return mask
}
const toSigned = (value: bigint): bigint => BigInt.asIntN(64, value)

// Permutations and splats.
define(14, (x: Vector, lanes: Vector) => Uint8Array.from(lanes, (lane) => (lane < 16 ? x[lane]! : 0)))
const splat = (to: LanesOf) => (value: number) => {
  const result = empty()
  to(result)
  const lanes = to(result)
  for (let i = 0; i < lanes.length; i++) lanes[i] = value
  return result
}
define(15, splat(s8))
define(16, splat(s16))
define(17, splat(s32))
define(18, (value: bigint) => new Uint8Array(BigUint64Array.of(value, value).buffer))
define(19, splat(s32))
define(20, (value: bigint) => new Uint8Array(BigUint64Array.of(value, value).buffer))

// Comparisons: all ones or zero in a lane.
const comparisons: readonly [signed: boolean, f: (x: number, y: number) => boolean][] = [
  [true, (x, y) => x === y],
  [true, (x, y) => x !== y],
  [true, (x, y) => x < y],
  [false, (x, y) => x < y],
  [true, (x, y) => x > y],
  [false, (x, y) => x > y],
  [true, (x, y) => x <= y],
  [false, (x, y) => x <= y],
  [true, (x, y) => x >= y],
  [false, (x, y) => x >= y],
]
for (const [first, signed, unsigned] of [
  [35, s8, u8],
  [45, s16, u16],
  [55, s32, u32],
] as const)
  comparisons.forEach(([isSigned, f], index) =>
    define(
      first + index,
      lanewise(isSigned ? signed : unsigned, (x, y) => (f(x, y) ? -1 : 0), signed),
    ),
  )
const wideComparisons: ((x: bigint, y: bigint) => boolean)[] = [
  (x, y) => x === y,
  (x, y) => x !== y,
  (x, y) => toSigned(x) < toSigned(y),
  (x, y) => toSigned(x) > toSigned(y),
  (x, y) => toSigned(x) <= toSigned(y),
  (x, y) => toSigned(x) >= toSigned(y),
]
wideComparisons.forEach((f, index) =>
  define(
    214 + index,
    wide((x, y) => (f(x, y) ? -1n : 0n)),
  ),
)
floatCompare.forEach((f, index) => {
  define(
    65 + index,
    lanewise(s32, (x, y) => (f(f32Value(x), f32Value(y)) ? -1 : 0)),
  )
  define(
    71 + index,
    wide((x, y) => (f(f64Value(x), f64Value(y)) ? -1n : 0n)),
  )
})

// Bits.
define(
  77,
  wideUnary((x) => ~x),
)
define(
  78,
  wide((x, y) => x & y),
)
define(
  79,
  wide((x, y) => x & ~y),
)
define(
  80,
  wide((x, y) => x | y),
)
define(
  81,
  wide((x, y) => x ^ y),
)
define(82, (x: Vector, y: Vector, mask: Vector) =>
  Uint8Array.from(mask, (bits, i) => (x[i]! & bits) | (y[i]! & ~bits)),
)
define(83, (x: Vector) => +x.some((byte) => byte !== 0))

// Integer lanes.
for (const [first, signed] of [
  [96, s8],
  [128, s16],
  [160, s32],
] as const) {
  define(first, lanewiseUnary(signed, Math.abs))
  define(
    first + 1,
    lanewiseUnary(signed, (x) => -x),
  )
  define(first + 3, (x: Vector) => allTrue(signed(x)))
  define(first + 4, (x: Vector) => bitmask(signed(x)))
}
define(
  98,
  lanewiseUnary(u8, (x) => x.toString(2).replaceAll('0', '').length),
)
define(
  192,
  wideUnary((x) => (toSigned(x) < 0n ? -x : x)),
)
define(
  193,
  wideUnary((x) => -x),
)
define(195, (x: Vector) => +u64(x).every((lane) => lane !== 0n))
define(196, (x: Vector) => +(s64(x)[0]! < 0n) | (+(s64(x)[1]! < 0n) << 1))

define(101, narrow(s16, s8, -0x80, 0x7f))
define(102, narrow(s16, u8, 0, 0xff))
define(133, narrow(s32, s16, -0x8000, 0x7fff))
define(134, narrow(s32, u16, 0, 0xffff))
define(135, extend(s8, s16, false))
define(136, extend(s8, s16, true))
define(137, extend(u8, u16, false))
define(138, extend(u8, u16, true))
define(167, extend(s16, s32, false))
define(168, extend(s16, s32, true))
define(169, extend(u16, u32, false))
define(170, extend(u16, u32, true))
function extendWide(from: LanesOf, high: boolean) {
  return (x: Vector): Vector => {
    const result = empty()
    const source = from(x)
    for (let i = 0; i < 2; i++) s64(result)[i] = BigInt(source[i + (high ? 2 : 0)]!)
    return result
  }
}
define(199, extendWide(s32, false))
define(200, extendWide(s32, true))
define(201, extendWide(u32, false))
define(202, extendWide(u32, true))

for (const [first, bits, signed, unsigned] of [
  [107, 8, s8, u8],
  [139, 16, s16, u16],
  [171, 32, s32, u32],
] as const) {
  define(
    first,
    shift(signed, bits, (x, count) => x << count),
  )
  define(
    first + 1,
    shift(signed, bits, (x, count) => x >> count),
  )
  define(
    first + 2,
    shift(unsigned, bits, (x, count) => x >>> count),
  )
}
const wideShift = (f: (x: bigint, count: bigint) => bigint) => (x: Vector, count: number) =>
  wideUnary((lane) => f(lane, BigInt(count & 63)))(x)
define(
  203,
  wideShift((x, count) => x << count),
)
define(
  204,
  wideShift((x, count) => toSigned(x) >> count),
)
define(
  205,
  wideShift((x, count) => x >> count),
)

for (const [first, signed, unsigned, half] of [
  [110, s8, u8, 0x80],
  [142, s16, u16, 0x8000],
] as const) {
  define(first, lanewise(signed, add))
  define(first + 1, lanewise(signed, saturate(-half, half - 1, add)))
  define(first + 2, lanewise(unsigned, saturate(0, 2 * half - 1, add)))
  define(first + 3, lanewise(signed, sub))
  define(first + 4, lanewise(signed, saturate(-half, half - 1, sub)))
  define(first + 5, lanewise(unsigned, saturate(0, 2 * half - 1, sub)))
}
define(174, lanewise(s32, add))
define(177, lanewise(s32, sub))
define(
  206,
  wide((x, y) => x + y),
)
define(
  209,
  wide((x, y) => x - y),
)
define(149, lanewise(s16, Math.imul))
define(181, lanewise(s32, Math.imul))
define(
  213,
  wide((x, y) => x * y),
)
for (const [first, signed, unsigned] of [
  [118, s8, u8],
  [150, s16, u16],
  [182, s32, u32],
] as const) {
  define(first, lanewise(signed, Math.min))
  define(first + 1, lanewise(unsigned, Math.min))
  define(first + 2, lanewise(signed, Math.max))
  define(first + 3, lanewise(unsigned, Math.max))
}
define(123, lanewise(u8, average))
define(155, lanewise(u16, average))
define(
  130,
  lanewise(s16, (x, y) => Math.min(0x7fff, (x * y + 0x4000) >> 15)),
)
define(186, (x: Vector, y: Vector) => {
  const result = empty()
  const left = s16(x)
  const right = s16(y)
  for (let i = 0; i < 4; i++)
    s32(result)[i] = left[2 * i]! * right[2 * i]! + left[2 * i + 1]! * right[2 * i + 1]!
  return result
})
function extendedProduct(from: LanesOf, to: LanesOf, high: boolean) {
  return (x: Vector, y: Vector): Vector => {
    const result = empty()
    const lanes = to(result)
    const first = high ? lanes.length : 0
    for (let i = 0; i < lanes.length; i++) lanes[i] = from(x)[first + i]! * from(y)[first + i]!
    return result
  }
}
for (const [first, signed, unsigned, to] of [
  [156, s8, u8, s16],
  [188, s16, u16, s32],
] as const) {
  define(first, extendedProduct(signed, to, false))
  define(first + 1, extendedProduct(signed, to, true))
  define(first + 2, extendedProduct(unsigned, to, false))
  define(first + 3, extendedProduct(unsigned, to, true))
}
;[s32, s32, u32, u32].forEach((from, index) =>
  define(220 + index, (x: Vector, y: Vector) => {
    const result = empty()
    const first = index & 1 ? 2 : 0
    for (let i = 0; i < 2; i++)
      u64(result)[i] = BigInt.asUintN(64, BigInt(from(x)[first + i]!) * BigInt(from(y)[first + i]!))
    return result
  }),
)

// Floating-point lanes.
const float32 = (f: (x: number, y: number) => number) =>
  lanewise(s32, (x, y) => f32Bits(f(f32Value(x), f32Value(y))))
const float64 = (f: (x: number, y: number) => number) => wide((x, y) => f64Bits(f(f64Value(x), f64Value(y))))
define(
  224,
  lanewiseUnary(s32, (x) => x & 0x7fff_ffff),
)
define(
  225,
  lanewiseUnary(s32, (x) => x ^ 0x8000_0000),
)
define(
  227,
  lanewiseUnary(s32, (x) => f32Bits(Math.sqrt(f32Value(x)))),
)
define(
  236,
  wideUnary((x) => x & ~(1n << 63n)),
)
define(
  237,
  wideUnary((x) => x ^ (1n << 63n)),
)
define(
  239,
  wideUnary((x) => f64Bits(Math.sqrt(f64Value(x)))),
)
floatBinary.forEach((f, index) => {
  define(228 + index, float32(f))
  define(240 + index, float64(f))
})
const roundings32 = [103, 104, 105, 106]
const roundings64 = [116, 117, 122, 148]
floatRounding.forEach((f, index) => {
  define(
    roundings32[index]!,
    lanewiseUnary(s32, (x) => f32Bits(f(f32Value(x)))),
  )
  define(
    roundings64[index]!,
    wideUnary((x) => f64Bits(f(f64Value(x)))),
  )
})
// Pseudo-minimum and -maximum move bits, NaN included: pmin = y < x ? y : x.
define(
  234,
  lanewise(s32, (x, y) => (f32Value(y) < f32Value(x) ? y : x)),
)
define(
  235,
  lanewise(s32, (x, y) => (f32Value(x) < f32Value(y) ? y : x)),
)
define(
  246,
  wide((x, y) => (f64Value(y) < f64Value(x) ? y : x)),
)
define(
  247,
  wide((x, y) => (f64Value(x) < f64Value(y) ? y : x)),
)

// Conversions.
define(94, (x: Vector) => {
  const result = empty()
  for (let i = 0; i < 2; i++) s32(result)[i] = f32Bits(Math.fround(f64Value(u64(x)[i]!)))
  return result
})
define(95, (x: Vector) => {
  const result = empty()
  for (let i = 0; i < 2; i++) u64(result)[i] = f64Bits(f32Value(s32(x)[i]!))
  return result
})
define(
  248,
  lanewiseUnary(s32, (x) => truncateSaturated32(f32Value(x))),
)
define(
  250,
  lanewiseUnary(s32, (x) => f32Bits(Math.fround(x))),
)
define(252, (x: Vector) => {
  const result = empty()
  for (let i = 0; i < 2; i++) s32(result)[i] = truncateSaturated32(f64Value(u64(x)[i]!))
  return result
})
define(254, (x: Vector) => {
  const result = empty()
  for (let i = 0; i < 2; i++) u64(result)[i] = f64Bits(s32(x)[i]!)
  return result
})

/** Lane `lane` of a vector. @param opcode - sub-opcode of the lane operation, see `Lane` */
export function extractLane(opcode: number, vector: Vector, lane: number): Scalar {
  switch (opcode) {
    case Lane.i8x16.extractS:
      return s8(vector)[lane]!
    case Lane.i8x16.extractU:
      return u8(vector)[lane]!
    case Lane.i16x8.extractS:
      return s16(vector)[lane]!
    case Lane.i16x8.extractU:
      return u16(vector)[lane]!
    case Lane.i32x4.extractS:
    case Lane.f32x4.extractS:
      return s32(vector)[lane]!
    default:
      return u64(vector)[lane]!
  }
}

export function replaceLane(opcode: number, vector: Vector, lane: number, value: Scalar): Vector {
  const result = vector.slice()
  switch (opcode) {
    case Lane.i8x16.replace:
      s8(result)[lane] = value as number
      break
    case Lane.i16x8.replace:
      s16(result)[lane] = value as number
      break
    case Lane.i32x4.replace:
    case Lane.f32x4.replace:
      s32(result)[lane] = value as number
      break
    default:
      u64(result)[lane] = value as bigint
  }
  return result
}

/** @param lanes - 16 byte numbers: 0 to 15 from `x`, 16 to 31 from `y` */
export function shuffle(x: Vector, y: Vector, lanes: Uint8Array): Vector {
  return Uint8Array.from(lanes, (lane) => (lane < 16 ? x[lane]! : y[lane - 16]!))
}
