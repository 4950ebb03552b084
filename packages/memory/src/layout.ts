/**
 * How the one WebAssembly.Memory of a machine is divided, shared by the memory package (which allocates it) and the
 * emulated backend (whose generated code has these numbers in it).
 *
 * ```
 * 0            65536            PAGE_FLAGS_OFFSET + 1 MiB                RAM_OFFSET
 * | unused page | page flags ... | engine area of the backend (private) ... | guest RAM ...
 * ```
 *
 * RAM of the guest below 4 GiB lies at RAM_OFFSET + address; RAM from 4 GiB up follows directly behind it. So page
 * `n` of guest RAM (in that order) has its flag byte at PAGE_FLAGS_OFFSET + n.
 */

/** Where the flag bytes of guest RAM begin, one byte for each 4 KiB page. */
export const PAGE_FLAGS_OFFSET = 0x1_0000
/** Where the backend's private area begins. */
export const ENGINE_OFFSET = 0x11_0000
/** Where guest RAM begins. */
export const RAM_OFFSET = 0x800_0000
/** Most RAM that fits beside the engine area into a 4 GiB memory. */
export const MAX_RAM_BYTES = 0xe000_0000
/** Guest RAM above the hole begins here. */
export const HIGH_RAM_BASE = 0x1_0000_0000
/** Guest RAM below the hole ends here at the most; the hole holds devices (IOAPIC, LAPIC, PCI, virtio-mmio). */
export const LOW_RAM_LIMIT = 0xc000_0000

/**
 * Bits of a page's flag byte. Zero means: plain RAM, a write concerns nobody. Any bit set makes writes take the slow
 * path, which tells those who asked and clears their bit.
 */
export const PageFlag = {
  /** Code of this page is cached in decoded or translated form. */
  code: 0x01,
  /** Not RAM for reads or writes (a device's window or nothing at all): every access leaves the fast path. */
  device: 0x02,
  /** Read-only: reads are RAM, writes are dropped (ROM). */
  rom: 0x04,
  /** First of the dirty clients' bits: set means "clean, tell me of the next write". */
  firstClient: 0x08,
} as const
/** How many dirty clients a memory can have at a time. */
export const MAX_DIRTY_CLIENTS = 5
