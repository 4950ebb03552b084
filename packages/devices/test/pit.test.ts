import { beforeEach, describe, expect, test } from 'vitest'
import { nsOf } from '../src/clock-ticks.ts'
import { createEventQueue, createIrqLine, createPit, type Pit } from '../src/index.ts'

const HZ = 1_193_182
let now: number
let pit: Pit
let rises: number[]
let advanceTo: (ns: number) => void

beforeEach(() => {
  now = 5_000
  rises = []
  const queue = createEventQueue({ nowNs: () => now })
  const irq = createIrqLine((level) => {
    if (level) rises.push(now)
  })
  pit = createPit({ queue, irq })
  advanceTo = (ns) => {
    while (queue.earliestNs() <= ns) {
      now = queue.earliestNs()
      queue.runDue(now)
    }
    now = ns
  }
})

const out = (port: number, value: number): void => {
  const range = port === 0x61 ? pit.pio![1]! : pit.pio![0]!
  range.write(port - range.base, 1, value)
}
const inb = (port: number): number => {
  const range = port === 0x61 ? pit.pio![1]! : pit.pio![0]!
  return range.read(port - range.base, 1)
}
const read16 = (port: number): number => inb(port) | (inb(port) << 8)
/** Programs a channel, low byte and high byte. */
function program(channel: number, mode: number, count: number, bcd = 0): void {
  out(0x43, (channel << 6) | 0x30 | (mode << 1) | bcd)
  out(0x40 + channel, count & 0xff)
  out(0x40 + channel, count >> 8)
}
/** Lets `ticks` ticks pass since `from`. */
const passTicks = (from: number, ticks: number): void => advanceTo(from + nsOf(ticks, HZ))
const latch = (channel: number): number => {
  out(0x43, channel << 6)
  return read16(0x40 + channel)
}

