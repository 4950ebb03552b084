/**
 * I/O APIC 82093AA (Intel data sheet 290566): 24 pins, redirection table, registers behind IOREGSEL and IOWIN.
 *
 * Levels are logical: `true` is asserted, and the polarity bit is stored without effect. An edge on a masked pin is
 * lost, as the data sheet says. A level-triggered pin delivers once and again after the EOI while it stays asserted;
 * remote IRR is cleared by the EOI broadcast of the local APIC, and by switching the pin to edge, on which Linux relies
 * where there is no EOI register. Version 0x20 adds that register (offset 0x40).
 */
import { requireVersion, type StateSection } from '@trapframe/core'
import type { IoapicState } from '@trapframe/cpu'
import type { Device, IoRange } from '../device.ts'
import { createIrqLine, type IrqLine } from '../irq-line.ts'
import { StateReader } from '../state-reader.ts'
import { type ApicBus, BROADCAST, DeliveryMode } from './apic-bus.ts'

/** Where a PC's first IOAPIC answers. */
export const IOAPIC_BASE = 0xfec0_0000
/** Inputs of an 82093AA. */
export const IOAPIC_PINS = 24

/** Bits of the low word of a redirection entry. */
const LOGICAL = 1 << 11
const REMOTE_IRR = 1 << 14
const LEVEL = 1 << 15
const MASKED = 1 << 16
/** Vector, mode, destination mode, polarity, trigger, mask; delivery status and remote IRR are read-only. */
const WRITABLE = 0x1_afff

/** An IOAPIC's place. */
export interface IoapicOptions {
  /** Carries its messages; the device attaches itself. */
  readonly bus: ApicBus
  /** Initial APIC id, 0 to 15. Default: 0. */
  readonly apicId?: number
  /** Default: 0xfec00000. */
  readonly base?: number
  /** 0x11 (82093AA) or 0x20 (with an EOI register). Default: 0x11. */
  readonly version?: 0x11 | 0x20
}

/** An IOAPIC, with interrupt inputs. */
export interface Ioapic extends Device {
  readonly state: StateSection<IoapicState>
  /** Input line of `pin`, 0 to 23. */
  line(pin: number): IrqLine
}

/** Makes an IOAPIC with all pins masked. */
export function createIoapic(options: IoapicOptions): Ioapic {
  return new IoapicDevice(options)
}

class IoapicDevice implements Ioapic {
  readonly id = 'ioapic'
  readonly mmio: readonly IoRange[]
  readonly state: StateSection<IoapicState>
  readonly metrics: { read(): Readonly<Record<string, number>> }
  readonly #bus: ApicBus
  readonly #initialId: number
  readonly #version: number
  readonly #low = new Uint32Array(IOAPIC_PINS)
  readonly #high = new Uint32Array(IOAPIC_PINS)
  readonly #pins: (IrqLine | undefined)[] = []
  #apicId: number
  #select = 0
  #lines = 0
  #delivered = 0

