/**
 * An emulated vCPU: the state in the machine's memory and an instance of the engine that runs on it.
 *
 * `run` enters WebAssembly once and comes back at an exit. An exit in the middle of an instruction abandons it; the
 * answer goes into the replay list, and the next `run` executes the instruction again.
 */
import type { Metrics } from '@trapframe/core'
import {
  ExitReason,
  type ExitRecord,
  type Vcpu,
  type VcpuDebug,
  type VcpuState,
  type VmOptions,
} from '@trapframe/cpu'
import { type Decoder, Flag, MAX_CPUID_ENTRIES, MAX_REPLAY, Request, State } from '@trapframe/x86'
import type { JitMode } from './backend.ts'
import { BackendError } from './backend-error.ts'
import type { CodeCache } from './code-cache.ts'
import {
  counterNames,
  counterOffset,
  EngineState,
  TLB_BYTES,
  TLB_ENTRIES,
  TLB_ENTRY_BYTES,
  TLB_OFFSETS,
  TlbField,
  VCPU_BYTES,
  VCPU_OFFSET,
} from './engine/layout.ts'
import { Jit } from './jit/jit.ts'
import { checkVcpuState, loadVcpuState, resetState, saveVcpuState } from './state-transfer.ts'
import { translateLinear } from './translate-linear.ts'

interface EngineExports {
  run(state: number): void
  chooseTables(state: number): void
  dropWriteTags(state: number, host: number): void
  flushJumps(state: number): void
}

const TWO_32 = 0x1_0000_0000
/** How long a reading of the clock is extrapolated by the instructions retired since. */
const CLOCK_WINDOW_NS = 100_000
/** Time of an instruction: assumed before the first measurement, and bounds of what is believed. */
const FIRST_NS_PER_INSTRUCTION = 4
const MIN_NS_PER_INSTRUCTION = 0.1
const MAX_NS_PER_INSTRUCTION = 1000
/** How often the JIT looks where the vCPU is: about every 100 microseconds in the interpreter. */
const SAMPLE_INSTRUCTIONS = 50_000

export class EmulatedVcpu implements Vcpu {
  readonly id: number
  readonly exit: ExitRecord = { address: 0, sizeBytes: 0, value: 0, valueHigh: 0, fault: false }
  readonly debug: VcpuDebug
  readonly metrics: Metrics

  readonly #base: number
  readonly #engine: EngineExports
  readonly #view: DataView
  readonly #i32: Int32Array
  readonly #u32: Uint32Array
  readonly #f64: Float64Array
  readonly #virtual: boolean
  readonly #jit: Jit | undefined
  readonly #clock: { nowNs(): number } | undefined
  /** The last exit waits for its answer to be replayed. */
  #answering = false

