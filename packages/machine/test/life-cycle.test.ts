import { expect, test } from 'vitest'
import { LifeCycle, type LifeCycleEvent, type LifeCycleState, nextState } from '../src/life-cycle.ts'
import { MachineError } from '../src/machine-error.ts'

const states: LifeCycleState[] = ['created', 'running', 'pausing', 'paused', 'stopped', 'failed']
const events: LifeCycleEvent[] = ['start', 'pause', 'paused', 'stop', 'fail']

test('default: from start to stop, with listeners told of every step', () => {
  const cycle = new LifeCycle()
  const seen: LifeCycleState[] = []
  const remove = cycle.onChange((state) => seen.push(state))
  for (const event of ['start', 'pause', 'paused', 'start', 'stop'] as const) cycle.move(event)
  expect(seen).toEqual(['running', 'pausing', 'paused', 'running', 'stopped'])
  remove()
})

test('behaviour: the whole table', () => {
  const table = states.map((state) => events.map((event) => nextState(state, event) ?? '-').join(' '))
  expect(table).toEqual([
    'running - - stopped failed',
    '- pausing paused stopped failed',
    '- - paused stopped failed',
    'running - - stopped failed',
    '- - - - -',
    '- - - - -',
  ])
})

test('error: every transition outside the table is a typed error and changes nothing', () => {
  const cycle = new LifeCycle()
  expect(() => cycle.move('pause')).toThrow(MachineError)
  expect(() => cycle.move('pause')).toThrow(/cannot pause a machine that is created/)
  expect(cycle.state).toBe('created')
  expect(() => cycle.require('save', 'paused', 'stopped')).toThrow(/must be paused or stopped/)
  cycle.move('stop')
  for (const event of events) expect(() => cycle.move(event)).toThrow(MachineError)
})
