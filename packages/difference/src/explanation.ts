/**
 * Differences that are understood: what the manual leaves undefined beyond flags, what belongs to a model of CPU, and
 * what our semantics does not do yet. Everything else is a bug of one engine or the other.
 */
import type { Case } from './engine.ts'
import type { MachineImage } from './machine-image.ts'
import type { Difference } from './compare.ts'

export interface Explanation {
  readonly reason: string
  /** `undefined`: the manual says so. `model`: CPUs differ. `gap`: ours to close. */
  readonly kind: 'undefined' | 'model' | 'gap'
  explains(one: Case, expected: MachineImage, actual: MachineImage, difference: Difference): boolean
}

const PF = 14
const mnemonic = (one: Case): string => one.form?.mnemonic ?? ''
const isByte = (what: string): boolean => what.startsWith('byte at')

export const explanations: readonly Explanation[] = [
  {
    reason: 'FXSAVE, XSAVE, FNSAVE, FNSTENV and their opposites that fault: which part is accessed first is up to the CPU',
    kind: 'undefined',
    explains: (one, expected, _, { what }) =>
      expected.vector === PF && /^(FX|X)(SAVE|RSTOR)|^FN?(SAVE|STENV)|^F(RSTOR|LDENV)/.test(mnemonic(one)) && (what === 'CR2' || isByte(what)),
  },
  {
    reason: 'A masked store may fault on bytes that it does not write (SDM volume 2, MASKMOVDQU)',
    kind: 'undefined',
    explains: (one, expected, _, { what }) =>
      mnemonic(one).startsWith('MASKMOV') && (expected.vector === PF || expected.vector === 13) && (what === 'vector' || what === 'CR2'),
  },
  {
    reason: 'Approximations of RCP and RSQRT differ between CPUs within a relative error of 1.5 * 2^-12',
    kind: 'model',
    explains: (one, expected, actual, { what }) => /^(RCP|RSQRT)/.test(mnemonic(one)) && what.startsWith('XMM') && approximates(expected, actual, Number(what.slice(3))),
  },
  {
    reason: 'A stack address that is not canonical raises #SS(0) on CPUs, #GP(0) here',
    kind: 'gap',
    explains: (_, expected, actual, { what }) => what === 'vector' && expected.vector === 12 && actual.vector === 13,
  },
]

/** The first explanation of a difference, or undefined. */
export function explain(one: Case, expected: MachineImage, actual: MachineImage, difference: Difference): Explanation | undefined {
  return explanations.find(explanation => explanation.explains(one, expected, actual, difference))
}

function approximates(expected: MachineImage, actual: MachineImage, register: number): boolean {
  for (let lane = 0; lane < 4; lane++) {
    const at = 160 + 16 * register + 4 * lane
    const x = expected.fxsaveView.getFloat32(at, true)
    const y = actual.fxsaveView.getFloat32(at, true)
    if (Object.is(x, y)) continue
    // Both are within the bound of the true value, so within twice the bound of each other.
    if (!(Math.abs(x - y) <= Math.abs(x) * 2 * 1.5 * 2 ** -12)) return false
  }
  return true
}
