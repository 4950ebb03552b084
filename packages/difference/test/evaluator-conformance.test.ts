import { vcpuConformance } from '@trapframe/cpu/conformance'
import { assemble } from '@trapframe/x86'
import { evaluatorBackend } from '../scripts/evaluator-backend.ts'

vcpuConformance('evaluator', {
  backend: evaluatorBackend(),
  assemble: (source, origin) => assemble(source, { origin: BigInt(origin) }).bytes,
})
