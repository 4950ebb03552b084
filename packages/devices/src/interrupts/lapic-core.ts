/**
 * The interrupt logic of a local APIC (SDM volume 3, chapter 11): acceptance, priorities, EOI, local vector table,
 * inter-processor interrupts, errors. Registers are addressed by number, which is the MMIO offset divided by 16 and the
 * MSR number less 0x800; what the two ways of access allow is checked in front (lapic.ts).
 */
import type { EventQueue } from '../event-queue.ts'
import { createIrqLine, type IrqLine } from '../irq-line.ts'
import { type ApicBus, type ApicTarget, BROADCAST, DeliveryMode } from './apic-bus.ts'
import { LapicTimer, type TscClock } from './lapic-timer.ts'
import { VectorSet } from './vector-set.ts'

/** Numbers of registers. */
export const Register = {
  id: 0x02,
  version: 0x03,
  tpr: 0x08,
  ppr: 0x0a,
  eoi: 0x0b,
  ldr: 0x0d,
  dfr: 0x0e,
  svr: 0x0f,
  isr: 0x10,
  tmr: 0x18,
  irr: 0x20,
  esr: 0x28,
  icrLow: 0x30,
  icrHigh: 0x31,
  lvtTimer: 0x32,
  lvtError: 0x37,
  initialCount: 0x38,
  currentCount: 0x39,
  divide: 0x3e,
  selfIpi: 0x3f,
} as const

/** Entries of the local vector table, in the order of their registers from 0x32. */
export const Lvt = { timer: 0, thermal: 1, performance: 2, lint0: 3, lint1: 4, error: 5 } as const
export const LVT_ENTRIES = 6

/** Bits of each LVT entry that can be written. */
export const LVT_WRITABLE: readonly number[] = [0x7_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff]
const LVT_MASKED = 1 << 16
const SVR_ENABLED = 1 << 8
const SVR_WRITABLE = 0x3ff

/** Bits of the error status register. */
const EsrBit = { sendIllegalVector: 0x20, receiveIllegalVector: 0x40, illegalRegister: 0x80 } as const

/** Version 0x14 with six LVT entries, without suppression of EOI broadcasts. */
const VERSION = 0x14 | ((LVT_ENTRIES - 1) << 16)

/** What a local APIC asks of the driver of its vCPU. */
export interface LapicHost {
  /** `pending()` is 0 or more now, where it was not: the vCPU is to be woken or kicked. */
  interruptPending(): void
  /** A non-maskable interrupt for the vCPU. */
  nmi(): void
  /** A system management interrupt for the vCPU. */
  smi(): void
  /** INIT: the vCPU resets and waits for a start-up message. */
  init(): void
  /** Start-up message: the vCPU begins at `page` * 4096 in real mode, if it waits for that. */
  startup(page: number): void
}

/** Where ExtINT vectors come from: the PIC. */
export interface ExtIntSource {
  /** The vector that `acknowledge` would give, without side effects. */
  peek(): number
  /** Takes the interrupt: answers its vector. */
  acknowledge(): number
}

export interface LapicCoreOptions {
  readonly apicId: number
  readonly queue: EventQueue
  readonly bus: ApicBus
  readonly host: LapicHost
  readonly timerHz: number
  readonly tsc: TscClock
  readonly tscDeadline: boolean
}

export class LapicCore implements ApicTarget {
  readonly timer: LapicTimer
  readonly lint0: IrqLine
  readonly lint1: IrqLine
  readonly isr: VectorSet = new VectorSet()
  readonly tmr: VectorSet = new VectorSet()
  readonly irr: VectorSet = new VectorSet()
  readonly lvt: Uint32Array = new Uint32Array(LVT_ENTRIES)
  readonly lintLevel: [boolean, boolean] = [false, false]
  extIntSource: ExtIntSource | undefined
  /** IA32_APIC_BASE bit 11, and bit 10. */
  enabled = true
  x2apic = false
  id: number
  tpr = 0
  ldr = 0
  dfr = 0xffff_ffff
  svr = 0xff
  esr = 0
  esrPending = 0
  icrLow = 0
  icrHigh = 0
  /** An ExtINT message from the bus that waits for its acknowledge. */
  extInt = false
  acceptedCount = 0
  timerCount = 0
  ipiCount = 0
  readonly #bus: ApicBus
  readonly #host: LapicHost
  readonly #timerWritable: number
  /** Highest vector that the priorities let through, or -1. */
  #deliverable = -1
  #announced = false

