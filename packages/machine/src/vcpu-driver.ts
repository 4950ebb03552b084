/**
 * Drives one vCPU: runs it in slices, answers its exits from the board, injects interrupts, lets timers expire.
 *
 * Nothing here waits: a slice ends after at most about 1.5 ms, and says what its caller is to do next. An instruction
 * that left with an access is always completed before a slice ends, so between slices the vCPU can be saved.
 *
 * Real time: a budget of instructions is the time until the next deadline or the slice's end, at the speed that was
 * measured. Virtual time: one instruction is one nanosecond and budgets are exact; interrupts are looked at only at
 * deadlines, exits and multiples of `VIRTUAL_STEP`, so how a run is cut into slices, which depends on the host's speed,
 * changes nothing.
 */
import type { Clock } from '@trapframe/core'
import { ExitReason, type Vcpu } from '@trapframe/cpu'
import type { BuiltBoard, Processor } from './board/board.ts'
import type { DeviceClock } from './device-clock.ts'

/** Why a slice ended. */
export const SliceEnd = {
  /** The time is up: yield, and go on. */
  yield: 0,
  /** Halted until `wakeAtNs` (guest time, may be Infinity) or until something arrives from outside. */
  idle: 1,
  /** `stopRequested` answered true. */
  request: 2,
  /** Triple fault. */
  shutdown: 3,
  /** The vCPU cannot go on. */
  unsupported: 4,
  /** Halted with interrupts off: for ever. */
  halted: 5,
  /** A breakpoint. */
  breakpoint: 6,
  /** A single step was completed. */
  step: 7,
} as const
export type SliceEnd = (typeof SliceEnd)[keyof typeof SliceEnd]

/** Length of a slice. Event loops are to turn every 2 ms; what a slice overruns must fit in between. */
const SLICE_NS = 1_500_000
/** Assumed before the first measurement: 20 million instructions a second. */
const FIRST_SPEED = 0.02
/** Fewer instructions at a time are not worth the entry. */
const MIN_INSTRUCTIONS = 64
/** Rest of a slice that is not worth being used. */
const SLICE_REST_NS = 20_000
const VIRTUAL_STEP = 2 ** 20
const RFLAGS_IF = 1n << 9n

/** The last exit, for reports. */
export interface LastExit {
  readonly reason: ExitReason
  /** Port, guest-physical address or MSR number. */
  readonly address: number
  readonly sizeBytes: number
  /** Low 32 bits. */
  readonly value: number
}

export interface VcpuDriverOptions {
  readonly vcpu: Vcpu
  readonly board: BuiltBoard
  readonly processor: Processor
  /** The clock of the board's devices. */
  readonly deviceClock: DeviceClock
  /** The host's clock: when to yield. */
  readonly hostClock: Clock
  readonly virtualTime: boolean
  /** Whether the machine wants the slice to end. */
  stopRequested(): boolean
}

export class VcpuDriver {
  /** After `idle`: when the next timer is due, in guest time. */
  wakeAtNs: number = Infinity
  readonly #vcpu: Vcpu
  readonly #board: BuiltBoard
  readonly #processor: Processor
  readonly #deviceClock: DeviceClock
  readonly #hostClock: Clock
  readonly #virtual: boolean
  readonly #stopRequested: () => boolean
  readonly #exits = new Float64Array(Object.keys(ExitReason).length)
  readonly #lastExit = { reason: ExitReason.budget as ExitReason, address: 0, sizeBytes: 0, value: 0 }
  /** Instructions per nanosecond of host time. */
  #speed = FIRST_SPEED
  #taskPriority = 0
  /** Input from outside: interrupts are to be looked at. */
  #attention = true
  #windowWanted = false
  #slices = 0
  #interrupts = 0
  #idleNs = 0

  constructor(options: VcpuDriverOptions) {
    this.#vcpu = options.vcpu
    this.#board = options.board
    this.#processor = options.processor
    this.#deviceClock = options.deviceClock
    this.#hostClock = options.hostClock
    this.#virtual = options.virtualTime
    this.#stopRequested = () => options.stopRequested()
  }

