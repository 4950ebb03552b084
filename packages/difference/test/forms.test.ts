import { forms } from '@trapframe/x86'
import { describe, expect, test } from 'vitest'
import { engines } from '../scripts/engines.ts'
import { CaseGenerator, compareForm, describeFailure, featuresOf, isTestable } from '../src/index.ts'

/** Per form; `npm run difference` runs more. */
const CASES = 40
const SEED = 1

const { native, all } = await engines()
const features = native.unavailable ? undefined : featuresOf(native)
const generator = new CaseGenerator(forms, { mxcsr: 'sticky' })
const mnemonics = new Map<string, number[]>()
forms.forEach(({ mnemonic }, index) => {
  mnemonics.set(mnemonic, [...(mnemonics.get(mnemonic) ?? []), index])
})

describe(`behaviour: ${all.map(({ name }) => name).join(', ')} agree`, () => {
  test.skipIf(native.unavailable !== undefined)('the CPU of the host takes part', () => {
    expect(all[0]).toBe(native)
  })
  for (const [mnemonic, indices] of mnemonics) {
    const here = indices.filter((index) => isTestable(forms[index]!))
    if (here.length === 0) continue
    const known = here.filter((index) => !features || features.has(forms[index]!.options.feature ?? 'base'))
    // Forms of a feature that the host lacks cannot be compared with it.
    test.skipIf(known.length === 0)(mnemonic, () => {
      const results = known.map((index) => compareForm(generator, index, all, { cases: CASES, seed: SEED }))
      expect(results.flatMap(({ failures }) => failures.slice(0, 3).map(describeFailure))).toEqual([])
      expect(
        results.some(({ cases }) => cases > 0),
        'no case could be made',
      ).toBe(true)
    })
  }
})
