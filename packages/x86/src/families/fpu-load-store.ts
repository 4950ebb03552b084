/**
 * x87 loads, stores, exchanges and conditional moves (SDM volume 2, FLD, FST, FILD, FIST, FISTTP, FBLD, FCMOVcc …).
 */
import { type Builder, Condition, type Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure, procedureFamily } from '../ir/procedure.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import type { Operands } from '../isa/operands.ts'
import { State } from '../state-layout.ts'
import { stackTop } from './fpu-environment.ts'
import {
  commit,
  exchange,
  fpu,
  isFilled,
  physical,
  popAndFinish,
  push,
  raiseStack,
  readRegister,
} from './fpu-stack.ts'
import {
  BEFORE,
  INDEFINITE_EXPONENT,
  INDEFINITE_SIGNIFICAND,
  signExponentOf,
  unmaskedOf,
  X87,
} from './softfloat80.ts'
import {
  constantSignificand,
  constants,
  fromF32,
  fromF64,
  fromInteger,
  quieten,
  toF32,
  toF64,
  toInteger,
} from './softfloat80-convert.ts'
import { fromBcd, toBcdHigh, toBcdLow } from './softfloat80-decimal.ts'

const { i32, i64 } = Type
const accessOf = { 16: Access.u16, 32: Access.u32, 64: Access.u64 } as const

function pushValue(b: Builder, significand: Value): void {
  b.call(push, significand)
}

const loadFloat = (from: Procedure, bits: 32 | 64): Body =>
  fpu((b, o) => {
    const wide = b.call(from, o.readLow(0, accessOf[bits]))
    pushValue(b, b.call(quieten, wide, signExponentOf(b)))
  })
const loadInteger = (bits: 16 | 32 | 64): Body =>
  fpu((b, o) => {
    const value = o.readLow(0, accessOf[bits])
    pushValue(b, b.call(fromInteger, b.signExtend(bits, value)))
  })
const load80 = fpu((b, o) => {
  const address = o.address()
  const significand = b.guestLoad(Access.u64, address)
  b.stateStore(Access.u64, State.f80Exponent, b.guestLoad(Access.u16, b.i64.add(address, b.const64(8))))
  pushValue(b, significand)
})
const loadRegister = fpu((b, o) => pushValue(b, b.call(readRegister, physical(b, o.number(0)))))
const loadConstant = (name: string): Body =>
  fpu((b) => {
    const constant = constants[name]!
    const significand = constantSignificand(b, constant)
    b.stateStore(Access.u64, State.f80Exponent, b.const64(constant.exponent))
    pushValue(b, significand)
  })

/** Responses that, unmasked, leave memory as it is. */
const NO_STORE: number = BEFORE | X87.overflow | X87.underflow

/** ST(0) converted by `convert`, which is not asked when ST(0) is empty. */
const converted = (
  name: string,
  empty: bigint,
  convert: (b: Builder, significand: Value, signExponent: Value) => Value,
): Procedure =>
  procedure(name, { result: i64 }, (b) => {
    const top = stackTop(b)
    b.if(b.i32.eqz(isFilled(b, top)), () => {
      raiseStack(b, false)
      b.return(b.const64(empty))
    })
    const significand = b.call(readRegister, top)
    b.return(convert(b, significand, signExponentOf(b)))
  })
const topToF32 = converted('fpuTopToF32', 0xffc0_0000n, (b, x, xe) => b.call(toF32, x, xe))
const topToF64 = converted('fpuTopToF64', 0xfff8_0000_0000_0000n, (b, x, xe) => b.call(toF64, x, xe))
const topToInteger = procedureFamily((bits: 16 | 32 | 64, truncate: boolean) =>
  converted(`fpuTopToI${bits}${truncate ? 'Truncated' : ''}`, 1n << BigInt(bits - 1), (b, x, xe) =>
    b.call(toInteger, x, xe, b.const64(bits), b.const32(truncate ? 1 : 0)),
  ),
)

