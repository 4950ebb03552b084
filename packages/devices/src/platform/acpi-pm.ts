/**
 * ACPI power management (ACPI 6.5, 4.8): the PM1a event and control blocks, the PM timer, and power-off by S5. The
 * machine is in ACPI mode from the start (SCI_EN reads as one and the FADT has no SMI command port).
 *
 * At `base`: PM1a_STS and PM1a_EN (4 bytes), PM1a_CNT at +4 (2 bytes), PM_TMR at +8 (4 bytes, 32 bits wide). S5 is
 * SLP_TYP 0.
 */
import { requireVersion, StateError, type StateSection } from '@trapframe/core'
import { nsOf, ticksOf } from '../clock-ticks.ts'
import type { Device, IoRange, MachineControl } from '../device.ts'
import type { EventQueue, TimerEvent } from '../event-queue.ts'
import type { IrqLine } from '../irq-line.ts'
import { StateReader } from '../state-reader.ts'

/** Frequency of the ACPI PM timer. */
export const PM_TIMER_HZ = 3_579_545
/** First port of the block, where nobody chooses another. */
export const ACPI_PM_BASE = 0x600
/** Offsets from the base, for the FADT. */
export const ACPI_PM_EVENT = 0
/** PM1a_CNT. */
export const ACPI_PM_CONTROL = 4
/** PM_TMR. */
export const ACPI_PM_TIMER = 8
/** SLP_TYP of S5, for the DSDT. */
export const ACPI_S5_TYPE = 0

const TIMER_BITS = 32
const Event = {
  timer: 0x0001,
  globalLock: 0x0020,
  powerButton: 0x0100,
  sleepButton: 0x0200,
  rtc: 0x0400,
} as const
const WAKE = 0x8000
const STATUS_BITS = Event.timer | Event.globalLock | Event.powerButton | Event.sleepButton | Event.rtc | WAKE
const ENABLE_BITS = Event.timer | Event.globalLock | Event.powerButton | Event.sleepButton | Event.rtc
const SCI_EN = 0x0001
const SLP_EN = 0x2000
/** BM_RLD and SLP_TYP keep what is written. */
const CONTROL_BITS = 0x1c02

/** What the power management block is connected to. */
export interface AcpiPmOptions {
  /** Guest time, and the timer's overflow. */
  readonly queue: EventQueue
  /** The SCI: level-triggered. */
  readonly sci: IrqLine
  /** Told of S5. */
  readonly control: Pick<MachineControl, 'powerOff'>
  /** First port. Default: 0x600. */
  readonly base?: number
}

/** Saved state of the power management block. */
export type AcpiPmState = {
  /** PM1a_STS. */
  readonly status: number
  /** PM1a_EN. */
  readonly enable: number
  /** PM1a_CNT, without SCI_EN. */
  readonly control: number
  /** Time since the timer was zero, for its value and its next overflow. */
  readonly timerElapsedNs: number
  /** Half periods of the timer that the status has seen. */
  readonly timerHalves: number
}

/** The power management block, with its power button. */
export interface AcpiPm extends Device {
  readonly state: StateSection<AcpiPmState>
  /** Presses the power button: the guest is asked to shut down. */
  pressPowerButton(): void
}

/** Makes the block, in ACPI mode. */
export function createAcpiPm(options: AcpiPmOptions): AcpiPm {
  return new PowerManagement(options)
}

class PowerManagement implements AcpiPm {
  readonly id = 'acpi-pm'
  readonly pio: readonly IoRange[]
  readonly state: StateSection<AcpiPmState>
  readonly #queue: EventQueue
  readonly #sci: IrqLine
  readonly #machine: Pick<MachineControl, 'powerOff'>
  readonly #event: TimerEvent
  #status = 0
  #enable = 0
  #control = 0
  #timerNs: number
  #halves = 0