  constructor(
    id: number,
    options: VmOptions,
    module: WebAssembly.Module,
    code: CodeCache,
    decoder: Decoder,
    jit: JitMode,
  ) {
    this.id = id
    const { memory, cpuid, time, tscHz } = options
    const { buffer } = memory.memory
    this.#base = VCPU_OFFSET + id * VCPU_BYTES
    this.#view = new DataView(buffer)
    this.#i32 = new Int32Array(buffer)
    this.#u32 = new Uint32Array(buffer)
    this.#f64 = new Float64Array(buffer)
    this.#virtual = time.kind === 'virtual'
    this.#f64[(this.#base + EngineState.clockNsPerInstruction) >> 3] = FIRST_NS_PER_INSTRUCTION
    this.#clock = time.kind === 'real' ? time.clock : undefined
    const ripPage = (): bigint => this.#view.getBigUint64(this.#base + State.ripPage, true)
    // All ways from the engine into JavaScript but the exits, and how often each was gone.
    const calls = { decodeBlock: 0, noticeWrite: 0, nowNs: 0, dropBlock: 0 }
    const instance = new WebAssembly.Instance(module, {
      engine: {
        memory: memory.memory,
        decodeBlock: (host: number, next: number, limit: number) => {
          calls.decodeBlock++
          const mode = (this.#word(EngineState.codeMode) || 64) as 64 | 32 | 16
          const record = code.decode(
            host >>> 0,
            next >>> 0,
            limit,
            code.hasBreakpoints ? ripPage() : 0n,
            id,
            mode,
          )
          if (jit !== 'eager' || limit !== 0 || record === 0 || mode !== 64) return record
          this.#jit!.compileNow(host >>> 0)
          return code.recordOf(host >>> 0) ?? record
        },
        noticeWrite: (page: number) => {
          calls.noticeWrite++
          memory.noteWrite(page, page)
        },
        nowNs: () => {
          calls.nowNs++
          return this.#readClock()
        },
        dropBlock: (record: number) => {
          calls.dropBlock++
          code.dropBlock(record)
        },
      },
    })
    this.#engine = instance.exports as unknown as EngineExports
    this.#jit = jit
      ? new Jit({
          memory: memory.memory,
          shared: memory.shared,
          decoder,
          code,
          engine: instance.exports,
        })
      : undefined

    const view = this.#view
    view.setBigInt64(this.#base + EngineState.lowBytes, BigInt(memory.lowBytes), true)
    view.setBigInt64(this.#base + EngineState.highBytes, BigInt(memory.highBytes), true)
    view.setInt32(this.#base + EngineState.virtualTime, this.#virtual ? 1 : 0, true)
    view.setFloat64(this.#base + EngineState.tscPerNs, tscHz / 1e9, true)
    if (cpuid.length > MAX_CPUID_ENTRIES)
      throw new BackendError(
        'backend-emulated/cpuid',
        `${cpuid.length} CPUID leaves: at most ${MAX_CPUID_ENTRIES} fit`,
      )
    view.setInt32(this.#base + State.cpuidCount, cpuid.length, true)
    cpuid.forEach((leaf, index) => {
      const at = this.#base + State.cpuid + 32 * index
      const ebx = leaf.leaf === 1 ? ((leaf.ebx & 0xff_ffff) | (id << 24)) >>> 0 : leaf.ebx
      const edx = leaf.leaf === 0xb || leaf.leaf === 0x1f ? id : leaf.edx
      const words = [
        leaf.leaf,
        leaf.subleaf ?? 0,
        leaf.eax,
        ebx,
        leaf.ecx,
        edx,
        leaf.subleaf === undefined ? 0 : 1,
        0,
      ]
      words.forEach((word, i) => view.setUint32(at + 4 * i, word >>> 0, true))
    })
    resetState(view, this.#base)
    this.flushTranslations()

    const set32 = (offset: number, value: number): void =>
      this.#view.setInt32(this.#base + offset, value, true)
    this.debug = {
      get singleStep(): boolean {
        return view.getInt32(VCPU_OFFSET + id * VCPU_BYTES + State.debugStep, true) !== 0
      },
      set singleStep(on: boolean) {
        set32(State.debugStep, on ? 1 : 0)
      },
      setBreakpoints: (addresses) => code.setBreakpoints(addresses),
      translate: (linear) => translateLinear(memory, this.save(), linear),
    }
    this.metrics = {
      read: () =>
        Object.fromEntries([
          ['instructions', this.instructionsRetired],
          ...(this.#jit
            ? Object.entries(this.#jit.statistics).map(([name, value]) => [`jit-${name}`, value])
            : []),
          ...counterNames.map((name) => [
            name,
            Number(view.getBigUint64(this.#base + counterOffset(name), true)),
          ]),
          ['calls-decode-block', calls.decodeBlock],
          ['calls-notice-write', calls.noticeWrite],
          ['calls-clock', calls.nowNs],
          ['calls-drop-block', calls.dropBlock],
        ]),
    }
  }

  run(instructions: number): ExitReason {
    if (this.#answering) this.#answer()
    this.#setU64(EngineState.clockWindow, 0)
    this.#engine.chooseTables(this.#base)
    const end = this.instructionsRetired + instructions
    let reason: ExitReason
    for (;;) {
      const retired = this.instructionsRetired
      const slice = this.#jit ? Math.min(end - retired, SAMPLE_INSTRUCTIONS) : end - retired
      this.#setU64(State.budget, slice)
      this.#setU64(State.budgetTop, retired + slice)
      this.#engine.run(this.#base)
      reason = this.#word(State.exitReason) as ExitReason
      if (reason !== ExitReason.budget || retired + slice >= end) break
      this.#sample()
    }
    if (reason >= ExitReason.pioRead && reason <= ExitReason.msrWrite) this.#answering = true
    const { exit } = this
    exit.address = this.#u32At(State.exitAddress) + this.#u32At(State.exitAddress + 4) * TWO_32
    exit.sizeBytes = this.#word(State.exitSizeBytes)
    exit.value = this.#u32At(State.exitValue)
    exit.valueHigh = this.#u32At(State.exitValue + 4)
    exit.fault = false
    return reason
  }

  /** Shows the JIT where the vCPU is. */
  #sample(): void {
    const rip = this.#u32At(State.rip)
    const ripHigh = this.#u32At(State.rip + 4)
    const entry = (this.#word(EngineState.tlb) + ((rip >>> 7) & ((TLB_ENTRIES - 1) * TLB_ENTRY_BYTES))) >> 2
    const tag = entry + (TlbField.execute >> 2)
    if (this.#u32[tag] !== (rip & -4096) >>> 0 || this.#u32[tag + 1] !== ripHigh) return
    this.#jit!.sample((rip + this.#i32[entry + (TlbField.addend >> 2)]!) >>> 0)
    this.#jit!.compileHot()
  }

  kick(): void {
    Atomics.or(this.#i32, (this.#base + State.request) >> 2, Request.kick)
  }

  get instructionsRetired(): number {
    return this.#number(State.budgetTop) - this.#number(State.budget)
  }

  nowNs(): number {
    return this.#clock
      ? this.#clock.nowNs()
      : this.instructionsRetired + this.#f64[(this.#base + State.skippedNs) >> 3]!
  }

  skipTimeNs(ns: number): void {
    if (this.#virtual) this.#f64[(this.#base + State.skippedNs) >> 3]! += ns
  }

  get interruptible(): boolean {
    return (
      (this.#word(State.rflags) & Flag.if) !== 0 &&
      this.#word(State.interruptShadow) === 0 &&
      this.#word(State.pendingInterrupt) < 0 &&
      !this.#answering
    )
  }

  injectInterrupt(vector: number): void {
    this.#i32[(this.#base + State.pendingInterrupt) >> 2] = vector
  }

  injectNmi(): void {
    this.#i32[(this.#base + State.nmiPending) >> 2] = 1
  }

  requestInterruptWindow(wanted: boolean): void {
    this.#i32[(this.#base + State.windowWanted) >> 2] = wanted ? 1 : 0
  }

  get taskPriority(): number {
    return this.#word(State.cr8) & 15
  }
  set taskPriority(value: number) {
    this.#u32[(this.#base + State.cr8) >> 2] = value & 15
  }

  save(): VcpuState {
    if (this.#answering)
      throw new BackendError(
        'backend-emulated/busy',
        `vCPU ${this.id} waits for the answer of a device access: run it until it exits otherwise before saving`,
      )
    return saveVcpuState(this.#view, this.#base, this.#ticks())
  }

  load(state: VcpuState): void {
    checkVcpuState(state)
    // Time follows from the instructions retired, and the time stamp counter from time: in this order.
    this.#setRetired(state.instructionsRetired)
    this.#f64[(this.#base + State.skippedNs) >> 3] = this.#virtual ? state.skippedNs : 0
    loadVcpuState(this.#view, this.#base, state, this.#ticks())
    this.#answering = false
    this.flushTranslations()
  }

  /** Drops the write permission of cached translations: of the page at a host address, or of all (0). */
  dropWriteTags(host: number): void {
    this.#engine.dropWriteTags(this.#base, host)
  }

  /** Asks the code that runs to look around before it goes on: decoded code was dropped. */
  attend(): void {
    Atomics.or(this.#i32, (this.#base + State.request) >> 2, Request.event)
  }

  /** Makes every cached jump target wrong. */
  flushJumps(): void {
    this.#engine.flushJumps(this.#base)
  }

  flushTranslations(): void {
    for (const offset of TLB_OFFSETS)
      this.#u32.fill(0xffff_ffff, (this.#base + offset) >> 2, (this.#base + offset + TLB_BYTES) >> 2)
    this.flushJumps()
  }

  /** Hands the driver's answer to the instruction that asked. */
  #answer(): void {
    this.#answering = false
    const count = this.#word(State.replayCount)
    if (count >= MAX_REPLAY)
      throw new BackendError(
        'backend-emulated/replay',
        `an instruction made more than ${MAX_REPLAY} device accesses`,
      )
    const at = (this.#base + State.replay + 8 * count) >> 2
    this.#u32[at] = this.exit.value
    this.#u32[at + 1] = this.exit.valueHigh
    this.#i32[(this.#base + State.replayCount) >> 2] = count + 1
    this.#i32[(this.#base + State.replayPosition) >> 2] = 0
    this.#i32[(this.#base + State.exitFault) >> 2] = this.exit.fault ? 1 : 0
    this.#i32[(this.#base + EngineState.replaying) >> 2] = 1
  }

  #setRetired(count: number): void {
    this.#setU64(State.budget, 0)
    this.#setU64(State.budgetTop, count)
  }
  /** Reads the clock for the engine, which extrapolates from there. */
  #readClock(): number {
    if (!this.#clock) return 0
    const nowNs = this.#clock.nowNs()
    const retired = this.instructionsRetired
    const f64 = this.#f64
    const perInstruction = (this.#base + EngineState.clockNsPerInstruction) >> 3
    // Another reading in the same run: what an instruction takes at present.
    if (this.#u32At(EngineState.clockWindow) > 0) {
      const elapsedNs = nowNs - f64[(this.#base + EngineState.clockNs) >> 3]!
      const measured = elapsedNs / (retired - this.#number(EngineState.clockRetired))
      const smoothed = (f64[perInstruction]! + Math.min(measured, MAX_NS_PER_INSTRUCTION)) / 2
      f64[perInstruction] = Math.max(smoothed, MIN_NS_PER_INSTRUCTION)
    }
    f64[(this.#base + EngineState.clockNs) >> 3] = nowNs
    this.#setU64(EngineState.clockRetired, retired)
    this.#setU64(EngineState.clockWindow, Math.ceil(CLOCK_WINDOW_NS / f64[perInstruction]!))
    return nowNs
  }
  /** Ticks of the time source: the time stamp counter without its offset. */
  #ticks(): bigint {
    const nowNs = this.#clock
      ? Math.max(this.#clock.nowNs(), this.#f64[(this.#base + EngineState.toldNs) >> 3]!)
      : this.nowNs()
    return BigInt(Math.trunc(nowNs * this.#f64[(this.#base + EngineState.tscPerNs) >> 3]!))
  }
  #word(offset: number): number {
    return this.#i32[(this.#base + offset) >> 2]!
  }
  #u32At(offset: number): number {
    return this.#u32[(this.#base + offset) >> 2]!
  }
  /** A signed 64-bit field as a number. */
  #number(offset: number): number {
    return this.#u32At(offset) + this.#word(offset + 4) * TWO_32
  }
  #setU64(offset: number, value: number): void {
    this.#u32[(this.#base + offset) >> 2] = value >>> 0
    this.#u32[(this.#base + offset + 4) >> 2] = Math.floor(value / TWO_32)
  }
}