function storeAndPop(b: Builder, pops: number, store: () => void): void {
  b.if(b.i32.eqz(unmaskedOf(b, NO_STORE)), store)
  b.call(popAndFinish, b.const32(NO_STORE), b.const32(pops), b.const32(X87.c1))
}
const store = (from: Procedure, bits: 16 | 32 | 64, pops: number): Body =>
  fpu((b, o) => {
    const value = b.call(from)
    storeAndPop(b, pops, () => o.writeLow(0, accessOf[bits], value))
  })
/** Stores 10 bytes, or none: the lowest that faults tells. */
function storeTen(b: Builder, address: Value, low: Value, high: Value): void {
  const highAddress = b.i64.add(address, b.const64(8))
  b.guestRef(Access.u64, address)
  b.guestStore(Access.u16, highAddress, high)
  b.guestStore(Access.u64, address, low)
}
const store80 = fpu((b, o) => {
  const significand = b.call(readRegister, stackTop(b))
  const signExponent = signExponentOf(b)
  storeAndPop(b, 1, () => {
    storeTen(b, o.address(), significand, signExponent)
  })
})
const storeRegister = (pops: number): Body =>
  fpu((b, o) => {
    const number = physical(b, o.number(0))
    b.call(commit, number, b.call(readRegister, stackTop(b)), b.const32(pops), b.const32(X87.c1))
  })

const loadDecimal = fpu((b, o) => {
  const address = o.address()
  const low = b.guestLoad(Access.u64, address)
  const high = b.guestLoad(Access.u16, b.i64.add(address, b.const64(8)))
  pushValue(b, b.call(fromBcd, low, high))
})
/** FBSTP. The packed decimal indefinite is all ones above C0000000000000. */
const decimalInteger = converted('fpuTopToDecimal', 1n << 63n, (b, x, xe) =>
  b.call(toInteger, x, xe, b.const64(64), b.const32(0)),
)
const storeDecimal = fpu((b, o) => {
  const value = b.call(decimalInteger)
  const negative = b.i64.shrU(signExponentOfTop(b), b.const64(15))
  const magnitude = b.select(b.i64.ltS(value, b.const64(0)), b.i64.sub(b.const64(0), value), value)
  const tooLarge = b.i64.gtU(magnitude, b.const64(10n ** 18n - 1n))
  b.if(tooLarge, () => {
    const stack = b.i32.and(b.stateLoad(Access.i32, State.f80Raised), b.const32(X87.stack))
    b.stateStore(Access.i32, State.f80Raised, b.i32.or(stack, b.const32(X87.invalid)))
  })
  const low = b.select(tooLarge, b.const64(0xc000_0000_0000_0000n), b.call(toBcdLow, magnitude))
  const high = b.select(
    tooLarge,
    b.const64(0xffff),
    b.i64.or(b.call(toBcdHigh, magnitude), b.i64.shl(negative, b.const64(15))),
  )
  storeAndPop(b, 1, () => {
    storeTen(b, o.address(), low, high)
  })
})
function signExponentOfTop(b: Builder): Value {
  return b.stateLoad(Access.u16, State.x87 + 8, b.i32.shl(stackTop(b), b.const32(4)))
}

/** FCMOVcc: ST(i) to ST(0). Empty registers underflow whatever the condition says. */
const conditionalMove = procedure(
  'fpuConditionalMove',
  { parameters: [i32, i32] },
  (b, number, condition) => {
    const top = stackTop(b)
    const filled = b.i32.and(isFilled(b, top), isFilled(b, number))
    const significand = b.local(i64, b.const64(INDEFINITE_SIGNIFICAND))
    const signExponent = b.local(i64, b.const64(INDEFINITE_EXPONENT))
    b.if(
      filled,
      () => {
        b.set(significand, b.call(readRegister, b.select(condition, number, top)))
        b.set(signExponent, signExponentOf(b))
      },
      () => raiseStack(b, false),
    )
    b.stateStore(Access.u64, State.f80Exponent, b.get(signExponent))
    // C1 is cleared by an underflow only.
    b.call(commit, top, b.get(significand), b.const32(0), b.select(filled, b.const32(0), b.const32(X87.c1)))
  },
)
const moveIf = (condition: number): Body =>
  fpu((b, o: Operands) => {
    b.call(conditionalMove, physical(b, o.number(1)), b.condition(condition))
  })

