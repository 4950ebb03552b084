/** Random bytes as code outside 64-bit mode: the interpreter ends where the evaluator does, and neither fails. */
import type { SegmentState, VcpuState } from '@trapframe/cpu'
import { createGuestMemory } from '@trapframe/memory'
import { createEvaluator, State, system } from '@trapframe/x86'
import { xoroshiro128plus } from 'pure-rand'
import { describe, expect, test } from 'vitest'
import { emulated } from '../src/index.ts'
import { loadVcpuState, resetState, saveVcpuState } from '../src/state-transfer.ts'

const PROGRAMS = 150
const RAM_BYTES = 1 << 20
const CODE = 0x7c00
const CODE_BYTES = 128
const MAX_STEPS = 24
/** Null, code32, data32, code16, data16, ring-3 code and data, TSS. */
const descriptors = [
  0n,
  0x00cf_9a00_0000_ffffn,
  0x00cf_9200_0000_ffffn,
  0x0000_9a00_0000_ffffn,
  0x0000_9200_0000_ffffn,
  0x00cf_fa00_0000_ffffn,
  0x00cf_f200_0000_ffffn,
  0x0000_8900_8000_0067n,
]
const TASK = 0x8000
const task: SegmentState = { selector: 0x38, base: BigInt(TASK), limit: 0x67, attributes: 0x8b }
const flat = (selector: number, attributes: number): SegmentState => ({
  selector,
  base: 0n,
  limit: 0xffff_ffff,
  attributes,
})
const segmentsOf = (code: SegmentState, data: SegmentState, ldt: SegmentState): SegmentState[] => [
  data,
  code,
  data,
  data,
  data,
  data,
  ldt,
  task,
]

type Prepare = (reset: VcpuState) => Partial<VcpuState>
const protectedMode = { cr0: 0x6000_0011n, idtr: { base: 0x2000n, limit: 0xff } }
const modes: Readonly<Record<string, Prepare>> = {
  'real mode': (reset) => ({
    segments: reset.segments.map((segment, index) =>
      index === 1 ? { ...segment, selector: 0, base: 0n } : segment,
    ),
  }),
  '32-bit ring 0': ({ segments }) => ({
    ...protectedMode,
    segments: segmentsOf(flat(0x08, 0xc09b), flat(0x10, 0xc093), segments[6]!),
  }),
  '32-bit ring 3': ({ segments }) => ({
    ...protectedMode,
    segments: segmentsOf(flat(0x2b, 0xc0fb), flat(0x33, 0xc0f3), segments[6]!),
  }),
  'virtual-8086 mode': ({ segments }) => {
    const segment: SegmentState = { selector: 0, base: 0n, limit: 0xffff, attributes: 0xf3 }
    return { ...protectedMode, rflags: 0x2_3002n, segments: segmentsOf(segment, segment, segments[6]!) }
  },
}

/** Random code; every exception handler halts. */
function image(next: () => number): Uint8Array {
  const ram = new Uint8Array(RAM_BYTES)
  for (let at = 0; at < CODE_BYTES; at++) ram[CODE + at] = next()
  const view = new DataView(ram.buffer)
  descriptors.forEach((descriptor, index) => view.setBigUint64(0x1000 + 8 * index, descriptor, true))
  for (let vector = 0; vector < 32; vector++) {
    const handler = 0x3000 + 16 * vector
    view.setBigUint64(0x2000 + 8 * vector, BigInt(handler) | 0x8e00_0008_0000n, true)
    view.setUint32(4 * vector, handler, true)
    ram[handler] = 0xf4
  }
  view.setUint32(TASK + 4, 0x6000, true)
  view.setUint32(TASK + 8, 0x10, true)
  return ram
}

/** Everything but time. */
const comparable = (state: VcpuState): unknown => ({
  ...state,
  msrs: [],
  fpu: 0,
  instructionsRetired: 0,
  skippedNs: 0,
})

describe('random code', () => {
  test.each(Object.entries(modes))('behaviour: %s', { timeout: 60_000 }, async (_name, prepare) => {
    const generator = xoroshiro128plus(20_260_202)
    const next = (): number => generator.unsafeNext() >>> 0
    const memory = createGuestMemory({ ramBytes: RAM_BYTES })
    const vm = await emulated().createVm({ memory, cpuid: [], time: { kind: 'virtual' }, tscHz: 1e9 })
    const vcpu = vm.createVcpu(0)
    const evaluator = createEvaluator({ ramBytes: RAM_BYTES })
    resetState(evaluator.state, 0)
    const reset = saveVcpuState(evaluator.state, 0)
    let compared = 0
    for (let program = 0; program < PROGRAMS; program++) {
      const ram = image(next)
      const gpr = Array.from({ length: 16 }, (_, index) => {
        const value = next()
        return index === 4 ? 0x7000n : index > 7 ? 0n : BigInt(value & 1 ? value : value & 0xffff)
      })
      const start: VcpuState = {
        ...reset,
        gpr,
        rip: BigInt(CODE),
        gdtr: { base: 0x1000n, limit: 0x3f },
        ...prepare(reset),
      }
      const code = Buffer.from(ram.subarray(CODE, CODE + CODE_BYTES)).toString('hex')
      // The engines' clocks differ.
      if (/0f(31|01f9)/.test(code)) continue
      memory.write(0, ram)
      evaluator.ram.set(ram)
      loadVcpuState(evaluator.state, 0, start)
      evaluator.state.setBigInt64(State.budget, 1n << 40n, true)
      let result: ReturnType<typeof evaluator.step> = 'next'
      for (let step = 0; step < MAX_STEPS && result === 'next'; step++) result = evaluator.step()
      vcpu.load(start)
      const reason = vcpu.run(4 * MAX_STEPS)
      // Devices are answered by nobody here.
      if (result !== system.ExitReason.halted || reason !== system.ExitReason.halted) continue
      compared++
      const found = saveVcpuState(evaluator.state, 0)
      expect(comparable(vcpu.save()), code).toEqual(comparable(found))
      const bytes = memory.read(0, RAM_BYTES)
      expect(
        bytes.every((byte, at) => byte === evaluator.ram[at]),
        code,
      ).toBe(true)
    }
    vm.close()
    expect(compared).toBeGreaterThan(PROGRAMS / 6)
  })
})
