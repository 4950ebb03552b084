/**
 * Shifts and rotates (SDM volume 2: SHL SHR SAR ROL ROR RCL RCR, SHLD SHRD). The count is masked to 5 bits, 6 with
 * 64-bit operands; a masked count of 0 leaves all flags alone (but clears the upper half of a 32-bit register).
 *
 * The manual leaves OF undefined unless the count is 1, CF where the count passes the operand's size, and AF after
 * shifts. OF and CF follow the formula that CPUs use for every count; AF is cleared. 16-bit SHLD and SHRD by more than
 * 16 shift the source in twice, as AMD CPUs do.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import type { Operands } from '../isa/operands.ts'
import { Flag } from '../state-layout.ts'
import { type Bits, everySize, hex, rexW, wordSizes } from './sizes.ts'

interface Shift {
  /** x (zero-extended) shifted by n, which may be 0; bits above the operand are ignored. */
  readonly result: (b: Builder, bits: number, x: Value, n: Value) => Value
  /** CF for n > 0: bit 0 of an i64 whose other bits are ignored. */
  readonly carry: (b: Builder, bits: number, x: Value, n: Value, result: Value) => Value
  /**
   * OF. `left`: the result's top bit differs from CF. `right`: the result's two top bits differ. For a count of 1 both
   * say that the sign changed.
   */
  readonly overflow: 'left' | 'right' | 'zero'
  /** Whether ZF, SF and PF follow the result (shifts) or stay (rotates). */
  readonly setsResultFlags: boolean
}

const bit = (b: Builder, value: Value, index: Value): Value =>
  b.i32.and(b.i32.wrapI64(b.i64.shrU(value, index)), b.const32(1))

/** CF and OF at their EFLAGS positions. */
function carryAndOverflow(
  b: Builder,
  bits: number,
  carry: Value,
  result: Value,
  overflow: Shift['overflow'],
): Value {
  const cf = b.i32.and(b.i32.wrapI64(carry), b.const32(1))
  if (overflow === 'zero') return cf
  const sign = bit(b, result, b.const64(bits - 1))
  const other = overflow === 'left' ? cf : bit(b, result, b.const64(bits - 2))
  return b.i32.or(cf, b.i32.shl(b.i32.xor(sign, other), b.const32(11)))
}

const maskedCount = (b: Builder, o: Operands, bits: number, index: number): Value =>
  b.i64.and(o.read(index), b.const64(bits === 64 ? 63 : 31))

const shiftBody =
  (shift: Shift): Body =>
  (b, o) => {
    const bits = o.bits(0)
    const n = maskedCount(b, o, bits, 1)
    o.modify(
      0,
      (x) => shift.result(b, bits, x, n),
      (x, result) => {
        b.if(b.i32.wrapI64(n), () => {
          const carry = shift.carry(b, bits, x, n, result)
          if (shift.setsResultFlags) b.flagsLogic(bits, result)
          b.flagsSet(Flag.cf | Flag.of, carryAndOverflow(b, bits, carry, result, shift.overflow))
        })
      },
    )
  }

const shl: Shift = {
  result: (b, _bits, x, n) => b.i64.shl(x, n),
  carry: (b, bits, x, n) =>
    bits === 64 ? b.i64.shrU(x, b.i64.sub(b.const64(64), n)) : b.i64.shrU(b.i64.shl(x, n), b.const64(bits)),
  overflow: 'left',
  setsResultFlags: true,
}
const shr: Shift = {
  result: (b, _bits, x, n) => b.i64.shrU(x, n),
  carry: (b, _bits, x, n) => b.i64.shrU(x, b.i64.sub(n, b.const64(1))),
  overflow: 'right',
  setsResultFlags: true,
}
const sar: Shift = {
  result: (b, bits, x, n) => b.i64.shrS(b.signExtend(bits, x), n),
  carry: (b, bits, x, n) => b.i64.shrS(b.signExtend(bits, x), b.i64.sub(n, b.const64(1))),
  overflow: 'zero',
  setsResultFlags: true,
}

