/**
 * SSE2, SSSE3 and SSE4 integer operations on XMM registers, and on MMX registers where the same lanes serve: an MMX
 * operand is the low half of a vector (SDM volume 2, P…). Saturations, averages and multiply-adds are WebAssembly's.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { type Body, type Feature, type Form, type FormOptions, form } from '../isa/form.ts'
import { sse } from './fpu-guard.ts'
import { mmx, readMmx, readMmxPair, writeMmx } from './mmx-registers.ts'

/** A lane-wise operation of two vectors: destination and source. */
type Binary = (b: Builder, x: Value, y: Value) => Value

const xmmBody = (operation: Binary): Body =>
  sse((b, o) => {
    const y = o.readVector(1)
    o.writeVector(0, operation(b, o.readVector(0), y))
  })
const mmxBody = (operation: Binary): Body =>
  mmx((b, o) => {
    const y = readMmx(b, o, 1)
    writeMmx(b, o, 0, operation(b, readMmx(b, o, 0), y))
  })
/** Packs take both operands' lanes into one vector: with MMX both of them lie in one. */
const mmxPackBody = (operation: Binary): Body =>
  mmx((b, o) => {
    const both = readMmxPair(b, o)
    writeMmx(b, o, 0, operation(b, both, both))
  })

const hotForms = new Set(['PXOR', 'POR', 'PAND', 'PCMPEQB', 'PADDD', 'PADDQ'])

/** XMM and MMX form. @param since - feature of the MMX form, if there is one */
function both(
  name: string,
  opcode: string,
  operation: Binary,
  since: Feature | false = 'mmx',
  feature: Feature = 'sse2',
  mmxOf = mmxBody,
): Form[] {
  const options: FormOptions = { feature, user: true, hot: hotForms.has(name) }
  const xmm = form(`${name} xmm1, xmm2/m128`, `66 ${opcode} /r`, xmmBody(operation), options)
  if (!since) return [xmm]
  return [
    xmm,
    form(`${name} mm1, mm2/m64`, `NP ${opcode} /r`, mmxOf(operation), { feature: since, user: true }),
  ]
}

type Lanes = 'i8x16' | 'i16x8' | 'i32x4' | 'i64x2' | 'v128'
/** A lane operation that WebAssembly has. */
const lanewise =
  (lanes: Lanes, operation: string): Binary =>
  (b, x, y) =>
    b[lanes][operation](x, y)

const highWords = [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31]
const multiplyHigh =
  (sign: 'S' | 'U'): Binary =>
  (b, x, y) =>
    b.shuffle(b.i32x4[`extmulLowI16x8${sign}`](x, y), b.i32x4[`extmulHighI16x8${sign}`](x, y), highWords)

const evenDwords = [0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11]
/** Products of the low dwords of each quadword. */
const multiplyEven =
  (sign: 'S' | 'U'): Binary =>
  (b, x, y) =>
    b.i64x2[`extmulLowI32x4${sign}`](b.shuffle(x, x, evenDwords), b.shuffle(y, y, evenDwords))

/** PSADBW: sums of |x - y| over each quadword's bytes. */
const sumOfDifferences: Binary = (b, x, y) => {
  const difference = b.v128.or(b.i8x16.subSatU(x, y), b.i8x16.subSatU(y, x))
  const even = b.v128.and(difference, b.i16x8.splat(b.const32(0xff)))
  const words = b.i16x8.add(even, b.i16x8.shrU(difference, b.const32(8)))
  const dwords = b.i32x4.dotI16x8S(words, b.i16x8.splat(b.const32(1)))
  const low = b.v128.and(dwords, b.i64x2.splat(b.const64(0xffff_ffff)))
  return b.i64x2.add(low, b.i64x2.shrU(dwords, b.const32(32)))
}

// Shifts. A count at or above the lane width gives zeros, or copies of the sign.

type Shift = 'shl' | 'shrU' | 'shrS'
const laneBits = { i16x8: 16, i32x4: 32, i64x2: 64 } as const
type ShiftLanes = keyof typeof laneBits

/** @param count - i64, any value */
function shift(b: Builder, lanes: ShiftLanes, direction: Shift, x: Value, count: Value): Value {
  const bits = laneBits[lanes]
  const tooFar = b.i64.gtU(count, b.const64(bits - 1))
  const short = b.i32.wrapI64(count)
  if (direction === 'shrS') return b[lanes].shrS(x, b.select(tooFar, b.const32(bits - 1), short))
  return b.select(tooFar, b.constV128(new Uint8Array(16)), b[lanes][direction](x, short))
}

