/**
 * Programmable interval timer 8254 at ports 0x40 to 0x43: channel 0 on interrupt 0, channel 2 with its gate and output
 * in port 0x61 (system control port B), which also has the refresh toggle that old software uses as a delay.
 *
 * The interrupt line follows OUT of channel 0 in mode 0. In the other modes it rests high and every rise is made by an
 * event; the time that OUT is low is not shown on the line.
 */
import { requireVersion, type StateSection } from '@trapframe/core'
import type { PitState } from '@trapframe/cpu'
import { MIN_PERIOD_NS } from '../clock-ticks.ts'
import type { Device, IoRange } from '../device.ts'
import type { EventQueue, TimerEvent } from '../event-queue.ts'
import type { IrqLine } from '../irq-line.ts'
import { StateReader } from '../state-reader.ts'
import { PitChannel, readPitChannel } from './pit-channel.ts'

/** Half period of the refresh toggle. */
const REFRESH_NS = 15_085

/** What a PIT is connected to. */
export interface PitOptions {
  /** Guest time, and the channels' events. */
  readonly queue: EventQueue
  /** Interrupt 0. */
  readonly irq: IrqLine
}

/** The timer, with port 0x61. */
export interface Pit extends Device {
  readonly state: StateSection<PitState>
}

/** Makes a PIT whose channels wait for their first control word. */
export function createPit(options: PitOptions): Pit {
  return new PitDevice(options)
}

class PitDevice implements Pit {
  readonly id = 'pit'
  readonly pio: readonly IoRange[]
  readonly state: StateSection<PitState>
  readonly metrics: { read(): Readonly<Record<string, number>> }
  readonly #queue: EventQueue
  readonly #irq: IrqLine
  readonly #event: TimerEvent
  readonly #channels: readonly PitChannel[]
  /** Bits 0 to 3 of port 0x61. */
  #speaker = 0
  #interrupts = 0

  constructor({ queue, irq }: PitOptions) {
    this.#queue = queue
    this.#irq = irq
    this.#channels = [new PitChannel(queue, true), new PitChannel(queue, true), new PitChannel(queue, false)]
    this.#event = queue.createEvent('pit', () => this.#rise())
    this.pio = [
      {
        base: 0x40,
        size: 4,
        access: 'answered',
        width: 1,
        read: (offset) => (offset < 3 ? this.#channels[offset]!.read() : 0),
        write: (offset, _size, value) => {
          if (offset === 3) this.#control(value & 0xff)
          else {
            this.#channels[offset]!.write(value & 0xff)
            if (offset === 0) this.#follow()
          }
        },
      },
      {
        base: 0x61,
        size: 1,
        access: 'answered',
        width: 1,
        read: () => {
          const refresh = Math.floor(this.#queue.nowNs() / REFRESH_NS) & 1
          return this.#speaker | (refresh << 4) | (this.#channels[2]!.output() ? 0x20 : 0)
        },
        write: (_offset, _size, value) => {
          this.#speaker = value & 0x0f
          this.#channels[2]!.setGate((value & 1) !== 0)
        },
      },
    ]
    this.state = {
      name: 'pit',
      version: 1,
      save: () => ({ channels: this.#channels.map((channel) => channel.save()), speaker: this.#speaker }),
      load: (state, version) => {
        requireVersion(this.state, version)
        const reader = new StateReader('pit', state)
        const channels = reader.records('channels', 3).map(readPitChannel)
        this.#speaker = reader.integer('speaker', 0, 15)
        for (let n = 0; n < 3; n++) this.#channels[n]!.load(channels[n]!)
        this.#follow()
      },
    }
    this.metrics = { read: () => ({ interrupts: this.#interrupts }) }
  }

  reset(): void {
    for (const channel of this.#channels) channel.control(3, 0, false)
    this.#channels[2]!.setGate(false)
    this.#speaker = 0
    this.#follow()
  }

  #control(value: number): void {
    const selected = value >>> 6
    if (selected === 3) {
      for (let n = 0; n < 3; n++) {
        if ((value & (2 << n)) === 0) continue
        if ((value & 0x20) === 0) this.#channels[n]!.latchCount()
        if ((value & 0x10) === 0) this.#channels[n]!.latchStatus()
      }
      return
    }
    const channel = this.#channels[selected]!
    const access = (value >>> 4) & 3
    if (access === 0) {
      channel.latchCount()
      return
    }
    const mode = (value >>> 1) & 7
    channel.control(access, mode > 5 ? mode - 4 : mode, (value & 1) !== 0)
    if (selected === 0) this.#follow()
  }

  /** Brings line and event in step with channel 0. */
  #follow(): void {
    const channel = this.#channels[0]!
    this.#irq.set(channel.mode !== 0 || channel.output())
    const next = channel.nextRiseNs()
    if (next === Infinity) this.#queue.cancel(this.#event)
    else this.#queue.schedule(this.#event, next)
  }

  #rise(): void {
    this.#interrupts++
    this.#irq.set(false)
    this.#irq.set(true)
    const channel = this.#channels[0]!
    const next = channel.nextRiseNs()
    if (next === Infinity) return
    this.#queue.schedule(this.#event, Math.max(next, this.#queue.nowNs() + MIN_PERIOD_NS))
  }
}