  constructor({ bus, apicId = 0, base = IOAPIC_BASE, version = 0x11 }: IoapicOptions) {
    this.#bus = bus
    this.#initialId = apicId & 0xf
    this.#version = version
    this.#apicId = this.#initialId
    this.#low.fill(MASKED)
    bus.attachIo(this)
    this.mmio = [
      {
        base,
        size: 0x1000,
        access: 'answered',
        read: (offset, size) => this.#read(offset, size),
        write: (offset, size, value) => this.#write(offset, size, value),
      },
    ]
    this.state = {
      name: 'ioapic',
      version: 1,
      save: () => this.#save(),
      load: (state, version) => {
        requireVersion(this.state, version)
        this.#load(new StateReader('ioapic', state))
      },
    }
    this.metrics = { read: () => ({ delivered: this.#delivered }) }
  }

  line(pin: number): IrqLine {
    let line = this.#pins[pin]
    if (line === undefined) {
      line = createIrqLine((level) => this.#setLine(pin, level))
      this.#pins[pin] = line
    }
    return line
  }

  endOfInterrupt(vector: number): void {
    for (let pin = 0; pin < IOAPIC_PINS; pin++) {
      const entry = this.#low[pin]!
      if ((entry & (LEVEL | REMOTE_IRR)) !== (LEVEL | REMOTE_IRR) || (entry & 0xff) !== vector) continue
      this.#low[pin] = entry & ~REMOTE_IRR
      this.#serveLevel(pin)
    }
  }

  reset(): void {
    this.#low.fill(MASKED)
    this.#high.fill(0)
    this.#select = 0
    this.#apicId = this.#initialId
  }

  #setLine(pin: number, level: boolean): void {
    const bit = 1 << pin
    const was = (this.#lines & bit) !== 0
    if (level === was) return
    if (!level) {
      this.#lines &= ~bit
      return
    }
    this.#lines |= bit
    const entry = this.#low[pin]!
    if ((entry & LEVEL) !== 0) this.#serveLevel(pin)
    else if ((entry & MASKED) === 0) this.#send(pin)
  }

  #serveLevel(pin: number): void {
    const entry = this.#low[pin]!
    if ((entry & (LEVEL | MASKED | REMOTE_IRR)) !== LEVEL || (this.#lines & (1 << pin)) === 0) return
    // Set before sending: an EOI can come back from within.
    this.#low[pin] = entry | REMOTE_IRR
    if (!this.#send(pin)) this.#low[pin]! &= ~REMOTE_IRR
  }

  #send(pin: number): boolean {
    const entry = this.#low[pin]!
    const mode = (entry >>> 8) & 7
    const logical = (entry & LOGICAL) !== 0
    const destination = this.#high[pin]! >>> 24
    // Only fixed and lowest priority can be level-triggered; the others are edges whatever the bit says.
    const level = (entry & LEVEL) !== 0 && mode <= DeliveryMode.lowestPriority
    this.#delivered++
    return this.#bus.send(
      mode,
      entry & 0xff,
      level,
      !logical && destination === 0xff ? BROADCAST : destination,
      logical,
    )
  }

  #read(offset: number, size: number): number {
    const register = offset & ~3
    const word = register === 0 ? this.#select : register === 0x10 ? this.#window() : 0
    const value = word >>> (8 * (offset & 3))
    return size === 4 ? value : value & ((1 << (8 * size)) - 1)
  }

  #window(): number {
    const index = this.#select
    if (index === 0 || index === 2) return this.#apicId << 24
    if (index === 1) return (((IOAPIC_PINS - 1) << 16) | this.#version) >>> 0
    const pin = (index - 0x10) >> 1
    if (pin < 0 || pin >= IOAPIC_PINS) return 0
    return (index & 1) !== 0 ? this.#high[pin]! : this.#low[pin]!
  }

  #write(offset: number, size: number, value: number): void {
    if (offset === 0) this.#select = value & 0xff
    else if (offset === 0x10 && size === 4) this.#writeWindow(value)
    else if (offset === 0x40 && this.#version >= 0x20) this.endOfInterrupt(value & 0xff)
  }

  #writeWindow(value: number): void {
    const index = this.#select
    if (index === 0) {
      this.#apicId = (value >>> 24) & 0xf
      return
    }
    const pin = (index - 0x10) >> 1
    if (pin < 0 || pin >= IOAPIC_PINS) return
    if ((index & 1) !== 0) {
      this.#high[pin] = value & 0xff00_0000
      return
    }
    let entry = (value & WRITABLE) | (this.#low[pin]! & REMOTE_IRR)
    if ((entry & LEVEL) === 0) entry &= ~REMOTE_IRR
    this.#low[pin] = entry
    this.#serveLevel(pin)
  }

  #save(): IoapicState {
    const redirection: number[] = []
    for (let pin = 0; pin < IOAPIC_PINS; pin++) redirection.push(this.#low[pin]!, this.#high[pin]!)
    return { id: this.#apicId, select: this.#select, redirection, lines: this.#lines }
  }

  #load(reader: StateReader): void {
    const id = reader.integer('id', 0, 15)
    const select = reader.u8('select')
    const redirection = reader.integers('redirection', IOAPIC_PINS * 2, 0xffff_ffff)
    const lines = reader.integer('lines', 0, 2 ** IOAPIC_PINS - 1)
    this.#apicId = id
    this.#select = select
    this.#lines = lines
    for (let pin = 0; pin < IOAPIC_PINS; pin++) {
      this.#low[pin] = redirection[2 * pin]! & (WRITABLE | REMOTE_IRR)
      this.#high[pin] = redirection[2 * pin + 1]! & 0xff00_0000
    }
  }
}
