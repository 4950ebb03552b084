/**
 * Runs one start state on several engines (the reference evaluator, any vCPU, the CPU of the host), compares what
 * comes out, makes differing cases small, and keeps them as text.
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
