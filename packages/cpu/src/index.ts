/**
 * The vCPU contract (backend, VM, vCPU, exits, capabilities), the architectural state of x86-64 in its saved form, and CPUID
 * profiles. `@trapframe/cpu/conformance` has the tests that every backend passes.
 *
 * @example
 * A vCPU without a machine: a few bytes of code, run to their HLT, with a port written on the way.
 * ```ts
 * import { emulated } from '@trapframe/backend-emulated'
 * import { ExitReason } from '@trapframe/cpu'
 * import { bareState, prepareBareGuest } from '@trapframe/cpu/conformance'
 * import { createGuestMemory } from '@trapframe/memory'
 * import { assemble } from '@trapframe/x86'
 *
 * const memory = createGuestMemory({ ramBytes: 2 ** 24 })
 * prepareBareGuest(memory)
 * const vm = await emulated().createVm({ memory, cpuid: [], time: { kind: 'virtual' }, tscHz: 1e9 })
 * const vcpu = vm.createVcpu(0)
 * const state = bareState(vcpu.save())
 * memory.write(Number(state.rip), assemble('mov al, 42\nout 0x80, al\nhlt').bytes)
 * vcpu.load(state)
 * console.log(vcpu.run(1000) === ExitReason.pioWrite) // true
 * console.log(vcpu.exit.address, vcpu.exit.value) // 128 42
 * console.log(vcpu.run(1000) === ExitReason.halted) // true
 * console.log(vcpu.instructionsRetired) // 3
 * vm.close()
 * ```
 *
 * @packageDocumentation
 */
export * from './contract.ts'
export * from './cpu-profile.ts'
export * from './cpuid.ts'
export * from './cpuid-feature.ts'
export * from './platform-state.ts'
export * from './vcpu-state.ts'
