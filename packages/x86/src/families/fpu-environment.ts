/**
 * The x87 unit's control instructions: initialisation, control and status words, environment, whole-state save, stack
 * pointer (SDM volume 2, FNINIT, FLDCW, FNSTENV, FNSAVE …; volume 1, chapter 8). FIP, FDP and FOP are not tracked by
 * arithmetic: they read what was loaded last, or zero. Environments are those of protected and 64-bit mode.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { State } from '../state-layout.ts'
import { requireFpu, requireFpuWait, waitForFpu } from './fpu-guard.ts'

export const FSW_C1 = 0x200
const FSW_TOP = 0x3800
/** ES and B. */
const FSW_SUMMARY = 0x8080
const FSW_EXCEPTIONS = 0x3f
/** Bits of the control word that exist: exception masks, precision, rounding, infinity. Bit 6 always reads 1. */
const FCW_BITS = 0x1f3f
const FCW_ONE = 0x40
const INITIAL_FCW = 0x37f

/** Sets ES and B from the exception flags and masks. After anything that changed either. */
export const updateErrorSummary: Procedure = procedure('updateErrorSummary', {}, (b) => {
  const fsw = b.stateLoad(Access.i32, State.fsw)
  const fcw = b.stateLoad(Access.i32, State.fcw)
  const unmasked = b.i32.and(b.i32.and(fsw, b.const32(FSW_EXCEPTIONS)), b.i32.xor(fcw, b.const32(-1)))
  const clear = b.i32.and(fsw, b.const32(0xffff & ~FSW_SUMMARY))
  b.stateStore(Access.i32, State.fsw, b.select(unmasked, b.i32.or(clear, b.const32(FSW_SUMMARY)), clear))
})

/** Loads the control word from an i64. */
export function setControlWord(b: Builder, value: Value): void {
  const kept = b.i32.and(b.i32.wrapI64(value), b.const32(FCW_BITS))
  b.stateStore(Access.i32, State.fcw, b.i32.or(kept, b.const32(FCW_ONE)))
}

/** FNINIT, and what XRSTOR does to a component that is in its initial state (`registers`: R0 to R7 too). */
export const initialiseFpu: Procedure = procedure('initialiseFpu', {}, (b) => {
  const zero = b.const32(0)
  b.stateStore(Access.i32, State.fcw, b.const32(INITIAL_FCW))
  for (const field of [State.fsw, State.ftw, State.fop]) b.stateStore(Access.i32, field, zero)
  for (const field of [State.fip, State.fdp]) b.stateStore(Access.u64, field, b.const64(0))
})

/** TOP, i32. */
export function stackTop(b: Builder): Value {
  return b.i32.and(b.i32.shrU(b.stateLoad(Access.i32, State.fsw), b.const32(11)), b.const32(7))
}

/** State index of physical register `number` (i32), to add to `State.x87`. */
export function registerIndex(b: Builder, number: Value): Value {
  return b.i32.shl(b.i32.and(number, b.const32(7)), b.const32(4))
}

function moveTop(b: Builder, by: number): void {
  const fsw = b.stateLoad(Access.i32, State.fsw)
  const top = b.i32.and(b.i32.add(fsw, b.const32(by << 11)), b.const32(FSW_TOP))
  b.stateStore(Access.i32, State.fsw, b.i32.or(b.i32.and(fsw, b.const32(~(FSW_TOP | FSW_C1))), top))
}

/** The 16-bit tag word from the 8 valid bits: 0 valid, 1 zero, 2 special (denormal, infinity, NaN, unsupported), 3 empty. */
const fullTagWord = procedure('fullTagWord', { result: Type.i64 }, (b) => {
  let word = b.const64(0)
  for (let number = 0; number < 8; number++) {
    const significand = b.stateLoad(Access.u64, State.x87 + number * 16)
    const exponent = b.i64.and(b.stateLoad(Access.u16, State.x87 + number * 16 + 8), b.const64(0x7fff))
    const isZero = b.i64.eqz(b.i64.or(significand, exponent))
    const oddExponent = b.i32.or(b.i64.eqz(exponent), b.i64.eq(exponent, b.const64(0x7fff)))
    const special = b.i32.or(oddExponent, b.i64.geS(significand, b.const64(0)))
    const filled = b.select(isZero, b.const64(1), b.select(special, b.const64(2), b.const64(0)))
    const valid = b.i32.and(b.stateLoad(Access.i32, State.ftw), b.const32(1 << number))
    word = b.i64.or(word, b.i64.shl(b.select(valid, filled, b.const64(3)), b.const64(number * 2)))
  }
  b.return(word)
})

