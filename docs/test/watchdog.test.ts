import { createEventQueue } from '@trapframe/devices'
import { testDevice } from '@trapframe/devices/conformance'
import { expect, test } from 'vitest'
import { watchdog } from '../examples/watchdog.ts'

testDevice({
  name: 'watchdog',
  create: (events) => ({ device: watchdog({ events, control: { reset() {} } }) }),
})

test('behaviour: a watchdog that is fed does not reset; one that is forgotten does, once', () => {
  let nowMs = 0
  let resets = 0
  const events = createEventQueue({ nowNs: () => nowMs * 1e6 })
  const device = watchdog({ events, control: { reset: () => resets++ } })
  const port = device.pio![0]!
  const pass = (ms: number): void => {
    nowMs += ms
    events.runDue(nowMs * 1e6)
  }
  port.write(0, 2, 10)
  expect(port.read(0, 2)).toBe(10)
  pass(9)
  port.write(0, 2, 10)
  pass(9)
  expect(resets).toBe(0)
  pass(1)
  expect(resets).toBe(1)
  pass(100)
  expect(resets).toBe(1)
})
