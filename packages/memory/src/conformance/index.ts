/**
 * The kit that every GuestMemory passes: call `testGuestMemory` in a test file of your own.
 *
 * @packageDocumentation
 */
import { describe, expect, test } from 'vitest'
import { type GuestMemory, HIGH_RAM_BASE, LOW_RAM_LIMIT, MAX_DIRTY_CLIENTS, PageFlag } from '../index.ts'

/** A kind of memory to be tested. */
export interface GuestMemoryKit {
  /** For the names of the tests. */
  readonly name: string
  /** Makes a memory of `ramBytes`. */
  create(ramBytes: number): GuestMemory
  /** Most RAM to try. Blocks above 4 GiB are tested when it exceeds LOW_RAM_LIMIT. */
  readonly maxRamBytes: number
}

const MIB = 0x10_0000

/** Declares the tests of the GuestMemory contract. */
export function testGuestMemory(kit: GuestMemoryKit): void {
  describe(`GuestMemory: ${kit.name}`, () => {
    test('default: RAM is zero, and what is written is read', () => {
      const memory = kit.create(2 * MIB)
      expect(memory.ramBytes).toBe(2 * MIB)
      expect(memory.readU64(0)).toBe(0n)
      memory.write(0x1fff, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8))
      expect([...memory.read(0x1fff, 8)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
      expect(memory.readU8(0x2000)).toBe(2)
      expect(memory.readU16(0x1fff)).toBe(0x0201)
      expect(memory.readU32(0x1fff)).toBe(0x04030201)
      expect(memory.readU64(0x1fff)).toBe(0x0807060504030201n)
      memory.writeU64(16, 0xfedc_ba98_7654_3210n)
      memory.writeU32(24, 0xdead_beef)
      memory.writeU16(28, 0xffff)
      memory.writeU8(30, 0x80)
      expect(memory.readU64(16)).toBe(0xfedc_ba98_7654_3210n)
      expect(memory.readU32(24)).toBe(0xdead_beef)
      expect(memory.readU32(28)).toBe(0x0080_ffff)
    })

    test('behaviour: blocks tile the RAM, and addresses map to pages and back', () => {
      const memory = kit.create(2 * MIB)
      expect(memory.blocks.reduce((sum, block) => sum + block.sizeBytes, 0)).toBe(memory.ramBytes)
      expect(memory.lowBytes + memory.highBytes).toBe(memory.ramBytes)
      expect(memory.pageCount * 4096).toBe(memory.ramBytes)
      for (const block of memory.blocks) {
        const last = block.base + block.sizeBytes - 1
        expect(memory.pageAddress(memory.pageIndex(last))).toBe(last - 4095)
        expect(memory.hostOffset(last)).toBe(block.hostOffset + block.sizeBytes - 1)
        expect(memory.isRam(block.base, block.sizeBytes)).toBe(true)
        expect(memory.isRam(block.base, block.sizeBytes + 1)).toBe(false)
      }
    })

    test.skipIf(kit.maxRamBytes <= LOW_RAM_LIMIT)(
      'behaviour: RAM beyond the low limit is found at 4 GiB',
      () => {
        const memory = kit.create(LOW_RAM_LIMIT + MIB)
        expect(memory.blocks.map(({ base, sizeBytes }) => [base, sizeBytes])).toEqual([
          [0, LOW_RAM_LIMIT],
          [HIGH_RAM_BASE, MIB],
        ])
        memory.writeU32(HIGH_RAM_BASE + 8, 0x1234_5678)
        expect(memory.readU32(HIGH_RAM_BASE + 8)).toBe(0x1234_5678)
        expect(memory.readU32(8)).toBe(0)
        expect(memory.isRam(LOW_RAM_LIMIT, 1)).toBe(false)
        // The blocks may be neighbours in the host; they are not for the guest.
        expect(memory.isRam(LOW_RAM_LIMIT - 4, 8)).toBe(false)
        expect(memory.isRam(HIGH_RAM_BASE - 4, 8)).toBe(false)
        const client = memory.createDirtyClient('high')
        client.start()
        memory.writeU8(HIGH_RAM_BASE + MIB - 1, 1)
        const bitmap = new Uint32Array(Math.ceil(memory.pageCount / 32))
        expect(client.harvest(bitmap)).toBe(1)
        const last = memory.pageCount - 1
        expect((bitmap[last >>> 5]! >>> (last & 31)) & 1).toBe(1)
      },
    )

    test('error: what is not RAM throws with its address', () => {
      const memory = kit.create(MIB)
      const outside = { code: 'memory/out-of-range' }
      expect(() => memory.read(MIB, 1)).toThrow(/0x100000/)
      expect(() => memory.read(MIB - 1, 2)).toThrow(expect.objectContaining(outside))
      expect(() => memory.writeU32(MIB - 3, 0)).toThrow(expect.objectContaining(outside))
      expect(() => memory.write(-1, new Uint8Array(1))).toThrow(expect.objectContaining(outside))
      expect(() => memory.lease(0, MIB + 1)).toThrow(expect.objectContaining(outside))
      expect(() => memory.hostOffset(HIGH_RAM_BASE)).toThrow(expect.objectContaining(outside))
      expect(() => memory.readU8(0.5)).toThrow(expect.objectContaining(outside))
      expect(() => memory.readU8(Number.NaN)).toThrow(expect.objectContaining(outside))
    })

    test('behaviour: every kind of write tells the code listeners, once, and clears the flag', () => {
      const memory = kit.create(MIB)
      const writes: [string, (gpa: number) => void][] = [
        ['write', (gpa) => memory.write(gpa, Uint8Array.of(1))],
        ['fill', (gpa) => memory.fill(gpa, 1, 1)],
        ['writeU8', (gpa) => memory.writeU8(gpa, 1)],
        ['writeU16', (gpa) => memory.writeU16(gpa, 1)],
        ['writeU32', (gpa) => memory.writeU32(gpa, 1)],
        ['writeU64', (gpa) => memory.writeU64(gpa, 1n)],
        ['noteWrite', (gpa) => memory.noteWrite(gpa >>> 12, gpa >>> 12)],
      ]
      const told: number[] = []
      memory.onCodeWrite((page) => told.push(page))
      for (const [name, write] of writes) {
        told.length = 0
        memory.setPageFlag(3, PageFlag.code)
        write(0x2000)
        expect(told, name).toEqual([])
        write(0x3008)
        write(0x3010)
        expect(told, name).toEqual([3])
        expect(memory.pageFlags(3), name).toBe(0)
      }
    })

    test('behaviour: a lease tells when it is released', () => {
      const memory = kit.create(MIB)
      const told: number[] = []
      const remove = memory.onCodeWrite((page) => told.push(page))
      memory.setPageFlag(0, PageFlag.code)
      memory.setPageFlag(1, PageFlag.code)
      const lease = memory.lease(0xffe, 4)
      lease.bytes.set([1, 2, 3, 4])
      expect(told).toEqual([])
      lease.release()
      expect(told).toEqual([0, 1])
      expect(memory.readU32(0xffe)).toBe(0x04030201)
      remove()
      memory.setPageFlag(0, PageFlag.code)
      memory.writeU8(0, 1)
      expect(told).toEqual([0, 1])
    })

    test('behaviour: ROM pages are read and refuse writes, device pages are no RAM', () => {
      const memory = kit.create(MIB)
      memory.setPageFlag(1, PageFlag.rom)
      memory.setPageFlag(2, PageFlag.device)
      expect(memory.isRam(0x1000, 4096)).toBe(true)
      expect(memory.isWritable(0x1000, 4096)).toBe(false)
      expect(memory.isRam(0x1000, 4097)).toBe(false)
      expect(() => memory.writeU8(0x1000, 1)).toThrow(expect.objectContaining({ code: 'memory/read-only' }))
      expect(() => memory.write(0xfff, new Uint8Array(2))).toThrow(
        expect.objectContaining({ code: 'memory/read-only' }),
      )
      expect(() => memory.readU8(0x2000)).toThrow(expect.objectContaining({ code: 'memory/out-of-range' }))
    })

    test('behaviour: dirty clients are independent', () => {
      const memory = kit.create(MIB)
      const first = memory.createDirtyClient('first')
      const second = memory.createDirtyClient('second')
      let rearmed = 0
      memory.onRearm(() => rearmed++)
      const harvest = (client: typeof first): number[] => {
        const bitmap = new Uint32Array(memory.pageCount / 32)
        const count = client.harvest(bitmap)
        const pages = []
        for (let n = 0; n < memory.pageCount; n++)
          if (((bitmap[n >>> 5]! >>> (n & 31)) & 1) !== 0) pages.push(n)
        expect(pages.length).toBe(count)
        return pages
      }
      memory.writeU8(0x5000, 1)
      first.start()
      expect(rearmed).toBe(1)
      expect(harvest(first)).toEqual([])
      memory.writeU8(0x6000, 1)
      second.start()
      memory.write(0x7fff, new Uint8Array(2))
      expect(harvest(first)).toEqual([6, 7, 8])
      memory.writeU8(0x9000, 1)
      expect(harvest(second)).toEqual([7, 8, 9])
      expect(harvest(first)).toEqual([9])
      first.stop()
      memory.writeU8(0xa000, 1)
      expect(harvest(second)).toEqual([10])
      expect(() => first.harvest(new Uint32Array(8))).toThrow(
        expect.objectContaining({ code: 'memory/dirty-tracking' }),
      )
      expect(() => second.harvest(new Uint32Array(1))).toThrow(/1 words/)
      second.close()
      for (let n = 0; n < memory.pageCount; n++) expect(memory.pageFlags(n)).toBe(0)
    })

    test('error: one dirty client too many', () => {
      const memory = kit.create(MIB)
      const clients = []
      for (let n = 0; n < MAX_DIRTY_CLIENTS; n++) clients.push(memory.createDirtyClient(`client ${n}`))
      expect(() => memory.createDirtyClient('last')).toThrow(
        expect.objectContaining({ code: 'memory/dirty-clients' }),
      )
      clients[2]!.close()
      expect(memory.createDirtyClient('last').active).toBe(false)
    })
  })
}
