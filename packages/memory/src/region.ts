/** What an address space is made of. */

/** Bytes that the guest can read and not write. */
export interface RomRegion {
  readonly kind: 'rom'
  /** For messages. */
  readonly name: string
  /** Guest-physical address. */
  readonly base: number
  readonly sizeBytes: number
  /** Higher wins where regions overlap; of equals the one mapped last. RAM has 0. */
  readonly priority?: number
  /** Contents; a shorter array is followed by 0xff. */
  readonly bytes: Uint8Array
}

/** A window that a device answers. */
export interface MmioRegion {
  readonly kind: 'mmio'
  /** For messages. */
  readonly name: string
  /** Guest-physical address. */
  readonly base: number
  readonly sizeBytes: number
  /** See `RomRegion.priority`. */
  readonly priority?: number
  /** `size` is 1, 2 or 4. Answers an unsigned value. */
  read(offset: number, size: number): number
  /** `size` is 1, 2 or 4 and `value` unsigned. */
  write(offset: number, size: number, value: number): void
}

/** Part of another region, seen at a second address. */
export interface AliasRegion {
  readonly kind: 'alias'
  /** For messages. */
  readonly name: string
  /** Guest-physical address. */
  readonly base: number
  readonly sizeBytes: number
  /** See `RomRegion.priority`. */
  readonly priority?: number
  /** What is seen here; may be an alias itself. */
  readonly target: Region
  /** Where in the target the alias begins. */
  readonly targetOffset: number
}

/** A block of guest RAM; address spaces make these themselves. */
export interface RamRegion {
  readonly kind: 'ram'
  /** For messages. */
  readonly name: string
  /** Guest-physical address. */
  readonly base: number
  readonly sizeBytes: number
  /** See `RomRegion.priority`. */
  readonly priority?: number
  /** Offset in the WebAssembly.Memory. */
  readonly hostOffset: number
}

/** What can be mapped into an address space. */
export type Region = RomRegion | MmioRegion | AliasRegion | RamRegion
/** A region behind all aliases. */
export type ConcreteRegion = RomRegion | MmioRegion | RamRegion
