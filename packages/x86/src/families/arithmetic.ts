/**
 * Two-operand arithmetic and logic, and its relatives of one operand (SDM volume 2: ADD OR ADC SBB AND SUB XOR CMP,
 * TEST, INC DEC NEG NOT). BCD adjustments are in bcd.ts.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { Flag } from '../state-layout.ts'
import {
  accumulator,
  type Bits,
  everySize,
  hex,
  immediateBytes,
  immediateKind,
  opcodeRegister,
  rexW,
} from './sizes.ts'

type Compute = (b: Builder, x: Value, y: Value) => Value
type Flags = (b: Builder, bits: number, x: Value, y: Value, result: Value) => void

const carry = (b: Builder): Value => b.i64.extendI32U(b.flag(Flag.cf))
const flagsAdd: Flags = (b, bits, x, y, result) => b.flagsAdd(bits, x, y, result)
const flagsSub: Flags = (b, bits, x, y, result) => b.flagsSub(bits, x, y, result)
const flagsAdc: Flags = (b, bits, x, y, result) => b.flagsAdd(bits, x, y, result, { carryIn: true })
const flagsSbb: Flags = (b, bits, x, y, result) => b.flagsSub(bits, x, y, result, { carryIn: true })
const flagsLogic: Flags = (b, bits, _x, _y, result) => b.flagsLogic(bits, result)

/** destination = destination op source. */
const binary =
  (compute: Compute, flags: Flags): Body =>
  (b, o) => {
    const y = o.read(1)
    o.modify(
      0,
      (x) => compute(b, x, y),
      (x, result) => flags(b, o.bits(0), x, y, result),
    )
  }
/** Flags of destination op source, which goes nowhere. */
const compare =
  (compute: Compute, flags: Flags): Body =>
  (b, o) => {
    const bits = o.bits(0)
    const y = o.read(1)
    const x = o.read(0)
    flags(b, bits, x, y, b.truncate(bits, compute(b, x, y)))
  }
/** destination = op destination. */
const unary =
  (
    compute: (b: Builder, x: Value) => Value,
    flags?: (b: Builder, bits: number, x: Value, result: Value) => void,
  ): Body =>
  (b, o) => {
    o.modify(0, (x) => compute(b, x), flags && ((x, result) => flags(b, o.bits(0), x, result)))
  }

/** The forms that all eight operations of the first opcode rows have; `row` is also the digit of group 1. */
function group1(
  name: string,
  row: number,
  body: Body,
  options: { hot: boolean; hotByte?: boolean; lock?: boolean; undefinedFlags?: number },
): Form[] {
  const opcode = row * 8
  const { undefinedFlags = 0, lock = true } = options
  return everySize.flatMap((bits) => {
    const wide = bits === 8 ? 0 : 1
    const hot = bits === 8 ? (options.hotByte ?? false) : options.hot && bits !== 16
    const to: FormOptions = { user: true, hot, undefinedFlags }
    const toMemory: FormOptions = { ...to, lock }
    const forms = [
      form(`${name} r/m${bits}, r${bits}`, `${rexW(bits)}${hex(opcode + wide)} /r`, body, toMemory),
      form(`${name} r${bits}, r/m${bits}`, `${rexW(bits)}${hex(opcode + 2 + wide)} /r`, body, to),
      form(
        `${name} ${accumulator(bits)}, ${immediateKind(bits)}`,
        `${rexW(bits)}${hex(opcode + 4 + wide)} ${immediateBytes(bits)}`,
        body,
        to,
      ),
      form(
        `${name} r/m${bits}, ${immediateKind(bits)}`,
        `${rexW(bits)}${hex(0x80 + wide)} /${row} ${immediateBytes(bits)}`,
        body,
        toMemory,
      ),
    ]
    if (bits !== 8)
      forms.push(form(`${name} r/m${bits}, imm8s`, `${rexW(bits)}83 /${row} ib`, body, toMemory))
    return forms
  })
}

/** Forms with one operand: opcode 0xfe or 0xf6 for bytes, the next one for wider operands. */
function single(name: string, opcode: number, digit: number, body: Body, hot: boolean): Form[] {
  return everySize.map((bits) =>
    form(`${name} r/m${bits}`, `${rexW(bits)}${hex(opcode + (bits === 8 ? 0 : 1))} /${digit}`, body, {
      user: true,
      lock: true,
      hot: hot && bits >= 32,
    }),
  )
}

