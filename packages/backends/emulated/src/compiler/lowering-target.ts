/**
 * What lowering is given: where operands and state are, where faults go, how an instruction ends. The interpreter's main
 * function, functions of their own, and regions each have a target.
 */
import { Access, type Type } from '@trapframe/x86'
import type { ByteWriter } from '../wasm/byte-writer.ts'
import { Wasm, WasmType } from '../wasm/opcode.ts'

/** WebAssembly type of each IR type. */
export const wasmTypes: readonly number[] = [
  0,
  WasmType.i32,
  WasmType.i64,
  WasmType.f32,
  WasmType.f64,
  WasmType.v128,
]

/** Gives out WebAssembly locals; released ones are used again. */
export class LocalPool {
  readonly #first: number
  readonly types: number[] = []
  readonly #free: number[][] = [[], [], [], [], [], []]

  /** @param first - index of the first local (after the parameters) */
  constructor(first: number) {
    this.#first = first
  }

  take(type: Type): number {
    const free = this.#free[type]!.pop()
    if (free !== undefined) return free
    return this.#first + this.types.push(type) - 1
  }

  give(type: Type, local: number): void {
    this.#free[type]!.push(local)
  }
}

export interface LoweringTarget {
  readonly w: ByteWriter
  readonly pool: LocalPool
  /** Local that holds the state's base. */
  readonly stateLocal: number
  /** Emits the value of parameter `index`. */
  parameter(index: number): void
  /** Index of the function for procedure `number`. */
  procedure(number: number): number
  /** Whether procedure `number` can leave with a fault pending. */
  procedureMayFault(number: number): boolean
  /** Index of an engine function (slow paths). */
  engineFunction(name: EngineFunction): number
  /** Lookups of the TLB are inlined, or go through a call. */
  readonly inlineMemory: boolean
  /** Parts of the state that the target keeps in locals; absent: it keeps none. */
  readonly cache?: StateCache | undefined
  /** Called just before a conditional branch is emitted whose condition hardly ever holds. */
  unlikely(): void
  /** The following leave the code; `depth` is the number of structured regions open in it. */
  fault(depth: number): void
  /** As `fault`, if the i32 on the stack is not zero. */
  faultIf(depth: number): void
  branch(depth: number): void
  /** The target RIP is on the stack. */
  jump(depth: number): void
  resync(depth: number): void
  /** The value, if any, is on the stack. */
  return(depth: number): void
  nextRip(): void
  thisRip(): void
}

/** State that lives in WebAssembly locals while the code runs. */
export interface StateCache {
  /** Emits the value of a state field, if the cache has it; answers whether it did. */
  load(access: Access, offset: number): boolean
  /** Emits the store of a value that `value` emits, if the cache has the field; answers whether it did. */
  store(access: Access, offset: number, value: () => void): boolean
  /** Emits the address of the TLB of the current privilege; answers whether it did. */
  tlb(): boolean
  /** An operation that sets flags; answers whether it was taken note of, so that nothing is to be computed now. */
  flagsOperation(
    operation: 'add' | 'sub' | 'logic',
    aux: number,
    x: () => void,
    y: () => void,
    result: () => void,
  ): boolean
  /** CF and OF are set to an i32 that has them at their EFLAGS positions; answers whether it was taken note of. */
  flagsOverride(image: () => void): boolean
  /** Emits a flag (Flag bit) or a condition code as i32, where that is easier than by the words; answers whether it did. */
  flag(flag: number): boolean
  condition(code: number): boolean
  /** The flags' words go back to the state, for a call that changes them; `after` fetches them again. */
  beforeFlags(): void
  afterFlags(): void
  /** Emitted on the slow way of a store that succeeded. */
  afterSlowStore(): void
}

/** Slow paths of guest memory, see engine/memory-access.ts. */
export type EngineFunction =
  | 'read'
  | 'write'
  | 'reference'
  | 'compareExchange'
  | 'setFlags'
  | 'materializeFlags'

const loads: Record<Access, readonly [opcode: number, alignment: number]> = {
  [Access.u8]: [Wasm.i64Load8U, 0],
  [Access.u16]: [Wasm.i64Load16U, 0],
  [Access.u32]: [Wasm.i64Load32U, 0],
  [Access.u64]: [Wasm.i64Load, 0],
  [Access.i32]: [Wasm.i32Load, 0],
  [Access.f32]: [Wasm.f32Load, 0],
  [Access.f64]: [Wasm.f64Load, 0],
  [Access.v128]: [0xfd00 | Wasm.v128Load, 0],
}
const stores: Record<Access, number> = {
  [Access.u8]: Wasm.i64Store8,
  [Access.u16]: Wasm.i64Store16,
  [Access.u32]: Wasm.i64Store32,
  [Access.u64]: Wasm.i64Store,
  [Access.i32]: Wasm.i32Store,
  [Access.f32]: Wasm.f32Store,
  [Access.f64]: Wasm.f64Store,
  [Access.v128]: 0xfd00 | Wasm.v128Store,
}

/** Emits a load; the address is on the stack. */
export function emitLoad(w: ByteWriter, access: Access, offset: number): void {
  const [opcode, alignment] = loads[access]
  if (opcode >= 0xfd00) w.u8(Wasm.prefixSimd).u32(opcode & 0xff)
  else w.u8(opcode)
  w.u32(alignment).u32(offset)
}

/** Emits a store; address and value are on the stack. */
export function emitStore(w: ByteWriter, access: Access, offset: number): void {
  const opcode = stores[access]
  if (opcode >= 0xfd00) w.u8(Wasm.prefixSimd).u32(opcode & 0xff)
  else w.u8(opcode)
  w.u32(0).u32(offset)
}
