/**
 * The timer of a local APIC: one-shot, periodic and TSC-deadline (SDM volume 3, 11.5.4).
 *
 * The current count is computed from the time that has passed, never counted. Deadlines follow from the registers alone
 * (`#arm`), so that every change of a register and a load end in the same place.
 */
import { MIN_PERIOD_NS, nsOf, ticksOf } from '../clock-ticks.ts'
import type { EventQueue, TimerEvent } from '../event-queue.ts'

/** When the guest's time stamp counter reaches a value. */
export interface TscClock {
  /** Guest time in nanoseconds at which the counter is `tsc` (exact up to 2^53) or, when it is beyond that, a past time. */
  nsAt(tsc: number): number
}

export const TimerMode = { oneShot: 0, periodic: 1, tscDeadline: 2 } as const

export interface LapicTimerOptions {
  readonly id: number
  readonly queue: EventQueue
  /** Frequency that the divide register divides. */
  readonly hz: number
  readonly tsc: TscClock
  /** The timer expired. */
  readonly expire: () => void
}

export class LapicTimer {
  readonly #queue: EventQueue
  readonly #hz: number
  readonly #tsc: TscClock
  readonly #expire: () => void
  readonly #event: TimerEvent
  #mode = 0
  #masked = true
  #initialCount = 0
  #divide = 0
  /** Count that was loaded at `#startNs`. */
  #startCount = 0
  #startNs = 0
  #deadlineLow = 0
  #deadlineHigh = 0

  constructor({ id, queue, hz, tsc, expire }: LapicTimerOptions) {
    this.#queue = queue
    this.#hz = hz
    this.#tsc = tsc
    this.#expire = expire
    this.#event = queue.createEvent(`lapic-${id}-timer`, () => this.#run())
  }

  get initialCount(): number {
    return this.#initialCount
  }

  get divide(): number {
    return this.#divide
  }

  get startCount(): number {
    return this.#startCount
  }

  get elapsedNs(): number {
    return this.#startCount === 0 ? 0 : this.#queue.nowNs() - this.#startNs
  }

  get deadlineLow(): number {
    return this.#deadlineLow
  }

  get deadlineHigh(): number {
    return this.#deadlineHigh
  }

  /** The LVT timer register was written: its mode (bits 17 and 18) and mask. */
  configure(mode: number, masked: boolean): void {
    if ((mode === TimerMode.tscDeadline) !== (this.#mode === TimerMode.tscDeadline)) {
      // A change between deadline and counting mode disarms the timer.
      this.#initialCount = 0
      this.#startCount = 0
      this.#deadlineLow = 0
      this.#deadlineHigh = 0
    } else if (mode !== this.#mode) {
      this.#startCount = this.currentCount()
      this.#startNs = this.#queue.nowNs()
    }
    this.#mode = mode
    this.#masked = masked
    this.#arm()
  }

  /** Writes the initial count, which starts the timer; 0 stops it. Ignored in deadline mode. */
  setInitialCount(count: number): void {
    if (this.#mode === TimerMode.tscDeadline) return
    this.#initialCount = count
    this.#startCount = count
    this.#startNs = this.#queue.nowNs()
    this.#arm()
  }

  setDivide(value: number): void {
    const count = this.currentCount()
    this.#divide = value & 0xb
    this.#startCount = count
    this.#startNs = this.#queue.nowNs()
    this.#arm()
  }

  /** Writes IA32_TSC_DEADLINE; 0 disarms. Ignored outside deadline mode. */
  setDeadline(low: number, high: number): void {
    if (this.#mode !== TimerMode.tscDeadline) return
    this.#deadlineLow = low
    this.#deadlineHigh = high
    this.#arm()
  }

  currentCount(): number {
    if (this.#startCount === 0 || this.#mode === TimerMode.tscDeadline) return 0
    const ticks = this.#ticks()
    if (ticks < this.#startCount) return this.#startCount - ticks
    if (this.#mode !== TimerMode.periodic) return 0
    return this.#initialCount - ((ticks - this.#startCount) % this.#initialCount)
  }

  /** The time stamp counter was set: a deadline falls at another time. */
  rearm(): void {
    this.#arm()
  }

  reset(): void {
    this.#mode = 0
    this.#masked = true
    this.#initialCount = 0
    this.#divide = 0
    this.#startCount = 0
    this.#startNs = 0
    this.#deadlineLow = 0
    this.#deadlineHigh = 0
    this.#arm()
  }

  load(
    mode: number,
    masked: boolean,
    initialCount: number,
    divide: number,
    startCount: number,
    elapsedNs: number,
    deadlineLow: number,
    deadlineHigh: number,
  ): void {
    this.#mode = mode
    this.#masked = masked
    this.#initialCount = initialCount
    this.#divide = divide
    this.#startCount = initialCount === 0 ? 0 : startCount
    this.#startNs = this.#queue.nowNs() - elapsedNs
    this.#deadlineLow = deadlineLow
    this.#deadlineHigh = deadlineHigh
    this.#arm()
  }

  /** Divisor by the divide configuration register: bits 0, 1 and 3; 111 means 1. */
  #divisor(): number {
    const code = (this.#divide & 3) | ((this.#divide & 8) >> 1)
    return code === 7 ? 1 : 2 << code
  }

  #ticks(): number {
    return Math.floor(ticksOf(this.#queue.nowNs() - this.#startNs, this.#hz) / this.#divisor())
  }

  /** Schedules the next expiry, by what the registers say now. */
  #arm(): void {
    const deadlineNs = this.#nextDeadlineNs()
    if (deadlineNs === Infinity) this.#queue.cancel(this.#event)
    else this.#queue.schedule(this.#event, deadlineNs)
  }

  #nextDeadlineNs(): number {
    if (this.#mode === TimerMode.tscDeadline) {
      if (this.#deadlineLow === 0 && this.#deadlineHigh === 0) return Infinity
      return this.#tsc.nsAt(this.#deadlineHigh * 0x1_0000_0000 + this.#deadlineLow)
    }
    if (this.#startCount === 0 || this.#masked) return Infinity
    const ticks = this.#ticks()
    const divisor = this.#divisor()
    if (ticks < this.#startCount) return this.#startNs + nsOf(this.#startCount * divisor, this.#hz)
    if (this.#mode !== TimerMode.periodic) return Infinity
    // Periods that are too short are taken several at a time. Which ones follows from the registers, not from the moment
    // of asking, so that a load changes nothing.
    const periodNs = nsOf(this.#initialCount * divisor, this.#hz)
    const stride = Math.ceil(MIN_PERIOD_NS / Math.max(periodNs, 1))
    const passed = Math.floor((ticks - this.#startCount) / this.#initialCount)
    const periods = (Math.floor(passed / stride) + 1) * stride
    return this.#startNs + nsOf((this.#startCount + periods * this.#initialCount) * divisor, this.#hz)
  }

  #run(): void {
    if (this.#mode === TimerMode.tscDeadline) {
      this.#deadlineLow = 0
      this.#deadlineHigh = 0
    } else if (this.#mode === TimerMode.periodic) {
      // Rounding could give the deadline that just passed once more.
      const least = this.#queue.nowNs() + 1
      this.#queue.schedule(this.#event, Math.max(this.#nextDeadlineNs(), least))
    } else this.#startCount = 0
    this.#expire()
  }
}
