/**
 * Delivery of exceptions and interrupts through the 64-bit IDT (SDM volume 3, 6.14; the operation of INT n in volume 2).
 *
 * `State.rip` is the return address that goes into the frame: the faulting instruction for faults, the next one for
 * traps and interrupts. Everything that may fault comes before the first change of a register, so a delivery that
 * fails or exits can be repeated; the frame itself may then have been written more than once.
 *
 * Not done: gates outside IA-32e mode, task gates, shadow stacks.
 */
import { type Builder, Privilege, type Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { Fault, Flag, Segment, SegmentField, State, segmentOffset, Vector } from '../state-layout.ts'
import { bit, bitField, bitField32, notCanonical } from './bit-field.ts'
import {
  baseOf,
  currentPrivilege,
  DescriptorBit,
  descriptorPrivilege,
  isCode,
  isNull,
  markAccessed,
  readDescriptor,
  selectorIndex,
  selectorOf,
  storeNullSegment,
  storeSegment,
} from './descriptor.ts'
import { modeChanged } from './engine.ts'
import { ExitReason } from './exit-reason.ts'
import { readFlags } from './flags.ts'

const { i32, i64 } = Type

/** Where an event comes from. */
export const EventKind = {
  /** An interrupt controller. */
  external: 0,
  nmi: 1,
  /** INT n, INT3, INTO: the gate's DPL is checked. */
  software: 2,
  /** INT1: a trap that checks no DPL. */
  privileged: 3,
  /** #DB after an instruction. */
  trap: 4,
} as const

/** How `deliverEvent` treats an event. */
const Treat = {
  /** Error codes of nested faults have EXT set. */
  external: 1,
  /** The gate's DPL must allow the CPL. */
  checked: 2,
  /** RF is set in the frame: a fault. */
  restart: 4,
} as const

const RSP = State.gpr + 4 * 8
const TSS_RSP0 = 4
/** IST1 is at 36. */
const TSS_IST = 36 - 8

/** Delivers one event. (vector, error code or -1, Treat bits). Faults of the delivery leave by the fault edge. */
const deliverEvent: Procedure = procedure(
  'deliverEvent',
  { parameters: [i32, i32, i32], mayFault: true },
  (b, vector, errorCode, treat) => {
    const external = b.i32.and(treat!, b.const32(Treat.external))
    const cpl = currentPrivilege(b)

    // The gate.
    const gateError = b.i32.or(b.i32.or(b.i32.shl(vector!, b.const32(3)), b.const32(2)), external)
    const gateOffset = b.i32.shl(vector!, b.const32(4))
    b.if(b.i32.gtU(b.i32.or(gateOffset, b.const32(15)), b.stateLoad(Access.i32, State.idtrLimit)), () =>
      b.raise(Vector.gp, gateError),
    )
    const gateAddress = b.i64.add(b.stateLoad(Access.u64, State.idtrBase), b.i64.extendI32U(gateOffset))
    const gate = b.guestLoad(Access.u64, gateAddress, Privilege.supervisor)
    const gateHigh = b.guestLoad(Access.u64, b.i64.add(gateAddress, b.const64(8)), Privilege.supervisor)
    const type = bitField32(b, gate, 40, 5)
    b.if(b.i32.ne(b.i32.or(type, b.const32(1)), b.const32(0xf)), () => b.raise(Vector.gp, gateError))
    b.if(
      b.i32.and(
        b.i32.ne(b.i32.and(treat!, b.const32(Treat.checked)), b.const32(0)),
        b.i32.ltU(bitField32(b, gate, 45, 2), cpl),
      ),
      () => b.raise(Vector.gp, gateError),
    )
    b.if(b.i32.eqz(bit(b, gate, 47)), () => b.raise(Vector.np, gateError))

    // The code segment.
    const selector = bitField32(b, gate, 16, 16)
    b.if(isNull(b, selector), () => b.raise(Vector.gp, external))
    const selectorError = b.i32.or(selectorIndex(b, selector), external)
    const descriptor = b.call(readDescriptor, selector, selectorError)
    const dpl = descriptorPrivilege(b, descriptor)
    const long = b.i32.eq(bitField32(b, descriptor, DescriptorBit.long, 2), b.const32(1))
    b.if(b.i32.eqz(b.i32.and(b.i32.and(isCode(b, descriptor), b.i32.leU(dpl, cpl)), long)), () =>
      b.raise(Vector.gp, selectorError),
    )
    b.if(b.i32.eqz(bit(b, descriptor, DescriptorBit.present)), () => b.raise(Vector.np, selectorError))
    const privilege = b.select(bit(b, descriptor, DescriptorBit.conforming), cpl, dpl)
    const changes = b.i32.ne(privilege, cpl)

    // The stack.
    const stack = b.local(i64, b.stateLoad(Access.u64, RSP))
    const ist = bitField32(b, gate, 32, 3)
    b.if(b.i32.or(ist, changes), () => {
      const offset = b.select(
        ist,
        b.i32.add(b.i32.shl(ist, b.const32(3)), b.const32(TSS_IST)),
        b.i32.add(b.i32.shl(privilege, b.const32(3)), b.const32(TSS_RSP0)),
      )
      b.if(
        b.i32.gtU(
          b.i32.add(offset, b.const32(7)),
          b.stateLoad(Access.i32, segmentOffset(Segment.tr, SegmentField.limit)),
        ),
        () => b.raise(Vector.ts, b.i32.or(selectorIndex(b, selectorOf(b, Segment.tr)), external)),
      )
      const address = b.i64.add(baseOf(b, Segment.tr), b.i64.extendI32U(offset))
      b.set(stack, b.guestLoad(Access.u64, address, Privilege.supervisor))
    })
    b.if(notCanonical(b, b.get(stack)), () => b.raise(Vector.ss, external))
    const target = b.i64.or(
      b.i64.or(bitField(b, gate, 0, 16), b.i64.shl(bitField(b, gate, 48, 16), b.const64(16))),
      b.i64.shl(gateHigh, b.const64(32)),
    )
    b.if(notCanonical(b, target), () => b.raise(Vector.gp, external))

    // The frame.
    const hasCode = b.i32.ne(errorCode!, b.const32(-1))
    const top = b.i64.and(b.get(stack), b.const64(-16))
    const flags = b.call(readFlags)
    const image = b.i64.or(
      flags,
      b.select(b.i32.and(treat!, b.const32(Treat.restart)), b.const64(Flag.rf), b.const64(0)),
    )
    const frame = [
      b.i64.extendI32U(selectorOf(b, Segment.ss)),
      b.stateLoad(Access.u64, RSP),
      image,
      b.i64.extendI32U(selectorOf(b, Segment.cs)),
      b.stateLoad(Access.u64, State.rip),
    ]
    const push = (rights: Privilege): void => {
      frame.forEach((value, index) => {
        b.guestStore(Access.u64, b.i64.sub(top, b.const64(8 * (index + 1))), value, rights)
      })
      b.if(hasCode, () =>
        b.guestStore(Access.u64, b.i64.sub(top, b.const64(48)), b.i64.extendI32U(errorCode!), rights),
      )
    }
    // Ring 3 only reaches itself: then the access is a user's.
    b.if(
      b.i32.eq(privilege, b.const32(3)),
      () => push(Privilege.current),
      () => push(Privilege.supervisor),
    )
    markAccessed(b, selector, descriptor)

    // From here on nothing faults.
    b.stateStore(Access.u64, RSP, b.i64.sub(top, b.select(hasCode, b.const64(48), b.const64(40))))
    b.call(storeSegment, b.const32(Segment.cs), b.i32.or(selectorIndex(b, selector), privilege), descriptor)
    const isTrapGate = b.i32.and(type, b.const32(1))
    const cleared = b.select(
      isTrapGate,
      b.const64(~(Flag.tf | Flag.nt | Flag.rf | Flag.vm)),
      b.const64(~(Flag.tf | Flag.nt | Flag.rf | Flag.vm | Flag.if)),
    )
    b.stateStore(Access.u64, State.rflags, b.i64.and(b.stateLoad(Access.u64, State.rflags), cleared))
    b.stateStore(Access.u64, State.rip, target)
    b.stateStore(Access.i32, State.halted, b.const32(0))
    b.stateStore(Access.i32, State.interruptShadow, b.const32(0))
    b.if(b.i32.eq(vector!, b.const32(Vector.db)), () => {
      // General-detect is switched off for the handler.
      const dr7 = b.stateLoad(Access.u64, State.dr + 5 * 8)
      b.stateStore(Access.u64, State.dr + 5 * 8, b.i64.and(dr7, b.const64(~0x2000)))
    })
    b.if(changes, () => {
      b.call(storeNullSegment, b.const32(Segment.ss), privilege, privilege)
      b.stateStore(Access.i32, State.cpl, privilege)
      b.call(modeChanged)
    })
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
