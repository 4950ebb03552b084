/**
 * What happens between instructions: requests from outside, pending interrupts, single steps, the end of the budget.
 * The main loop comes here at start, after every instruction that may have changed something (`resync`), and whenever
 * a taken branch finds a request or little budget left.
 *
 * Order (SDM volume 3, table 6-2 "priority among concurrent events", as far as it is implemented): traps of the last
 * instruction, NMI, external interrupt; then the next instruction.
 */
import {
  Access,
  Fault,
  Flag,
  type Procedure,
  procedure,
  Request,
  State,
  system,
  Type,
  type Value,
  Vector,
} from '@trapframe/x86'
import { lookup, lookupLimited } from './code-lookup.ts'
import { EngineState, MAX_BLOCK_INSTRUCTIONS } from './layout.ts'
import { chooseTables, count } from './translation.ts'

const { EventKind, ExitReason, deliverException, deliverInterrupt, singleStepTrap } = system

const { i32 } = Type

/**
 * A fault is pending and `State.rip` is at the instruction. An exception is delivered; 1: go on, 0: `run` ends.
 */
export const afterFault: Procedure = procedure('afterFault', { result: i32 }, (b) => {
  b.if(b.i32.eq(b.stateLoad(Access.i32, State.fault), b.const32(Fault.exit)), () => {
    b.stateStore(Access.i32, State.fault, b.const32(Fault.none))
    b.return(b.const32(0))
  })
  count(b, 'exceptions')
  b.if(b.stateLoad(Access.i32, EngineState.codeMode), () =>
    b.stateStore(Access.u64, State.rip, b.truncate(32, b.stateLoad(Access.u64, State.rip))),
  )
  b.if(b.i32.eq(b.stateLoad(Access.i32, State.faultVector), b.const32(Vector.pf)), () =>
    count(b, 'page-faults'),
  )
  // The instruction did not complete: no single-step trap after it.
  b.stateStore(Access.i32, EngineState.stepTrap, b.const32(0))
  b.stateStore(Access.i32, State.fault, b.const32(Fault.none))
  b.attempt(() => b.call(deliverException))
  // Delivery ends in a fault only when it cannot go on: triple fault, or a device under the stack.
  b.if(b.takeFault(), () => b.return(b.const32(0)))
  b.call(chooseTables)
  b.return(b.const32(1))
})

