/**
 * The static ACPI tables: RSDP, XSDT, FADT, FACS, MADT, with a DSDT given as AML.
 *
 * ACPI 6.4, section 5.2. The platform is "always ACPI": no SMI command port, no legacy mode, power management registers
 * in I/O space. Everything lies in one run of memory that begins with the RSDP.
 */
import { type Aml, concat } from './aml.ts'

/** What the tables describe. */
export interface AcpiPlatform {
  /** Local APIC ids of the processors; the ACPI processor UID is the index. */
  readonly apicIds: readonly number[]
  readonly lapicAddress: number
  readonly ioapic: { readonly id: number; readonly address: number; readonly gsiBase: number }
  /** ISA interrupts that do not arrive at the pin of their number, or are not edge-triggered, active high. */
  readonly overrides: readonly InterruptOverride[]
  /** Interrupt of the power management registers. */
  readonly sciIrq: number
  /** First port of PM1 event (4 bytes), PM1 control (2 bytes) and the 32-bit PM timer (4 bytes). */
  readonly pm: { readonly event: number; readonly control: number; readonly timer: number }
  /** Writing `value` to `port` resets the machine. */
  readonly reset: { readonly port: number; readonly value: number }
  /** Whether an i8042 keyboard controller is there. */
  readonly i8042: boolean
  /** Definition block of the DSDT. */
  readonly dsdt: Aml
}

/** An ISA interrupt's way into the IOAPIC (MADT type 2). */
export interface InterruptOverride {
  readonly irq: number
  readonly gsi: number
  readonly polarity: 'bus' | 'active-high' | 'active-low'
  readonly trigger: 'bus' | 'edge' | 'level'
}

/** Tables placed in guest memory. */
export interface AcpiTables {
  /** Guest-physical address of the RSDP, where `bytes` begins. */
  readonly rsdpAddress: number
  readonly bytes: Uint8Array
}

const OEM_ID = 'TRAPFR'
const OEM_TABLE_ID = 'MICROVM '
const CREATOR_ID = 'TRPF'
const HEADER_BYTES = 36
const RSDP_BYTES = 36
const FADT_BYTES = 276
const FACS_BYTES = 64

/**
 * Lays the tables out from `base` on, which must be a multiple of 64 (the FACS wants that alignment).
 */
export function acpiTables(base: number, platform: AcpiPlatform): AcpiTables {
  if (base % 64 !== 0) throw new RangeError(`ACPI tables at 0x${base.toString(16)}: no multiple of 64`)
  const chunks: { at: number; bytes: Uint8Array }[] = []
  let next = base + RSDP_BYTES
  const place = (bytes: Uint8Array, alignment: number): number => {
    const at = Math.ceil(next / alignment) * alignment
    chunks.push({ at, bytes })
    next = at + bytes.length
    return at
  }
  const facs = place(facsTable(), 64)
  const dsdt = place(withHeader('DSDT', 2, platform.dsdt), 16)
  const fadt = place(fadtTable(platform, facs, dsdt), 16)
  const madt = place(madtTable(platform), 16)
  const xsdt = place(xsdtTable([fadt, madt]), 16)
  chunks.push({ at: base, bytes: rsdpTable(xsdt) })
  const bytes = new Uint8Array(next - base)
  for (const chunk of chunks) bytes.set(chunk.bytes, chunk.at - base)
  return { rsdpAddress: base, bytes }
}

/** Sets the byte at `offset` so that the bytes up to `length` add up to zero. */
function checksum(bytes: Uint8Array, offset: number, length: number = bytes.length): void {
  bytes[offset] = 0
  let sum = 0
  for (let n = 0; n < length; n++) sum += bytes[n]!
  bytes[offset] = -sum & 0xff
}

function ascii(bytes: Uint8Array, offset: number, text: string): void {
  bytes.set(new TextEncoder().encode(text), offset)
}

function withHeader(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + body.length)
  const view = new DataView(bytes.buffer)
  ascii(bytes, 0, signature)
  view.setUint32(4, bytes.length, true)
  bytes[8] = revision
  ascii(bytes, 10, OEM_ID)
  ascii(bytes, 16, OEM_TABLE_ID)
  view.setUint32(24, 1, true)
  ascii(bytes, 28, CREATOR_ID)
  view.setUint32(32, 1, true)
  bytes.set(body, HEADER_BYTES)
  checksum(bytes, 9)
  return bytes
}

/** 5.2.5.3. The first 20 bytes have a checksum of their own. */
function rsdpTable(xsdt: number): Uint8Array {
  const bytes = new Uint8Array(RSDP_BYTES)
  const view = new DataView(bytes.buffer)
  ascii(bytes, 0, 'RSD PTR ')
  ascii(bytes, 9, OEM_ID)
  bytes[15] = 2
  view.setUint32(20, RSDP_BYTES, true)
  view.setBigUint64(24, BigInt(xsdt), true)
  checksum(bytes, 8, 20)
  checksum(bytes, 32)
  return bytes
}

/** 5.2.8 */
function xsdtTable(tables: readonly number[]): Uint8Array {
  const body = new Uint8Array(tables.length * 8)
  const view = new DataView(body.buffer)
  tables.forEach((address, index) => {
    view.setBigUint64(index * 8, BigInt(address), true)
  })
  return withHeader('XSDT', 1, body)
}

