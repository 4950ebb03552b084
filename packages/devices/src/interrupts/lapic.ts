/**
 * A local APIC as the guest sees it (SDM volume 3, chapter 11): the xAPIC page, the x2APIC registers as MSRs 0x800 to
 * 0x8ff, IA32_APIC_BASE and IA32_TSC_DEADLINE; saved state. The interrupt logic is in lapic-core.ts.
 *
 * Each vCPU has its own at the same address, so `page` is no range of the machine's bus: the driver of a vCPU asks its
 * LAPIC first. (A board with one vCPU that never moves the page may put it on the bus.)
 */
import { requireVersion, StateError, type StateSection } from '@trapframe/core'
import type { LapicState } from '@trapframe/cpu'
import type { Device, IoRange } from '../device.ts'
import type { EventQueue } from '../event-queue.ts'
import type { IrqLine } from '../irq-line.ts'
import { StateReader } from '../state-reader.ts'
import type { ApicBus } from './apic-bus.ts'
import {
  type ExtIntSource,
  LapicCore,
  type LapicHost,
  LVT_ENTRIES,
  LVT_WRITABLE,
  Lvt,
  logicalId,
  Register,
} from './lapic-core.ts'
import type { TscClock } from './lapic-timer.ts'

/** Where every local APIC answers after reset. */
export const LAPIC_BASE = 0xfee0_0000
const MSR_APIC_BASE = 0x1b
const MSR_TSC_DEADLINE = 0x6e0
const MSR_X2APIC = 0x800
/** Bits of IA32_APIC_BASE. */
const BSP = 0x100
const EXTENDED = 0x400
const ENABLED = 0x800
/** Reserved bits of the x2APIC interrupt command register; bit 12 (delivery status) is ignored. */
const ICR_RESERVED = 0xfff3_2000

/** A local APIC's surroundings and features. */
export interface LapicOptions {
  /** Initial APIC id, that of CPUID. */
  readonly apicId: number
  /** Guest time, and the timer's event. */
  readonly queue: EventQueue
  /** Carries messages; the device attaches itself. */
  readonly bus: ApicBus
  /** The vCPU that it belongs to. */
  readonly host: LapicHost
  /** For the TSC-deadline timer. */
  readonly tsc: TscClock
  /** Bit 8 of IA32_APIC_BASE. Default: apicId is 0. */
  readonly bootProcessor?: boolean
  /** Frequency of the timer before its divider, which CPUID tells the guest. Default: 10^9. */
  readonly timerHz?: number
  /** CPUID shows x2APIC. Default: true. */
  readonly x2apic?: boolean
  /** CPUID shows the TSC-deadline timer. Default: true. */
  readonly tscDeadline?: boolean
  /** Bits of a physical address. Default: 40. */
  readonly physicalAddressBits?: number
  /**
   * Starts in virtual wire mode, as firmware leaves the boot processor: software-enabled, LINT0 is ExtINT and LINT1 is
   * NMI. Default: false, the state after reset.
   */
  readonly virtualWire?: boolean
}

/** Where an MSR read leaves its value: a vCPU's exit record fits. */
export interface MsrValue {
  /** Low 32 bits, unsigned. */
  value: number
  /** High 32 bits, unsigned. */
  valueHigh: number
}

/** A local APIC: a device whose page and MSRs the vCPU's driver asks first. */
export interface Lapic extends Device {
  readonly state: StateSection<LapicState>
  /** Initial APIC id. */
  readonly apicId: number
  /** The xAPIC page; `base` moves with IA32_APIC_BASE. */
  readonly page: IoRange
  /** Whether the page answers: enabled and in xAPIC mode. */
  readonly pageEnabled: boolean
  /** INTR, from the PIC. */
  readonly lint0: IrqLine
  /** NMI. */
  readonly lint1: IrqLine
  /** Says where vectors of ExtINT come from. Without it they are never delivered. */
  connectExtInt(source: ExtIntSource): void
  /** The vector that the vCPU is to take now, or -1. */
  pending(): number
  /** The vCPU takes it: answers the vector, and the spurious one when there is none. */
  acknowledge(): number
  /** Task priority register, of which CR8 is the high half. */
  taskPriority: number
  /** Whether RDMSR and WRMSR of `index` belong to the LAPIC. */
  ownsMsr(index: number): boolean
  /** RDMSR. Answers false for #GP(0). */
  readMsr(index: number, into: MsrValue): boolean
  /** WRMSR. Answers false for #GP(0). */
  writeMsr(index: number, value: number, valueHigh: number): boolean
  /** To be called after the vCPU's time stamp counter was set: a TSC deadline falls at another time. */
  rearm(): void
  /** What INIT does: registers are reset, id and mode stay. */
  init(): void
}

