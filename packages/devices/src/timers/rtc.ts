/**
 * Real-time clock and CMOS memory: MC146818 (Motorola data sheet) at ports 0x70 and 0x71, with 128 bytes.
 *
 * The time begins at the wall clock's and runs with guest time. Time registers, update-in-progress and the interrupt
 * flags are computed when they are read; events exist only while their interrupts are enabled. Update in progress shows
 * for the last 244 microseconds of each second.
 */
import { requireVersion, StateError, type StateSection, type WallClock } from '@trapframe/core'
import { nsOf, ticksOf } from '../clock-ticks.ts'
import type { Device, IoRange } from '../device.ts'
import type { EventQueue, TimerEvent } from '../event-queue.ts'
import type { IrqLine } from '../irq-line.ts'
import { StateReader } from '../state-reader.ts'
import { Clock, decodeHours, decodeSixty, readCalendar, writeCalendar } from './rtc-calendar.ts'

const CMOS_BYTES = 128
const CRYSTAL_HZ = 32_768
const SECOND_NS = 1e9
const UPDATE_NS = 244_000
const DAY_SECONDS = 86_400

const Register = { a: 0x0a, b: 0x0b, c: 0x0c, d: 0x0d } as const
const A_UIP = 0x80
const B_SET = 0x80
/** Interrupt enables of register B and flags of register C are the same bits. */
const Flag = { periodic: 0x40, alarm: 0x20, update: 0x10 } as const
const C_IRQ = 0x80
const D_VALID = 0x80

/** What an RTC is connected to. */
export interface RtcOptions {
  /** Guest time, by which the clock runs. */
  readonly queue: EventQueue
  /** Interrupt 8. */
  readonly irq: IrqLine
  /** Where the date begins; asked once. */
  readonly wallClock: WallClock
  /** Sizes of guest RAM below and from 4 GiB up, for the CMOS bytes where firmware leaves them. Default: none. */
  readonly lowBytes?: number
  /** RAM from 4 GiB up. */
  readonly highBytes?: number
}

/** Saved state of clock and CMOS memory. */
export type RtcState = {
  /** Register that port 0x71 shows. */
  readonly index: number
  /** All 128 bytes; those of the time are not used. */
  readonly cmos: Uint8Array
  /** Seconds since 1970 now, and nanoseconds since that second began. */
  readonly seconds: number
  readonly phaseNs: number
  /** Time since the periodic rate was chosen. */
  readonly periodicElapsedNs: number
}

/** The clock. */
export interface Rtc extends Device {
  readonly state: StateSection<RtcState>
}

/** Makes an RTC that shows the date of `wallClock`. */
export function createRtc(options: RtcOptions): Rtc {
  return new Mc146818(options)
}

class Mc146818 implements Rtc {
  readonly id = 'rtc'
  readonly pio: readonly IoRange[]
  readonly state: StateSection<RtcState>
  readonly metrics: { read(): Readonly<Record<string, number>> }
  readonly #queue: EventQueue
  readonly #irq: IrqLine
  readonly #event: TimerEvent
  readonly #cmos = new Uint8Array(CMOS_BYTES)
  #index = 0
  /** Guest time at which `#baseSeconds` began. */
  #baseNs: number
  #baseSeconds: number
  /** Guest time up to which the flags of register C are known. */
  #checkedNs: number
  /** Guest time from which periods count. */
  #periodicNs: number
  #interrupts = 0

