import { vcpuConformance } from '@trapframe/cpu/conformance'
import { createGuestMemory } from '@trapframe/memory'
import { assemble } from '@trapframe/x86'
import { evaluatorBackend } from '../scripts/evaluator-backend.ts'

vcpuConformance('evaluator', {
  backend: evaluatorBackend(),
  createMemory: createGuestMemory,
  assemble: (source, origin) => assemble(source, { origin: BigInt(origin) }).bytes,
})
