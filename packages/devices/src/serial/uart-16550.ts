/**
 * UART 16550A (National Semiconductor PC16550D data sheet) as a PC's COM port: interrupt gated by OUT2.
 *
 * The transmitter is infinitely fast: a byte written is sent, and THR is empty again at once. Bytes for the host are
 * collected and delivered in batches, when the buffer is full or when the driver calls `flush` (after each run of the
 * vCPU and before it waits). The receiver takes what the host offers up to the room in its FIFO. After the guest has
 * emptied it, a gap in guest time follows before the receiver takes more, then `receiveReady` is called: an endless
 * stream must not keep the guest in its interrupt handler, where nothing consumes what was received. The character
 * time-out interrupt comes after four character times at the programmed speed.
 */
import { requireVersion, StateError, type StateSection } from '@trapframe/core'
import type { Device, IoRange } from '../device.ts'
import type { EventQueue, TimerEvent } from '../event-queue.ts'
import type { IrqLine } from '../irq-line.ts'
import { StateReader } from '../state-reader.ts'
import { FIFO_BYTES, ReceiveFifo } from './receive-fifo.ts'

const CRYSTAL_HZ = 1_843_200
/** Most bytes that wait for a `flush`. */
const TRANSMIT_BYTES = 4096

/** Interrupt enable register. */
const Ier = { received: 1, transmit: 2, line: 4, modem: 8 } as const
/** Line status register. */
const Lsr = { dataReady: 0x01, overrun: 0x02, break: 0x10, transmitterEmpty: 0x60, fifoError: 0x80 } as const
/** Modem control register. */
const Mcr = { dtr: 1, rts: 2, out1: 4, out2: 8, loop: 0x10 } as const
/** Modem status register: lines in the high half, changes in the low half. */
const Msr = { cts: 0x10, dsr: 0x20, ri: 0x40, dcd: 0x80, riEdge: 0x04 } as const
const FCR_ENABLE = 1
const LCR_DLAB = 0x80
const TRIGGER_LEVELS = [1, 4, 8, 14]

/** The far end of the cable. */
export interface SerialHost {
  /** Bytes that the guest sent, the receiver's to keep. */
  transmit(bytes: Uint8Array): void
  /** The FIFO is empty and takes bytes again. May call `receive`. */
  receiveReady?(): void
}

/** A serial port's place and connections. */
export interface UartOptions {
  /** Such as `com1`. */
  readonly id: string
  /** First of eight ports: 0x3f8 for COM1, 0x2f8 for COM2. */
  readonly base: number
  /** Interrupt line: 4 for COM1, 3 for COM2. */
  readonly irq: IrqLine
  /** Guest time, for time-out and gap. */
  readonly queue: EventQueue
  /** The far end. */
  readonly host: SerialHost
  /** Takes bytes only while the guest asserts RTS. Default: false. */
  readonly rtsFlowControl?: boolean
  /** Guest time between an emptied FIFO and the next bytes. Default: 100 microseconds, so 160 kB/s. */
  readonly receiveGapNs?: number
}

/** Levels of the modem's lines; `true` is asserted. */
export interface ModemLines {
  readonly cts: boolean
  readonly dsr: boolean
  readonly ri: boolean
  readonly dcd: boolean
}

/** Saved state of a UART: registers by the data sheet's names, FIFO, pending interrupts. */
export type UartState = {
  readonly ier: number
  readonly fcr: number
  readonly lcr: number
  readonly mcr: number
  readonly scr: number
  /** Both bytes of the divisor latch. */
  readonly divisor: number
  /** Modem status without loopback: lines and changes. */
  readonly msr: number
  /** Error bits of LSR that were not read yet. */
  readonly lineErrors: number
  /** FIFO, oldest byte first. */
  readonly received: readonly number[]
  /** LSR error bits of each byte in `received`. */
  readonly receivedErrors: readonly number[]
  /** "Transmitter empty" waits to be read. */
  readonly thrInterrupt: boolean
  /** The character time-out interrupt is pending. */
  readonly timeout: boolean
  /** Time until the character time-out, or null. */
  readonly timeoutInNs: number | null
  /** Time until the receiver takes bytes again, or null when it does now. */
  readonly readyInNs: number | null
}

