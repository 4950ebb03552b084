/**
 * The register state in which a boot protocol wants the vCPU, and the tables in memory that go with it.
 *
 * Linux/x86 boot protocol, "64-bit boot protocol"; Xen "x86/HVM direct boot ABI" (PVH). All segments are flat (base 0,
 * limit 4 GiB); descriptors are in the GDT, so loading a selector again changes nothing. Page tables map the first 4 GiB
 * one to one with 2 MiB pages, which every x86-64 CPU has (1 GiB pages are optional).
 */

/** Long mode, paging on, interrupts off: for `startup_64`. All registers not named are zero. */
export interface Long64State {
  readonly mode: 'long64'
  /** Guest-physical and, the map being one to one, linear. */
  readonly rip: number
  /** `boot_params`. */
  readonly rsi: number
  readonly rsp: number
  readonly rflags: number
  readonly cr0: number
  readonly cr3: number
  readonly cr4: number
  readonly efer: number
  readonly gdt: { readonly base: number; readonly limit: number }
  /** `ds` also goes into ES and SS; FS and GS are null. `tr` is a busy 64-bit TSS with base 0 and limit 0x67. */
  readonly selectors: { readonly cs: number; readonly ds: number; readonly tr: number }
}

/** 32-bit protected mode, paging off, interrupts off: for the PVH entry. All registers not named are zero. */
export interface Protected32State {
  readonly mode: 'protected32'
  readonly rip: number
  /** `hvm_start_info`. */
  readonly rbx: number
  readonly rflags: number
  readonly cr0: number
  readonly cr4: number
  readonly efer: number
  readonly gdt: { readonly base: number; readonly limit: number }
  /** As in `Long64State`; the TSS is a busy 32-bit one. */
  readonly selectors: { readonly cs: number; readonly ds: number; readonly tr: number }
}

/** What the vCPU must look like when it starts. */
export type InitialState = Long64State | Protected32State

const CR0_PE = 1 << 0
const CR0_ET = 1 << 4
const CR0_NE = 1 << 5
const CR0_PG = 0x8000_0000
const CR4_PAE = 1 << 5
const EFER_LME = 1 << 8
const EFER_LMA = 1 << 10
const RFLAGS_FIXED = 1 << 1

/** Selectors that the boot protocol prescribes (__BOOT_CS, __BOOT_DS), and a task register behind them. */
const BOOT_SELECTORS = { cs: 0x10, ds: 0x18, tr: 0x20 } as const

// Descriptors: limit 0xfffff in pages, base 0, present, accessed.
const CODE_64 = 0x00af9b000000ffffn
const CODE_32 = 0x00cf9b000000ffffn
const DATA = 0x00cf93000000ffffn
const TSS_BUSY = 0x00008b0000000067n // a 64-bit one takes the next entry too, which is zero

const PAGE_BYTES = 4096
const PAGE_PRESENT_WRITABLE = 0b11
const PAGE_LARGE = 1 << 7

/** PML4, PDPT, four page directories. */
const PAGE_TABLES_BYTES = 6 * PAGE_BYTES

/** Page tables for the first 4 GiB, one to one, to be placed at `base`; the PML4 is the first page. */
export function identityPageTables(base: number): Uint8Array {
  const bytes = new Uint8Array(PAGE_TABLES_BYTES)
  const view = new DataView(bytes.buffer)
  const entry = (at: number, low: number): void => view.setUint32(at, low, true) // all addresses are below 4 GiB
  entry(0, (base + PAGE_BYTES) | PAGE_PRESENT_WRITABLE)
  for (let gigabyte = 0; gigabyte < 4; gigabyte++) {
    entry(PAGE_BYTES + gigabyte * 8, (base + (2 + gigabyte) * PAGE_BYTES) | PAGE_PRESENT_WRITABLE)
  }
  for (let page = 0; page < 2048; page++) {
    entry(2 * PAGE_BYTES + page * 8, ((page << 21) | PAGE_PRESENT_WRITABLE | PAGE_LARGE) >>> 0)
  }
  return bytes
}

/** The descriptor table of both states: two nulls, code, data, TSS (16 bytes). */
export function bootGdt(mode: InitialState['mode']): Uint8Array {
  const bytes = new Uint8Array(6 * 8)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(BOOT_SELECTORS.cs, mode === 'long64' ? CODE_64 : CODE_32, true)
  view.setBigUint64(BOOT_SELECTORS.ds, DATA, true)
  view.setBigUint64(BOOT_SELECTORS.tr, TSS_BUSY, true)
  return bytes
}

/** State for the 64-bit entry. */
export function long64State(placed: {
  rip: number
  rsi: number
  rsp: number
  pageTables: number
  gdt: number
}): Long64State {
  return {
    mode: 'long64',
    rip: placed.rip,
    rsi: placed.rsi,
    rsp: placed.rsp,
    rflags: RFLAGS_FIXED,
    cr0: CR0_PG + (CR0_PE | CR0_ET | CR0_NE),
    cr3: placed.pageTables,
    cr4: CR4_PAE,
    efer: EFER_LME | EFER_LMA,
    gdt: { base: placed.gdt, limit: 6 * 8 - 1 },
    selectors: BOOT_SELECTORS,
  }
}

/** State for the PVH entry. */
export function protected32State(placed: { rip: number; startInfo: number; gdt: number }): Protected32State {
  return {
    mode: 'protected32',
    rip: placed.rip,
    rbx: placed.startInfo,
    rflags: RFLAGS_FIXED,
    cr0: CR0_PE | CR0_ET,
    cr4: 0,
    efer: 0,
    gdt: { base: placed.gdt, limit: 6 * 8 - 1 },
    selectors: BOOT_SELECTORS,
  }
}