/** 5.2.10; no checksum, no sleep state that would use its vectors. */
function facsTable(): Uint8Array {
  const bytes = new Uint8Array(FACS_BYTES)
  ascii(bytes, 0, 'FACS')
  new DataView(bytes.buffer).setUint32(4, FACS_BYTES, true)
  bytes[32] = 2
  return bytes
}

/** Bits of the FADT's flags (table 5.10). */
const FadtFlag = {
  wbinvd: 1 << 0,
  c1Supported: 1 << 2,
  /** No fixed sleep button. */
  noSleepButton: 1 << 5,
  /** The RTC cannot wake the system from S1 to S4. */
  noFixedRtc: 1 << 6,
  timerIs32Bit: 1 << 8,
  resetRegister: 1 << 10,
} as const

/** Bits of the IA-PC boot architecture flags (table 5.11). */
const BootArchitecture = { legacyDevices: 1 << 0, i8042: 1 << 1, noVga: 1 << 2, noAspm: 1 << 4 } as const

/** 5.2.9, revision 6.3 */
function fadtTable(platform: AcpiPlatform, facs: number, dsdt: number): Uint8Array {
  const { pm, reset, sciIrq, i8042 } = platform
  const body = new Uint8Array(FADT_BYTES - HEADER_BYTES)
  const view = new DataView(body.buffer)
  const at = (offset: number): number => offset - HEADER_BYTES
  view.setUint32(at(36), facs, true)
  view.setUint32(at(40), dsdt, true)
  view.setUint16(at(46), sciIrq, true)
  view.setUint32(at(56), pm.event, true)
  view.setUint32(at(64), pm.control, true)
  view.setUint32(at(76), pm.timer, true)
  body[at(88)] = 4 // PM1_EVT_LEN
  body[at(89)] = 2 // PM1_CNT_LEN
  body[at(91)] = 4 // PM_TMR_LEN
  view.setUint16(at(96), 0xffff, true) // P_LVL2_LAT, over 100: no C2
  view.setUint16(at(98), 0xffff, true) // P_LVL3_LAT, over 1000: no C3
  body[at(108)] = 0x32 // CENTURY: where the RTC keeps the century
  const architecture =
    BootArchitecture.legacyDevices |
    BootArchitecture.noVga |
    BootArchitecture.noAspm |
    (i8042 ? BootArchitecture.i8042 : 0)
  view.setUint16(at(109), architecture, true)
  const flags =
    FadtFlag.wbinvd |
    FadtFlag.c1Supported |
    FadtFlag.noSleepButton |
    FadtFlag.noFixedRtc |
    FadtFlag.timerIs32Bit |
    FadtFlag.resetRegister
  view.setUint32(at(112), flags, true)
  ioAddress(body, at(116), reset.port, 1)
  body[at(128)] = reset.value
  body[at(131)] = 3 // minor version: 6.3
  view.setBigUint64(at(140), BigInt(dsdt), true)
  ioAddress(body, at(148), pm.event, 4, 2) // two registers of 16 bits
  ioAddress(body, at(172), pm.control, 2)
  ioAddress(body, at(208), pm.timer, 4)
  return withHeader('FACP', 6, body)
}

/** A generic address structure in I/O space (5.2.3.2). */
function ioAddress(
  bytes: Uint8Array,
  at: number,
  port: number,
  sizeBytes: 1 | 2 | 4,
  accessBytes: 1 | 2 | 4 = sizeBytes,
): void {
  bytes[at] = 1
  bytes[at + 1] = sizeBytes * 8
  bytes[at + 3] = { 1: 1, 2: 2, 4: 3 }[accessBytes]
  new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(at + 4, BigInt(port), true)
}

const POLARITY = { bus: 0, 'active-high': 1, 'active-low': 3 } as const
const TRIGGER = { bus: 0, edge: 1 << 2, level: 3 << 2 } as const

/** 5.2.12: local APICs, IOAPIC, overrides, and NMI at LINT1 of every processor. */
function madtTable(platform: AcpiPlatform): Uint8Array {
  const fixed = new Uint8Array(8)
  const view = new DataView(fixed.buffer)
  view.setUint32(0, platform.lapicAddress, true)
  view.setUint32(4, 1, true) // PCAT_COMPAT: two 8259s are there
  const entries: Uint8Array[] = platform.apicIds.map((apicId, uid) =>
    Uint8Array.of(0, 8, uid, apicId, 1, 0, 0, 0),
  )
  const ioapic = new Uint8Array(12)
  ioapic.set([1, 12, platform.ioapic.id])
  new DataView(ioapic.buffer).setUint32(4, platform.ioapic.address, true)
  new DataView(ioapic.buffer).setUint32(8, platform.ioapic.gsiBase, true)
  entries.push(ioapic)
  for (const { irq, gsi, polarity, trigger } of platform.overrides) {
    const entry = new Uint8Array(10)
    entry.set([2, 10, 0, irq])
    new DataView(entry.buffer).setUint32(4, gsi, true)
    new DataView(entry.buffer).setUint16(8, POLARITY[polarity] | TRIGGER[trigger], true)
    entries.push(entry)
  }
  entries.push(Uint8Array.of(4, 6, 0xff, 0, 0, 1))
  return withHeader('APIC', 5, concat(fixed, ...entries))
}
