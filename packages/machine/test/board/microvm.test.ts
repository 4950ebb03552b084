import type { ExitRecord } from '@trapframe/cpu'
import { createGuestMemory } from '@trapframe/memory'
import { describe, expect, test } from 'vitest'
import type { BuiltBoard } from '../../src/board/board.ts'
import { memoryMap } from '../../src/board/memory-map.ts'
import { type MicrovmOptions, microvm } from '../../src/board/microvm.ts'

const MIB = 2 ** 20

function build(options: MicrovmOptions = {}): {
  board: BuiltBoard
  asked: string[]
  wakes: () => number
  time: { now: number }
} {
  const { ramBytes, build } = microvm({ memoryBytes: 16 * MIB, ...options })
  const asked: string[] = []
  const time = { now: 0 }
  let wakes = 0
  const board = build({
    memory: createGuestMemory({ ramBytes }),
    clock: { nowNs: () => time.now },
    wallClock: { nowMs: () => Date.UTC(2024, 1, 29, 12, 34, 56) },
    timeStamp: () => BigInt(time.now),
    control: {
      powerOff: () => asked.push('off'),
      reset: () => asked.push('reset'),
      debugExit: (value) => asked.push(`exit ${value}`),
    },
    wake: () => {
      wakes++
    },
    log: { debug() {}, warn() {} },
  })
  return { board, asked, wakes: () => wakes, time }
}
const exit = (address: number, value = 0, sizeBytes = 4): ExitRecord => ({
  address,
  sizeBytes,
  value,
  valueHigh: 0,
  fault: false,
})
const LAPIC = 0xfee0_0000
const IOAPIC = 0xfec0_0000

