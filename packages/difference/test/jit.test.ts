import { forms } from '@trapframe/x86'
import { describe, expect, test } from 'vitest'
import { jitEngine } from '../scripts/engines.ts'
import {
  CaseGenerator,
  compareCases,
  compareForm,
  describeFailure,
  evaluatorEngine,
  isTestable,
  ProgramGenerator,
} from '../src/index.ts'

/** Per form: compiling a region takes a millisecond. */
const CASES = 4
const PROGRAMS = 1000

const jit = await jitEngine()
const all = [evaluatorEngine(), jit]

describe('behaviour: evaluator and JIT agree', () => {
  test('on every form', () => {
    const generator = new CaseGenerator(forms)
    const results = forms.flatMap((form, index) =>
      isTestable(form) ? [compareForm(generator, index, all, { cases: CASES, seed: 1 })] : [],
    )
    expect(
      results
        .flatMap(({ failures }) => failures)
        .slice(0, 10)
        .map(describeFailure),
    ).toEqual([])
    expect(jit.regions).toBeGreaterThan(2 * results.length)
  })

  test('on random programs', () => {
    const before = jit.regions
    const { failures } = compareCases(new ProgramGenerator(forms).programs(PROGRAMS, 1), all)
    expect(failures.slice(0, 10).map(describeFailure)).toEqual([])
    expect(jit.regions - before).toBeGreaterThan(PROGRAMS / 2)
  })
})