describe('PIT', () => {
  test('default: mode 2 interrupts once a period, without drift', () => {
    program(0, 2, 11932)
    const start = now
    rises.length = 0
    advanceTo(start + 1e9)
    expect(rises.length).toBe(99)
    rises.forEach((at, n) => expect(at).toBe(start + nsOf(1 + (n + 1) * 11932, HZ)))
  })

  test('behaviour: mode 2 counts from N down to 1', () => {
    program(2, 2, 100)
    out(0x61, 1)
    const start = now
    const seen: number[] = []
    for (const ticks of [1, 2, 50, 100, 101, 102]) {
      passTicks(start, ticks)
      seen.push(latch(2))
    }
    expect(seen).toEqual([100, 99, 51, 1, 100, 99])
    // OUT is low during the last count.
    passTicks(start, 200)
    expect(inb(0x61) & 0x20).toBe(0)
    passTicks(start, 201)
    expect(inb(0x61) & 0x20).toBe(0x20)
  })

  test('behaviour: mode 3 is a square wave and counts by two', () => {
    program(2, 3, 10)
    out(0x61, 1)
    const start = now
    const wave: number[] = []
    const counts: number[] = []
    for (let ticks = 1; ticks <= 20; ticks++) {
      passTicks(start, ticks)
      wave.push((inb(0x61) >> 5) & 1)
      counts.push(latch(2))
    }
    expect(wave.join('')).toBe('11111000001111100000')
    expect(counts.slice(0, 10)).toEqual([10, 8, 6, 4, 2, 10, 8, 6, 4, 2])
    program(2, 3, 5)
    const odd = now
    const oddWave: number[] = []
    for (let ticks = 1; ticks <= 10; ticks++) {
      passTicks(odd, ticks)
      oddWave.push((inb(0x61) >> 5) & 1)
    }
    expect(oddWave.join('')).toBe('1110011100')
  })

  test('behaviour: mode 3 on channel 0 interrupts as often as mode 2', () => {
    program(0, 3, 4772)
    const start = now
    rises.length = 0
    advanceTo(start + 1e9)
    expect(rises.length).toBe(250)
  })

  test('behaviour: mode 0 interrupts once, N + 1 ticks after the count', () => {
    program(0, 0, 1000)
    const start = now
    expect(rises).toEqual([])
    passTicks(start, 500)
    expect(latch(0)).toBe(501)
    passTicks(start, 5000)
    expect(rises).toEqual([start + nsOf(1001, HZ)])
    // The count goes on below zero.
    expect(latch(0)).toBe(0x1_0000 - 3999)
    out(0x40, 10)
    const again = now
    out(0x40, 0)
    passTicks(again, 20)
    expect(rises.length).toBe(2)
  })

  test('behaviour: mode 4 strobes after the count', () => {
    program(0, 4, 1000)
    const start = now
    rises.length = 0
    passTicks(start, 1001)
    expect(rises).toEqual([])
    passTicks(start, 3000)
    expect(rises).toEqual([start + nsOf(1002, HZ)])
  })

  test('behaviour: modes 1 and 5 wait for the gate', () => {
    out(0x61, 0)
    program(2, 1, 100)
    expect(inb(0x61) & 0x20).toBe(0x20)
    passTicks(now, 500)
    expect(inb(0x61) & 0x20).toBe(0x20)
    out(0x61, 1)
    const start = now
    passTicks(start, 50)
    expect(inb(0x61) & 0x20).toBe(0)
    out(0x61, 0)
    passTicks(start, 101)
    expect(inb(0x61) & 0x20).toBe(0x20)
    program(2, 5, 100)
    out(0x61, 1)
    const five = now
    passTicks(five, 100)
    expect(inb(0x61) & 0x20).toBe(0x20)
    passTicks(five, 101)
    expect(inb(0x61) & 0x20).toBe(0)
    passTicks(five, 102)
    expect(inb(0x61) & 0x20).toBe(0x20)
  })

  test('behaviour: a low gate stops mode 0, which goes on later', () => {
    out(0x61, 1)
    program(2, 0, 1000)
    passTicks(now, 501)
    out(0x61, 0)
    const count = latch(2)
    expect(count).toBe(500)
    passTicks(now, 5000)
    expect(latch(2)).toBe(count)
    out(0x61, 1)
    const again = now
    passTicks(again, 100)
    expect(latch(2)).toBe(400)
    expect(inb(0x61) & 0x20).toBe(0)
    passTicks(again, 501)
    expect(inb(0x61) & 0x20).toBe(0x20)
  })

  test('behaviour: a new count in mode 2 begins with the next period', () => {
    program(2, 2, 100)
    out(0x61, 1)
    const start = now
    passTicks(start, 250)
    out(0x42, 50)
    out(0x42, 0)
    expect(latch(2)).toBe(51)
    passTicks(start, 300)
    expect(latch(2)).toBe(1)
    passTicks(start, 301)
    expect(latch(2)).toBe(50)
    passTicks(start, 351)
    expect(latch(2)).toBe(50)
  })

  test('behaviour: a latched count stays until it is read', () => {
    program(2, 2, 0)
    out(0x61, 1)
    const start = now
    passTicks(start, 100)
    out(0x43, 0x80)
    passTicks(start, 1000)
    out(0x43, 0x80)
    expect(read16(0x42)).toBe(0x1_0000 - 99)
    expect(read16(0x42)).toBe(0x1_0000 - 999)
  })

  test('behaviour: read-back of status and count', () => {
    program(2, 3, 0x1234)
    out(0x43, 0xe8) // status of channel 2
    expect(inb(0x42)).toBe(0xb6 | 0x40)
    out(0x61, 1)
    passTicks(now, 5)
    out(0x43, 0xc8) // both
    expect(inb(0x42)).toBe(0xb6)
    expect(read16(0x42)).toBe(0x1234 - 8)
  })

  test('behaviour: BCD and single-byte counts', () => {
    program(2, 2, 0x1000, 1)
    out(0x61, 1)
    passTicks(now, 2)
    expect(latch(2)).toBe(0x999)
    out(0x43, 0x94) // low byte only, mode 2
    out(0x42, 50)
    passTicks(now, 11)
    expect(inb(0x42)).toBe(40)
    out(0x43, 0xa4) // high byte only
    out(0x42, 2)
    passTicks(now, 1)
    expect(inb(0x42)).toBe(2)
  })

  test('behaviour: port 0x61 keeps its bits and toggles refresh', () => {
    out(0x61, 0xff)
    expect(inb(0x61) & 0xcf).toBe(0x0f)
    const first = inb(0x61) & 0x10
    advanceTo(now + 15_085)
    expect(inb(0x61) & 0x10).not.toBe(first)
  })

  test('behaviour: the shortest period does not keep the host busy', () => {
    program(0, 2, 1)
    rises.length = 0
    advanceTo(now + 1_000_000)
    expect(rises.length).toBeLessThanOrEqual(101)
    expect(rises.length).toBeGreaterThan(50)
  })

  test('behaviour: a loaded PIT interrupts at the same moments', () => {
    program(0, 2, 11932)
    advanceTo(now + 123_456_789)
    const saved = structuredClone(pit.state.save())
    const start = now
    rises.length = 0
    advanceTo(start + 1e8)
    const expected = rises.map((at) => at - start)
    expect(expected.length).toBe(10)
    let later = 77_000_000
    const seen: number[] = []
    const queue = createEventQueue({ nowNs: () => later })
    const loaded = createPit({ queue, irq: createIrqLine((level) => level && seen.push(later - 77_000_000)) })
    loaded.state.load(saved, 1)
    seen.length = 0 // the line itself rose with the load
    while (queue.earliestNs() <= 77_000_000 + 1e8) {
      later = queue.earliestNs()
      queue.runDue(later)
    }
    expect(seen).toEqual(expected)
  })
})