  get lastExit(): LastExit {
    return { ...this.#lastExit }
  }

  /** Something happened outside of `run` that may have made an interrupt pending, or changed the vCPU's state. */
  attend(): void {
    this.#attention = true
  }

  /** The vCPU and the board were reset or loaded. */
  restarted(): void {
    this.#taskPriority = this.#vcpu.taskPriority
    this.#processor.taskPriority = this.#taskPriority
    this.#wantWindow(false)
    this.#attention = true
    this.wakeAtNs = Infinity
  }

  /** Counters: exits by reason, interrupts, slices, idle time of virtual time. */
  metrics(): Record<string, number> {
    const counts: Record<string, number> = {
      slices: this.#slices,
      'interrupts-injected': this.#interrupts,
      'instructions-retired': this.#vcpu.instructionsRetired,
      'speed-mips': Math.round(this.#speed * 1000),
    }
    if (this.#virtual) counts['idle-ns'] = this.#idleNs
    for (const [name, reason] of Object.entries(ExitReason)) {
      const key = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
      counts[`exits-${key}`] = this.#exits[reason]!
    }
    return counts
  }

  /** Runs for about 1.5 ms of host time. */
  slice(): SliceEnd {
    const vcpu = this.#vcpu
    const startNs = this.#hostClock.nowNs()
    const startRetired = vcpu.instructionsRetired
    this.#slices++
    const end = this.#run(startNs)
    this.#deviceClock.release()
    const elapsedNs = this.#hostClock.nowNs() - startNs
    if (elapsedNs > SLICE_NS / 8) {
      const measured = (vcpu.instructionsRetired - startRetired) / elapsedNs
      // A slice of nothing but I/O is slow and says little: approach its speed, but never give up on large budgets.
      const bounded = Math.min(Math.max(measured, this.#speed / 4), this.#speed * 4)
      this.#speed = Math.min(Math.max((this.#speed + bounded) / 2, 0.001), 10)
    }
    return end
  }

  #run(startNs: number): SliceEnd {
    const vcpu = this.#vcpu
    const { events } = this.#board
    const sliceEndNs = startNs + SLICE_NS
    for (;;) {
      const nowNs = this.#runDue()
      if (this.#stopRequested()) return SliceEnd.request
      if (this.#attention) {
        this.#attention = false
        this.#offerInterrupts()
      }
      const hostNs = this.#hostClock.nowNs()
      if (hostNs >= sliceEndNs - SLICE_REST_NS) return SliceEnd.yield
      const earliestNs = events.earliestNs()
      const instructions = this.#budget(nowNs, earliestNs, sliceEndNs - hostNs)
      const reason = this.#enter(instructions)
      switch (reason) {
        case ExitReason.budget:
          // In virtual time only what the guest's clock says may matter, not where a slice was cut.
          if (!this.#virtual || vcpu.nowNs() % VIRTUAL_STEP === 0) this.#attention = true
          break
        case ExitReason.kicked:
        case ExitReason.interruptWindow:
          this.#attention = true
          break
        case ExitReason.halted: {
          const end = this.#halted()
          if (end !== undefined) return end
          break
        }
        case ExitReason.shutdown:
          return SliceEnd.shutdown
        case ExitReason.debug:
          return vcpu.exit.value === 1 ? SliceEnd.breakpoint : SliceEnd.step
        case ExitReason.unsupported:
          return SliceEnd.unsupported
      }
      if (this.#stopRequested()) return SliceEnd.request
    }
  }

  /**
   * Executes one instruction. No interrupt is offered and no timer expires meanwhile, so that a debugger does not land
   * in an interrupt handler at every step.
   */
  step(): SliceEnd {
    const vcpu = this.#vcpu
    if (this.#windowWanted) this.#wantWindow(false)
    this.#attention = true
    vcpu.debug.singleStep = true
    try {
      switch (this.#enter(1)) {
        case ExitReason.shutdown:
          return SliceEnd.shutdown
        case ExitReason.unsupported:
          return SliceEnd.unsupported
        case ExitReason.debug:
          return vcpu.exit.value === 1 ? SliceEnd.breakpoint : SliceEnd.step
        default:
          return SliceEnd.step
      }
    } finally {
      this.#deviceClock.release()
      vcpu.debug.singleStep = false
    }
  }

  /**
   * Runs and answers accesses until an exit that is none: then no instruction is half done. An access may schedule a
   * timer earlier than the budget knows, so what follows it is the rest of that one instruction only.
   */
  #enter(instructions: number): ExitReason {
    const vcpu = this.#vcpu
    let budget = instructions
    for (;;) {
      const reason = vcpu.run(budget)
      this.#exits[reason]!++
      const tpr = vcpu.taskPriority
      if (tpr !== this.#taskPriority) this.#priorityFromVcpu(tpr)
      if (reason === ExitReason.budget || reason === ExitReason.kicked) return reason
      this.#note(reason)
      if (!this.#answer(reason)) return reason
      this.#attention = true
      const priority = this.#processor.taskPriority
      if (priority !== this.#taskPriority) {
        this.#taskPriority = priority
        vcpu.taskPriority = priority
      }
      budget = 1
    }
  }

  /** Performs the access that an exit asks for, or answers false for another kind of exit. */
  #answer(reason: ExitReason): boolean {
    if (reason < ExitReason.pioRead || reason > ExitReason.msrWrite) return false
    const { exit } = this.#vcpu
    this.#runDue()
    switch (reason) {
      case ExitReason.pioRead:
        this.#board.pio.readAccess(exit)
        break
      case ExitReason.pioWrite:
        this.#board.pio.writeAccess(exit)
        break
      case ExitReason.mmioRead:
        this.#processor.readMmio(exit)
        break
      case ExitReason.mmioWrite:
        this.#processor.writeMmio(exit)
        break
      case ExitReason.msrRead:
        this.#processor.readMsr(exit)
        break
      case ExitReason.msrWrite:
        this.#processor.writeMsr(exit)
        break
    }
    return true
  }

  /** Brings the devices to the present: their clock, and the timers that are due by it. */
  #runDue(): number {
    const { events } = this.#board
    const nowNs = this.#deviceClock.hold()
    if (nowNs >= events.earliestNs()) {
      events.runDue(nowNs)
      this.#attention = true
    }
    return nowNs
  }

  #note(reason: ExitReason): void {
    const exit = this.#vcpu.exit
    this.#lastExit.reason = reason
    this.#lastExit.address = exit.address
    this.#lastExit.sizeBytes = exit.sizeBytes
    this.#lastExit.value = exit.value
  }

  #priorityFromVcpu(tpr: number): void {
    this.#taskPriority = tpr
    this.#processor.taskPriority = tpr
    this.#attention = true
  }

  /** Most instructions to run now. */
  #budget(nowNs: number, earliestNs: number, sliceRestNs: number): number {
    const atSpeed = Math.max(Math.ceil(sliceRestNs * this.#speed), MIN_INSTRUCTIONS)
    if (this.#virtual) {
      const step = (Math.floor(nowNs / VIRTUAL_STEP) + 1) * VIRTUAL_STEP
      return Math.max(Math.min(Math.ceil(Math.min(earliestNs, step) - nowNs), atSpeed), 1)
    }
    if (earliestNs === Infinity) return atSpeed
    return Math.min(Math.max(Math.ceil((earliestNs - nowNs) * this.#speed), MIN_INSTRUCTIONS), atSpeed)
  }

  /** Gives a pending NMI or interrupt to the vCPU, or asks to be told when it can take one. */
  #offerInterrupts(): void {
    const vcpu = this.#vcpu
    const processor = this.#processor
    if (processor.takeNmi()) vcpu.injectNmi()
    if (processor.pending() < 0) {
      if (this.#windowWanted) this.#wantWindow(false)
      return
    }
    if (vcpu.interruptible) {
      vcpu.injectInterrupt(processor.acknowledge())
      this.#interrupts++
      // Another one may be waiting behind it, in a higher class than the one now in service.
      if (processor.pending() >= 0) this.#wantWindow(true)
      else if (this.#windowWanted) this.#wantWindow(false)
    } else if (!this.#windowWanted) this.#wantWindow(true)
  }

  #wantWindow(wanted: boolean): void {
    this.#windowWanted = wanted
    this.#vcpu.requestInterruptWindow(wanted)
  }

  /** The vCPU executed HLT. Answers how the slice ends, or undefined to go on. */
  #halted(): SliceEnd | undefined {
    const vcpu = this.#vcpu
    const { events } = this.#board
    const nowNs = this.#deviceClock.hold()
    // What became pending meanwhile wakes it up at once.
    this.#attention = true
    if (this.#processor.pending() >= 0 && vcpu.interruptible) return undefined
    const earliestNs = events.earliestNs()
    if (earliestNs <= nowNs) return undefined
    if (!vcpu.interruptible) {
      const { rflags, events: pending } = vcpu.save()
      if ((rflags & RFLAGS_IF) === 0n && !pending.nmiPending) return SliceEnd.halted
    }
    if (this.#virtual && earliestNs < Infinity) {
      const skippedNs = Math.ceil(earliestNs - nowNs)
      this.#idleNs += skippedNs
      vcpu.skipTimeNs(skippedNs)
      return undefined
    }
    this.wakeAtNs = earliestNs
    return SliceEnd.idle
  }
}
