// The engines of this repository, for tests and the command line.
import { emulated } from '@trapframe/backend-emulated'
import { createGuestMemory } from '@trapframe/memory'
import { ENGINE_RAM_BYTES, type Engine, evaluatorEngine, nativeEngine, vcpuEngine } from '../src/index.ts'
import { harnessProcess } from './harness-process.ts'

/** @param jit - every block compiled before it is executed, instead of interpreted */
export async function emulatedEngine(jit: boolean): Promise<Engine> {
  const memory = createGuestMemory({ ramBytes: ENGINE_RAM_BYTES })
  const vm = await emulated({ jit: jit ? 'eager' : false }).createVm({
    memory,
    cpuid: [],
    time: { kind: 'virtual' },
    tscHz: 1_000_000_000,
  })
  return vcpuEngine({ name: jit ? 'jit' : 'interpreter', memory, vcpu: vm.createVcpu(0) })
}

/** Evaluator and interpreter, and before them the CPU of the host where it can be had. */
export async function engines(): Promise<{ native: Engine; all: Engine[] }> {
  const native = nativeEngine(harnessProcess())
  const emulations = [evaluatorEngine(), await emulatedEngine(false), await emulatedEngine(true)]
  return { native, all: native.unavailable ? emulations : [native, ...emulations] }
}