  constructor(options: LapicCoreOptions) {
    this.id = options.apicId
    this.#bus = options.bus
    this.#host = options.host
    this.#timerWritable = options.tscDeadline ? LVT_WRITABLE[Lvt.timer]! : 0x3_00ff
    this.timer = new LapicTimer({
      id: options.apicId,
      queue: options.queue,
      hz: options.timerHz,
      tsc: options.tsc,
      expire: () => {
        this.timerCount++
        this.#deliverLocal(Lvt.timer)
      },
    })
    this.lint0 = createIrqLine((level) => this.#setLint(0, level))
    this.lint1 = createIrqLine((level) => this.#setLint(1, level))
    this.resetRegisters()
    options.bus.attachLocal(this)
  }

  /** The vector that would be acknowledged now, or -1. */
  pending(): number {
    if (this.#extIntActive()) return this.extIntSource!.peek()
    return this.#deliverable
  }

  /** The processor takes the interrupt: answers its vector. */
  acknowledge(): number {
    if (this.#extIntActive()) {
      this.extInt = false
      const vector = this.extIntSource!.acknowledge()
      this.refresh()
      return vector
    }
    const vector = this.#deliverable
    if (vector < 0) return this.svr & 0xff
    this.irr.remove(vector)
    this.isr.add(vector)
    this.refresh()
    return vector
  }

  get ppr(): number {
    const service = this.isr.highest()
    return service >= 0 && (service & 0xf0) > (this.tpr & 0xf0) ? service & 0xf0 : this.tpr
  }

  get arbitrationPriority(): number {
    return this.ppr
  }

  matches(destination: number, logical: boolean): boolean {
    if (!this.enabled) return false
    if (!logical) return destination === this.id || destination === BROADCAST
    if (this.x2apic) {
      if (destination === BROADCAST) return true
      return destination >>> 16 === this.ldr >>> 16 && (destination & this.ldr & 0xffff) !== 0
    }
    const own = this.ldr >>> 24
    if (this.dfr >>> 28 === 0xf) return (destination & own & 0xff) !== 0
    // Cluster model: the high nibble is the cluster, 15 addresses all of them.
    const cluster = (destination >>> 4) & 0xf
    return (cluster === own >>> 4 || cluster === 0xf) && (destination & own & 0xf) !== 0
  }

  accept(mode: number, vector: number, level: boolean): boolean {
    switch (mode) {
      case DeliveryMode.fixed:
      case DeliveryMode.lowestPriority:
        return this.#acceptFixed(vector, level)
      case DeliveryMode.smi:
        this.#host.smi()
        return true
      case DeliveryMode.nmi:
        this.#host.nmi()
        return true
      case DeliveryMode.init:
        this.#host.init()
        return true
      case DeliveryMode.startup:
        this.#host.startup(vector)
        return true
      case DeliveryMode.extInt:
        if (this.extIntSource === undefined) return false
        this.extInt = true
        this.refresh()
        return true
      default:
        return false
    }
  }

  /** Value of a register. */
  read(register: number): number {
    switch (register) {
      case Register.id:
        return this.x2apic ? this.id : (this.id << 24) >>> 0
      case Register.version:
        return VERSION
      case Register.tpr:
        return this.tpr
      case Register.ppr:
        return this.ppr
      case Register.ldr:
        return this.ldr
      case Register.dfr:
        return this.dfr
      case Register.svr:
        return this.svr
      case Register.esr:
        return this.esr
      case Register.icrLow:
        return this.icrLow
      case Register.icrHigh:
        return this.icrHigh
      case Register.initialCount:
        return this.timer.initialCount
      case Register.currentCount:
        return this.timer.currentCount()
      case Register.divide:
        return this.timer.divide
    }
    if (register >= Register.isr && register < Register.isr + 8) return this.isr.words[register & 7]!
    if (register >= Register.tmr && register < Register.tmr + 8) return this.tmr.words[register & 7]!
    if (register >= Register.irr && register < Register.irr + 8) return this.irr.words[register & 7]!
    if (register >= Register.lvtTimer && register <= Register.lvtError)
      return this.#readLvt(register - Register.lvtTimer)
    return 0
  }

  /** Writes a register; those that are read-only stay. */
  write(register: number, value: number): void {
    switch (register) {
      case Register.eoi:
        this.#endOfInterrupt()
        break
      case Register.initialCount:
        this.timer.setInitialCount(value)
        break
      case Register.tpr:
        this.tpr = value & 0xff
        this.refresh()
        break
      case Register.icrLow:
        this.icrLow = value & 0xc_cfff
        this.#sendIpi(this.x2apic ? this.icrHigh : this.icrHigh >>> 24)
        break
      case Register.icrHigh:
        this.icrHigh = this.x2apic ? value : value & 0xff00_0000
        break
      case Register.selfIpi:
        this.#acceptFixed(value & 0xff, false)
        break
      case Register.id:
        if (!this.x2apic) this.id = value >>> 24
        break
      case Register.ldr:
        if (!this.x2apic) this.ldr = value & 0xff00_0000
        break
      case Register.dfr:
        if (!this.x2apic) this.dfr = (value | 0x0fff_ffff) >>> 0
        break
      case Register.svr:
        this.svr = value & SVR_WRITABLE
        if ((value & SVR_ENABLED) === 0) for (let n = 0; n < LVT_ENTRIES; n++) this.writeLvt(n, this.lvt[n]!)
        break
      case Register.esr:
        this.esr = this.esrPending
        this.esrPending = 0
        break
      case Register.divide:
        this.timer.setDivide(value)
        break
      default:
        if (register >= Register.lvtTimer && register <= Register.lvtError)
          this.writeLvt(register - Register.lvtTimer, value)
    }
  }

  writeLvt(entry: number, value: number): void {
    let written = value & (entry === Lvt.timer ? this.#timerWritable : LVT_WRITABLE[entry]!)
    // While the APIC is switched off by software, all entries stay masked.
    if ((this.svr & SVR_ENABLED) === 0) written |= LVT_MASKED
    this.lvt[entry] = written
    if (entry === Lvt.timer) this.timer.configure((written >>> 17) & 3, (written & LVT_MASKED) !== 0)
    else if (entry === Lvt.lint0 || entry === Lvt.lint1) this.#serveLint(entry - Lvt.lint0, false)
  }

  /** An access to a register that does not exist. */
  illegalRegister(): void {
    this.#error(EsrBit.illegalRegister)
  }

  /** Registers as INIT leaves them; the id and the mode stay. */
  resetRegisters(): void {
    this.tpr = 0
    this.ldr = this.x2apic ? logicalId(this.id) : 0
    this.dfr = 0xffff_ffff
    this.svr = 0xff
    this.esr = 0
    this.esrPending = 0
    this.icrLow = 0
    this.icrHigh = 0
    this.extInt = false
    this.isr.clear()
    this.tmr.clear()
    this.irr.clear()
    this.lvt.fill(LVT_MASKED)
    this.timer.reset()
    this.refresh()
  }

  /** Brings what follows from IRR, ISR, TPR and the pins up to date, and tells the host. */
  refresh(): void {
    const request = this.irr.highest()
    this.#deliverable = request >= 0 && (request & 0xf0) > (this.ppr & 0xf0) ? request : -1
    const pending = this.#deliverable >= 0 || this.#extIntActive()
    if (pending === this.#announced) return
    this.#announced = pending
    if (pending) this.#host.interruptPending()
  }

  #endOfInterrupt(): void {
    const vector = this.isr.highest()
    if (vector < 0) return
    this.isr.remove(vector)
    this.refresh()
    if (this.tmr.has(vector)) this.#bus.broadcastEoi(vector)
  }

  #acceptFixed(vector: number, level: boolean): boolean {
    if (!this.enabled || (this.svr & SVR_ENABLED) === 0) return false
    if (vector < 16) {
      this.#error(EsrBit.receiveIllegalVector)
      return true
    }
    this.acceptedCount++
    this.irr.add(vector)
    if (level) this.tmr.add(vector)
    else this.tmr.remove(vector)
    this.refresh()
    return true
  }

  #sendIpi(destination: number): void {
    const low = this.icrLow
    const mode = (low >>> 8) & 7
    const vector = low & 0xff
    const shorthand = (low >>> 18) & 3
    const logical = (low & 0x800) !== 0
    this.ipiCount++
    if (mode <= DeliveryMode.lowestPriority && vector < 16) {
      this.#error(EsrBit.sendIllegalVector)
      return
    }
    if (mode === DeliveryMode.extInt) return
    // INIT level de-assert synchronised arbitration ids of old processors; nothing happens today.
    if (mode === DeliveryMode.init && (low & 0xc000) === 0x8000) return
    if (shorthand === 1) this.#acceptFixed(vector, false)
    else if (shorthand === 2) this.#bus.send(mode, vector, false, BROADCAST, false)
    else if (shorthand === 3) this.#bus.send(mode, vector, false, BROADCAST, false, this)
    else {
      const all = !this.x2apic && !logical && destination === 0xff
      this.#bus.send(mode, vector, false, all ? BROADCAST : destination, logical)
    }
  }

  #error(bit: number): void {
    const first = (this.esrPending & bit) === 0
    this.esrPending |= bit
    // Only once for each kind until the next write to ESR; so an error entry with an illegal vector ends, too.
    if (first) this.#deliverLocal(Lvt.error)
  }

  /** The source of an LVT entry fires once. */
  #deliverLocal(entry: number): void {
    const value = this.lvt[entry]!
    if (!this.enabled || (value & LVT_MASKED) !== 0) return
    const mode = entry === Lvt.timer || entry === Lvt.error ? DeliveryMode.fixed : (value >>> 8) & 7
    if (mode === DeliveryMode.fixed) this.#acceptFixed(value & 0xff, false)
    else if (mode === DeliveryMode.nmi) this.#host.nmi()
    else if (mode === DeliveryMode.smi) this.#host.smi()
    else if (mode === DeliveryMode.init) this.#host.init()
  }

