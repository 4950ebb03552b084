import { beforeEach, describe, expect, test } from 'vitest'
import { createEventQueue, createIrqLine, createRtc, type Rtc } from '../src/index.ts'

const START = Date.UTC(2024, 1, 28, 23, 59, 57, 500) // half a second into 23:59:57, before a leap day
let now: number
let rtc: Rtc
let edges: number
let irq: boolean
let advance: (ns: number) => void

function newRtc(startMs = START, sizes = {}): Rtc {
  now = 1_000
  edges = 0
  const queue = createEventQueue({ nowNs: () => now })
  advance = (ns) => {
    const end = now + ns
    while (queue.earliestNs() <= end) {
      now = Math.max(now, queue.earliestNs())
      queue.runDue(now)
    }
    now = end
  }
  return createRtc({
    queue,
    irq: createIrqLine((level) => {
      irq = level
      if (level) edges++
    }),
    wallClock: { nowMs: () => startMs },
    ...sizes,
  })
}

const get = (index: number): number => {
  rtc.pio![0]!.write(0, 1, index)
  return rtc.pio![0]!.read(1, 1)
}
const set = (index: number, value: number): void => {
  rtc.pio![0]!.write(0, 1, index)
  rtc.pio![0]!.write(1, 1, value)
}
const time = (): string =>
  [0x32, 9, 8, 7, 4, 2, 0].map((index) => get(index).toString(16).padStart(2, '0')).join(' ')

beforeEach(() => {
  irq = false
  rtc = newRtc()
})

describe('RTC', () => {
  test('default: BCD, 24 hours, the time of the wall clock, running with guest time', () => {
    expect(time()).toBe('20 24 02 28 23 59 57')
    expect(get(6)).toBe(4) // Wednesday
    advance(0.5e9 - 1)
    expect(time()).toBe('20 24 02 28 23 59 57')
    advance(1)
    expect(time()).toBe('20 24 02 28 23 59 58')
    advance(2e9)
    expect(time()).toBe('20 24 02 29 00 00 00')
    advance(86_400e9)
    expect(time()).toBe('20 24 03 01 00 00 00')
    expect([get(0x0a), get(0x0b), get(0x0d)]).toEqual([0x26, 0x02, 0x80])
  })

  test('behaviour: the end of the century', () => {
    rtc = newRtc(Date.UTC(1999, 11, 31, 23, 59, 59))
    advance(1e9)
    expect(time()).toBe('20 00 01 01 00 00 00')
  })

  test('behaviour: update in progress shows before the second ends', () => {
    advance(0.5e9 - 244_001)
    expect(get(0x0a)).toBe(0x26)
    advance(1)
    expect(get(0x0a)).toBe(0xa6)
    advance(244_000)
    expect(get(0x0a)).toBe(0x26)
  })

  test('behaviour: binary and 12 hours', () => {
    set(0x0b, 0x06)
    expect([get(4), get(2), get(0)]).toEqual([23, 59, 57])
    set(0x0b, 0x04)
    expect(get(4)).toBe(0x80 | 11)
    set(0x0b, 0x00)
    expect(get(4)).toBe(0x91)
    advance(3e9)
    expect(get(4)).toBe(0x12)
  })

  test('behaviour: SET holds the time while it is written', () => {
    set(0x0b, 0x82)
    for (const [index, value] of [
      [0, 0x30],
      [2, 0x15],
      [4, 0x08],
      [7, 0x09],
      [8, 0x11],
      [9, 0x31],
      [0x32, 0x20],
    ] as const)
      set(index, value)
    advance(5e9)
    expect(time()).toBe('20 31 11 09 08 15 30')
    expect(get(0x0a) & 0x80).toBe(0)
    set(0x0b, 0x02)
    advance(999_999_999)
    expect(time()).toBe('20 31 11 09 08 15 30')
    advance(1)
    expect(time()).toBe('20 31 11 09 08 15 31')
  })

  test('behaviour: the update interrupt comes every second and is cleared by reading C', () => {
    set(0x0b, 0x12)
    advance(0.5e9)
    expect(irq).toBe(true)
    advance(3e9)
    expect(edges).toBe(1)
    expect(get(0x0c)).toBe(0xf0) // with PF and AF (midnight), whose flags need no enable
    expect([irq, get(0x0c)]).toEqual([false, 0])
    advance(1e9)
    expect([irq, edges]).toEqual([true, 2])
  })

  test('behaviour: the periodic interrupt', () => {
    set(0x0b, 0x42)
    for (let n = 0; n < 100; n++) {
      advance(976_562.5 * 4)
      get(0x0c)
    }
    expect(edges).toBe(100)
    set(0x0a, 0x2f) // twice a second
    edges = 0
    for (let n = 0; n < 40; n++) {
      advance(0.1e9)
      get(0x0c)
    }
    expect(edges).toBe(8)
    set(0x0a, 0x20)
    edges = 0
    advance(10e9)
    expect(edges).toBe(0)
  })

  test('behaviour: alarms by second, and with wildcards', () => {
    set(1, 0x59)
    set(3, 0x59)
    set(5, 0x23)
    set(0x0b, 0x22)
    advance(1.5e9 - 1)
    expect(irq).toBe(false)
    advance(1)
    expect([irq, get(0x0c) & 0xa0]).toEqual([true, 0xa0])
    advance(86_399e9)
    expect(irq).toBe(false)
    advance(1e9)
    expect(irq).toBe(true)
    get(0x0c)
    set(3, 0xff)
    set(5, 0xc0)
    for (let n = 0; n < 10; n++) {
      edges = 0
      advance(60e9)
      get(0x0c)
      expect(edges).toBe(1)
    }
    set(1, 0x77) // never
    edges = 0
    advance(200e9)
    expect(edges).toBe(0)
  })

  test('behaviour: memory sizes are where firmware leaves them', () => {
    rtc = newRtc(START, { lowBytes: 0xc000_0000, highBytes: 0x4000_0000 })
    const word = (index: number): number => get(index) | (get(index + 1) << 8)
    expect([word(0x15), word(0x17), word(0x30), word(0x34), word(0x5b)]).toEqual([
      640, 0xffff, 0xffff, 0xbf00, 0x4000,
    ])
    set(0x40, 0xa5)
    expect(get(0x40)).toBe(0xa5)
    // Registers C and D are read-only; bit 7 of the index masks NMI.
    set(0x0d, 0)
    expect(get(0x8d)).toBe(0x80)
  })

  test('behaviour: a bus reset switches interrupts off and keeps time and contents', () => {
    set(0x40, 7)
    set(0x0b, 0x72)
    rtc.reset!()
    expect(get(0x0b)).toBe(0x02)
    expect(get(0x40)).toBe(7)
    advance(5e9)
    expect([edges, time()]).toEqual([0, '20 24 02 29 00 00 02'])
  })

  test('behaviour: the time goes on after save and load', () => {
    advance(123_456)
    set(0x0b, 0x12)
    const saved = structuredClone(rtc.state.save())
    expect([saved.seconds, saved.phaseNs]).toEqual([Math.floor(START / 1000), 0.5e9 + 123_456])
    rtc = newRtc(0)
    rtc.state.load(saved, 1)
    advance(0.5e9 - 123_457)
    expect(irq).toBe(false)
    advance(1)
    expect([irq, time()]).toEqual([true, '20 24 02 28 23 59 58'])
  })
})
