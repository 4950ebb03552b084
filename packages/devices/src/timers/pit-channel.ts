/**
 * One counter of an 8254 (Intel 8254 data sheet, "Operational description"). Count and output are computed from the
 * ticks since the count was loaded; nothing runs. Ticks count from the write of the count (modes 0, 2, 3, 4) or from
 * the trigger (modes 1, 5); the first one loads the counting element.
 */
import type { Clock } from '@trapframe/core'
import type { PitChannelState } from '@trapframe/cpu'
import { nsOf, ticksOf } from '../clock-ticks.ts'
import type { StateReader } from '../state-reader.ts'

export const PIT_HZ = 1_193_182

export class PitChannel {
  readonly #clock: Clock
  #mode = 0
  #bcd = false
  #access = 3
  #reload = 0
  #nextReload = 0
  #gate: boolean
  #loaded = false
  #startNs = 0
  /** Ticks from `#startNs` to the start of the period that has the present count. */
  #passedTicks = 0
  #stoppedTicks: number | null = null
  #writeLow: number | null = null
  #readHigh = false
  #latchedCount: number | null = null
  #latchedStatus: number | null = null

  constructor(clock: Clock, gate: boolean) {
    this.#clock = clock
    this.#gate = gate
  }

  get gate(): boolean {
    return this.#gate
  }

  get mode(): number {
    return this.#mode
  }

  /** Counts periods without end, once started. */
  get periodic(): boolean {
    return this.#mode === 2 || this.#mode === 3
  }

  /** Control word for this channel: `access` 1 to 3, `mode` 0 to 5. */
  control(access: number, mode: number, bcd: boolean): void {
    this.#access = access
    this.#mode = mode
    this.#bcd = bcd
    this.#loaded = false
    this.#reload = 0
    this.#nextReload = 0
    this.#stoppedTicks = null
    this.#writeLow = null
    this.#readHigh = false
    this.#latchedCount = null
    this.#latchedStatus = null
  }

