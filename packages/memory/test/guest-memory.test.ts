import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { testGuestMemory } from '../src/conformance/index.ts'
import {
  createGuestMemory,
  HIGH_RAM_BASE,
  LOW_RAM_LIMIT,
  MAX_RAM_BYTES,
  MemoryError,
  PAGE_FLAGS_OFFSET,
  PageFlag,
  RAM_OFFSET,
} from '../src/index.ts'

const MIB = 0x10_0000

testGuestMemory({
  name: 'unshared',
  create: (ramBytes) => createGuestMemory({ ramBytes }),
  maxRamBytes: MAX_RAM_BYTES,
})
testGuestMemory({
  name: 'shared',
  create: (ramBytes) => createGuestMemory({ ramBytes, shared: true }),
  maxRamBytes: MAX_RAM_BYTES,
})

describe('createGuestMemory', () => {
  test('behaviour: the layout is that of layout.ts', () => {
    const memory = createGuestMemory({ ramBytes: MIB })
    memory.writeU8(5, 7)
    memory.setPageFlag(9, PageFlag.code)
    expect(memory.bytes[RAM_OFFSET + 5]).toBe(7)
    expect(memory.bytes[PAGE_FLAGS_OFFSET + 9]).toBe(PageFlag.code)
    expect(memory.memory.buffer.byteLength).toBe(RAM_OFFSET + MIB)
    expect(memory.memory.buffer).toBeInstanceOf(ArrayBuffer)
    expect(createGuestMemory({ ramBytes: MIB, shared: true }).memory.buffer).toBeInstanceOf(SharedArrayBuffer)
  })

  test('behaviour: RAM beyond the low limit is found at 4 GiB', () => {
    const memory = createGuestMemory({ ramBytes: MAX_RAM_BYTES })
    expect(memory.blocks).toEqual([
      { base: 0, sizeBytes: LOW_RAM_LIMIT, hostOffset: RAM_OFFSET },
      {
        base: HIGH_RAM_BASE,
        sizeBytes: MAX_RAM_BYTES - LOW_RAM_LIMIT,
        hostOffset: RAM_OFFSET + LOW_RAM_LIMIT,
      },
    ])
    memory.writeU32(HIGH_RAM_BASE, 0x1234_5678)
    expect(memory.readU32(HIGH_RAM_BASE)).toBe(0x1234_5678)
    expect(memory.pageAddress(memory.pageIndex(HIGH_RAM_BASE + 0x5000))).toBe(HIGH_RAM_BASE + 0x5000)
    const end = HIGH_RAM_BASE + memory.highBytes
    memory.writeU64(end - 8, 1n)
    expect(memory.readU8(end - 8)).toBe(1)
    expect(() => memory.readU8(end)).toThrow(MemoryError)
    // The blocks are neighbours in the host, not for the guest.
    expect(memory.isRam(LOW_RAM_LIMIT - 4, 8)).toBe(false)
    expect(memory.isRam(HIGH_RAM_BASE - 4, 8)).toBe(false)
  })

  test.each([
    [0, /0 bytes/],
    [-MIB, /-1048576/],
    [Number.NaN, /NaN/],
    [1.5, /1.5/],
    [4096, /4096 bytes is not a multiple/],
    [MAX_RAM_BYTES + MIB, /3585 MiB is more than the 3584 MiB/],
    [2 ** 60, /MiB/],
  ])('error: a size of %d bytes', (ramBytes, message) => {
    expect(() => createGuestMemory({ ramBytes })).toThrow(message)
    expect(() => createGuestMemory({ ramBytes })).toThrow(expect.objectContaining({ code: 'memory/size' }))
  })

  test('error: a host without room', () => {
    const original = WebAssembly.Memory
    WebAssembly.Memory = class {
      constructor() {
        throw new RangeError('out of memory')
      }
    } as never
    try {
      expect(() => createGuestMemory({ ramBytes: MIB })).toThrow(
        expect.objectContaining({ code: 'memory/allocation', cause: expect.any(RangeError) }),
      )
    } finally {
      WebAssembly.Memory = original
    }
  })

  test('behaviour: random writes equal a plain model, and every written page is dirty', () => {
    const size = 64 * 1024
    const memory = createGuestMemory({ ramBytes: MIB })
    const client = memory.createDirtyClient('model')
    const model = new Uint8Array(size)
    fc.assert(
      fc.property(
        fc.array(fc.record({ at: fc.nat(size - 300), bytes: fc.uint8Array({ maxLength: 300 }) }), {
          maxLength: 8,
        }),
        (writes) => {
          client.start()
          const pages = new Set<number>()
          for (const { at, bytes } of writes) {
            memory.write(at, bytes)
            model.set(bytes, at)
            for (let n = 0; n < bytes.length; n++) pages.add((at + n) >>> 12)
          }
          expect(Buffer.compare(memory.read(0, size), model)).toBe(0)
          const bitmap = new Uint32Array(8)
          expect(client.harvest(bitmap)).toBe(pages.size)
          for (const page of pages) expect((bitmap[page >>> 5]! >>> (page & 31)) & 1).toBe(1)
        },
      ),
      { numRuns: 200 },
    )
  })
})
