/**
 * BMI1 and BMI2 (SDM volume 2: ANDN BEXTR BLSI BLSMSK BLSR BZHI MULX PDEP PEXT RORX SARX SHLX SHRX), all with VEX
 * prefixes. TZCNT is in bit.ts.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { Flag } from '../state-layout.ts'
import { highProduct } from './multiply-divide.ts'
import { Gpr, readGpr } from './registers.ts'

const { i64 } = Type

const inverse = (b: Builder, x: Value): Value => b.i64.xor(x, b.const64(-1))
const minusOne = (b: Builder, x: Value): Value => b.i64.sub(x, b.const64(1))
/** The low n bits set, for n up to 63. */
const lowMask = (b: Builder, n: Value): Value => minusOne(b, b.i64.shl(b.const64(1), n))

const andn: Body = (b, o) => {
  const y = o.read(2)
  const result = b.i64.and(inverse(b, o.read(1)), y)
  o.write(0, result)
  b.flagsLogic(o.bits(0), b.truncate(o.bits(0), result))
}

/** Bits start to start + length - 1, from the second operand's first two bytes. */
const bextr: Body = (b, o) => {
  const bits = o.bits(0)
  const source = o.read(1)
  const control = o.read(2)
  const start = b.i64.and(control, b.const64(0xff))
  const length = b.i64.and(b.i64.shrU(control, b.const64(8)), b.const64(0xff))
  const shifted = b.select(b.i64.ltU(start, b.const64(bits)), b.i64.shrU(source, start), b.const64(0))
  const result = b.select(b.i64.ltU(length, b.const64(bits)), b.i64.and(shifted, lowMask(b, length)), shifted)
  o.write(0, result)
  b.flagsLogic(bits, result)
}

/** BLSI, BLSMSK, BLSR: CF tells whether the source was 0, or (BLSI) was not. */
const lowestSet =
  (compute: (b: Builder, x: Value) => Value, carryOfZero: boolean): Body =>
  (b, o) => {
    const bits = o.bits(0)
    const source = o.read(1)
    const result = b.truncate(bits, compute(b, source))
    o.write(0, result)
    b.flagsLogic(bits, result)
    const zero = b.i64.eqz(source)
    b.flagsSet(Flag.cf, carryOfZero ? zero : b.i32.eqz(zero))
  }

const bzhi: Body = (b, o) => {
  const bits = o.bits(0)
  const source = o.read(1)
  const index = b.i64.and(o.read(2), b.const64(0xff))
  const inside = b.i64.ltU(index, b.const64(bits))
  const result = b.select(inside, b.i64.and(source, lowMask(b, index)), source)
  o.write(0, result)
  b.flagsLogic(bits, result)
  b.flagsSet(Flag.cf, b.i32.eqz(inside))
}

/** xDX times the last operand; the upper half wins where both halves go to the same register. */
const mulx: Body = (b, o) => {
  const bits = o.bits(0)
  const y = o.read(2)
  const x = readGpr(b, Gpr.rdx, bits)
  const low = b.i64.mul(x, y)
  const high = bits === 64 ? highProduct(b, x, y) : b.i64.shrU(low, b.const64(32))
  o.write(1, low)
  o.write(0, high)
}

/** Calls `body` with each set bit of a mask, from the lowest, and the bit that counts along: 1, 2, 4 … */
function eachSetBit(b: Builder, mask: Value, body: (bit: Value, counting: Value) => void): void {
  const rest = b.local(i64, mask)
  const counting = b.local(i64, b.const64(1))
  b.block((done) =>
    b.loop((again) => {
      const current = b.get(rest)
      b.brIf(b.i64.eqz(current), done)
      const bit = b.i64.and(current, b.i64.sub(b.const64(0), current))
      body(bit, b.get(counting))
      b.set(rest, b.i64.xor(current, bit))
      b.set(counting, b.i64.shl(b.get(counting), b.const64(1)))
      b.br(again)
    }),
  )
}
const gather: Procedure = procedure('pext', { parameters: [i64, i64], result: i64 }, (b, source, mask) => {
  const result = b.local(i64, b.const64(0))
  eachSetBit(b, mask!, (bit, counting) => {
    const taken = b.select(b.i64.eqz(b.i64.and(source!, bit)), b.const64(0), counting)
    b.set(result, b.i64.or(b.get(result), taken))
  })
  b.return(b.get(result))
})
const scatter: Procedure = procedure('pdep', { parameters: [i64, i64], result: i64 }, (b, source, mask) => {
  const result = b.local(i64, b.const64(0))
  eachSetBit(b, mask!, (bit, counting) => {
    const taken = b.select(b.i64.eqz(b.i64.and(source!, counting)), b.const64(0), bit)
    b.set(result, b.i64.or(b.get(result), taken))
  })
  b.return(b.get(result))
})
const byMask =
  (operation: Procedure): Body =>
  (b, o) => {
    const mask = o.read(2)
    o.write(0, b.call(operation, o.read(1), mask))
  }

