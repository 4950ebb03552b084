/**
 * x87 arithmetic on the register stack (SDM volume 2, FADD to FXTRACT, without the transcendental ones).
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure, procedureFamily } from '../ir/procedure.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { State } from '../state-layout.ts'
import { stackTop } from './fpu-environment.ts'
import {
  commit,
  finish,
  fpu,
  isFilled,
  physical,
  push,
  raiseStack,
  readRegister,
  signExponentAt,
  significandAt,
} from './fpu-stack.ts'
import {
  BEFORE,
  INDEFINITE_EXPONENT,
  INDEFINITE_SIGNIFICAND,
  SIGN,
  signExponentOf,
  unmaskedOf,
  X87,
} from './softfloat80.ts'
import { add, C2, divide, multiply, remainder, squareRoot } from './softfloat80-arithmetic.ts'
import {
  extractExponent,
  extractSignificand,
  fromF32,
  fromF64,
  fromInteger,
  roundToInteger,
  scale,
} from './softfloat80-convert.ts'

const { i32, i64 } = Type

type Compute = (b: Builder, x: Value, xe: Value, y: Value, ye: Value) => Value
const computations = {
  Add: (b, x, xe, y, ye) => b.call(add, x, xe, y, ye, b.const64(0)),
  Subtract: (b, x, xe, y, ye) => b.call(add, x, xe, y, ye, b.const64(SIGN)),
  Multiply: (b, x, xe, y, ye) => b.call(multiply, x, xe, y, ye),
  Divide: (b, x, xe, y, ye) => b.call(divide, x, xe, y, ye),
  Scale: (b, x, xe, y, ye) => b.call(scale, x, xe, y, ye),
  Remainder: (b, x, xe, y, ye) => b.call(remainder, x, xe, y, ye, b.const32(0)),
  NearestRemainder: (b, x, xe, y, ye) => b.call(remainder, x, xe, y, ye, b.const32(1)),
} satisfies Record<string, Compute>
type Name = keyof typeof computations

/** A result, or the indefinite with a stack underflow unless `filled`. Sign and exponent in `State.f80Exponent`. */
function unlessEmpty(b: Builder, filled: Value, compute: () => Value): Value {
  const significand = b.local(i64, b.const64(INDEFINITE_SIGNIFICAND))
  b.if(
    filled,
    () => b.set(significand, compute()),
    () => {
      raiseStack(b, false)
      b.stateStore(Access.u64, State.f80Exponent, b.const64(INDEFINITE_EXPONENT))
    },
  )
  return b.get(significand)
}

/** (destination, x, y: physical registers, pops, condition codes) */
const onRegisters = procedureFamily((name: Name) =>
  procedure(
    `fpu${name}`,
    { parameters: [i32, i32, i32, i32, i32] },
    (b, destination, x, y, pops, defined) => {
      const result = unlessEmpty(b, b.i32.and(isFilled(b, x), isFilled(b, y)), () =>
        computations[name](
          b,
          significandAt(b, x),
          signExponentAt(b, x),
          significandAt(b, y),
          signExponentAt(b, y),
        ),
      )
      b.call(commit, destination, result, pops, defined)
    },
  ),
)
/** ST(0) with an operand from memory. (y, y, reverse: y is the first operand) */
const onMemory = procedureFamily((name: Name) =>
  procedure(`fpu${name}Memory`, { parameters: [i64, i64, i32] }, (b, y, ye, reverse) => {
    const top = stackTop(b)
    const x = significandAt(b, top)
    const xe = signExponentAt(b, top)
    const swap = (one: Value, other: Value): Value => b.select(reverse, other, one)
    const result = unlessEmpty(b, isFilled(b, top), () =>
      computations[name](b, swap(x, y), swap(xe, ye), swap(y, x), swap(ye, xe)),
    )
    b.call(commit, top, result, b.const32(0), b.const32(X87.c1))
  }),
)

/** Reads a memory operand: f32, f64 or an integer. Sign and exponent in `State.f80Exponent`. */
export const memoryOperand = {
  m32: (b: Builder, o: Parameters<Body>[1]): Value => b.call(fromF32, o.readLow(0, Access.u32)),
  m64: (b: Builder, o: Parameters<Body>[1]): Value => b.call(fromF64, o.readLow(0, Access.u64)),
  i16: (b: Builder, o: Parameters<Body>[1]): Value =>
    b.call(fromInteger, b.signExtend(16, o.readLow(0, Access.u16))),
  i32: (b: Builder, o: Parameters<Body>[1]): Value =>
    b.call(fromInteger, b.signExtend(32, o.readLow(0, Access.u32))),
} as const

const fpuOptions: FormOptions = { feature: 'fpu', user: true }

/**
 * All forms of one operation.
 * @param digit - ModRM.reg of the memory forms, @param st0 - first opcode byte of the row for ST(0), ST(i), @param sti - for ST(i), ST(0)
 */
