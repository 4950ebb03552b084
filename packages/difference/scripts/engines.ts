// The engines of this repository, for tests and the command line.
import { emulated } from '@trapframe/backend-emulated'
import { createGuestMemory } from '@trapframe/memory'
import { ENGINE_RAM_BYTES, type Engine, evaluatorEngine, nativeEngine, vcpuEngine } from '../src/index.ts'
import { harnessProcess } from './harness-process.ts'

export async function interpreterEngine(): Promise<Engine> {
  const memory = createGuestMemory({ ramBytes: ENGINE_RAM_BYTES })
  const vm = await emulated().createVm({ memory, cpuid: [], time: { kind: 'virtual' }, tscHz: 1_000_000_000 })
  return vcpuEngine({ name: 'interpreter', memory, vcpu: vm.createVcpu(0) })
}

/** Evaluator and interpreter, and before them the CPU of the host where it can be had. */
export async function engines(): Promise<{ native: Engine; all: Engine[] }> {
  const native = nativeEngine(harnessProcess())
  const emulations = [evaluatorEngine(), await interpreterEngine()]
  return { native, all: native.unavailable ? emulations : [native, ...emulations] }
}