/** Rotates by n modulo the operand's size. */
function rotate(b: Builder, bits: number, x: Value, n: Value, left: boolean): Value {
  if (bits === 64) return left ? b.i64.rotl(x, n) : b.i64.rotr(x, n)
  if (bits === 32) {
    const [low, count] = [b.i32.wrapI64(x), b.i32.wrapI64(n)]
    return b.i64.extendI32U(left ? b.i32.rotl(low, count) : b.i32.rotr(low, count))
  }
  const count = b.i64.and(n, b.const64(bits - 1))
  const rest = b.i64.sub(b.const64(bits), count)
  return left
    ? b.i64.or(b.i64.shl(x, count), b.i64.shrU(x, rest))
    : b.i64.or(b.i64.shrU(x, count), b.i64.shl(x, rest))
}
const rol: Shift = {
  result: (b, bits, x, n) => rotate(b, bits, x, n, true),
  carry: (_b, _bits, _x, _n, result) => result,
  overflow: 'left',
  setsResultFlags: false,
}
const ror: Shift = {
  result: (b, bits, x, n) => rotate(b, bits, x, n, false),
  carry: (b, bits, _x, _n, result) => b.i64.shrU(result, b.const64(bits - 1)),
  overflow: 'right',
  setsResultFlags: false,
}

/** RCL and RCR rotate bits + 1 bits, CF the topmost; 8- and 16-bit counts are taken modulo 9 and 17. */
const rotateThroughCarry =
  (left: boolean): Body =>
  (b, o) => {
    const bits = o.bits(0)
    const masked = maskedCount(b, o, bits, 1)
    const n = bits < 32 ? b.i64.remU(masked, b.const64(bits + 1)) : masked
    const before = b.i64.extendI32U(b.flag(Flag.cf))
    const zero = b.i64.eqz(n)
    const one = b.const64(1)
    const rest = b.i64.sub(b.const64(bits), n)
    const result = (x: Value): Value => {
      if (bits < 64) {
        const wide = b.i64.or(x, b.i64.shl(before, b.const64(bits)))
        const back = b.i64.add(rest, one)
        return left
          ? b.i64.or(b.i64.shl(wide, n), b.i64.shrU(wide, back))
          : b.i64.or(b.i64.shrU(wide, n), b.i64.shl(wide, back))
      }
      // A shift by 65 - n is one by 1 and one by 64 - n, so that neither reaches 64.
      const rotated = left
        ? b.i64.or(
            b.i64.or(b.i64.shl(x, n), b.i64.shl(before, b.i64.sub(n, one))),
            b.i64.shrU(b.i64.shrU(x, one), rest),
          )
        : b.i64.or(b.i64.or(b.i64.shrU(x, n), b.i64.shl(before, rest)), b.i64.shl(b.i64.shl(x, one), rest))
      return b.select(zero, x, rotated)
    }
    o.modify(0, result, (x, rotated) => {
      b.if(b.i32.wrapI64(masked), () => {
        // The last bit that left the operand; CF itself when n is a multiple of bits + 1.
        const last = left ? b.i64.shrU(x, rest) : b.i64.shrU(x, b.i64.sub(n, one))
        const carry = b.select(zero, before, last)
        b.flagsSet(Flag.cf | Flag.of, carryAndOverflow(b, bits, carry, rotated, left ? 'left' : 'right'))
      })
    })
  }

