import { emulated } from '@trapframe/backend-emulated'
import { type CpuidLeaf, cpuidFor, defaultCpuProfile } from '@trapframe/cpu'
import { createGuestMemory } from '@trapframe/memory'
import { forms } from '@trapframe/x86'
import { describe, expect, test } from 'vitest'
import { evaluatorBackend } from '../scripts/evaluator-backend.ts'
import { outcomeDifferences, runSystemCase, systemCase, systemMemory } from '../scripts/system-cases.ts'
import { CaseGenerator, ENGINE_RAM_BYTES, isEncodable, isTestable, Random } from '../src/index.ts'

/** Per form. No host can tell who is right here: both execute the same definitions. */
const CASES = Number(process.env.CASES ?? 60)

const cpuid: readonly CpuidLeaf[] = cpuidFor(defaultCpuProfile, {
  vcpuId: 0,
  vcpuCount: 1,
  tscHz: 1_000_000_000,
  apicHz: 1_000_000_000,
  hypervisor: true,
  x2apic: true,
  tscDeadline: true,
})
async function machine(backend: ReturnType<typeof emulated>) {
  const memory = createGuestMemory({ ramBytes: ENGINE_RAM_BYTES })
  const vm = await backend.createVm({ memory, cpuid, time: { kind: 'virtual' }, tscHz: 1_000_000_000 })
  const vcpu = vm.createVcpu(0)
  return { memory, vcpu, fresh: vcpu.save() }
}
const evaluator = await machine(evaluatorBackend())
const interpreter = await machine(emulated())
const ram = systemMemory()
const generator = new CaseGenerator(forms)
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

describe('behaviour: evaluator and interpreter agree on system instructions', () => {
  const mnemonics = new Map<string, number[]>()
  forms.forEach((form, index) => {
    if (isTestable(form) || !isEncodable(form) || form.options.mode === 'no64') return
    mnemonics.set(form.mnemonic, [...(mnemonics.get(form.mnemonic) ?? []), index])
  })
  for (const [mnemonic, indices] of mnemonics)
    test(mnemonic, () => {
      const found: string[] = []
      let cases = 0
      for (const index of indices) {
        const form = forms[index]!
        const random = new Random(index)
        for (const plain of generator.cases(index, CASES, 1)) {
          const one = systemCase(plain, form, random)
          const expected = runSystemCase(evaluator.memory, evaluator.vcpu, evaluator.fresh, one, ram)
          const actual = runSystemCase(interpreter.memory, interpreter.vcpu, interpreter.fresh, one, ram)
          const differences = outcomeDifferences(expected, actual)
          if (hex(evaluator.memory.read(0, ram.length)) !== hex(interpreter.memory.read(0, ram.length)))
            differences.push('memory')
          if (differences.length > 0)
            found.push(
              `${form.text} ${hex(one.case.start.code)}, ring ${one.supervisor ? 0 : 3}: ${differences.slice(0, 5).join('; ')}`,
            )
          cases++
        }
      }
      expect(found.slice(0, 5)).toEqual([])
      expect(cases).toBeGreaterThan(0)
    })
})
