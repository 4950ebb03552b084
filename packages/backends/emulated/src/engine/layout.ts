/**
 * The engine's private part of the machine's memory: per-vCPU state with its TLBs and jump cache, the block table, and
 * the arena of decoded records. Sizes are powers of two where code masks an index.
 */
import { RAM_OFFSET } from '@trapframe/memory'

/** Direct-mapped table from the host address of an instruction to its first record: { host address u32, record u32 }. */
export const BLOCK_TABLE_OFFSET = 0x20_0000
export const BLOCK_TABLE_ENTRIES = 0x4_0000

/** A record that stands for every instruction of a region: nothing before it in its block is uncharged. */
export const REGION_RECORD_OFFSET = 0x11_0000

/** One area per vCPU: state, then TLBs, then jump cache. */
export const VCPU_OFFSET = 0x40_0000
export const VCPU_BYTES = 0x4_0000
export const MAX_VCPUS = 16

export const TLB_ENTRIES = 1024
/** rtag i64, wtag i64, xtag i64, addend i32, flags i32. A tag is the linear page, or -1 for "not allowed". */
export const TLB_ENTRY_BYTES = 32
export const TlbField = { read: 0, write: 8, execute: 16, addend: 24, flags: 28 } as const
export const TLB_BYTES: number = TLB_ENTRIES * TLB_ENTRY_BYTES
/** Supervisor; supervisor with EFLAGS.AC (SMAP suspended); user. Offsets from the state. */
export const TLB_OFFSETS: readonly [number, number, number] = [0x1_0000, 0x1_8000, 0x2_0000]

/** Jump cache: { key i64 = RIP ^ State.jumpKey, record u32, 0 }. */
export const JUMP_CACHE_OFFSET = 0x2_8000
export const JUMP_CACHE_ENTRIES = 4096

/**
 * The same for code of 32 and 16 bits: { host address u32, mode u32, record u32, 0 }. Its own table, so that looking up
 * 64-bit code needs no look at the mode.
 */
export const LEGACY_TABLE_OFFSET = 0x80_0000
export const LEGACY_TABLE_ENTRIES = 0x1_0000

export const ARENA_OFFSET = 0x90_0000
export const ARENA_END: number = RAM_OFFSET

/** Fields of the state that only the engine knows, from `State.engine` (0x1800) up. */
export const EngineState = {
  /** TLB of the current privilege, and of implicit supervisor accesses: absolute i32 addresses. */
  tlb: 0x1800,
  tlbSupervisor: 0x1804,
  /** XORed into RIP to make a jump-cache key: changes with the privilege and with every flush. */
  jumpKey: 0x1808,
  /** Count of flushes that went into the key. */
  flushEpoch: 0x1810,
  /** Record of the instruction that runs outside the main function. */
  record: 0x1814,
  /** Nanosecond counter mode: 0 real clock, 1 virtual time. */
  virtualTime: 0x1818,
  /** 1: a trap for RFLAGS.TF is due after the one-instruction block. */
  stepTrap: 0x181c,
  /** 1: the block that runs was cut to end a single step of the debugger. */
  debugStepDone: 0x1820,
  /** TSC ticks per nanosecond, f64. */
  tscPerNs: 0x1828,
  /** Guest-physical address of the last translation. */
  physical: 0x1830,
  /** RAM of the guest below 4 GiB, and above, in bytes, i64. */
  lowBytes: 0x1838,
  highBytes: 0x1860,
  /** Bytes (16) of an access that crosses pages or goes to a device, on their way. */
  scratch: 0x1840,
  /** 1: `run` has just been called and the answers of the last exit are to be replayed. */
  replaying: 0x1868,
  /** Counters, i64 each. */
  counters: 0x1880,
  /** 0 in 64-bit mode, else 32 or 16: the default operand size. Kept by `chooseTables`, as is what follows. */
  codeMode: 0x1960,
  /** Changes whenever CS is another one outside 64-bit mode; part of the jump-cache key there. */
  codeEpoch: 0x1964,
  /** Base, limit and mode of CS when the epoch changed last. */
  codeBase: 0x1968,
  codeLimit: 0x1970,
  codeEpochMode: 0x1978,
  /**
   * The last reading of the machine's clock in ns (f64), the instructions retired then (i64), for how many more of them
   * it may be extrapolated (i64; 0: not at all) and how long each takes in ns (f64).
   */
  clockNs: 0x1900,
  clockRetired: 0x1908,
  clockWindow: 0x1910,
  clockNsPerInstruction: 0x1918,
  /** The latest time that the guest was told, f64: it never gets an earlier one. */
  toldNs: 0x1920,
} as const

/** Names of the engine's counters in the order of their place. */
export const counterNames = [
  'tlb-misses',
  'jump-cache-misses',
  'exceptions',
  'interrupts',
  'code-writes',
  'tlb-flushes',
  'device-accesses',
  'system-calls',
  'page-faults',
] as const
export type CounterName = (typeof counterNames)[number]
export function counterOffset(name: CounterName): number {
  return EngineState.counters + 8 * counterNames.indexOf(name)
}

/**
 * A decoded instruction: 32 bytes.
 *
 * Registers are byte offsets into the state, so that reading one is one load. `count` is the number of instructions
 * from the block's start to this one, both included: a taken branch charges it. Direct branches have no memory operand
 * and no third register, and keep their link there.
 */
export const RECORD_BYTES = 32
export const RecordField = {
  handler: 0,
  start: 2,
  length: 4,
  count: 5,
  /** State offsets of up to three register operands. */
  register0: 6,
  register1: 8,
  base: 10,
  index: 12,
  /** Bits 0-1: scale; bit 7: 32-bit address. */
  scale: 14,
  /** State offset of the segment's base, divided by 8; outside 64-bit mode the segment's number. */
  segment: 15,
  displacement: 16,
  register2: 20,
  /** Record of the branch target, 0 if not linked. Same place as register2. */
  link: 20,
  /** Immediate; for direct branches the target minus the page's linear address. */
  immediate: 24,
} as const
/** Registers by operand position. */
export const registerFields: readonly number[] = [
  RecordField.register0,
  RecordField.register1,
  RecordField.register2,
]

/** Most instructions in a block; near the end of the budget blocks are cut shorter. */
export const MAX_BLOCK_INSTRUCTIONS = 64

/** Room for the longest block with its guard and chain. */
export const BLOCK_ROOM: number = (MAX_BLOCK_INSTRUCTIONS + 3) * RECORD_BYTES
/** Blocks that were cut to length: one place for each vCPU, in front of the arena's halves. */
export const LIMITED_END: number = ARENA_OFFSET + MAX_VCPUS * BLOCK_ROOM

/** Handlers that are not instructions. */
export const Handler = {
  /** The record was dropped (its code was written to): look the code up again. */
  resync: 0,
  /** End of a block that goes on in the next one: a branch that is no instruction. */
  chain: 1,
  /** First record of a block whose instruction crosses into the next page: checks that this is still the same page. */
  guard: 2,
  /** End of a block that was cut short: look at events. */
  stop: 3,
  /** Not decodable, or no such form: #UD. */
  undefined: 4,
  /** An instruction longer than 15 bytes: #GP(0). */
  tooLong: 5,
  /** A debugger's breakpoint. */
  breakpoint: 6,
  /**
   * Entry of a compiled region: its place in the table is `displacement`, the budget that it needs `immediate`, and the
   * first record of the decoded block, for when there is less, `link`.
   */
  region: 7,
  first: 8,
} as const