/** A shift without flags; the count is masked to the operand's size. */
const shift =
  (compute: (b: Builder, bits: number, x: Value, n: Value) => Value): Body =>
  (b, o) => {
    const bits = o.bits(0)
    const x = o.read(1)
    o.write(0, compute(b, bits, x, b.i64.and(o.read(2), b.const64(bits - 1))))
  }
const rotateRight = (b: Builder, bits: number, x: Value, n: Value): Value =>
  bits === 64 ? b.i64.rotr(x, n) : b.i64.extendI32U(b.i32.rotr(b.i32.wrapI64(x), b.i32.wrapI64(n)))

const undefinedFlags = Flag.af | Flag.pf
const bmi1: FormOptions = { feature: 'bmi1', user: true, undefinedFlags }
const bmi2: FormOptions = { feature: 'bmi2', user: true }

export const bitManipulationForms: readonly Form[] = ([32, 64] as const).flatMap((bits) => {
  const r = `r${bits}`
  const rm = `r/m${bits}`
  const w = bits === 64 ? 'W1' : 'W0'
  return [
    form(`ANDN ${r}, ${r}, ${rm}`, `VEX.LZ.0F38.${w} F2 /r`, andn, bmi1),
    form(`BEXTR ${r}, ${rm}, ${r}`, `VEX.LZ.0F38.${w} F7 /r`, bextr, {
      ...bmi1,
      undefinedFlags: undefinedFlags | Flag.sf,
    }),
    form(
      `BLSR ${r}, ${rm}`,
      `VEX.LZ.0F38.${w} F3 /1`,
      lowestSet((b, x) => b.i64.and(x, minusOne(b, x)), true),
      bmi1,
    ),
    form(
      `BLSMSK ${r}, ${rm}`,
      `VEX.LZ.0F38.${w} F3 /2`,
      lowestSet((b, x) => b.i64.xor(x, minusOne(b, x)), true),
      bmi1,
    ),
    form(
      `BLSI ${r}, ${rm}`,
      `VEX.LZ.0F38.${w} F3 /3`,
      lowestSet((b, x) => b.i64.and(x, b.i64.sub(b.const64(0), x)), false),
      bmi1,
    ),
    form(`BZHI ${r}, ${rm}, ${r}`, `VEX.LZ.0F38.${w} F5 /r`, bzhi, { ...bmi2, undefinedFlags }),
    form(`MULX ${r}, ${r}, ${rm}`, `VEX.LZ.F2.0F38.${w} F6 /r`, mulx, bmi2),
    form(`PDEP ${r}, ${r}, ${rm}`, `VEX.LZ.F2.0F38.${w} F5 /r`, byMask(scatter), bmi2),
    form(`PEXT ${r}, ${r}, ${rm}`, `VEX.LZ.F3.0F38.${w} F5 /r`, byMask(gather), bmi2),
    form(`RORX ${r}, ${rm}, imm8`, `VEX.LZ.F2.0F3A.${w} F0 /r ib`, shift(rotateRight), bmi2),
    form(
      `SARX ${r}, ${rm}, ${r}`,
      `VEX.LZ.F3.0F38.${w} F7 /r`,
      shift((b, size, x, n) => b.i64.shrS(b.signExtend(size, x), n)),
      bmi2,
    ),
    form(
      `SHLX ${r}, ${rm}, ${r}`,
      `VEX.LZ.66.0F38.${w} F7 /r`,
      shift((b, _size, x, n) => b.i64.shl(x, n)),
      bmi2,
    ),
    form(
      `SHRX ${r}, ${rm}, ${r}`,
      `VEX.LZ.F2.0F38.${w} F7 /r`,
      shift((b, _size, x, n) => b.i64.shrU(x, n)),
      bmi2,
    ),
  ]
})