const x87: FormOptions = { feature: 'fpu', user: true }
const sse3: FormOptions = { feature: 'sse3', user: true }
const moves = [
  ['FCMOVB', 'DA C0+i', Condition.b],
  ['FCMOVE', 'DA C8+i', Condition.e],
  ['FCMOVBE', 'DA D0+i', Condition.be],
  ['FCMOVU', 'DA D8+i', Condition.p],
  ['FCMOVNB', 'DB C0+i', Condition.ae],
  ['FCMOVNE', 'DB C8+i', Condition.ne],
  ['FCMOVNBE', 'DB D0+i', Condition.a],
  ['FCMOVNU', 'DB D8+i', Condition.np],
] as const
const constantOpcodes = [
  ['FLD1', 'D9 E8'],
  ['FLDL2T', 'D9 E9'],
  ['FLDL2E', 'D9 EA'],
  ['FLDPI', 'D9 EB'],
  ['FLDLG2', 'D9 EC'],
  ['FLDLN2', 'D9 ED'],
  ['FLDZ', 'D9 EE'],
] as const

export const fpuLoadStoreForms: readonly Form[] = [
  form('FLD m32', 'D9 /0', loadFloat(fromF32, 32), x87),
  form('FLD m64', 'DD /0', loadFloat(fromF64, 64), x87),
  form('FLD m80', 'DB /5', load80, x87),
  form('FLD ST(i)', 'D9 C0+i', loadRegister, x87),
  form('FST m32', 'D9 /2', store(topToF32, 32, 0), x87),
  form('FST m64', 'DD /2', store(topToF64, 64, 0), x87),
  form('FST ST(i)', 'DD D0+i', storeRegister(0), x87),
  form('FSTP m32', 'D9 /3', store(topToF32, 32, 1), x87),
  form('FSTP m64', 'DD /3', store(topToF64, 64, 1), x87),
  form('FSTP m80', 'DB /7', store80, x87),
  form('FSTP ST(i)', 'DD D8+i', storeRegister(1), x87),

  form('FILD m16', 'DF /0', loadInteger(16), x87),
  form('FILD m32', 'DB /0', loadInteger(32), x87),
  form('FILD m64', 'DF /5', loadInteger(64), x87),
  form('FIST m16', 'DF /2', store(topToInteger(16, false), 16, 0), x87),
  form('FIST m32', 'DB /2', store(topToInteger(32, false), 32, 0), x87),
  form('FISTP m16', 'DF /3', store(topToInteger(16, false), 16, 1), x87),
  form('FISTP m32', 'DB /3', store(topToInteger(32, false), 32, 1), x87),
  form('FISTP m64', 'DF /7', store(topToInteger(64, false), 64, 1), x87),
  form('FISTTP m16', 'DF /1', store(topToInteger(16, true), 16, 1), sse3),
  form('FISTTP m32', 'DB /1', store(topToInteger(32, true), 32, 1), sse3),
  form('FISTTP m64', 'DD /1', store(topToInteger(64, true), 64, 1), sse3),
  form('FBLD m80', 'DF /4', loadDecimal, x87),
  form('FBSTP m80', 'DF /6', storeDecimal, x87),

  form(
    'FXCH ST(i)',
    'D9 C8+i',
    fpu((b, o) => {
      b.call(exchange, physical(b, o.number(0)))
    }),
    x87,
  ),
  ...moves.map(([name, encoding, condition]) =>
    form(`${name} ST(0), ST(i)`, encoding, moveIf(condition), x87),
  ),
  ...constantOpcodes.map(([name, encoding]) => form(name, encoding, loadConstant(name), x87)),
]
