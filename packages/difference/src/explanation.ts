/**
 * Differences that are understood: what the manual leaves undefined beyond flags, what belongs to a model of CPU, and
 * what our semantics does not do yet. Everything else is a bug of one engine or the other.
 */

import type { Difference } from './compare.ts'
import type { Case } from './engine.ts'
import { Fxsave, type MachineImage } from './machine-image.ts'

/** A kind of difference that is no bug. */
export interface Explanation {
  /** For reports, with its source. */
  readonly reason: string
  /** `undefined`: the manual says so. `model`: CPUs differ. `gap`: ours to close. */
  readonly kind: 'undefined' | 'model' | 'gap'
  /** Mnemonics that it is about, where it is about some. */
  readonly mnemonics?: RegExp
  /** Whether this difference is of that kind. */
  explains(one: Case, expected: MachineImage, actual: MachineImage, difference: Difference): boolean
}

const BREAKPOINT = 3
const UD = 6
const PF = 14
const GP = 13
const SS = 12
const MF = 16
const isByte = (what: string): boolean => what.startsWith('byte at')

/** All that are known. */
export const explanations: readonly Explanation[] = [
  {
    reason:
      'FXSAVE, XSAVE, FNSAVE, FNSTENV and their opposites that fault: which part is accessed first is up to the CPU',
    kind: 'undefined',
    mnemonics: /^(FX|X)(SAVE|RSTOR)|^FN?(SAVE|STENV)|^F(RSTOR|LDENV)/,
    explains: (_, expected, __, { what }) =>
      expected.vector === PF && (what === 'CR2' || what === 'error code' || isByte(what)),
  },
  {
    reason: 'MASKMOVQ that faults: AMD CPUs have entered MMX state by then',
    kind: 'model',
    mnemonics: /^MASKMOVQ$/,
    explains: (_, expected, __, { what }) =>
      (expected.vector === PF || expected.vector === GP) && /^(FSW|FTW|ST)/.test(what),
  },
  {
    reason:
      'CVTPI2PS from memory enters MMX state, #MF included, on Intel CPUs (SDM volume 2), not on AMD CPUs',
    kind: 'model',
    mnemonics: /^CVTPI2PS$/,
    explains: (_, __, actual, { what }) =>
      /^(FSW|FTW|ST)/.test(what) || (what === 'vector' && actual.vector === MF),
  },
  {
    reason: 'FCOMI and relatives clear C1 on Intel CPUs (SDM volume 2), and leave it on AMD CPUs',
    kind: 'model',
    mnemonics: /^FU?COMIP?$/,
    explains: (_, expected, actual, { what }) => what === 'FSW' && differsIn(expected, actual, 0x200),
  },
  {
    reason: 'A store that an unmasked x87 exception suppresses may still fault',
    kind: 'model',
    mnemonics: /^F(I|B)?STT?P?$/,
    explains: (_, expected, actual, { what }) =>
      what === 'vector' &&
      (expected.vector === PF || expected.vector === GP) &&
      (actual.fxsaveView.getUint16(Fxsave.fsw, true) & 0x80) !== 0,
  },
  {
    reason: 'ARPL: AMD CPUs read, and then write only what changes, so memory need not be writable',
    kind: 'model',
    mnemonics: /^ARPL$/,
    explains: (_, expected, actual, { what }) =>
      (what === 'vector' &&
        expected.vector === BREAKPOINT &&
        (actual.vector === GP || actual.vector === PF)) ||
      (expected.vector === PF && (what === 'error code' || what === 'CR2')),
  },
  {
    reason: 'UD0 and UD1 have operands that are fetched on Intel CPUs (SDM volume 2), not on AMD CPUs',
    kind: 'model',
    mnemonics: /^UD[01]$/,
    explains: (_, expected, actual, { what }) =>
      what === 'vector' && expected.vector === UD && actual.vector === PF,
  },
  {
    reason: 'MOVSXD with a 66 prefix reads 16 bits on Intel CPUs (SDM volume 2), 32 on AMD CPUs',
    kind: 'model',
    mnemonics: /^MOVSXD$/,
    explains: (one, expected, _, { what }) =>
      one.form?.operands[0] === 'r16' &&
      what === 'vector' &&
      (expected.vector === PF || expected.vector === GP),
  },
  {
    reason: 'Approximations of RCP and RSQRT differ between CPUs within a relative error of 1.5 * 2^-12',
    kind: 'model',
    mnemonics: /^(RCP|RSQRT)/,
    explains: (_, expected, actual, { what }) =>
      what.startsWith('XMM') && approximates(expected, actual, Number(what.slice(3))),
  },
  {
    reason: 'A stack address that is not canonical raises #SS(0) on CPUs, #GP(0) here',
    kind: 'gap',
    explains: (_, expected, actual, { what }) =>
      what === 'vector' && expected.vector === SS && actual.vector === GP,
  },
]

/** The first explanation of a difference, or undefined. */
export function explain(
  one: Case,
  expected: MachineImage,
  actual: MachineImage,
  difference: Difference,
): Explanation | undefined {
  return explanations.find(
    (explanation) =>
      (explanation.mnemonics?.test(one.form?.mnemonic ?? '') ?? true) &&
      explanation.explains(one, expected, actual, difference),
  )
}

function differsIn(expected: MachineImage, actual: MachineImage, bits: number): boolean {
  const word = (image: MachineImage): number => image.fxsaveView.getUint16(Fxsave.fsw, true)
  return ((word(expected) ^ word(actual)) & ~bits) === 0
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
