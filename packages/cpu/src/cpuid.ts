/**
 * What CPUID answers, as data: the leaves of a profile (SDM volume 2, CPUID).
 *
 * Frequencies are told rather than left to calibration: leaf 0x15 gives crystal (which clocks the local APIC's timer)
 * and TSC ratio, leaf 0x16 the nominal frequency, leaf 0x40000010 both in kHz.
 */
import { TrapframeError } from '@trapframe/core'
import { type CpuProfile, cpuProfile } from './cpu-profile.ts'
import { type CpuFeature, type CpuidRegister, cpuidBits } from './cpuid-feature.ts'

/** One CPUID answer. */
export interface CpuidLeaf {
  /** EAX of the question. */
  readonly leaf: number
  /** Absent: the leaf has the same answer for every ECX. */
  readonly subleaf?: number
  readonly eax: number
  readonly ebx: number
  readonly ecx: number
  readonly edx: number
}

/** What a VM adds to its profile. */
export interface CpuidOptions {
  /** APIC id of the vCPU that the leaves are for. */
  readonly vcpuId: number
  /** vCPUs of the machine, for the topology leaves. */
  readonly vcpuCount: number
  /** Frequency of the time stamp counter. */
  readonly tscHz: number
  /** Frequency of the local APIC's timer before its divider. */
  readonly apicHz: number
  /** Announces a hypervisor and its leaves. */
  readonly hypervisor: boolean
  /** The local APIC has x2APIC mode. */
  readonly x2apic: boolean
  /** The local APIC's timer has TSC-deadline mode. */
  readonly tscDeadline: boolean
}

/** A number among `CpuidOptions` that CPUID cannot express. */
export class CpuidError extends TrapframeError {
  /** @param problem - names the option and its value */
  constructor(problem: string) {
    super('cpu/cpuid', problem)
  }
}

/** Widths of physical and linear addresses that leaf 0x80000008 tells. */
export const PHYSICAL_ADDRESS_BITS = 46
/** Four levels of page tables. */
export const LINEAR_ADDRESS_BITS = 48

const CACHE_LINE_BYTES = 64
const HYPERVISOR_SIGNATURE = 'TrapframeVMM'
const MAX_BASIC_LEAF = 0x16
const MAX_EXTENDED_LEAF = 0x8000_0008
const MAX_HYPERVISOR_LEAF = 0x4000_0010

/** ASCII text as 32-bit words. */
function words(text: string, count: number): number[] {
  return Array.from({ length: count }, (_, word) => {
    let value = 0
    for (let byte = 3; byte >= 0; byte--) value = value * 256 + (text.charCodeAt(word * 4 + byte) || 0)
    return value
  })
}

/**
 * The fraction nearest to `x / y` with a numerator of at most `limit`: exact where it fits, else the last convergent.
 */
function ratio(x: number, y: number, limit: number): readonly [numerator: number, denominator: number] {
  let [p, q, olderP, olderQ] = [1, 0, 0, 1]
  let [dividend, divisor] = [x, y]
  while (divisor !== 0) {
    const term = Math.floor(dividend / divisor)
    const [nextP, nextQ] = [term * p + olderP, term * q + olderQ]
    if (nextP > limit) break
    ;[olderP, olderQ, p, q] = [p, q, nextP, nextQ]
    ;[dividend, divisor] = [divisor, dividend % divisor]
  }
  return [p, q]
}

function requireInteger(name: string, value: number, low: number, high: number): void {
  if (!Number.isSafeInteger(value) || value < low || value > high)
    throw new CpuidError(`${name} is ${value}, not an integer from ${low} to ${high}`)
}

/**
 * The CPUID answers of one vCPU.
 *
 * @param profile - a profile or its name
 * @throws CpuProfileError when the name is not known; CpuidError for numbers that CPUID cannot express
 */
