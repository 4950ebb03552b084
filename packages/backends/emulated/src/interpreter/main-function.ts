/**
 * The interpreter's main function: one loop over records with one `br_table`. Hot forms are inlined as cases; the
 * others are functions behind one indirect call.
 *
 * ```
 * loop
 *   block $next                     fall out: temporaries are zeroed, go round
 *     block $resync                 fall out: events, then the block at State.rip
 *       block $fault                fall out: State.rip is right, deliver what is pending
 *         block $faultAt            fall out: RIP and budget of the record, then $fault
 *           block $jumpCharged      fall out: target in a local, jump cache
 *             block $jump           fall out: charge
 *               block $taken        fall out: charge, follow or make the record's link
 *                 block $call       fall out: handler function by table
 *                   block … block   one for each inlined handler, innermost first
 *                     br_table
 * ```
 *
 * A block of records is charged when it is left: `count` of the leaving record. Entering a block needs a budget of at
 * least MAX_BLOCK_INSTRUCTIONS, so the count never overshoots; below that, blocks are cut to length (events.ts).
 *
 * Temporaries are reset on the way back so that the optimising compiler sees no value carried round the loop but the
 * record pointer.
 */
import { type Code, Fault, State, system, Type, Vector } from '@trapframe/x86'
import { lower } from '../compiler/lowering.ts'
import {
  type EngineFunction,
  LocalPool,
  type LoweringTarget,
  wasmTypes,
} from '../compiler/lowering-target.ts'
import {
  EngineState,
  Handler,
  JUMP_CACHE_ENTRIES,
  JUMP_CACHE_OFFSET,
  MAX_BLOCK_INSTRUCTIONS,
  RECORD_BYTES,
  RecordField,
} from '../engine/layout.ts'
import { RegionOutcome } from '../jit/region-outcome.ts'
import { ByteWriter } from '../wasm/byte-writer.ts'
import type { FunctionBody } from '../wasm/module-writer.ts'
import { Wasm, WasmType } from '../wasm/opcode.ts'
import { emitNextRip, emitThisRip, type FunctionIndices, Outcome } from './function-target.ts'

const { ExitReason } = system

/** Functions that the loop calls. */
export interface LoopFunctions {
  readonly nextBlock: number
  readonly afterFault: number
  readonly jumpSlow: number
  readonly lookup: number
  readonly guard: number
  /** Import: forgets the block that begins with a record. */
  readonly dropBlock: number
  /** Type index of handler functions. */
  readonly handlerType: number
  /** Type index of regions. */
  readonly regionType: number
}

const STATE = 0
const RECORD = 1
const TARGET = 2
const ENTRY = 3
const FIRST_POOL_LOCAL = 4

/** Places of the labels, counted from $next inwards: 0 is $next. */
const Label = {
  next: 0,
  resync: 1,
  fault: 2,
  faultAt: 3,
  jumpCharged: 4,
  jump: 5,
  taken: 6,
  call: 7,
} as const

class MainTarget implements LoweringTarget {
  readonly w: ByteWriter
  readonly pool: LocalPool
  readonly stateLocal = STATE
  readonly inlineMemory = true
  readonly #indices: FunctionIndices
  /** Offsets of branches that are hardly ever taken. */
  readonly hints: number[] = []
  /** Blocks open around the code that is being emitted, $next included. */
  open = 0

  constructor(w: ByteWriter, indices: FunctionIndices) {
    this.w = w
    this.#indices = indices
    this.pool = new LocalPool(FIRST_POOL_LOCAL)
  }

