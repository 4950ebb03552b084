/**
 * A backend whose vCPU executes a list of made-up instructions, one at a time and exactly counted, for tests of what
 * drives a vCPU. It keeps the contract: accesses leave with an exit and are completed by the next `run`, budgets are
 * exact, interrupts are taken between instructions.
 */
import type { Clock } from '@trapframe/core'
import {
  type Backend,
  type BackendCapabilities,
  ExitReason,
  type ExitRecord,
  type TimeSource,
  type Vcpu,
  type VcpuState,
  type Vm,
  type VmOptions,
} from '@trapframe/cpu'
import { sampleState } from './sample-state.ts'

/** One instruction. `acc` is the only register; interrupts push the program counter and clear IF. */
export type FakeOp =
  | readonly ['nop' | 'hlt' | 'sti' | 'cli' | 'iret' | 'triple' | 'undefined']
  | readonly ['out' | 'mmio-write', address: number, sizeBytes: number, value: number]
  | readonly ['out-acc', port: number]
  | readonly ['in' | 'mmio-read', address: number, sizeBytes: number]
  | readonly ['wrmsr', index: number, value: number]
  | readonly ['rdmsr', index: number]
  | readonly ['set' | 'add', value: number]
  | readonly ['jump' | 'jump-if-zero', target: number]
  | readonly ['store', guestPhysical: number]
  | readonly ['cr8', value: number]

export interface FakeProgram {
  readonly ops: readonly FakeOp[]
  /** Program counter of the handler of each vector. */
  readonly handlers?: Readonly<Record<number, number>>
}

export class FakeVcpu implements Vcpu {
  readonly id = 0
  readonly exit: ExitRecord = { address: 0, sizeBytes: 0, value: 0, valueHigh: 0, fault: false }
  readonly metrics = { read: () => ({}) }
  instructionsRetired = 0
  taskPriority = 0
  pc = 0
  acc = 0
  stack: number[] = []
  interruptsOn = false
  halted = false
  /** General protection faults that answered MSR exits. */
  faults = 0
  /** Vectors in the order in which they were taken, with the count at which. */
  taken: { vector: number; at: number }[] = []
  onRun: () => void = () => {}
  readonly #program: FakeProgram
  readonly #options: VmOptions
  readonly #clock: Clock
  #skippedNs = 0
  #pending = -1
  #nmi = false
  #windowWanted = false
  #kicked = false
  #answered = false
  #breakpoints: readonly bigint[] = []
  #base: VcpuState = sampleState()
  readonly debug

  constructor(program: FakeProgram, options: VmOptions) {
    this.#program = program
    this.#options = options
    const time: TimeSource = options.time
    this.#clock =
      time.kind === 'real' ? time.clock : { nowNs: () => this.instructionsRetired + this.#skippedNs }
    this.debug = {
      singleStep: false,
      setBreakpoints: (addresses: readonly bigint[]) => {
        this.#breakpoints = addresses
      },
      translate: (linear: bigint) => (linear < 0x1000_0000n ? Number(linear) : undefined),
    }
  }

  run(instructions: number): ExitReason {
    this.onRun()
    this.exit.fault &&= this.#answered
    const end = this.instructionsRetired + instructions
    while (this.instructionsRetired < end) {
      if (this.#kicked) {
        this.#kicked = false
        return ExitReason.kicked
      }
      if (!this.#answered) {
        if (this.#nmi) {
          this.#nmi = false
          this.#enter(2)
        } else if (this.#pending >= 0) {
          const vector = this.#pending
          this.#pending = -1
          this.#enter(vector)
        }
        if (this.#windowWanted && this.interruptible) return ExitReason.interruptWindow
        if (this.halted) return ExitReason.halted
        if (this.#breakpoints.includes(BigInt(this.pc))) {
          this.exit.value = 1
          return ExitReason.debug
        }
      }
      const reason = this.#execute()
      if (reason !== undefined) return reason
      if (this.debug.singleStep) {
        this.exit.value = 0
        return ExitReason.debug
      }
    }
    return ExitReason.budget
  }

  #enter(vector: number): void {
    this.taken.push({ vector, at: this.instructionsRetired })
    this.stack.push(this.pc)
    this.pc = this.#program.handlers?.[vector] ?? this.#program.ops.length
    this.interruptsOn = false
    this.halted = false
  }

  /** Executes the instruction at `pc`; an access leaves first and is executed again with its answer. */
  #execute(): ExitReason | undefined {
    const op = this.#program.ops[this.pc]
    if (op === undefined || op[0] === 'undefined') return ExitReason.unsupported
    const access = ACCESS[op[0]]
    if (access !== undefined && !this.#answered) {
      const { exit } = this
      exit.address = op[1] as number
      exit.sizeBytes = op[0].endsWith('msr') ? 8 : ((op[2] as number | undefined) ?? 1)
      exit.value =
        op[0] === 'out-acc'
          ? this.acc
          : op[0] === 'wrmsr'
            ? (op[2] as number)
            : ((op[3] as number | undefined) ?? 0)
      exit.valueHigh = 0
      exit.fault = false
      this.#answered = true
      return access
    }
    this.#answered = false
    this.instructionsRetired++
    let next = this.pc + 1
    switch (op[0]) {
      case 'in':
      case 'mmio-read':
      case 'rdmsr':
        this.acc = this.exit.value
        break
      case 'set':
        this.acc = op[1]
        break
      case 'add':
        this.acc = (this.acc + op[1]) >>> 0
        break
      case 'jump':
        next = op[1]
        break
      case 'jump-if-zero':
        if (this.acc === 0) next = op[1]
        break
      case 'store':
        this.#options.memory.writeU32(op[1], this.acc)
        break
      case 'cr8':
        this.taskPriority = op[1]
        break
      case 'sti':
        this.interruptsOn = true
        break
      case 'cli':
        this.interruptsOn = false
        break
      case 'iret':
        next = this.stack.pop()!
        this.interruptsOn = true
        break
      case 'hlt':
        this.halted = true
        break
      case 'triple':
        this.instructionsRetired--
        return ExitReason.shutdown
    }
    if (op[0].endsWith('msr') && this.exit.fault) this.faults++
    this.pc = next
    return undefined
  }

