import { beforeEach, describe, expect, test } from 'vitest'
import {
  createApicBus,
  createEventQueue,
  createInterruptRouter,
  createIoapic,
  createLapic,
  createPic,
  type Ioapic,
  type Lapic,
  type LapicOptions,
} from '../src/index.ts'

interface Bench {
  lapic: Lapic
  other: Lapic
  ioapic: Ioapic
  log: string[]
  advance(ns: number): void
  reg(offset: number): number
  set(offset: number, value: number): void
  io(index: number): number
  setIo(index: number, value: number): void
  pin(pin: number, low: number, high?: number): void
}

let bench: Bench

function newBench(options: Partial<LapicOptions> = {}): Bench {
  let now = 0
  const queue = createEventQueue({ nowNs: () => now })
  const log: string[] = []
  const host = (name: string) => ({
    interruptPending: () => log.push(`${name} pending`),
    nmi: () => log.push(`${name} nmi`),
    smi: () => log.push(`${name} smi`),
    init: () => log.push(`${name} init`),
    startup: (page: number) => log.push(`${name} startup ${page}`),
  })
  const bus = createApicBus()
  const tsc = { nsAt: (value: number) => value / 2 }
  const lapic = createLapic({ apicId: 0, queue, bus, host: host('0'), tsc, ...options })
  const other = createLapic({ apicId: 1, queue, bus, host: host('1'), tsc, ...options })
  const ioapic = createIoapic({ bus })
  const io = ioapic.mmio![0]!
  return {
    lapic,
    other,
    ioapic,
    log,
    advance(ns) {
      now += ns
      queue.runDue(now)
    },
    reg: (offset) => lapic.page.read(offset, 4) >>> 0,
    set: (offset, value) => lapic.page.write(offset, 4, value),
    io(index) {
      io.write(0, 4, index)
      return io.read(0x10, 4) >>> 0
    },
    setIo(index, value) {
      io.write(0, 4, index)
      io.write(0x10, 4, value)
    },
    pin(pin, low, high = 0) {
      this.setIo(0x11 + 2 * pin, high)
      this.setIo(0x10 + 2 * pin, low)
    },
  }
}

/** Switches both APICs on by software. */
function enable(): void {
  bench.lapic.page.write(0xf0, 4, 0x1ff)
  bench.other.page.write(0xf0, 4, 0x1ff)
}

const msr = { value: 0, valueHigh: 0 }

beforeEach(() => {
  bench = newBench()
})

