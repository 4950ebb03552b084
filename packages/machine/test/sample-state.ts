/** A vCPU state with something in every register, for tests. */
import type { SegmentState, VcpuState } from '@trapframe/cpu'

const segment = (selector: number): SegmentState => ({
  selector,
  base: 0n,
  limit: 0xffff_ffff,
  attributes: 0xc093,
})

export function sampleState(): VcpuState {
  return {
    gpr: Array.from({ length: 16 }, (_, n) => 0x1111_0000_0000_0000n + BigInt(n)),
    rip: 0x1000n,
    rflags: 0x202n,
    segments: Array.from({ length: 8 }, (_, n) => segment(n * 8)),
    gdtr: { base: 0x500n, limit: 47 },
    idtr: { base: 0n, limit: 0 },
    cr0: 0x8000_0031n,
    cr2: 0n,
    cr3: 0x9000n,
    cr4: 0x20n,
    cr8: 0,
    dr: [0n, 0n, 0n, 0n, 0xffff_0ff0n, 0x400n],
    msrs: [
      [0x10, 0n],
      [0xc000_0080, 0x500n],
      [0xc000_0102, 0xffff_8880_0000_0000n],
    ],
    fpu: {
      fcw: 0x37f,
      fsw: 0,
      ftw: 0xffff,
      fop: 0,
      fip: 0n,
      fdp: 0n,
      registers: new Uint8Array(80).map((_, n) => n),
      mxcsr: 0x1f80,
      ymm: new Uint8Array(512).map((_, n) => n & 0xff),
      xcr0: 1n,
    },
    events: {
      pendingInterrupt: -1,
      nmiPending: false,
      nmiBlocked: false,
      interruptShadow: false,
      halted: false,
    },
    instructionsRetired: 0,
    skippedNs: 0,
  }
}
