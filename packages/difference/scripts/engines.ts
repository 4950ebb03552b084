// The engines of this repository, for tests and the command line.
import { emulated, type JitMode } from '@trapframe/backend-emulated'
import { createGuestMemory } from '@trapframe/memory'
import { ENGINE_RAM_BYTES, type Engine, evaluatorEngine, nativeEngine, vcpuEngine } from '../src/index.ts'
import { harnessProcess } from './harness-process.ts'

async function emulatedEngine(name: string, jit: JitMode): Promise<Engine & { readonly regions: number }> {
  const memory = createGuestMemory({ ramBytes: ENGINE_RAM_BYTES })
  const vm = await emulated({ jit }).createVm({
    memory,
    cpuid: [],
    time: { kind: 'virtual' },
    tscHz: 1_000_000_000,
  })
  const vcpu = vm.createVcpu(0)
  return {
    ...vcpuEngine({ name, memory, vcpu }),
    get regions() {
      return vcpu.metrics.read()['jit-regions'] ?? 0
    },
  }
}

export const interpreterEngine = (): Promise<Engine> => emulatedEngine('interpreter', false)

/** The JIT: every block is compiled before it is executed. `regions` counts what was. */
export const jitEngine = (): Promise<Engine & { readonly regions: number }> => emulatedEngine('jit', 'eager')

/** Evaluator and interpreter, and before them the CPU of the host where it can be had. */
export async function engines(): Promise<{ native: Engine; all: Engine[] }> {
  const native = nativeEngine(harnessProcess())
  const emulations = [evaluatorEngine(), await interpreterEngine()]
  return { native, all: native.unavailable ? emulations : [native, ...emulations] }
}
