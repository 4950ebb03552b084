/**
 * SSE4.1 without the plain lane operations (those are in sse-integer.ts): blends, insertions and extractions,
 * extensions, PTEST, rounding, dot products, sums of absolute differences (SDM volume 2).
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { ARITHMETIC_FLAGS, Flag, State } from '../state-layout.ts'
import { sse } from './fpu-guard.ts'
import { packedF32, packedF64, withNanF32, withNanF64, withNanPacked } from './sse-arithmetic.ts'
import { roundF64, roundingControl, roundPacked } from './sse-convert.ts'
import { extractDynamic, insertDynamic } from './sse-shuffle.ts'

const zeros = new Uint8Array(16)
const bytes = (f: (index: number) => number): number[] => Array.from({ length: 16 }, (_, index) => f(index))
const iota = bytes((byte) => byte)
const immediate = (b: Builder, value: Value): Value => b.i32.wrapI64(value)
const bit = (b: Builder, value: Value, mask: number): Value => b.i32.and(value, b.const32(mask))

/** All ones in every lane of `size` bytes whose bit is set in `mask` (i32), bit 0 for lane 0. */
export function laneMask(b: Builder, mask: Value, size: 1 | 2 | 4 | 8): Value {
  const known = b.constantOf(mask)
  if (known !== undefined)
    return b.constV128(bytes((byte) => ((Number(known) >> Math.floor(byte / size)) & 1 ? 0xff : 0)))
  // Each byte gets the byte of the mask that holds its bit, then that bit alone.
  const lane = (byte: number): number => Math.floor(byte / size)
  const spread = b.i8x16.swizzle(b.i32x4.splat(mask), b.constV128(bytes((byte) => lane(byte) >> 3)))
  const own = b.constV128(bytes((byte) => 1 << (lane(byte) & 7)))
  return b.i8x16.eq(b.v128.and(spread, own), own)
}

const blendImmediate = (size: 2 | 4 | 8): Body =>
  sse((b, o) => {
    const y = o.readVector(1)
    o.writeVector(0, b.v128.bitselect(y, o.readVector(0), laneMask(b, immediate(b, o.read(2)), size)))
  })
/** PBLENDVB, BLENDVPS, BLENDVPD: the top bit of each lane of XMM0 chooses. */
const blendVariable = (lanes: 'i8x16' | 'i32x4' | 'i64x2'): Body =>
  sse((b, o) => {
    const y = o.readVector(1)
    const mask = b[lanes].ltS(b.stateLoad(Access.v128, State.ymm), b.constV128(zeros))
    o.writeVector(0, b.v128.bitselect(y, o.readVector(0), mask))
  })

type Lanes = 'i8x16' | 'i32x4' | 'i64x2' | 'i16x8'
const laneCount = { i8x16: 16, i16x8: 8, i32x4: 4, i64x2: 2 } as const
const insert = (lanes: Lanes): Body =>
  sse((b, o) => {
    const value = o.read(1)
    const lane = bit(b, immediate(b, o.read(2)), laneCount[lanes] - 1)
    o.writeVector(0, insertDynamic(b, lanes, o.readVector(0), lane, value))
  })
const extract = (lanes: Lanes): Body =>
  sse((b, o) => {
    const lane = bit(b, immediate(b, o.read(2)), laneCount[lanes] - 1)
    o.write(0, extractDynamic(b, lanes, o.readVector(1), lane))
  })
/** INSERTPS: source lane in bits 6 and 7 (registers only), destination lane in 4 and 5, lanes to clear in 0 to 3. */
const insertSingle = sse((b, o) => {
  const imm = immediate(b, o.read(2))
  const field = (shift: number): Value => bit(b, b.i32.shrU(imm, b.const32(shift)), 3)
  const value = o.isMemory(1)
    ? o.readLow(1, Access.u32)
    : extractDynamic(b, 'i32x4', o.readVector(1), field(6))
  const inserted = insertDynamic(b, 'i32x4', o.readVector(0), field(4), value)
  o.writeVector(0, b.v128.andnot(inserted, laneMask(b, imm, 4)))
})

