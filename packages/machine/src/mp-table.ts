/**
 * The MP table: how an operating system that has no ACPI finds processors and interrupt routing.
 *
 * Intel MultiProcessor Specification 1.4, chapter 4. The floating pointer is found by a search of 0xf0000 to 0xfffff in
 * steps of 16 bytes; the configuration table follows it directly. One ISA bus, one IOAPIC.
 */

export interface MpPlatform {
  /** Local APIC ids; the first one is the bootstrap processor's. */
  readonly apicIds: readonly number[]
  /** CPUID.1: EAX and EDX. */
  readonly cpuSignature: number
  readonly cpuFeatures: number
  readonly lapicAddress: number
  readonly ioapic: { readonly id: number; readonly address: number }
  /** ISA interrupts and the IOAPIC pins that they arrive at; `level` ones are active high, as the SCI is. */
  readonly interrupts: readonly { readonly irq: number; readonly pin: number; readonly level?: boolean }[]
}

const POINTER_BYTES = 16
const HEADER_BYTES = 44
const LAPIC_VERSION = 0x14
const IOAPIC_VERSION = 0x11
const ISA_BUS = 0
/** Destination "all local APICs". */
const ALL_LAPICS = 0xff

/** Floating pointer and configuration table, to be placed at `base`, a multiple of 16 in 0xf0000 to 0xfffff. */
export function mpTable(base: number, platform: MpPlatform): Uint8Array {
  if (base % 16 !== 0 || base < 0xf_0000 || base > 0xf_ffff)
    throw new RangeError(`MP table at 0x${base.toString(16)}: nobody looks there`)
  const entries: number[][] = []
  platform.apicIds.forEach((apicId, index) => {
    entries.push([
      0,
      apicId,
      LAPIC_VERSION,
      index === 0 ? 3 : 1,
      ...word32(platform.cpuSignature),
      ...word32(platform.cpuFeatures),
      ...word32(0),
      ...word32(0),
    ])
  })
  entries.push([1, ISA_BUS, ...new TextEncoder().encode('ISA   ')])
  entries.push([2, platform.ioapic.id, IOAPIC_VERSION, 1, ...word32(platform.ioapic.address)])
  for (const { irq, pin, level = false } of platform.interrupts)
    entries.push([3, 0, level ? 0x0d : 0, 0, ISA_BUS, irq, platform.ioapic.id, pin])
  entries.push([4, 3, 0, 0, ISA_BUS, 0, ALL_LAPICS, 0]) // ExtINT at LINT0
  entries.push([4, 1, 0, 0, ISA_BUS, 0, ALL_LAPICS, 1]) // NMI at LINT1
  const body = Uint8Array.from(entries.flat())

  const bytes = new Uint8Array(POINTER_BYTES + HEADER_BYTES + body.length)
  const view = new DataView(bytes.buffer)
  const text = (at: number, value: string): void => bytes.set(new TextEncoder().encode(value), at)
  text(0, '_MP_')
  view.setUint32(4, base + POINTER_BYTES, true)
  bytes[8] = 1 // length in paragraphs
  bytes[9] = 4 // specification 1.4
  checksum(bytes, 0, POINTER_BYTES, 10)

  const header = POINTER_BYTES
  text(header, 'PCMP')
  view.setUint16(header + 4, HEADER_BYTES + body.length, true)
  bytes[header + 6] = 4
  text(header + 8, 'TRAPFRAM')
  text(header + 16, 'MICROVM     ')
  view.setUint16(header + 34, entries.length, true)
  view.setUint32(header + 36, platform.lapicAddress, true)
  bytes.set(body, header + HEADER_BYTES)
  checksum(bytes, header, HEADER_BYTES + body.length, header + 7)
  return bytes
}

function word32(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24]
}

/** Sets the byte at `at` so that `length` bytes from `start` add up to zero. */
function checksum(bytes: Uint8Array, start: number, length: number, at: number): void {
  let sum = 0
  for (let n = 0; n < length; n++) sum += bytes[start + n]!
  bytes[at] = -sum & 0xff
}
