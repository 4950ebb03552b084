import { cpuidBits, cpuProfiles, PHYSICAL_ADDRESS_BITS } from '@trapframe/cpu'
import { forms, system } from '@trapframe/x86'
import { expect, test } from 'vitest'

/** How many rows carry each feature. */
const rows = new Map<string, number>()
for (const { options } of forms) rows.set(options.feature ?? 'base', (rows.get(options.feature ?? 'base') ?? 0) + 1)

/** Features that are no instructions, or are instructions without a name of their own. */
const withoutRows = new Set([
  'de', 'pse', 'tsc', 'msr', 'pae', 'mce', 'apic', 'mtrr', 'pge', 'mca', 'pat', 'pse36', 'clflush', 'htt', 'x2apic', 'tsc-deadline', 'hypervisor',
  'arat', 'tsc-adjust', 'smep', 'erms', 'fsrm', 'zero-fcs-fds', 'umip', 'la57', 'spec-ctrl', 'stibp', 'ssbd', 'arch-capabilities', 'xsaveopt',
  'syscall', 'nx', 'pdpe1gb', 'x64', 'invariant-tsc', 'prefetchw',
])

test.each(Object.keys(cpuProfiles))('behaviour: what %s announces is implemented', name => {
  const missing = cpuProfiles[name]!.features.filter(feature => !withoutRows.has(feature) && !rows.has(feature))
  expect(missing).toEqual([])
})

test('behaviour: the rows use names of features that CPUID can announce', () => {
  expect([...rows.keys()].filter(feature => feature !== 'base' && !Object.hasOwn(cpuidBits, feature))).toEqual([])
})

test('behaviour: physical addresses have one width', () => {
  expect(system.PHYSICAL_ADDRESS_BITS).toBe(PHYSICAL_ADDRESS_BITS)
})