/** Next record to execute at `State.rip`, or 0: `run` ends, the reason is in `State.exitReason`. */
export const nextBlock: Procedure = procedure('nextBlock', { result: i32 }, (b) => {
  const record = b.local(i32)
  const limit = b.local(i32)
  const leave = (reason: number): void => {
    b.stateStore(Access.i32, State.exitReason, b.const32(reason))
    b.return(b.const32(0))
  }
  const stateFlag = (offset: number): Value => b.i32.ne(b.stateLoad(Access.i32, offset), b.const32(0))
  const interruptsEnabled = (): Value =>
    b.i32.wrapI64(
      b.i64.shrU(b.i64.and(b.stateLoad(Access.u64, State.rflags), b.const64(Flag.if)), b.const64(9)),
    )

  b.loop((again) => {
    // The instruction that was executed again after an exit is done.
    b.if(
      stateFlag(EngineState.replaying),
      () => b.stateStore(Access.i32, EngineState.replaying, b.const32(0)),
      () => {
        b.stateStore(Access.i32, State.replayCount, b.const32(0))
        b.stateStore(Access.i32, State.replayPosition, b.const32(0))
        b.stateStore(Access.i32, State.exitFault, b.const32(0))
      },
    )
    const replays = stateFlag(State.replayCount)

    b.if(b.i32.eqz(replays), () => {
      b.if(stateFlag(EngineState.stepTrap), () => {
        b.stateStore(Access.i32, EngineState.stepTrap, b.const32(0))
        b.attempt(() => b.call(singleStepTrap))
        b.if(b.takeFault(), () => b.return(b.const32(0)))
        b.br(again)
      })
      b.if(stateFlag(EngineState.debugStepDone), () => {
        b.stateStore(Access.i32, EngineState.debugStepDone, b.const32(0))
        b.stateStore(Access.u64, State.exitValue, b.const64(0))
        leave(ExitReason.debug)
      })
      const request = b.stateLoad(Access.i32, State.request)
      b.if(request, () => {
        b.stateStore(Access.i32, State.request, b.const32(0))
        b.if(b.i32.and(request, b.const32(Request.kick)), () => leave(ExitReason.kicked))
      })
      b.if(b.i32.eqz(stateFlag(State.interruptShadow)), () => {
        b.if(b.i32.and(stateFlag(State.nmiPending), b.i32.eqz(stateFlag(State.nmiBlocked))), () => {
          b.stateStore(Access.i32, State.nmiPending, b.const32(0))
          deliver(b.const32(Vector.nmi), EventKind.nmi)
          b.br(again)
        })
        b.if(interruptsEnabled(), () => {
          const vector = b.stateLoad(Access.i32, State.pendingInterrupt)
          b.if(b.i32.geS(vector, b.const32(0)), () => {
            b.stateStore(Access.i32, State.pendingInterrupt, b.const32(-1))
            deliver(vector, EventKind.external)
            b.br(again)
          })
          b.if(stateFlag(State.windowWanted), () => leave(ExitReason.interruptWindow))
        })
      })
      b.if(stateFlag(State.halted), () => leave(ExitReason.halted))
      b.if(b.i64.leS(b.stateLoad(Access.u64, State.budget), b.const64(0)), () => leave(ExitReason.budget))
    })

    // A block of one instruction: under a shadow, single-stepped, or executed again with its answers.
    const stepping = b.i32.wrapI64(b.i64.and(b.stateLoad(Access.u64, State.rflags), b.const64(Flag.tf)))
    const debugging = stateFlag(State.debugStep)
    // Nothing becomes pending while the guest runs, so a shadow matters only where something is pending or awaited now.
    const awaited = b.i32.or(
      b.i32.or(stateFlag(State.windowWanted), stateFlag(State.nmiPending)),
      b.i32.geS(b.stateLoad(Access.i32, State.pendingInterrupt), b.const32(0)),
    )
    const single = b.i32.or(
      b.i32.or(replays, b.i32.and(stateFlag(State.interruptShadow), awaited)),
      b.i32.or(b.i32.ne(stepping, b.const32(0)), debugging),
    )
    b.set(limit, b.const32(0))
    b.if(b.i64.ltS(b.stateLoad(Access.u64, State.budget), b.const64(MAX_BLOCK_INSTRUCTIONS)), () =>
      b.set(limit, b.i32.wrapI64(b.stateLoad(Access.u64, State.budget))),
    )
    b.if(single, () => {
      b.set(limit, b.const32(1))
      // So that a branch comes back here, too.
      b.stateStore(Access.i32, State.request, b.const32(Request.event))
    })
    b.attempt(() => {
      b.if(
        b.get(limit),
        () => b.set(record, b.call(lookupLimited, b.stateLoad(Access.u64, State.rip), b.get(limit))),
        () => b.set(record, b.call(lookup, b.stateLoad(Access.u64, State.rip))),
      )
    })
    b.if(b.i32.ne(b.stateLoad(Access.i32, State.fault), b.const32(Fault.none)), () => {
      b.if(b.i32.eqz(b.call(afterFault)), () => b.return(b.const32(0)))
      b.br(again)
    })
    b.stateStore(Access.i32, State.interruptShadow, b.const32(0))
    b.if(stepping, () => b.stateStore(Access.i32, EngineState.stepTrap, b.const32(1)))
    b.if(debugging, () => b.stateStore(Access.i32, EngineState.debugStepDone, b.const32(1)))
    b.return(b.get(record))
  })
  b.return(b.const32(0))

  function deliver(vector: Value, kind: number): void {
    count(b, 'interrupts')
    b.attempt(() => b.call(deliverInterrupt, vector, b.const32(kind)))
    b.if(b.i32.ne(b.stateLoad(Access.i32, State.fault), b.const32(Fault.none)), () => {
      b.if(b.i32.eqz(b.call(afterFault)), () => b.return(b.const32(0)))
    })
    b.call(chooseTables)
  }
})
