/**
 * Decimal adjustments of protected and real mode: DAA DAS AAA AAS AAM AAD (SDM volume 2). AAM by zero is #DE.
 *
 * Flags that the manual leaves undefined are as on silicon where that is simple: those of the result.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { ARITHMETIC_FLAGS, Flag, Vector } from '../state-layout.ts'
import { AH, Gpr, readGpr, writeGpr } from './registers.ts'

const options = (undefinedFlags: number): FormOptions => ({ user: true, mode: 'no64', undefinedFlags })
const al = (b: Builder): Value => b.i32.wrapI64(readGpr(b, Gpr.rax, 8))
const bitIf = (b: Builder, condition: Value, flag: number): Value =>
  b.select(condition, b.const32(flag), b.const32(0))

/** SF, ZF and PF of AL, and the flags in `others`. */
function setResult(b: Builder, result: Value, others: Value): void {
  b.flagsLogic(8, b.i64.extendI32U(result))
  b.flagsSet(Flag.cf | Flag.af | Flag.of, others)
}

/** DAA and DAS. @param sign - 1 or -1 */
const decimal =
  (sign: 1 | -1): Body =>
  (b) => {
    const old = al(b)
    const oldCarry = b.flag(Flag.cf)
    const low = b.i32.or(b.i32.gtU(b.i32.and(old, b.const32(15)), b.const32(9)), b.flag(Flag.af))
    const first = b.i32.add(old, b.select(low, b.const32(6 * sign), b.const32(0)))
    const high = b.i32.or(b.i32.gtU(old, b.const32(0x99)), oldCarry)
    const second = b.i32.and(
      b.i32.add(first, b.select(high, b.const32(0x60 * sign), b.const32(0))),
      b.const32(0xff),
    )
    // DAS also keeps the borrow of its first step.
    const borrow = sign < 0 ? b.i32.and(low, b.i32.ltS(first, b.const32(0))) : b.const32(0)
    const carry = b.i32.or(high, borrow)
    const image = b.i32.or(bitIf(b, carry, Flag.cf), bitIf(b, low, Flag.af))
    writeGpr(b, Gpr.rax, b.i64.extendI32U(second), 8)
    setResult(b, second, image)
  }

/** AAA and AAS. @param sign - 1 or -1 */
const ascii =
  (sign: 1 | -1): Body =>
  (b) => {
    const adjust = b.i32.or(b.i32.gtU(b.i32.and(al(b), b.const32(15)), b.const32(9)), b.flag(Flag.af))
    // AX moves by 106h: AL by 6, and AH by 1 and the carry out of AL.
    const ax = b.i32.wrapI64(readGpr(b, Gpr.rax, 16))
    const moved = b.i32.add(ax, b.select(adjust, b.const32(0x106 * sign), b.const32(0)))
    const image = b.i32.or(bitIf(b, adjust, Flag.cf), bitIf(b, adjust, Flag.af))
    const result = b.i32.and(moved, b.const32(0xff0f))
    writeGpr(b, Gpr.rax, b.i64.extendI32U(result), 16)
    setResult(b, b.i32.and(result, b.const32(0xff)), image)
  }

const aam: Body = (b, o) => {
  const base = b.i32.wrapI64(o.read(0))
  b.if(b.i32.eqz(base), () => b.raise(Vector.de))
  const value = al(b)
  const divisor = b.select(b.i32.eqz(base), b.const32(1), base)
  const quotient = b.i32.divU(value, divisor)
  const rest = b.i32.remU(value, divisor)
  b.stateStore(Access.u8, AH, b.i64.extendI32U(quotient))
  writeGpr(b, Gpr.rax, b.i64.extendI32U(rest), 8)
  setResult(b, rest, b.const32(0))
}
const aad: Body = (b, o) => {
  const ah = b.i32.wrapI64(b.stateLoad(Access.u8, AH))
  const sum = b.i32.add(al(b), b.i32.mul(ah, b.i32.wrapI64(o.read(0))))
  const result = b.i32.and(sum, b.const32(0xff))
  writeGpr(b, Gpr.rax, b.i64.extendI32U(result), 16)
  setResult(b, result, b.const32(0))
}

const arithmetic = ARITHMETIC_FLAGS & ~(Flag.af | Flag.cf)
export const bcdForms: readonly Form[] = [
  form('DAA', '27', decimal(1), options(Flag.of)),
  form('DAS', '2F', decimal(-1), options(Flag.of)),
  form('AAA', '37', ascii(1), options(arithmetic)),
  form('AAS', '3F', ascii(-1), options(arithmetic)),
  form('AAM imm8', 'D4 ib', aam, options(Flag.of | Flag.af | Flag.cf)),
  form('AAD imm8', 'D5 ib', aad, options(Flag.of | Flag.af | Flag.cf)),
  form(
    'SALC',
    'D6',
    (b) => writeGpr(b, Gpr.rax, b.i64.sub(b.const64(0), b.i64.extendI32U(b.flag(Flag.cf))), 8),
    options(0),
  ),
]
