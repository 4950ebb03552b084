/**
 * Guest RAM in one WebAssembly.Memory, laid out as layout.ts says: up to LOW_RAM_LIMIT below 4 GiB, the rest from 4 GiB
 * up. The memory never grows, so views of it stay valid for the life of the machine.
 *
 * Invariants: addresses are checked on every access; a range never spans two blocks (they are not adjacent for the
 * guest, although they are in the host); whoever writes, page flags are honoured (page-flags.ts).
 *
 * It does not dispatch to devices or ROM (address-space.ts).
 */
import { type DirtyClient, DirtyTracking } from './dirty-tracking.ts'
import {
  HIGH_RAM_BASE,
  LOW_RAM_LIMIT,
  MAX_RAM_BYTES,
  PAGE_FLAGS_OFFSET,
  PageFlag,
  RAM_OFFSET,
} from './layout.ts'
import { hex, MemoryError } from './memory-error.ts'
import { PageFlags } from './page-flags.ts'

/** Bytes of a guest page. */
export const PAGE_BYTES = 4096
const WASM_PAGE_BYTES = 65536
const MIB = 0x10_0000

/** Size and kind of a guest's memory. */
export interface GuestMemoryOptions {
  /** Size of guest RAM in bytes: a multiple of 1 MiB, from 1 MiB to MAX_RAM_BYTES. */
  readonly ramBytes: number
  /** Memory shared between threads (SharedArrayBuffer). Default: false. */
  readonly shared?: boolean
}

/** A run of RAM, contiguous for guest and host. */
export interface RamBlock {
  /** Guest-physical address. */
  readonly base: number
  /** A multiple of 4 KiB. */
  readonly sizeBytes: number
  /** Offset in the WebAssembly.Memory. */
  readonly hostOffset: number
}

/** A slice of guest RAM to write into; `release` tells those who need notice. */
export interface WriteLease {
  /** The slice itself, no copy. */
  readonly bytes: Uint8Array<ArrayBufferLike>
  /** Marks the pages as written. To be called once, after the last write. */
  release(): void
}

/**
 * RAM of one guest. Addresses are guest-physical; values are little-endian; addresses need no alignment.
 * Every accessor throws MemoryError `memory/out-of-range` when a byte is not RAM, and writers throw
 * `memory/read-only` on a ROM page.
 */
export interface GuestMemory {
  /** What an engine imports. It never grows. */
  readonly memory: WebAssembly.Memory
  /** Whether `memory` is shared between threads. */
  readonly shared: boolean
  /** The whole memory, by host offset. */
  readonly bytes: Uint8Array<ArrayBufferLike>
  /** `lowBytes + highBytes`. */
  readonly ramBytes: number
  /** RAM below 4 GiB. */
  readonly lowBytes: number
  /** RAM from 4 GiB up. */
  readonly highBytes: number
  /** One block, or two where RAM goes on above 4 GiB. */
  readonly blocks: readonly RamBlock[]
  /** Pages of RAM; page `n` lies at host offset RAM_OFFSET + n * 4096. */
  readonly pageCount: number

  /** Whether all of [gpa, gpa + length) can be read as RAM (ROM included). */
  isRam(gpa: number, length: number): boolean
  /** Whether all of [gpa, gpa + length) can be written. */
  isWritable(gpa: number, length: number): boolean
  /** Offset of a RAM byte in the WebAssembly.Memory. */
  hostOffset(gpa: number): number
  /** Number of the page that holds a RAM byte, for the page flags and dirty bitmaps. */
  pageIndex(gpa: number): number
  /** Guest-physical address of page `pageIndex`. */
  pageAddress(pageIndex: number): number

  /** A view of RAM, to be read only. */
  read(gpa: number, length: number): Uint8Array<ArrayBufferLike>
  /** Copies `bytes` to `gpa`. */
  write(gpa: number, bytes: Uint8Array): void
  /** Fills `length` bytes with the low byte of `value`. */
  fill(gpa: number, length: number, value: number): void
  /** A view of RAM to write into. */
  lease(gpa: number, length: number): WriteLease

  /** Reads a byte. */
  readU8(gpa: number): number
  /** Reads 2 bytes, unsigned. */
  readU16(gpa: number): number
  /** Reads 4 bytes, unsigned. */
  readU32(gpa: number): number
  /** Reads 8 bytes, unsigned. */
  readU64(gpa: number): bigint
  /** Writes the low byte of `value`. */
  writeU8(gpa: number, value: number): void
  /** Writes the low 2 bytes of `value`. */
  writeU16(gpa: number, value: number): void
  /** Writes the low 4 bytes of `value`. */
  writeU32(gpa: number, value: number): void
  /** Writes the low 8 bytes of `value`. */
  writeU64(gpa: number, value: bigint): void

