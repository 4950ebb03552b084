import { expect, test } from 'vitest'
import { createOutputWindow } from '../src/output-window.ts'

test('output: who is ahead by less than the window need not wait', () => {
  const window = createOutputWindow(100)
  window.sent(99)
  expect(window.room()).toBeUndefined()
})

test('behaviour: who is ahead by more waits until enough was shown', async () => {
  const window = createOutputWindow(100)
  window.sent(150)
  let free = false
  const room = window.room()?.then(() => {
    free = true
  })
  window.shown(50)
  await Promise.resolve()
  expect(free).toBe(false)
  window.shown(1)
  await room
  expect(free).toBe(true)
  expect(window.room()).toBeUndefined()
})