/** Stores the environment. (address, wide: 28 bytes, else 14) */
const storeEnvironment = procedure(
  'storeEnvironment',
  { parameters: [Type.i64, Type.i32], mayFault: true },
  (b, address, wide) => {
    const load = (field: number): Value => b.i64.extendI32U(b.stateLoad(Access.i32, field))
    const tags = b.call(fullTagWord)
    const upper = (value: Value): Value => b.i64.or(value, b.const64(0xffff_0000))
    const fip = b.stateLoad(Access.u64, State.fip)
    const fdp = b.stateLoad(Access.u64, State.fdp)
    const fcw = load(State.fcw)
    const fsw = load(State.fsw)
    const fop = load(State.fop)
    const zero = b.const64(0)
    const at = (offset: number): Value => b.i64.add(address, b.const64(offset))
    b.if(
      wide,
      () => {
        const selector = b.i64.shl(fop, b.const64(16))
        const words = [upper(fcw), upper(fsw), upper(tags), fip, selector, fdp, b.const64(0xffff_0000)]
        words.forEach((word, index) => b.guestStore(Access.u32, at(index * 4), word))
      },
      () => {
        const words = [fcw, fsw, tags, fip, zero, fdp, zero]
        words.forEach((word, index) => b.guestStore(Access.u16, at(index * 2), word))
      },
    )
  },
)

/** Loads the environment. (address, wide) */
const loadEnvironment = procedure(
  'loadEnvironment',
  { parameters: [Type.i64, Type.i32], mayFault: true },
  (b, address, wide) => {
    const words = Array.from({ length: 7 }, () => b.local(Type.i64))
    b.if(
      wide,
      () => {
        words.forEach((word, index) =>
          b.set(word, b.guestLoad(Access.u32, b.i64.add(address, b.const64(index * 4)))),
        )
      },
      () => {
        words.forEach((word, index) =>
          b.set(word, b.guestLoad(Access.u16, b.i64.add(address, b.const64(index * 2)))),
        )
      },
    )
    const [fcw, fsw, tags, fip, selector, fdp] = words.map((word) => b.get(word)) as [
      Value,
      Value,
      Value,
      Value,
      Value,
      Value,
    ]
    setControlWord(b, fcw)
    b.stateStore(Access.i32, State.fsw, b.i32.and(b.i32.wrapI64(fsw), b.const32(0xffff)))
    let valid = b.const32(0)
    for (let number = 0; number < 8; number++) {
      const tag = b.i64.and(b.i64.shrU(tags, b.const64(number * 2)), b.const64(3))
      valid = b.i32.or(valid, b.i32.shl(b.i64.ne(tag, b.const64(3)), b.const32(number)))
    }
    b.stateStore(Access.i32, State.ftw, valid)
    b.stateStore(Access.u64, State.fip, fip)
    b.stateStore(Access.u64, State.fdp, fdp)
    b.stateStore(
      Access.i32,
      State.fop,
      b.i32.wrapI64(b.i64.and(b.i64.shrU(selector, b.const64(16)), b.const64(0x7ff))),
    )
    b.call(updateErrorSummary)
  },
)

/** Runs `body` for i = 0 to 7, with the state index of ST(i)'s register and i as i64. */
export function forEachStackRegister(b: Builder, body: (index: Value, i: Value) => void): void {
  const top = stackTop(b)
  const i = b.local(Type.i32, b.const32(0))
  b.loop((again) => {
    body(registerIndex(b, b.i32.add(top, b.get(i))), b.i64.extendI32U(b.get(i)))
    b.set(i, b.i32.add(b.get(i), b.const32(1)))
    b.brIf(b.i32.ltU(b.get(i), b.const32(8)), again)
  })
}

/** FNSAVE: environment, then ST(0) to ST(7), 10 bytes each; then FNINIT. (address, wide) */
const saveAll = procedure(
  'fnsave',
  { parameters: [Type.i64, Type.i32], mayFault: true },
  (b, address, wide) => {
    b.call(storeEnvironment, address, wide)
    const first = b.i64.add(address, b.select(wide, b.const64(28), b.const64(14)))
    forEachStackRegister(b, (index, i) => {
      const to = b.i64.add(first, b.i64.mul(i, b.const64(10)))
      b.guestStore(Access.u64, to, b.stateLoad(Access.u64, State.x87, index))
      b.guestStore(Access.u16, b.i64.add(to, b.const64(8)), b.stateLoad(Access.u16, State.x87 + 8, index))
    })
    b.call(initialiseFpu)
  },
)
const restoreAll = procedure(
  'frstor',
  { parameters: [Type.i64, Type.i32], mayFault: true },
  (b, address, wide) => {
    const size = b.select(wide, b.const64(28), b.const64(14))
    const first = b.i64.add(address, size)
    // Takes the faults of the last page before anything changes.
    b.guestLoad(Access.u16, b.i64.add(first, b.const64(78)))
    b.call(loadEnvironment, address, wide)
    forEachStackRegister(b, (index, i) => {
      const from = b.i64.add(first, b.i64.mul(i, b.const64(10)))
      const significand = b.guestLoad(Access.u64, from)
      b.stateStore(Access.u16, State.x87 + 8, b.guestLoad(Access.u16, b.i64.add(from, b.const64(8))), index)
      b.stateStore(Access.u64, State.x87, significand, index)
    })
  },
)

