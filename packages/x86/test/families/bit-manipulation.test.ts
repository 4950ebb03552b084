import { describe, expect, test } from 'vitest'
import { bitManipulationForms } from '../../src/families/bit-manipulation.ts'
import type { Builder } from '../../src/ir/builder.ts'
import { type Binding, Operands } from '../../src/isa/operands.ts'
import { Flag, State } from '../../src/state-layout.ts'
import { LongMode } from './long-mode.ts'

const { cf, zf, sf } = Flag
const M64 = (1n << 64n) - 1n
const names = ['rax', 'rcx', 'rdx'] as const

/** Executes the row with RAX, RCX and RDX as operands 0, 1 and 2: VEX forms are not decoded yet. */
function run(text: string, x: bigint, y = 0n): { result: bigint; flags: number; m: LongMode } {
  const m = new LongMode()
  const form = bitManipulationForms.find((row) => row.text === text)!
  m.set({ rcx: x, rdx: y })
  const binding = (b: Builder): Partial<Binding> => ({
    isMemory: () => false,
    register: (index) => ({ offset: State.gpr + 8 * index }),
    immediate: () => b.const64(y),
  })
  const { machine } = m.evaluator
  machine.run(
    machine.build(text, (b) => form.body(b, new Operands(b, form, binding(b) as Binding))),
    { thisRip: 0n, nextRip: 0n },
  )
  return { result: m.get(names[0]), flags: m.flags & (cf | zf | sf), m }
}

describe('BMI', () => {
  test('behaviour: bit fields, as measured on a Zen 4 CPU', () => {
    expect(run('ANDN r32, r32, r/m32', 0x0fn, 0x8300_0007n)).toMatchObject({
      result: 0x8300_0000n,
      flags: sf,
    })
    expect(run('BEXTR r32, r/m32, r32', 0xfff0n, 0x0804n)).toMatchObject({ result: 0xffn, flags: 0 })
    expect(run('BEXTR r32, r/m32, r32', 0xfff0n, 0x0004n)).toMatchObject({ result: 0n, flags: zf })
    expect(run('BEXTR r64, r/m64, r64', M64, 0xff3fn)).toMatchObject({ result: 1n, flags: 0 })
    expect(run('BEXTR r64, r/m64, r64', M64, 0xff40n)).toMatchObject({ result: 0n, flags: zf })
    expect(run('BLSI r32, r/m32', 0x8000_0000n)).toMatchObject({ result: 0x8000_0000n, flags: sf | cf })
    expect(run('BLSI r32, r/m32', 0n)).toMatchObject({ result: 0n, flags: zf })
    expect(run('BLSMSK r32, r/m32', 0n)).toMatchObject({ result: 0xffff_ffffn, flags: sf | cf })
    expect(run('BLSMSK r32, r/m32', 4n)).toMatchObject({ result: 7n, flags: 0 })
    expect(run('BLSR r32, r/m32', 0n)).toMatchObject({ result: 0n, flags: zf | cf })
    expect(run('BLSR r64, r/m64', 6n)).toMatchObject({ result: 4n, flags: 0 })
    expect(run('BZHI r32, r/m32, r32', 0xffff_ffffn, 31n)).toMatchObject({ result: 0x7fff_ffffn, flags: 0 })
    expect(run('BZHI r32, r/m32, r32', 0xffff_ffffn, 255n)).toMatchObject({
      result: 0xffff_ffffn,
      flags: sf | cf,
    })
    expect(run('BZHI r32, r/m32, r32', 0xffff_ffffn, 0n)).toMatchObject({ result: 0n, flags: zf })
  })

  test('behaviour: MULX, PDEP, PEXT, shifts', () => {
    const { m } = run('MULX r64, r64, r/m64', 0n, M64)
    expect([m.get('rax'), m.get('rcx')]).toEqual([M64 - 1n, 1n])
    expect(run('PDEP r64, r64, r/m64', 0b1011n, 0x8421_0000_0000_0000n).result).toBe(0x8021_0000_0000_0000n)
    expect(run('PEXT r64, r64, r/m64', 0x8001_0000_0000_0000n, 0x8421_0000_0000_0000n).result).toBe(0b1001n)
    expect(run('PEXT r32, r32, r/m32', 0x1234_5678n, 0xff00_fff0n).result).toBe(0x1_2567n)
    expect(run('RORX r32, r/m32, imm8', 0x1234_5678n, 36n).result).toBe(0x8123_4567n)
    expect(run('SARX r32, r/m32, r32', 0x8000_0000n, 35n).result).toBe(0xf000_0000n)
    expect(run('SHLX r32, r/m32, r32', 0xffff_ffffn, 36n).result).toBe(0xffff_fff0n)
    expect(run('SHRX r64, r/m64, r64', M64, 60n).result).toBe(15n)
  })
})
