/**
 * The vCPU contract: what a backend, a VM and a vCPU are to those who drive them. The emulated CPU and KVM implement
 * it; machine, migration and schedulers use it; `@trapframe/cpu/conformance` tests it.
 *
 * Control flow: the driver calls `run`, which comes back with an exit reason; details are in the one reused `exit`
 * record. After an I/O or MSR exit the driver performs the access, writes the answer into the record and calls `run`
 * again, which completes the instruction. Nothing in the hot loop allocates.
 *
 * Interrupts follow the user-space interrupt-controller protocol: the driver asks `interruptible`, takes the vector
 * from its controller and injects it; where the vCPU cannot take one now, it asks for an `interruptWindow` exit.
 */
import type { Clock, Metrics } from '@trapframe/core'
import type { GuestMemory } from '@trapframe/memory'
import type { CpuidLeaf } from './cpuid.ts'
import type { VcpuState } from './vcpu-state.ts'

/** Why `run` came back. */
export const ExitReason = {
  /** The given number of instructions was executed. */
  budget: 0,
  /** `kick` was called. */
  kicked: 1,
  /** HLT, and no event to wake up for. `run` stays halted until an event is injected. */
  halted: 2,
  /** Port input; the driver writes `exit.value`. */
  pioRead: 3,
  /** Port output of `exit.value`. */
  pioWrite: 4,
  /** Memory read from where there is no RAM; the driver writes `exit.value` and `exit.valueHigh`. */
  mmioRead: 5,
  /** Memory write to where there is no RAM. */
  mmioWrite: 6,
  /** RDMSR of a register that the vCPU does not own; the driver writes the value or sets `exit.fault`. */
  msrRead: 7,
  /** WRMSR of a register that the vCPU does not own; the driver may set `exit.fault`, which raises #GP(0). */
  msrWrite: 8,
  /** The vCPU can take an interrupt now, as asked for by `requestInterruptWindow`. */
  interruptWindow: 9,
  /** Triple fault. The state is that before the faulting instruction. */
  shutdown: 10,
  /** A breakpoint or a completed single step, see `exit.value`: 0 step, 1 breakpoint. */
  debug: 11,
  /** The vCPU cannot go on: an instruction fetch outside RAM, or a form that is not implemented. */
  unsupported: 12,
} as const
export type ExitReason = (typeof ExitReason)[keyof typeof ExitReason]

/** Details of the last exit. One record per vCPU, reused. */
export interface ExitRecord {
  /** Guest-physical address (MMIO), port (PIO), register number (MSR). */
  address: number
  /** Bytes of the access: 1, 2, 4 or 8 (8: MMIO only). */
  sizeBytes: number
  /** Value read or written: low 32 bits, unsigned. */
  value: number
  /** Bits 32 to 63 of an 8-byte access or of an MSR, unsigned. */
  valueHigh: number
  /** Set by the driver to answer an MSR exit with #GP(0). Cleared by `run`. */
  fault: boolean
}

/** What a backend can do. Asking for what is missing fails at creation with a typed error. */
export interface BackendCapabilities {
  /** Such as `emulated`; for messages. */
  readonly name: string
  /** Executes on silicon. */
  readonly hardwareVirtualization: boolean
  /** Counts retired instructions exactly: budgets are exact and virtual time is possible. */
  readonly instructionCounting: boolean
  /** `VcpuDebug.singleStep` and breakpoints work. */
  readonly singleStep: boolean
  /** Writes of vCPUs show in dirty tracking. */
  readonly dirtyLog: boolean
  /** Interrupt controllers can be served below `run`. */
  readonly inKernelIrqchip: boolean
  /** Posted writes can become events of the host without an exit. */
  readonly ioeventfd: boolean
  /** Guest RAM may lie in memory shared between threads. */
  readonly sharedMemory: boolean
  /** Most guest RAM in bytes. */
  readonly maxRamBytes: number
  /** Most vCPUs in one VM. */
  readonly maxVcpus: number
}

