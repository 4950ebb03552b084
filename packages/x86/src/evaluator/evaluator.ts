/**
 * The reference evaluator: a vCPU that executes one instruction at a time, the slow and clear way. It fetches through
 * paging, decodes, builds the instruction's IR with its operands bound, executes it as it stands (BigInt, no caching,
 * no TLB), and delivers exceptions and events by the same procedures as every other engine.
 *
 * It checks the compilers; it is no oracle for the semantics, which it shares with them.
 */

import { updateFpuAvailability } from '../families/fpu-guard.ts'
import { bindDecoded } from '../isa/bound-operands.ts'
import { createDecoder, Decoded, DecodeFailure, type Decoder } from '../isa/decoder.ts'
import type { Feature, Form } from '../isa/form.ts'
import { forms as allForms } from '../isa/forms.ts'
import { Operands } from '../isa/operands.ts'
import {
  Fault,
  Flag,
  MAX_CPUID_ENTRIES,
  Segment,
  SegmentField,
  State,
  segmentOffset,
  Vector,
} from '../state-layout.ts'
import { deliverException, deliverInterrupt, EventKind, singleStepTrap } from '../system/deliver.ts'
import {
  flushPage,
  flushTranslations,
  modeChanged,
  spanForRead,
  spanForWrite,
  timeStamp,
} from '../system/engine.ts'
import { ExitReason } from '../system/exit-reason.ts'
import { GuestMemory, physicalAccess } from './guest-memory.ts'
import { allocateEngineMemory, type End, type EngineMemory, IrMachine } from './ir-machine.ts'
import { EvaluatorError } from './value.ts'

/** Guest RAM, from physical address 0: its size, or where it and the state lie. */
export type EvaluatorRam = { readonly ramBytes: number } | { readonly memory: EngineMemory }

/** What an evaluator is made of. */
export type EvaluatorOptions = EvaluatorRam & {
  /** Default: every form that is implemented. */
  readonly forms?: readonly Form[]
  /** Forms of other features are #UD. Default: none are. */
  readonly features?: ReadonlySet<Feature>
  readonly cpuid?: readonly EvaluatorCpuidEntry[]
  /** The time source of RDTSC, in ticks. Default: instructions retired. */
  readonly timeStamp?: () => bigint
}

/** An answer of CPUID. */
export interface EvaluatorCpuidEntry {
  readonly leaf: number
  /** Absent: the answer is the same for every subleaf. */
  readonly subleaf?: number
  readonly eax: number
  readonly ebx: number
  readonly ecx: number
  readonly edx: number
}

/** What a step comes back with: `next`, or the reason of an exit whose details are in the state. */
export type StepResult = 'next' | ExitReason

/** A vCPU that executes one instruction at a time. Made by `createEvaluator`. */
export class Evaluator {
  /** The vCPU's state, as state-layout.ts lays it out. */
  readonly state: DataView
  /** Guest RAM. */
  readonly ram: Uint8Array
  readonly #machine: IrMachine
  readonly #memory: GuestMemory
  readonly #decoder: Decoder
  readonly #decoded = new Decoded()
  readonly #window = new Uint8Array(32)
  #retired = 0n