/** Makes a local APIC in the state after reset, or in virtual wire mode. */
export function createLapic(options: LapicOptions): Lapic {
  return new LapicDevice(options)
}

class LapicDevice implements Lapic {
  readonly id: string
  readonly apicId: number
  readonly page: IoRange
  readonly lint0: IrqLine
  readonly lint1: IrqLine
  readonly state: StateSection<LapicState>
  readonly metrics: { read(): Readonly<Record<string, number>> }
  readonly #core: LapicCore
  readonly #flags: number
  readonly #x2apic: boolean
  readonly #tscDeadline: boolean
  readonly #virtualWire: boolean
  /** Address bits from 32 up that exist. */
  readonly #highMask: number
  #baseLow = 0
  #baseHigh = 0
  #eoiCount = 0

  constructor(options: LapicOptions) {
    const { apicId, timerHz = 1e9, x2apic = true, tscDeadline = true, physicalAddressBits = 40 } = options
    this.id = `lapic-${apicId}`
    this.apicId = apicId
    this.#x2apic = x2apic
    this.#tscDeadline = tscDeadline
    this.#virtualWire = options.virtualWire ?? false
    this.#highMask = 2 ** Math.max(0, physicalAddressBits - 32) - 1
    this.#flags = (options.bootProcessor ?? apicId === 0) ? BSP | ENABLED : ENABLED
    const { queue, bus, host, tsc } = options
    this.#core = new LapicCore({ apicId, queue, bus, host, tsc, timerHz, tscDeadline })
    this.lint0 = this.#core.lint0
    this.lint1 = this.#core.lint1
    const base = (): number => this.#baseHigh * 0x1_0000_0000 + ((this.#baseLow & 0xffff_f000) >>> 0)
    this.page = {
      get base() {
        return base()
      },
      size: 0x1000,
      access: 'answered',
      read: (offset, size) => this.#readPage(offset, size),
      write: (offset, size, value) => this.#writePage(offset, size, value),
    }
    this.state = {
      name: 'lapic',
      version: 1,
      save: () => this.#save(),
      load: (state, version) => {
        requireVersion(this.state, version)
        this.#load(new StateReader(this.id, state))
      },
    }
    this.metrics = {
      read: () => ({
        accepted: this.#core.acceptedCount,
        'timer-expiries': this.#core.timerCount,
        ipis: this.#core.ipiCount,
        eois: this.#eoiCount,
      }),
    }
    this.reset()
  }

  get pageEnabled(): boolean {
    return this.#core.enabled && !this.#core.x2apic
  }

  get taskPriority(): number {
    return this.#core.tpr
  }

