/**
 * Guest memory: RAM in blocks around the hole below 4 GiB, address spaces with ROM, device windows and aliases over it, and a
 * flag byte for each page, by which writers find out who wants notice and dirty tracking works for several clients at once.
 *
 * All of it lies in one `WebAssembly.Memory`, so that generated code reads and writes it in place.
 *
 * @example
 * RAM, and which pages were written since a moment:
 * ```ts
 * import { createGuestMemory } from '@trapframe/memory'
 *
 * const memory = createGuestMemory({ ramBytes: 16 * 2 ** 20 })
 * memory.writeU32(0x1000, 0x12345678)
 * console.log(memory.readU16(0x1002).toString(16)) // 1234
 *
 * const client = memory.createDirtyClient('snapshot')
 * client.start()
 * memory.fill(0x5ffe, 4, 0xff)
 * const bitmap = new Uint32Array(memory.pageCount / 32)
 * console.log(client.harvest(bitmap)) // 2
 * console.log(bitmap[0]!.toString(2)) // 1100000
 * ```
 *
 * @packageDocumentation
 */
export * from './address.ts'
export { type AddressSpace, createAddressSpace } from './address-space.ts'
export type { DirtyClient } from './dirty-tracking.ts'
export { type FlatRange, findRange, flatten } from './flat-view.ts'
export {
  createGuestMemory,
  type GuestMemory,
  type GuestMemoryOptions,
  PAGE_BYTES,
  type RamBlock,
  type WriteLease,
} from './guest-memory.ts'
export * from './layout.ts'
export { MemoryError } from './memory-error.ts'
export type { AliasRegion, ConcreteRegion, MmioRegion, RamRegion, Region, RomRegion } from './region.ts'