describe('LAPIC', () => {
  test('default: registers after reset', () => {
    const { reg, lapic } = bench
    expect(reg(0x20)).toBe(0)
    expect(bench.other.page.read(0x20, 4)).toBe(0x0100_0000)
    expect(reg(0x30)).toBe(0x0005_0014)
    expect(reg(0xe0)).toBe(0xffff_ffff)
    expect(reg(0xf0)).toBe(0xff)
    for (const lvt of [0x320, 0x330, 0x340, 0x350, 0x360, 0x370]) expect(reg(lvt)).toBe(0x1_0000)
    expect(lapic.readMsr(0x1b, msr)).toBe(true)
    expect(msr).toEqual({ value: 0xfee0_0900, valueHigh: 0 })
    bench.other.readMsr(0x1b, msr)
    expect(msr.value).toBe(0xfee0_0800)
    expect(lapic.page.base).toBe(0xfee0_0000)
    expect(lapic.pending()).toBe(-1)
  })

  test('behaviour: a self IPI is requested, served and ended', () => {
    enable()
    const { reg, set, lapic } = bench
    set(0x300, 0x4_0000 | 0x4055)
    expect(reg(0x220)).toBe(1 << 21)
    expect(bench.log).toEqual(['0 pending'])
    expect(lapic.pending()).toBe(0x55)
    expect(lapic.acknowledge()).toBe(0x55)
    expect([reg(0x220), reg(0x120), reg(0xa0)]).toEqual([0, 1 << 21, 0x50])
    expect(lapic.pending()).toBe(-1)
    set(0xb0, 0)
    expect([reg(0x120), reg(0xa0)]).toEqual([0, 0])
    expect(reg(0x300) & 0x1000).toBe(0)
  })

  test('behaviour: only a higher class interrupts, by service and by task priority', () => {
    enable()
    const { set, lapic, reg } = bench
    const send = (vector: number): void => set(0x300, 0x4_4000 | vector)
    send(0x61)
    lapic.acknowledge()
    send(0x6f)
    expect(lapic.pending()).toBe(-1)
    send(0x70)
    expect(lapic.pending()).toBe(0x70)
    set(0x80, 0x70)
    expect([lapic.pending(), reg(0xa0)]).toEqual([-1, 0x70])
    lapic.taskPriority = 0x6f
    expect([lapic.pending(), reg(0xa0), reg(0x80)]).toEqual([0x70, 0x6f, 0x6f])
    expect(lapic.acknowledge()).toBe(0x70)
    set(0xb0, 0)
    set(0xb0, 0)
    set(0x80, 0)
    expect(lapic.acknowledge()).toBe(0x6f)
  })

  test('behaviour: an acknowledge without a request gives the spurious vector and no service', () => {
    enable()
    expect(bench.lapic.acknowledge()).toBe(0xff)
    expect(bench.reg(0x170)).toBe(0)
  })

  test('behaviour: switched off by software it accepts nothing and masks its entries', () => {
    const { set, reg, lapic } = bench
    set(0x350, 0x700)
    expect(reg(0x350)).toBe(0x1_0700)
    set(0x300, 0x4_4055)
    expect(lapic.pending()).toBe(-1)
    enable()
    set(0x320, 0x2_0040)
    set(0xf0, 0xff)
    expect(reg(0x320)).toBe(0x3_0040)
  })

  test('behaviour: messages between processors', () => {
    enable()
    const { set, log, lapic, other } = bench
    set(0x310, 1 << 24)
    set(0x300, 0x4042)
    expect([lapic.pending(), other.pending()]).toEqual([-1, 0x42])
    set(0x300, 0x4500) // INIT
    set(0x300, 0x8500) // INIT de-assert
    set(0x300, 0x4608) // start-up
    set(0x300, 0x4400) // NMI
    set(0x300, 0x8_4033) // all
    set(0x300, 0xc_4034) // all but self
    expect(log.filter((line) => !line.endsWith('pending'))).toEqual(['1 init', '1 startup 8', '1 nmi'])
    expect(lapic.acknowledge()).toBe(0x33)
    expect(lapic.pending()).toBe(-1)
    expect([other.acknowledge(), other.pending()]).toEqual([0x42, -1])
    other.page.write(0xb0, 4, 0)
    expect([other.acknowledge(), other.pending()]).toEqual([0x34, -1])
  })

  test('behaviour: logical destinations, flat and cluster', () => {
    enable()
    const { set, other, lapic } = bench
    set(0xd0, 0x01 << 24)
    other.page.write(0xd0, 4, 0x02 << 24)
    set(0x310, 0x02 << 24)
    set(0x300, 0x4841)
    expect([lapic.pending(), other.pending()]).toEqual([-1, 0x41])
    set(0x310, 0x03 << 24)
    set(0x300, 0x4851)
    expect([lapic.pending(), other.pending()]).toEqual([0x51, 0x51])
    for (const apic of [lapic, other]) apic.page.write(0xe0, 4, 0x0fff_ffff)
    set(0xd0, 0x11 << 24)
    other.page.write(0xd0, 4, 0x21 << 24)
    set(0x310, 0x21 << 24)
    set(0x300, 0x4861)
    expect([lapic.pending(), other.pending()]).toEqual([0x51, 0x61])
    set(0x310, 0xf1 << 24)
    set(0x300, 0x4871)
    expect([lapic.pending(), other.pending()]).toEqual([0x71, 0x71])
  })

  test('behaviour: lowest priority goes to one of them, in turn among equals', () => {
    enable()
    const { set, other, lapic } = bench
    set(0x310, 0xff << 24)
    set(0x300, 0x4141)
    const first = lapic.pending() === 0x41 ? lapic : other
    const second = first === lapic ? other : lapic
    expect(second.pending()).toBe(-1)
    set(0x300, 0x4142)
    expect(second.pending()).toBe(0x42)
    lapic.taskPriority = 0x80
    for (let n = 0; n < 3; n++) set(0x300, 0x4190 + n)
    expect(other.pending()).toBe(0x92)
    expect(bench.reg(0x240)).toBe(0)
  })

  test('behaviour: errors are latched by a write to ESR and interrupt once', () => {
    enable()
    const { set, reg, lapic } = bench
    set(0x370, 0xfe)
    set(0x300, 0x4_4005)
    expect(reg(0x280)).toBe(0)
    expect(lapic.acknowledge()).toBe(0xfe)
    set(0x300, 0x4_4005)
    expect(reg(0x270)).toBe(0)
    set(0x280, 0)
    expect(reg(0x280)).toBe(0x20)
    reg(0x3f0)
    bench.pin(3, 0x05)
    bench.ioapic.line(3).pulse()
    set(0x280, 0)
    expect(reg(0x280)).toBe(0xc0)
    set(0x370, 0x02)
    reg(0x40)
    set(0x280, 0)
    expect(reg(0x280)).toBe(0xc0)
  })

  test('behaviour: LINT pins deliver NMI, fixed edges and levels', () => {
    enable()
    const { set, reg, lapic, log } = bench
    set(0x360, 0x400)
    lapic.lint1.pulse()
    expect(log).toEqual(['0 nmi'])
    set(0x360, 0x45)
    lapic.lint1.pulse()
    expect(lapic.acknowledge()).toBe(0x45)
    set(0xb0, 0)
    set(0x350, 0x8046)
    lapic.lint0.set(true)
    expect(lapic.acknowledge()).toBe(0x46)
    expect(reg(0x350)).toBe(0xc046)
    lapic.lint0.set(false)
    set(0xb0, 0)
    expect([lapic.pending(), reg(0x350)]).toEqual([-1, 0x8046])
  })

  test('behaviour: in virtual wire mode interrupts of the PIC come through LINT0', () => {
    bench = newBench({ virtualWire: true })
    const { lapic, set } = bench
    const pic = createPic({ output: lapic.lint0 })
    lapic.connectExtInt(pic)
    for (const [port, value] of [
      [0, 0x11],
      [1, 0x30],
      [1, 4],
      [1, 1],
    ] as const)
      pic.pio![0]!.write(port, 1, value)
    pic.line(4).pulse()
    expect(bench.log).toEqual(['0 pending'])
    expect(lapic.pending()).toBe(0x34)
    // No priority holds ExtINT back.
    set(0x80, 0xff)
    expect(lapic.acknowledge()).toBe(0x34)
    expect(lapic.pending()).toBe(-1)
    pic.pio![0]!.write(0, 1, 0x20)
    set(0x350, 0x1_0700)
    pic.line(4).pulse()
    expect(lapic.pending()).toBe(-1)
    set(0x350, 0x700)
    expect(lapic.pending()).toBe(0x34)
  })
})