/**
 * Where the guest's time stamp counter comes from.
 *
 * - `real`: TSC = nowNs x tscHz / 10^9.
 * - `virtual`: one retired instruction takes one nanosecond; the driver adds idle time with `Vcpu.skipTimeNs`.
 */
export type TimeSource = { readonly kind: 'real'; readonly clock: Clock } | { readonly kind: 'virtual' }

/** What a VM is made of. */
export interface VmOptions {
  /** RAM of the guest, which the VM reads and writes in place. */
  readonly memory: GuestMemory
  /** What CPUID answers, for each vCPU the same but for its APIC id. */
  readonly cpuid: readonly CpuidLeaf[]
  /** Where the time stamp counter comes from. */
  readonly time: TimeSource
  /** Frequency of the time stamp counter. In virtual time 10^9: an instruction is a tick. */
  readonly tscHz: number
}

/** What executes guests. One object makes any number of VMs. */
export interface Backend {
  /** What it can do, known before anything is made. */
  readonly capabilities: BackendCapabilities
  /**
   * Makes a VM without vCPUs. @throws TrapframeError with a code of the backend's own when an option cannot
   * be met
   */
  createVm(options: VmOptions): Promise<Vm>
}

/** A guest as its backend holds it: memory, and vCPUs that share it. */
export interface Vm {
  /** Creates vCPU `id` (its initial APIC id) in its reset state. */
  createVcpu(id: number): Vcpu
  /** Frees everything that the VM holds. No vCPU may be used afterwards. */
  close(): void
  /** Counters that belong to no single vCPU. */
  readonly metrics: Metrics
}

/** A virtual processor. All but `kick` is called from the thread that runs it, and not during `run`. */
export interface Vcpu {
  /** Its initial APIC id. */
  readonly id: number
  /**
   * Runs until an exit.
   * @param instructions - most instructions to retire; exact where `instructionCounting` is declared, advisory elsewhere
   */
  run(instructions: number): ExitReason
  /** Details of the last exit; the driver writes answers here before it calls `run` again. */
  readonly exit: ExitRecord
  /** Ends a `run` under way, or the next one, with `kicked`. From any thread. */
  kick(): void
  /** Instructions retired since creation, each iteration of a REP string instruction counted as one. */
  readonly instructionsRetired: number
  /** Guest time in nanoseconds: the clock's, or instructions retired plus what was skipped. */
  nowNs(): number
  /** Lets virtual time pass without instructions (an idle guest). No effect with a real clock. */
  skipTimeNs(ns: number): void

  /** Whether an external interrupt can be injected now: IF set, no shadow, no event pending. */
  readonly interruptible: boolean
  /** Injects external interrupt `vector`; it is delivered before the next instruction. Requires `interruptible`. */
  injectInterrupt(vector: number): void
  /** Injects a non-maskable interrupt; it is held back while one is being served. */
  injectNmi(): void
  /** Asks for an `interruptWindow` exit as soon as the vCPU becomes interruptible, until called with false. */
  requestInterruptWindow(wanted: boolean): void
  /** CR8, the task priority that the guest set by MOV CR8. */
  taskPriority: number

  /**
   * The whole architectural state. Shares no memory with the vCPU. Not between an access exit and its
   * completion.
   */
  save(): VcpuState
  /** Replaces the whole architectural state. @throws StateError on a value that the architecture does not allow */
  load(state: VcpuState): void

  /** For debuggers. */
  readonly debug: VcpuDebug
  /** Counters of this vCPU. */
  readonly metrics: Metrics
}

/** What a debugger needs. */
export interface VcpuDebug {
  /** `run` ends with `debug` after one instruction. */
  singleStep: boolean
  /** Software breakpoints at linear addresses; `run` ends with `debug` before the instruction there. */
  setBreakpoints(addresses: readonly bigint[]): void
  /** Guest-physical address of a linear one, by the current page tables, without side effects; undefined when not mapped. */
  translate(linear: bigint): number | undefined
}
