/** Runs cases of forms on several engines and counts what agrees. The first engine is what the others are held against. */
import type { Form } from '@trapframe/x86'
import { type Difference, differences } from './compare.ts'
import type { Case, Engine } from './engine.ts'
import { explain } from './explanation.ts'
import type { CaseGenerator } from './generator.ts'
import type { MachineImage } from './machine-image.ts'

/** A case that two engines end differently, without an explanation. */
export interface Failure {
  readonly case: Case
  /** Name of the engine that differs from the oracle. */
  readonly engine: string
  readonly expected: MachineImage
  readonly actual: MachineImage
  readonly differences: readonly Difference[]
}

/** What came out for one form. */
export interface FormResult {
  readonly form: Form
  /** Cases that were run. */
  readonly cases: number
  /** Cases that ended in an exception of their own, by vector; the others reached their end. */
  readonly exceptions: ReadonlyMap<number, number>
  /** Cases with differences, all of them explained, by reason. */
  readonly explained: ReadonlyMap<string, number>
  /** Cases that differ without an explanation. */
  readonly failures: readonly Failure[]
}

const BREAKPOINT = 3

/** What two engines make of one case, without what is explained. */
export function unexplained(
  one: Case,
  expected: MachineImage,
  actual: MachineImage,
  reasons?: Map<string, number>,
): Difference[] {
  const all = differences(one, expected, actual)
  const left = all.filter((difference) => {
    const explanation = explain(one, expected, actual, difference)
    if (explanation) reasons?.set(explanation.reason, (reasons.get(explanation.reason) ?? 0) + 1)
    return !explanation
  })
  return left
}

/**
 * Compares engines on generated cases of one form.
 * @param engines - the first is the oracle
 */
export function compareForm(
  generator: CaseGenerator,
  index: number,
  engines: readonly Engine[],
  options: { readonly cases: number; readonly seed: number },
): FormResult {
  const form = generator.forms[index]!
  const cases = generator.cases(index, options.cases, options.seed)
  return { form, ...compareCases(cases, engines) }
}

/** Runs cases on all engines. @param engines - the first is the oracle */
export function compareCases(cases: readonly Case[], engines: readonly Engine[]): Omit<FormResult, 'form'> {
  const [oracle, ...others] = engines
  const expected = oracle!.run(cases)
  const exceptions = new Map<number, number>()
  for (const { vector } of expected)
    if (vector !== BREAKPOINT) exceptions.set(vector, (exceptions.get(vector) ?? 0) + 1)
  const explained = new Map<string, number>()
  const failures: Failure[] = []
  for (const engine of others) {
    const actual = engine.run(cases)
    cases.forEach((one, position) => {
      const left = unexplained(one, expected[position]!, actual[position]!, explained)
      if (left.length > 0)
        failures.push({
          case: one,
          engine: engine.name,
          expected: expected[position]!,
          actual: actual[position]!,
          differences: left,
        })
    })
  }
  return { cases: cases.length, exceptions, explained, failures }
}

/** One line per failure: code and the first differences. */
export function describeFailure({ case: one, engine, differences: found }: Failure): string {
  const code = [...one.start.code].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
  const text = found.slice(0, 6).map(({ what, expected, actual }) => `${what} ${expected}, not ${actual}`)
  return `${engine}: ${one.label} (${code}): ${text.join('; ')}${found.length > 6 ? `; and ${found.length - 6} more` : ''}`
}
