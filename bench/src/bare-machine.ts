/**
 * A machine without devices and without an operating system, for one program that is linked like a kernel: 64-bit mode,
 * ring 0, all memory mapped one to one, interrupts off. Intel SDM vol. 3, 4.5 (4-level paging).
 */
import type { SegmentState, VcpuState } from '@trapframe/cpu'
import type { Vmlinux } from '@trapframe/machine'
import { type GuestMemory, guestPhysical } from '@trapframe/memory'

/** At most 1 GiB: one page directory. */
export const BARE_RAM_BYTES = 64 << 20

const PAGE_MAP = 0x1000
const DIRECTORY_POINTERS = 0x2000
const DIRECTORY = 0x3000
const STACK_TOP = 0x1_0000
const PRESENT_WRITABLE = 3
const LARGE = 0x80
const RSP = 4
const EFER = 0xc000_0080
/** LME, LMA. */
const LONG_MODE = 0x500n
/** PG, NE, ET, MP, PE. */
const CR0 = 0x8000_0033n
/** PAE. */
const CR4 = 0x20n

/** Writes page tables and the program. */
export function loadBareProgram(memory: GuestMemory, program: Vmlinux): void {
  const entry = (at: number, value: number): void => memory.writeU64(guestPhysical(at), BigInt(value))
  entry(PAGE_MAP, DIRECTORY_POINTERS | PRESENT_WRITABLE)
  entry(DIRECTORY_POINTERS, DIRECTORY | PRESENT_WRITABLE)
  for (let page = 0; page < BARE_RAM_BYTES >> 21; page++) {
    entry(DIRECTORY + 8 * page, (page << 21) | LARGE | PRESENT_WRITABLE)
  }
  for (const segment of program.segments) memory.write(guestPhysical(segment.guestPhysical), segment.bytes)
}

/** The state in which the program starts. @param reset - what a fresh vCPU's `save` gave */
export function bareProgramState(reset: VcpuState, program: Vmlinux): VcpuState {
  const flat = (selector: number, attributes: number): SegmentState => ({
    selector,
    base: 0n,
    limit: 0xffff_ffff,
    attributes,
  })
  const data = flat(0x10, 0xc093)
  const gpr = reset.gpr.map((_, index) => (index === RSP ? BigInt(STACK_TOP) : 0n))
  return {
    ...reset,
    gpr,
    rip: BigInt(program.entry),
    rflags: 2n,
    segments: [data, flat(0x08, 0xa09b), data, data, data, data, ...reset.segments.slice(6)],
    cr0: CR0,
    cr3: BigInt(PAGE_MAP),
    cr4: CR4,
    msrs: [...reset.msrs.filter(([index]) => index !== EFER), [EFER, LONG_MODE]],
  }
}
