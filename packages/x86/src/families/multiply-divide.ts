/**
 * MUL, IMUL, DIV, IDIV (SDM volume 2). CF and OF of a product say that its upper half matters; the manual leaves the
 * other flags undefined, and AMD CPUs leave them alone, as is done here. Division leaves all flags alone.
 *
 * #DE is raised for a divisor of 0 and for a quotient that does not fit, before anything is written.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import type { Operands } from '../isa/operands.ts'
import { ARITHMETIC_FLAGS, Flag, Vector } from '../state-layout.ts'
import { Gpr, readGpr, writeGpr } from './registers.ts'
import { everySize, hex, immediateBytes, immediateKind, rexW, wordSizes } from './sizes.ts'

const { i64 } = Type
const LOW = 0xffff_ffffn
const MIN64 = -(1n << 63n)

/** Upper 64 bits of the product of two unsigned 64-bit factors, from four products of halves. */
export function highProduct(b: Builder, x: Value, y: Value): Value {
  const low = (value: Value): Value => b.i64.and(value, b.const64(LOW))
  const high = (value: Value): Value => b.i64.shrU(value, b.const64(32))
  const [x0, x1, y0, y1] = [low(x), high(x), low(y), high(y)]
  const middle = b.i64.add(b.i64.mul(x1, y0), high(b.i64.mul(x0, y0)))
  const carried = b.i64.add(b.i64.mul(x0, y1), low(middle))
  return b.i64.add(b.i64.add(b.i64.mul(x1, y1), high(middle)), high(carried))
}
/** The same of signed factors: a negative factor x stands for x - 2^64. */
function highProductSigned(b: Builder, x: Value, y: Value): Value {
  const sign = (value: Value): Value => b.i64.shrS(value, b.const64(63))
  return b.i64.sub(b.i64.sub(highProduct(b, x, y), b.i64.and(sign(x), y)), b.i64.and(sign(y), x))
}

/** CF = OF = `significant` (i32). */
function productFlags(b: Builder, significant: Value): void {
  b.flagsSet(Flag.cf | Flag.of, b.i32.or(significant, b.i32.shl(significant, b.const32(11))))
}

/** accumulator times operand, into twice the width: AX, DX:AX, EDX:EAX, RDX:RAX. */
const multiplyWide =
  (signed: boolean): Body =>
  (b, o) => {
    const bits = o.bits(0)
    const extend = (value: Value): Value => (signed ? b.signExtend(bits, value) : value)
    const x = extend(readGpr(b, Gpr.rax, bits))
    const y = extend(o.read(0))
    const low = b.i64.mul(x, y)
    if (bits === 8) {
      writeGpr(b, Gpr.rax, low, 16)
      productFlags(b, b.i64.ne(low, extend(b.truncate(8, low))))
      return
    }
    const high =
      bits < 64
        ? b.i64.shrU(low, b.const64(bits))
        : signed
          ? highProductSigned(b, x, y)
          : highProduct(b, x, y)
    writeGpr(b, Gpr.rax, low, bits)
    writeGpr(b, Gpr.rdx, high, bits)
    if (bits < 64) productFlags(b, b.i64.ne(low, extend(b.truncate(bits, low))))
    else productFlags(b, b.i64.ne(high, signed ? b.i64.shrS(low, b.const64(63)) : b.const64(0)))
  }

/** IMUL of two or three operands: the last two are multiplied, the product is cut to the first. */
const multiply: Body = (b, o) => {
  const bits = o.bits(0)
  const x = b.signExtend(bits, o.read(o.count - 2))
  const y = b.signExtend(bits, o.read(o.count - 1))
  const product = b.i64.mul(x, y)
  o.write(0, product)
  productFlags(
    b,
    bits < 64
      ? b.i64.ne(product, b.signExtend(bits, product))
      : b.i64.ne(highProductSigned(b, x, y), b.i64.shrS(product, b.const64(63))),
  )
}

/**
 * (high * 2^64 + low) / divisor, for high < divisor: school division by digits of 32 bits, with the divisor moved up
 * so that each estimate of a digit is at most 2 too large (Knuth, volume 2, 4.3.1 D).
 */
