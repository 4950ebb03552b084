/**
 * The time source behind RDTSC: the machine's clock, or in virtual time the count of retired instructions.
 *
 * Linux reads the TSC on every system call (for the offset of its stack) and every context switch, so the clock is not
 * asked each time: for some 100 microseconds after a reading, time is extrapolated from the instructions retired. Every
 * `run` begins with a true reading, and what the guest is told never goes back.
 */
import { Access, engine, type Procedure, procedure, State, Type } from '@trapframe/x86'
import { nowNs } from './imports.ts'
import { EngineState, RecordField } from './layout.ts'

const timeStamp = procedure('timeStamp', { result: Type.i64 }, (b) => {
  const ns = b.local(Type.f64)
  const charged = b.i64.sub(b.stateLoad(Access.u64, State.budgetTop), b.stateLoad(Access.u64, State.budget))
  b.if(
    b.stateLoad(Access.i32, EngineState.virtualTime),
    () => {
      // Instructions of the running block are charged when it is left; the record knows how many came before it.
      const inBlock = b.i64.sub(
        b.hostLoad(Access.u8, b.stateLoad(Access.i32, EngineState.record), RecordField.count),
        b.const64(1),
      )
      b.set(
        ns,
        b.f64.add(b.f64.convertI64S(b.i64.add(charged, inBlock)), b.stateLoad(Access.f64, State.skippedNs)),
      )
    },
    () => {
      const since = b.i64.sub(charged, b.stateLoad(Access.u64, EngineState.clockRetired))
      b.if(
        b.i64.ltU(since, b.stateLoad(Access.u64, EngineState.clockWindow)),
        () => {
          const each = b.stateLoad(Access.f64, EngineState.clockNsPerInstruction)
          const sinceNs = b.f64.mul(b.f64.convertI64S(since), each)
          b.set(ns, b.f64.add(b.stateLoad(Access.f64, EngineState.clockNs), sinceNs))
        },
        () => b.set(ns, b.call(nowNs)),
      )
      b.set(ns, b.f64.max(b.get(ns), b.stateLoad(Access.f64, EngineState.toldNs)))
      b.stateStore(Access.f64, EngineState.toldNs, b.get(ns))
    },
  )
  b.return(b.i64.truncSatF64S(b.f64.mul(b.get(ns), b.stateLoad(Access.f64, EngineState.tscPerNs))))
})

export const timeSupplies: ReadonlyMap<Procedure, Procedure> = new Map([[engine.timeStamp, timeStamp]])
