import { cpuidBits, cpuProfiles, PHYSICAL_ADDRESS_BITS } from '@trapframe/cpu'
import { forms, system } from '@trapframe/x86'
import { expect, test } from 'vitest'

/** How many rows carry each feature. */
const rows = new Map<string, number>()
for (const { options } of forms)
  rows.set(options.feature ?? 'base', (rows.get(options.feature ?? 'base') ?? 0) + 1)

/** Features that are no instructions, or are instructions without a name of their own. */
const withoutRows = new Set([
  'de',
  'pse',
  'tsc',
  'msr',
  'pae',
  'mce',
  'apic',
  'mtrr',
  'pge',
  'mca',
  'pat',
  'pse36',
  'clflush',
  'htt',
  'x2apic',
  'tsc-deadline',
  'hypervisor',
  'arat',
  'tsc-adjust',
  'smep',
  'erms',
  'fsrm',
  'zero-fcs-fds',
  'umip',
  'la57',
  'spec-ctrl',
  'stibp',
  'ssbd',
  'arch-capabilities',
  'xsaveopt',
  'syscall',
  'nx',
  'pdpe1gb',
  'x64',
  'invariant-tsc',
  'prefetchw',
])

test.each(Object.keys(cpuProfiles))('behaviour: what %s announces is implemented', (name) => {
  const missing = cpuProfiles[name]!.features.filter(
    (feature) => !withoutRows.has(feature) && !rows.has(feature),
  )
  expect(missing).toEqual([])
})

test('behaviour: the rows use names of features that CPUID can announce', () => {
  expect(
    [...rows.keys()].filter((feature) => feature !== 'base' && !Object.hasOwn(cpuidBits, feature)),
  ).toEqual([])
})

test('behaviour: physical addresses have one width', () => {
  expect(system.PHYSICAL_ADDRESS_BITS).toBe(PHYSICAL_ADDRESS_BITS)
})

/** Every instruction of an extension: announcing it before the last one is there would be a lie. */
const extensions: Readonly<Record<string, string>> = {
  sse3: 'ADDSUBPD ADDSUBPS FISTTP HADDPD HADDPS HSUBPD HSUBPS LDDQU MOVDDUP MOVSHDUP MOVSLDUP',
  ssse3:
    'PABSB PABSW PABSD PALIGNR PHADDW PHADDD PHADDSW PHSUBW PHSUBD PHSUBSW PMADDUBSW PMULHRSW PSHUFB PSIGNB PSIGNW PSIGND',
  'sse4.1':
    'BLENDPD BLENDPS BLENDVPD BLENDVPS DPPD DPPS EXTRACTPS INSERTPS MOVNTDQA MPSADBW PACKUSDW PBLENDVB PBLENDW PCMPEQQ PEXTRB PEXTRD PEXTRQ PEXTRW PHMINPOSUW PINSRB PINSRD PINSRQ ' +
    'PMAXSB PMAXSD PMAXUD PMAXUW PMINSB PMINSD PMINUD PMINUW PMOVSXBW PMOVSXBD PMOVSXBQ PMOVSXWD PMOVSXWQ PMOVSXDQ PMOVZXBW PMOVZXBD PMOVZXBQ PMOVZXWD PMOVZXWQ PMOVZXDQ ' +
    'PMULDQ PMULLD PTEST ROUNDPD ROUNDPS ROUNDSD ROUNDSS',
  'sse4.2': 'CRC32 PCMPESTRI PCMPESTRM PCMPGTQ PCMPISTRI PCMPISTRM',
  cx16: 'CMPXCHG16B',
  popcnt: 'POPCNT',
  lzcnt: 'LZCNT',
  movbe: 'MOVBE',
  fsgsbase: 'RDFSBASE RDGSBASE WRFSBASE WRGSBASE',
  smap: 'STAC CLAC',
  xsave: 'XSAVE XSAVE64 XRSTOR XRSTOR64 XGETBV XSETBV',
  // Without a prefix VEX, decoders do not find them.
  bmi1: 'NOT-YET',
  bmi2: 'NOT-YET',
}

test.each(Object.keys(cpuProfiles))('behaviour: %s announces whole extensions', (name) => {
  const has = (mnemonic: string, feature: string): boolean =>
    forms.some((form) => form.mnemonic === mnemonic && form.options.feature === feature)
  for (const feature of cpuProfiles[name]!.features) {
    const missing = (extensions[feature] ?? '')
      .split(' ')
      .filter((mnemonic) => mnemonic !== '' && !has(mnemonic, feature))
    expect(missing, feature).toEqual([])
  }
})