/** A serial port with its far end. */
export interface Uart extends Device {
  readonly state: StateSection<UartState>
  /** Offers bytes to the receiver. Answers how many were taken; the rest is to be offered after `receiveReady`. */
  receive(bytes: Uint8Array): number
  /** Receives a break condition. */
  receiveBreak(): void
  /** Delivers collected bytes to the host. */
  flush(): void
  /** Sets the modem's lines; changes show in MSR, and interrupt if that is enabled. */
  setModemLines(lines: ModemLines): void
}

/** Makes a UART, with CTS, DSR and DCD asserted as by a connected terminal. */
export function createUart(options: UartOptions): Uart {
  return new Uart16550(options)
}

class Uart16550 implements Uart {
  readonly id: string
  readonly pio: readonly IoRange[]
  readonly state: StateSection<UartState>
  readonly metrics: { read(): Readonly<Record<string, number>> }
  readonly #irq: IrqLine
  readonly #queue: EventQueue
  readonly #host: SerialHost
  readonly #rtsFlowControl: boolean
  readonly #receiveGapNs: number
  readonly #readyEvent: TimerEvent
  readonly #timeoutEvent: TimerEvent
  readonly #fifo = new ReceiveFifo()
  readonly #transmit = new Uint8Array(TRANSMIT_BYTES)
  #transmitLength = 0
  #ier = 0
  #fcr = 0
  #lcr = 0
  #mcr = 0
  #scr = 0
  #divisor = 12
  /** The lines of a cable with somebody at its end. */
  #msr = Msr.cts | Msr.dsr | Msr.dcd
  #lineErrors = 0
  #thrInterrupt = false
  #timeout = false
  #transmitted = 0
  #received = 0
  #overruns = 0