export const divide128: Procedure = procedure(
  'divide128',
  { parameters: [i64, i64, i64], result: i64 },
  (b, high, low, divisor) => {
    const shift = b.i64.clz(divisor!)
    const d = b.i64.shl(divisor!, shift)
    const d1 = b.i64.shrU(d, b.const64(32))
    const d0 = b.i64.and(d, b.const64(LOW))
    const base = b.const64(1n << 32n)
    // A shift by 64 - shift, which may be 64, in two steps.
    const carried = b.i64.shrU(b.i64.shrU(low!, b.const64(1)), b.i64.sub(b.const64(63), shift))
    const upper = b.i64.or(b.i64.shl(high!, shift), carried)
    const lower = b.i64.shl(low!, shift)
    /** One digit of (rest * 2^32 + next) / d, for rest < d. */
    const digit = (rest: Value, next: Value): Value => {
      const quotient = b.local(i64, b.i64.divU(rest, d1))
      const remainder = b.local(i64, b.i64.sub(rest, b.i64.mul(b.get(quotient), d1)))
      b.block((done) =>
        b.loop((again) => {
          const fits = b.i64.ltU(b.get(quotient), base)
          const product = b.i64.mul(b.get(quotient), d0)
          const limit = b.i64.or(b.i64.shl(b.get(remainder), b.const64(32)), next)
          b.brIf(b.i32.and(fits, b.i64.leU(product, limit)), done)
          b.set(quotient, b.i64.sub(b.get(quotient), b.const64(1)))
          b.set(remainder, b.i64.add(b.get(remainder), d1))
          b.brIf(b.i64.ltU(b.get(remainder), base), again)
        }),
      )
      return b.get(quotient)
    }
    const next1 = b.i64.shrU(lower, b.const64(32))
    const quotient1 = digit(upper, next1)
    const rest = b.i64.sub(b.i64.or(b.i64.shl(upper, b.const64(32)), next1), b.i64.mul(quotient1, d))
    const quotient0 = digit(rest, b.i64.and(lower, b.const64(LOW)))
    b.return(b.i64.add(b.i64.shl(quotient1, b.const64(32)), quotient0))
  },
)

/** As `divide128` of signed numbers, for any operands. #DE where the quotient does not fit. */
const divideSigned128: Procedure = procedure(
  'divideSigned128',
  { parameters: [i64, i64, i64], result: i64, mayFault: true },
  (b, high, low, divisor) => {
    const zero = b.const64(0)
    const negative = b.i64.ltS(high!, zero)
    const magnitude = b.select(b.i64.ltS(divisor!, zero), b.i64.sub(zero, divisor!), divisor!)
    const negatedHigh = b.i64.sub(b.i64.sub(zero, high!), b.i64.extendI32U(b.i64.ne(low!, zero)))
    const upper = b.select(negative, negatedHigh, high!)
    const lower = b.select(negative, b.i64.sub(zero, low!), low!)
    b.if(b.i64.geU(upper, magnitude), () => b.raise(Vector.de))
    const unsigned = b.call(divide128, upper, lower, magnitude)
    const minus = b.i64.ltS(b.i64.xor(high!, divisor!), zero)
    const quotient = b.select(minus, b.i64.sub(zero, unsigned), unsigned)
    // A sign that is not the expected one: the magnitude passed 2^63.
    const wrong = b.i32.xor(b.i64.ltS(quotient, zero), minus)
    b.if(b.i32.and(wrong, b.i64.ne(quotient, zero)), () => b.raise(Vector.de))
    b.return(quotient)
  },
)

/** 64-bit quotient; the remainder needs no more than 64 bits of quotient times divisor. */
function finish64(b: Builder, low: Value, divisor: Value, quotient: Value): void {
  writeGpr(b, Gpr.rax, quotient)
  writeGpr(b, Gpr.rdx, b.i64.sub(low, b.i64.mul(quotient, divisor)))
}