function shiftForms(
  name: string,
  lanes: ShiftLanes,
  direction: Shift,
  opcode: string,
  group: string,
): Form[] {
  const xmm: FormOptions = { feature: 'sse2', user: true }
  const mm: FormOptions = { feature: 'mmx', user: true }
  return [
    form(
      `${name} xmm1, xmm2/m128`,
      `66 0F ${opcode} /r`,
      sse((b, o) => {
        const count = b.extractLane('i64x2', o.readVector(1), 0)
        o.writeVector(0, shift(b, lanes, direction, o.readVector(0), count))
      }),
      xmm,
    ),
    form(
      `${name} xmm1, imm8`,
      `66 0F ${group} ib`,
      sse((b, o) => o.writeVector(0, shift(b, lanes, direction, o.readVector(0), o.read(1)))),
      xmm,
    ),
    form(
      `${name} mm1, mm2/m64`,
      `NP 0F ${opcode} /r`,
      mmx((b, o) => {
        const count = o.readLow(1, Access.u64)
        writeMmx(b, o, 0, shift(b, lanes, direction, readMmx(b, o, 0), count))
      }),
      mm,
    ),
    form(
      `${name} mm1, imm8`,
      `NP 0F ${group} ib`,
      mmx((b, o) => writeMmx(b, o, 0, shift(b, lanes, direction, readMmx(b, o, 0), o.read(1)))),
      mm,
    ),
  ]
}

const iota = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
/** PSLLDQ, PSRLDQ: by bytes. Byte numbers outside 0 to 15 give zero, which is what swizzle does. */
const shiftBytes = (left: boolean): Body =>
  sse((b, o) => {
    const imm = b.i32.wrapI64(o.read(1))
    const count = b.i8x16.splat(b.select(b.i32.gtU(imm, b.const32(16)), b.const32(16), imm))
    const bytes = b.constV128(iota)
    o.writeVector(
      0,
      b.i8x16.swizzle(o.readVector(0), left ? b.i8x16.sub(bytes, count) : b.i8x16.add(bytes, count)),
    )
  })

// SSSE3.

const evenWords = [0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29]
const evenOfFour = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27]
/** Operation on adjacent lanes of x, then of y. */
const horizontal =
  (lanes: 'i16x8' | 'i32x4', operation: string): Binary =>
  (b, x, y) => {
    const even = lanes === 'i16x8' ? evenWords : evenOfFour
    const odd = even.map((byte) => byte + (lanes === 'i16x8' ? 2 : 4))
    return b[lanes][operation](b.shuffle(x, y, even), b.shuffle(x, y, odd))
  }
/** x where y is positive, -x where it is negative, 0 where it is zero. */
const sign =
  (lanes: 'i8x16' | 'i16x8' | 'i32x4'): Binary =>
  (b, x, y) => {
    const zero = b.constV128(new Uint8Array(16))
    const negative = b[lanes].ltS(y, zero)
    const negated = b.v128.bitselect(b[lanes].neg(x), x, negative)
    return b.v128.andnot(negated, b[lanes].eq(y, zero))
  }
const absolute =
  (lanes: 'i8x16' | 'i16x8' | 'i32x4'): Binary =>
  (b, _x, y) =>
    b[lanes].abs(y)
/** PMULHRSW: (x * y + 0x4000) >> 15, low 16 bits: unlike WebAssembly's it does not saturate -1 * -1. */
const multiplyRounded: Binary = (b, x, y) => {
  const half = b.i32x4.splat(b.const32(0x4000))
  const round = (product: Value): Value => b.i32x4.shrU(b.i32x4.add(product, half), b.const32(15))
  const low = round(b.i32x4.extmulLowI16x8S(x, y))
  return b.shuffle(low, round(b.i32x4.extmulHighI16x8S(x, y)), evenWords)
}
/** PMADDUBSW: unsigned bytes of x times signed bytes of y, adjacent products added with saturation. */
const multiplyAddBytes: Binary = (b, x, y) => {
  const eight = b.const32(8)
  const low = b.v128.and(x, b.i16x8.splat(b.const32(0xff)))
  const even = b.i16x8.mul(low, b.i16x8.shrS(b.i16x8.shl(y, eight), eight))
  return b.i16x8.addSatS(even, b.i16x8.mul(b.i16x8.shrU(x, eight), b.i16x8.shrS(y, eight)))
}
/** PSHUFB. Swizzle gives zero for every byte number above 15. */
const shuffleBytes =
  (mask: number): Binary =>
  (b, x, y) =>
    b.i8x16.swizzle(x, b.v128.and(y, b.i8x16.splat(b.const32(mask))))

/** PALIGNR: the bytes from `imm8` on of source below destination. @param bytes - size of an operand */
function alignRight(b: Builder, bytes: 8 | 16, x: Value, y: Value, immediate: Value): Value {
  const imm = b.i32.wrapI64(immediate)
  const count = b.i8x16.splat(b.select(b.i32.gtU(imm, b.const32(32)), b.const32(32), imm))
  const index = b.i8x16.add(b.constV128(iota), count)
  if (bytes === 8)
    return b.i8x16.swizzle(b.shuffle(y, x, [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]), index)
  const high = b.i8x16.swizzle(x, b.i8x16.sub(index, b.i8x16.splat(b.const32(16))))
  return b.v128.or(b.i8x16.swizzle(y, index), high)
}

