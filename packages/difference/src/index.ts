/**
 * Runs one start state on several engines (the reference evaluator, any vCPU, the CPU of the host), compares what comes out,
 * makes differing cases small, and keeps them as text.
 *
 * @example
 * An instruction form on two evaluators, which had better agree. The host's CPU takes part with `nativeEngine`.
 * ```ts
 * import { CaseGenerator, compareForm, evaluatorEngine } from '@trapframe/difference'
 * import { forms } from '@trapframe/x86'
 *
 * const generator = new CaseGenerator(forms)
 * const index = forms.findIndex(({ text }) => text === 'ADC r/m32, r32')
 * const result = compareForm(generator, index, [evaluatorEngine(), evaluatorEngine()], { cases: 20, seed: 1 })
 * console.log(result.form.encoding, result.cases, result.failures.length) // 11 /r 20 0
 * ```
 *
 * @packageDocumentation
 */

export { type Difference, differences } from './compare.ts'
export {
  compareCases,
  compareForm,
  describeFailure,
  type Failure,
  type FormResult,
  unexplained,
} from './comparison.ts'
export type { Case, Engine } from './engine.ts'
export { evaluatorEngine } from './evaluator-engine.ts'
export { type Explanation, explain, explanations } from './explanation.ts'
export { type Fixture, FixtureError, formatFixture, parseFixture } from './fixture.ts'
export { CaseGenerator } from './generator.ts'
export * from './machine-image.ts'
export { type HarnessProcess, nativeEngine } from './native-engine.ts'
export { nativeHarness } from './native-harness.ts'
export { ProgramGenerator, type ProgramOptions } from './program-generator.ts'
export { Random } from './random.ts'
export { type ReportRow, reportMarkdown, reportRow } from './report.ts'
export { shrink } from './shrinker.ts'
export { featuresOf, isEncodable, isTestable, runsCode } from './testable.ts'
export { ENGINE_RAM_BYTES, type VcpuUnderTest, vcpuEngine } from './vcpu-engine.ts'