export function cpuidFor(profile: CpuProfile | string, options: CpuidOptions): CpuidLeaf[] {
  const {
    name: _,
    vendor,
    signature,
    brand,
    features,
  } = typeof profile === 'string' ? cpuProfile(profile) : profile
  const { vcpuId, vcpuCount, tscHz, apicHz } = options
  requireInteger('vcpuCount', vcpuCount, 1, 4096)
  requireInteger('vcpuId', vcpuId, 0, vcpuCount - 1)
  requireInteger('tscHz', tscHz, 1_000_000, 65_535_000_000)
  requireInteger('apicHz', apicHz, 1_000_000, 0xffff_ffff)

  const all = new Set<CpuFeature>(features)
  if (options.hypervisor) all.add('hypervisor')
  if (options.x2apic) all.add('x2apic')
  if (options.tscDeadline) all.add('tsc-deadline')
  if (vcpuCount > 1) all.add('htt')

  const leaves: CpuidLeaf[] = []
  /** Adds a leaf, with the bits of the features that are announced there. */
  const add = (leaf: number, registers: Partial<Record<CpuidRegister, number>>, subleaf?: number): void => {
    const answer = { eax: 0, ebx: 0, ecx: 0, edx: 0, ...registers }
    for (const feature of all) {
      const place = cpuidBits[feature]
      if (place.leaf === leaf && place.subleaf === (subleaf ?? 0)) answer[place.register] |= 1 << place.bit
    }
    leaves.push({
      leaf,
      ...(subleaf !== undefined && { subleaf }),
      eax: answer.eax >>> 0,
      ebx: answer.ebx >>> 0,
      ecx: answer.ecx >>> 0,
      edx: answer.edx >>> 0,
    })
  }

  const coreBits = Math.ceil(Math.log2(vcpuCount))
  const [vendor0, vendor1, vendor2] = words(vendor, 3)
  add(0, { eax: MAX_BASIC_LEAF, ebx: vendor0!, edx: vendor1!, ecx: vendor2! })
  add(1, {
    eax: signature,
    ebx: ((CACHE_LINE_BYTES / 8) << 8) | (Math.min(1 << coreBits, 255) << 16) | ((vcpuId & 0xff) << 24),
  })
  // Descriptor FF: caches are in leaf 4.
  add(2, { eax: 0x00ff_0001 })

  /** One cache; `shared`: by all cores. */
  const cache = (
    subleaf: number,
    type: number,
    level: number,
    ways: number,
    sets: number,
    shared: boolean,
  ): void => {
    const threads = shared ? (1 << coreBits) - 1 : 0
    const cores = Math.min((1 << coreBits) - 1, 63)
    add(
      4,
      {
        eax: type | (level << 5) | (1 << 8) | (Math.min(threads, 0xfff) << 14) | (cores << 26),
        ebx: (CACHE_LINE_BYTES - 1) | ((ways - 1) << 22),
        ecx: sets - 1,
      },
      subleaf,
    )
  }
  cache(0, 1, 1, 8, 64, false)
  cache(1, 2, 1, 8, 64, false)
  cache(2, 3, 2, 16, 1024, false)
  cache(3, 3, 3, 16, 16384, true)
  add(6, {})
  add(7, {}, 0)

  add(0xb, { eax: 0, ebx: 1, ecx: 0x100, edx: vcpuId }, 0)
  add(0xb, { eax: coreBits, ebx: vcpuCount, ecx: 0x201, edx: vcpuId }, 1)

  if (all.has('xsave')) {
    // x87 and SSE; the size in EBX depends on XCR0, and the vCPU fills it in.
    const avx = all.has('avx')
    const sizeBytes = avx ? 832 : 576
    add(0xd, { eax: avx ? 7 : 3, ebx: sizeBytes, ecx: sizeBytes }, 0)
    add(0xd, {}, 1)
    if (avx) add(0xd, { eax: 256, ebx: 576 }, 2)
  }

  // Linux computes crystal kHz x numerator in 32 bits.
  const [numerator, denominator] = ratio(tscHz, apicHz, Math.floor(0xffff_ffff / Math.ceil(apicHz / 1000)))
  add(0x15, { eax: denominator, ebx: numerator, ecx: apicHz })
  const nominalMhz = Math.round(tscHz / 1e6)
  add(0x16, { eax: nominalMhz, ebx: nominalMhz, ecx: Math.min(Math.round(apicHz / 1e6), 0xffff) })

  if (options.hypervisor) {
    const [ebx, ecx, edx] = words(HYPERVISOR_SIGNATURE, 3)
    add(0x4000_0000, { eax: MAX_HYPERVISOR_LEAF, ebx: ebx!, ecx: ecx!, edx: edx! })
    add(MAX_HYPERVISOR_LEAF, { eax: Math.round(tscHz / 1000), ebx: Math.round(apicHz / 1000) })
  }

  add(0x8000_0000, { eax: MAX_EXTENDED_LEAF })
  add(0x8000_0001, {})
  const text = words(brand, 12)
  for (let part = 0; part < 3; part++) {
    const [eax, ebx, ecx, edx] = text.slice(part * 4)
    add(0x8000_0002 + part, { eax: eax!, ebx: ebx!, ecx: ecx!, edx: edx! })
  }
  // L2: 1024 KiB, 16 ways (code 8).
  add(0x8000_0006, { ecx: CACHE_LINE_BYTES | (8 << 12) | (1024 << 16) })
  add(0x8000_0007, {})
  add(MAX_EXTENDED_LEAF, { eax: PHYSICAL_ADDRESS_BITS | (LINEAR_ADDRESS_BITS << 8) })
  return leaves
}

/** The same answers for another vCPU of the VM: its APIC id in leaves 1 and 0xB. */
export function cpuidOfVcpu(leaves: readonly CpuidLeaf[], vcpuId: number): CpuidLeaf[] {
  return leaves.map((leaf) => {
    if (leaf.leaf === 1) return { ...leaf, ebx: ((leaf.ebx & 0x00ff_ffff) | (vcpuId << 24)) >>> 0 }
    return leaf.leaf === 0xb ? { ...leaf, edx: vcpuId } : leaf
  })
}
