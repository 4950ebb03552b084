/**
 * A guest without an operating system, for tests of a vCPU: 64-bit mode, ring 0, the first 16 MiB of linear addresses
 * mapped to themselves, a GDT with ring-0 and ring-3 segments, a TSS, and an IDT whose entries the test fills.
 */
import type { GuestMemory } from '@trapframe/memory'
import type { SegmentState, VcpuState } from '../vcpu-state.ts'

/** Where things are in guest memory. */
export const BareGuest = {
  gdt: 0x1000,
  idt: 0x2000,
  tss: 0x3000,
  /** Page-map level 4; further tables follow. The page directory's 8 entries of 2 MiB are at `directory`. */
  pageMap: 0x4000,
  directoryPointers: 0x5000,
  directory: 0x6000,
  /** Page table of the first 2 MiB: 512 pages of 4 KiB, so that tests can change single pages. */
  table: 0x7000,
  /** Top of the ring-0 stack, and of the one that an interrupt from ring 3 gets. */
  stackTop: 0x2_0000,
  interruptStackTop: 0x3_0000,
  code: 0x4_0000,
  /** Free for data: to 0x200000. */
  data: 0x10_0000,
  /** Linear and guest-physical address where there is no RAM: mapped, for device accesses. */
  device: 0xc0_0000,
  /** Present mapping without RAM behind: RAM of a bare guest ends here. */
  ramBytes: 0xc0_0000,
} as const

export const Selector = { code: 0x08, data: 0x10, userData: 0x1b, userCode: 0x23, tss: 0x28 } as const

const PRESENT_WRITABLE_USER = 7n
const LARGE = 0x80n

/** Writes the tables. */
export function prepareBareGuest(memory: GuestMemory): void {
  const w = (at: number, value: bigint): void => memory.writeU64(at, BigInt.asUintN(64, value))
  w(BareGuest.pageMap, BigInt(BareGuest.directoryPointers) | PRESENT_WRITABLE_USER)
  w(BareGuest.directoryPointers, BigInt(BareGuest.directory) | PRESENT_WRITABLE_USER)
  w(BareGuest.directory, BigInt(BareGuest.table) | PRESENT_WRITABLE_USER)
  for (let i = 1; i < 8; i++)
    w(BareGuest.directory + 8 * i, (BigInt(i) << 21n) | LARGE | PRESENT_WRITABLE_USER)
  for (let i = 0; i < 512; i++) w(BareGuest.table + 8 * i, (BigInt(i) << 12n) | PRESENT_WRITABLE_USER)
  const descriptors = [
    0n,
    0x00af_9b00_0000_ffffn,
    0x00cf_9300_0000_ffffn,
    0x00cf_f300_0000_ffffn,
    0x00af_fb00_0000_ffffn,
  ]
  descriptors.forEach((descriptor, index) => w(BareGuest.gdt + 8 * index, descriptor))
  w(BareGuest.gdt + Selector.tss, 0x0000_8b00_0000_0067n | (BigInt(BareGuest.tss) << 16n))
  w(BareGuest.gdt + Selector.tss + 8, 0n)
  w(BareGuest.tss + 4, BigInt(BareGuest.interruptStackTop))
}

/** Points vector `vector` at `handler`; ring 3 may use it by INT n. */
export function setGate(memory: GuestMemory, vector: number, handler: number): void {
  const at = BareGuest.idt + 16 * vector
  memory.writeU64(
    at,
    BigInt(handler & 0xffff) |
      (BigInt(Selector.code) << 16n) |
      (0xee00n << 32n) |
      (BigInt(handler >>> 16) << 48n),
  )
  memory.writeU64(at + 8, 0n)
}

/** State of a vCPU about to execute at `rip`. @param reset - what a fresh vCPU's `save` gave */
export function bareState(reset: VcpuState, rip: number = BareGuest.code): VcpuState {
  const segment = (selector: number, attributes: number): SegmentState => ({
    selector,
    base: 0n,
    limit: 0xffff_ffff,
    attributes,
  })
  const data = segment(Selector.data, 0xc093)
  const none: SegmentState = { selector: 0, base: 0n, limit: 0, attributes: 0x1_0000 }
  const gpr = Array.from({ length: 16 }, () => 0n)
  gpr[4] = BigInt(BareGuest.stackTop)
  const efer = 0xc000_0080
  return {
    ...reset,
    gpr,
    rip: BigInt(rip),
    rflags: 2n,
    segments: [
      data,
      segment(Selector.code, 0xa09b),
      data,
      data,
      data,
      data,
      none,
      { selector: Selector.tss, base: BigInt(BareGuest.tss), limit: 0x67, attributes: 0x8b },
    ],
    gdtr: { base: BigInt(BareGuest.gdt), limit: 0x37 },
    idtr: { base: BigInt(BareGuest.idt), limit: 0xfff },
    cr0: 0x8001_0033n,
    cr2: 0n,
    cr3: BigInt(BareGuest.pageMap),
    cr4: 0x620n,
    msrs: [...reset.msrs.filter(([index]) => index !== efer), [efer, 0xd01n]],
    events: {
      pendingInterrupt: -1,
      nmiPending: false,
      nmiBlocked: false,
      interruptShadow: false,
      halted: false,
    },
  }
}
