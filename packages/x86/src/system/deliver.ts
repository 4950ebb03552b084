/**
 * Delivery of exceptions and interrupts in every mode, with what goes wrong on the way.
 *
 * `State.rip` is the return address that goes into the frame: the faulting instruction for faults, the next one for
 * traps and interrupts. Everything that may fault comes before the first change of a register, so a delivery that
 * fails or exits can be repeated; the frame itself may then have been written more than once.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { Fault, State, Vector } from '../state-layout.ts'
import { deliverLong } from './deliver-long.ts'
import { deliverProtected } from './deliver-protected.ts'
import { deliverReal, deliverVirtual8086 } from './deliver-real.ts'
import { Treat } from './event.ts'
import { ExitReason } from './exit-reason.ts'
import { inLongMode, inVirtual8086, protectionEnabled } from './mode.ts'

const { i32 } = Type

/** Where an event comes from. */
export const EventKind = {
  /** An interrupt controller. */
  external: 0,
  nmi: 1,
  /** INT3, INTO: the gate's DPL is checked. */
  software: 2,
  /** INT1: a trap that checks no DPL. */
  privileged: 3,
  /** #DB after an instruction. */
  trap: 4,
  /** INT n: as `software`, and restricted in virtual-8086 mode. */
  numbered: 5,
} as const

/** Delivers one event. (vector, error code or -1, Treat bits). Faults of the delivery leave by the fault edge. */
const deliverEvent: Procedure = procedure(
  'deliverEvent',
  { parameters: [i32, i32, i32], mayFault: true },
  (b, vector, errorCode, treat) => {
    b.if(inLongMode(b), () => {
      b.call(deliverLong, vector!, errorCode!, treat!)
      b.return()
    })
    b.if(b.i32.eqz(protectionEnabled(b)), () => {
      b.call(deliverReal, vector!)
      b.return()
    })
    const numbered = b.i32.ne(b.i32.and(treat!, b.const32(Treat.numbered)), b.const32(0))
    b.if(b.i32.and(inVirtual8086(b), numbered), () =>
      b.if(b.call(deliverVirtual8086, vector!), () => b.return()),
    )
    b.call(deliverProtected, vector!, errorCode!, treat!)
    b.return()
  },
)

/** i32: whether a vector is one of the contributory exceptions: #DE, #TS, #NP, #SS, #GP. */
function isContributory(b: Builder, vector: Value): Value {
  const set = (1 << Vector.de) | (1 << Vector.ts) | (1 << Vector.np) | (1 << Vector.ss) | (1 << Vector.gp)
  return b.i32.and(b.i32.shrU(b.const32(set), vector), b.i32.ltU(vector, b.const32(32)))
}

/** Abandons a delivery that met device memory, with the exit that was pending. */
function exitAgain(b: Builder): void {
  const isRead = b.i32.eq(b.stateLoad(Access.i32, State.exitReason), b.const32(ExitReason.mmioRead))
  b.if(
    isRead,
    () => b.exit(ExitReason.mmioRead),
    () => b.exit(ExitReason.mmioWrite),
  )
}

/**
 * Delivers an exception and whatever goes wrong on the way (SDM volume 3, table 6-5: serially, or as #DF; a fault in
 * the delivery of #DF is a shutdown exit). (vector, error code or -1, Treat bits)
 */
const deliverSerially: Procedure = procedure(
  'deliverSerially',
  { parameters: [i32, i32, i32], mayFault: true },
  (b, vector, errorCode, treat) => {
    const first = b.local(i32, vector!)
    const code = b.local(i32, errorCode!)
    const how = b.local(i32, treat!)
    b.loop((again) => {
      b.attempt(() => b.call(deliverEvent, b.get(first), b.get(code), b.get(how)))
      const fault = b.local(i32, b.stateLoad(Access.i32, State.fault))
      b.if(b.i32.eqz(b.takeFault()), () => b.return())
      b.if(b.i32.eq(b.get(fault), b.const32(Fault.exit)), () => exitAgain(b))
      const before = b.get(first)
      const second = b.stateLoad(Access.i32, State.faultVector)
      b.if(b.i32.eq(before, b.const32(Vector.df)), () => b.exit(ExitReason.shutdown))
      const isPageFault = (value: Value): Value => b.i32.eq(value, b.const32(Vector.pf))
      const contributes = isContributory(b, second)
      const doubles = b.i32.or(
        b.i32.and(isContributory(b, before), contributes),
        b.i32.and(isPageFault(before), b.i32.or(isPageFault(second), contributes)),
      )
      b.if(
        doubles,
        () => {
          b.set(first, b.const32(Vector.df))
          b.set(code, b.const32(0))
        },
        () => {
          b.set(first, second)
          b.set(code, b.stateLoad(Access.i32, State.faultErrorCode))
        },
      )
      b.set(how, b.const32(Treat.external | Treat.restart))
      b.br(again)
    })
  },
)

/**
 * Delivers the exception in `State.faultVector`/`faultErrorCode`; `State.rip` is the faulting instruction. Leaves
 * `State.fault` at none, or a shutdown or device-memory exit by the fault edge. ()
 */
export const deliverException: Procedure = procedure('deliverException', { mayFault: true }, (b) => {
  const vector = b.stateLoad(Access.i32, State.faultVector)
  const code = b.stateLoad(Access.i32, State.faultErrorCode)
  b.stateStore(Access.i32, State.fault, b.const32(Fault.none))
  b.call(deliverSerially, vector, code, b.const32(Treat.external | Treat.restart))
  b.return()
})

/**
 * Delivers an interrupt or trap; `State.rip` is where the interrupted program goes on. (vector, EventKind).
 *
 * Interrupts, NMIs and #DB traps: what goes wrong is delivered too, so only an exit leaves by the fault edge; once
 * delivered, `pendingInterrupt` or `nmiPending` is cleared, and an NMI blocks further ones. Software interrupts: faults
 * leave by the fault edge, as faults of the INT instruction.
 */
export const deliverInterrupt: Procedure = procedure(
  'deliverInterrupt',
  { parameters: [i32, i32], mayFault: true },
  (b, vector, kind) => {
    const is = (value: number): Value => b.i32.eq(kind!, b.const32(value))
    const none = b.const32(-1)
    b.if(is(EventKind.software), () => {
      b.call(deliverEvent, vector!, none, b.const32(Treat.checked))
      b.return()
    })
    b.if(is(EventKind.numbered), () => {
      b.call(deliverEvent, vector!, none, b.const32(Treat.checked | Treat.numbered))
      b.return()
    })
    b.if(is(EventKind.privileged), () => {
      b.call(deliverEvent, vector!, none, b.const32(Treat.external))
      b.return()
    })
    b.call(deliverSerially, vector!, none, b.const32(Treat.external))
    b.if(is(EventKind.external), () => b.stateStore(Access.i32, State.pendingInterrupt, none))
    b.if(is(EventKind.nmi), () => {
      b.stateStore(Access.i32, State.nmiPending, b.const32(0))
      b.stateStore(Access.i32, State.nmiBlocked, b.const32(1))
    })
    b.return()
  },
)

/** #DB after an instruction that ran with TF set: DR6.BS, then delivery with `State.rip` as the next instruction. () */
export const singleStepTrap: Procedure = procedure('singleStepTrap', { mayFault: true }, (b) => {
  const dr6 = b.stateLoad(Access.u64, State.dr + 4 * 8)
  b.call(deliverInterrupt, b.const32(Vector.db), b.const32(EventKind.trap))
  b.stateStore(Access.u64, State.dr + 4 * 8, b.i64.or(dr6, b.const64(0x4000)))
  b.return()
})