  /** The PageFlag bits of a page. */
  pageFlags(pageIndex: number): number
  /** Sets PageFlag bits of a page, atomically. Whoever sets notice bits drops write translations himself. */
  setPageFlag(pageIndex: number, flag: number): void
  /** Clears PageFlag bits of a page, atomically. */
  clearPageFlag(pageIndex: number, flag: number): void
  /** Tells that pages `first` to `last` were written by other means than this object (a loader, a snapshot). */
  noteWrite(firstPage: number, lastPage: number): void
  /** Calls `listener` when a page with PageFlag.code was written; the flag is cleared before. Answers its removal. */
  onCodeWrite(listener: (pageIndex: number) => void): () => void
  /** Calls `listener` when write translations must be dropped, because pages want notice again. */
  onRearm(listener: () => void): () => void
  /** Calls `listener` when all translations must be dropped, because ROM or device windows moved. */
  onRemap(listener: () => void): () => void
  /** To be called by whoever changed PageFlag.device or PageFlag.rom. */
  notifyRemap(): void

  /** @throws MemoryError `memory/dirty-clients` when MAX_DIRTY_CLIENTS exist */
  createDirtyClient(name: string): DirtyClient
}

/**
 * Allocates the memory of one guest.
 *
 * @throws MemoryError `memory/size` for a size that is not possible, `memory/allocation` when the host has no room
 */
export function createGuestMemory(options: GuestMemoryOptions): GuestMemory {
  const { ramBytes, shared = false } = options
  if (!Number.isSafeInteger(ramBytes) || ramBytes <= 0)
    throw new MemoryError('memory/size', `guest RAM of ${ramBytes} bytes: at least 1 MiB is needed`)
  if (ramBytes % MIB !== 0)
    throw new MemoryError('memory/size', `guest RAM of ${ramBytes} bytes is not a multiple of 1 MiB`)
  if (ramBytes > MAX_RAM_BYTES)
    throw new MemoryError(
      'memory/size',
      `guest RAM of ${ramBytes / MIB} MiB is more than the ${MAX_RAM_BYTES / MIB} MiB that fit`,
    )
  const pages = (RAM_OFFSET + ramBytes) / WASM_PAGE_BYTES
  let memory: WebAssembly.Memory
  try {
    memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared })
  } catch (cause) {
    throw new MemoryError(
      'memory/allocation',
      `the host cannot allocate ${ramBytes / MIB} MiB of guest RAM`,
      { cause },
    )
  }
  return new WasmGuestMemory(memory, ramBytes, shared)
}

class WasmGuestMemory implements GuestMemory {
  readonly memory: WebAssembly.Memory
  readonly shared: boolean
  readonly bytes: Uint8Array<ArrayBufferLike>
  readonly ramBytes: number
  readonly lowBytes: number
  readonly highBytes: number
  readonly blocks: readonly RamBlock[]
  readonly pageCount: number
  readonly #view: DataView<ArrayBufferLike>
  readonly #flags: PageFlags
  readonly #dirty: DirtyTracking

  constructor(memory: WebAssembly.Memory, ramBytes: number, shared: boolean) {
    this.memory = memory
    this.shared = shared
    this.bytes = new Uint8Array(memory.buffer)
    this.#view = new DataView(memory.buffer)
    this.ramBytes = ramBytes
    this.lowBytes = Math.min(ramBytes, LOW_RAM_LIMIT)
    this.highBytes = ramBytes - this.lowBytes
    const low = { base: 0, sizeBytes: this.lowBytes, hostOffset: RAM_OFFSET }
    const high = {
      base: HIGH_RAM_BASE,
      sizeBytes: this.highBytes,
      hostOffset: RAM_OFFSET + this.lowBytes,
    }
    this.blocks = this.highBytes > 0 ? [low, high] : [low]
    this.pageCount = ramBytes / PAGE_BYTES
    this.#flags = new PageFlags(this.bytes.subarray(PAGE_FLAGS_OFFSET, PAGE_FLAGS_OFFSET + this.pageCount))
    this.#dirty = new DirtyTracking(this.#flags)
  }

  isRam(gpa: number, length: number): boolean {
    const at = this.#locate(gpa, length)
    return at >= 0 && !this.#anyPage(at, length, PageFlag.device)
  }

  isWritable(gpa: number, length: number): boolean {
    const at = this.#locate(gpa, length)
    return at >= 0 && !this.#anyPage(at, length, PageFlag.device | PageFlag.rom)
  }

  hostOffset(gpa: number): number {
    return this.#readable(gpa, 1)
  }