/** PMOVSXxx, PMOVZXxx: `steps` doublings of the lanes from `from` bytes on. */
function extend(b: Builder, x: Value, from: number, to: number, sign: 'S' | 'U'): Value {
  let value = x
  if (from === 1) value = b.i16x8[`extendLowI8x16${sign}`](value)
  if (from <= 2 && to >= 4) value = b.i32x4[`extendLowI16x8${sign}`](value)
  if (to === 8) value = b.i64x2[`extendLowI32x4${sign}`](value)
  return value
}
const extendForms = (['S', 'U'] as const).flatMap((sign) => {
  const rows = [
    ['BW', 1, 2, 0],
    ['BD', 1, 4, 1],
    ['BQ', 1, 8, 2],
    ['WD', 2, 4, 3],
    ['WQ', 2, 8, 4],
    ['DQ', 4, 8, 5],
  ] as const
  return rows.map(([suffix, from, to, index]) => {
    const read = (from * 16) / to
    const access = read === 8 ? Access.u64 : read === 4 ? Access.u32 : Access.u16
    const opcode = (sign === 'S' ? 0x20 : 0x30) + index
    return form(
      `PMOV${sign === 'S' ? 'S' : 'Z'}X${suffix} xmm1, xmm2/m${read * 8}`,
      `66 0F 38 ${opcode.toString(16).toUpperCase()} /r`,
      sse((b, o) => o.writeVector(0, extend(b, b.i64x2.splat(o.readLow(1, access)), from, to, sign))),
      { feature: 'sse4.1', user: true },
    )
  })
})

/** PTEST: ZF if no bit is set in both, CF if the source has none outside of the destination. */
const test = sse((b, o) => {
  const y = o.readVector(1)
  const x = o.readVector(0)
  const zero = b.i32.eqz(b.v128.anyTrue(b.v128.and(y, x)))
  const carry = b.i32.eqz(b.v128.anyTrue(b.v128.andnot(y, x)))
  b.flagsSet(ARITHMETIC_FLAGS, b.i32.or(carry, b.i32.mul(zero, b.const32(Flag.zf))))
})

/** Rounding mode of ROUNDxx: MXCSR's if bit 2 of the immediate is set. i32 */
function roundingMode(b: Builder, imm: Value): Value {
  return b.select(bit(b, imm, 4), roundingControl(b), bit(b, imm, 3))
}
const roundPackedTo = (lanes: 'f32x4' | 'f64x2'): Body =>
  sse((b, o) => {
    const x = o.readVector(1)
    o.writeVector(
      0,
      withNanPacked(b, lanes, x, x, roundPacked(b, lanes, x, roundingMode(b, immediate(b, o.read(2))))),
    )
  })
const roundDouble = sse((b, o) => {
  const x = o.readLow(1, Access.f64)
  o.writeLow(0, Access.f64, withNanF64(b, x, x, roundF64(b, x, roundingMode(b, immediate(b, o.read(2))))))
})
const roundSingle = sse((b, o) => {
  const x = o.readLow(1, Access.f32)
  const rounded = b.f32.demoteF64(roundF64(b, b.f64.promoteF32(x), roundingMode(b, immediate(b, o.read(2)))))
  o.writeLow(0, Access.f32, withNanF32(b, x, x, rounded))
})

// Dot products: products of the lanes that imm8[7:4] names, summed pairwise, to the lanes that imm8[3:0] names.
const swapF32 = bytes((byte) => byte ^ 4)
const swapHalves = bytes((byte) => byte ^ 8)
const dotSingle = sse((b, o) => {
  const y = o.readVector(1)
  const imm = immediate(b, o.read(2))
  const product = b.v128.and(
    packedF32(b, 'mul', o.readVector(0), y),
    laneMask(b, b.i32.shrU(imm, b.const32(4)), 4),
  )
  const pairs = packedF32(b, 'add', product, b.shuffle(product, product, swapF32))
  const sum = packedF32(b, 'add', pairs, b.shuffle(pairs, pairs, swapHalves))
  // Every lane takes the sum as lane 0 has it: with two NaNs the order counts.
  o.writeVector(0, b.v128.and(b.i32x4.splat(b.extractLane('i32x4', sum, 0)), laneMask(b, imm, 4)))
})
const dotDouble = sse((b, o) => {
  const y = o.readVector(1)
  const imm = immediate(b, o.read(2))
  const product = b.v128.and(
    packedF64(b, 'mul', o.readVector(0), y),
    laneMask(b, b.i32.shrU(imm, b.const32(4)), 8),
  )
  const sum = packedF64(b, 'add', product, b.shuffle(product, product, swapHalves))
  o.writeVector(0, b.v128.and(b.i64x2.splat(b.extractLane('i64x2', sum, 0)), laneMask(b, imm, 8)))
})