describe('microvm', () => {
  test('default: name, RAM, one vCPU, frequencies in CPUID', () => {
    const board = microvm()
    expect([board.name, board.ramBytes, board.vcpus, board.tscHz]).toEqual(['microvm', 256 * MIB, 1, 1e9])
    const crystal = board.cpuid.find(({ leaf }) => leaf === 0x15)!
    expect((crystal.ecx * crystal.ebx) / crystal.eax).toBe(1e9)
  })

  test('behaviour: every device is at its place', () => {
    const { board } = build()
    const { pio, mmio } = board
    for (const port of [
      0x20, 0xa0, 0x40, 0x61, 0x60, 0x64, 0x70, 0x71, 0xe9, 0xf4, 0x2f8, 0x3f8, 0x600, 0x604, 0x608, 0xcf9,
    ])
      expect(pio.find(port), port.toString(16)).toBeDefined()
    expect(mmio.find(IOAPIC)).toBeDefined()
    expect(Object.keys(board.ports)).toEqual(['com1', 'com2', 'debug-console'])
    const ids = board.devices.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    expect(build({ debugExit: false }).board.pio.find(0xf4)).toBeUndefined()
  })

  test('behaviour: the guest powers off, resets and leaves', () => {
    const { board, asked } = build()
    board.pio.write(0x604, 2, 0x2000)
    board.pio.write(0xcf9, 1, 6)
    board.pio.write(0x64, 1, 0xfe)
    board.pio.write(0xf4, 1, 7)
    expect(asked).toEqual(['off', 'reset', 'reset', 'exit 7'])
  })

  test('behaviour: the timer interrupt arrives at pin 2, and at the PIC’s input 0', () => {
    const { board, time, wakes } = build()
    const processor = board.processors[0]!
    board.pio.write(0x43, 1, 0x34)
    board.pio.write(0x40, 1, 100)
    board.pio.write(0x40, 1, 0)
    // Vector 0x31 for pin 2, edge-triggered, to APIC 0; LAPIC on.
    for (const [register, value] of [
      [0x10 + 4, 0x31],
      [0x11 + 4, 0],
    ]) {
      processor.writeMmio(exit(IOAPIC, register))
      processor.writeMmio(exit(IOAPIC + 0x10, value))
    }
    processor.writeMmio(exit(LAPIC + 0xf0, 0x1ff))
    processor.writeMmio(exit(LAPIC + 0x350, 0x1_0700)) // LINT0 masked: not by way of the PIC
    expect(processor.pending()).toBe(-1)
    time.now = 100_000
    board.events.runDue(time.now)
    expect(processor.pending()).toBe(0x31)
    expect(wakes()).toBeGreaterThan(0)
    expect(processor.acknowledge()).toBe(0x31)
    expect(processor.pending()).toBe(-1)
  })

  test('behaviour: without the IOAPIC the PIC’s vector comes through LINT0, as firmware leaves it', () => {
    const { board, time } = build()
    const { pio } = board
    for (const [port, value] of [
      [0x20, 0x11],
      [0x21, 0x20],
      [0x21, 4],
      [0x21, 1],
      [0x21, 0xfe],
      [0x43, 0x34],
      [0x40, 100],
      [0x40, 0],
    ] as const)
      pio.write(port, 1, value)
    time.now = 200_000
    board.events.runDue(time.now)
    expect(board.processors[0]!.acknowledge()).toBe(0x20)
  })

  test('behaviour: the LAPIC answers at its page only, and its MSRs by CPUID', () => {
    const { board } = build()
    const processor = board.processors[0]!
    const version = exit(LAPIC + 0x30)
    processor.readMmio(version)
    expect(version.value & 0xff).toBe(0x14)
    const nowhere = exit(0xfed4_0000)
    processor.readMmio(nowhere)
    expect(nowhere.value).toBe(0xffff_ffff)
    const base = exit(0x1b, 0, 8)
    processor.readMsr(base)
    expect([base.value, base.fault]).toEqual([0xfee0_0900, false])
    for (const index of [0x802, 0x6e0, 0x1234]) {
      const refused = exit(index, 0, 8)
      processor.readMsr(refused)
      expect(refused.fault, index.toString(16)).toBe(true)
    }
    const more = build({ x2apic: true, tscDeadline: true }).board.processors[0]!
    const deadline = exit(0x6e0, 0, 8)
    more.readMsr(deadline)
    expect(deadline.fault).toBe(false)
  })

  test('behaviour: CR8 and the task priority register are one', () => {
    const { board } = build()
    const processor = board.processors[0]!
    processor.taskPriority = 5
    const tpr = exit(LAPIC + 0x80)
    processor.readMmio(tpr)
    expect(tpr.value).toBe(0x50)
    processor.writeMmio(exit(LAPIC + 0x80, 0x9f))
    expect(processor.taskPriority).toBe(9)
  })

  test('behaviour: serial input waits for RTS, output is handed on by flush', () => {
    const { board } = build()
    const { com1 } = board.ports
    let text = ''
    com1!.onOutput((bytes) => {
      text += new TextDecoder().decode(bytes)
    })
    board.pio.write(0x3f8, 1, 0x41)
    expect(text).toBe('')
    board.flush()
    expect(text).toBe('A')
    com1!.send(new TextEncoder().encode('hi'))
    expect([com1!.waitingBytes, board.pio.read(0x3fd, 1) & 1]).toEqual([2, 0])
    board.pio.write(0x3fc, 1, 2)
    board.events.runDue(1e9)
    expect(board.pio.read(0x3fd, 1) & 1).toBe(1)
    expect(board.pio.read(0x3f8, 1)).toBe(0x68)
  })

  test('behaviour: tables lie where they are looked for, and E820 spares them', () => {
    const { board } = build()
    const rsdp = board.tables.find(({ guestPhysical }) => guestPhysical === board.rsdpAddress)!
    expect(new TextDecoder().decode(rsdp.bytes.subarray(0, 8))).toBe('RSD PTR ')
    for (const { guestPhysical, bytes } of board.tables) {
      const entry = board.memoryMap.find(
        ({ base, sizeBytes }) => guestPhysical >= base && guestPhysical + bytes.length <= base + sizeBytes,
      )
      expect(entry?.type).toBe(2)
    }
  })

  test('error: impossible options', () => {
    expect(() => microvm({ vcpus: 0 })).toThrow(/0 vCPUs/)
    expect(() => microvm({ cpu: 'z80' })).toThrow(/z80/)
  })
})

describe('memory map', () => {
  const lines = (ramBytes: number): string[] =>
    memoryMap({
      blocks:
        ramBytes <= 3072 * MIB
          ? [{ base: 0, sizeBytes: ramBytes, hostOffset: 0 }]
          : [
              { base: 0, sizeBytes: 3072 * MIB, hostOffset: 0 },
              { base: 2 ** 32, sizeBytes: ramBytes - 3072 * MIB, hostOffset: 0 },
            ],
    } as never).map(({ base, sizeBytes, type }) => `${base.toString(16)}+${sizeBytes.toString(16)} ${type}`)

  test('default: conventional memory, tables, high memory, controllers', () => {
    expect(lines(256 * MIB)).toEqual([
      '0+9fc00 1',
      '9fc00+400 2',
      'e0000+20000 2',
      '100000+ff00000 1',
      'fec00000+1000 2',
      'fee00000+1000 2',
    ])
  })

  test('behaviour: RAM beyond the hole, and RAM of 1 MiB', () => {
    expect(lines(3584 * MIB).at(-1)).toBe('100000000+20000000 1')
    expect(lines(MIB)).toHaveLength(5)
  })
})
