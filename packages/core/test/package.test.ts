import { silentLog, TrapframeError } from '@trapframe/core'
import { expect, test } from 'vitest'
import { TrapframeError as fromSource } from '../src/error.ts'

test('default: inside the repository the package resolves to its sources', () => {
  expect(TrapframeError).toBe(fromSource)
  expect(silentLog).toBeDefined()
})