describe('LAPIC timer', () => {
  test('behaviour: one-shot', () => {
    enable()
    const { set, reg, lapic, advance } = bench
    set(0x320, 0x40)
    set(0x3e0, 0xb) // by 1
    set(0x380, 1000)
    advance(400)
    expect(reg(0x390)).toBe(600)
    expect(lapic.pending()).toBe(-1)
    advance(600)
    expect(reg(0x390)).toBe(0)
    expect(lapic.acknowledge()).toBe(0x40)
    set(0xb0, 0)
    advance(1e9)
    expect(lapic.pending()).toBe(-1)
    expect(reg(0x380)).toBe(1000)
    set(0x380, 1000)
    set(0x380, 0)
    advance(5000)
    expect(lapic.pending()).toBe(-1)
  })

  test('behaviour: periodic with a divider', () => {
    enable()
    const { set, reg, lapic, advance } = bench
    set(0x320, 0x2_0041)
    set(0x3e0, 0x3) // by 16
    set(0x380, 10_000)
    let count = 0
    for (let n = 0; n < 100; n++) {
      advance(16_000)
      if (lapic.pending() !== 0x41) continue
      lapic.acknowledge()
      set(0xb0, 0)
      count++
    }
    expect(count).toBe(10)
    advance(1600)
    expect(reg(0x390)).toBe(9900)
    expect(reg(0x380)).toBe(10_000)
    // A late driver gets one interrupt for many periods, and the phase stays.
    advance(160_000 * 7)
    expect(lapic.acknowledge()).toBe(0x41)
    set(0xb0, 0)
    expect(reg(0x390)).toBe(9900)
    advance(158_399)
    expect(lapic.pending()).toBe(-1)
    advance(1)
    expect(lapic.pending()).toBe(0x41)
  })

  test.each([
    [0x0, 2],
    [0x1, 4],
    [0x2, 8],
    [0x3, 16],
    [0x8, 32],
    [0x9, 64],
    [0xa, 128],
    [0xb, 1],
  ])('behaviour: divide configuration %d divides by %d', (code, divisor) => {
    bench.set(0x3e0, code)
    bench.set(0x380, 1000)
    bench.advance(divisor * 10)
    expect(bench.reg(0x390)).toBe(990)
  })

  test('behaviour: a very short period does not keep the host busy', () => {
    enable()
    const { set, advance, lapic } = bench
    set(0x320, 0x2_0041)
    set(0x3e0, 0xb)
    set(0x380, 1)
    for (let n = 0; n < 1000; n++) advance(1000)
    expect(lapic.metrics!.read()['timer-expiries']).toBeLessThanOrEqual(101)
    expect(lapic.metrics!.read()['timer-expiries']).toBeGreaterThan(50)
  })

  test('behaviour: TSC deadline', () => {
    enable()
    const { set, lapic, advance, reg } = bench
    expect(lapic.writeMsr(0x6e0, 100, 0)).toBe(true)
    lapic.readMsr(0x6e0, msr)
    expect(msr.value).toBe(0)
    set(0x320, 0x4_0050)
    lapic.writeMsr(0x6e0, 0x10, 1)
    lapic.readMsr(0x6e0, msr)
    expect(msr).toEqual({ value: 0x10, valueHigh: 1 })
    set(0x380, 55)
    expect(reg(0x380)).toBe(0)
    advance(0x8000_0007)
    expect(lapic.pending()).toBe(-1)
    advance(1)
    expect(lapic.acknowledge()).toBe(0x50)
    lapic.readMsr(0x6e0, msr)
    expect(msr).toEqual({ value: 0, valueHigh: 0 })
    set(0xb0, 0)
    // A deadline in the past is due at once.
    lapic.writeMsr(0x6e0, 1, 0)
    advance(0)
    expect(lapic.pending()).toBe(0x50)
    lapic.acknowledge()
    set(0xb0, 0)
    lapic.writeMsr(0x6e0, 0, 5)
    set(0x320, 0x50)
    lapic.readMsr(0x6e0, msr)
    expect(msr.valueHigh).toBe(0)
    advance(2 ** 40)
    expect(lapic.pending()).toBe(-1)
  })

  test('behaviour: a masked timer counts and does not interrupt', () => {
    enable()
    const { set, reg, lapic, advance } = bench
    set(0x320, 0x1_0040)
    set(0x3e0, 0xb)
    set(0x380, 1000)
    advance(500)
    expect(reg(0x390)).toBe(500)
    set(0x320, 0x40)
    advance(500)
    expect(lapic.pending()).toBe(0x40)
  })
})

