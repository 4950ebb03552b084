/** The time source behind RDTSC: the machine's clock, or in virtual time the count of retired instructions. */
import { Access, engine, type Procedure, procedure, State, Type } from '@trapframe/x86'
import { nowNs } from './imports.ts'
import { EngineState, RecordField } from './layout.ts'

const timeStamp = procedure('timeStamp', { result: Type.i64 }, (b) => {
  const ns = b.local(Type.f64)
  b.if(
    b.stateLoad(Access.i32, EngineState.virtualTime),
    () => {
      // Instructions of the running block are charged when it is left; the record knows how many came before it.
      const charged = b.i64.sub(
        b.stateLoad(Access.u64, State.budgetTop),
        b.stateLoad(Access.u64, State.budget),
      )
      const inBlock = b.i64.sub(
        b.hostLoad(Access.u8, b.stateLoad(Access.i32, EngineState.record), RecordField.count),
        b.const64(1),
      )
      b.set(
        ns,
        b.f64.add(b.f64.convertI64S(b.i64.add(charged, inBlock)), b.stateLoad(Access.f64, State.skippedNs)),
      )
    },
    () => b.set(ns, b.call(nowNs)),
  )
  b.return(b.i64.truncSatF64S(b.f64.mul(b.get(ns), b.stateLoad(Access.f64, EngineState.tscPerNs))))
})

export const timeSupplies: ReadonlyMap<Procedure, Procedure> = new Map([[engine.timeStamp, timeStamp]])
