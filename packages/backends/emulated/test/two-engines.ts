/** The same guest on the evaluator and on the interpreter, from the state after reset: for tests of modes. */
import type { Vcpu, VcpuState } from '@trapframe/cpu'
import { createGuestMemory } from '@trapframe/memory'
import { assemble, createEvaluator, type Evaluator, State } from '@trapframe/x86'
import { emulated } from '../src/index.ts'
import { loadVcpuState, resetState, saveVcpuState } from '../src/state-transfer.ts'

export const RAM_BYTES = 1 << 20
/** CPUID leaf 1 with VME, and the leaves that control registers ask for. */
const cpuid = [
  { leaf: 0, eax: 7, ebx: 0, ecx: 0, edx: 0 },
  { leaf: 1, eax: 0, ebx: 0, ecx: 0, edx: 0x2 },
  { leaf: 0x8000_0000, eax: 0x8000_0001, ebx: 0, ecx: 0, edx: 0 },
  { leaf: 0x8000_0001, eax: 0, ebx: 0, ecx: 0, edx: 0x2010_0800 },
]

export interface Outcome {
  readonly memory: DataView
  readonly state: VcpuState
}

/** Assembles at 0x7c00, 16-bit code first, and runs it to its HLT on both engines. */
export async function runGuest(
  source: string,
  change: (state: VcpuState) => VcpuState = (state) => state,
): Promise<{ evaluator: Outcome; interpreter: Outcome; symbols: ReadonlyMap<string, bigint> }> {
  const { bytes, symbols } = assemble(source, { origin: 0x7c00, mode: 16 })
  const evaluator = createEvaluator({ ramBytes: RAM_BYTES, cpuid })
  resetState(evaluator.state, 0)
  evaluator.ram.set(bytes, 0x7c00)
  const start = change(atBootSector(saveVcpuState(evaluator.state, 0)))
  loadVcpuState(evaluator.state, 0, start)
  evaluator.state.setBigInt64(State.budget, 1n << 40n, true)
  runEvaluator(evaluator)

  const memory = createGuestMemory({ ramBytes: RAM_BYTES })
  memory.write(0x7c00, bytes)
  const vm = await emulated().createVm({ memory, cpuid, time: { kind: 'virtual' }, tscHz: 1e9 })
  const vcpu = vm.createVcpu(0)
  vcpu.load(start)
  runVcpu(vcpu)
  const ram = new Uint8Array(RAM_BYTES)
  for (let page = 0; page < RAM_BYTES; page += 4096) ram.set(memory.read(page, 4096), page)
  const outcome = {
    evaluator: {
      memory: new DataView(evaluator.ram.buffer, evaluator.ram.byteOffset, RAM_BYTES),
      state: saveVcpuState(evaluator.state, 0),
    },
    interpreter: { memory: new DataView(ram.buffer), state: vcpu.save() },
    symbols,
  }
  vm.close()
  return outcome
}

/** As a BIOS jumps to a boot sector: CS:IP 0:7C00, and a stack below. */
function atBootSector(state: VcpuState): VcpuState {
  const segments = state.segments.map((segment, index) =>
    index === 1 ? { ...segment, selector: 0, base: 0n } : segment,
  )
  const gpr = state.gpr.map((value, index) => (index === 4 ? 0x7c00n : value))
  return { ...state, segments, gpr, rip: 0x7c00n }
}

function runEvaluator(evaluator: Evaluator): void {
  for (let step = 0; step < 20_000; step++) {
    const result = evaluator.step()
    if (result !== 'next') {
      if (evaluator.state.getInt32(State.halted, true) !== 0) return
      throw new Error(
        `evaluator: exit ${result} at ${evaluator.state.getBigUint64(State.rip, true).toString(16)}`,
      )
    }
  }
  throw new Error(`evaluator: no end, at ${evaluator.state.getBigUint64(State.rip, true).toString(16)}`)
}
function runVcpu(vcpu: Vcpu): void {
  const reason = vcpu.run(20_000)
  if (!vcpu.save().events.halted)
    throw new Error(`interpreter: exit ${reason} at ${vcpu.save().rip.toString(16)}`)
}
