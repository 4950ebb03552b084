// The reference evaluator behind the vCPU contract, for tests: the conformance kit runs on it, and machines run beside
// machines of other backends. One vCPU, RAM below the hole, virtual time; writes tell neither dirty clients nor code
// caches.
import {
  type Backend,
  ExitReason,
  type ExitRecord,
  type Vcpu,
  type VcpuState,
  type VmOptions,
} from '@trapframe/cpu'
import { ENGINE_OFFSET, RAM_OFFSET } from '@trapframe/memory'
import { createEvaluator, ENGINE_STATE_BYTES, type Evaluator, Flag, Request, State } from '@trapframe/x86'
import { loadVcpuState, resetState, saveVcpuState } from '../../backends/emulated/src/state-transfer.ts'
import { translateLinear } from '../../backends/emulated/src/translate-linear.ts'

export function evaluatorBackend(): Backend {
  return {
    capabilities: {
      name: 'evaluator',
      hardwareVirtualization: false,
      instructionCounting: true,
      singleStep: true,
      dirtyLog: false,
      inKernelIrqchip: false,
      ioeventfd: false,
      sharedMemory: false,
      maxRamBytes: 0x4000_0000,
      maxVcpus: 1,
    },
    createVm: (options) =>
      Promise.resolve({
        createVcpu: (id) => new EvaluatorVcpu(id, options),
        close: () => {},
        metrics: { read: () => ({}) },
      }),
  }
}

export class EvaluatorVcpu implements Vcpu {
  readonly id: number
  readonly exit: ExitRecord = { address: 0, sizeBytes: 0, value: 0, valueHigh: 0, fault: false }
  readonly debug: Vcpu['debug']
  readonly metrics: Vcpu['metrics'] = { read: () => ({}) }
  readonly evaluator: Evaluator
  readonly #view: DataView
  readonly #ticksPerNs: number
  readonly #virtual: boolean
  readonly #now: () => number
  #answering = false
  #breakpoints: ReadonlySet<bigint> = new Set()
  #singleStep = false

  constructor(id: number, { memory, cpuid, time, tscHz }: VmOptions) {
    if (memory.highBytes > 0) throw new RangeError('the evaluator has RAM below the hole only')
    this.id = id
    this.#ticksPerNs = tscHz / 1e9
    this.#virtual = time.kind === 'virtual'
    this.#now = time.kind === 'real' ? () => time.clock.nowNs() : () => 0
    const { buffer } = memory.memory
    this.evaluator = createEvaluator({
      memory: { buffer, stateOffset: ENGINE_OFFSET, ramOffset: RAM_OFFSET, ramBytes: memory.lowBytes },
      cpuid,
      timeStamp: () => this.#ticks(),
    })
    this.#view = new DataView(buffer, ENGINE_OFFSET, ENGINE_STATE_BYTES)
    resetState(this.#view, 0)
    const self = this
    this.debug = {
      get singleStep(): boolean {
        return self.#singleStep
      },
      set singleStep(on: boolean) {
        self.#singleStep = on
      },
      setBreakpoints: (addresses) => {
        this.#breakpoints = new Set(addresses)
      },
      translate: (linear) => translateLinear(memory, this.save(), linear),
    }
  }

  run(instructions: number): ExitReason {
    const view = this.#view
    if (this.#answering) this.#answer()
    const retired = this.instructionsRetired
    view.setBigInt64(State.budget, BigInt(instructions), true)
    view.setBigInt64(State.budgetTop, BigInt(retired + instructions), true)
    let first = true
    for (;;) {
      const request = view.getInt32(State.request, true)
      view.setInt32(State.request, 0, true)
      if (request & Request.kick) return ExitReason.kicked
      const isOver = view.getBigInt64(State.budget, true) <= 0n
      if (isOver) return view.getInt32(State.halted, true) ? ExitReason.halted : ExitReason.budget
      if (!first && this.#singleStep) return this.#debugExit(0)
      if (!first && this.#breakpoints.has(view.getBigUint64(State.rip, true))) return this.#debugExit(1)
      const before = this.instructionsRetired
      const result = this.evaluator.step()
      if (result !== 'next') return this.#exit(result)
      // The delivery of an event is no instruction.
      if (this.instructionsRetired !== before) first = false
    }
  }

  #debugExit(value: number): ExitReason {
    this.exit.value = value
    return ExitReason.debug
  }

  #exit(reason: ExitReason): ExitReason {
    const view = this.#view
    if (reason >= ExitReason.pioRead && reason <= ExitReason.msrWrite) this.#answering = true
    const { exit } = this
    exit.address = Number(view.getBigUint64(State.exitAddress, true))
    exit.sizeBytes = view.getInt32(State.exitSizeBytes, true)
    exit.value = view.getUint32(State.exitValue, true)
    exit.valueHigh = view.getUint32(State.exitValue + 4, true)
    exit.fault = false
    return reason
  }

  #answer(): void {
    const view = this.#view
    this.#answering = false
    const count = view.getInt32(State.replayCount, true)
    view.setUint32(State.replay + 8 * count, this.exit.value, true)
    view.setUint32(State.replay + 8 * count + 4, this.exit.valueHigh, true)
    view.setInt32(State.replayCount, count + 1, true)
    view.setInt32(State.exitFault, this.exit.fault ? 1 : 0, true)
  }

  kick(): void {
    this.#view.setInt32(State.request, Request.kick, true)
  }
  get instructionsRetired(): number {
    return Number(this.#view.getBigInt64(State.budgetTop, true) - this.#view.getBigInt64(State.budget, true))
  }
  nowNs(): number {
    return this.#virtual
      ? this.instructionsRetired + this.#view.getFloat64(State.skippedNs, true)
      : this.#now()
  }
  skipTimeNs(ns: number): void {
    if (this.#virtual)
      this.#view.setFloat64(State.skippedNs, this.#view.getFloat64(State.skippedNs, true) + ns, true)
  }
  get interruptible(): boolean {
    const view = this.#view
    return (
      (view.getInt32(State.rflags, true) & Flag.if) !== 0 &&
      view.getInt32(State.interruptShadow, true) === 0 &&
      view.getInt32(State.pendingInterrupt, true) < 0 &&
      !this.#answering
    )
  }
  injectInterrupt(vector: number): void {
    this.#view.setInt32(State.pendingInterrupt, vector, true)
  }
  injectNmi(): void {
    this.#view.setInt32(State.nmiPending, 1, true)
  }
  requestInterruptWindow(wanted: boolean): void {
    this.#view.setInt32(State.windowWanted, wanted ? 1 : 0, true)
  }
  get taskPriority(): number {
    return this.#view.getInt32(State.cr8, true) & 15
  }
  set taskPriority(value: number) {
    this.#view.setInt32(State.cr8, value & 15, true)
  }

  save(): VcpuState {
    return { ...saveVcpuState(this.#view, 0, this.#ticks()), instructionsRetired: this.instructionsRetired }
  }
  load(state: VcpuState): void {
    this.#view.setBigInt64(State.budget, 0n, true)
    this.#view.setBigInt64(State.budgetTop, BigInt(state.instructionsRetired), true)
    this.#view.setFloat64(State.skippedNs, this.#virtual ? state.skippedNs : 0, true)
    loadVcpuState(this.#view, 0, state, this.#ticks())
    this.#answering = false
  }

  #ticks(): bigint {
    return BigInt(Math.trunc(this.nowNs() * this.#ticksPerNs))
  }
}