  pageIndex(gpa: number): number {
    return pageOf(this.#require(gpa, 1))
  }

  pageAddress(pageIndex: number): number {
    if (!(pageIndex >= 0 && pageIndex < this.pageCount))
      throw new MemoryError('memory/out-of-range', `page ${pageIndex} of ${this.pageCount}`)
    const offset = pageIndex * PAGE_BYTES
    return offset < this.lowBytes ? offset : offset - this.lowBytes + HIGH_RAM_BASE
  }

  read(gpa: number, length: number): Uint8Array<ArrayBufferLike> {
    const at = this.#readable(gpa, length)
    return this.bytes.subarray(at, at + length)
  }

  write(gpa: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return
    const at = this.#writable(gpa, bytes.length)
    this.bytes.set(bytes, at)
    this.#flags.noteWrite(pageOf(at), pageOf(at + bytes.length - 1))
  }

  fill(gpa: number, length: number, value: number): void {
    if (length === 0) return
    const at = this.#writable(gpa, length)
    this.bytes.fill(value, at, at + length)
    this.#flags.noteWrite(pageOf(at), pageOf(at + length - 1))
  }

  lease(gpa: number, length: number): WriteLease {
    const at = this.#writable(gpa, length)
    const flags = this.#flags
    return {
      bytes: this.bytes.subarray(at, at + length),
      release() {
        if (length > 0) flags.noteWrite(pageOf(at), pageOf(at + length - 1))
      },
    }
  }

  readU8(gpa: number): number {
    return this.bytes[this.#readable(gpa, 1)]!
  }

  readU16(gpa: number): number {
    return this.#view.getUint16(this.#readable(gpa, 2), true)
  }

  readU32(gpa: number): number {
    return this.#view.getUint32(this.#readable(gpa, 4), true)
  }

  readU64(gpa: number): bigint {
    return this.#view.getBigUint64(this.#readable(gpa, 8), true)
  }

  writeU8(gpa: number, value: number): void {
    const at = this.#writable(gpa, 1)
    this.bytes[at] = value
    this.#flags.noteWrite(pageOf(at), pageOf(at))
  }

  writeU16(gpa: number, value: number): void {
    const at = this.#writable(gpa, 2)
    this.#view.setUint16(at, value, true)
    this.#flags.noteWrite(pageOf(at), pageOf(at + 1))
  }

  writeU32(gpa: number, value: number): void {
    const at = this.#writable(gpa, 4)
    this.#view.setUint32(at, value, true)
    this.#flags.noteWrite(pageOf(at), pageOf(at + 3))
  }

  writeU64(gpa: number, value: bigint): void {
    const at = this.#writable(gpa, 8)
    this.#view.setBigUint64(at, value, true)
    this.#flags.noteWrite(pageOf(at), pageOf(at + 7))
  }

  pageFlags(pageIndex: number): number {
    return this.#flags.get(pageIndex)
  }

  setPageFlag(pageIndex: number, flag: number): void {
    this.#flags.set(pageIndex, flag)
  }

  clearPageFlag(pageIndex: number, flag: number): void {
    this.#flags.clear(pageIndex, flag)
  }

  noteWrite(firstPage: number, lastPage: number): void {
    if (!(firstPage >= 0 && lastPage < this.pageCount))
      throw new MemoryError('memory/out-of-range', `pages ${firstPage} to ${lastPage} of ${this.pageCount}`)
    this.#flags.noteWrite(firstPage, lastPage)
  }

  onCodeWrite(listener: (pageIndex: number) => void): () => void {
    return this.#flags.onCodeWrite(listener)
  }

  onRearm(listener: () => void): () => void {
    return this.#flags.onRearm(listener)
  }

  onRemap(listener: () => void): () => void {
    return this.#flags.onRemap(listener)
  }

  notifyRemap(): void {
    this.#flags.notifyRemap()
  }

  createDirtyClient(name: string): DirtyClient {
    return this.#dirty.createClient(name)
  }

  /** Host offset of the range, or -1 when it is not inside one block. */
  #locate(gpa: number, length: number): number {
    if (length >= 0) {
      if (gpa >= 0 && gpa + length <= this.lowBytes) return RAM_OFFSET + gpa
      if (gpa >= HIGH_RAM_BASE && gpa - HIGH_RAM_BASE + length <= this.highBytes)
        return RAM_OFFSET + this.lowBytes + (gpa - HIGH_RAM_BASE)
    }
    return -1
  }

  #require(gpa: number, length: number): number {
    const at = this.#locate(gpa, length)
    if (at < 0 || !Number.isInteger(gpa) || !Number.isInteger(length)) this.#outOfRange(gpa, length)
    return at
  }

  #readable(gpa: number, length: number): number {
    const at = this.#require(gpa, length)
    if (this.#anyPage(at, length, PageFlag.device)) this.#outOfRange(gpa, length)
    return at
  }

  #writable(gpa: number, length: number): number {
    const at = this.#readable(gpa, length)
    if (this.#anyPage(at, length, PageFlag.rom))
      throw new MemoryError('memory/read-only', `${length} bytes at ${hex(gpa)} are ROM`)
    return at
  }

  #anyPage(at: number, length: number, flag: number): boolean {
    if (length === 0) return false
    const bytes = this.#flags.bytes
    const last = pageOf(at + length - 1)
    for (let page = pageOf(at); page <= last; page++) if ((bytes[page]! & flag) !== 0) return true
    return false
  }

  #outOfRange(gpa: number, length: number): never {
    throw new MemoryError('memory/out-of-range', `${length} bytes at ${hex(gpa)} are not RAM`)
  }
}

/** Page of a host offset; offsets stay below 4 GiB, so the shift is exact. */
function pageOf(hostOffset: number): number {
  return (hostOffset - RAM_OFFSET) >>> 12
}
