import { describe, expect, test } from 'vitest'
import {
  device,
  eisaId,
  integer,
  ioPorts,
  irq,
  name,
  namePath,
  packageOf,
  resourceTemplate,
  scope,
  string,
} from '../../src/acpi/aml.ts'
import { dsdt } from '../../src/acpi/dsdt.ts'
import { type AcpiPlatform, acpiTables } from '../../src/acpi/tables.ts'

const hex = (bytes: Uint8Array): string => [...bytes].map((b) => b.toString(16).padStart(2, '0')).join(' ')
const sum = (bytes: Uint8Array): number => bytes.reduce((a, b) => (a + b) & 0xff, 0)

// Expected bytes are what iasl 20200925 makes of the same ASL.
describe('AML', () => {
  test('default: integers in their shortest form', () => {
    expect([0, 1, 2, 0xff, 0x100, 0x1_0000, 2n ** 32n].map((value) => hex(integer(value)))).toEqual([
      '00',
      '01',
      '0a 02',
      '0a ff',
      '0b 00 01',
      '0c 00 00 01 00',
      '0e 00 00 00 00 01 00 00 00',
    ])
  })

  test('default: names, strings, PNP ids', () => {
    expect(hex(namePath('\\_SB_'))).toBe('5c 5f 53 42 5f')
    expect(hex(namePath('\\_SB_.COM1'))).toBe('5c 2e 5f 53 42 5f 43 4f 4d 31')
    expect(hex(name('_UID', integer(1)))).toBe('08 5f 55 49 44 01')
    expect(hex(string('AB'))).toBe('0d 41 42 00')
    expect(hex(eisaId('PNP0501'))).toBe('0c 41 d0 05 01')
    expect(hex(packageOf(integer(5), integer(0)))).toBe('12 05 02 0a 05 00')
  })

  test('default: a resource template', () => {
    expect(hex(resourceTemplate(ioPorts(0x3f8, 8), irq(4)))).toBe(
      '11 10 0a 0d 47 01 f8 03 f8 03 01 08 22 10 00 79 00',
    )
  })

  test('behaviour: package lengths of one, two and three bytes count themselves', () => {
    const body = (length: number): Uint8Array => scope('\\_SB_', new Uint8Array(length))
    expect(hex(body(57).subarray(0, 2))).toBe('10 3f') // 1 + 5 + 57 = 63
    expect(hex(body(58).subarray(0, 3))).toBe('10 41 04') // 2 + 5 + 58 = 65
    expect(hex(body(4088).subarray(0, 3))).toBe('10 4f ff') // 4095
    expect(hex(body(4089).subarray(0, 4))).toBe('10 81 00 01') // 4097
  })

  test('error: what AML cannot say', () => {
    expect(() => integer(-1)).toThrow(RangeError)
    expect(() => integer(2n ** 64n)).toThrow(RangeError)
    expect(() => namePath('COM10')).toThrow(RangeError)
    expect(() => eisaId('pnp0501')).toThrow(RangeError)
    expect(() => string('ä')).toThrow(RangeError)
    expect(() => device('1ABC')).toThrow(RangeError)
  })
})

const platform: AcpiPlatform = {
  apicIds: [0, 1],
  lapicAddress: 0xfee0_0000,
  ioapic: { id: 2, address: 0xfec0_0000, gsiBase: 0 },
  overrides: [
    { irq: 0, gsi: 2, polarity: 'bus', trigger: 'bus' },
    { irq: 9, gsi: 9, polarity: 'active-high', trigger: 'level' },
  ],
  sciIrq: 9,
  pm: { event: 0x600, control: 0x604, timer: 0x608 },
  reset: { port: 0xcf9, value: 6 },
  i8042: false,
  dsdt: dsdt({
    processors: 2,
    sleepTypeS5: 5,
    devices: [{ name: 'COM1', hid: 'PNP0501', ports: [[0x3f8, 8]], irq: 4 }],
  }),
}
const BASE = 0xe_0000
const { bytes, rsdpAddress } = acpiTables(BASE, platform)
const view = new DataView(bytes.buffer)
/** A table by its guest-physical address. */
const table = (address: number): Uint8Array => {
  const at = address - BASE
  return bytes.subarray(at, at + view.getUint32(at + 4, true))
}
const signature = (address: number): string =>
  String.fromCharCode(...bytes.subarray(address - BASE, address - BASE + 4))
const xsdtAddress = (): number => Number(view.getBigUint64(24, true))
const listed = (): number[] => {
  const xsdt = table(xsdtAddress())
  const entries = new DataView(xsdt.buffer, xsdt.byteOffset)
  return Array.from({ length: (xsdt.length - 36) / 8 }, (_, n) =>
    Number(entries.getBigUint64(36 + n * 8, true)),
  )
}
const find = (name: string): Uint8Array => table(listed().find((address) => signature(address) === name)!)

describe('ACPI tables', () => {
  test('default: RSDP with both checksums leads to tables with right checksums', () => {
    expect(rsdpAddress).toBe(BASE)
    expect(String.fromCharCode(...bytes.subarray(0, 8))).toBe('RSD PTR ')
    expect(sum(bytes.subarray(0, 20))).toBe(0)
    expect(sum(bytes.subarray(0, 36))).toBe(0)
    expect(signature(xsdtAddress())).toBe('XSDT')
    expect(listed().map(signature)).toEqual(['FACP', 'APIC'])
    for (const address of [xsdtAddress(), ...listed()]) expect(sum(table(address))).toBe(0)
  })

  test('behaviour: FADT names FACS (64-byte aligned), DSDT, power management and reset', () => {
    const fadt = find('FACP')
    const fields = new DataView(fadt.buffer, fadt.byteOffset)
    const facs = fields.getUint32(36, true)
    const definition = fields.getUint32(40, true)
    expect(fadt.length).toBe(276)
    expect(signature(facs)).toBe('FACS')
    expect(facs % 64).toBe(0)
    expect(signature(definition)).toBe('DSDT')
    expect(Number(fields.getBigUint64(140, true))).toBe(definition)
    expect(sum(table(definition))).toBe(0)
    expect(fields.getUint16(46, true)).toBe(9)
    expect(fields.getUint32(48, true)).toBe(0) // no SMI command: always in ACPI mode
    expect([fields.getUint32(56, true), fields.getUint32(64, true), fields.getUint32(76, true)]).toEqual([
      0x600, 0x604, 0x608,
    ])
    expect(fields.getUint32(112, true) & (1 << 10)).not.toBe(0)
    expect([fields.getUint32(120, true), fadt[128]]).toEqual([0xcf9, 6])
  })

  test('behaviour: MADT lists processors, IOAPIC, overrides and NMI', () => {
    const madt = find('APIC')
    const entries: string[] = []
    for (let at = 44; at < madt.length; at += madt[at + 1]!)
      entries.push(hex(madt.subarray(at, at + madt[at + 1]!)))
    expect(entries).toEqual([
      '00 08 00 00 01 00 00 00',
      '00 08 01 01 01 00 00 00',
      '01 0c 02 00 00 00 c0 fe 00 00 00 00',
      '02 0a 00 00 02 00 00 00 00 00',
      '02 0a 00 09 09 00 00 00 0d 00',
      '04 06 ff 00 00 01',
    ])
  })

  test('error: an address at which the FACS would be misaligned', () => {
    expect(() => acpiTables(0xe_0010, platform)).toThrow(RangeError)
  })
})
