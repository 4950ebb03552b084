/**
 * SSE and SSE2 shuffles, unpacks, word insertion and extraction (SDM volume 2, SHUFPS, PSHUFD, PUNPCK…, PINSRW). An
 * immediate that is known becomes a constant shuffle; else (interpreter) the byte numbers for a swizzle are computed.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, type LaneShape } from '../ir/op.ts'
import { type Body, type Feature, type Form, type FormOptions, form } from '../isa/form.ts'
import { sse } from './fpu-guard.ts'
import { mmx, readMmx, readMmxPair, writeMmx } from './mmx-registers.ts'

const bytes = (length: number, f: (index: number) => number): number[] =>
  Array.from({ length }, (_, index) => f(index))
/** 16 bytes from 16-bit or 32-bit lanes. */
const fromWords = (words: readonly number[]): Uint8Array => new Uint8Array(Uint16Array.from(words).buffer)
const fromDwords = (dwords: readonly number[]): Uint8Array => new Uint8Array(Uint32Array.from(dwords).buffer)

/** Dwords of `x` as the four 2-bit fields of `imm` (i32) say. */
export function shuffleDwords(b: Builder, x: Value, imm: Value): Value {
  const known = b.constantOf(imm)
  if (known !== undefined)
    return b.shuffle(
      x,
      x,
      bytes(16, (byte) => ((Number(known) >> ((byte >> 2) * 2)) & 3) * 4 + (byte & 3)),
    )
  // The field of lane i comes to bits 6 and 7 by a multiplication; then byte numbers 4f to 4f + 3.
  const moved = b.i32x4.mul(b.i32x4.splat(imm), b.constV128(fromDwords([64, 16, 4, 1])))
  const field = b.v128.and(b.i32x4.shrU(moved, b.const32(6)), b.i32x4.splat(b.const32(3)))
  const first = b.i32x4.mul(field, b.i32x4.splat(b.const32(0x0404_0404)))
  return b.i8x16.swizzle(x, b.i32x4.add(first, b.i32x4.splat(b.const32(0x0302_0100))))
}

/** The low or high four words as the fields of `imm` (i32) say; the others stay. */
function shuffleWords(b: Builder, x: Value, imm: Value, high: boolean): Value {
  const known = b.constantOf(imm)
  const shuffled = (word: number): boolean => word >= 4 === high
  if (known !== undefined)
    return b.shuffle(
      x,
      x,
      bytes(16, (byte) => {
        const word = byte >> 1
        return shuffled(word)
          ? (((Number(known) >> ((word & 3) * 2)) & 3) + (high ? 4 : 0)) * 2 + (byte & 1)
          : byte
      }),
    )
  const factors = bytes(8, (word) => (shuffled(word) ? 64 >> ((word & 3) * 2) : 0))
  const base = bytes(8, (word) => (shuffled(word) ? (high ? 0x0908 : 0x0100) : word * 0x0202 + 0x0100))
  const moved = b.i16x8.mul(b.i16x8.splat(imm), b.constV128(fromWords(factors)))
  const field = b.v128.and(b.i16x8.shrU(moved, b.const32(6)), b.i16x8.splat(b.const32(3)))
  const first = b.i16x8.mul(field, b.i16x8.splat(b.const32(0x0202)))
  return b.i8x16.swizzle(x, b.i16x8.add(first, b.constV128(fromWords(base))))
}

const immediate = (b: Builder, value: Value): Value => b.i32.wrapI64(value)

const pshufd = sse((b, o) => o.writeVector(0, shuffleDwords(b, o.readVector(1), immediate(b, o.read(2)))))
const pshufw = (high: boolean): Body =>
  sse((b, o) => o.writeVector(0, shuffleWords(b, o.readVector(1), immediate(b, o.read(2)), high)))

