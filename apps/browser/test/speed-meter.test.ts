import { expect, test } from 'vitest'
import { createSpeedMeter } from '../src/speed-meter.ts'

const counters = (instructions: number, exits: Record<string, number> = {}) => ({
  'vcpu-0': { 'instructions-retired': instructions, ...exits },
})

test('default: instructions and exits a second between two readings', () => {
  const meter = createSpeedMeter()
  expect(meter.read(counters(1e6), 1000)).toMatchObject({ mips: 0, exitsPerSecond: 0, history: [] })
  const exits = { 'exits-pio-write': 30, 'exits-halted': 10, 'exits-budget': 1000, 'exits-kicked': 5 }
  expect(meter.read(counters(101e6, exits), 1500)).toEqual({
    mips: 200,
    exitsPerSecond: 80,
    instructions: 101e6,
    history: [200],
  })
})

test('behaviour: a restored machine, whose counters are lower, begins anew', () => {
  const meter = createSpeedMeter()
  meter.read(counters(500e6), 0)
  expect(meter.read(counters(100e6), 1000)).toMatchObject({ mips: 0, instructions: 100e6, history: [] })
  expect(meter.read(counters(110e6), 2000)).toMatchObject({ mips: 10, history: [10] })
})

test('behaviour: the history is bounded', () => {
  const meter = createSpeedMeter()
  for (let n = 0; n <= 200; n++) meter.read(counters(n * 1e6), n * 1000)
  const { history } = meter.read(counters(203e6), 201_000)
  expect(history).toHaveLength(48)
  expect(history.at(-1)).toBe(3)
})