describe('x2APIC and the MSRs', () => {
  const write = (index: number, value: number, high = 0): boolean => bench.lapic.writeMsr(index, value, high)
  const read = (index: number): number | undefined =>
    bench.lapic.readMsr(index, msr) ? msr.value : undefined
  const toX2apic = (apic = bench.lapic): boolean => apic.writeMsr(0x1b, 0xfee0_0d00, 0)

  test('default: the registers are MSRs, the page is gone', () => {
    enable()
    expect(read(0x802)).toBeUndefined()
    expect(toX2apic(bench.other)).toBe(true)
    expect(toX2apic()).toBe(true)
    expect([bench.lapic.pageEnabled, bench.reg(0x30)]).toEqual([false, 0xffff_ffff])
    expect(read(0x802)).toBe(0)
    expect(read(0x80d)).toBe(1)
    bench.other.readMsr(0x80d, msr)
    expect(msr.value).toBe(2)
    expect(read(0x803)).toBe(0x0005_0014)
    expect(write(0x80f, 0x1ff)).toBe(true)
    expect(write(0x83f, 0x99)).toBe(true)
    expect(bench.lapic.acknowledge()).toBe(0x99)
    expect(read(0x814)).toBe(1 << 25)
    expect(write(0x80b, 0)).toBe(true)
    expect(read(0x814)).toBe(0)
    expect(write(0x830, 0x4077, 1)).toBe(true)
    expect(bench.other.pending()).toBe(0x77)
    bench.lapic.readMsr(0x830, msr)
    expect(msr).toEqual({ value: 0x4077, valueHigh: 1 })
    expect(write(0x830, 0x4887, 3)).toBe(true) // logical: both
    expect([bench.lapic.pending(), bench.other.pending()]).toEqual([0x87, 0x87])
    expect(write(0x830, 0x4097, 0xffff_ffff)).toBe(true) // broadcast
    expect([bench.lapic.pending(), bench.other.pending()]).toEqual([0x97, 0x97])
  })

  test('error: what does not exist or has reserved bits set is #GP', () => {
    toX2apic()
    for (const index of [
      0x800, 0x801, 0x804, 0x809, 0x80b, 0x80c, 0x80e, 0x829, 0x82f, 0x831, 0x83a, 0x83f, 0x8ff,
    ])
      expect(read(index), index.toString(16)).toBeUndefined()
    for (const index of [0x802, 0x803, 0x80a, 0x80d, 0x80e, 0x810, 0x818, 0x820, 0x831, 0x839, 0x840])
      expect(write(index, 0), index.toString(16)).toBe(false)
    for (const [index, value, high] of [
      [0x80b, 1, 0],
      [0x828, 1, 0],
      [0x808, 0x100, 0],
      [0x80f, 0x400, 0],
      [0x83e, 4, 0],
      [0x83f, 0x100, 0],
      [0x832, 0x100, 0],
      [0x837, 0x700, 0],
      [0x830, 0x10_0000, 0],
      [0x838, 0, 1],
    ] as const)
      expect(write(index, value, high), `${index.toString(16)} ${value}`).toBe(false)
    for (const [index, value] of [
      [0x808, 0xff],
      [0x832, 0x4_00ff],
      [0x835, 0x8700],
      [0x838, 0xffff_ffff],
      [0x828, 0],
      [0x83e, 0xb],
    ] as const)
      expect(write(index, value), index.toString(16)).toBe(true)
  })

  test('behaviour: transitions of IA32_APIC_BASE', () => {
    const [off, xapic, x2apic] = [0xfee0_0100, 0xfee0_0900, 0xfee0_0d00]
    expect(write(0x1b, 0xfee0_0500)).toBe(false) // extended without enabled
    expect(write(0x1b, xapic | 1)).toBe(false) // reserved
    expect(write(0x1b, xapic, 0x100)).toBe(false) // beyond 40 bits
    expect(write(0x1b, x2apic)).toBe(true)
    expect(write(0x1b, xapic)).toBe(false)
    expect(read(0x1b)).toBe(x2apic)
    expect(write(0x1b, off)).toBe(true)
    expect(write(0x1b, x2apic)).toBe(false)
    expect(write(0x1b, xapic)).toBe(true)
    expect(bench.reg(0xf0)).toBe(0xff)
    expect(write(0x1b, 0x1000_0900, 2)).toBe(true)
    expect(bench.lapic.page.base).toBe(0x2_1000_0000)
  })

  test('error: what CPUID does not show is #GP', () => {
    bench = newBench({ x2apic: false, tscDeadline: false })
    expect(toX2apic()).toBe(false)
    expect(read(0x6e0)).toBeUndefined()
    expect(write(0x6e0, 1)).toBe(false)
    enable()
    bench.set(0x320, 0x7_0040)
    expect(bench.reg(0x320)).toBe(0x3_0040)
  })

  test('behaviour: x2APIC mode and its timer survive save and load', () => {
    toX2apic()
    write(0x80f, 0x1ff)
    write(0x832, 0x4_0060)
    write(0x6e0, 20_000, 0)
    write(0x83f, 0x31)
    bench.lapic.acknowledge()
    write(0x83f, 0x91)
    const saved = bench.lapic.state.save()
    const before = bench
    bench = newBench()
    bench.lapic.state.load(structuredClone(saved), 1)
    expect(bench.lapic.state.save()).toEqual(saved)
    expect(bench.log).toEqual(['0 pending'])
    for (const { lapic, advance } of [before, bench]) {
      expect(lapic.acknowledge()).toBe(0x91)
      lapic.writeMsr(0x80b, 0, 0)
      lapic.writeMsr(0x80b, 0, 0)
      advance(10_000)
      expect(lapic.pending()).toBe(0x60)
    }
  })
})

