/**
 * Names of processor features and the CPUID bits that announce them (SDM volume 2, CPUID; AMD APM volume 3, appendix E
 * for leaves from 0x80000000). Names of instruction-set extensions are those that the rows of @trapframe/x86 carry, so
 * that a test can hold a profile against what is implemented.
 */

export type CpuidRegister = 'eax' | 'ebx' | 'ecx' | 'edx'

/** Where a feature is announced. */
export interface CpuidBit {
  readonly leaf: number
  readonly subleaf: number
  readonly register: CpuidRegister
  readonly bit: number
}

const at = (leaf: number, register: CpuidRegister, bit: number, subleaf = 0): CpuidBit => ({
  leaf,
  subleaf,
  register,
  bit,
})

/** Name of a feature that CPUID shows with one bit. */
export type CpuFeature =
  // Leaf 1.
  | 'fpu'
  | 'de'
  | 'pse'
  | 'tsc'
  | 'msr'
  | 'pae'
  | 'mce'
  | 'cx8'
  | 'apic'
  | 'sysenter'
  | 'mtrr'
  | 'pge'
  | 'mca'
  | 'cmov'
  | 'pat'
  | 'pse36'
  | 'clflush'
  | 'mmx'
  | 'fxsr'
  | 'sse'
  | 'sse2'
  | 'htt'
  | 'sse3'
  | 'pclmulqdq'
  | 'monitor'
  | 'ssse3'
  | 'fma'
  | 'cx16'
  | 'pcid'
  | 'sse4.1'
  | 'sse4.2'
  | 'x2apic'
  | 'movbe'
  | 'popcnt'
  | 'tsc-deadline'
  | 'aes'
  | 'xsave'
  | 'avx'
  | 'f16c'
  | 'rdrand'
  | 'hypervisor'
  // Leaves 6 and 7.
  | 'arat'
  | 'fsgsbase'
  | 'tsc-adjust'
  | 'bmi1'
  | 'avx2'
  | 'smep'
  | 'bmi2'
  | 'erms'
  | 'invpcid'
  | 'zero-fcs-fds'
  | 'rdseed'
  | 'adx'
  | 'smap'
  | 'clflushopt'
  | 'clwb'
  | 'sha'
  | 'umip'
  | 'pku'
  | 'la57'
  | 'rdpid'
  | 'fsrm'
  | 'spec-ctrl'
  | 'stibp'
  | 'arch-capabilities'
  | 'ssbd'
  // Leaf 0xD and the extended ones.
  | 'xsaveopt'
  | 'lahf'
  | 'lzcnt'
  | 'sse4a'
  | 'prefetchw'
  | 'syscall'
  | 'nx'
  | 'pdpe1gb'
  | 'rdtscp'
  | 'x64'
  | 'invariant-tsc'

/** The CPUID bit of each feature. */
export const cpuidBits: Readonly<Record<CpuFeature, CpuidBit>> = {
  fpu: at(1, 'edx', 0),
  de: at(1, 'edx', 2),
  pse: at(1, 'edx', 3),
  tsc: at(1, 'edx', 4),
  msr: at(1, 'edx', 5),
  pae: at(1, 'edx', 6),
  mce: at(1, 'edx', 7),
  cx8: at(1, 'edx', 8),
  apic: at(1, 'edx', 9),
  sysenter: at(1, 'edx', 11),
  mtrr: at(1, 'edx', 12),
  pge: at(1, 'edx', 13),
  mca: at(1, 'edx', 14),
  cmov: at(1, 'edx', 15),
  pat: at(1, 'edx', 16),
  pse36: at(1, 'edx', 17),
  clflush: at(1, 'edx', 19),
  mmx: at(1, 'edx', 23),
  fxsr: at(1, 'edx', 24),
  sse: at(1, 'edx', 25),
  sse2: at(1, 'edx', 26),
  htt: at(1, 'edx', 28),
  sse3: at(1, 'ecx', 0),
  pclmulqdq: at(1, 'ecx', 1),
  monitor: at(1, 'ecx', 3),
  ssse3: at(1, 'ecx', 9),
  fma: at(1, 'ecx', 12),
  cx16: at(1, 'ecx', 13),
  pcid: at(1, 'ecx', 17),
  'sse4.1': at(1, 'ecx', 19),
  'sse4.2': at(1, 'ecx', 20),
  x2apic: at(1, 'ecx', 21),
  movbe: at(1, 'ecx', 22),
  popcnt: at(1, 'ecx', 23),
  'tsc-deadline': at(1, 'ecx', 24),
  aes: at(1, 'ecx', 25),
  xsave: at(1, 'ecx', 26),
  avx: at(1, 'ecx', 28),
  f16c: at(1, 'ecx', 29),
  rdrand: at(1, 'ecx', 30),
  hypervisor: at(1, 'ecx', 31),
  arat: at(6, 'eax', 2),
  fsgsbase: at(7, 'ebx', 0),
  'tsc-adjust': at(7, 'ebx', 1),
  bmi1: at(7, 'ebx', 3),
  avx2: at(7, 'ebx', 5),
  smep: at(7, 'ebx', 7),
  bmi2: at(7, 'ebx', 8),
  erms: at(7, 'ebx', 9),
  invpcid: at(7, 'ebx', 10),
  'zero-fcs-fds': at(7, 'ebx', 13),
  rdseed: at(7, 'ebx', 18),
  adx: at(7, 'ebx', 19),
  smap: at(7, 'ebx', 20),
  clflushopt: at(7, 'ebx', 23),
  clwb: at(7, 'ebx', 24),
  sha: at(7, 'ebx', 29),
  umip: at(7, 'ecx', 2),
  pku: at(7, 'ecx', 3),
  la57: at(7, 'ecx', 16),
  rdpid: at(7, 'ecx', 22),
  fsrm: at(7, 'edx', 4),
  'spec-ctrl': at(7, 'edx', 26),
  stibp: at(7, 'edx', 27),
  'arch-capabilities': at(7, 'edx', 29),
  ssbd: at(7, 'edx', 31),
  xsaveopt: at(0xd, 'eax', 0, 1),
  lahf: at(0x8000_0001, 'ecx', 0),
  lzcnt: at(0x8000_0001, 'ecx', 5),
  sse4a: at(0x8000_0001, 'ecx', 6),
  prefetchw: at(0x8000_0001, 'ecx', 8),
  syscall: at(0x8000_0001, 'edx', 11),
  nx: at(0x8000_0001, 'edx', 20),
  pdpe1gb: at(0x8000_0001, 'edx', 26),
  rdtscp: at(0x8000_0001, 'edx', 27),
  x64: at(0x8000_0001, 'edx', 29),
  'invariant-tsc': at(0x8000_0007, 'edx', 8),
}
