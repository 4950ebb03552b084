import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nsOf, ticksOf } from '../src/clock-ticks.ts'
import { createEventQueue } from '../src/index.ts'

function newQueue() {
  let now = 0
  const queue = createEventQueue({ nowNs: () => now })
  const log: string[] = []
  return {
    queue,
    log,
    event: (name: string) => queue.createEvent(name, (deadlineNs) => log.push(`${name}@${deadlineNs}`)),
    advance: (to: number) => {
      now = to
      return queue.runDue(to)
    },
  }
}

test('default: events run in the order of their deadlines', () => {
  const { queue, log, event, advance } = newQueue()
  const [a, b, c] = [event('a'), event('b'), event('c')]
  expect(queue.earliestNs()).toBe(Infinity)
  queue.schedule(a, 30)
  queue.schedule(b, 10)
  queue.schedule(c, 20)
  expect(queue.earliestNs()).toBe(10)
  expect(advance(20)).toBe(2)
  expect(log).toEqual(['b@10', 'c@20'])
  expect([a.deadlineNs, b.deadlineNs]).toEqual([30, Infinity])
  queue.cancel(a)
  queue.cancel(a)
  expect(advance(100)).toBe(0)
})

test('behaviour: of equal deadlines the event that was made first runs first, however they were scheduled', () => {
  const { queue, log, event, advance } = newQueue()
  const events = ['a', 'b', 'c', 'd'].map(event)
  for (const n of [2, 0, 3, 1]) queue.schedule(events[n]!, 5)
  advance(5)
  expect(log).toEqual(['a@5', 'b@5', 'c@5', 'd@5'])
})

test('behaviour: an event may schedule itself and others', () => {
  let now = 0
  const queue = createEventQueue({ nowNs: () => now })
  const seen: number[] = []
  const other = queue.createEvent('other', (at) => seen.push(-at))
  const tick = queue.createEvent('tick', (at) => {
    seen.push(at)
    if (at < 50) queue.schedule(tick, at + 10)
    queue.schedule(other, at + 5)
  })
  queue.schedule(tick, 10)
  now = 100
  queue.runDue(now)
  expect(seen).toEqual([10, -15, 20, -25, 30, -35, 40, -45, 50, -55])
})

test('behaviour: any sequence of operations equals a sorted list', () => {
  const operation = fc.record({ event: fc.nat(7), at: fc.nat(50), kind: fc.nat(3) })
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      const { queue, log, event, advance } = newQueue()
      const events = Array.from({ length: 8 }, (_, n) => event(`${n}`))
      const model = new Map<number, number>()
      const expected: string[] = []
      let now = 0
      for (const { event: n, at, kind } of operations) {
        if (kind === 0) {
          queue.cancel(events[n]!)
          model.delete(n)
        } else if (kind === 1) {
          now += at >> 2
          advance(now)
          const due = [...model].filter(([, deadline]) => deadline <= now)
          due.sort((a, b) => a[1] - b[1] || a[0] - b[0])
          for (const [name, deadline] of due) {
            expected.push(`${name}@${deadline}`)
            model.delete(name)
          }
        } else {
          queue.schedule(events[n]!, at)
          model.set(n, at)
        }
        expect(queue.earliestNs()).toBe(Math.min(Infinity, ...model.values()))
      }
      expect(log).toEqual(expected)
    }),
  )
})

test('behaviour: ticks and nanoseconds convert to each other without loss', () => {
  const clocks = [32_768, 1_193_182, 3_579_545, 24_000_000, 25_000_000, 100_000_000, 1_000_000_000]
  const hours = 100
  fc.assert(
    fc.property(fc.constantFrom(...clocks), fc.double({ min: 0, max: 1, noNaN: true }), (hz, part) => {
      const ticks = Math.floor(hz * hours * 3600 * part)
      const ns = nsOf(ticks, hz)
      expect(ticksOf(ns, hz)).toBe(ticks)
      if (ticks > 0) expect(ticksOf(ns - 1, hz)).toBe(ticks - 1)
    }),
    { numRuns: 5000 },
  )
})
