/**
 * The x87 register stack: reading, pushing, popping, and the end of every arithmetic instruction, where gathered
 * exceptions become status (SDM volume 1, sections 8.1.2, 8.5). An instruction starts with `begin`, reads memory before
 * it changes anything, and ends with `commit`, `push` or `finish`. A response that is unmasked leaves the registers alone
 * (invalid, denormal, zero divide); #MF follows at the next waiting instruction.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import type { Body } from '../isa/form.ts'
import { State } from '../state-layout.ts'
import { registerIndex, stackTop, updateErrorSummary } from './fpu-environment.ts'
import { requireFpuWait } from './fpu-guard.ts'
import {
  BEFORE,
  give,
  giveIndefinite,
  INDEFINITE_EXPONENT,
  INDEFINITE_SIGNIFICAND,
  unmaskedOf,
  X87,
} from './softfloat80.ts'

const { i32, i64 } = Type

/** Condition codes C0 to C3. */
export const CONDITION_CODES = 0x4700
/** C0, C2 and C3. */
const COMPARED = 0x4500
const FSW_TOP = 0x3800

/** A body that waits for pending exceptions and gathers its own. */
export const fpu =
  (body: Body): Body =>
  (b, o) => {
    requireFpuWait(b)
    b.stateStore(Access.i32, State.f80Raised, b.const32(0))
    body(b, o)
  }

/** Number of the physical register of ST(i), i32. */
export function physical(b: Builder, i: Value): Value {
  return b.i32.and(b.i32.add(stackTop(b), i), b.const32(7))
}

/** 1 if a physical register is not empty, i32. */
export function isFilled(b: Builder, number: Value): Value {
  return b.i32.and(b.i32.shrU(b.stateLoad(Access.i32, State.ftw), number), b.const32(1))
}

export function significandAt(b: Builder, number: Value): Value {
  return b.stateLoad(Access.u64, State.x87, registerIndex(b, number))
}
export function signExponentAt(b: Builder, number: Value): Value {
  return b.stateLoad(Access.u16, State.x87 + 8, registerIndex(b, number))
}

/** Stack underflow or overflow takes the place of whatever else was raised. */
export function raiseStack(b: Builder, overflow: boolean): void {
  const bits = X87.invalid | X87.stack | (overflow ? X87.c1 : 0)
  b.stateStore(Access.i32, State.f80Raised, b.const32(bits))
}

function write(b: Builder, number: Value, significand: Value, signExponent: Value): void {
  const index = registerIndex(b, number)
  b.stateStore(Access.u64, State.x87, significand, index)
  b.stateStore(Access.u16, State.x87 + 8, signExponent, index)
  b.stateStore(
    Access.i32,
    State.ftw,
    b.i32.or(b.stateLoad(Access.i32, State.ftw), b.i32.shl(b.const32(1), number)),
  )
}

function setTop(b: Builder, top: Value): void {
  const others = b.i32.and(b.stateLoad(Access.i32, State.fsw), b.const32(~FSW_TOP))
  b.stateStore(
    Access.i32,
    State.fsw,
    b.i32.or(others, b.i32.shl(b.i32.and(top, b.const32(7)), b.const32(11))),
  )
}

/** Marks ST(0) empty and increments TOP. */
const pop = procedure('fpuPop', {}, (b) => {
  const top = stackTop(b)
  const bit = b.i32.xor(b.i32.shl(b.const32(1), top), b.const32(-1))
  b.stateStore(Access.i32, State.ftw, b.i32.and(b.stateLoad(Access.i32, State.ftw), bit))
  setTop(b, b.i32.add(top, b.const32(1)))
})

/** Moves what was gathered to the status word. (condition codes that the instruction defines; the others stay) */
export const finish: Procedure = procedure('fpuFinish', { parameters: [i32] }, (b, defined) => {
  const kept = b.i32.and(b.stateLoad(Access.i32, State.fsw), b.i32.xor(defined, b.const32(-1)))
  b.stateStore(Access.i32, State.fsw, b.i32.or(kept, b.stateLoad(Access.i32, State.f80Raised)))
  b.call(updateErrorSummary)
})

