import { forms } from '@trapframe/x86'
import { describe, expect, test } from 'vitest'
import { engines } from '../scripts/engines.ts'
import {
  CaseGenerator,
  compareCases,
  type Engine,
  evaluatorEngine,
  ProgramGenerator,
  shrink,
} from '../src/index.ts'

const { all } = await engines()

/** An evaluator that adds wrongly: bit 40 of RBX is lost whenever RAX is odd. */
function wrongEngine(): Engine {
  const right = evaluatorEngine()
  return {
    name: 'wrong',
    run: (cases) =>
      right.run(cases).map((end) => {
        if (end.gpr(0) & 1n) end.setGpr(3, end.gpr(3) & ~(1n << 40n))
        return end
      }),
  }
}

describe('behaviour: programs', () => {
  test(`${all.map(({ name }) => name).join(', ')} agree on random programs`, () => {
    const generator = new ProgramGenerator(forms, undefined, { mxcsr: 'sticky' })
    const result = compareCases(generator.programs(1000, 1), all)
    expect(result.failures.map(({ engine, differences }) => ({ engine, differences }))).toEqual([])
    expect(result.cases).toBe(1000)
  })

  test('the same seed makes the same programs', () => {
    const generator = new ProgramGenerator(forms)
    const bytes = (seed: number): string =>
      generator
        .programs(20, seed)
        .map(({ start }) => start.bytes.join(' '))
        .join('\n')
    expect(bytes(3)).toBe(bytes(3))
    expect(bytes(3)).not.toBe(bytes(4))
  })
})

describe('behaviour: a wrong engine is found out', () => {
  const index = forms.findIndex(({ text }) => text === 'ADD r/m64, r64')
  const cases = new CaseGenerator(forms).cases(index, 400, 1)
  const { failures } = compareCases(cases, [evaluatorEngine(), wrongEngine()])

  test('by some of the cases', () => {
    expect(failures.length).toBeGreaterThan(5)
    expect(failures.length).toBeLessThan(cases.length)
    expect(new Set(failures.flatMap(({ differences }) => differences.map(({ what }) => what)))).toEqual(
      new Set(['RBX']),
    )
  })

  test('and the case becomes small', () => {
    const small = shrink(failures[0]!.case, evaluatorEngine(), wrongEngine())
    const [end] = wrongEngine().run([small])
    expect(end!.gpr(0) & 1n).toBe(1n)
    const plain = [...Array(16).keys()].filter((register) => small.start.gpr(register) === 0n)
    expect(plain.length).toBeGreaterThan(9)
  })
})

describe('behaviour: cases', () => {
  test('the same seed makes the same cases, another seed others', () => {
    const generator = new CaseGenerator(forms)
    const index = forms.findIndex(({ text }) => text === 'SUB r/m32, imm32')
    const bytes = (seed: number): string =>
      generator
        .cases(index, 20, seed)
        .map(({ start }) => start.bytes.join(' '))
        .join('\n')
    expect(bytes(1)).toBe(bytes(1))
    expect(bytes(1)).not.toBe(bytes(2))
  })

  test('operands are registers and memory, within a page and across, mapped and not', () => {
    const generator = new CaseGenerator(forms)
    const index = forms.findIndex(({ text }) => text === 'MOV r64, r/m64')
    const ends = evaluatorEngine().run(generator.cases(index, 600, 1))
    const vectors = new Set(ends.map(({ vector }) => vector))
    expect(vectors).toContain(3)
    expect(vectors).toContain(14)
    expect(vectors).toContain(13)
    const addresses = ends.filter(({ vector }) => vector === 14).map(({ faultAddress }) => faultAddress)
    expect(
      addresses.some((address) => address === 0x1000_5000n),
      'the end of the window is crossed',
    ).toBe(true)
  })
})