/** MPSADBW: eight sums of |x - y| over 4 bytes, x sliding, y fixed. */
const slidingDifferences = sse((b, o) => {
  const y = o.readVector(1)
  const imm = immediate(b, o.read(2))
  const block = b.i32x4.splat(b.i32.wrapI64(extractDynamic(b, 'i32x4', y, bit(b, imm, 3))))
  const start = b.i8x16.splat(bit(b, imm, 4))
  const x = b.i8x16.swizzle(o.readVector(0), b.i8x16.add(b.constV128(iota), start))
  let sum: Value | undefined
  for (let byte = 0; byte < 4; byte++) {
    const window = b.shuffle(
      x,
      x,
      bytes((index) => (index + byte) & 15),
    )
    const fixed = b.shuffle(
      block,
      block,
      bytes(() => byte),
    )
    const difference = b.v128.or(b.i8x16.subSatU(window, fixed), b.i8x16.subSatU(fixed, window))
    const words = b.i16x8.extendLowI8x16U(difference)
    sum = sum === undefined ? words : b.i16x8.add(sum, words)
  }
  o.writeVector(0, sum!)
})

/** PHMINPOSUW: the least word and its index; the first of equal ones. */
const leastWord = sse((b, o) => {
  const x = o.readVector(1)
  let least: Value | undefined
  for (let lane = 0; lane < 8; lane++) {
    const key = b.i32.or(b.i32.shl(b.extractLane('i16x8', x, lane), b.const32(3)), b.const32(lane))
    least = least === undefined ? key : b.select(b.i32.ltU(key, least), key, least)
  }
  const word = b.i32.shrU(least!, b.const32(3))
  const result = b.i32.or(word, b.i32.shl(bit(b, least!, 7), b.const32(16)))
  o.writeVector(0, b.replaceLane('i32x4', b.constV128(zeros), 0, result))
})

const options: FormOptions = { feature: 'sse4.1', user: true }

export const sse4Forms: readonly Form[] = [
  form('PBLENDVB xmm1, xmm2/m128', '66 0F 38 10 /r', blendVariable('i8x16'), options),
  form('BLENDVPS xmm1, xmm2/m128', '66 0F 38 14 /r', blendVariable('i32x4'), options),
  form('BLENDVPD xmm1, xmm2/m128', '66 0F 38 15 /r', blendVariable('i64x2'), options),
  form('PTEST xmm1, xmm2/m128', '66 0F 38 17 /r', test, options),
  ...extendForms,
  form('PHMINPOSUW xmm1, xmm2/m128', '66 0F 38 41 /r', leastWord, options),

  form('ROUNDPS xmm1, xmm2/m128, imm8', '66 0F 3A 08 /r ib', roundPackedTo('f32x4'), options),
  form('ROUNDPD xmm1, xmm2/m128, imm8', '66 0F 3A 09 /r ib', roundPackedTo('f64x2'), options),
  form('ROUNDSS xmm1, xmm2/m32, imm8', '66 0F 3A 0A /r ib', roundSingle, options),
  form('ROUNDSD xmm1, xmm2/m64, imm8', '66 0F 3A 0B /r ib', roundDouble, options),
  form('BLENDPS xmm1, xmm2/m128, imm8', '66 0F 3A 0C /r ib', blendImmediate(4), options),
  form('BLENDPD xmm1, xmm2/m128, imm8', '66 0F 3A 0D /r ib', blendImmediate(8), options),
  form('PBLENDW xmm1, xmm2/m128, imm8', '66 0F 3A 0E /r ib', blendImmediate(2), options),

  form('PEXTRB r32/m8, xmm, imm8', '66 0F 3A 14 /r ib', extract('i8x16'), options),
  form('PEXTRW r32/m16, xmm, imm8', '66 0F 3A 15 /r ib', extract('i16x8'), options),
  form('PEXTRD r/m32, xmm, imm8', '66 0F 3A 16 /r ib', extract('i32x4'), options),
  form('PEXTRQ r/m64, xmm, imm8', '66 REX.W 0F 3A 16 /r ib', extract('i64x2'), options),
  form('EXTRACTPS r/m32, xmm, imm8', '66 0F 3A 17 /r ib', extract('i32x4'), options),
  form('PINSRB xmm, r32/m8, imm8', '66 0F 3A 20 /r ib', insert('i8x16'), options),
  form('INSERTPS xmm1, xmm2/m32, imm8', '66 0F 3A 21 /r ib', insertSingle, options),
  form('PINSRD xmm, r/m32, imm8', '66 0F 3A 22 /r ib', insert('i32x4'), options),
  form('PINSRQ xmm, r/m64, imm8', '66 REX.W 0F 3A 22 /r ib', insert('i64x2'), options),

  form('DPPS xmm1, xmm2/m128, imm8', '66 0F 3A 40 /r ib', dotSingle, options),
  form('DPPD xmm1, xmm2/m128, imm8', '66 0F 3A 41 /r ib', dotDouble, options),
  form('MPSADBW xmm1, xmm2/m128, imm8', '66 0F 3A 42 /r ib', slidingDifferences, options),
]