const ssse3 = (name: string, opcode: string, operation: Binary, mmxOf = mmxBody): Form[] =>
  both(name, `0F 38 ${opcode}`, operation, 'ssse3', 'ssse3', mmxOf)

export const sseIntegerForms: readonly Form[] = [
  ...both('PACKSSWB', '0F 63', lanewise('i8x16', 'narrowI16x8S'), 'mmx', 'sse2', mmxPackBody),
  ...both('PACKUSWB', '0F 67', lanewise('i8x16', 'narrowI16x8U'), 'mmx', 'sse2', mmxPackBody),
  ...both('PACKSSDW', '0F 6B', lanewise('i16x8', 'narrowI32x4S'), 'mmx', 'sse2', mmxPackBody),
  ...both('PCMPGTB', '0F 64', lanewise('i8x16', 'gtS')),
  ...both('PCMPGTW', '0F 65', lanewise('i16x8', 'gtS')),
  ...both('PCMPGTD', '0F 66', lanewise('i32x4', 'gtS')),
  ...both('PCMPEQB', '0F 74', lanewise('i8x16', 'eq')),
  ...both('PCMPEQW', '0F 75', lanewise('i16x8', 'eq')),
  ...both('PCMPEQD', '0F 76', lanewise('i32x4', 'eq')),
  ...both('PADDQ', '0F D4', lanewise('i64x2', 'add'), 'sse2'),
  ...both('PMULLW', '0F D5', lanewise('i16x8', 'mul')),
  ...both('PSUBUSB', '0F D8', lanewise('i8x16', 'subSatU')),
  ...both('PSUBUSW', '0F D9', lanewise('i16x8', 'subSatU')),
  ...both('PMINUB', '0F DA', lanewise('i8x16', 'minU'), 'sse'),
  ...both('PAND', '0F DB', lanewise('v128', 'and')),
  ...both('PADDUSB', '0F DC', lanewise('i8x16', 'addSatU')),
  ...both('PADDUSW', '0F DD', lanewise('i16x8', 'addSatU')),
  ...both('PMAXUB', '0F DE', lanewise('i8x16', 'maxU'), 'sse'),
  ...both('PANDN', '0F DF', (b, x, y) => b.v128.andnot(y, x)),
  ...both('PAVGB', '0F E0', lanewise('i8x16', 'avgrU'), 'sse'),
  ...both('PAVGW', '0F E3', lanewise('i16x8', 'avgrU'), 'sse'),
  ...both('PMULHUW', '0F E4', multiplyHigh('U'), 'sse'),
  ...both('PMULHW', '0F E5', multiplyHigh('S')),
  ...both('PSUBSB', '0F E8', lanewise('i8x16', 'subSatS')),
  ...both('PSUBSW', '0F E9', lanewise('i16x8', 'subSatS')),
  ...both('PMINSW', '0F EA', lanewise('i16x8', 'minS'), 'sse'),
  ...both('POR', '0F EB', lanewise('v128', 'or')),
  ...both('PADDSB', '0F EC', lanewise('i8x16', 'addSatS')),
  ...both('PADDSW', '0F ED', lanewise('i16x8', 'addSatS')),
  ...both('PMAXSW', '0F EE', lanewise('i16x8', 'maxS'), 'sse'),
  ...both('PXOR', '0F EF', lanewise('v128', 'xor')),
  ...both('PMULUDQ', '0F F4', multiplyEven('U'), 'sse2'),
  ...both('PMADDWD', '0F F5', lanewise('i32x4', 'dotI16x8S')),
  ...both('PSADBW', '0F F6', sumOfDifferences, 'sse'),
  ...both('PSUBB', '0F F8', lanewise('i8x16', 'sub')),
  ...both('PSUBW', '0F F9', lanewise('i16x8', 'sub')),
  ...both('PSUBD', '0F FA', lanewise('i32x4', 'sub')),
  ...both('PSUBQ', '0F FB', lanewise('i64x2', 'sub'), 'sse2'),
  ...both('PADDB', '0F FC', lanewise('i8x16', 'add')),
  ...both('PADDW', '0F FD', lanewise('i16x8', 'add')),
  ...both('PADDD', '0F FE', lanewise('i32x4', 'add')),

  ...shiftForms('PSRLW', 'i16x8', 'shrU', 'D1', '71 /2'),
  ...shiftForms('PSRLD', 'i32x4', 'shrU', 'D2', '72 /2'),
  ...shiftForms('PSRLQ', 'i64x2', 'shrU', 'D3', '73 /2'),
  ...shiftForms('PSRAW', 'i16x8', 'shrS', 'E1', '71 /4'),
  ...shiftForms('PSRAD', 'i32x4', 'shrS', 'E2', '72 /4'),
  ...shiftForms('PSLLW', 'i16x8', 'shl', 'F1', '71 /6'),
  ...shiftForms('PSLLD', 'i32x4', 'shl', 'F2', '72 /6'),
  ...shiftForms('PSLLQ', 'i64x2', 'shl', 'F3', '73 /6'),
  form('PSRLDQ xmm1, imm8', '66 0F 73 /3 ib', shiftBytes(false), { feature: 'sse2', user: true }),
  form('PSLLDQ xmm1, imm8', '66 0F 73 /7 ib', shiftBytes(true), { feature: 'sse2', user: true }),

  form('PSHUFB xmm1, xmm2/m128', '66 0F 38 00 /r', xmmBody(shuffleBytes(0x8f)), {
    feature: 'ssse3',
    user: true,
  }),
  form('PSHUFB mm1, mm2/m64', 'NP 0F 38 00 /r', mmxBody(shuffleBytes(0x87)), {
    feature: 'ssse3',
    user: true,
  }),
  ...ssse3('PHADDW', '01', horizontal('i16x8', 'add'), mmxPackBody),
  ...ssse3('PHADDD', '02', horizontal('i32x4', 'add'), mmxPackBody),
  ...ssse3('PHADDSW', '03', horizontal('i16x8', 'addSatS'), mmxPackBody),
  ...ssse3('PMADDUBSW', '04', multiplyAddBytes),
  ...ssse3('PHSUBW', '05', horizontal('i16x8', 'sub'), mmxPackBody),
  ...ssse3('PHSUBD', '06', horizontal('i32x4', 'sub'), mmxPackBody),
  ...ssse3('PHSUBSW', '07', horizontal('i16x8', 'subSatS'), mmxPackBody),
  ...ssse3('PSIGNB', '08', sign('i8x16')),
  ...ssse3('PSIGNW', '09', sign('i16x8')),
  ...ssse3('PSIGND', '0A', sign('i32x4')),
  ...ssse3('PMULHRSW', '0B', multiplyRounded),
  ...ssse3('PABSB', '1C', absolute('i8x16')),
  ...ssse3('PABSW', '1D', absolute('i16x8')),
  ...ssse3('PABSD', '1E', absolute('i32x4')),
  form(
    'PALIGNR xmm1, xmm2/m128, imm8',
    '66 0F 3A 0F /r ib',
    sse((b, o) => {
      const y = o.readVector(1)
      o.writeVector(0, alignRight(b, 16, o.readVector(0), y, o.read(2)))
    }),
    { feature: 'ssse3', user: true },
  ),
  form(
    'PALIGNR mm1, mm2/m64, imm8',
    'NP 0F 3A 0F /r ib',
    mmx((b, o) => {
      const y = readMmx(b, o, 1)
      writeMmx(b, o, 0, alignRight(b, 8, readMmx(b, o, 0), y, o.read(2)))
    }),
    { feature: 'ssse3', user: true },
  ),

  ...both('PMULLD', '0F 38 40', lanewise('i32x4', 'mul'), false, 'sse4.1'),
  ...both('PMULDQ', '0F 38 28', multiplyEven('S'), false, 'sse4.1'),
  ...both('PCMPEQQ', '0F 38 29', lanewise('i64x2', 'eq'), false, 'sse4.1'),
  ...both('PACKUSDW', '0F 38 2B', lanewise('i16x8', 'narrowI32x4U'), false, 'sse4.1'),
  ...both('PMINSB', '0F 38 38', lanewise('i8x16', 'minS'), false, 'sse4.1'),
  ...both('PMINSD', '0F 38 39', lanewise('i32x4', 'minS'), false, 'sse4.1'),
  ...both('PMINUW', '0F 38 3A', lanewise('i16x8', 'minU'), false, 'sse4.1'),
  ...both('PMINUD', '0F 38 3B', lanewise('i32x4', 'minU'), false, 'sse4.1'),
  ...both('PMAXSB', '0F 38 3C', lanewise('i8x16', 'maxS'), false, 'sse4.1'),
  ...both('PMAXSD', '0F 38 3D', lanewise('i32x4', 'maxS'), false, 'sse4.1'),
  ...both('PMAXUW', '0F 38 3E', lanewise('i16x8', 'maxU'), false, 'sse4.1'),
  ...both('PMAXUD', '0F 38 3F', lanewise('i32x4', 'maxU'), false, 'sse4.1'),
  ...both('PCMPGTQ', '0F 38 37', lanewise('i64x2', 'gtS'), false, 'sse4.2'),
]
