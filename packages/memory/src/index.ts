/**
 * Guest memory: RAM blocks, address spaces, page flags and dirty tracking.
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
