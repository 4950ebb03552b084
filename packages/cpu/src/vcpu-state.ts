/**
 * The architectural state of an x86-64 vCPU in its neutral saved form: it belongs to the architecture, not to a
 * backend. Numbers of up to 32 bits are numbers, wider ones bigints (unsigned).
 */

/** A segment register with its hidden part. */
export interface SegmentState {
  readonly selector: number
  /** Linear address; 64 bits wide for FS, GS and the system segments. */
  readonly base: bigint
  /** Byte-granular limit, expanded when G is set. */
  readonly limit: number
  /**
   * Access rights as VMX and the LAR instruction order them: bits 0-3 type, 4 S, 5-6 DPL, 7 P, 12 AVL, 13 L, 14 D/B,
   * 15 G; bit 16 set: unusable (a null selector).
   */
  readonly attributes: number
}

/** GDTR or IDTR. */
export interface TableState {
  /** Linear address. */
  readonly base: bigint
  /** Last valid offset, in bytes. */
  readonly limit: number
}

/** x87, MMX and vector state. */
export interface FpuState {
  /** Control word. */
  readonly fcw: number
  /** Status word with TOP in bits 11-13. */
  readonly fsw: number
  /** Full tag word, two bits for each physical register. */
  readonly ftw: number
  /** Last opcode, 11 bits. */
  readonly fop: number
  /** Address of the last instruction that was no control instruction. */
  readonly fip: bigint
  /** Address of its memory operand. */
  readonly fdp: bigint
  /** Eight physical registers R0 to R7 of 10 bytes each (80 bytes). */
  readonly registers: Uint8Array
  readonly mxcsr: number
  /** YMM0 to YMM15, 32 bytes each, low half the XMM register (512 bytes). */
  readonly ymm: Uint8Array
  /** Which state XSAVE covers. */
  readonly xcr0: bigint
}

/** Events between instructions. */
export interface EventState {
  /** Injected external interrupt not yet delivered, or -1. */
  readonly pendingInterrupt: number
  /** An NMI waits to be delivered. */
  readonly nmiPending: boolean
  /** Until the next IRET. */
  readonly nmiBlocked: boolean
  /** STI or MOV SS shadow covers the next instruction. */
  readonly interruptShadow: boolean
  /** HLT was executed and nothing has woken the vCPU. */
  readonly halted: boolean
}

/** Everything that a vCPU is, for saving, moving and debugging. Plain data. */
export interface VcpuState {
  /** RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15. */
  readonly gpr: readonly bigint[]
  readonly rip: bigint
  /** With the arithmetic flags as they are now, however the backend keeps them. */
  readonly rflags: bigint
  /** ES, CS, SS, DS, FS, GS, LDTR, TR. */
  readonly segments: readonly SegmentState[]
  readonly gdtr: TableState
  readonly idtr: TableState
  readonly cr0: bigint
  readonly cr2: bigint
  readonly cr3: bigint
  readonly cr4: bigint
  /** Task priority, 0 to 15. */
  readonly cr8: number
  /** DR0 to DR3, DR6, DR7. */
  readonly dr: readonly bigint[]
  /** Model-specific registers by number, EFER and the time stamp counter (0x10) among them. */
  readonly msrs: readonly (readonly [index: number, value: bigint])[]
  /** x87, MMX and vector registers. */
  readonly fpu: FpuState
  /** What is under way between instructions. */
  readonly events: EventState
  /** Instructions retired since creation. */
  readonly instructionsRetired: number
  /** Virtual time that passed without instructions, in nanoseconds; 0 with a real clock. */
  readonly skippedNs: number
}