  /** Depth of a label for a `br` with `depth` regions open in the handler itself. */
  to(label: number, depth = 0): number {
    return this.open - 1 - label + depth
  }
  parameter(): void {
    this.w.u8(Wasm.localGet).u32(RECORD)
  }
  procedure(number: number): number {
    return this.#indices.procedure(number)
  }
  procedureMayFault(number: number): boolean {
    return this.#indices.procedureMayFault(number)
  }
  engineFunction(name: EngineFunction): number {
    return this.#indices.engineFunction(name)
  }
  fault(depth: number): void {
    this.w.u8(Wasm.br).u32(this.to(Label.faultAt, depth))
  }
  unlikely(): void {
    this.hints.push(this.w.length)
  }
  faultIf(depth: number): void {
    this.unlikely()
    this.w.u8(Wasm.brIf).u32(this.to(Label.faultAt, depth))
  }
  branch(depth: number): void {
    this.w.u8(Wasm.br).u32(this.to(Label.taken, depth))
  }
  jump(depth: number): void {
    this.w.u8(Wasm.localSet).u32(TARGET).u8(Wasm.br).u32(this.to(Label.jump, depth))
  }
  resync(depth: number): void {
    this.w.u8(Wasm.localSet).u32(TARGET)
    emitCharge(this.w)
    emitStoreRip(this.w, TARGET)
    this.w.u8(Wasm.br).u32(this.to(Label.resync, depth))
  }
  return(): void {
    throw new Error('the body of an instruction does not return')
  }
  nextRip(): void {
    emitNextRip(this.w, STATE, RECORD)
  }
  thisRip(): void {
    emitThisRip(this.w, STATE, RECORD)
  }
}

/** budget -= record.count (- 1 for an instruction that did not complete) */
function emitCharge(w: ByteWriter, less = 0): void {
  w.u8(Wasm.localGet).u32(STATE)
  w.u8(Wasm.localGet).u32(STATE).u8(Wasm.i64Load).u32(3).u32(State.budget)
  w.u8(Wasm.localGet).u32(RECORD).u8(Wasm.i64Load8U).u32(0).u32(RecordField.count).u8(Wasm.i64Sub)
  if (less > 0) w.u8(Wasm.i64Const).s64(less, 0).u8(Wasm.i64Add)
  w.u8(Wasm.i64Store).u32(3).u32(State.budget)
}

function emitStoreRip(w: ByteWriter, local: number): void {
  w.u8(Wasm.localGet).u32(STATE).u8(Wasm.localGet).u32(local).u8(Wasm.i64Store).u32(3).u32(State.rip)
}

function emitAdvance(w: ByteWriter): void {
  w.u8(Wasm.localGet)
    .u32(RECORD)
    .u8(Wasm.i32Const)
    .s32(RECORD_BYTES)
    .u8(Wasm.i32Add)
    .u8(Wasm.localSet)
    .u32(RECORD)
}

/** Whether the loop has to look at events instead of going on: little budget left, or a request. i32 */
function emitAttention(w: ByteWriter): void {
  w.u8(Wasm.localGet).u32(STATE).u8(Wasm.i64Load).u32(3).u32(State.budget)
  w.u8(Wasm.i64Const).s64(MAX_BLOCK_INSTRUCTIONS, 0).u8(Wasm.i64LtS)
  w.u8(Wasm.localGet).u32(STATE).u8(Wasm.i32Load).u32(2).u32(State.request).u8(Wasm.i32Or)
}

/** A case of the main function. */
export interface InlineHandler {
  readonly id: number
  readonly code: Code
}

/**
 * Body of the main function. (state) -> nothing: the reason is in the state.
 * @param inlined - inlined handlers; ids are consecutive from `Handler.first`; handlers from `inlined.length + first` on are functions
 */