  kick(): void {
    this.#kicked = true
  }
  nowNs(): number {
    return this.#clock.nowNs()
  }
  skipTimeNs(ns: number): void {
    if (this.#options.time.kind === 'virtual') this.#skippedNs += ns
  }
  get interruptible(): boolean {
    return this.interruptsOn && this.#pending < 0
  }
  injectInterrupt(vector: number): void {
    if (!this.interruptible) throw new Error(`vector ${vector} injected while not interruptible`)
    this.#pending = vector
  }
  injectNmi(): void {
    this.#nmi = true
  }
  requestInterruptWindow(wanted: boolean): void {
    this.#windowWanted = wanted
  }

  save(): VcpuState {
    if (this.#answered) throw new Error('saved in the middle of an instruction')
    return {
      ...this.#base,
      rip: BigInt(this.pc),
      gpr: [
        BigInt(this.acc),
        ...this.stack.map(BigInt),
        ...Array.from({ length: 15 - this.stack.length }, () => -1n),
      ],
      rflags: this.interruptsOn ? 0x202n : 2n,
      cr8: this.taskPriority,
      msrs: this.#base.msrs.map(
        ([index, value]) => [index, index === 0x10 ? BigInt(this.nowNs()) : value] as const,
      ),
      events: {
        ...this.#base.events,
        halted: this.halted,
        pendingInterrupt: this.#pending,
        nmiPending: this.#nmi,
      },
      instructionsRetired: this.instructionsRetired,
      skippedNs: this.#skippedNs,
    }
  }

  load(state: VcpuState): void {
    if (state.rip > 0xffff_ffffn) throw new RangeError('rip')
    this.#base = state
    // A boot plan enters at 1 MiB: that is where the program begins.
    this.pc = state.rip === 0x10_0000n ? 0 : Number(state.rip)
    this.acc = Number(state.gpr[0]!)
    this.stack = state.gpr
      .slice(1)
      .filter((value) => value >= 0n && state.rip !== 0x10_0000n)
      .map(Number)
    this.interruptsOn = (state.rflags & 0x200n) !== 0n
    this.halted = state.events.halted
    this.taskPriority = state.cr8
    this.#pending = state.events.pendingInterrupt
    this.#nmi = state.events.nmiPending
    this.#answered = false
    this.instructionsRetired = state.instructionsRetired
    this.#skippedNs = this.#options.time.kind === 'virtual' ? state.skippedNs : 0
  }
}

const ACCESS: Readonly<Record<string, ExitReason | undefined>> = {
  in: ExitReason.pioRead,
  out: ExitReason.pioWrite,
  'out-acc': ExitReason.pioWrite,
  'mmio-read': ExitReason.mmioRead,
  'mmio-write': ExitReason.mmioWrite,
  rdmsr: ExitReason.msrRead,
  wrmsr: ExitReason.msrWrite,
}

export interface FakeBackend extends Backend {
  readonly vcpus: FakeVcpu[]
  closed: number
}

export function fakeBackend(
  program: FakeProgram,
  capabilities: Partial<BackendCapabilities> = {},
): FakeBackend {
  const backend: FakeBackend = {
    vcpus: [],
    closed: 0,
    capabilities: {
      name: 'fake',
      hardwareVirtualization: false,
      instructionCounting: true,
      singleStep: true,
      dirtyLog: false,
      inKernelIrqchip: false,
      ioeventfd: false,
      sharedMemory: false,
      maxRamBytes: 2 ** 30,
      maxVcpus: 1,
      ...capabilities,
    },
    createVm: async (options: VmOptions): Promise<Vm> => ({
      createVcpu() {
        const vcpu = new FakeVcpu(program, options)
        backend.vcpus.push(vcpu)
        return vcpu
      },
      close() {
        backend.closed++
      },
      metrics: { read: () => ({}) },
    }),
  }
  return backend
}
