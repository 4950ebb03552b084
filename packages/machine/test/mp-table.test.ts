import { expect, test } from 'vitest'
import { mpTable } from '../src/mp-table.ts'

const bytes = mpTable(0xf_0000, {
  apicIds: [0, 1],
  cpuSignature: 0x000806e9,
  cpuFeatures: 0x178bfbff,
  lapicAddress: 0xfee0_0000,
  ioapic: { id: 2, address: 0xfec0_0000 },
  interrupts: [
    { irq: 0, pin: 2 },
    { irq: 9, pin: 9, level: true },
  ],
})
const view = new DataView(bytes.buffer)
const sum = (part: Uint8Array): number => part.reduce((a, b) => (a + b) & 0xff, 0)

test('default: floating pointer and configuration table with right checksums', () => {
  expect(String.fromCharCode(...bytes.subarray(0, 4))).toBe('_MP_')
  expect(sum(bytes.subarray(0, 16))).toBe(0)
  expect(view.getUint32(4, true)).toBe(0xf_0010)
  const table = bytes.subarray(16)
  expect(String.fromCharCode(...table.subarray(0, 4))).toBe('PCMP')
  expect(new DataView(table.buffer, 16).getUint16(4, true)).toBe(table.length)
  expect(sum(table)).toBe(0)
})

test('behaviour: entries in the order of their types, as many as announced', () => {
  const sizes: Record<number, number> = { 0: 20, 1: 8, 2: 8, 3: 8, 4: 8 }
  const types: number[] = []
  for (let at = 16 + 44; at < bytes.length; at += sizes[bytes[at]!]!) types.push(bytes[at]!)
  expect(types).toEqual([0, 0, 1, 2, 3, 3, 4, 4])
  expect(view.getUint16(16 + 34, true)).toBe(types.length)
})

test('error: a place where no system looks', () => {
  expect(() => mpTable(0xe_0000, {} as never)).toThrow(RangeError)
  expect(() => mpTable(0xf_0008, {} as never)).toThrow(RangeError)
})
