/**
 * x87 comparisons and classification (SDM volume 2, FCOM, FUCOM, FCOMI, FICOM, FTST, FXAM).
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { procedure } from '../ir/procedure.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { ARITHMETIC_FLAGS, State } from '../state-layout.ts'
import { memoryOperand } from './fpu-arithmetic.ts'
import { stackTop } from './fpu-environment.ts'
import {
  CONDITION_CODES,
  finish,
  fpu,
  isFilled,
  physical,
  popAndFinish,
  raiseStack,
  signExponentAt,
  significandAt,
} from './fpu-stack.ts'
import { BEFORE, signExponentOf, X87 } from './softfloat80.ts'
import { Compared, classify, compare } from './softfloat80-convert.ts'

const { i32, i64 } = Type

/** Adds a value that is not known yet to what goes to the status word. */
function raiseCodes(b: Builder, codes: Value): void {
  b.stateStore(Access.i32, State.f80Raised, b.i32.or(b.stateLoad(Access.i32, State.f80Raised), codes))
}

/** Compares ST(0) with y. (y, y, filled: y is no empty register, quiet) -> condition codes */
const compareTop = procedure(
  'fpuCompareTop',
  { parameters: [i64, i64, i32, i32], result: i32 },
  (b, y, ye, filled, quiet) => {
    const top = stackTop(b)
    b.if(b.i32.eqz(b.i32.and(isFilled(b, top), filled)), () => {
      raiseStack(b, false)
      b.return(b.const32(Compared.unordered))
    })
    b.return(b.call(compare, significandAt(b, top), signExponentAt(b, top), y, ye, quiet))
  },
)

function withRegister(b: Builder, i: Value, quiet: boolean): Value {
  const number = physical(b, i)
  return b.call(
    compareTop,
    significandAt(b, number),
    signExponentAt(b, number),
    isFilled(b, number),
    b.const32(quiet ? 1 : 0),
  )
}
function toStatus(b: Builder, codes: Value, pops: number): void {
  raiseCodes(b, codes)
  b.call(popAndFinish, b.const32(BEFORE), b.const32(pops), b.const32(CONDITION_CODES))
}

const register = (quiet: boolean, pops: number): Body =>
  fpu((b, o) => toStatus(b, withRegister(b, o.number(0), quiet), pops))
const second = (quiet: boolean): Body => fpu((b) => toStatus(b, withRegister(b, b.const32(1), quiet), 2))
const memory = (kind: keyof typeof memoryOperand, pops: number): Body =>
  fpu((b, o) => {
    const y = memoryOperand[kind](b, o)
    toStatus(b, b.call(compareTop, y, signExponentOf(b), b.const32(1), b.const32(0)), pops)
  })
/** FCOMI …: to ZF, PF and CF, which lie as C3, C2 and C0 do, 8 bits lower. */
const toFlags = (quiet: boolean, pops: number): Body =>
  fpu((b, o) => {
    const codes = withRegister(b, o.number(1), quiet)
    b.flagsSet(ARITHMETIC_FLAGS, b.i32.shrU(codes, b.const32(8)))
    b.call(popAndFinish, b.const32(BEFORE), b.const32(pops), b.const32(X87.c1))
  })
const test = fpu((b) =>
  toStatus(b, b.call(compareTop, b.const64(0), b.const64(0), b.const32(1), b.const32(0)), 0),
)
const examine = fpu((b) => {
  const top = stackTop(b)
  raiseCodes(b, b.call(classify, significandAt(b, top), signExponentAt(b, top), b.i32.eqz(isFilled(b, top))))
  b.call(finish, b.const32(CONDITION_CODES))
})

const options: FormOptions = { feature: 'fpu', user: true }

export const fpuCompareForms: readonly Form[] = [
  form('FCOM m32', 'D8 /2', memory('m32', 0), options),
  form('FCOM m64', 'DC /2', memory('m64', 0), options),
  form('FCOM ST(i)', 'D8 D0+i', register(false, 0), options),
  form('FCOMP m32', 'D8 /3', memory('m32', 1), options),
  form('FCOMP m64', 'DC /3', memory('m64', 1), options),
  form('FCOMP ST(i)', 'D8 D8+i', register(false, 1), options),
  form('FCOMPP', 'DE D9', second(false), options),
  form('FUCOM ST(i)', 'DD E0+i', register(true, 0), options),
  form('FUCOMP ST(i)', 'DD E8+i', register(true, 1), options),
  form('FUCOMPP', 'DA E9', second(true), options),
  form('FICOM m16', 'DE /2', memory('i16', 0), options),
  form('FICOM m32', 'DA /2', memory('i32', 0), options),
  form('FICOMP m16', 'DE /3', memory('i16', 1), options),
  form('FICOMP m32', 'DA /3', memory('i32', 1), options),
  form('FCOMI ST(0), ST(i)', 'DB F0+i', toFlags(false, 0), options),
  form('FCOMIP ST(0), ST(i)', 'DF F0+i', toFlags(false, 1), options),
  form('FUCOMI ST(0), ST(i)', 'DB E8+i', toFlags(true, 0), options),
  form('FUCOMIP ST(0), ST(i)', 'DF E8+i', toFlags(true, 1), options),
  form('FTST', 'D9 E4', test, options),
  form('FXAM', 'D9 E5', examine, options),
]