describe('IOAPIC', () => {
  test('default: registers', () => {
    const { io, setIo } = bench
    expect(io(1)).toBe(0x0017_0011)
    setIo(0, 0x0f00_0000)
    expect([io(0), io(2)]).toEqual([0x0f00_0000, 0x0f00_0000])
    expect(io(0x10)).toBe(0x1_0000)
    setIo(0x12, 0xffff_ffff)
    setIo(0x13, 0xffff_ffff)
    expect([io(0x12), io(0x13)]).toEqual([0x1_afff, 0xff00_0000])
    expect([io(0x40), io(3)]).toEqual([0, 0])
  })

  test('behaviour: an edge is delivered once; on a masked pin it is lost', () => {
    enable()
    const { pin, ioapic, lapic } = bench
    ioapic.line(4).pulse()
    bench.pin(4, 0x34)
    expect(lapic.pending()).toBe(-1)
    ioapic.line(4).set(true)
    expect(lapic.acknowledge()).toBe(0x34)
    bench.set(0xb0, 0)
    expect(lapic.pending()).toBe(-1)
    ioapic.line(4).set(false)
    ioapic.line(4).set(true)
    expect(lapic.pending()).toBe(0x34)
    expect(pin).toBeDefined()
  })

  test('behaviour: a level is delivered again after its EOI while it stays', () => {
    enable()
    const { ioapic, lapic, io, set } = bench
    bench.pin(9, 0x8049)
    ioapic.line(9).set(true)
    expect(io(0x22)).toBe(0xc049)
    expect(lapic.acknowledge()).toBe(0x49)
    expect(bench.reg(0x1a0)).toBe(1 << 9)
    expect(lapic.pending()).toBe(-1)
    set(0xb0, 0)
    expect(lapic.acknowledge()).toBe(0x49)
    ioapic.line(9).set(false)
    set(0xb0, 0)
    expect([lapic.pending(), io(0x22)]).toEqual([-1, 0x8049])
  })

  test('behaviour: switching to edge clears remote IRR, unmasking serves a level', () => {
    enable()
    const { ioapic, lapic, io } = bench
    bench.pin(9, 0x1_8049)
    ioapic.line(9).set(true)
    expect(lapic.pending()).toBe(-1)
    bench.pin(9, 0x8049)
    expect(lapic.pending()).toBe(0x49)
    bench.pin(9, 0x1_0049)
    expect(io(0x22)).toBe(0x1_0049)
    bench.pin(9, 0x8049)
    expect(io(0x22)).toBe(0xc049)
  })

  test('behaviour: nobody there, no remote IRR', () => {
    bench.pin(9, 0x8049, 5 << 24)
    bench.ioapic.line(9).set(true)
    expect(bench.io(0x22)).toBe(0x8049)
  })

  test('behaviour: delivery modes and destinations', () => {
    enable()
    const { ioapic, log, lapic, other, set } = bench
    bench.pin(1, 0x400, 1 << 24) // NMI
    ioapic.line(1).pulse()
    expect(log).toEqual(['1 nmi'])
    bench.pin(2, 0x41, 0xff << 24)
    ioapic.line(2).pulse()
    expect([lapic.pending(), other.pending()]).toEqual([0x41, 0x41])
    other.page.write(0xd0, 4, 4 << 24)
    bench.pin(3, 0x0852, 4 << 24)
    ioapic.line(3).pulse()
    expect([lapic.pending(), other.pending()]).toEqual([0x41, 0x52])
    const pic = createPic({ output: lapic.lint0 })
    lapic.connectExtInt(pic)
    bench.pin(0, 0x700)
    ioapic.line(0).pulse()
    expect(lapic.pending()).toBe(0x07)
    lapic.acknowledge()
    expect(lapic.pending()).toBe(0x41)
    set(0xb0, 0)
  })

  test('behaviour: the router shares lines and applies the override of interrupt 0', () => {
    enable()
    const { ioapic, lapic, set } = bench
    const pic = createPic({ output: lapic.lint0 })
    const router = createInterruptRouter({ pic, ioapic, isaPin: (irq) => (irq === 0 ? 2 : irq) })
    bench.pin(2, 0x32)
    bench.pin(10, 0x803a)
    router.isa(0).pulse()
    expect(lapic.acknowledge()).toBe(0x32)
    expect(pic.pending).toBe(true)
    set(0xb0, 0)
    const [one, two] = [router.gsi(10), router.gsi(10)]
    one.set(true)
    two.set(true)
    lapic.acknowledge()
    one.set(false)
    set(0xb0, 0)
    expect(lapic.acknowledge()).toBe(0x3a)
    two.set(false)
    set(0xb0, 0)
    expect(lapic.pending()).toBe(-1)
    for (const bad of [2, 16, -1, 1.5]) expect(() => router.isa(bad)).toThrow(/ISA interrupt/)
    expect(() => router.gsi(24)).toThrow(/24/)
  })
})