const add: Compute = (b, x, y) => b.i64.add(x, y)
const sub: Compute = (b, x, y) => b.i64.sub(x, y)
const and: Compute = (b, x, y) => b.i64.and(x, y)
const or: Compute = (b, x, y) => b.i64.or(x, y)
const xor: Compute = (b, x, y) => b.i64.xor(x, y)
const adc: Compute = (b, x, y) => b.i64.add(b.i64.add(x, y), carry(b))
const sbb: Compute = (b, x, y) => b.i64.sub(b.i64.sub(x, y), carry(b))
const test = compare(and, flagsLogic)

const af = Flag.af
const testRows = (bits: Bits): Form[] => {
  const wide = bits === 8 ? 0 : 1
  const options: FormOptions = { user: true, hot: bits !== 16, undefinedFlags: af }
  const immediate = `${immediateKind(bits)}`
  const bytes = immediateBytes(bits)
  return [
    form(`TEST r/m${bits}, r${bits}`, `${rexW(bits)}${hex(0x84 + wide)} /r`, test, options),
    form(
      `TEST ${accumulator(bits)}, ${immediate}`,
      `${rexW(bits)}${hex(0xa8 + wide)} ${bytes}`,
      test,
      options,
    ),
    form(`TEST r/m${bits}, ${immediate}`, `${rexW(bits)}${hex(0xf6 + wide)} /0 ${bytes}`, test, options),
    // The manual leaves /1 out; CPUs execute it as /0.
    form(`TEST r/m${bits}, ${immediate}`, `${rexW(bits)}${hex(0xf6 + wide)} /1 ${bytes}`, test, {
      ...options,
      hot: false,
    }),
  ]
}

const inc = unary(
  (b, x) => b.i64.add(x, b.const64(1)),
  (b, bits, x, result) => b.flagsAdd(bits, x, b.const64(1), result, { keepCarry: true }),
)
const dec = unary(
  (b, x) => b.i64.sub(x, b.const64(1)),
  (b, bits, x, result) => b.flagsSub(bits, x, b.const64(1), result, { keepCarry: true }),
)

const no64: FormOptions = { user: true, mode: 'no64' }

export const arithmeticForms: readonly Form[] = [
  ...group1('ADD', 0, binary(add, flagsAdd), { hot: true }),
  ...group1('OR', 1, binary(or, flagsLogic), { hot: true, undefinedFlags: af }),
  ...group1('ADC', 2, binary(adc, flagsAdc), { hot: false }),
  ...group1('SBB', 3, binary(sbb, flagsSbb), { hot: false }),
  ...group1('AND', 4, binary(and, flagsLogic), { hot: true, undefinedFlags: af }),
  ...group1('SUB', 5, binary(sub, flagsSub), { hot: true }),
  ...group1('XOR', 6, binary(xor, flagsLogic), { hot: true, undefinedFlags: af }),
  ...group1('CMP', 7, compare(sub, flagsSub), { hot: true, hotByte: true, lock: false }),
  ...everySize.flatMap(testRows),
  ...single('INC', 0xfe, 0, inc, true),
  ...single('DEC', 0xfe, 1, dec, true),
  ...single(
    'NOT',
    0xf6,
    2,
    unary((b, x) => b.i64.xor(x, b.const64(-1))),
    true,
  ),
  ...single(
    'NEG',
    0xf6,
    3,
    unary(
      (b, x) => b.i64.sub(b.const64(0), x),
      (b, bits, x, result) => b.flagsSub(bits, b.const64(0), x, result),
    ),
    true,
  ),

  // What 64-bit mode has no room for: the opcodes of REX, and 82 as another 80.
  ...([16, 32] as const).flatMap((bits) => [
    form(`INC r${bits}`, `40${opcodeRegister(bits)}`, inc, no64),
    form(`DEC r${bits}`, `48${opcodeRegister(bits)}`, dec, no64),
  ]),
  ...(
    [
      ['ADD', binary(add, flagsAdd), 0],
      ['OR', binary(or, flagsLogic), af],
      ['ADC', binary(adc, flagsAdd), 0],
      ['SBB', binary(sbb, flagsSub), 0],
      ['AND', binary(and, flagsLogic), af],
      ['SUB', binary(sub, flagsSub), 0],
      ['XOR', binary(xor, flagsLogic), af],
      ['CMP', compare(sub, flagsSub), 0],
    ] as const
  ).map(([name, body, undefinedFlags], digit) =>
    form(`${name} r/m8, imm8`, `82 /${digit} ib`, body, { ...no64, lock: name !== 'CMP', undefinedFlags }),
  ),
]