/** The dividend of up to 64 bits that the accumulator and xDX hold, zero-extended. */
function dividend(b: Builder, bits: number): Value {
  if (bits === 8) return readGpr(b, Gpr.rax, 16)
  return b.i64.or(b.i64.shl(readGpr(b, Gpr.rdx, bits), b.const64(bits)), readGpr(b, Gpr.rax, bits))
}
function finishNarrow(b: Builder, bits: number, quotient: Value, remainder: Value): void {
  if (bits === 8) {
    writeGpr(b, Gpr.rax, b.i64.or(b.truncate(8, quotient), b.i64.shl(remainder, b.const64(8))), 16)
    return
  }
  writeGpr(b, Gpr.rax, quotient, bits)
  writeGpr(b, Gpr.rdx, remainder, bits)
}
const divideError = (b: Builder, when: Value): void => b.if(when, () => b.raise(Vector.de))

const div: Body = (b, o) => {
  const bits = o.bits(0)
  const divisor = o.read(0)
  divideError(b, b.i64.eqz(divisor))
  if (bits < 64) {
    const whole = dividend(b, bits)
    const quotient = b.i64.divU(whole, divisor)
    divideError(b, b.i64.ne(quotient, b.truncate(bits, quotient)))
    finishNarrow(b, bits, quotient, b.i64.sub(whole, b.i64.mul(quotient, divisor)))
    return
  }
  const high = readGpr(b, Gpr.rdx)
  const low = readGpr(b, Gpr.rax)
  divideError(b, b.i64.geU(high, divisor))
  const quotient = b.local(i64)
  b.if(
    b.i64.eqz(high),
    () => b.set(quotient, b.i64.divU(low, divisor)),
    () => b.set(quotient, b.call(divide128, high, low, divisor)),
  )
  finish64(b, low, divisor, b.get(quotient))
}

const idiv: Body = (b, o: Operands) => {
  const bits = o.bits(0)
  const divisor = o.readSigned(0)
  divideError(b, b.i64.eqz(divisor))
  const minusOne = b.i64.eq(divisor, b.const64(-1))
  if (bits < 64) {
    const whole = b.signExtend(Math.min(bits * 2, 64), dividend(b, bits))
    if (bits === 32) divideError(b, b.i32.and(minusOne, b.i64.eq(whole, b.const64(MIN64))))
    const quotient = b.i64.divS(whole, divisor)
    divideError(b, b.i64.ne(quotient, b.signExtend(bits, quotient)))
    finishNarrow(b, bits, quotient, b.i64.sub(whole, b.i64.mul(quotient, divisor)))
    return
  }
  const high = readGpr(b, Gpr.rdx)
  const low = readGpr(b, Gpr.rax)
  const quotient = b.local(i64)
  const narrow = b.i64.eq(high, b.i64.shrS(low, b.const64(63)))
  b.if(
    b.i32.and(narrow, b.i32.eqz(b.i32.and(minusOne, b.i64.eq(low, b.const64(MIN64))))),
    () => b.set(quotient, b.i64.divS(low, divisor)),
    () => b.set(quotient, b.call(divideSigned128, high, low, divisor)),
  )
  finish64(b, low, divisor, b.get(quotient))
}

const product: FormOptions = { user: true, undefinedFlags: Flag.sf | Flag.zf | Flag.af | Flag.pf }
const quotient: FormOptions = { user: true, undefinedFlags: ARITHMETIC_FLAGS }

export const multiplyDivideForms: readonly Form[] = [
  ...everySize.flatMap((bits) => {
    const row = (name: string, digit: number, body: Body, options: FormOptions): Form =>
      form(`${name} r/m${bits}`, `${rexW(bits)}${hex(bits === 8 ? 0xf6 : 0xf7)} /${digit}`, body, options)
    return [
      row('MUL', 4, multiplyWide(false), product),
      row('IMUL', 5, multiplyWide(true), product),
      row('DIV', 6, div, quotient),
      row('IDIV', 7, idiv, quotient),
    ]
  }),
  ...wordSizes.flatMap((bits) => {
    const options: FormOptions = { ...product, hot: bits !== 16 }
    const operands = `r${bits}, r/m${bits}`
    return [
      form(`IMUL ${operands}`, `${rexW(bits)}0F AF /r`, multiply, options),
      form(`IMUL ${operands}, imm8s`, `${rexW(bits)}6B /r ib`, multiply, options),
      form(
        `IMUL ${operands}, ${immediateKind(bits)}`,
        `${rexW(bits)}69 /r ${immediateBytes(bits)}`,
        multiply,
        options,
      ),
    ]
  }),
]
