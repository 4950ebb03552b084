import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  createAddressSpace,
  createGuestMemory,
  findRange,
  flatten,
  type MmioRegion,
  PageFlag,
  type Region,
  type RomRegion,
} from '../src/index.ts'

const MIB = 0x10_0000

function device(
  name: string,
  base: number,
  sizeBytes: number,
  priority?: number,
): MmioRegion & { log: number[][] } {
  const log: number[][] = []
  return {
    kind: 'mmio',
    name,
    base,
    sizeBytes,
    ...(priority === undefined ? {} : { priority }),
    log,
    read: (offset, size) => {
      log.push([offset, size])
      return offset & 0xff
    },
    write: (offset, size, value) => {
      log.push([offset, size, value])
    },
  }
}

function rom(base: number, bytes: Uint8Array, sizeBytes = bytes.length): RomRegion {
  return { kind: 'rom', name: 'rom', base, sizeBytes, bytes }
}

describe('flatten', () => {
  test('default: the higher priority wins, of equals the later one', () => {
    const low = device('low', 0, 100)
    const later = device('later', 50, 100)
    const high = device('high', 20, 10, 5)
    const view = flatten([low, high, later]).map(({ base, sizeBytes, region, offset }) => [
      region.name,
      base,
      sizeBytes,
      offset,
    ])
    expect(view).toEqual([
      ['low', 0, 20, 0],
      ['high', 20, 10, 0],
      ['low', 30, 20, 30],
      ['later', 50, 100, 0],
    ])
  })

  test('behaviour: any set of regions gives what a byte-by-byte search gives', () => {
    const region = fc.record({ base: fc.nat(60), size: fc.integer({ min: 1, max: 30 }), priority: fc.nat(2) })
    fc.assert(
      fc.property(fc.array(region, { maxLength: 12 }), (shapes) => {
        const regions = shapes.map(({ base, size, priority }, n) => device(`${n}`, base, size, priority))
        const view = flatten(regions)
        for (let n = 1; n < view.length; n++)
          expect(view[n]!.base).toBeGreaterThanOrEqual(view[n - 1]!.base + view[n - 1]!.sizeBytes)
        for (let address = 0; address < 100; address++) {
          let best: Region | undefined
          for (const r of regions)
            if (
              address >= r.base &&
              address < r.base + r.sizeBytes &&
              (!best || r.priority! >= best.priority!)
            )
              best = r
          const found = findRange(view, address)
          expect(found?.region).toBe(best)
          if (found) expect(found.offset + address - found.base).toBe(address - best!.base)
        }
      }),
    )
  })
})