export function mainFunction(
  inlined: readonly InlineHandler[],
  functions: LoopFunctions,
  indices: FunctionIndices,
): FunctionBody {
  const w = new ByteWriter(1 << 18)
  const t = new MainTarget(w, indices)
  const cases = Handler.first + inlined.length
  const goNext = (depth = 0): void => void w.u8(Wasm.br).u32(t.to(Label.next, depth))

  const openBlock = (): void => {
    w.u8(Wasm.block).u8(WasmType.empty)
    t.open++
  }
  const closeBlock = (): void => {
    w.u8(Wasm.end)
    t.open--
  }

  const emitEvents = (): void => {
    w.u8(Wasm.localGet).u32(STATE).u8(Wasm.call).u32(functions.nextBlock).u8(Wasm.localTee).u32(RECORD)
    w.u8(Wasm.i32Eqz).u8(Wasm.if).u8(WasmType.empty).u8(Wasm.return).u8(Wasm.end)
  }

  emitEvents()
  w.u8(Wasm.loop).u8(WasmType.empty)
  for (let label = 0; label <= Label.call; label++) openBlock()
  for (let i = 0; i < cases; i++) openBlock()
  w.u8(Wasm.localGet).u32(RECORD).u8(Wasm.i32Load16U).u32(1).u32(RecordField.handler)
  w.u8(Wasm.brTable).u32(cases)
  for (let i = 0; i < cases; i++) w.u32(i)
  w.u32(cases)

  // Handlers that are no instructions.
  closeBlock() // resync: the record's code was overwritten before this instruction.
  emitCharge(w, 1)
  emitThisRip(w, STATE, RECORD)
  w.u8(Wasm.localSet).u32(TARGET)
  emitStoreRip(w, TARGET)
  w.u8(Wasm.br).u32(t.to(Label.resync))

  closeBlock() // chain
  w.u8(Wasm.br).u32(t.to(Label.taken))

  closeBlock() // guard
  w.u8(Wasm.localGet)
    .u32(STATE)
    .u8(Wasm.localGet)
    .u32(RECORD)
    .u8(Wasm.i32Load)
    .u32(2)
    .u32(RecordField.displacement)
  w.u8(Wasm.call).u32(functions.guard)
  w.u8(Wasm.if).u8(WasmType.empty)
  emitAdvance(w)
  goNext(1)
  w.u8(Wasm.end)
  // Elsewhere now, or not there: the fault is pending, or the block is decoded anew as one of its own.
  w.u8(Wasm.localGet)
    .u32(STATE)
    .u8(Wasm.i32Load)
    .u32(2)
    .u32(State.fault)
    .u8(Wasm.brIf)
    .u32(t.to(Label.faultAt))
  w.u8(Wasm.localGet).u32(RECORD).u8(Wasm.call).u32(functions.dropBlock)
  emitThisRip(w, STATE, RECORD)
  w.u8(Wasm.localSet).u32(TARGET)
  emitStoreRip(w, TARGET)
  w.u8(Wasm.br).u32(t.to(Label.resync))

  closeBlock() // stop: the end of a block that was cut; `count` instructions were executed, RIP is the record's start.
  emitCharge(w)
  emitThisRip(w, STATE, RECORD)
  w.u8(Wasm.localSet).u32(TARGET)
  emitStoreRip(w, TARGET)
  w.u8(Wasm.br).u32(t.to(Label.resync))

  const raise = (vector: number, errorCode: number): void => {
    for (const [offset, value] of [
      [State.faultVector, vector],
      [State.faultErrorCode, errorCode],
      [State.fault, Fault.exception],
    ] as const)
      w.u8(Wasm.localGet).u32(STATE).u8(Wasm.i32Const).s32(value).u8(Wasm.i32Store).u32(2).u32(offset)
    w.u8(Wasm.br).u32(t.to(Label.faultAt))
  }
  closeBlock() // undefined
  raise(Vector.ud, -1)
  closeBlock() // too long
  raise(Vector.gp, 0)
  closeBlock() // breakpoint
  w.u8(Wasm.localGet)
    .u32(STATE)
    .u8(Wasm.i32Const)
    .s32(ExitReason.debug)
    .u8(Wasm.i32Store)
    .u32(2)
    .u32(State.exitReason)
  w.u8(Wasm.localGet).u32(STATE).u8(Wasm.i64Const).s64(1, 0).u8(Wasm.i64Store).u32(3).u32(State.exitValue)
  w.u8(Wasm.localGet).u32(STATE).u8(Wasm.i32Const).s32(Fault.exit).u8(Wasm.i32Store).u32(2).u32(State.fault)
  w.u8(Wasm.br).u32(t.to(Label.faultAt))

  closeBlock() // region
  w.u8(Wasm.localGet).u32(STATE).u8(Wasm.i64Load).u32(3).u32(State.budget)
  w.u8(Wasm.localGet).u32(RECORD).u8(Wasm.i64Load).u32(3).u32(RecordField.immediate).u8(Wasm.i64LtS)
  w.u8(Wasm.localGet).u32(STATE).u8(Wasm.i32Load).u32(2).u32(State.request).u8(Wasm.i32Or)
  w.u8(Wasm.if).u8(WasmType.empty)
  w.u8(Wasm.localGet).u32(RECORD).u8(Wasm.i32Load).u32(2).u32(RecordField.link)
  w.u8(Wasm.localSet).u32(RECORD)
  goNext(1)
  w.u8(Wasm.end)
  w.u8(Wasm.localGet).u32(STATE)
  w.u8(Wasm.localGet).u32(RECORD).u8(Wasm.i32Load).u32(2).u32(RecordField.displacement)
  w.u8(Wasm.callIndirect).u32(functions.regionType).u32(0).u8(Wasm.localSet).u32(ENTRY)
  w.u8(Wasm.localGet).u32(STATE).u8(Wasm.i64Load).u32(3).u32(State.rip).u8(Wasm.localSet).u32(TARGET)
  w.u8(Wasm.localGet).u32(ENTRY).u8(Wasm.i32Eqz).u8(Wasm.brIf).u32(t.to(Label.jumpCharged))
  w.u8(Wasm.localGet).u32(ENTRY).u8(Wasm.i32Const).s32(RegionOutcome.fault).u8(Wasm.i32Eq)
  w.u8(Wasm.brIf).u32(t.to(Label.fault))
  w.u8(Wasm.br).u32(t.to(Label.resync))

  inlined.forEach((handler) => {
    closeBlock()
    lower(handler.code, t)
    emitAdvance(w)
    goNext()
  })

  closeBlock() // $call
  w.u8(Wasm.localGet)
    .u32(STATE)
    .u8(Wasm.localGet)
    .u32(RECORD)
    .u8(Wasm.i32Store)
    .u32(2)
    .u32(EngineState.record)
  w.u8(Wasm.localGet).u32(STATE).u8(Wasm.localGet).u32(RECORD)
  w.u8(Wasm.localGet)
    .u32(RECORD)
    .u8(Wasm.i32Load16U)
    .u32(1)
    .u32(RecordField.handler)
    .u8(Wasm.i32Const)
    .s32(cases)
    .u8(Wasm.i32Sub)
  w.u8(Wasm.callIndirect).u32(functions.handlerType).u32(0)
  w.u8(Wasm.localTee).u32(ENTRY).u8(Wasm.i32Eqz)
  w.u8(Wasm.if).u8(WasmType.empty)
  emitAdvance(w)
  goNext(1)
  w.u8(Wasm.end)
  const when = (outcome: number, then: () => void): void => {
    w.u8(Wasm.localGet)
      .u32(ENTRY)
      .u8(Wasm.i32Const)
      .s32(outcome)
      .u8(Wasm.i32Eq)
      .u8(Wasm.if)
      .u8(WasmType.empty)
    then()
    w.u8(Wasm.end)
  }
  when(Outcome.fault, () => w.u8(Wasm.br).u32(t.to(Label.faultAt, 1)))
  when(Outcome.branch, () => w.u8(Wasm.br).u32(t.to(Label.taken, 1)))
  when(Outcome.resync, () => {
    emitCharge(w)
    w.u8(Wasm.br).u32(t.to(Label.resync, 1))
  })
  w.u8(Wasm.localGet).u32(STATE).u8(Wasm.i64Load).u32(3).u32(State.rip).u8(Wasm.localSet).u32(TARGET)
  w.u8(Wasm.br).u32(t.to(Label.jump))

  closeBlock() // $taken
  w.u8(Wasm.localGet).u32(RECORD).u8(Wasm.i32Load).u32(2).u32(RecordField.link).u8(Wasm.localTee).u32(ENTRY)
  w.u8(Wasm.if).u8(WasmType.empty)
  emitCharge(w)
  emitAttention(w)
  w.u8(Wasm.i32Eqz).u8(Wasm.if).u8(WasmType.empty)
  w.u8(Wasm.localGet).u32(ENTRY).u8(Wasm.localSet).u32(RECORD)
  goNext(2)
  w.u8(Wasm.end)
  emitTarget(w)
  emitStoreRip(w, TARGET)
  w.u8(Wasm.br).u32(t.to(Label.resync, 1))
  w.u8(Wasm.end)
  emitTarget(w)
  // Within the page the link can be kept: code of one page is dropped together.
  w.u8(Wasm.localGet).u32(TARGET).u8(Wasm.i64Const).s64(-4096, -1).u8(Wasm.i64And)
  w.u8(Wasm.localGet).u32(STATE).u8(Wasm.i64Load).u32(3).u32(State.ripPage).u8(Wasm.i64Eq)
  w.u8(Wasm.if).u8(WasmType.empty)
  emitCharge(w)
  emitStoreRip(w, TARGET)
  emitAttention(w)
  w.u8(Wasm.brIf).u32(t.to(Label.resync, 1))
  w.u8(Wasm.localGet)
    .u32(STATE)
    .u8(Wasm.localGet)
    .u32(TARGET)
    .u8(Wasm.call)
    .u32(functions.lookup)
    .u8(Wasm.localTee)
    .u32(ENTRY)
  w.u8(Wasm.i32Eqz).u8(Wasm.brIf).u32(t.to(Label.fault, 1))
  // The decoder may have dropped everything to make room; this record is then dead but still there (code-cache.ts).
  w.u8(Wasm.localGet).u32(RECORD).u8(Wasm.localGet).u32(ENTRY).u8(Wasm.i32Store).u32(2).u32(RecordField.link)
  w.u8(Wasm.localGet).u32(ENTRY).u8(Wasm.localSet).u32(RECORD)
  goNext(1)
  w.u8(Wasm.end)

  closeBlock() // $jump
  emitCharge(w)

  closeBlock() // $jumpCharged
  emitAttention(w)
  w.u8(Wasm.if).u8(WasmType.empty)
  emitStoreRip(w, TARGET)
  w.u8(Wasm.br).u32(t.to(Label.resync, 1))
  w.u8(Wasm.end)
  w.u8(Wasm.localGet).u32(TARGET).u8(Wasm.i32WrapI64)
  w.u8(Wasm.localGet)
    .u32(TARGET)
    .u8(Wasm.i64Const)
    .s64(12, 0)
    .u8(Wasm.i64ShrU)
    .u8(Wasm.i32WrapI64)
    .u8(Wasm.i32Xor)
  w.u8(Wasm.i32Const)
    .s32(JUMP_CACHE_ENTRIES - 1)
    .u8(Wasm.i32And)
    .u8(Wasm.i32Const)
    .s32(4)
    .u8(Wasm.i32Shl)
  w.u8(Wasm.localGet).u32(STATE).u8(Wasm.i32Add).u8(Wasm.localTee).u32(ENTRY)
  w.u8(Wasm.i64Load).u32(3).u32(JUMP_CACHE_OFFSET)
  w.u8(Wasm.localGet)
    .u32(TARGET)
    .u8(Wasm.localGet)
    .u32(STATE)
    .u8(Wasm.i64Load)
    .u32(3)
    .u32(EngineState.jumpKey)
    .u8(Wasm.i64Xor)
    .u8(Wasm.i64Eq)
  w.u8(Wasm.if).u8(WasmType.empty)
  w.u8(Wasm.localGet)
    .u32(ENTRY)
    .u8(Wasm.i32Load)
    .u32(2)
    .u32(JUMP_CACHE_OFFSET + 8)
    .u8(Wasm.localSet)
    .u32(RECORD)
  w.u8(Wasm.localGet)
    .u32(STATE)
    .u8(Wasm.localGet)
    .u32(TARGET)
    .u8(Wasm.i64Const)
    .s64(-4096, -1)
    .u8(Wasm.i64And)
    .u8(Wasm.i64Store)
    .u32(3)
    .u32(State.ripPage)
  goNext(1)
  w.u8(Wasm.end)
  w.u8(Wasm.localGet)
    .u32(STATE)
    .u8(Wasm.localGet)
    .u32(TARGET)
    .u8(Wasm.call)
    .u32(functions.jumpSlow)
    .u8(Wasm.localTee)
    .u32(RECORD)
  w.u8(Wasm.brIf).u32(t.to(Label.next))
  w.u8(Wasm.br).u32(t.to(Label.fault))

  closeBlock() // $faultAt
  emitCharge(w, 1)
  emitThisRip(w, STATE, RECORD)
  w.u8(Wasm.localSet).u32(TARGET)
  emitStoreRip(w, TARGET)

  closeBlock() // $fault
  w.u8(Wasm.localGet).u32(STATE).u8(Wasm.call).u32(functions.afterFault).u8(Wasm.i32Eqz)
  w.u8(Wasm.if).u8(WasmType.empty).u8(Wasm.return).u8(Wasm.end)

  closeBlock() // $resync
  emitEvents()

  closeBlock() // $next
  t.pool.types.forEach((type, index) => {
    if (type === Type.i32) w.u8(Wasm.i32Const).s32(0)
    else if (type === Type.i64) w.u8(Wasm.i64Const).s64(0, 0)
    else if (type === Type.f32) w.u8(Wasm.f32Const).bytes(new Uint8Array(4))
    else if (type === Type.f64) w.u8(Wasm.f64Const).bytes(new Uint8Array(8))
    else w.u8(Wasm.prefixSimd).u32(Wasm.v128Const).bytes(new Uint8Array(16))
    w.u8(Wasm.localSet).u32(FIRST_POOL_LOCAL + index)
  })
  w.u8(Wasm.i64Const).s64(0, 0).u8(Wasm.localSet).u32(TARGET)
  w.u8(Wasm.i32Const).s32(0).u8(Wasm.localSet).u32(ENTRY)
  w.u8(Wasm.br).u32(0)
  w.u8(Wasm.end) // loop
  w.u8(Wasm.unreachable).u8(Wasm.end)

  const out = new ByteWriter(w.length + 256)
  const types = [Type.i32, Type.i64, Type.i32, ...t.pool.types]
  out.u32(types.length)
  for (const type of types) out.u32(1).u8(wasmTypes[type]!)
  const header = out.length
  return { bytes: out.bytes(w.view()).view().slice(), unlikely: t.hints.map((offset) => offset + header) }
}

/** The direct target of the record, into TARGET. */
function emitTarget(w: ByteWriter): void {
  w.u8(Wasm.localGet).u32(STATE).u8(Wasm.i64Load).u32(3).u32(State.ripPage)
  w.u8(Wasm.localGet)
    .u32(RECORD)
    .u8(Wasm.i64Load)
    .u32(3)
    .u32(RecordField.immediate)
    .u8(Wasm.i64Add)
    .u8(Wasm.localSet)
    .u32(TARGET)
}