  constructor(options: UartOptions) {
    this.id = options.id
    this.#irq = options.irq
    this.#queue = options.queue
    this.#host = options.host
    this.#rtsFlowControl = options.rtsFlowControl ?? false
    this.#receiveGapNs = options.receiveGapNs ?? 100_000
    this.#readyEvent = options.queue.createEvent(`${options.id}-ready`, () => {
      if (this.#connected()) this.#host.receiveReady?.()
    })
    this.#timeoutEvent = options.queue.createEvent(`${options.id}-timeout`, () => {
      this.#timeout = this.#fifo.length > 0
      this.#update()
    })
    this.pio = [
      {
        base: options.base,
        size: 8,
        access: 'answered',
        width: 1,
        read: (offset) => this.#read(offset),
        write: (offset, _size, value) => this.#write(offset, value & 0xff),
      },
    ]
    this.state = {
      name: 'uart-16550',
      version: 1,
      save: () => this.#save(),
      load: (state, version) => {
        requireVersion(this.state, version)
        this.#load(new StateReader(this.id, state))
      },
    }
    this.metrics = {
      read: () => ({
        'transmitted-bytes': this.#transmitted,
        'received-bytes': this.#received,
        'overrun-bytes': this.#overruns,
      }),
    }
  }

  receive(bytes: Uint8Array): number {
    if (!this.#connected() || this.#readyEvent.deadlineNs !== Infinity) return 0
    const count = Math.min(bytes.length, this.#depth() - this.#fifo.length)
    if (count <= 0) return 0
    for (let n = 0; n < count; n++) this.#push(bytes[n]!, 0)
    this.#received += count
    this.#update()
    return count
  }

  receiveBreak(): void {
    if ((this.#mcr & Mcr.loop) !== 0) return
    this.#push(0, Lsr.break)
    this.#update()
  }

  flush(): void {
    if (this.#transmitLength === 0) return
    const bytes = this.#transmit.slice(0, this.#transmitLength)
    this.#transmitLength = 0
    this.#host.transmit(bytes)
  }

  setModemLines({ cts, dsr, ri, dcd }: ModemLines): void {
    const lines = (cts ? Msr.cts : 0) | (dsr ? Msr.dsr : 0) | (ri ? Msr.ri : 0) | (dcd ? Msr.dcd : 0)
    const before = this.#msr
    this.#msr = lines | (before & 0x0f) | this.#lineChanges(before, lines)
    this.#update()
  }

  reset(): void {
    this.#ier = 0
    this.#fcr = 0
    this.#lcr = 0
    this.#mcr = 0
    this.#scr = 0
    this.#divisor = 12
    this.#msr &= 0xf0
    this.#lineErrors = 0
    this.#thrInterrupt = false
    this.#clearReceiver()
    this.#update()
  }

  #read(offset: number): number {
    switch (offset) {
      case 0:
        return (this.#lcr & LCR_DLAB) !== 0 ? this.#divisor & 0xff : this.#readData()
      case 1:
        return (this.#lcr & LCR_DLAB) !== 0 ? this.#divisor >>> 8 : this.#ier
      case 2:
        return this.#readIdentification()
      case 3:
        return this.#lcr
      case 4:
        return this.#mcr
      case 5:
        return this.#readLineStatus()
      case 6:
        return this.#readModemStatus()
      default:
        return this.#scr
    }
  }

  #write(offset: number, value: number): void {
    switch (offset) {
      case 0:
        if ((this.#lcr & LCR_DLAB) !== 0) this.#divisor = (this.#divisor & 0xff00) | value
        else this.#send(value)
        break
      case 1:
        if ((this.#lcr & LCR_DLAB) !== 0) this.#divisor = (this.#divisor & 0xff) | (value << 8)
        else this.#writeEnable(value & 0x0f)
        break
      case 2:
        this.#writeFifoControl(value)
        break
      case 3:
        this.#lcr = value
        break
      case 4:
        this.#writeModemControl(value & 0x1f)
        break
      case 7:
        this.#scr = value
        break
      // Line and modem status are read-only; the factory's test modes are not there.
    }
  }

  #readData(): number {
    const fifo = this.#fifo
    if (fifo.length === 0) return 0
    const byte = fifo.shift()
    this.#lineErrors |= fifo.headErrors
    this.#timeout = false
    this.#scheduleTimeout()
    this.#update()
    if (fifo.length === 0) this.#ready()
    return byte
  }

  #send(byte: number): void {
    this.#thrInterrupt = false
    this.#update()
    if ((this.#mcr & Mcr.loop) !== 0) this.#push(byte, 0)
    else {
      this.#transmit[this.#transmitLength++] = byte
      this.#transmitted++
      if (this.#transmitLength === TRANSMIT_BYTES) this.flush()
    }
    // Sent already: THR is empty again, and the line, which fell above, rises once more.
    this.#thrInterrupt = true
    this.#update()
  }

  #writeEnable(value: number): void {
    // Enabling the interrupt of an empty transmitter raises it.
    if ((value & Ier.transmit) !== 0 && (this.#ier & Ier.transmit) === 0) this.#thrInterrupt = true
    this.#ier = value
    this.#update()
  }

  #readIdentification(): number {
    const id = this.#identification()
    if (id === 0x02) {
      this.#thrInterrupt = false
      this.#update()
    }
    return id | ((this.#fcr & FCR_ENABLE) !== 0 ? 0xc0 : 0)
  }

  #writeFifoControl(value: number): void {
    const waited = this.#fifo.length > 0
    if (((value ^ this.#fcr) & FCR_ENABLE) !== 0 || (value & 3) === 3) this.#clearReceiver()
    // The other bits are taken only together with the enable bit. The two clear bits clear themselves.
    this.#fcr = (value & FCR_ENABLE) !== 0 ? value & 0xc9 : 0
    this.#update()
    if (waited && this.#fifo.length === 0) this.#ready()
  }

  #writeModemControl(value: number): void {
    const before = this.#mcr
    const modemBefore = this.#readLines()
    this.#mcr = value
    this.#msr |= this.#lineChanges(modemBefore, this.#readLines())
    this.#update()
    const opened = before & ~value & Mcr.loop
    const asked = value & ~before & Mcr.rts
    if ((opened !== 0 || (this.#rtsFlowControl && asked !== 0)) && this.#fifo.length === 0) this.#ready()
  }

  #readLineStatus(): number {
    const errors = this.#lineErrors
    this.#lineErrors = 0
    const fifo = this.#fifo
    const status =
      Lsr.transmitterEmpty |
      errors |
      (fifo.length > 0 ? Lsr.dataReady : 0) |
      ((this.#fcr & FCR_ENABLE) !== 0 && fifo.anyErrors ? Lsr.fifoError : 0)
    if (errors !== 0) {
      if (fifo.length > 0) fifo.clearHeadErrors()
      this.#update()
    }
    return status
  }

  #readModemStatus(): number {
    const status = this.#readLines() | (this.#msr & 0x0f)
    this.#msr &= 0xf0
    this.#update()
    return status
  }

  /** The four modem lines as the guest sees them: in loopback they are its own outputs. */
  #readLines(): number {
    const mcr = this.#mcr
    if ((mcr & Mcr.loop) === 0) return this.#msr & 0xf0
    return (
      ((mcr & Mcr.rts) !== 0 ? Msr.cts : 0) |
      ((mcr & Mcr.dtr) !== 0 ? Msr.dsr : 0) |
      ((mcr & Mcr.out1) !== 0 ? Msr.ri : 0) |
      ((mcr & Mcr.out2) !== 0 ? Msr.dcd : 0)
    )
  }

  /** Change bits from one state of the lines to another; of RI only its end counts. */
  #lineChanges(before: number, after: number): number {
    const changed = ((before ^ after) >>> 4) & 0x0b
    return changed | ((before & ~after & Msr.ri) !== 0 ? Msr.riEdge : 0)
  }

  #depth(): number {
    return (this.#fcr & FCR_ENABLE) !== 0 ? FIFO_BYTES : 1
  }

  #push(byte: number, errors: number): void {
    const fifo = this.#fifo
    if (fifo.length >= this.#depth()) {
      this.#overruns++
      this.#lineErrors |= Lsr.overrun
      // With FIFO the new byte is lost, without it the old one.
      if ((this.#fcr & FCR_ENABLE) === 0) fifo.replaceLast(byte, errors)
    } else fifo.push(byte, errors)
    if (fifo.length === 1) this.#lineErrors |= errors
    this.#timeout = false
    this.#scheduleTimeout()
  }

  #scheduleTimeout(): void {
    if (this.#fifo.length === 0 || (this.#fcr & FCR_ENABLE) === 0) {
      this.#queue.cancel(this.#timeoutEvent)
      return
    }
    const bits = 7 + (this.#lcr & 3) + ((this.#lcr >>> 2) & 1) + ((this.#lcr >>> 3) & 1)
    const bitNs = (16 * (this.#divisor || 0x1_0000) * 1e9) / CRYSTAL_HZ
    this.#queue.schedule(this.#timeoutEvent, this.#queue.nowNs() + Math.ceil(4 * bits * bitNs))
  }

  #clearReceiver(): void {
    this.#fifo.clear()
    this.#timeout = false
    this.#queue.cancel(this.#timeoutEvent)
  }

  #ready(): void {
    if (this.#connected()) this.#queue.schedule(this.#readyEvent, this.#queue.nowNs() + this.#receiveGapNs)
  }

  /** Whether bytes from the host reach the receiver. */
  #connected(): boolean {
    return (this.#mcr & Mcr.loop) === 0 && !(this.#rtsFlowControl && (this.#mcr & Mcr.rts) === 0)
  }

  /** The interrupt identification, by priority; 1 for none. */
  #identification(): number {
    const ier = this.#ier
    if ((ier & Ier.line) !== 0 && this.#lineErrors !== 0) return 0x06
    if ((ier & Ier.received) !== 0 && this.#fifo.length > 0) {
      const trigger = (this.#fcr & FCR_ENABLE) !== 0 ? TRIGGER_LEVELS[this.#fcr >>> 6]! : 1
      if (this.#fifo.length >= trigger) return 0x04
      if (this.#timeout) return 0x0c
    }
    if ((ier & Ier.transmit) !== 0 && this.#thrInterrupt) return 0x02
    if ((ier & Ier.modem) !== 0 && (this.#msr & 0x0f) !== 0) return 0x00
    return 0x01
  }

  #update(): void {
    // In loopback the modem outputs are inactive, OUT2 with them, which opens the gate to the interrupt controller.
    const gate = (this.#mcr & (Mcr.out2 | Mcr.loop)) === Mcr.out2
    this.#irq.set(gate && this.#identification() !== 0x01)
  }

  #save(): UartState {
    const { bytes, errors } = this.#fifo.save()
    const nowNs = this.#queue.nowNs()
    return {
      ier: this.#ier,
      fcr: this.#fcr,
      lcr: this.#lcr,
      mcr: this.#mcr,
      scr: this.#scr,
      divisor: this.#divisor,
      msr: this.#msr,
      lineErrors: this.#lineErrors,
      received: bytes,
      receivedErrors: errors,
      thrInterrupt: this.#thrInterrupt,
      timeout: this.#timeout,
      timeoutInNs: remaining(this.#timeoutEvent, nowNs),
      readyInNs: remaining(this.#readyEvent, nowNs),
    }
  }

  #load(reader: StateReader): void {
    const fcr = reader.u8('fcr') & 0xc9
    const depth = (fcr & FCR_ENABLE) !== 0 ? FIFO_BYTES : 1
    const received = reader.integersUpTo('received', 0, depth, 0xff)
    const receivedErrors = reader.integers('receivedErrors', received.length, 0x1e)
    const timeoutInNs = reader.optionalNumber('timeoutInNs')
    const readyInNs = reader.optionalNumber('readyInNs')
    const state = {
      ier: reader.integer('ier', 0, 0x0f),
      lcr: reader.u8('lcr'),
      mcr: reader.integer('mcr', 0, 0x1f),
      scr: reader.u8('scr'),
      divisor: reader.u16('divisor'),
      msr: reader.u8('msr'),
      lineErrors: reader.integer('lineErrors', 0, 0x1e),
      thrInterrupt: reader.bool('thrInterrupt'),
      timeout: reader.bool('timeout'),
    }
    if (state.timeout && received.length === 0)
      throw new StateError(`section ${this.id}: timeout without a byte`)
    this.#fcr = fcr
    this.#ier = state.ier
    this.#lcr = state.lcr
    this.#mcr = state.mcr
    this.#scr = state.scr
    this.#divisor = state.divisor
    this.#msr = state.msr
    this.#lineErrors = state.lineErrors
    this.#thrInterrupt = state.thrInterrupt
    this.#timeout = state.timeout
    this.#fifo.load(received, receivedErrors)
    this.#restart(this.#timeoutEvent, timeoutInNs)
    this.#restart(this.#readyEvent, readyInNs)
    this.#update()
  }

  #restart(event: TimerEvent, inNs: number | null): void {
    if (inNs === null) this.#queue.cancel(event)
    else this.#queue.schedule(event, this.#queue.nowNs() + inNs)
  }
}

function remaining(event: TimerEvent, nowNs: number): number | null {
  return event.deadlineNs === Infinity ? null : event.deadlineNs - nowNs
}