  constructor({ queue, sci, control, base = ACPI_PM_BASE }: AcpiPmOptions) {
    this.#queue = queue
    this.#sci = sci
    this.#machine = control
    this.#timerNs = queue.nowNs()
    this.#event = queue.createEvent('acpi-pm', () => this.#follow())
    this.pio = [
      {
        base: base + ACPI_PM_EVENT,
        size: 4,
        access: 'answered',
        width: 2,
        read: (offset, size) => part(this.#readEvent(offset >> 1), offset, size),
        write: (offset, size, value) => this.#writeEvent(offset, size, value),
      },
      {
        base: base + ACPI_PM_CONTROL,
        size: 2,
        access: 'answered',
        width: 2,
        read: (offset, size) => part(this.#control | SCI_EN, offset, size),
        write: (offset, size, value) => this.#writeControl(offset, size, value),
      },
      {
        base: base + ACPI_PM_TIMER,
        size: 4,
        access: 'answered',
        read: (offset, size) => {
          const value = (this.#ticks() % 2 ** TIMER_BITS) >>> (8 * (offset & 3))
          return size === 4 ? value : value & ((1 << (8 * size)) - 1)
        },
        write: () => {},
      },
    ]
    this.state = {
      name: 'acpi-pm',
      version: 1,
      save: () => {
        this.#checkTimer()
        return {
          status: this.#status,
          enable: this.#enable,
          control: this.#control,
          timerElapsedNs: this.#queue.nowNs() - this.#timerNs,
          timerHalves: this.#halves,
        }
      },
      load: (state, version) => {
        requireVersion(this.state, version)
        this.#load(new StateReader('acpi-pm', state))
      },
    }
  }

  pressPowerButton(): void {
    this.#status |= Event.powerButton
    this.#follow()
  }

  reset(): void {
    this.#status = 0
    this.#enable = 0
    this.#control = 0
    this.#timerNs = this.#queue.nowNs()
    this.#halves = 0
    this.#follow()
  }

  #ticks(): number {
    return ticksOf(this.#queue.nowNs() - this.#timerNs, PM_TIMER_HZ)
  }

  #readEvent(register: number): number {
    if (register !== 0) return this.#enable
    this.#checkTimer()
    return this.#status
  }

  #writeEvent(offset: number, size: number, value: number): void {
    const shifted = size === 1 ? (value & 0xff) << (8 * (offset & 1)) : value & 0xffff
    if (offset < 2) {
      this.#checkTimer()
      // Status bits are cleared by ones.
      this.#status &= ~(shifted & STATUS_BITS)
    } else {
      const mask = size === 1 ? 0xff << (8 * (offset & 1)) : 0xffff
      this.#enable = ((this.#enable & ~mask) | shifted) & ENABLE_BITS
    }
    this.#follow()
  }

  #writeControl(offset: number, size: number, value: number): void {
    const mask = size === 1 ? 0xff << (8 * (offset & 1)) : 0xffff
    const shifted = size === 1 ? (value & 0xff) << (8 * (offset & 1)) : value & 0xffff
    this.#control = ((this.#control & ~mask) | shifted) & CONTROL_BITS
    if ((shifted & SLP_EN) !== 0 && ((this.#control >>> 10) & 7) === ACPI_S5_TYPE) this.#machine.powerOff()
  }

  /** The timer's status is set whenever its highest bit changes. */
  #checkTimer(): void {
    const halves = Math.floor(this.#ticks() / 2 ** (TIMER_BITS - 1))
    if (halves === this.#halves) return
    this.#halves = halves
    this.#status |= Event.timer
  }

  #follow(): void {
    this.#checkTimer()
    this.#sci.set((this.#status & this.#enable) !== 0)
    if ((this.#enable & ~this.#status & Event.timer) === 0) this.#queue.cancel(this.#event)
    else {
      const next = (this.#halves + 1) * 2 ** (TIMER_BITS - 1)
      this.#queue.schedule(this.#event, this.#timerNs + nsOf(next, PM_TIMER_HZ))
    }
  }

  #load(reader: StateReader): void {
    const status = reader.u16('status') & STATUS_BITS
    const enable = reader.u16('enable') & ENABLE_BITS
    const control = reader.u16('control') & CONTROL_BITS
    const timerElapsedNs = reader.number('timerElapsedNs')
    const timerHalves = reader.integer('timerHalves', 0, 2 ** 40)
    if (timerElapsedNs < 0) throw new StateError('section acpi-pm: timerElapsedNs is negative')
    this.#status = status
    this.#enable = enable
    this.#control = control
    this.#timerNs = this.#queue.nowNs() - timerElapsedNs
    this.#halves = timerHalves
    this.#follow()
  }
}

/** Bytes `offset` (within a word) on of a 16-bit register. */
function part(value: number, offset: number, size: number): number {
  const shifted = value >>> (8 * (offset & 1))
  return size === 1 ? shifted & 0xff : shifted
}