/** Bodies that do not wait for a pending exception. */
const noWait =
  (body: Body): Body =>
  (b, o) => {
    requireFpu(b)
    body(b, o)
  }
export const waiting =
  (body: Body): Body =>
  (b, o) => {
    requireFpuWait(b)
    body(b, o)
  }

const word = (b: Builder, field: number): Value => b.i64.extendI32U(b.stateLoad(Access.i32, field))
const environment =
  (run: Procedure, wide: boolean): Body =>
  (b, o) => {
    b.call(run, o.address(), b.const32(wide ? 1 : 0))
  }
/** FNSTENV masks all exceptions once it has stored them. */
const storeEnvironmentAndMask = (wide: boolean): Body =>
  noWait((b, o) => {
    b.call(storeEnvironment, o.address(), b.const32(wide ? 1 : 0))
    b.stateStore(
      Access.i32,
      State.fcw,
      b.i32.or(b.stateLoad(Access.i32, State.fcw), b.const32(FSW_EXCEPTIONS)),
    )
    b.call(updateErrorSummary)
  })

const loadControl = waiting((b, o) => {
  setControlWord(b, o.read(0))
  b.call(updateErrorSummary)
})
const clearExceptions = noWait((b) =>
  b.stateStore(Access.i32, State.fsw, b.i32.and(b.stateLoad(Access.i32, State.fsw), b.const32(0x7f00))),
)

/** FFREE: ST(i) becomes empty. */
function free(b: Builder, i: Value): void {
  const number = b.i32.and(b.i32.add(stackTop(b), i), b.const32(7))
  const bit = b.i32.shl(b.const32(1), number)
  const others = b.i32.xor(bit, b.const32(-1))
  b.stateStore(Access.i32, State.ftw, b.i32.and(b.stateLoad(Access.i32, State.ftw), others))
  b.stateStore(Access.i32, State.fsw, b.i32.and(b.stateLoad(Access.i32, State.fsw), b.const32(~FSW_C1)))
}

const fpu: FormOptions = { feature: 'fpu', user: true }

export const fpuEnvironmentForms: readonly Form[] = [
  form(
    'FNINIT',
    'DB E3',
    noWait((b) => {
      b.call(initialiseFpu)
    }),
    fpu,
  ),
  form('FNCLEX', 'DB E2', clearExceptions, fpu),
  form(
    'FNSTCW m16',
    'D9 /7',
    noWait((b, o) => o.write(0, word(b, State.fcw))),
    fpu,
  ),
  form('FLDCW m16', 'D9 /5', loadControl, fpu),
  form(
    'FNSTSW m16',
    'DD /7',
    noWait((b, o) => o.write(0, word(b, State.fsw))),
    fpu,
  ),
  form(
    'FNSTSW AX',
    'DF E0',
    noWait((b, o) => o.write(0, word(b, State.fsw))),
    fpu,
  ),
  form('FNSTENV m', 'D9 /6', storeEnvironmentAndMask(true), fpu),
  form('FNSTENV m', 'o16 D9 /6', storeEnvironmentAndMask(false), fpu),
  form('FLDENV m', 'D9 /4', waiting(environment(loadEnvironment, true)), fpu),
  form('FLDENV m', 'o16 D9 /4', waiting(environment(loadEnvironment, false)), fpu),
  form('FNSAVE m', 'DD /6', noWait(environment(saveAll, true)), fpu),
  form('FNSAVE m', 'o16 DD /6', noWait(environment(saveAll, false)), fpu),
  form('FRSTOR m', 'DD /4', waiting(environment(restoreAll, true)), fpu),
  form('FRSTOR m', 'o16 DD /4', waiting(environment(restoreAll, false)), fpu),
  form(
    'FFREE ST(i)',
    'DD C0+i',
    waiting((b, o) => free(b, o.number(0))),
    fpu,
  ),
  form(
    'FFREEP ST(i)',
    'DF C0+i',
    waiting((b, o) => {
      free(b, o.number(0))
      free(b, b.const32(0))
      moveTop(b, 1)
    }),
    fpu,
  ),
  form(
    'FINCSTP',
    'D9 F7',
    waiting((b) => moveTop(b, 1)),
    fpu,
  ),
  form(
    'FDECSTP',
    'D9 F6',
    waiting((b) => moveTop(b, -1)),
    fpu,
  ),
  form(
    'FNOP',
    'D9 D0',
    waiting(() => {}),
    fpu,
  ),
  form(
    'FWAIT',
    '9B',
    (b) => {
      b.call(waitForFpu)
    },
    fpu,
  ),
]
