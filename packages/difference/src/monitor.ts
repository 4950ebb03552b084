/**
 * What cases run under on an emulated CPU: page tables, descriptor tables and handlers that stand for an operating
 * system. User code has the map of machine-image.ts; every exception arrives at a HLT of its own in ring 0.
 *
 * Guest-physical memory, all of it supervisor memory but the last four pages:
 *
 *     1000  PML4     2000  PDPT     3000  PD     4000  PT of 0 to 2 MiB     5000  PT of CODE and WINDOW
 *     8000  GDT      9000  IDT      A000  TSS    B000  handlers             D000  ring-0 stack (one page)
 *    10000  CODE    11000  WINDOW (three pages)
 */
import { CODE_BASE, WINDOW_BASE } from './machine-image.ts'

const PML4 = 0x1000
const PDPT = 0x2000
const PD = 0x3000
const PT_LOW = 0x4000
const PT_USER = 0x5000
export const GDT = 0x8000
export const IDT = 0x9000
export const TSS = 0xa000
const HANDLERS = 0xb000
const STACK_TOP = 0xe000
const CODE = 0x1_0000
const WINDOW = 0x1_1000
const HLT = 0xf4
const INT3 = 0xcc

/** RAM that the monitor and the pages of a case need. */
export const MONITOR_RAM_BYTES = 0x20_0000
export const PAGE_TABLES: number = PML4
export const GDT_LIMIT = 0x4f
export const TSS_LIMIT = 0x67
/** Selectors are those of 64-bit programs on Linux, so that instructions which read them agree with the host. */
export const Selector = { kernelCode: 0x10, userStack: 0x2b, userCode: 0x33, tss: 0x40 } as const

/** Guest-physical address of a linear one in CODE or WINDOW. */
export function physicalAddress(linear: bigint): number {
  return Number(linear) - (linear < WINDOW_BASE ? Number(CODE_BASE) - CODE : Number(WINDOW_BASE) - WINDOW)
}

/** The vector whose handler ends at `rip` (behind its HLT) or starts there, or undefined. */
export function handlerVector(rip: bigint): number | undefined {
  const offset = Number(rip) - HANDLERS
  return offset >= 0 && offset < 32 * 16 ? offset >> 4 : undefined
}

/** Vectors that push an error code. */
const withErrorCode = new Set([8, 10, 11, 12, 13, 14, 17, 21])
export function hasErrorCode(vector: number): boolean {
  return withErrorCode.has(vector)
}

/** The first 80 KiB of guest-physical memory. */
export function monitorMemory(): Uint8Array {
  const bytes = new Uint8Array(0x1_4000)
  const view = new DataView(bytes.buffer)
  const quad = (address: number, value: bigint): void => view.setBigUint64(address, value, true)
  const present = 1n
  const writable = 2n
  const user = 4n
  // Accessed and dirty bits are set from the start: they are not what is tested here.
  const used = 0x60n
  const indexOf = (linear: bigint, level: number): number => Number((linear >> BigInt(12 + 9 * (level - 1))) & 0x1ffn)

  quad(PML4, BigInt(PDPT) | present | writable | user | used)
  quad(PDPT, BigInt(PD) | present | writable | user | used)
  quad(PD, BigInt(PT_LOW) | present | writable | used)
  quad(PD + 8 * indexOf(CODE_BASE, 2), BigInt(PT_USER) | present | writable | user | used)
  for (let page = 0; page < 16; page++) quad(PT_LOW + 8 * page, BigInt(page << 12) | present | writable | used)
  const map = (linear: bigint, physical: number, flags: bigint): void =>
    quad(PT_USER + 8 * indexOf(linear, 1), BigInt(physical) | present | user | used | flags)
  const noExecute = 1n << 63n
  map(CODE_BASE, CODE, 0n)
  map(WINDOW_BASE, WINDOW, writable | noExecute)
  map(WINDOW_BASE + 0x1000n, WINDOW + 0x1000, writable | noExecute)
  map(WINDOW_BASE + 0x2000n, WINDOW + 0x2000, noExecute)

  quad(GDT + Selector.kernelCode, 0x00af_9b00_0000_ffffn)
  quad(GDT + 0x18, 0x00cf_9300_0000_ffffn)
  quad(GDT + (Selector.userStack & ~7), 0x00cf_f300_0000_ffffn)
  quad(GDT + (Selector.userCode & ~7), 0x00af_fb00_0000_ffffn)
  quad(GDT + Selector.tss, 0x0000_8b00_0000_0000n | (BigInt(TSS) << 16n) | BigInt(TSS_LIMIT))
  for (let vector = 0; vector < 32; vector++) {
    const handler = HANDLERS + 16 * vector
    bytes[handler] = HLT
    const dpl = vector === 3 || vector === 4 ? 3n : 0n
    quad(IDT + 16 * vector, BigInt(handler) | (BigInt(Selector.kernelCode) << 16n) | ((0x8en | (dpl << 5n)) << 40n))
  }
  quad(TSS + 4, BigInt(STACK_TOP))
  bytes.fill(INT3, CODE, CODE + 0x1000)
  return bytes
}