const shufps = sse((b, o) => {
  const y = o.readVector(1)
  const imm = immediate(b, o.read(2))
  const low = shuffleDwords(b, o.readVector(0), imm)
  o.writeVector(
    0,
    b.shuffle(
      low,
      shuffleDwords(b, y, imm),
      bytes(16, (byte) => (byte < 8 ? byte : byte + 16)),
    ),
  )
})
const shufpd = sse((b, o) => {
  const y = o.readVector(1)
  const x = o.readVector(0)
  const imm = immediate(b, o.read(2))
  const half = (value: Value, bit: number): Value =>
    b.select(
      b.i32.and(imm, b.const32(bit)),
      b.extractLane('i64x2', value, 1),
      b.extractLane('i64x2', value, 0),
    )
  o.writeVector(0, b.replaceLane('i64x2', b.i64x2.splat(half(x, 1)), 1, half(y, 2)))
})

/** Byte numbers that interleave lanes of `size` bytes of two vectors. */
const interleave = (size: number, high: boolean): number[] =>
  bytes(16, (byte) => {
    const lane = Math.floor(byte / size)
    return (lane >> 1) * size + (byte % size) + (high ? 8 : 0) + (lane & 1 ? 16 : 0)
  })
const unpack = (size: number, high: boolean): Body =>
  sse((b, o) => {
    const y = o.readVector(1)
    o.writeVector(0, b.shuffle(o.readVector(0), y, interleave(size, high)))
  })
/** On MMX registers, both of which lie in one vector: x in bytes 0 to 7, y in 8 to 15. */
const unpackMmx = (size: number, high: boolean): Body =>
  mmx((b, o) => {
    const pair = readMmxPair(b, o)
    const pattern = bytes(16, (byte) => {
      const lane = Math.floor((byte & 7) / size)
      return (lane >> 1) * size + (byte % size) + (high ? 4 : 0) + (lane & 1 ? 8 : 0)
    })
    writeMmx(b, o, 0, b.shuffle(pair, pair, pattern))
  })
/** The low forms read only 32 bits of memory. */
const unpackMmxLow = (size: number): Body =>
  mmx((b, o) => {
    const y = b.i64x2.splat(o.readLow(1, Access.u32))
    writeMmx(b, o, 0, b.shuffle(readMmx(b, o, 0), y, interleave(size, false)))
  })

/** Lane `lane` (i32, in range) of `vector`, zero-extended to i64. The lane may not be known yet. */
export function extractDynamic(b: Builder, shape: LaneShape, vector: Value, lane: Value): Value {
  const wide = (value: Value): Value => (shape === 'i64x2' ? value : b.i64.extendI32U(value))
  const known = b.constantOf(lane)
  if (known !== undefined) return wide(b.extractLane(shape, vector, Number(known)))
  const size = laneBytes[shape]
  const first = b.i32.mul(lane, b.const32(size))
  const index = b.i8x16.add(b.i8x16.splat(first), b.constV128(bytes(16, (byte) => byte & (size - 1))))
  return wide(b.extractLane(shape, b.i8x16.swizzle(vector, index), 0))
}

const laneBytes: Record<string, number> = { i8x16: 1, i16x8: 2, i32x4: 4, i64x2: 8 }
type IntegerShape = 'i8x16' | 'i16x8' | 'i32x4' | 'i64x2'

/** `vector` with lane `lane` (i32, in range) replaced by the low bits of `value` (i64). */
export function insertDynamic(
  b: Builder,
  shape: IntegerShape,
  vector: Value,
  lane: Value,
  value: Value,
): Value {
  const scalar = shape === 'i64x2' ? value : b.i32.wrapI64(value)
  const known = b.constantOf(lane)
  if (known !== undefined) return b.replaceLane(shape, vector, Number(known), scalar)
  const numbers = b.constV128(bytes(16, (byte) => Math.floor(byte / laneBytes[shape]!)))
  const mask = b.i8x16.eq(numbers, b.i8x16.splat(lane))
  return b.v128.bitselect(b[shape].splat(scalar), vector, mask)
}

const laneOf = (b: Builder, value: Value, lanes: number): Value =>
  b.i32.and(b.i32.wrapI64(value), b.const32(lanes - 1))

