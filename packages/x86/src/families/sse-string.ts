/**
 * SSE4.2 string comparison: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM volume 1, section 12.10; volume 2, section
 * 4.1). The immediate: bit 0 words instead of bytes, bit 1 signed, bits 2 and 3 aggregation, bits 4 and 5 polarity, bit
 * 6 which index or what mask.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { ARITHMETIC_FLAGS, State } from '../state-layout.ts'
import { sse } from './fpu-guard.ts'
import { extractDynamic } from './sse-shuffle.ts'
import { laneMask } from './sse4.ts'

const { i32, v128 } = Type
type Lanes = 'i8x16' | 'i16x8'
const countOf = { i8x16: 16, i16x8: 8 } as const
/** Aggregations, bits 2 and 3. */
const RANGES = 1
const EQUAL_EACH = 2
const EQUAL_ORDERED = 3

/** One bit per element of y: the intermediate result, polarity applied. (x, y, elements of x, elements of y, imm8) */
const compareOf = (lanes: Lanes): Procedure =>
  procedure(
    `compareStrings-${lanes}`,
    { parameters: [v128, v128, i32, i32, i32], result: i32 },
    (b, x, y, xLength, yLength, imm) => {
      const count = countOf[lanes]
      const all = b.const32((1 << count) - 1)
      const upTo = (length: Value): Value => b.i32.sub(b.i32.shl(b.const32(1), length), b.const32(1))
      const not = (value: Value): Value => b.i32.xor(value, b.const32(-1))
      const xValid = upTo(xLength)
      const yValid = upTo(yLength)
      const aggregation = b.i32.and(b.i32.shrU(imm, b.const32(2)), b.const32(3))
      const is = (value: number): Value => b.i32.eq(aggregation, b.const32(value))
      const signed = b.i32.and(imm, b.const32(2))
      const result = b.local(i32, b.const32(0))
      const splat = (index: Value): Value => b[lanes].splat(b.i32.wrapI64(extractDynamic(b, lanes, x, index)))
      const mask = (vector: Value): Value => b[lanes].bitmask(vector)
      const i = b.local(i32, b.const32(0))
      /** Runs `body` for i = 0, step, …, limit - step. */
      const forEach = (limit: Value, step: number, body: (i: Value) => void): void =>
        b.loop((again) =>
          b.if(b.i32.leU(b.i32.add(b.get(i), b.const32(step)), limit), () => {
            body(b.get(i))
            b.set(i, b.i32.add(b.get(i), b.const32(step)))
            b.br(again)
          }),
        )

      b.block((done) => {
        b.if(is(EQUAL_EACH), () => {
          const equal = b.i32.and(mask(b[lanes].eq(x, y)), b.i32.and(xValid, yValid))
          b.set(result, b.i32.or(equal, b.i32.and(all, not(b.i32.or(xValid, yValid)))))
          b.br(done)
        })
        b.if(is(EQUAL_ORDERED), () => {
          b.set(result, all)
          forEach(xLength, 1, (index) => {
            const equal = b.i32.and(mask(b[lanes].eq(splat(index), y)), yValid)
            // What lies beyond the last element is not compared.
            const beyond = not(b.i32.shrU(all, index))
            b.set(result, b.i32.and(b.get(result), b.i32.or(b.i32.shrU(equal, index), beyond)))
          })
          b.br(done)
        })
        b.if(is(RANGES), () => {
          forEach(xLength, 2, (index) => {
            const low = splat(index)
            const high = splat(b.i32.add(index, b.const32(1)))
            const within = (sign: 'S' | 'U'): Value =>
              b.v128.and(b[lanes][`ge${sign}`](y, low), b[lanes][`le${sign}`](y, high))
            b.set(result, b.i32.or(b.get(result), mask(b.select(signed, within('S'), within('U')))))
          })
          b.set(result, b.i32.and(b.get(result), yValid))
          b.br(done)
        })
        forEach(xLength, 1, (index) =>
          b.set(result, b.i32.or(b.get(result), mask(b[lanes].eq(splat(index), y)))),
        )
        b.set(result, b.i32.and(b.get(result), yValid))
      })
      const polarity = b.i32.and(b.i32.shrU(imm, b.const32(4)), b.const32(3))
      const inverted = b.select(
        b.i32.eq(polarity, b.const32(1)),
        all,
        b.select(b.i32.eq(polarity, b.const32(3)), yValid, b.const32(0)),
      )
      b.return(b.i32.xor(b.get(result), inverted))
    },
  )
