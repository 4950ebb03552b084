/**
 * CPU profiles: named, fixed sets of features that a VM's guests see. A profile is a promise for saved machines, too:
 * one that was published never changes; new features make a new name.
 *
 * Every profile is an Intel server processor of family 6, model 0x8f, by its number free of the flaws that kernels
 * defend against by model; IA32_ARCH_CAPABILITIES says the same for the rest. So a guest spends nothing on page-table
 * isolation, retpolines or buffer clearing, which would protect it from nothing here.
 */
import { TrapframeError } from '@trapframe/core'
import type { CpuFeature } from './cpuid-feature.ts'

/** What guests see of a processor. */
export interface CpuProfile {
  /** Stable name, such as `trapframe-v1`. */
  readonly name: string
  /** Twelve ASCII characters. */
  readonly vendor: string
  /** EAX of leaf 1: stepping, model and family. */
  readonly signature: number
  /** Brand string, at most 47 ASCII characters. */
  readonly brand: string
  /**
   * Features that CPUID shows; those of the platform (x2APIC, TSC deadline, hypervisor) are added by
   * `cpuidFor`.
   */
  readonly features: readonly CpuFeature[]
}

/** What every profile has: the instructions of x86-64-v1, what a 64-bit kernel cannot do without, and no reason for mitigations. */
const baseline: readonly CpuFeature[] = [
  'fpu',
  'de',
  'pse',
  'tsc',
  'msr',
  'pae',
  'mce',
  'cx8',
  'apic',
  'sysenter',
  'mtrr',
  'pge',
  'mca',
  'cmov',
  'pat',
  'pse36',
  'clflush',
  'mmx',
  'fxsr',
  'sse',
  'sse2',
  'syscall',
  'nx',
  'x64',
  'arat',
  'invariant-tsc',
  'tsc-adjust',
  'zero-fcs-fds',
  'spec-ctrl',
  'stibp',
  'ssbd',
  'arch-capabilities',
]

/** What kernels profit from: privilege checks, `rep movsb` as the copy loop, 1 GiB pages, FS and GS bases without MSRs. */
const system: readonly CpuFeature[] = [
  'smep',
  'smap',
  'umip',
  'fsgsbase',
  'erms',
  'fsrm',
  'pdpe1gb',
  'rdtscp',
  'rdpid',
  'xsave',
  'xsaveopt',
  'clflushopt',
  'clwb',
  'prefetchw',
]

const SAPPHIRE_RAPIDS = 0x0008_06f8

function profile(name: string, features: readonly CpuFeature[]): CpuProfile {
  return {
    name,
    vendor: 'GenuineIntel',
    signature: SAPPHIRE_RAPIDS,
    brand: `Trapframe Virtual CPU (${name})`,
    features,
  }
}

/** Every profile, by name. */
export const cpuProfiles: Readonly<Record<string, CpuProfile>> = {
  'x86-64-v1': profile('x86-64-v1', baseline),
  'trapframe-v1': profile('trapframe-v1', [
    ...baseline,
    ...system,
    'cx16',
    'lahf',
    'popcnt',
    'lzcnt',
    'sse3',
    'ssse3',
    'movbe',
  ]),
}

/** Name of the profile that machines get where nobody asks for another. */
export const defaultCpuProfile = 'trapframe-v1'

/** There is no profile of that name: `cpu/unknown-profile`. */
export class CpuProfileError extends TrapframeError {
  /** @param name - the name that was asked for */
  constructor(name: string) {
    super(
      'cpu/unknown-profile',
      `CPU profile ${JSON.stringify(name)} is not known; there are ${Object.keys(cpuProfiles).join(', ')}`,
    )
  }
}

/** The profile of a name. @throws CpuProfileError when there is none */
export function cpuProfile(name: string): CpuProfile {
  if (!Object.hasOwn(cpuProfiles, name)) throw new CpuProfileError(name)
  return cpuProfiles[name]!
}