const insertWord = sse((b, o) => {
  const value = o.read(1)
  o.writeVector(0, insertDynamic(b, 'i16x8', o.readVector(0), laneOf(b, o.read(2), 8), value))
})
const extractWord = sse((b, o) =>
  o.write(0, extractDynamic(b, 'i16x8', o.readVector(1), laneOf(b, o.read(2), 8))),
)

const sse1: FormOptions = { feature: 'sse', user: true }
const sse2: FormOptions = { feature: 'sse2', user: true }
const hot2: FormOptions = { feature: 'sse2', user: true, hot: true }
const mm = (feature: Feature): FormOptions => ({ feature, user: true })

/** PUNPCKLxx and PUNPCKHxx, on XMM and MMX registers. */
function unpackForms(suffix: string, size: number, low: string, high: string): Form[] {
  return [
    form(`PUNPCKL${suffix} xmm1, xmm2/m128`, `66 0F ${low} /r`, unpack(size, false), sse2),
    form(`PUNPCKH${suffix} xmm1, xmm2/m128`, `66 0F ${high} /r`, unpack(size, true), sse2),
    form(`PUNPCKL${suffix} mm, mm/m32`, `NP 0F ${low} /r`, unpackMmxLow(size), mm('mmx')),
    form(`PUNPCKH${suffix} mm, mm/m64`, `NP 0F ${high} /r`, unpackMmx(size, true), mm('mmx')),
  ]
}

export const sseShuffleForms: readonly Form[] = [
  form('SHUFPS xmm1, xmm2/m128, imm8', 'NP 0F C6 /r ib', shufps, sse1),
  form('SHUFPD xmm1, xmm2/m128, imm8', '66 0F C6 /r ib', shufpd, sse2),
  form('UNPCKLPS xmm1, xmm2/m128', 'NP 0F 14 /r', unpack(4, false), sse1),
  form('UNPCKHPS xmm1, xmm2/m128', 'NP 0F 15 /r', unpack(4, true), sse1),
  form('UNPCKLPD xmm1, xmm2/m128', '66 0F 14 /r', unpack(8, false), hot2),
  form('UNPCKHPD xmm1, xmm2/m128', '66 0F 15 /r', unpack(8, true), sse2),

  ...unpackForms('BW', 1, '60', '68'),
  ...unpackForms('WD', 2, '61', '69'),
  ...unpackForms('DQ', 4, '62', '6A'),
  form('PUNPCKLQDQ xmm1, xmm2/m128', '66 0F 6C /r', unpack(8, false), sse2),
  form('PUNPCKHQDQ xmm1, xmm2/m128', '66 0F 6D /r', unpack(8, true), sse2),

  form('PSHUFD xmm1, xmm2/m128, imm8', '66 0F 70 /r ib', pshufd, hot2),
  form('PSHUFHW xmm1, xmm2/m128, imm8', 'F3 0F 70 /r ib', pshufw(true), sse2),
  form('PSHUFLW xmm1, xmm2/m128, imm8', 'F2 0F 70 /r ib', pshufw(false), sse2),
  form(
    'PSHUFW mm1, mm2/m64, imm8',
    'NP 0F 70 /r ib',
    mmx((b, o) => writeMmx(b, o, 0, shuffleWords(b, readMmx(b, o, 1), immediate(b, o.read(2)), false))),
    mm('sse'),
  ),

  form('PINSRW xmm, r32/m16, imm8', '66 0F C4 /r ib', insertWord, sse2),
  form('PEXTRW r32, xmm, imm8', '66 0F C5 /r ib', extractWord, sse2),
  form(
    'PINSRW mm, r32/m16, imm8',
    'NP 0F C4 /r ib',
    mmx((b, o) => {
      const value = o.read(1)
      writeMmx(b, o, 0, insertDynamic(b, 'i16x8', readMmx(b, o, 0), laneOf(b, o.read(2), 4), value))
    }),
    mm('sse'),
  ),
  form(
    'PEXTRW r32, mm, imm8',
    'NP 0F C5 /r ib',
    mmx((b, o) => o.write(0, extractDynamic(b, 'i16x8', readMmx(b, o, 1), laneOf(b, o.read(2), 4)))),
    mm('sse'),
  ),
]
