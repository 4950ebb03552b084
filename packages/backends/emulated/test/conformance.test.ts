import { vcpuConformance } from '@trapframe/cpu/conformance'
import { createGuestMemory } from '@trapframe/memory'
import { assemble } from '@trapframe/x86'
import { emulated } from '../src/index.ts'

vcpuConformance('emulated', {
  backend: emulated(),
  createMemory: createGuestMemory,
  assemble: (source, origin) => assemble(source, { origin: BigInt(origin) }).bytes,
})

vcpuConformance('emulated, every block compiled', {
  backend: emulated({ jit: 'eager' }),
  createMemory: createGuestMemory,
  assemble: (source, origin) => assemble(source, { origin: BigInt(origin) }).bytes,
})
