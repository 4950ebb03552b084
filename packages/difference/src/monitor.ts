/**
 * What cases run under on an emulated CPU: page tables, descriptor tables and handlers that stand for an operating
 * system. User code has the map of machine-image.ts; every exception arrives at a HLT of its own in ring 0. The
 * system lies in the upper half of the address space, at SYSTEM_BASE, so that the lower half holds what it holds in a
 * process of the host: nothing else.
 *
 * Guest-physical memory, all of it supervisor memory but the last four pages:
 *
 *     1000  PML4     2000  PDPT and 3000  PD of the lower half     5000  PT of CODE and WINDOW
 *     6000  PDPT and 7000  PD of the upper half     4000  PT of SYSTEM_BASE
 *     8000  GDT      9000  IDT      A000  TSS    B000  handlers             D000  ring-0 stack (one page)
 *    10000  CODE    11000  WINDOW (three pages)
 */
import { CODE_BASE, FS_BASE, GS_BASE, type MachineImage, WINDOW_BASE } from './machine-image.ts'

const PML4 = 0x1000
const PDPT = 0x2000
const PD = 0x3000
const PT_LOW = 0x4000
const PT_USER = 0x5000
const PDPT_HIGH = 0x6000
const PD_HIGH = 0x7000
/** Linear address of guest-physical address 0, for the system alone. */
export const SYSTEM_BASE = 0xffff_9000_0000_0000n
const GDT = 0x8000
const IDT = 0x9000
const TSS = 0xa000
export const GDT_BASE: bigint = SYSTEM_BASE + BigInt(GDT)
export const IDT_BASE: bigint = SYSTEM_BASE + BigInt(IDT)
export const TSS_BASE: bigint = SYSTEM_BASE + BigInt(TSS)
const HANDLERS: bigint = SYSTEM_BASE + 0xb000n
const STACK_TOP: bigint = SYSTEM_BASE + 0xe000n
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
export const Selector = {
  kernelCode: 0x10,
  userCode32: 0x23,
  userStack: 0x2b,
  userCode: 0x33,
  tss: 0x40,
} as const

/** A segment register of a user program. Attributes as `SegmentState` of the vCPU's saved form has them, 0 for a null selector. */
export interface UserSegment {
  readonly selector: number
  readonly base: bigint
  readonly limit: number
  readonly attributes: number
}

/** ES, CS, SS, DS, FS and GS at the start of a case. */
export function userSegments(image: MachineImage): readonly UserSegment[] {
  const { mode, segmentBase: base } = image
  const { cs, ss, ds } = image.selectors
  const limit = mode === 16 ? 0xffff : 0xffff_ffff
  const size = mode === 64 ? 0xa000 : mode === 32 ? 0xc000 : 0
  const flat = mode === 16 ? 0 : 0xc000
  const data = { selector: ds, base, limit, attributes: 0xf3 | flat }
  const none = { selector: 0, base: 0n, limit: 0, attributes: 0 }
  return [
    mode === 64 ? none : data,
    { selector: cs, base, limit, attributes: 0xfb | size },
    { selector: ss, base, limit, attributes: 0xf3 | flat },
    mode === 64 ? none : data,
    { ...none, base: FS_BASE },
    { ...none, base: GS_BASE },
  ]
}

/** Guest-physical address of a linear one in CODE or WINDOW. */
export function physicalAddress(linear: bigint): number {
  return Number(linear) - (linear < WINDOW_BASE ? Number(CODE_BASE) - CODE : Number(WINDOW_BASE) - WINDOW)
}

/** The vector whose handler ends at `rip` (behind its HLT) or starts there, or undefined. */
export function handlerVector(rip: bigint): number | undefined {
  const offset = rip - HANDLERS
  return offset >= 0n && offset < 512n ? Number(offset >> 4n) : undefined
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
  const indexOf = (linear: bigint, level: number): number =>
    Number((linear >> BigInt(12 + 9 * (level - 1))) & 0x1ffn)

  quad(PML4, BigInt(PDPT) | present | writable | user | used)
  quad(PDPT, BigInt(PD) | present | writable | user | used)
  quad(PML4 + 8 * indexOf(SYSTEM_BASE, 4), BigInt(PDPT_HIGH) | present | writable | used)
  quad(PDPT_HIGH + 8 * indexOf(SYSTEM_BASE, 3), BigInt(PD_HIGH) | present | writable | used)
  quad(PD_HIGH + 8 * indexOf(SYSTEM_BASE, 2), BigInt(PT_LOW) | present | writable | used)
  quad(PD + 8 * indexOf(CODE_BASE, 2), BigInt(PT_USER) | present | writable | user | used)
  for (let page = 0; page < 16; page++)
    quad(PT_LOW + 8 * page, BigInt(page << 12) | present | writable | used)
  const map = (linear: bigint, physical: number, flags: bigint): void =>
    quad(PT_USER + 8 * indexOf(linear, 1), BigInt(physical) | present | user | used | flags)
  const noExecute = 1n << 63n
  map(CODE_BASE, CODE, 0n)
  map(WINDOW_BASE, WINDOW, writable | noExecute)
  map(WINDOW_BASE + 0x1000n, WINDOW + 0x1000, writable | noExecute)
  map(WINDOW_BASE + 0x2000n, WINDOW + 0x2000, noExecute)

  quad(GDT + Selector.kernelCode, 0x00af_9b00_0000_ffffn)
  quad(GDT + 0x18, 0x00cf_9300_0000_ffffn)
  quad(GDT + (Selector.userCode32 & ~7), 0x00cf_fb00_0000_ffffn)
  quad(GDT + (Selector.userStack & ~7), 0x00cf_f300_0000_ffffn)
  quad(GDT + (Selector.userCode & ~7), 0x00af_fb00_0000_ffffn)
  const part = (value: bigint, low: bigint, bits: number): bigint => BigInt.asUintN(bits, value >> low)
  quad(
    GDT + Selector.tss,
    0x8b00_0000_0000n | (part(TSS_BASE, 0n, 24) << 16n) | (part(TSS_BASE, 24n, 8) << 56n) | BigInt(TSS_LIMIT),
  )
  quad(GDT + Selector.tss + 8, TSS_BASE >> 32n)
  for (let vector = 0; vector < 32; vector++) {
    const handler = HANDLERS + BigInt(16 * vector)
    bytes[Number(handler - SYSTEM_BASE)] = HLT
    const dpl = vector === 3 || vector === 4 ? 3n : 0n
    const attributes = 0x8en | (dpl << 5n)
    quad(
      IDT + 16 * vector,
      part(handler, 0n, 16) |
        (BigInt(Selector.kernelCode) << 16n) |
        (attributes << 40n) |
        (part(handler, 16n, 16) << 48n),
    )
    quad(IDT + 16 * vector + 8, handler >> 32n)
  }
  quad(TSS + 4, STACK_TOP)
  bytes.fill(INT3, CODE, CODE + 0x1000)
  return bytes
}
