/**
 * Runs one start state on several engines (the reference evaluator, any vCPU, the CPU of the host), compares what
 * comes out, makes differing cases small, and keeps them as text.
 *
 * @packageDocumentation
 */
export type { Case, Engine } from './engine.ts'
export { evaluatorEngine } from './evaluator-engine.ts'
export { CaseGenerator } from './generator.ts'
export * from './machine-image.ts'
export { type HarnessProcess, nativeEngine } from './native-engine.ts'
export { nativeHarness } from './native-harness.ts'
export { Random } from './random.ts'