  set taskPriority(value: number) {
    if (value !== this.#core.tpr) this.#core.write(Register.tpr, value)
  }

  connectExtInt(source: ExtIntSource): void {
    this.#core.extIntSource = source
  }

  pending(): number {
    return this.#core.pending()
  }

  acknowledge(): number {
    return this.#core.acknowledge()
  }

  rearm(): void {
    this.#core.timer.rearm()
  }

  init(): void {
    this.#core.resetRegisters()
  }

  reset(): void {
    const core = this.#core
    this.#baseLow = (LAPIC_BASE | this.#flags) >>> 0
    this.#baseHigh = 0
    core.enabled = true
    core.x2apic = false
    core.id = this.apicId & 0xff
    core.resetRegisters()
    if (!this.#virtualWire) return
    core.write(Register.svr, 0x1ff)
    core.writeLvt(Lvt.lint0, 0x700)
    core.writeLvt(Lvt.lint1, 0x400)
  }

  ownsMsr(index: number): boolean {
    return (
      (index >= MSR_X2APIC && index < MSR_X2APIC + 0x100) ||
      index === MSR_TSC_DEADLINE ||
      index === MSR_APIC_BASE
    )
  }

  readMsr(index: number, into: MsrValue): boolean {
    into.valueHigh = 0
    if (index === MSR_APIC_BASE) {
      into.value = this.#baseLow
      into.valueHigh = this.#baseHigh
      return true
    }
    if (index === MSR_TSC_DEADLINE) {
      if (!this.#tscDeadline) return false
      into.value = this.#core.timer.deadlineLow
      into.valueHigh = this.#core.timer.deadlineHigh
      return true
    }
    const register = index - MSR_X2APIC
    if (!this.#core.x2apic || !readableInX2apic(register)) return false
    into.value = this.#core.read(register)
    if (register === Register.icrLow) into.valueHigh = this.#core.icrHigh
    return true
  }

  writeMsr(index: number, value: number, valueHigh: number): boolean {
    if (index === MSR_TSC_DEADLINE) {
      if (!this.#tscDeadline) return false
      this.#core.timer.setDeadline(value, valueHigh)
      return true
    }
    if (index === MSR_APIC_BASE) return this.#writeBase(value, valueHigh)
    const register = index - MSR_X2APIC
    if (!this.#core.x2apic || !writableInX2apic(register, value, valueHigh)) return false
    if (register === Register.eoi) this.#eoiCount++
    if (register === Register.icrLow) this.#core.icrHigh = valueHigh
    this.#core.write(register, value)
    return true
  }

  /** IA32_APIC_BASE. SDM 11.4.3 and table 11-5 (transitions between the modes). */
  #writeBase(value: number, valueHigh: number): boolean {
    const core = this.#core
    if ((value & 0x2ff) !== 0 || valueHigh > this.#highMask) return false
    const enabled = (value & ENABLED) !== 0
    const x2apic = (value & EXTENDED) !== 0
    if (x2apic && (!enabled || !this.#x2apic)) return false
    // From x2APIC mode only off; from off only to xAPIC mode.
    if (core.x2apic && enabled && !x2apic) return false
    if (!core.enabled && x2apic) return false
    this.#baseLow = value
    this.#baseHigh = valueHigh
    if (!enabled && core.enabled) {
      core.enabled = false
      core.x2apic = false
      core.id = this.apicId & 0xff
      core.resetRegisters()
    } else if (enabled && !core.enabled) {
      core.enabled = true
      core.refresh()
    } else if (x2apic && !core.x2apic) {
      core.x2apic = true
      core.id = this.apicId
      core.ldr = logicalId(this.apicId)
      core.icrHigh = 0
    }
    return true
  }

  #readPage(offset: number, size: number): number {
    if (!this.pageEnabled) return 0xffff_ffff >>> (32 - 8 * size)
    // Registers are 32 bits wide at multiples of 16; the bytes between are undefined, zero here.
    const byte = offset & 0xf
    if (byte > 3) return 0
    const register = offset >>> 4
    if (!existsInXapic(register)) {
      this.#core.illegalRegister()
      return 0
    }
    const value = this.#core.read(register) >>> (8 * byte)
    return size === 4 ? value : value & ((1 << (8 * size)) - 1)
  }

  #writePage(offset: number, size: number, value: number): void {
    if (!this.pageEnabled || (offset & 0xf) !== 0 || size !== 4) return
    const register = offset >>> 4
    if (register === Register.eoi) this.#eoiCount++
    else if (!existsInXapic(register)) {
      this.#core.illegalRegister()
      return
    }
    this.#core.write(register, value)
  }

  #save(): LapicState {
    const core = this.#core
    return {
      apicBase: this.#baseHigh * 0x1_0000_0000 + this.#baseLow,
      id: core.id,
      tpr: core.tpr,
      ldr: core.ldr,
      dfr: core.dfr,
      svr: core.svr,
      isr: [...core.isr.words],
      tmr: [...core.tmr.words],
      irr: [...core.irr.words],
      esr: core.esr,
      esrPending: core.esrPending,
      icrLow: core.icrLow,
      icrHigh: core.icrHigh,
      lvt: [...core.lvt],
      initialCount: core.timer.initialCount,
      divide: core.timer.divide,
      timerStartCount: core.timer.startCount,
      timerElapsedNs: core.timer.elapsedNs,
      tscDeadlineLow: core.timer.deadlineLow,
      tscDeadlineHigh: core.timer.deadlineHigh,
      lint: core.lintLevel.map(Number),
      extInt: core.extInt,
    }
  }

  #load(reader: StateReader): void {
    const apicBase = reader.integer('apicBase', 0, 2 ** 52)
    const baseLow = apicBase % 0x1_0000_0000
    const enabled = (baseLow & ENABLED) !== 0
    const x2apic = (baseLow & EXTENDED) !== 0
    if (x2apic && !(enabled && this.#x2apic))
      throw new StateError(`section ${this.id}: apicBase is ${apicBase}`)
    const state: LapicState = {
      apicBase,
      id: reader.integer('id', 0, x2apic ? 0xffff_ffff : 0xff),
      tpr: reader.u8('tpr'),
      ldr: reader.u32('ldr'),
      dfr: reader.u32('dfr'),
      svr: reader.integer('svr', 0, 0x3ff),
      isr: reader.integers('isr', 8, 0xffff_ffff),
      tmr: reader.integers('tmr', 8, 0xffff_ffff),
      irr: reader.integers('irr', 8, 0xffff_ffff),
      esr: reader.u8('esr'),
      esrPending: reader.u8('esrPending'),
      icrLow: reader.u32('icrLow'),
      icrHigh: reader.u32('icrHigh'),
      lvt: reader.integers('lvt', LVT_ENTRIES, 0x7_ffff).map((value, n) => value & LVT_WRITABLE[n]!),
      initialCount: reader.u32('initialCount'),
      divide: reader.integer('divide', 0, 0xb) & 0xb,
      timerStartCount: reader.u32('timerStartCount'),
      timerElapsedNs: reader.number('timerElapsedNs'),
      tscDeadlineLow: reader.u32('tscDeadlineLow'),
      tscDeadlineHigh: reader.u32('tscDeadlineHigh'),
      lint: reader.integers('lint', 2, 1),
      extInt: reader.bool('extInt'),
    }
    if (state.timerElapsedNs < 0) throw new StateError(`section ${this.id}: timerElapsedNs is negative`)
    this.#take(state, enabled, x2apic)
  }

  #take(state: LapicState, enabled: boolean, x2apic: boolean): void {
    const core = this.#core
    this.#baseLow = state.apicBase % 0x1_0000_0000
    this.#baseHigh = Math.floor(state.apicBase / 0x1_0000_0000)
    core.enabled = enabled
    core.x2apic = x2apic
    core.id = state.id
    core.tpr = state.tpr
    core.ldr = state.ldr
    core.dfr = state.dfr
    core.svr = state.svr
    core.isr.words.set(state.isr)
    core.tmr.words.set(state.tmr)
    core.irr.words.set(state.irr)
    core.esr = state.esr
    core.esrPending = state.esrPending
    core.icrLow = state.icrLow
    core.icrHigh = state.icrHigh
    core.lvt.set(state.lvt)
    core.lintLevel[0] = state.lint[0] === 1
    core.lintLevel[1] = state.lint[1] === 1
    core.extInt = state.extInt
    const timer = state.lvt[Lvt.timer]!
    core.timer.load(
      (timer >>> 17) & 3,
      (timer & 0x1_0000) !== 0,
      state.initialCount,
      state.divide,
      state.timerStartCount,
      state.timerElapsedNs,
      state.tscDeadlineLow,
      state.tscDeadlineHigh,
    )
    core.refresh()
  }
}

function existsInXapic(register: number): boolean {
  return (
    register === 0x02 ||
    register === 0x03 ||
    (register >= 0x08 && register <= 0x28) ||
    (register >= 0x30 && register <= 0x39) ||
    register === 0x3e
  )
}

function readableInX2apic(register: number): boolean {
  switch (register) {
    case 0x09: // arbitration priority
    case Register.eoi:
    case 0x0c: // remote read
    case Register.dfr:
    case Register.icrHigh:
    case Register.selfIpi:
      return false
    default:
      return existsInXapic(register)
  }
}

function writableInX2apic(register: number, value: number, valueHigh: number): boolean {
  if (register === Register.icrLow) return (value & ICR_RESERVED) === 0
  if (valueHigh !== 0) return false
  switch (register) {
    case Register.eoi:
    case Register.esr:
      return value === 0
    case Register.initialCount:
      return true
    case Register.tpr:
    case Register.selfIpi:
      return value <= 0xff
    case Register.svr:
      // Bits 9 and 12 (focus checking, EOI broadcasts) are reserved here; guests write them back as they were read.
      return (value & 0xffff_ec00) === 0
    case Register.divide:
      return (value & ~0xb) === 0
    default:
      if (register < Register.lvtTimer || register > Register.lvtError) return false
      // Delivery status and remote IRR are read-only and ignored.
      return (value & ~(LVT_WRITABLE[register - Register.lvtTimer]! | 0x5000)) === 0
  }
}
