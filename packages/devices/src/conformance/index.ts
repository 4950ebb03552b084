/**
 * The kit that every Device passes: call `testDevice` in a test file of your own.
 *
 * @packageDocumentation
 */
import type { StateValue } from '@trapframe/core'
import { describe, expect, test } from 'vitest'
import { createEventQueue, type Device, type EventQueue, type IoRange } from '../index.ts'

/** A device on a bench of its own. */
export interface DeviceBench {
  /** What is tested. */
  readonly device: Device
  /** Ranges that are served but not declared, such as a LAPIC's page. */
  readonly ranges?: readonly IoRange[]
}

/** A device to be tested. */
export interface DeviceKit {
  /** For the names of the tests. */
  readonly name: string
  /** Makes a fresh device with its timers in `queue`. Two calls with equal clocks give equal devices. */
  create(queue: EventQueue): DeviceBench
  /** Whether the contents of the saved state may be compared after reset with those of a fresh device. Default: true. */
  readonly resetsCompletely?: boolean
}

const RUNS = 40
const STEPS = 300

/** Declares the tests of the Device contract. */
export function testDevice(kit: DeviceKit): void {
  describe(`Device: ${kit.name}`, () => {
    test('default: declared ranges are sound and do not overlap', () => {
      const { device } = newBench(kit)
      expect(device.id).toMatch(/^[a-z0-9][a-z0-9-]*$/)
      for (const ranges of [device.pio ?? [], device.mmio ?? []]) {
        const sorted = [...ranges].sort((a, b) => a.base - b.base)
        sorted.forEach((range, n) => {
          expect(range.size).toBeGreaterThan(0)
          expect(['answered', 'posted']).toContain(range.access)
          if (n > 0) expect(range.base).toBeGreaterThanOrEqual(sorted[n - 1]!.base + sorted[n - 1]!.size)
        })
      }
      for (const range of device.pio ?? []) expect(range.base + range.size).toBeLessThanOrEqual(0x1_0000)
    })

    test('behaviour: any access gives an unsigned value of its size, and none throws', () => {
      for (let seed = 1; seed <= RUNS; seed++) {
        const bench = newBench(kit)
        exercise(bench, seed, (value, size) => {
          expect(Number.isInteger(value)).toBe(true)
          expect(value >>> 0).toBeLessThanOrEqual(0xffff_ffff >>> (32 - 8 * size))
        })
      }
    })

    test('behaviour: what is saved, loaded into a fresh device and saved again is the same', () => {
      for (let seed = 1; seed <= RUNS; seed++) {
        const first = newBench(kit)
        if (!first.device.state) return
        exercise(first, seed)
        const saved = first.device.state.save()
        const second = newBench(kit)
        second.setNowNs(7e9)
        second.device.state!.load(structuredClone(saved), second.device.state!.version)
        expect(second.device.state!.save()).toEqual(saved)
      }
    })

    test('behaviour: after a load both devices behave alike', () => {
      for (let seed = 1; seed <= RUNS; seed++) {
        const first = newBench(kit)
        if (!first.device.state) return
        exercise(first, seed)
        const second = newBench(kit)
        second.setNowNs(first.nowNs())
        second.device.state!.load(structuredClone(first.device.state.save()), second.device.state!.version)
        const one: number[] = []
        const other: number[] = []
        exercise(first, seed + 1000, (value) => one.push(value))
        exercise(second, seed + 1000, (value) => other.push(value))
        expect(other).toEqual(one)
        expect(second.device.state!.save()).toEqual(first.device.state.save())
      }
    })

    test('behaviour: reset gives the state of a fresh device', () => {
      const bench = newBench(kit)
      if (!bench.device.state || !bench.device.reset || kit.resetsCompletely === false) return
      const fresh = bench.device.state.save()
      exercise(bench, 42)
      bench.device.reset()
      expect(bench.device.state.save()).toEqual(fresh)
    })

    test('error: versions and values that are not known are refused, and nothing changes', () => {
      const bench = newBench(kit)
      const state = bench.device.state
      if (!state) return
      exercise(bench, 3)
      const saved = state.save()
      const invalid = expect.objectContaining({ code: 'state/invalid' })
      expect(() => state.load(saved, state.version + 1)).toThrow(invalid)
      expect(() => state.load(saved, 0)).toThrow(invalid)
      for (const bad of [null, 7, 'state', [], new Uint8Array(4), {}])
        expect(() => state.load(bad, state.version)).toThrow(invalid)
      const fields = saved as { readonly [key: string]: StateValue }
      for (const key of Object.keys(fields)) {
        const { [key]: _, ...without } = fields
        expect(() => state.load(without, state.version), `without ${key}`).toThrow(invalid)
        expect(() => state.load({ ...fields, [key]: Number.NaN }, state.version), `bad ${key}`).toThrow(
          invalid,
        )
        expect(() => state.load({ ...fields, [key]: 'x' }, state.version), `bad ${key}`).toThrow(invalid)
      }
      expect(state.save()).toEqual(saved)
    })

    test('default: metrics are numbers', () => {
      const metrics = newBench(kit).device.metrics?.read() ?? {}
      for (const [name, value] of Object.entries(metrics)) {
        expect(name).toMatch(/^[a-z0-9-]+$/)
        expect(Number.isFinite(value)).toBe(true)
      }
    })
  })
}

interface TimedBench extends DeviceBench {
  readonly queue: EventQueue
  nowNs(): number
  setNowNs(nowNs: number): void
}

function newBench(kit: DeviceKit): TimedBench {
  let now = 1_000_000
  const queue = createEventQueue({ nowNs: () => now })
  return {
    ...kit.create(queue),
    queue,
    nowNs: () => now,
    setNowNs: (nowNs) => {
      now = nowNs
    },
  }
}

/** Random accesses and passing time, the same for the same seed. */
function exercise(bench: TimedBench, seed: number, see?: (value: number, size: number) => void): void {
  const random = xorshift(seed)
  const ranges = [...(bench.device.pio ?? []), ...(bench.device.mmio ?? []), ...(bench.ranges ?? [])]
  for (let step = 0; step < STEPS; step++) {
    const range = ranges.length > 0 ? ranges[random() % ranges.length]! : undefined
    if (range !== undefined) {
      const size = 1 << (random() % 3)
      // Small offsets and values more often: that is where registers are and what they understand.
      const offset = random() % 2 === 0 ? random() % range.size : (random() % Math.min(range.size, 64)) & ~3
      if (random() % 3 === 0) see?.(range.read(offset, size) >>> 0, size)
      else range.write(offset, size, (random() >>> (random() % 32)) & (0xffff_ffff >>> (32 - 8 * size)))
    }
    if (random() % 4 === 0) {
      bench.setNowNs(bench.nowNs() + (random() >>> (random() % 32)))
      bench.queue.runDue(bench.nowNs())
    }
  }
}

function xorshift(seed: number): () => number {
  let state = (seed * 0x9e37_79b1) >>> 0 || 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state
  }
}