/** Pops as often as asked, unless a response is unmasked, and finishes. (mask of responses, pops, condition codes) */
export const popAndFinish: Procedure = procedure(
  'fpuPopAndFinish',
  { parameters: [i32, i32, i32] },
  (b, mask, pops, defined) => {
    const raised = b.i32.and(b.stateLoad(Access.i32, State.f80Raised), mask)
    const blocked = b.i32.and(raised, b.i32.xor(b.stateLoad(Access.i32, State.fcw), b.const32(-1)))
    b.if(
      blocked,
      () => {
        // Nothing was done, so what doing it would have raised is not so; but comparisons tell their outcome.
        const before = b.const32(BEFORE | X87.stack | COMPARED)
        const kept = b.select(
          b.i32.and(blocked, b.const32(BEFORE)),
          before,
          b.const32(BEFORE | X87.stack | COMPARED | X87.overflow | X87.underflow),
        )
        b.stateStore(Access.i32, State.f80Raised, b.i32.and(b.stateLoad(Access.i32, State.f80Raised), kept))
      },
      () => {
        b.if(pops, () => {
          b.call(pop)
        })
        b.if(b.i32.gtU(pops, b.const32(1)), () => {
          b.call(pop)
        })
      },
    )
    b.call(finish, defined)
  },
)

/** Writes a result (sign and exponent in `State.f80Exponent`). (physical register, significand, pops, condition codes) */
export const commit: Procedure = procedure(
  'fpuCommit',
  { parameters: [i32, i64, i32, i32] },
  (b, number, significand, pops, defined) => {
    b.if(b.i32.eqz(unmaskedOf(b, BEFORE)), () =>
      write(b, number, significand, b.stateLoad(Access.u64, State.f80Exponent)),
    )
    b.call(popAndFinish, b.const32(BEFORE), pops, defined)
  },
)

/** Pushes a value (sign and exponent in `State.f80Exponent`); the indefinite if there is no room. */
export const push: Procedure = procedure('fpuPush', { parameters: [i64] }, (b, significandIn) => {
  const number = physical(b, b.const32(-1))
  const significand = b.local(i64, significandIn)
  const signExponent = b.local(i64, b.stateLoad(Access.u64, State.f80Exponent))
  // What was to be pushed may come from an empty register: then the underflow is what counts.
  const underflow = b.i32.and(b.stateLoad(Access.i32, State.f80Raised), b.const32(X87.stack))
  b.if(b.i32.and(isFilled(b, number), b.i32.eqz(underflow)), () => {
    raiseStack(b, true)
    b.set(significand, b.const64(INDEFINITE_SIGNIFICAND))
    b.set(signExponent, b.const64(INDEFINITE_EXPONENT))
  })
  // An unmasked #D does not keep a denormal from being pushed.
  b.if(b.i32.eqz(unmaskedOf(b, X87.invalid)), () => {
    setTop(b, number)
    write(b, number, b.get(significand), b.get(signExponent))
  })
  b.call(finish, b.const32(X87.c1))
})

/** Value of a physical register; of an empty one the indefinite, with a stack underflow. */
export const readRegister: Procedure = procedure(
  'fpuRead',
  { parameters: [i32], result: i64 },
  (b, number) => {
    b.if(b.i32.eqz(isFilled(b, number)), () => {
      raiseStack(b, false)
      giveIndefinite(b)
    })
    give(b, significandAt(b, number), signExponentAt(b, number))
  },
)

/** FXCH: both registers get a value, empty ones the indefinite. (physical register) */
export const exchange: Procedure = procedure('fpuExchange', { parameters: [i32] }, (b, number) => {
  const top = stackTop(b)
  const first = b.call(readRegister, top)
  const firstExponent = b.stateLoad(Access.u64, State.f80Exponent)
  const second = b.call(readRegister, number)
  const secondExponent = b.stateLoad(Access.u64, State.f80Exponent)
  b.if(b.i32.eqz(unmaskedOf(b, BEFORE)), () => {
    write(b, number, first, firstExponent)
    write(b, top, second, secondExponent)
  })
  b.call(finish, b.const32(X87.c1))
})