/** SHLD, SHRD: the destination shifted, the vacated bits taken from the source. */
const doubleShift =
  (left: boolean): Body =>
  (b, o) => {
    const bits = o.bits(0)
    const n = maskedCount(b, o, bits, 2)
    const source = o.read(1)
    const one = b.const64(1)
    const result = (x: Value): Value => {
      if (bits === 64) {
        const rest = b.i64.sub(b.const64(63), n)
        return left
          ? b.i64.or(b.i64.shl(x, n), b.i64.shrU(b.i64.shrU(source, one), rest))
          : b.i64.or(b.i64.shrU(x, n), b.i64.shl(b.i64.shl(source, one), rest))
      }
      if (bits === 32) {
        const wide = left
          ? b.i64.or(b.i64.shl(x, b.const64(32)), source)
          : b.i64.or(x, b.i64.shl(source, b.const64(32)))
        return left ? b.i64.shrU(b.i64.shl(wide, n), b.const64(32)) : b.i64.shrU(wide, n)
      }
      const twice = b.i64.or(source, b.i64.shl(source, b.const64(16)))
      return left
        ? b.i64.shrU(b.i64.shl(b.i64.or(b.i64.shl(x, b.const64(32)), twice), n), b.const64(32))
        : b.i64.shrU(b.i64.or(x, b.i64.shl(twice, b.const64(16))), n)
    }
    o.modify(0, result, (x, shifted) => {
      b.if(b.i32.wrapI64(n), () => {
        const carry = (left ? shl : shr).carry(b, bits, x, n, shifted)
        b.flagsLogic(bits, shifted)
        b.flagsSet(Flag.cf | Flag.of, carryAndOverflow(b, bits, carry, shifted, left ? 'left' : 'right'))
      })
    })
  }

const operations: readonly { name: string; digit: number; body: Body; hot: boolean; logic: boolean }[] = [
  { name: 'ROL', digit: 0, body: shiftBody(rol), hot: true, logic: false },
  { name: 'ROR', digit: 1, body: shiftBody(ror), hot: true, logic: false },
  { name: 'RCL', digit: 2, body: rotateThroughCarry(true), hot: false, logic: false },
  { name: 'RCR', digit: 3, body: rotateThroughCarry(false), hot: false, logic: false },
  { name: 'SHL', digit: 4, body: shiftBody(shl), hot: true, logic: true },
  { name: 'SHR', digit: 5, body: shiftBody(shr), hot: true, logic: true },
  // An undocumented copy of /4, by the other name that the manual has for it.
  { name: 'SAL', digit: 6, body: shiftBody(shl), hot: false, logic: true },
  { name: 'SAR', digit: 7, body: shiftBody(sar), hot: true, logic: true },
]
const shiftForms = ({ name, digit, body, hot, logic }: (typeof operations)[number]): Form[] =>
  everySize.flatMap((bits: Bits) => {
    const wide = bits === 8 ? 0 : 1
    const af = logic ? Flag.af : 0
    // CF is undefined where a count of up to 31 can reach the size of the operand.
    const cf = logic && bits < 32 ? Flag.cf : 0
    const often = hot && bits >= 32
    const row = (count: string, opcode: number, bytes: string, options: FormOptions): Form =>
      form(`${name} r/m${bits}, ${count}`, `${rexW(bits)}${hex(opcode + wide)} /${digit}${bytes}`, body, {
        user: true,
        ...options,
      })
    return [
      row('imm8', 0xc0, ' ib', { hot: often, undefinedFlags: Flag.of | af | cf }),
      row('1', 0xd0, '', { hot: often && logic, undefinedFlags: af }),
      row('CL', 0xd2, '', { hot: often, undefinedFlags: Flag.of | af | cf }),
    ]
  })

export const shiftRotateForms: readonly Form[] = [
  ...operations.flatMap(shiftForms),
  ...(['SHLD', 'SHRD'] as const).flatMap((name, index) =>
    wordSizes.flatMap((bits) => {
      const options: FormOptions = {
        user: true,
        undefinedFlags:
          bits === 16 ? Flag.of | Flag.af | Flag.cf | Flag.sf | Flag.zf | Flag.pf : Flag.of | Flag.af,
      }
      const operands = `r/m${bits}, r${bits}`
      return [
        form(
          `${name} ${operands}, imm8`,
          `${rexW(bits)}0F ${hex(0xa4 + index * 8)} /r ib`,
          doubleShift(index === 0),
          options,
        ),
        form(
          `${name} ${operands}, CL`,
          `${rexW(bits)}0F ${hex(0xa5 + index * 8)} /r`,
          doubleShift(index === 0),
          options,
        ),
      ]
    }),
  ),
]