const compare = { i8x16: compareOf('i8x16'), i16x8: compareOf('i16x8') }

/** Elements before the first that is zero. */
function implicitLength(b: Builder, lanes: Lanes, vector: Value): Value {
  const zeros = b[lanes].bitmask(b[lanes].eq(vector, b.constV128(new Uint8Array(16))))
  return b.i32.ctz(b.i32.or(zeros, b.const32(1 << countOf[lanes])))
}
/** |EAX| or |EDX|, at most what a vector holds. */
function explicitLength(b: Builder, lanes: Lanes, register: number, bits: 32 | 64): Value {
  const value = b.signExtend(bits, b.stateLoad(Access.u64, State.gpr + 8 * register))
  const magnitude = b.select(b.i64.ltS(value, b.const64(0)), b.i64.sub(b.const64(0), value), value)
  const most = b.const64(countOf[lanes])
  return b.i32.wrapI64(b.select(b.i64.gtU(magnitude, most), most, magnitude))
}
const RAX = 0
const RCX = 1
const RDX = 2

function emit(
  b: Builder,
  x: Value,
  y: Value,
  imm: Value,
  lanes: Lanes,
  explicit: 32 | 64 | undefined,
  index: boolean,
): void {
  const count = countOf[lanes]
  const xLength = explicit ? explicitLength(b, lanes, RAX, explicit) : implicitLength(b, lanes, x)
  const yLength = explicit ? explicitLength(b, lanes, RDX, explicit) : implicitLength(b, lanes, y)
  const result = b.call(compare[lanes], x, y, xLength, yLength, imm)
  const other = b.i32.and(imm, b.const32(0x40))
  if (index) {
    const last = b.i32.sub(b.const32(31), b.i32.clz(result))
    const first = b.i32.ctz(b.i32.or(result, b.const32(1 << count)))
    const found = b.select(
      b.i32.and(b.i32.ne(other, b.const32(0)), b.i32.ne(result, b.const32(0))),
      last,
      first,
    )
    b.stateStore(Access.u64, State.gpr + 8 * RCX, b.i64.extendI32U(found))
  } else {
    const bits = b.replaceLane('i32x4', b.constV128(new Uint8Array(16)), 0, result)
    b.stateStore(Access.v128, State.ymm, b.select(other, laneMask(b, result, count === 16 ? 1 : 2), bits))
  }
  const flag = (condition: Value, position: number): Value => b.i32.shl(condition, b.const32(position))
  const carry = b.i32.ne(result, b.const32(0))
  const zero = flag(b.i32.ltU(yLength, b.const32(count)), 6)
  const sign = flag(b.i32.ltU(xLength, b.const32(count)), 7)
  const overflow = flag(b.i32.and(result, b.const32(1)), 11)
  b.flagsSet(ARITHMETIC_FLAGS, b.i32.or(b.i32.or(carry, zero), b.i32.or(sign, overflow)))
}

const compareStrings = (explicit: 32 | 64 | undefined, index: boolean): Body =>
  sse((b, o) => {
    const y = o.readVector(1, false)
    const x = o.readVector(0)
    const imm = b.i32.wrapI64(o.read(2))
    b.if(
      b.i32.and(imm, b.const32(1)),
      () => emit(b, x, y, imm, 'i16x8', explicit, index),
      () => emit(b, x, y, imm, 'i8x16', explicit, index),
    )
  })

const options: FormOptions = { feature: 'sse4.2', user: true }

export const sseStringForms: readonly Form[] = [
  form('PCMPESTRM xmm1, xmm2/m128, imm8', '66 0F 3A 60 /r ib', compareStrings(32, false), options),
  form('PCMPESTRM xmm1, xmm2/m128, imm8', '66 REX.W 0F 3A 60 /r ib', compareStrings(64, false), options),
  form('PCMPESTRI xmm1, xmm2/m128, imm8', '66 0F 3A 61 /r ib', compareStrings(32, true), options),
  form('PCMPESTRI xmm1, xmm2/m128, imm8', '66 REX.W 0F 3A 61 /r ib', compareStrings(64, true), options),
  form('PCMPISTRM xmm1, xmm2/m128, imm8', '66 0F 3A 62 /r ib', compareStrings(undefined, false), options),
  form('PCMPISTRI xmm1, xmm2/m128, imm8', '66 0F 3A 63 /r ib', compareStrings(undefined, true), options),
]