  latchCount(): void {
    if (this.#latchedCount === null) this.#latchedCount = this.count()
  }

  latchStatus(): void {
    if (this.#latchedStatus !== null) return
    const nullCount = !this.#loaded || this.#nextReload !== 0 || this.#ticks() < 1
    this.#latchedStatus =
      (this.output() ? 0x80 : 0) |
      (nullCount ? 0x40 : 0) |
      (this.#access << 4) |
      (this.#mode << 1) |
      Number(this.#bcd)
  }

  /** Reads a byte of status or count. */
  read(): number {
    if (this.#latchedStatus !== null) {
      const status = this.#latchedStatus
      this.#latchedStatus = null
      return status
    }
    const count = this.#latchedCount ?? this.count()
    const high = this.#access === 2 || (this.#access === 3 && this.#readHigh)
    if (this.#access === 3) this.#readHigh = !this.#readHigh
    if (this.#access !== 3 || high) this.#latchedCount = null
    return high ? count >>> 8 : count & 0xff
  }

  /** Writes a byte of the count. */
  write(value: number): void {
    if (this.#access === 1) this.#setCount(value)
    else if (this.#access === 2) this.#setCount(value << 8)
    else if (this.#writeLow === null) {
      this.#writeLow = value
      // In mode 0 the first of two bytes stops the count.
      if (this.#mode === 0) this.#loaded = false
    } else {
      const low = this.#writeLow
      this.#writeLow = null
      this.#setCount(low | (value << 8))
    }
  }

  setGate(level: boolean): void {
    if (level === this.#gate) return
    this.#settle()
    const ticks = this.#loaded ? this.#ticks() : 0
    this.#gate = level
    if (!level) {
      // Modes 1 and 5 go on with a low gate.
      if (this.#loaded && this.#mode !== 1 && this.#mode !== 5) this.#stoppedTicks = ticks
      return
    }
    switch (this.#mode) {
      case 0:
      case 4:
        if (this.#stoppedTicks !== null) this.#resume(this.#stoppedTicks)
        break
      case 1:
      case 5:
        if (this.#reload !== 0) this.#start()
        break
      default:
        if (this.#loaded) this.#start()
    }
  }

  /** OUT pin. */
  output(): boolean {
    this.#settle()
    if (!this.#loaded) return this.#mode !== 0
    const ticks = this.#ticks()
    const n = this.#reload
    switch (this.#mode) {
      case 0:
      case 1:
        return ticks > n
      case 2:
        return !this.#gate || ticks < 1 || (ticks - 1) % n !== n - 1
      case 3:
        return !this.#gate || ticks < 1 || (ticks - 1) % n < (n + 1) >>> 1
      default:
        return ticks !== n + 1
    }
  }

  /** The count as a read gives it. */
  count(): number {
    this.#settle()
    const n = this.#reload
    let value = n
    if (this.#loaded) {
      const ticks = this.#ticks() - 1
      const modulus = this.#bcd ? 10_000 : 0x1_0000
      if (ticks < 0) value = n
      else if (this.#mode === 2) value = n - (ticks % n)
      else if (this.#mode === 3) {
        const phase = ticks % n
        const half = (n + 1) >>> 1
        value = (n & ~1) - 2 * (phase < half ? phase : phase - half)
        if (value <= 0) value = n & ~1
      } else value = (((n - ticks) % modulus) + modulus) % modulus
    }
    return this.#bcd ? toBcd(value % 10_000) : value & 0xffff
  }

  /**
   * When OUT rises next, as the interrupt of channel 0 sees it, in nanoseconds of the clock; Infinity when it never
   * does by itself.
   */
  nextRiseNs(): number {
    this.#settle()
    if (!this.#loaded || this.#stoppedTicks !== null) return Infinity
    const n = this.#reload
    const ticks = this.#ticks()
    let rise: number
    switch (this.#mode) {
      case 0:
      case 1:
        rise = n + 1
        break
      case 2:
      case 3:
        // The reload ends a period: tick 1 loads, so periods end at 1 + k n.
        rise = 1 + (ticks < 1 ? 1 : Math.floor((ticks - 1) / n) + 1) * n
        break
      default:
        rise = n + 2
    }
    return ticks >= rise ? Infinity : this.#startNs + nsOf(this.#passedTicks + rise, PIT_HZ)
  }

  save(): PitChannelState {
    this.#settle()
    return {
      mode: this.#mode,
      bcd: this.#bcd,
      access: this.#access,
      reload: this.#reload,
      nextReload: this.#nextReload,
      gate: this.#gate,
      loaded: this.#loaded,
      elapsedNs: this.#loaded && this.#stoppedTicks === null ? this.#clock.nowNs() - this.#startNs : 0,
      passedTicks: this.#loaded && this.#stoppedTicks === null ? this.#passedTicks : 0,
      stoppedTicks: this.#stoppedTicks,
      writeLow: this.#writeLow,
      readHigh: this.#readHigh,
      latchedCount: this.#latchedCount,
      latchedStatus: this.#latchedStatus,
    }
  }

  load(state: PitChannelState): void {
    this.#mode = state.mode
    this.#bcd = state.bcd
    this.#access = state.access
    this.#reload = state.reload
    this.#nextReload = state.nextReload
    this.#gate = state.gate
    this.#loaded = state.loaded
    this.#startNs = this.#clock.nowNs() - state.elapsedNs
    this.#passedTicks = state.passedTicks
    this.#stoppedTicks = state.stoppedTicks
    this.#writeLow = state.writeLow
    this.#readHigh = state.readHigh
    this.#latchedCount = state.latchedCount
    this.#latchedStatus = state.latchedStatus
  }

  #setCount(raw: number): void {
    const value = this.#bcd ? fromBcd(raw) : raw
    // Zero stands for the largest count; 1 is illegal in mode 2 and 3 and would be a period without an edge.
    let count = value === 0 ? (this.#bcd ? 10_000 : 0x1_0000) : value
    if (this.periodic && count === 1) count = 2
    if (this.periodic && this.#loaded && this.#stoppedTicks === null) {
      // The new count takes effect when the current period ends, so ticks count from the start of that one now. (In
      // mode 3 the chip changes at the half period already.)
      this.#settle()
      const periods = Math.floor((this.#ticks() - 1) / this.#reload)
      if (periods > 0) this.#passedTicks += periods * this.#reload
      this.#nextReload = count
      return
    }
    this.#reload = count
    if (this.#mode === 1 || this.#mode === 5) return
    this.#start()
    if (!this.#gate) this.#stoppedTicks = 0
  }

  #start(): void {
    if (this.#nextReload !== 0) {
      this.#reload = this.#nextReload
      this.#nextReload = 0
    }
    this.#loaded = true
    this.#stoppedTicks = null
    this.#passedTicks = 0
    this.#startNs = this.#clock.nowNs()
  }

  #resume(ticks: number): void {
    this.#stoppedTicks = null
    this.#passedTicks = 0
    this.#startNs = this.#clock.nowNs() - nsOf(ticks, PIT_HZ)
  }

  /** Takes over a count that was written during a period, once that is over. */
  #settle(): void {
    if (this.#nextReload === 0 || this.#stoppedTicks !== null) return
    // Tick 1 loaded the count, so the period ends one tick after `#reload`.
    if (this.#ticks() <= this.#reload) return
    this.#passedTicks += this.#reload
    this.#reload = this.#nextReload
    this.#nextReload = 0
  }

  #ticks(): number {
    return this.#stoppedTicks ?? ticksOf(this.#clock.nowNs() - this.#startNs, PIT_HZ) - this.#passedTicks
  }
}

/** Reads a saved channel and checks it. */
export function readPitChannel(reader: StateReader): PitChannelState {
  const optional = (key: string, max: number): number | null => {
    return reader.optionalNumber(key) === null ? null : reader.integer(key, 0, max)
  }
  const mode = reader.integer('mode', 0, 5)
  const loaded = reader.bool('loaded')
  return {
    mode,
    bcd: reader.bool('bcd'),
    access: reader.integer('access', 1, 3),
    reload: reader.integer('reload', loaded ? (mode === 2 || mode === 3 ? 2 : 1) : 0, 0x1_0000),
    nextReload: reader.integer('nextReload', 0, 0x1_0000),
    gate: reader.bool('gate'),
    loaded,
    elapsedNs: Math.max(0, reader.number('elapsedNs')),
    passedTicks: reader.integer('passedTicks', 0, 2 ** 52),
    stoppedTicks: optional('stoppedTicks', 2 ** 52),
    writeLow: optional('writeLow', 0xff),
    readHigh: reader.bool('readHigh'),
    latchedCount: optional('latchedCount', 0xffff),
    latchedStatus: optional('latchedStatus', 0xff),
  }
}

function toBcd(value: number): number {
  return (
    (Math.floor(value / 1000) << 12) |
    ((Math.floor(value / 100) % 10) << 8) |
    ((Math.floor(value / 10) % 10) << 4) |
    (value % 10)
  )
}

/** Digits above 9 count as their value, so any 16 bits give a number. */
function fromBcd(value: number): number {
  const digits = (value >>> 12) * 1000 + ((value >>> 8) & 15) * 100 + ((value >>> 4) & 15) * 10 + (value & 15)
  return digits % 10_000
}