describe('AddressSpace', () => {
  test('default: RAM, a device above it, nothing elsewhere', () => {
    const memory = createGuestMemory({ ramBytes: MIB })
    const space = createAddressSpace(memory)
    const uart = device('uart', 0xfe00_0000, 0x100)
    space.map(uart)
    space.write(0x1000, 4, 0x8765_4321)
    expect(memory.readU32(0x1000)).toBe(0x8765_4321)
    expect(space.read(0x1000, 4)).toBe(0x8765_4321)
    expect(space.read(0xfe00_0010, 4)).toBe(0x10)
    space.write(0xfe00_0020, 2, 7)
    expect(uart.log).toEqual([
      [0x10, 4],
      [0x20, 2, 7],
    ])
    expect(space.read(0xfd00_0000, 4)).toBe(0xffff_ffff)
    expect(space.find(0xfe00_0100)).toBeUndefined()
    // An access that leaves the window is answered byte by byte.
    expect(space.read(0xfe00_00fe, 4)).toBe(0xffff_fffe)
    expect(memory.pageFlags(0)).toBe(0)
  })

  test('behaviour: windows over RAM set and clear page flags and tell the vCPUs', () => {
    const memory = createGuestMemory({ ramBytes: MIB })
    const space = createAddressSpace(memory)
    let remapped = 0
    memory.onRemap(() => remapped++)
    const vga = device('vga', 0xa_0000, 0x1800)
    space.map(vga)
    expect(remapped).toBe(1)
    expect([0x9f, 0xa0, 0xa1, 0xa2].map((page) => memory.pageFlags(page))).toEqual([
      0,
      PageFlag.device,
      PageFlag.device,
      0,
    ])
    // The second half of page 0xa1 is RAM, by the slow way.
    space.write(0xa_1800, 4, 0x1122_3344)
    expect(space.read(0xa_1800, 4)).toBe(0x1122_3344)
    expect(vga.log).toEqual([])
    expect(() => memory.readU8(0xa_0000)).toThrow(/0xa0000/)
    space.unmap(vga)
    expect(remapped).toBe(2)
    expect(memory.readU32(0xa_1800)).toBe(0x1122_3344)
    space.map(device('far', 0xf000_0000, 0x1000))
    expect(remapped).toBe(2)
  })

  test('behaviour: ROM over RAM is readable there and drops writes', () => {
    const memory = createGuestMemory({ ramBytes: MIB })
    const space = createAddressSpace(memory)
    const told: number[] = []
    memory.onCodeWrite((page) => told.push(page))
    memory.setPageFlag(0xf0, PageFlag.code)
    space.map(rom(0xf_0000, Uint8Array.of(1, 2, 3, 4), 0x2000))
    expect(told).toEqual([0xf0])
    expect(memory.pageFlags(0xf0)).toBe(PageFlag.rom)
    expect(memory.readU32(0xf_0000)).toBe(0x0403_0201)
    expect(memory.readU32(0xf_1ffc)).toBe(0xffff_ffff)
    space.write(0xf_0000, 4, 0)
    expect(space.read(0xf_0000, 4)).toBe(0x0403_0201)
    expect(memory.isWritable(0xf_0000, 1)).toBe(false)
  })

  test('behaviour: an alias shows part of its target', () => {
    const memory = createGuestMemory({ ramBytes: MIB })
    const space = createAddressSpace(memory)
    const bios = rom(0xffff_0000, new Uint8Array(0x1_0000).fill(0x42, 0x8000))
    space.map(bios)
    space.map({
      kind: 'alias',
      name: 'bios-low',
      base: 0xf_8000,
      sizeBytes: 0x8000,
      target: bios,
      targetOffset: 0x8000,
    })
    expect(space.read(0xffff_8000, 1)).toBe(0x42)
    expect(memory.readU8(0xf_8000)).toBe(0x42)
    space.map({
      kind: 'alias',
      name: 'ram',
      base: 0x8000_0000,
      sizeBytes: 0x1000,
      target: space.ram[0]!,
      targetOffset: 0x3000,
    })
    const client = memory.createDirtyClient('test')
    client.start()
    space.write(0x8000_0010, 4, 0x55aa)
    expect(memory.readU32(0x3010)).toBe(0x55aa)
    expect(client.harvest(new Uint32Array(8))).toBe(1)
  })

  test('error: regions that cannot be', () => {
    const space = createAddressSpace(createGuestMemory({ ramBytes: MIB }))
    const one = device('one', 0x1000, 0x1000)
    space.map(one)
    expect(() => space.map(one)).toThrow(/one is mapped already/)
    expect(() => space.map(device('none', 0, 0))).toThrow(/none: 0 bytes/)
    expect(() => space.map(device('far', 2 ** 52, 1))).toThrow(/2\^52/)
    expect(() => space.unmap(device('two', 0, 1))).toThrow(/two is not mapped/)
    expect(() => space.unmap(space.ram[0]!)).toThrow(/not mapped/)
    expect(() =>
      space.map({ kind: 'alias', name: 'big', base: 0, sizeBytes: 0x2000, target: one, targetOffset: 0 }),
    ).toThrow(/big is larger/)
  })
})
