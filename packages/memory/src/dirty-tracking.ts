/**
 * Dirty tracking with several independent clients (snapshot, migration, display). Each client owns one bit of the page
 * flag byte: set means "clean since I last looked, tell me of the next write". So a page that was written has the bit
 * clear for every client at once, and tracking that is off costs nothing.
 *
 * Harvesting requires that no vCPU runs (the stop-request protocol), or that its write translations are dropped by the
 * `onRearm` listeners before it goes on: a write that still used an old translation would be missed.
 */
import { MAX_DIRTY_CLIENTS, PageFlag } from './layout.ts'
import { MemoryError } from './memory-error.ts'
import type { PageFlags } from './page-flags.ts'

/** One user of the dirty log. */
export interface DirtyClient {
  /** For messages. */
  readonly name: string
  /** Whether it tracks: started, and not stopped. */
  readonly active: boolean
  /** Begins to track: from now on no page counts as dirty until it is written. */
  start(): void
  /**
   * Collects the pages written since `start` or the last harvest, and counts them as clean again.
   * @param into - bit `n & 31` of word `n >>> 5` is set for each dirty page `n`; other bits stay as they are
   * @returns how many pages were dirty
   * @throws MemoryError `memory/dirty-tracking` when the client is stopped or `into` is too short
   */
  harvest(into: Uint32Array): number
  /** Ends tracking. `start` begins anew. */
  stop(): void
  /** Stops and gives the bit back, for another client. */
  close(): void
}

export class DirtyTracking {
  readonly #flags: PageFlags
  #bitsInUse = 0

  constructor(flags: PageFlags) {
    this.#flags = flags
  }

  createClient(name: string): DirtyClient {
    for (let n = 0; n < MAX_DIRTY_CLIENTS; n++) {
      const bit = PageFlag.firstClient << n
      if ((this.#bitsInUse & bit) !== 0) continue
      this.#bitsInUse |= bit
      return new BitClient(name, bit, this.#flags, () => {
        this.#bitsInUse &= ~bit
      })
    }
    throw new MemoryError(
      'memory/dirty-clients',
      `no room for dirty client ${name}: ${MAX_DIRTY_CLIENTS} are in use`,
    )
  }
}

class BitClient implements DirtyClient {
  readonly name: string
  active = false
  readonly #bit: number
  readonly #flags: PageFlags
  readonly #release: () => void
  #closed = false

  constructor(name: string, bit: number, flags: PageFlags, release: () => void) {
    this.name = name
    this.#bit = bit
    this.#flags = flags
    this.#release = release
  }

  start(): void {
    if (this.#closed) throw new MemoryError('memory/dirty-tracking', `dirty client ${this.name} is closed`)
    this.active = true
    const bytes = this.#flags.bytes
    for (let page = 0; page < bytes.length; page++) Atomics.or(bytes, page, this.#bit)
    this.#flags.notifyRearm()
  }

  harvest(into: Uint32Array): number {
    const bytes = this.#flags.bytes
    if (!this.active)
      throw new MemoryError('memory/dirty-tracking', `dirty client ${this.name} is not started`)
    if (into.length * 32 < bytes.length)
      throw new MemoryError(
        'memory/dirty-tracking',
        `bitmap of ${into.length} words is too short for ${bytes.length} pages`,
      )
    const bit = this.#bit
    let dirty = 0
    for (let page = 0; page < bytes.length; page++) {
      if ((bytes[page]! & bit) !== 0) continue
      Atomics.or(bytes, page, bit)
      into[page >>> 5]! |= 1 << (page & 31)
      dirty++
    }
    if (dirty > 0) this.#flags.notifyRearm()
    return dirty
  }

  stop(): void {
    if (!this.active) return
    this.active = false
    const bytes = this.#flags.bytes
    for (let page = 0; page < bytes.length; page++) Atomics.and(bytes, page, ~this.#bit & 0xff)
  }

  close(): void {
    if (this.#closed) return
    this.stop()
    this.#closed = true
    this.#release()
  }
}
