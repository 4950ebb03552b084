import { expect, test } from 'vitest'
import { long64State, protected32State } from '../src/boot/initial-state.ts'
import { startState } from '../src/start-state.ts'
import { sampleState } from './sample-state.ts'

const EFER = 0xc000_0080
const msr = (state: ReturnType<typeof startState>, index: number): bigint | undefined =>
  state.msrs.find(([number]) => number === index)?.[1]

test('default: the 64-bit boot protocol', () => {
  const state = startState(
    sampleState(),
    long64State({ rip: 0x100_0200, rsi: 0x7000, rsp: 0x9000, pageTables: 0x9000, gdt: 0x500 }),
  )
  expect(state.rip).toBe(0x100_0200n)
  expect(state.gpr).toEqual([0n, 0n, 0n, 0n, 0x9000n, 0n, 0x7000n, 0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n])
  expect(state.cr0).toBe(0x8000_0031n)
  expect(state.cr3).toBe(0x9000n)
  expect(msr(state, EFER)).toBe(0x500n)
  expect(state.msrs.filter(([number]) => number === EFER)).toHaveLength(1)
  const [, cs, ss, , fs, , ldtr, tr] = state.segments
  expect(cs).toEqual({ selector: 0x10, base: 0n, limit: 0xffff_ffff, attributes: 0xa09b })
  expect(ss).toEqual({ selector: 0x18, base: 0n, limit: 0xffff_ffff, attributes: 0xc093 })
  expect(fs!.attributes).toBe(0x1_0000)
  expect(ldtr!.attributes).toBe(0x1_0000)
  expect(tr).toEqual({ selector: 0x20, base: 0n, limit: 0x67, attributes: 0x8b })
})

test('default: PVH begins in 32-bit protected mode without paging', () => {
  const state = startState(
    sampleState(),
    protected32State({ rip: 0x100_0000, startInfo: 0x6000, gdt: 0x500 }),
  )
  expect(state.gpr[3]).toBe(0x6000n)
  expect([state.cr0, state.cr3, state.cr4, msr(state, EFER)]).toEqual([0x11n, 0n, 0n, 0n])
  expect(state.segments[1]!.attributes).toBe(0xc09b)
})