  constructor(options: EvaluatorOptions) {
    let memory: GuestMemory | undefined
    const clock = options.timeStamp ?? (() => this.#retired)
    this.#machine = new IrMachine(
      'memory' in options ? options.memory : allocateEngineMemory(options.ramBytes),
      (machine) => (memory = new GuestMemory(machine)),
      (machine) =>
        new Map([
          ...physicalAccess(machine),
          [timeStamp, () => BigInt.asUintN(64, clock())],
          // Nothing is cached that could be forgotten.
          [flushTranslations, () => undefined],
          [flushPage, () => undefined],
          [modeChanged, () => undefined],
          [spanForRead, (linear) => memory!.span(linear as bigint, false)],
          [spanForWrite, (linear) => memory!.span(linear as bigint, true)],
        ]),
    )
    this.#memory = memory!
    this.state = this.#machine.state
    this.ram = this.#machine.ram
    this.#decoder = createDecoder(
      options.forms ?? allForms,
      options.features ? { features: options.features } : {},
    )
    this.state.setInt32(State.pendingInterrupt, -1, true)
    this.#writeCpuid(options.cpuid ?? [])
  }

  /** Instructions retired since creation. */
  get instructionsRetired(): bigint {
    return this.#retired
  }

  /** Forms by the numbers that decoding gives. */
  get forms(): readonly Form[] {
    return this.#decoder.forms
  }

  /** To be called when control registers were written from outside: derives what the state keeps besides them. */
  controlsChanged(): void {
    this.#machine.call(updateFpuAvailability)
  }

  /** Delivers a pending event, or executes one instruction. */
  step(): StepResult {
    const { state } = this
    const event = this.#deliverEvents()
    if (event !== undefined) return event
    if (state.getInt32(State.halted, true)) return ExitReason.halted

    const rip = state.getBigUint64(State.rip, true)
    const fetched = this.#fetch(rip)
    if (fetched === 'fault') return this.#faulted(rip)
    if (fetched === 'outside') return ExitReason.unsupported
    return this.#perform(fetched, rip)
  }

  /** Executes the instruction that `bytes` are, without fetching it; RIP is that of the state. */
  execute(bytes: Uint8Array): StepResult {
    const rip = this.state.getBigUint64(State.rip, true)
    const length = this.#decoder.decode(bytes, 0, bytes.length, this.#mode(), this.#decoded)
    if (length === DecodeFailure.incomplete)
      throw new EvaluatorError(`${bytes.length} bytes are no whole instruction`)
    return this.#perform(length, rip)
  }

  /** Calls a procedure, for tests of system semantics. */
  get machine(): IrMachine {
    return this.#machine
  }

  #mode(): 64 | 32 | 16 {
    const attributes = this.state.getUint16(segmentOffset(Segment.cs, SegmentField.attributes), true)
    const longMode = (this.state.getBigUint64(State.efer, true) & 0x400n) !== 0n
    if (longMode && attributes & 0x2000) return 64
    return attributes & 0x4000 ? 32 : 16
  }

  /** A failure or a length from the decoder, or that the bytes could not be had. */
  #fetch(rip: bigint): number | 'fault' | 'outside' {
    const mode = this.#mode()
    const base =
      mode === 64 ? 0n : this.state.getBigUint64(segmentOffset(Segment.cs, SegmentField.base), true)
    const start = base + rip
    // Bytes that the segment still has.
    const limit = BigInt(this.state.getUint32(segmentOffset(Segment.cs, SegmentField.limit), true))
    const room = mode === 64 || limit - rip >= 15n ? 15 : Number(limit - rip) + 1
    let available = 0
    for (;;) {
      if (available >= room) {
        this.#raise(Vector.gp, 0)
        return 'fault'
      }
      const linear = BigInt.asUintN(mode === 64 ? 64 : 32, start + BigInt(available))
      const data = this.#memory.fetch(linear, room - available)
      if (data === undefined) return 'fault'
      if (data === 'outside') return 'outside'
      this.#window.set(data, available)
      available += data.length
      const length = this.#decoder.decode(this.#window, 0, available, mode, this.#decoded)
      if (length !== DecodeFailure.incomplete) return length
      if (available >= 15) throw new EvaluatorError('15 bytes are no whole instruction')
    }
  }

  #perform(length: number, rip: bigint): StepResult {
    const { state } = this
    const shadow = state.getInt32(State.interruptShadow, true)
    const steps = (state.getBigUint64(State.rflags, true) & BigInt(Flag.tf)) !== 0n
    if (length <= 0) {
      this.#raise(
        length === DecodeFailure.tooLong ? Vector.gp : Vector.ud,
        length === DecodeFailure.tooLong ? 0 : -1,
      )
      return this.#faulted(rip)
    }
    const decoded = this.#decoded
    const form = this.#decoder.forms[decoded.form]!
    const mode = this.#mode()
    const program = this.#machine.build(
      form.text,
      (b) => form.body(b, new Operands(b, form, bindDecoded(b, form, decoded, mode))),
      mode === 64 ? 'long' : 'legacy',
    )
    const nextRip = wrapRip(rip + BigInt(length), mode)

    state.setBigUint64(State.ripPage, rip & ~0xfffn, true)
    state.setInt32(State.interruptShadow, 0, true)
    state.setInt32(State.fault, Fault.none, true)
    state.setInt32(State.replayPosition, 0, true)
    const budget = state.getBigInt64(State.budget, true)
    const end = this.#machine.run(program, { thisRip: rip, nextRip })
    // A repeated string instruction charges all its iterations but one itself.
    this.#retired += budget - state.getBigInt64(State.budget, true)
    if (end.kind === 'fault') {
      const result = this.#faulted(rip)
      if (result !== 'next') state.setInt32(State.interruptShadow, shadow, true)
      return result
    }
    state.setBigUint64(State.rip, this.#nextRip(end, nextRip, mode), true)
    this.#retire()
    if (steps && this.#machine.call(singleStepTrap).kind === 'fault') return this.#exit()
    return 'next'
  }

  #nextRip(end: End, nextRip: bigint, mode: 64 | 32 | 16): bigint {
    if (end.kind === 'next') return nextRip
    if (end.kind !== 'branch') return end.value as bigint
    const { relative, operandBits } = this.#decoded
    const target = nextRip + BigInt(relative)
    return mode === 64 ? BigInt.asUintN(64, target) : BigInt.asUintN(operandBits === 16 ? 16 : 32, target)
  }

  #retire(): void {
    const { state } = this
    this.#retired++
    state.setBigInt64(State.budget, state.getBigInt64(State.budget, true) - 1n, true)
    state.setInt32(State.replayCount, 0, true)
    state.setInt32(State.replayPosition, 0, true)
    state.setInt32(State.exitFault, 0, true)
  }

  /** A fault is pending: delivers the exception of the instruction at `rip`, or tells the exit. */
  #faulted(rip: bigint): StepResult {
    const { state } = this
    state.setBigUint64(State.rip, rip, true)
    if (state.getInt32(State.fault, true) === Fault.exit) return this.#exit()
    if (this.#machine.call(deliverException).kind === 'fault') return this.#exit()
    state.setInt32(State.replayCount, 0, true)
    state.setInt32(State.replayPosition, 0, true)
    return 'next'
  }

  #exit(): StepResult {
    this.state.setInt32(State.fault, Fault.none, true)
    return this.state.getInt32(State.exitReason, true) as ExitReason
  }

  #raise(vector: number, errorCode: number): void {
    this.state.setInt32(State.faultVector, vector, true)
    this.state.setInt32(State.faultErrorCode, errorCode, true)
    this.state.setInt32(State.fault, Fault.exception, true)
  }

  /** What happens between instructions, or undefined when the next instruction is to be executed. */
  #deliverEvents(): StepResult | undefined {
    const { state } = this
    const shadow = state.getInt32(State.interruptShadow, true) !== 0
    if (state.getInt32(State.nmiPending, true) && !state.getInt32(State.nmiBlocked, true) && !shadow)
      return this.#deliver(Vector.nmi, EventKind.nmi)
    const interrupt = state.getInt32(State.pendingInterrupt, true)
    if (interrupt >= 0) return this.#deliver(interrupt, EventKind.external)
    const enabled = (state.getBigUint64(State.rflags, true) & BigInt(Flag.if)) !== 0n
    if (state.getInt32(State.windowWanted, true) && enabled && !shadow) return ExitReason.interruptWindow
    return undefined
  }

  #deliver(vector: number, kind: number): StepResult {
    this.state.setInt32(State.replayPosition, 0, true)
    if (this.#machine.call(deliverInterrupt, vector, kind).kind === 'fault') return this.#exit()
    this.state.setInt32(State.halted, 0, true)
    this.state.setInt32(State.replayCount, 0, true)
    return 'next'
  }

  #writeCpuid(entries: readonly EvaluatorCpuidEntry[]): void {
    if (entries.length > MAX_CPUID_ENTRIES)
      throw new EvaluatorError(`${entries.length} CPUID entries, ${MAX_CPUID_ENTRIES} fit`)
    this.state.setInt32(State.cpuidCount, entries.length, true)
    entries.forEach((entry, index) => {
      const { leaf, subleaf, eax, ebx, ecx, edx } = entry
      ;[leaf, subleaf ?? 0, eax, ebx, ecx, edx, subleaf === undefined ? 0 : 1, 0].forEach((word, position) =>
        this.state.setUint32(State.cpuid + 32 * index + 4 * position, word, true),
      )
    })
  }
}

function wrapRip(rip: bigint, mode: 64 | 32 | 16): bigint {
  return BigInt.asUintN(mode === 64 ? 64 : 32, rip)
}

/** Makes an evaluator. Its state is all zero: whoever uses it sets it up. */
export function createEvaluator(options: EvaluatorOptions): Evaluator {
  return new Evaluator(options)
}
