// The engines of this repository, for tests and the command line.
import { emulated } from '@trapframe/backend-emulated'
import type { Vcpu } from '@trapframe/cpu'
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

/** The JIT: the code of every case is compiled before it runs. `regions` counts what was. */
export async function jitEngine(): Promise<Engine & { readonly regions: number }> {
  const memory = createGuestMemory({ ramBytes: ENGINE_RAM_BYTES })
  const vm = await emulated({ jit: true }).createVm({
    memory,
    cpuid: [],
    time: { kind: 'virtual' },
    tscHz: 1_000_000_000,
  })
  const vcpu = vm.createVcpu(0) as Vcpu & { compileAt(host: number): boolean }
  let regions = 0
  const prepare = (guestPhysical: number): void => {
    if (vcpu.compileAt(memory.hostOffset(guestPhysical))) regions++
  }
  const engine = vcpuEngine({ name: 'jit', memory, vcpu, prepare })
  return {
    ...engine,
    get regions() {
      return regions
    },
  }
}
