import type { VcpuState } from '@trapframe/cpu'
import { createGuestMemory } from '@trapframe/memory'
import { expect, test } from 'vitest'
import { translateLinear } from '../src/translate-linear.ts'

const state = (cr3: bigint, cr4: bigint): VcpuState =>
  ({ cr0: 0x8000_0001n, cr3, cr4, msrs: [] }) as unknown as VcpuState

test('behaviour: 32-bit paging with pages of 4 KiB and 4 MiB', () => {
  const memory = createGuestMemory({ ramBytes: 1 << 20 })
  memory.writeU64(0x2_0000, (0x87n << 32n) | 0x2_1007n)
  memory.writeU64(0x2_1008, 0x5007n)
  const paging = state(0x2_0000n, 0x10n)
  expect(translateLinear(memory, paging, 0x2123n)).toBe(0x5123)
  expect(translateLinear(memory, paging, 0x40_0500n)).toBe(0x500)
  expect(translateLinear(memory, paging, 0x3123n)).toBeUndefined()
})

test('behaviour: PAE paging with pages of 4 KiB and 2 MiB', () => {
  const memory = createGuestMemory({ ramBytes: 1 << 20 })
  memory.writeU64(0x2_2000, 0x2_3001n)
  memory.writeU64(0x2_3000, 0x87n)
  memory.writeU64(0x2_3008, 0x2_4007n)
  memory.writeU64(0x2_4008, 0x9007n)
  const paging = state(0x2_2000n, 0x20n)
  expect(translateLinear(memory, paging, 0x500n)).toBe(0x500)
  expect(translateLinear(memory, paging, 0x20_1abcn)).toBe(0x9abc)
  expect(translateLinear(memory, paging, 0x4000_0000n)).toBeUndefined()
})