  constructor(options: RtcOptions) {
    this.#queue = options.queue
    this.#irq = options.irq
    this.#event = options.queue.createEvent('rtc', () => this.#follow())
    const unixMs = Math.max(0, options.wallClock.nowMs())
    const nowNs = options.queue.nowNs()
    this.#baseSeconds = Math.floor(unixMs / 1000)
    this.#baseNs = nowNs - Math.floor((unixMs - this.#baseSeconds * 1000) * 1e6)
    this.#checkedNs = nowNs
    this.#periodicNs = nowNs
    this.#cmos[Register.a] = 0x26
    this.#cmos[Register.b] = 0x02
    this.#cmos[Register.d] = D_VALID
    describeMemory(this.#cmos, options.lowBytes ?? 0, options.highBytes ?? 0)
    this.pio = [
      {
        base: 0x70,
        size: 2,
        access: 'answered',
        width: 1,
        read: (offset) => (offset === 0 ? 0xff : this.#read(this.#index)),
        write: (offset, _size, value) => {
          // Bit 7 masks NMI, which nothing here raises.
          if (offset === 0) this.#index = value & 0x7f
          else this.#write(this.#index, value & 0xff)
        },
      },
    ]
    this.state = {
      name: 'rtc',
      version: 1,
      save: () => this.#save(),
      load: (state, version) => {
        requireVersion(this.state, version)
        this.#load(new StateReader('rtc', state))
      },
    }
    this.metrics = { read: () => ({ interrupts: this.#interrupts }) }
  }

  /** A bus reset: interrupts are switched off; time and contents stay, as they have a battery. */
  reset(): void {
    this.#index = 0
    this.#cmos[Register.b]! &= ~(Flag.periodic | Flag.alarm | Flag.update)
    this.#cmos[Register.c] = 0
    this.#checkedNs = this.#queue.nowNs()
    this.#follow()
  }

  /** Whether seconds pass: not while SET is on or the divider is held in reset. */
  get #running(): boolean {
    return (this.#cmos[Register.b]! & B_SET) === 0 && (this.#cmos[Register.a]! & 0x60) !== 0x60
  }

  #read(index: number): number {
    if (isTime(index)) {
      if (this.#running) this.#showTime()
      return this.#cmos[index]!
    }
    if (index === Register.a) return (this.#cmos[index]! & 0x7f) | (this.#updating() ? A_UIP : 0)
    if (index === Register.c) {
      this.#check()
      const flags = this.#cmos[Register.c]!
      this.#cmos[Register.c] = 0
      this.#follow()
      return flags
    }
    return this.#cmos[index]!
  }

  #write(index: number, value: number): void {
    if (isTime(index)) {
      this.#check()
      if (this.#running) this.#showTime()
      this.#cmos[index] = value
      if (this.#running) this.#setTime()
    } else if (index === Register.a) this.#writeA(value & 0x7f)
    else if (index === Register.b) this.#writeB(value)
    else if (index !== Register.c && index !== Register.d) {
      this.#check()
      this.#cmos[index] = value
    }
    this.#follow()
  }

  #writeA(value: number): void {
    this.#check()
    const before = this.#cmos[Register.a]!
    const ran = this.#running
    if (ran) this.#showTime()
    this.#cmos[Register.a] = value
    if (((before ^ value) & 0x0f) !== 0) this.#periodicNs = this.#queue.nowNs()
    if (this.#running !== ran) this.#setTime()
  }

  #writeB(value: number): void {
    this.#check()
    const before = this.#cmos[Register.b]!
    const ran = this.#running
    if (ran) this.#showTime()
    // SET switches the update interrupt off.
    this.#cmos[Register.b] = (value & B_SET) !== 0 ? value & ~Flag.update : value
    if (this.#running !== ran) {
      this.#setTime()
      return
    }
    // A change of format does not convert the registers; here they follow the time, so they do. Software sets the time
    // after the format anyway.
    if (((before ^ value) & 0x06) !== 0 && this.#running) this.#showTime()
  }

  /** Seconds since 1970 at a guest time. */
  #secondsAt(ns: number): number {
    return this.#baseSeconds + Math.floor((ns - this.#baseNs) / SECOND_NS)
  }

  #showTime(): void {
    writeCalendar(this.#cmos, this.#secondsAt(this.#queue.nowNs()), this.#cmos[Register.b]!)
  }

  /** Takes the time registers for the time now. A second begins. */
  #setTime(): void {
    const nowNs = this.#queue.nowNs()
    this.#baseSeconds = readCalendar(this.#cmos, this.#cmos[Register.b]!)
    this.#baseNs = nowNs
    this.#checkedNs = nowNs
  }

  #updating(): boolean {
    if (!this.#running) return false
    const phase = (this.#queue.nowNs() - this.#baseNs) % SECOND_NS
    return phase >= SECOND_NS - UPDATE_NS
  }

  /** Period of the periodic interrupt in ticks of the crystal, 0 for none. */
  #periodTicks(): number {
    const rate = this.#cmos[Register.a]! & 0x0f
    if (rate === 0) return 0
    return 1 << ((rate < 3 ? rate + 7 : rate) - 1)
  }

  /** Sets the flags of register C for the time since the last check. */
  #check(): void {
    const nowNs = this.#queue.nowNs()
    const fromNs = this.#checkedNs
    if (nowNs <= fromNs) return
    this.#checkedNs = nowNs
    const period = this.#periodTicks()
    if (period > 0) {
      const before = Math.floor(ticksOf(Math.max(0, fromNs - this.#periodicNs), CRYSTAL_HZ) / period)
      const after = Math.floor(ticksOf(nowNs - this.#periodicNs, CRYSTAL_HZ) / period)
      if (after > before) this.#cmos[Register.c]! |= Flag.periodic
    }
    if (!this.#running) return
    const first = this.#secondsAt(fromNs)
    const last = this.#secondsAt(nowNs)
    if (last === first) return
    this.#cmos[Register.c]! |= Flag.update
    if (this.#nextAlarm(first) <= last) this.#cmos[Register.c]! |= Flag.alarm
  }

  /** The first second after `after` at which the alarm matches, or Infinity. */
  #nextAlarm(after: number): number {
    const b = this.#cmos[Register.b]!
    const hours = this.#alarm(Clock.hoursAlarm, (value) => decodeHours(value, b))
    const minutes = this.#alarm(Clock.minutesAlarm, (value) => decodeSixty(value, b))
    const seconds = this.#alarm(Clock.secondsAlarm, (value) => decodeSixty(value, b))
    let time = after + 1
    const end = time + DAY_SECONDS + 3600
    while (time <= end) {
      const ofDay = ((time % DAY_SECONDS) + DAY_SECONDS) % DAY_SECONDS
      if (hours >= 0 && Math.floor(ofDay / 3600) !== hours) time += 3600 - (ofDay % 3600)
      else if (minutes >= 0 && Math.floor(ofDay / 60) % 60 !== minutes) time += 60 - (ofDay % 60)
      else if (seconds >= 0 && ofDay % 60 !== seconds) time++
      else return time
    }
    return Infinity
  }

  /** Value of an alarm register; -1 matches always (both high bits set). */
  #alarm(index: number, value: (byte: number) => number): number {
    const byte = this.#cmos[index]!
    return (byte & 0xc0) === 0xc0 ? -1 : value(byte)
  }

  /** Brings flags, line and event up to date. */
  #follow(): void {
    this.#check()
    const b = this.#cmos[Register.b]!
    const raised = (this.#cmos[Register.c]! & b & 0x70) !== 0
    if (raised && (this.#cmos[Register.c]! & C_IRQ) === 0) this.#interrupts++
    if (raised) this.#cmos[Register.c]! |= C_IRQ
    else this.#cmos[Register.c]! &= ~C_IRQ
    this.#irq.set(raised)
    const deadlineNs = this.#nextDeadlineNs(b)
    if (deadlineNs === Infinity) this.#queue.cancel(this.#event)
    else this.#queue.schedule(this.#event, deadlineNs)
  }

  /** When the next enabled flag that is clear will be set. */
  #nextDeadlineNs(b: number): number {
    const wanted = b & ~this.#cmos[Register.c]!
    const nowNs = this.#queue.nowNs()
    let deadlineNs = Infinity
    const period = this.#periodTicks()
    if ((wanted & Flag.periodic) !== 0 && period > 0) {
      const next = Math.floor(ticksOf(nowNs - this.#periodicNs, CRYSTAL_HZ) / period) + 1
      deadlineNs = this.#periodicNs + nsOf(next * period, CRYSTAL_HZ)
    }
    if (this.#running) {
      const second = this.#secondsAt(nowNs)
      if ((wanted & Flag.update) !== 0) deadlineNs = Math.min(deadlineNs, this.#beginOf(second + 1))
      if ((wanted & Flag.alarm) !== 0)
        deadlineNs = Math.min(deadlineNs, this.#beginOf(this.#nextAlarm(second)))
    }
    // Later than now, whatever rounding does; the shortest period is 122 microseconds, which needs no other limit.
    return Math.max(deadlineNs, nowNs + 1)
  }

  #beginOf(second: number): number {
    return this.#baseNs + (second - this.#baseSeconds) * SECOND_NS
  }

  #save(): RtcState {
    this.#follow()
    if (this.#running) this.#showTime()
    const nowNs = this.#queue.nowNs()
    const seconds = this.#secondsAt(nowNs)
    return {
      index: this.#index,
      cmos: this.#cmos.slice(),
      seconds,
      phaseNs: nowNs - this.#beginOf(seconds),
      periodicElapsedNs: nowNs - this.#periodicNs,
    }
  }

  #load(reader: StateReader): void {
    const index = reader.integer('index', 0, 0x7f)
    const cmos = reader.bytes('cmos', CMOS_BYTES)
    const seconds = reader.integer('seconds', -(2 ** 45), 2 ** 45)
    const phaseNs = reader.number('phaseNs')
    const periodicElapsedNs = reader.number('periodicElapsedNs')
    if (phaseNs < 0 || phaseNs >= SECOND_NS || periodicElapsedNs < 0)
      throw new StateError('section rtc: a time is negative or longer than its second')
    const nowNs = this.#queue.nowNs()
    this.#index = index
    this.#cmos.set(cmos)
    this.#baseSeconds = seconds
    this.#baseNs = nowNs - phaseNs
    this.#checkedNs = nowNs
    this.#periodicNs = nowNs - periodicElapsedNs
    this.#follow()
  }
}

function isTime(index: number): boolean {
  switch (index) {
    case Clock.seconds:
    case Clock.minutes:
    case Clock.hours:
    case Clock.weekday:
    case Clock.day:
    case Clock.month:
    case Clock.year:
    case Clock.century:
      return true
    default:
      return false
  }
}

/** Puts memory sizes where PC firmware leaves them. */
function describeMemory(cmos: Uint8Array, lowBytes: number, highBytes: number): void {
  const put = (index: number, value: number, bytes: number): void => {
    for (let n = 0; n < bytes; n++) cmos[index + n] = (value >>> (8 * n)) & 0xff
  }
  const kib = (bytes: number): number => Math.floor(bytes / 1024)
  // Base memory in KiB; from 1 MiB up in KiB (twice); from 16 MiB up and from 4 GiB up in units of 64 KiB.
  put(0x15, Math.min(640, kib(lowBytes)), 2)
  const extended = Math.min(0xffff, kib(Math.max(0, lowBytes - 0x10_0000)))
  put(0x17, extended, 2)
  put(0x30, extended, 2)
  put(0x34, Math.min(0xffff, Math.floor(Math.max(0, lowBytes - 0x100_0000) / 0x1_0000)), 2)
  put(0x5b, Math.floor(highBytes / 0x1_0000), 3)
}
