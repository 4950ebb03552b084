/**
 * Layout of the vCPU state that semantics, interpreter, JIT and evaluator share: byte offsets from the state's base.
 * Little endian; i64 fields are 8-byte aligned, vector registers 32-byte aligned.
 *
 * Arithmetic flags are not kept as EFLAGS bits but as three words from which each flag is one or two operations away
 * (see docs: flags). `rflags` holds every other flag (TF, IF, DF, IOPL, NT, RF, VM, AC, VIF, VIP, ID and bit 1).
 *
 *   ZF = result == 0          SF = bit 63 of (result ^ aux)       PF = even parity of the low byte of (result ^ (aux >> 8))
 *   CF = bit 63 of carry      OF = bit 63 of (carry ^ carry << 1) AF = bit 4 of aux
 *
 * `result` is sign-extended from the operand size; `carry` holds the carries (borrows) out of each bit, moved up so
 * that the carry out of the operand's top bit is bit 63; `aux` is zero but for AF, except after an instruction that
 * sets flags to a combination which no result has.
 */

export const State = {
  /** Registers, 8 bytes each: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15. */
  gpr: 0x000,
  /** Always zero: what a missing base, index or segment reads. */
  zero: 0x080,
  /** Instruction pointer. Exact between instructions and after a fault; stale inside a block. */
  rip: 0x088,
  /** Linear address of the page that the running block lies in: RIP-relative operands and CALL start from it. */
  ripPage: 0x090,
  flagsResult: 0x098,
  flagsCarry: 0x0a0,
  flagsAux: 0x0a8,
  rflags: 0x0b0,

  /** Segments ES, CS, SS, DS, FS, GS, LDTR, TR, 16 bytes each: base i64, limit u32, selector u16, attributes u16. */
  segments: 0x0c0,
  gdtrBase: 0x140,
  idtrBase: 0x148,
  gdtrLimit: 0x150,
  idtrLimit: 0x154,

  cr0: 0x158,
  cr2: 0x160,
  cr3: 0x168,
  cr4: 0x170,
  cr8: 0x178,
  efer: 0x180,
  /** DR0 to DR3, DR6, DR7. */
  dr: 0x188,
  star: 0x1b8,
  lstar: 0x1c0,
  cstar: 0x1c8,
  sfmask: 0x1d0,
  kernelGsBase: 0x1d8,
  tscAux: 0x1e0,
  sysenterCs: 0x1e8,
  sysenterEsp: 0x1f0,
  sysenterEip: 0x1f8,
  pat: 0x200,
  xcr0: 0x208,
  /** TSC = time source + tscOffset. */
  tscOffset: 0x210,
  tscAdjust: 0x218,
  miscEnable: 0x220,
  specCtrl: 0x228,
  mtrrDefType: 0x230,
  apicBase: 0x238,
  /** MTRR: 8 variable pairs (base, mask), then 11 fixed ranges. */
  mtrrVariable: 0x240,
  mtrrFixed: 0x2c0,
  /** Value of XSS (0xda0). */
  xss: 0x318,

  /** x87: control, status (TOP in bits 11-13), abridged tags kept as 8 bits (1 = valid), opcode, pointers. */
  fcw: 0x320,
  fsw: 0x324,
  ftw: 0x328,
  fop: 0x32c,
  fip: 0x330,
  fdp: 0x338,
  mxcsr: 0x340,
  /** Current privilege level, 0 to 3. */
  cpl: 0x344,
  /** Vector that SSE instructions raise (6: EM or no OSFXSR, 7: TS), or 0. Kept by `updateFpuAvailability`. */
  sseUnavailable: 0x348,
  /** Vector that x87 instructions raise (7: EM or TS), or 0. Kept by `updateFpuAvailability`. */
  fpuUnavailable: 0x34c,
  /** Second result of the 80-bit procedures: sign and exponent. Means nothing between instructions. */
  f80Exponent: 0x350,
  /** Exception and C1 bits of the x87 instruction that is being executed, at their status-word positions. i32. */
  f80Raised: 0x358,
  /** Physical x87 registers R0 to R7, 16 bytes each: significand i64, then sign and exponent u16. MMn is the significand of Rn. */
  x87: 0x360,
  /** YMM0 to YMM15, 32 bytes each, the XMM register first. */
  ymm: 0x400,

  // Between instructions.
  /** Non-zero while an instruction is being abandoned: see `Fault`. */
  fault: 0x600,
  /** Vector of the exception that is being raised. */
  faultVector: 0x604,
  /** Its error code, or -1 for none. */
  faultErrorCode: 0x608,
  /** Reason of the exit that was asked for (ExitReason of the vCPU contract). */
  exitReason: 0x60c,
  exitAddress: 0x610,
  exitSizeBytes: 0x618,
  exitFault: 0x61c,
  exitValue: 0x620,
  /** Requests from outside, tested at every taken branch: bits of `Request`. */
  request: 0x628,
  /** Instructions that may still retire before `run` must come back; counts down. */
  budget: 0x630,
  /** Instructions retired when budget was set, plus budget: retired = budgetTop - budget. */
  budgetTop: 0x638,
  /** 1: the next instruction is covered by an STI or MOV SS shadow. */
  interruptShadow: 0x640,
  halted: 0x644,
  nmiPending: 0x648,
  nmiBlocked: 0x64c,
  /** Injected external interrupt, or -1. */
  pendingInterrupt: 0x650,
  /** 1: the driver wants to know when an interrupt can be injected. */
  windowWanted: 0x654,
  /** 1: gdb asks for a stop after each instruction. */
  debugStep: 0x658,
  /** Answered accesses of the instruction that is being executed again after an exit: count, and position in it. */
  replayCount: 0x65c,
  replayPosition: 0x660,
  /** Nanoseconds: virtual time that passed without instructions. f64. */
  skippedNs: 0x668,
  /** What the last page walk found: bits of `WalkFlag`. */
  walkFlags: 0x670,
  /** Answered accesses, 8 bytes each. */
  replay: 0x680,
  /** CPUID table: count, then entries of 32 bytes { leaf, subleaf, eax, ebx, ecx, edx, flags (1: subleaf counts), 0 }. */
  cpuidCount: 0x780,
  cpuid: 0x7a0,
  /** Results of procedures that have several; they mean nothing between instructions. See system/stack-switch.ts. */
  switchPointer: 0x17c0,
  switchDescriptor: 0x17c8,
  switchSelector: 0x17d0,
  /** 1: the task that was just switched to has its debug trap flag set. */
  taskTrap: 0x17d4,
  /** Private to the engine (TLB pointers, jump-cache key, counters). */
  engine: 0x1800,
  sizeBytes: 0x2000,
} as const

