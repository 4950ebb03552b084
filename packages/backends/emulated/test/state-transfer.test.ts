import { StateError } from '@trapframe/core'
import { ExitReason, type VcpuState } from '@trapframe/cpu'
import { State, system } from '@trapframe/x86'
import { describe, expect, test } from 'vitest'
import {
  loadVcpuState,
  readRflags,
  resetState,
  savedMsrs,
  saveVcpuState,
  writeRflags,
} from '../src/state-transfer.ts'

const BASE = 0x100
const memory = (): DataView => new DataView(new ArrayBuffer(BASE + State.sizeBytes))

/** A state in long mode in which no two fields hold the same value. */
function distinct(): VcpuState {
  const view = memory()
  resetState(view, BASE)
  const reset = saveVcpuState(view, BASE)
  const msr = new Map(reset.msrs)
  savedMsrs.forEach(([index], position) => msr.set(index, BigInt(0x1000 + position)))
  msr.set(0x10, 0x1234_5678_9abcn)
  msr.set(0xc000_0080, 0xd01n)
  msr.set(0xc000_0082, 0xffff_8000_0000_1000n)
  return {
    ...reset,
    gpr: reset.gpr.map((_, index) => 0xfedc_0000_0000_0000n + BigInt(index)),
    rip: 0xffff_ffff_8100_0000n,
    rflags: 0x0020_3ad7n,
    segments: reset.segments.map((_, index) => ({
      selector: 8 * index + 3,
      base: index >= 4 ? 0xffff_8800_0000_0000n + BigInt(index) : 0n,
      limit: 0xffff_fff0 + index,
      attributes: index === 0 ? 0x1_0000 : 0xc0f3,
    })),
    gdtr: { base: 0xffff_fe00_0000_1000n, limit: 0x7f },
    idtr: { base: 0xffff_fe00_0000_0000n, limit: 0xfff },
    cr0: 0x8005_003bn,
    cr2: 0x7fff_1234_5678n,
    cr3: 0x1234_5000n,
    cr4: 0x37_06f0n & ~0x2_0000n,
    cr8: 5,
    dr: [1n, 2n, 3n, 4n, 0xffff_0ff1n, 0x401n],
    msrs: reset.msrs.map(([index]) => [index, msr.get(index)!] as const),
    fpu: {
      fcw: 0x37f,
      fsw: 0x3800,
      ftw: 0x3fff,
      fop: 0x123,
      fip: 0x4567_89abn,
      fdp: 0xffff_8000_0000_0001n,
      registers: Uint8Array.from({ length: 80 }, (_, index) =>
        index >= 70 ? [0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f][index - 70]! : index,
      ),
      mxcsr: 0x1fa0,
      ymm: Uint8Array.from({ length: 512 }, (_, index) => index),
      xcr0: 3n,
    },
    events: {
      pendingInterrupt: 0x31,
      nmiPending: true,
      nmiBlocked: true,
      interruptShadow: true,
      halted: true,
    },
    instructionsRetired: 0,
    skippedNs: 0,
  }
}

describe('default', () => {
  test('behaviour: a loaded state is saved again as it was', () => {
    const view = memory()
    const state = distinct()
    loadVcpuState(view, BASE, state)
    expect(saveVcpuState(view, BASE)).toEqual(state)
    expect(view.getInt32(BASE + State.cpl, true)).toBe(3)
    expect(new Uint8Array(view.buffer, 0, BASE).every((byte) => byte === 0)).toBe(true)
  })

  test('behaviour: the time stamp counter goes on from its value, whatever the time source says', () => {
    const view = memory()
    loadVcpuState(view, BASE, distinct(), 1_000_000n)
    const tsc = (now: bigint): bigint => new Map(saveVcpuState(view, BASE, now).msrs).get(0x10)!
    expect(tsc(1_000_000n)).toBe(0x1234_5678_9abcn)
    expect(tsc(1_000_007n)).toBe(0x1234_5678_9ac3n)
  })

  test('behaviour: RFLAGS in all combinations of the arithmetic flags', () => {
    const view = memory()
    for (let bits = 0; bits < 64; bits++) {
      const arithmetic = [0x1, 0x4, 0x10, 0x40, 0x80, 0x800].reduce(
        (flags, flag, index) => flags | ((bits >> index) & 1 ? flag : 0),
        0,
      )
      const rflags = BigInt(arithmetic | 0x202)
      writeRflags(view, BASE, rflags)
      expect(readRflags(view, BASE)).toBe(rflags)
    }
  })

  test('behaviour: after a reset the vCPU stands at the reset vector in real mode', () => {
    const view = memory()
    resetState(view, BASE)
    const state = saveVcpuState(view, BASE)
    expect(state.segments[1]!.base + state.rip).toBe(0xffff_fff0n)
    expect(state.cr0).toBe(0x6000_0010n)
    expect(state.events.pendingInterrupt).toBe(-1)
    expect(new Map(state.msrs).get(0x277)).toBe(0x0007_0406_0007_0406n)
    expect(view.getInt32(BASE + State.sseUnavailable, true)).toBe(6)
  })

  test('behaviour: exit reasons of semantics and of the contract are the same numbers', () => {
    expect(system.ExitReason).toEqual(ExitReason)
  })
})

test.each<readonly [string, Partial<VcpuState>]>([
  ['CR0', { cr0: 0x1_0000_0000n }],
  ['CR0', { cr0: 0x2000_0011n }],
  ['EFER', { cr0: 0x11n }],
  ['CR4', { cr4: 0n }],
  ['CR3', { cr3: 1n << 46n }],
  ['RIP', { rip: 0x8000_0000_0000n }],
  ['RFLAGS', { rflags: 0n }],
  ['CR8', { cr8: 16 }],
  ['general register 0', { gpr: Array.from({ length: 16 }, () => -1n) }],
  ['length of gpr', { gpr: [] }],
  ['pending interrupt', { events: { ...distinct().events, pendingInterrupt: 256 } }],
  ['XCR0', { fpu: { ...distinct().fpu, xcr0: 5n } }],
  ['MXCSR', { fpu: { ...distinct().fpu, mxcsr: 0x1_0000 } }],
  [
    'MSR 0xc0000082',
    {
      msrs: [
        [0xc000_0080, 0xd01n],
        [0xc000_0082, 0x8000_0000_0000n],
      ],
    },
  ],
  ['skipped time', { skippedNs: Number.NaN }],
  [
    'MSR 0x12345',
    {
      msrs: [
        [0xc000_0080, 0xd01n],
        [0x1_2345, 1n],
      ],
    },
  ],
])('error: %s that cannot be is refused, and nothing is changed', (name, change) => {
  const view = memory()
  resetState(view, BASE)
  const before = saveVcpuState(view, BASE)
  expect(() => loadVcpuState(view, BASE, { ...distinct(), ...change })).toThrow(StateError)
  expect(() => loadVcpuState(view, BASE, { ...distinct(), ...change })).toThrow(name)
  expect(saveVcpuState(view, BASE)).toEqual(before)
})
