/**
 * Lowering targets for code that is a WebAssembly function of its own: procedures, and handlers of rare forms.
 *
 * All take the state's base as first parameter. A pending fault leaves a function early: its result is then zero, and
 * the caller looks at `State.fault` or at that zero.
 */
import { type Code, type Procedure, State, Type } from '@trapframe/x86'
import { lower } from '../compiler/lowering.ts'
import {
  type EngineFunction,
  LocalPool,
  type LoweringTarget,
  wasmTypes,
} from '../compiler/lowering-target.ts'
import { RecordField } from '../engine/layout.ts'
import { ByteWriter } from '../wasm/byte-writer.ts'
import { Wasm, WasmType } from '../wasm/opcode.ts'

/** What a handler function answers to the main loop. */
export const Outcome = { next: 0, fault: 1, branch: 2, jump: 3, resync: 4 } as const

/** Function indices that code refers to. */
export interface FunctionIndices {
  procedure(number: number): number
  procedureMayFault(number: number): boolean
  engineFunction(name: EngineFunction): number
}

abstract class FunctionTarget implements LoweringTarget {
  readonly w: ByteWriter = new ByteWriter()
  readonly pool: LocalPool
  readonly stateLocal = 0
  readonly inlineMemory = false
  readonly #indices: FunctionIndices

  constructor(indices: FunctionIndices, parameterCount: number) {
    this.#indices = indices
    this.pool = new LocalPool(parameterCount)
  }

  parameter(index: number): void {
    this.w.u8(Wasm.localGet).u32(index + 1)
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

  unlikely(): void {}

  /** The body is wrapped in one block, to whose end a fault goes. */
  fault(depth: number): void {
    this.w.u8(Wasm.br).u32(depth)
  }
  faultIf(depth: number): void {
    this.w.u8(Wasm.brIf).u32(depth)
  }

  abstract branch(depth: number): void
  abstract jump(depth: number): void
  abstract resync(depth: number): void
  abstract return(depth: number): void
  abstract nextRip(): void
  abstract thisRip(): void

  /** Declaration of locals, then the code. */
  finish(): Uint8Array {
    const out = new ByteWriter(this.w.length + 64)
    out.u32(this.pool.types.length)
    for (const type of this.pool.types) out.u32(1).u8(wasmTypes[type]!)
    return out.bytes(this.w.view()).view().slice()
  }
}

class ProcedureTarget extends FunctionTarget {
  readonly #name: string

  constructor(indices: FunctionIndices, procedure: Procedure) {
    super(indices, procedure.parameters.length + 1)
    this.#name = procedure.name
  }

  return(): void {
    this.w.u8(Wasm.return)
  }
  branch(): void {
    this.#refuse()
  }
  jump(): void {
    this.#refuse()
  }
  resync(): void {
    this.#refuse()
  }
  nextRip(): void {
    this.#refuse()
  }
  thisRip(): void {
    this.#refuse()
  }

  #refuse(): never {
    throw new Error(`procedure ${this.#name} ends an instruction: only bodies of instructions do that`)
  }
}

class HandlerTarget extends FunctionTarget {
  constructor(indices: FunctionIndices) {
    super(indices, 2)
  }

  return(): void {
    throw new Error('the body of an instruction does not return')
  }
  branch(): void {
    this.#outcome(Outcome.branch)
  }
  jump(): void {
    this.#leaveTo(Outcome.jump)
  }
  resync(): void {
    this.#leaveTo(Outcome.resync)
  }
  nextRip(): void {
    emitNextRip(this.w, 0, 1)
  }
  thisRip(): void {
    emitThisRip(this.w, 0, 1)
  }

  #outcome(outcome: number): void {
    this.w.u8(Wasm.i32Const).s32(outcome).u8(Wasm.return)
  }

  /** The target is on the stack: it goes into `State.rip`. */
  #leaveTo(outcome: number): void {
    const target = this.pool.take(Type.i64)
    this.w
      .u8(Wasm.localSet)
      .u32(target)
      .u8(Wasm.localGet)
      .u32(0)
      .u8(Wasm.localGet)
      .u32(target)
      .u8(Wasm.i64Store)
      .u32(3)
      .u32(State.rip)
    this.pool.give(Type.i64, target)
    this.#outcome(outcome)
  }
}

/** RIP of the instruction of the record in `recordLocal`. */
export function emitThisRip(w: ByteWriter, stateLocal: number, recordLocal: number): void {
  w.u8(Wasm.localGet).u32(stateLocal).u8(Wasm.i64Load).u32(3).u32(State.ripPage)
  w.u8(Wasm.localGet).u32(recordLocal).u8(Wasm.i64Load16U).u32(1).u32(RecordField.start).u8(Wasm.i64Add)
}

/** RIP of the instruction after it. */
export function emitNextRip(w: ByteWriter, stateLocal: number, recordLocal: number): void {
  emitThisRip(w, stateLocal, recordLocal)
  w.u8(Wasm.localGet).u32(recordLocal).u8(Wasm.i64Load8U).u32(0).u32(RecordField.length).u8(Wasm.i64Add)
}

/** Body of a procedure. */
export function lowerProcedure(procedure: Procedure, code: Code, indices: FunctionIndices): Uint8Array {
  const target = new ProcedureTarget(indices, procedure)
  const { w } = target
  w.u8(Wasm.block).u8(WasmType.empty)
  lower(code, target)
  // Falling off the end is right only without a result; with one, the body has returned.
  if (procedure.result === Type.none) w.u8(Wasm.return)
  w.u8(Wasm.end)
  emitZero(w, procedure.result)
  w.u8(Wasm.end)
  return target.finish()
}

/** Body of a handler function. (state, record) -> Outcome */
export function lowerHandler(code: Code, indices: FunctionIndices): Uint8Array {
  const target = new HandlerTarget(indices)
  const { w } = target
  w.u8(Wasm.block).u8(WasmType.empty)
  lower(code, target)
  w.u8(Wasm.i32Const).s32(Outcome.next).u8(Wasm.return)
  w.u8(Wasm.end)
  w.u8(Wasm.i32Const).s32(Outcome.fault).u8(Wasm.end)
  return target.finish()
}

function emitZero(w: ByteWriter, type: Type): void {
  if (type === Type.i32) w.u8(Wasm.i32Const).s32(0)
  else if (type === Type.i64) w.u8(Wasm.i64Const).s64(0, 0)
  else if (type === Type.f32) w.u8(Wasm.f32Const).bytes(new Uint8Array(4))
  else if (type === Type.f64) w.u8(Wasm.f64Const).bytes(new Uint8Array(8))
  else if (type === Type.v128) w.u8(Wasm.prefixSimd).u32(Wasm.v128Const).bytes(new Uint8Array(16))
}
