/**
 * The flag byte of each page of guest RAM (see layout.ts): who wants to hear of a write, and what is no RAM at all.
 *
 * Contract between writers, listeners and dirty clients:
 *
 * - A vCPU tests the byte when it fills a write translation, and only an all-zero byte may be written without notice.
 *   Its slow path does what `noteWrite` does here: clear every client's bit, clear `code` and drop the code.
 * - Every other writer (DMA, loader, migration) writes through `GuestMemory.write` or a lease, which call `noteWrite`.
 * - Whoever sets a bit in a byte that was zero makes existing write translations wrong; vCPUs drop them when told by
 *   `onRearm` (dirty clients) or do it themselves (the backend that sets `code`). When `device` or `rom` change, all
 *   translations are wrong and `onRemap` tells so.
 *
 * Bytes are changed with atomic operations, because vCPU threads clear bits at the same time.
 */
import { PageFlag } from './layout.ts'
import { hex, MemoryError } from './memory-error.ts'

/** Page bytes that stay when a write is noted: what the page is, not who wants to know. */
const STICKY = PageFlag.device | PageFlag.rom

export class PageFlags {
  /** One byte for each page, in RAM order. Lies in the WebAssembly.Memory at PAGE_FLAGS_OFFSET. */
  readonly bytes: Uint8Array<ArrayBufferLike>
  readonly #codeWrite: ((pageIndex: number) => void)[] = []
  readonly #rearm: (() => void)[] = []
  readonly #remap: (() => void)[] = []

  constructor(bytes: Uint8Array<ArrayBufferLike>) {
    this.bytes = bytes
  }

  get(pageIndex: number): number {
    this.#check(pageIndex)
    return this.bytes[pageIndex]!
  }

  /** Sets the bits of `flag`. */
  set(pageIndex: number, flag: number): void {
    this.#check(pageIndex)
    Atomics.or(this.bytes, pageIndex, flag)
  }

  /** Clears the bits of `flag`. */
  clear(pageIndex: number, flag: number): void {
    this.#check(pageIndex)
    Atomics.and(this.bytes, pageIndex, ~flag & 0xff)
  }

  /** Pages `first` to `last` (inclusive) were written: marks them dirty and gives up their code. */
  noteWrite(first: number, last: number): void {
    const bytes = this.bytes
    for (let page = first; page <= last; page++) {
      if (bytes[page] === 0) continue
      const before = Atomics.and(bytes, page, STICKY)
      if ((before & PageFlag.code) !== 0) for (const listener of this.#codeWrite) listener(page)
    }
  }

  onCodeWrite(listener: (pageIndex: number) => void): () => void {
    return subscribe(this.#codeWrite, listener)
  }

  onRearm(listener: () => void): () => void {
    return subscribe(this.#rearm, listener)
  }

  onRemap(listener: () => void): () => void {
    return subscribe(this.#remap, listener)
  }

  /** Tells vCPUs that notice bits were set: write translations are to be dropped. */
  notifyRearm(): void {
    for (const listener of this.#rearm) listener()
  }

  /** Tells vCPUs that `device` or `rom` bits changed: all translations are to be dropped. */
  notifyRemap(): void {
    for (const listener of this.#remap) listener()
  }

  #check(pageIndex: number): void {
    if (!(pageIndex >= 0 && pageIndex < this.bytes.length))
      throw new MemoryError(
        'memory/out-of-range',
        `page ${pageIndex} is not below ${hex(this.bytes.length)} pages`,
      )
  }
}

function subscribe<T>(list: T[], listener: T): () => void {
  list.push(listener)
  return () => {
    const at = list.indexOf(listener)
    if (at >= 0) list.splice(at, 1)
  }
}
