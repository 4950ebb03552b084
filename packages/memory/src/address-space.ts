/**
 * A guest-physical address space: the blocks of guest RAM below ROM, device windows and aliases that are mapped over
 * them by priority, and the dispatch of every access that is not plain RAM.
 *
 * Page flags follow the flat view. A page that is whole RAM at its own address has none; a page of ROM over RAM gets
 * the ROM's bytes and `rom`, so that reads stay fast; every other page over RAM (a device, an alias, a mixture) gets
 * `device` and is served here. What a ROM hid is overwritten: guests see RAM under a removed ROM as the ROM left it.
 */
import { type FlatRange, findRange, flatten } from './flat-view.ts'
import { type GuestMemory, PAGE_BYTES, type RamBlock } from './guest-memory.ts'
import { PageFlag, RAM_OFFSET } from './layout.ts'
import { hex, MemoryError } from './memory-error.ts'
import type { RamRegion, Region } from './region.ts'

const KIND = PageFlag.device | PageFlag.rom

/** What answers at each guest-physical address. Made by `createAddressSpace`. */
export interface AddressSpace {
  /** RAM, where nothing else is mapped over it. */
  readonly memory: GuestMemory
  /** The regions of guest RAM, as targets of aliases. */
  readonly ram: readonly RamRegion[]
  /** The flat view: sorted, without overlaps. A new array after each change. */
  readonly ranges: readonly FlatRange[]
  /** @throws MemoryError `memory/region` when the region is empty, outside 52 bits, or mapped already */
  map(region: Region): void
  /** @throws MemoryError `memory/region` when the region is not mapped, or is a block of RAM */
  unmap(region: Region): void
  /** The range that holds an address, or undefined where nothing answers. */
  find(gpa: number): FlatRange | undefined
  /** Reads 1, 2 or 4 bytes, whatever is there. Where nothing is, all bits are one. Never throws for a guest's address. */
  read(gpa: number, size: number): number
  /** Writes 1, 2 or 4 bytes. Writes to ROM and to nothing are dropped. */
  write(gpa: number, size: number, value: number): void
}

/** An address space with the blocks of `memory` as its RAM. */
export function createAddressSpace(memory: GuestMemory): AddressSpace {
  return new MappedAddressSpace(memory)
}

class MappedAddressSpace implements AddressSpace {
  readonly memory: GuestMemory
  readonly ram: readonly RamRegion[]
  ranges: readonly FlatRange[]
  readonly #regions: Region[]
  /** Pages of RAM with `device` or `rom` set. */
  #special = new Set<number>()

