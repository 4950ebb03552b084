import { forms } from '@trapframe/x86'
import { describe, expect, test } from 'vitest'
import { engines } from '../scripts/engines.ts'
import {
  CaseGenerator,
  compareForm,
  describeFailure,
  featuresOf,
  isTestable,
  runsCode,
} from '../src/index.ts'

/** Per form, by kind of code; `npm run difference` runs more. */
const CASES = { 64: 40, 32: 8, 16: 8 } as const
const SEED = 1

const { native, all } = await engines()
const features = native.unavailable ? undefined : featuresOf(native)
const mnemonics = new Map<string, number[]>()
forms.forEach(({ mnemonic }, index) => {
  mnemonics.set(mnemonic, [...(mnemonics.get(mnemonic) ?? []), index])
})

describe(`behaviour: ${all.map(({ name }) => name).join(', ')} agree`, () => {
  test.skipIf(native.unavailable !== undefined)('the CPU of the host takes part', () => {
    expect(all[0]).toBe(native)
  })
})
for (const mode of [64, 32, 16] as const) {
  const generator = new CaseGenerator(forms, { mxcsr: 'sticky', mode })
  // A kernel may be without 16-bit segments for its programs; then the emulations are compared with each other.
  const here = native.unavailable || runsCode(native, mode) ? all : all.slice(1)
  describe(`behaviour: ${here.map(({ name }) => name).join(', ')} agree on code of ${mode} bits`, () => {
    for (const [mnemonic, indices] of mnemonics) {
      const testable = indices.filter((index) => isTestable(forms[index]!, mode))
      if (testable.length === 0) continue
      const known = testable.filter(
        (index) => !features || features.has(forms[index]!.options.feature ?? 'base'),
      )
      // Forms of a feature that the host lacks cannot be compared with it.
      test.skipIf(known.length === 0)(mnemonic, () => {
        const results = known.map((index) =>
          compareForm(generator, index, here, { cases: CASES[mode], seed: SEED }),
        )
        expect(results.flatMap(({ failures }) => failures.slice(0, 3).map(describeFailure))).toEqual([])
        if (mode === 64)
          expect(
            results.some(({ cases }) => cases > 0),
            'no case could be made',
          ).toBe(true)
      })
    }
  })
}