/** Most CPUID entries that fit. */
export const MAX_CPUID_ENTRIES: number = (State.switchPointer - State.cpuid) >> 5
/** Most answered accesses that one instruction can need (a line of 64 bytes in bytes is the worst: XSAVE goes by 8). */
export const MAX_REPLAY: number = (State.cpuidCount - State.replay) / 8

/** Index of a segment register. */
export const Segment = { es: 0, cs: 1, ss: 2, ds: 3, fs: 4, gs: 5, ldtr: 6, tr: 7 } as const
/** Bytes of a segment register in the state. */
export const SEGMENT_BYTES = 16
/** Offsets in a segment register. */
export const SegmentField = { base: 0, limit: 8, selector: 12, attributes: 14 } as const

/** Offset of a field of a segment register. */
export function segmentOffset(segment: number, field: number): number {
  return State.segments + segment * SEGMENT_BYTES + field
}

/** What `State.fault` holds while an instruction is abandoned. */
export const Fault = { none: 0, exception: 1, exit: 2 } as const

/** What a page walk found, beside the physical address. */
export const WalkFlag = {
  /** Writes are allowed at the privilege of the walk, and the dirty bit is set. */
  writable: 1,
  /** User pages (U/S set at every level). */
  user: 2,
  /** Global: survives a write to CR3. */
  global: 4,
  /** Instructions may be fetched at the privilege of the walk. */
  executable: 8,
} as const

/** Bits of the request word. */
export const Request = {
  /** `kick` was called. */
  kick: 1,
  /** An event may have become deliverable: look again before the next instruction. */
  event: 2,
} as const

/** EFLAGS bits. */
export const Flag = {
  cf: 0x1,
  pf: 0x4,
  af: 0x10,
  zf: 0x40,
  sf: 0x80,
  of: 0x800,
  tf: 0x100,
  if: 0x200,
  df: 0x400,
  iopl: 0x3000,
  nt: 0x4000,
  rf: 0x1_0000,
  vm: 0x2_0000,
  ac: 0x4_0000,
  vif: 0x8_0000,
  vip: 0x10_0000,
  id: 0x20_0000,
} as const
/** The six arithmetic flags. */
export const ARITHMETIC_FLAGS = 0x8d5

/** Exception vectors. */
export const Vector = {
  de: 0,
  db: 1,
  nmi: 2,
  bp: 3,
  of: 4,
  br: 5,
  ud: 6,
  nm: 7,
  df: 8,
  ts: 10,
  np: 11,
  ss: 12,
  gp: 13,
  pf: 14,
  mf: 16,
  ac: 17,
  mc: 18,
  xm: 19,
} as const