function binaryForms(
  suffix: string,
  name: Name,
  reverse: boolean,
  digit: number,
  st0: string,
  sti: string,
): Form[] {
  const registers = onRegisters(name)
  const memory = onMemory(name)
  const register = (destination: 0 | 1, pops: number): Body =>
    fpu((b, o) => {
      const top = stackTop(b)
      const other = physical(b, o.number(destination === 0 ? 1 : 0))
      const [to, from] = destination === 0 ? [top, other] : [other, top]
      b.call(registers, to, reverse ? from : to, reverse ? to : from, b.const32(pops), b.const32(X87.c1))
    })
  const fromMemory = (kind: keyof typeof memoryOperand): Body =>
    fpu((b, o) => {
      const y = memoryOperand[kind](b, o)
      b.call(memory, y, signExponentOf(b), b.const32(reverse ? 1 : 0))
    })
  return [
    form(`F${suffix} m32`, `D8 /${digit}`, fromMemory('m32'), fpuOptions),
    form(`F${suffix} m64`, `DC /${digit}`, fromMemory('m64'), fpuOptions),
    form(`F${suffix} ST(0), ST(i)`, `D8 ${st0}+i`, register(0, 0), fpuOptions),
    form(`F${suffix} ST(i), ST(0)`, `DC ${sti}+i`, register(1, 0), fpuOptions),
    form(`F${suffix}P ST(i), ST(0)`, `DE ${sti}+i`, register(1, 1), fpuOptions),
    form(`FI${suffix} m32`, `DA /${digit}`, fromMemory('i32'), fpuOptions),
    form(`FI${suffix} m16`, `DE /${digit}`, fromMemory('i16'), fpuOptions),
  ]
}

/** ST(0) and ST(1) to ST(0). */
const onTop = (name: Name, defined: number): Body => {
  const registers = onRegisters(name)
  return fpu((b) => {
    const top = stackTop(b)
    b.call(registers, top, top, physical(b, b.const32(1)), b.const32(0), b.const32(defined))
  })
}

const unary = (operation: Procedure): Body => {
  const run = procedure(`fpu-${operation.name}`, {}, (b) => {
    const top = stackTop(b)
    const result = unlessEmpty(b, isFilled(b, top), () =>
      b.call(operation, significandAt(b, top), signExponentAt(b, top)),
    )
    b.call(commit, top, result, b.const32(0), b.const32(X87.c1))
  })
  return fpu((b) => {
    b.call(run)
  })
}

/** FCHS, FABS: the sign only; NaNs too. (xor, and: masks for sign and exponent) */
const changeSign = procedure('fpuChangeSign', { parameters: [i64, i64] }, (b, flipped, kept) => {
  const top = stackTop(b)
  const result = unlessEmpty(b, isFilled(b, top), () => {
    const significand = b.call(readRegister, top)
    b.stateStore(Access.u64, State.f80Exponent, b.i64.and(b.i64.xor(signExponentOf(b), flipped), kept))
    return significand
  })
  b.call(commit, top, result, b.const32(0), b.const32(X87.c1))
})

/** FXTRACT: the exponent takes the place of ST(0), the significand is pushed. */
const extract = procedure('fpuExtract', {}, (b) => {
  const top = stackTop(b)
  const empty = b.i32.eqz(isFilled(b, top))
  b.if(b.i32.or(empty, isFilled(b, physical(b, b.const32(-1)))), () => {
    b.if(
      empty,
      () => raiseStack(b, false),
      () => raiseStack(b, true),
    )
    b.if(unmaskedOf(b, BEFORE), () => {
      b.call(finish, b.const32(X87.c1))
      b.return()
    })
    b.stateStore(Access.u64, State.f80Exponent, b.const64(INDEFINITE_EXPONENT))
    b.call(commit, top, b.const64(INDEFINITE_SIGNIFICAND), b.const32(0), b.const32(X87.c1))
    b.call(push, b.const64(INDEFINITE_SIGNIFICAND))
    b.return()
  })
  const x = significandAt(b, top)
  const xe = signExponentAt(b, top)
  const exponent = b.call(extractExponent, x, xe)
  const exponentExponent = signExponentOf(b)
  const significand = b.call(extractSignificand, x, xe)
  const significandExponent = signExponentOf(b)
  b.if(unmaskedOf(b, BEFORE), () => {
    b.call(finish, b.const32(X87.c1))
    b.return()
  })
  b.stateStore(Access.u64, State.f80Exponent, exponentExponent)
  b.call(commit, top, exponent, b.const32(0), b.const32(X87.c1))
  b.stateStore(Access.u64, State.f80Exponent, significandExponent)
  b.call(push, significand)
})

export const fpuArithmeticForms: readonly Form[] = [
  ...binaryForms('ADD', 'Add', false, 0, 'C0', 'C0'),
  ...binaryForms('MUL', 'Multiply', false, 1, 'C8', 'C8'),
  ...binaryForms('SUB', 'Subtract', false, 4, 'E0', 'E8'),
  ...binaryForms('SUBR', 'Subtract', true, 5, 'E8', 'E0'),
  ...binaryForms('DIV', 'Divide', false, 6, 'F0', 'F8'),
  ...binaryForms('DIVR', 'Divide', true, 7, 'F8', 'F0'),

  form(
    'FCHS',
    'D9 E0',
    fpu((b) => {
      b.call(changeSign, b.const64(SIGN), b.const64(0xffff))
    }),
    fpuOptions,
  ),
  form(
    'FABS',
    'D9 E1',
    fpu((b) => {
      b.call(changeSign, b.const64(0), b.const64(0x7fff))
    }),
    fpuOptions,
  ),
  form(
    'FXTRACT',
    'D9 F4',
    fpu((b) => {
      b.call(extract)
    }),
    fpuOptions,
  ),
  form('FPREM1', 'D9 F5', onTop('NearestRemainder', X87.c1 | C2), fpuOptions),
  form('FPREM', 'D9 F8', onTop('Remainder', X87.c1 | C2), fpuOptions),
  form('FSQRT', 'D9 FA', unary(squareRoot), fpuOptions),
  form('FRNDINT', 'D9 FC', unary(roundToInteger), fpuOptions),
  form('FSCALE', 'D9 FD', onTop('Scale', X87.c1), fpuOptions),
]
