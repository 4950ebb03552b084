import { describe, expect, test } from 'vitest'
import { CpuProfileError, cpuProfiles, defaultCpuProfile } from '../src/cpu-profile.ts'
import { CpuidError, type CpuidOptions, cpuidFor, cpuidOfVcpu } from '../src/cpuid.ts'
import { cpuidBits } from '../src/cpuid-feature.ts'

const options: CpuidOptions = {
  vcpuId: 0,
  vcpuCount: 1,
  tscHz: 1_000_000_000,
  apicHz: 1_000_000_000,
  hypervisor: true,
  x2apic: true,
  tscDeadline: true,
}
const leafOf = (change: Partial<CpuidOptions>, leaf: number, subleaf?: number, profile = defaultCpuProfile) =>
  cpuidFor(profile, { ...options, ...change }).find(
    (entry) => entry.leaf === leaf && (subleaf === undefined || entry.subleaf === subleaf),
  )!
const text = (...words: number[]): string =>
  String.fromCharCode(...words.flatMap((word) => [0, 8, 16, 24].map((shift) => (word >>> shift) & 0xff)))

describe('default', () => {
  test('behaviour: vendor, signature, brand, hypervisor', () => {
    const vendor = leafOf({}, 0)
    expect(text(vendor.ebx, vendor.edx, vendor.ecx)).toBe('GenuineIntel')
    const { eax } = leafOf({}, 1)
    expect({ family: (eax >> 8) & 15, model: ((eax >> 12) & 0xf0) | ((eax >> 4) & 15) }).toEqual({
      family: 6,
      model: 0x8f,
    })
    const hypervisor = leafOf({}, 0x4000_0000)
    expect(text(hypervisor.ebx, hypervisor.ecx, hypervisor.edx)).toBe('TrapframeVMM')
    expect(leafOf({ hypervisor: false }, 0x4000_0000)).toBeUndefined()
    const brand = [2, 3, 4].map((n) => leafOf({}, 0x8000_0000 + n))
    expect(text(...brand.flatMap(({ eax, ebx, ecx, edx }) => [eax, ebx, ecx, edx]))).toMatch(
      /^Trapframe Virtual CPU \(trapframe-v1\)\0+$/,
    )
  })

  test.each([
    [1_000_000_000, 1_000_000_000],
    [2_400_000_000, 1_000_000_000],
    [2_995_200_000, 24_000_000],
    [1_000_000_000, 25_000_000],
  ])('behaviour: TSC of %i Hz with a crystal of %i Hz is exact', (tscHz, apicHz) => {
    const { eax, ebx, ecx } = leafOf({ tscHz, apicHz }, 0x15)
    // What Linux computes, in 32 bits.
    const kHz = Math.floor(ecx / 1000) * ebx
    expect(kHz).toBeLessThan(2 ** 32)
    expect(Math.floor(kHz / eax)).toBe(tscHz / 1000)
    expect(ecx).toBe(apicHz)
  })

  test('behaviour: a TSC that has no exact ratio is off by less than one millionth', () => {
    const { eax, ebx, ecx } = leafOf({ tscHz: 2_399_998_123 }, 0x15)
    expect(Math.abs((ecx * ebx) / eax / 2_399_998_123 - 1)).toBeLessThan(1e-6)
  })

  test('behaviour: APIC id and topology follow the vCPU', () => {
    expect(leafOf({ vcpuId: 3, vcpuCount: 4 }, 1).ebx >>> 24).toBe(3)
    expect(leafOf({ vcpuId: 3, vcpuCount: 4 }, 0xb, 1)).toMatchObject({ eax: 2, ebx: 4, edx: 3 })
    expect(leafOf({ vcpuCount: 3 }, 0xb, 1).eax).toBe(2)
    const first = cpuidFor(defaultCpuProfile, { ...options, vcpuCount: 4 })
    expect(cpuidOfVcpu(first, 3)).toEqual(
      cpuidFor(defaultCpuProfile, { ...options, vcpuCount: 4, vcpuId: 3 }),
    )
  })

  test.each(Object.keys(cpuProfiles))('behaviour: %s announces its features and no others', (name) => {
    const leaves = cpuidFor(name, { ...options, hypervisor: false, x2apic: false, tscDeadline: false })
    const announced = Object.entries(cpuidBits).flatMap(([feature, { leaf, subleaf, register, bit }]) => {
      const entry = leaves.find((other) => other.leaf === leaf && (other.subleaf ?? 0) === subleaf)
      // Outside feature words, a bit is a part of a number.
      return entry && (entry[register] >>> bit) & 1 ? [feature] : []
    })
    expect(announced.sort()).toEqual([...cpuProfiles[name]!.features].sort())
    expect(new Set(leaves.map(({ leaf, subleaf }) => `${leaf} ${subleaf}`)).size).toBe(leaves.length)
  })
})

test('error: a profile that is not known', () => {
  expect(() => cpuidFor('pentium', options)).toThrow(CpuProfileError)
  expect(() => cpuidFor('toString', options)).toThrow('trapframe-v1')
})

test('error: numbers that CPUID cannot tell', () => {
  expect(() => cpuidFor(defaultCpuProfile, { ...options, vcpuCount: 0 })).toThrow(CpuidError)
  expect(() => cpuidFor(defaultCpuProfile, { ...options, vcpuId: 1 })).toThrow('vcpuId is 1')
  expect(() => cpuidFor(defaultCpuProfile, { ...options, tscHz: 0.5 })).toThrow(CpuidError)
})