  #readLvt(entry: number): number {
    const value = this.lvt[entry]!
    return entry === Lvt.lint0 || entry === Lvt.lint1
      ? value | (this.#lintInService(entry) ? 0x4000 : 0)
      : value
  }

  #setLint(pin: 0 | 1, level: boolean): void {
    this.lintLevel[pin] = level
    this.#serveLint(pin, level)
  }

  /** A LINT pin changed (`edge`: it rose) or its entry did. */
  #serveLint(pin: number, edge: boolean): void {
    const entry = Lvt.lint0 + pin
    const value = this.lvt[entry]!
    const level = this.lintLevel[pin as 0 | 1]
    if (!this.enabled) {
      // Without a local APIC the pins are INTR and NMI.
      if (pin === 1 && edge) this.#host.nmi()
      else this.refresh()
      return
    }
    const mode = (value >>> 8) & 7
    if (mode === DeliveryMode.extInt) this.refresh()
    else if (mode === DeliveryMode.fixed && (value & 0x8000) !== 0) {
      if (level && (value & LVT_MASKED) === 0 && !this.#lintInService(entry))
        this.#acceptFixed(value & 0xff, true)
      this.refresh()
    } else {
      if (edge) this.#deliverLocal(entry)
      this.refresh()
    }
  }

  /** Remote IRR of a level-triggered LINT entry: requested or in service. */
  #lintInService(entry: number): boolean {
    const value = this.lvt[entry]!
    if ((value & 0x8700) !== 0x8000) return false
    const vector = value & 0xff
    return this.tmr.has(vector) && (this.irr.has(vector) || this.isr.has(vector))
  }

  /** Whether an ExtINT waits: LINT0 as INTR, or a message from an IOAPIC. */
  #extIntActive(): boolean {
    if (this.extIntSource === undefined) return false
    if (this.extInt) return true
    if (!this.lintLevel[0]) return false
    if (!this.enabled) return true
    const value = this.lvt[Lvt.lint0]!
    return (value & LVT_MASKED) === 0 && ((value >>> 8) & 7) === DeliveryMode.extInt
  }
}

/** Logical id in x2APIC mode: cluster in the high half, one bit in the low half. */
export function logicalId(id: number): number {
  return (((id >>> 4) << 16) | (1 << (id & 15))) >>> 0
}