  constructor(memory: GuestMemory) {
    this.memory = memory
    this.ram = memory.blocks.map((block) => ({
      kind: 'ram',
      name: `ram@${hex(block.base)}`,
      base: block.base,
      sizeBytes: block.sizeBytes,
      hostOffset: block.hostOffset,
    }))
    this.#regions = [...this.ram]
    this.ranges = flatten(this.#regions)
  }

  map(region: Region): void {
    const { base, sizeBytes, name } = region
    if (!Number.isSafeInteger(base) || !Number.isSafeInteger(sizeBytes) || base < 0 || sizeBytes <= 0)
      throw new MemoryError('memory/region', `region ${name}: ${sizeBytes} bytes at ${hex(base)}`)
    if (base + sizeBytes > 2 ** 52)
      throw new MemoryError('memory/region', `region ${name} at ${hex(base)} ends above 2^52`)
    if (this.#regions.includes(region))
      throw new MemoryError('memory/region', `region ${name} is mapped already`)
    if (region.kind === 'alias' && region.targetOffset + sizeBytes > region.target.sizeBytes)
      throw new MemoryError('memory/alias', `alias ${name} is larger than ${region.target.name}`)
    const ranges = flatten([...this.#regions, region])
    this.#regions.push(region)
    this.#apply(ranges)
  }

  unmap(region: Region): void {
    const at = this.#regions.indexOf(region)
    if (at < 0 || region.kind === 'ram')
      throw new MemoryError('memory/region', `region ${region.name} is not mapped`)
    this.#regions.splice(at, 1)
    this.#apply(flatten(this.#regions))
  }

  find(gpa: number): FlatRange | undefined {
    return findRange(this.ranges, gpa)
  }

  read(gpa: number, size: number): number {
    const range = findRange(this.ranges, gpa)
    const inside = gpa - (range?.base ?? gpa)
    if (range !== undefined && inside + size <= range.sizeBytes) {
      const region = range.region
      if (region.kind === 'mmio') return region.read(range.offset + inside, size)
    }
    let value = 0
    for (let n = 0; n < size; n++) value += this.#readByte(gpa + n) * 2 ** (8 * n)
    return value
  }

  write(gpa: number, size: number, value: number): void {
    const range = findRange(this.ranges, gpa)
    const inside = gpa - (range?.base ?? gpa)
    if (range !== undefined && inside + size <= range.sizeBytes) {
      const region = range.region
      if (region.kind === 'mmio') {
        region.write(range.offset + inside, size, value)
        return
      }
    }
    for (let n = 0; n < size; n++) this.#writeByte(gpa + n, (value >>> (8 * n)) & 0xff)
  }

  #readByte(gpa: number): number {
    const range = findRange(this.ranges, gpa)
    if (range === undefined) return 0xff
    const offset = range.offset + gpa - range.base
    const region = range.region
    if (region.kind === 'ram') return this.memory.bytes[region.hostOffset + offset]!
    if (region.kind === 'rom') return region.bytes[offset] ?? 0xff
    return region.read(offset, 1)
  }

  #writeByte(gpa: number, value: number): void {
    const range = findRange(this.ranges, gpa)
    if (range === undefined) return
    const offset = range.offset + gpa - range.base
    const region = range.region
    if (region.kind === 'ram') {
      const at = region.hostOffset + offset
      this.memory.bytes[at] = value
      const page = this.memory.pageIndex(region.base + offset)
      this.memory.noteWrite(page, page)
    } else if (region.kind === 'mmio') region.write(offset, 1, value)
  }

  /** Takes over a flat view and brings the page flags up to date. */
  #apply(ranges: readonly FlatRange[]): void {
    const memory = this.memory
    const special = new Set<number>()
    this.ranges = ranges
    for (const block of memory.blocks) addSpecialPages(special, block, ranges, memory.pageIndex(block.base))
    let changed = false
    for (const page of this.#special) {
      if (special.has(page)) continue
      memory.clearPageFlag(page, KIND)
      changed = true
    }
    for (const page of special) {
      const wanted = this.#pageKind(page)
      if (wanted === (memory.pageFlags(page) & KIND)) continue
      memory.noteWrite(page, page)
      memory.clearPageFlag(page, KIND)
      memory.setPageFlag(page, wanted)
      changed = true
    }
    this.#special = special
    if (changed) memory.notifyRemap()
  }

  /** What a page that is not plain RAM is; brings the bytes of a ROM into place. */
  #pageKind(page: number): number {
    const gpa = this.memory.pageAddress(page)
    const range = findRange(this.ranges, gpa)
    if (range === undefined || gpa - range.base + PAGE_BYTES > range.sizeBytes) return PageFlag.device
    if (range.region.kind !== 'rom') return PageFlag.device
    const from = range.offset + gpa - range.base
    const contents = range.region.bytes.subarray(from, from + PAGE_BYTES)
    const at = RAM_OFFSET + page * PAGE_BYTES
    const bytes = this.memory.bytes
    let differs = false
    for (let n = 0; n < PAGE_BYTES && !differs; n++) differs = bytes[at + n] !== (contents[n] ?? 0xff)
    if (differs) {
      bytes.fill(0xff, at, at + PAGE_BYTES).set(contents, at)
      this.memory.noteWrite(page, page)
    }
    return PageFlag.rom
  }
}

/** Adds the pages of a block that are not wholly RAM at their own address. */
function addSpecialPages(
  into: Set<number>,
  block: RamBlock,
  ranges: readonly FlatRange[],
  firstPage: number,
): void {
  const pages = block.sizeBytes / PAGE_BYTES
  let next = 0
  for (const { base, sizeBytes, region, offset } of ranges) {
    const inBlock = base - block.base
    if (region.kind !== 'ram' || inBlock < 0 || inBlock >= block.sizeBytes) continue
    if (region.hostOffset + offset !== block.hostOffset + inBlock) continue
    const first = Math.ceil(inBlock / PAGE_BYTES)
    const end = Math.floor((inBlock + sizeBytes) / PAGE_BYTES)
    if (end <= first) continue
    for (; next < first; next++) into.add(firstPage + next)
    next = end
  }
  for (; next < pages; next++) into.add(firstPage + next)
}
