/**
 * CLC STC CMC CLD STD (SDM volume 2). CLI and STI are system instructions.
 */
import { Access } from '../ir/op.ts'
import { type Body, type Form, form } from '../isa/form.ts'
import { Flag, State } from '../state-layout.ts'

const clc: Body = (b) => b.flagsSet(Flag.cf, b.const32(0))
const stc: Body = (b) => b.flagsSet(Flag.cf, b.const32(Flag.cf))
const cmc: Body = (b) => b.flagsSet(Flag.cf, b.i32.xor(b.flag(Flag.cf), b.const32(1)))
const cld: Body = (b) =>
  b.stateStore(
    Access.u64,
    State.rflags,
    b.i64.and(b.stateLoad(Access.u64, State.rflags), b.const64(~Flag.df)),
  )
const std: Body = (b) =>
  b.stateStore(Access.u64, State.rflags, b.i64.or(b.stateLoad(Access.u64, State.rflags), b.const64(Flag.df)))

export const flagControlForms: readonly Form[] = [
  form('CMC', 'F5', cmc, { user: true }),
  form('CLC', 'F8', clc, { user: true }),
  form('STC', 'F9', stc, { user: true }),
  form('CLD', 'FC', cld, { user: true }),
  form('STD', 'FD', std, { user: true }),
]
