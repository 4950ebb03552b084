/**
 * Lowers IR to WebAssembly code. The same for everything that is compiled: interpreter handlers, procedures and,
 * later, regions. What differs between them (where operands live, where a fault goes, how an instruction ends) is the
 * `LoweringTarget`.
 *
 * Values are emitted where they are used if they are pure and used once; everything else goes through a WebAssembly
 * local. Locals come from a pool per type, so that the interpreter's main function needs few of them.
 */
import {
  Access,
  accessBytes,
  type Code,
  Fault,
  Flag,
  FlagsBit,
  numericRows,
  Op,
  State,
  Type,
} from '@trapframe/x86'
import { EngineState, TLB_ENTRIES, TLB_ENTRY_BYTES, TlbField } from '../engine/layout.ts'
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

const pureNumeric = new Map<number, readonly Type[]>()
for (const [, opcode, operands] of numericRows) pureNumeric.set(opcode, operands)
/** Division traps, so it must stay where it was written. */
const traps = new Set([0x6d, 0x6e, 0x6f, 0x70, 0x7f, 0x80, 0x81, 0x82])

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

/** Emits the code of `code` for `target`. Falls off the end where the code does. */
export function lower(code: Code, target: LoweringTarget): void {
  new Lowering(code, target).run()
}

class Lowering {
  readonly #code: Code
  readonly #t: LoweringTarget
  readonly #w: ByteWriter
  readonly #uses: Uint32Array
  /** WebAssembly local of each value that has one, else -1. */
  readonly #local: Int32Array
  readonly #variables: number[] = []
  /** Region depth at which each label was opened. */
  readonly #labelDepth: number[] = []
  readonly #attempts: number[] = []
  readonly #open: { label: number; op: number }[] = []

  constructor(code: Code, target: LoweringTarget) {
    this.#code = code
    this.#t = target
    this.#w = target.w
    this.#uses = new Uint32Array(code.length)
    this.#local = new Int32Array(code.length).fill(-1)
  }

  run(): void {
    const code = this.#code
    this.#countUses()
    for (const type of code.locals) this.#variables.push(this.#t.pool.take(type))
    // A variable starts as zero each time the code runs; the pool's locals carry old values.
    code.locals.forEach((type, index) => {
      this.#zero(type)
      this.#w.u8(Wasm.localSet).u32(this.#variables[index]!)
    })
    for (let i = 0; i < code.length; i++) {
      if (this.#isInline(i)) continue
      this.#statement(i)
    }
    for (let i = 0; i < code.length; i++)
      if (this.#local[i]! >= 0) this.#t.pool.give(code.type[i]! as Type, this.#local[i]!)
    code.locals.forEach((type, index) => this.#t.pool.give(type, this.#variables[index]!))
  }

  #countUses(): void {
    const { op, a, b, c, length, extra } = this.#code
    const uses = this.#uses
    for (let i = length - 1; i >= 0; i--) {
      const operation = op[i]!
      // A pure value that nobody uses keeps none of its operands alive.
      if (uses[i] === 0 && this.#isPure(i)) continue
      switch (operation) {
        case Op.localSet:
        case Op.if:
        case Op.brIf:
        case Op.extractLane:
        case Op.hostLoad:
        case Op.guestLoad:
        case Op.guestRef:
        case Op.refLoad:
        case Op.flagsSet:
        case Op.jump:
        case Op.resync:
          uses[a[i]!]!++
          break
        case Op.return:
        case Op.stateLoad:
          if (a[i]! >= 0) uses[a[i]!]!++
          break
        case Op.stateStore:
          if (a[i]! >= 0) uses[a[i]!]!++
          uses[b[i]!]!++
          break
        case Op.replaceLane:
        case Op.shuffle:
        case Op.hostStore:
        case Op.guestStore:
        case Op.raise:
          uses[a[i]!]!++
          uses[b[i]!]!++
          break
        case Op.select:
        case Op.hostCopy:
        case Op.hostFill:
        case Op.refStore:
        case Op.flagsAdd:
        case Op.flagsSub:
          // Values that are needed more than once by what they lower to get a local.
          uses[a[i]!]! += operation === Op.refStore ? 2 : operation >= Op.flagsAdd ? 3 : 1
          uses[b[i]!]! += operation >= Op.flagsAdd ? 3 : 1
          uses[c[i]!]! += operation === Op.refStore || operation >= Op.flagsAdd ? 3 : 1
          break
        case Op.refCompareExchange:
          uses[a[i]!]!++
          uses[b[i]!]!++
          uses[c[i]!]!++
          uses[extra[this.#code.aux[i]! >> 4]!]!++
          break
        case Op.flagsLogic:
          uses[c[i]!]!++
          break
        case Op.call:
          for (let k = 0; k < b[i]!; k++) uses[extra[a[i]! + k]!]!++
          break
        default: {
          const operands = pureNumeric.get(operation)
          if (!operands) break
          uses[a[i]!]!++
          if (operands.length > 1) uses[b[i]!]!++
          if (operands.length > 2) uses[c[i]!]!++
        }
      }
      // Addresses are used several times by an inlined lookup.
      if (operation === Op.guestLoad || operation === Op.guestStore || operation === Op.guestRef)
        uses[a[i]!]! += 3
      if (operation === Op.guestStore) uses[b[i]!]! += 1
    }
  }

  #isPure(i: number): boolean {
    const op = this.#code.op[i]!
    if (op < Op.first) return !traps.has(op)
    switch (op) {
      case Op.constant:
      case Op.vectorConstant:
      case Op.parameter:
      case Op.stateBase:
      case Op.select:
      case Op.extractLane:
      case Op.replaceLane:
      case Op.shuffle:
      case Op.localGet:
      case Op.stateLoad:
      case Op.hostLoad:
      case Op.flagGet:
      case Op.flagsRead:
      case Op.condition:
      case Op.nextRip:
      case Op.thisRip:
        return true
      default:
        return false
    }
  }

  /** Emitted at its use: constants and parameters always, other context-free values if used once, unused ones nowhere. */
  #isInline(i: number): boolean {
    const op = this.#code.op[i]!
    if (op === Op.constant || op === Op.vectorConstant || op === Op.parameter || op === Op.stateBase)
      return true
    if (!this.#isPure(i)) return false
    if (this.#uses[i] === 0) return true
    const contextFree =
      op < Op.first || op === Op.select || op === Op.extractLane || op === Op.replaceLane || op === Op.shuffle
    return contextFree && this.#uses[i] === 1
  }

  /** Puts value `v` on the stack. */
  #value(v: number): void {
    const local = this.#local[v]!
    if (local >= 0) this.#w.u8(Wasm.localGet).u32(local)
    else this.#compute(v)
  }

  get #depth(): number {
    return this.#open.length
  }

  #fault(): void {
    const attempt = this.#attempts.at(-1)
    if (attempt === undefined) this.#t.fault(this.#depth)
    else this.#w.u8(Wasm.br).u32(this.#depth - attempt)
  }

  #faultIf(): void {
    const attempt = this.#attempts.at(-1)
    if (attempt === undefined) this.#t.faultIf(this.#depth)
    else this.#w.u8(Wasm.brIf).u32(this.#depth - attempt)
  }

  #openRegion(label: number, op: number): void {
    this.#open.push({ label, op })
    this.#labelDepth[label] = this.#depth
  }

  #statement(i: number): void {
    const { op, type, aux, a, b, c } = this.#code
    const w = this.#w
    switch (op[i]!) {
      case Op.localSet:
        this.#value(a[i]!)
        w.u8(Wasm.localSet).u32(this.#variables[aux[i]!]!)
        return
      case Op.block:
        this.#openRegion(aux[i]!, Op.block)
        w.u8(Wasm.block).u8(WasmType.empty)
        return
      case Op.attempt:
        this.#openRegion(aux[i]!, Op.attempt)
        this.#attempts.push(this.#depth)
        w.u8(Wasm.block).u8(WasmType.empty)
        return
      case Op.loop:
        this.#openRegion(aux[i]!, Op.loop)
        w.u8(Wasm.loop).u8(WasmType.empty)
        return
      case Op.if:
        this.#value(a[i]!)
        this.#openRegion(aux[i]!, Op.if)
        w.u8(Wasm.if).u8(WasmType.empty)
        return
      case Op.else:
        w.u8(Wasm.else)
        return
      case Op.end:
        if (this.#open.pop()!.op === Op.attempt) this.#attempts.pop()
        w.u8(Wasm.end)
        return
      case Op.br:
        w.u8(Wasm.br).u32(this.#depth - this.#labelDepth[aux[i]!]!)
        return
      case Op.brIf:
        this.#value(a[i]!)
        w.u8(Wasm.brIf).u32(this.#depth - this.#labelDepth[aux[i]!]!)
        return
      case Op.return:
        if (a[i]! >= 0) this.#value(a[i]!)
        this.#t.return(this.#depth)
        return
      case Op.stateStore:
        if (a[i]! < 0 && this.#t.cache?.store(aux[i]! as Access, c[i]!, () => this.#value(b[i]!))) return
        w.u8(Wasm.localGet).u32(this.#t.stateLocal)
        if (a[i]! >= 0) {
          this.#value(a[i]!)
          w.u8(Wasm.i32Add)
        }
        this.#value(b[i]!)
        this.#store(aux[i]! as Access, c[i]!)
        return
      case Op.hostStore:
        this.#value(a[i]!)
        this.#value(b[i]!)
        this.#store(aux[i]! as Access, c[i]!)
        return
      case Op.hostCopy:
      case Op.hostFill:
        this.#value(a[i]!)
        this.#value(b[i]!)
        this.#value(c[i]!)
        if (op[i] === Op.hostCopy) w.u8(Wasm.prefixFc).u32(Wasm.memoryCopy).u8(0).u8(0)
        else w.u8(Wasm.prefixFc).u32(Wasm.memoryFill).u8(0)
        return
      case Op.guestStore:
        this.#guestStore(i)
        return
      case Op.refStore:
        this.#refStore(i)
        return
      case Op.flagsAdd:
      case Op.flagsSub:
        this.#flagsArithmetic(i)
        return
      case Op.flagsLogic:
        this.#flagsLogic(i)
        return
      case Op.flagsSet:
        this.#flagsSet(i)
        return
      case Op.branch:
        this.#t.branch(this.#depth)
        return
      case Op.jump:
        this.#value(a[i]!)
        this.#t.jump(this.#depth)
        return
      case Op.resync:
        this.#value(a[i]!)
        this.#t.resync(this.#depth)
        return
      case Op.raise:
        this.#storeState32(State.faultVector, () => this.#value(a[i]!))
        this.#storeState32(State.faultErrorCode, () => this.#value(b[i]!))
        this.#storeState32(State.fault, () => w.u8(Wasm.i32Const).s32(Fault.exception))
        this.#fault()
        return
      case Op.exit:
        this.#storeState32(State.exitReason, () => w.u8(Wasm.i32Const).s32(aux[i]!))
        this.#storeState32(State.fault, () => w.u8(Wasm.i32Const).s32(Fault.exit))
        this.#fault()
        return
      case Op.call: {
        const { extra } = this.#code
        w.u8(Wasm.localGet).u32(this.#t.stateLocal)
        for (let k = 0; k < b[i]!; k++) this.#value(extra[a[i]! + k]!)
        w.u8(Wasm.call).u32(this.#t.procedure(aux[i]!))
        if (type[i] !== Type.none) {
          if (this.#uses[i]! > 0) this.#setNew(i)
          else w.u8(Wasm.drop)
        }
        if (this.#t.procedureMayFault(aux[i]!)) {
          w.u8(Wasm.localGet).u32(this.#t.stateLocal).u8(Wasm.i32Load).u32(2).u32(State.fault)
          this.#faultIf()
        }
        return
      }
      default:
        // A value: computed once, kept in a local.
        this.#compute(i)
        if (this.#uses[i]! > 0) this.#setNew(i)
        else w.u8(Wasm.drop)
    }
  }

  #setNew(i: number): void {
    const local = this.#t.pool.take(this.#code.type[i]! as Type)
    this.#local[i] = local
    this.#w.u8(Wasm.localSet).u32(local)
  }

  /** Emits the operation `i` itself. */
  #compute(i: number): void {
    const { op, type, aux, a, b, c, pool } = this.#code
    const w = this.#w
    const operation = op[i]!
    const operands = pureNumeric.get(operation)
    if (operands) {
      this.#value(a[i]!)
      if (operands.length > 1) this.#value(b[i]!)
      if (operands.length > 2) this.#value(c[i]!)
      if (operation >= 0x240) w.u8(Wasm.prefixFc).u32(operation - 0x240)
      else if (operation >= 0x100) w.u8(Wasm.prefixSimd).u32(operation - 0x100)
      else w.u8(operation)
      return
    }
    switch (operation) {
      case Op.constant:
        if (type[i] === Type.i32) w.u8(Wasm.i32Const).s32(a[i]!)
        else w.u8(Wasm.i64Const).s64(a[i]!, b[i]!)
        return
      case Op.vectorConstant:
        w.u8(Wasm.prefixSimd).u32(Wasm.v128Const).bytes(pool[aux[i]!]!)
        return
      case Op.parameter:
        this.#t.parameter(aux[i]!)
        return
      case Op.stateBase:
        w.u8(Wasm.localGet).u32(this.#t.stateLocal)
        return
      case Op.localGet:
        w.u8(Wasm.localGet).u32(this.#variables[aux[i]!]!)
        return
      case Op.select:
        this.#value(b[i]!)
        this.#value(c[i]!)
        this.#value(a[i]!)
        if (type[i] === Type.v128) w.u8(0x1c).u32(1).u8(WasmType.v128)
        else w.u8(Wasm.select)
        return
      case Op.extractLane:
        this.#value(a[i]!)
        w.u8(Wasm.prefixSimd).u32(c[i]!).u8(aux[i]!)
        return
      case Op.replaceLane:
        this.#value(a[i]!)
        this.#value(b[i]!)
        w.u8(Wasm.prefixSimd).u32(c[i]!).u8(aux[i]!)
        return
      case Op.shuffle:
        this.#value(a[i]!)
        this.#value(b[i]!)
        w.u8(Wasm.prefixSimd).u32(Wasm.i8x16Shuffle).bytes(pool[aux[i]!]!)
        return
      case Op.stateLoad:
        if (a[i]! < 0 && this.#t.cache?.load(aux[i]! as Access, c[i]!)) return
        w.u8(Wasm.localGet).u32(this.#t.stateLocal)
        if (a[i]! >= 0) {
          this.#value(a[i]!)
          w.u8(Wasm.i32Add)
        }
        this.#load(aux[i]! as Access, c[i]!)
        return
      case Op.hostLoad:
        this.#value(a[i]!)
        this.#load(aux[i]! as Access, c[i]!)
        return
      case Op.takeFault:
        w.u8(Wasm.localGet).u32(this.#t.stateLocal).u8(Wasm.i32Load).u32(2).u32(State.fault)
        w.u8(Wasm.i32Const).s32(0).u8(Wasm.i32Ne)
        this.#storeState32(State.fault, () => w.u8(Wasm.i32Const).s32(0))
        return
      case Op.guestLoad:
        this.#guestPointer(i, TlbField.read, 'read')
        this.#load((aux[i]! & 15) as Access, 0)
        return
      case Op.guestRef:
        this.#guestPointer(i, TlbField.write, 'reference')
        return
      case Op.refLoad:
        this.#value(a[i]!)
        this.#load(aux[i]! as Access, 0)
        return
      case Op.refCompareExchange:
        w.u8(Wasm.localGet).u32(this.#t.stateLocal)
        this.#value(a[i]!)
        this.#value(this.#code.extra[aux[i]! >> 4]!)
        w.u8(Wasm.i32Const).s32(accessBytes[aux[i]! & 15]!)
        this.#value(b[i]!)
        this.#value(c[i]!)
        w.u8(Wasm.call).u32(this.#t.engineFunction('compareExchange'))
        return
      case Op.flagGet:
        this.#flag(aux[i]!)
        return
      case Op.flagsRead:
        this.#flagsImage()
        return
      case Op.condition:
        this.#condition(aux[i]!)
        return
      case Op.nextRip:
        this.#t.nextRip()
        return
      case Op.thisRip:
        this.#t.thisRip()
        return
      default:
        throw new Error(`IR operation ${operation.toString(16)} cannot be lowered`)
    }
  }

  #load(access: Access, offset: number): void {
    const [opcode, alignment] = loads[access]
    if (opcode >= 0xfd00) this.#w.u8(Wasm.prefixSimd).u32(opcode & 0xff)
    else this.#w.u8(opcode)
    this.#w.u32(alignment).u32(offset)
  }

  #store(access: Access, offset: number): void {
    const opcode = stores[access]
    if (opcode >= 0xfd00) this.#w.u8(Wasm.prefixSimd).u32(opcode & 0xff)
    else this.#w.u8(opcode)
    this.#w.u32(0).u32(offset)
  }

  #zero(type: Type): void {
    const w = this.#w
    if (type === Type.i32) w.u8(Wasm.i32Const).s32(0)
    else if (type === Type.i64) w.u8(Wasm.i64Const).s64(0, 0)
    else if (type === Type.f32) w.u8(Wasm.f32Const).bytes([0, 0, 0, 0])
    else if (type === Type.f64) w.u8(Wasm.f64Const).bytes([0, 0, 0, 0, 0, 0, 0, 0])
    else w.u8(Wasm.prefixSimd).u32(Wasm.v128Const).bytes(new Uint8Array(16))
  }

  #storeState32(offset: number, value: () => void): void {
    this.#w.u8(Wasm.localGet).u32(this.#t.stateLocal)
    value()
    this.#w.u8(Wasm.i32Store).u32(2).u32(offset)
  }

  #loadState64(offset: number): void {
    if (this.#t.cache?.load(Access.u64, offset)) return
    this.#w.u8(Wasm.localGet).u32(this.#t.stateLocal).u8(Wasm.i64Load).u32(3).u32(offset)
  }

  #storeState64(offset: number, value: () => void): void {
    if (this.#t.cache?.store(Access.u64, offset, value)) return
    this.#w.u8(Wasm.localGet).u32(this.#t.stateLocal)
    value()
    this.#w.u8(Wasm.i64Store).u32(3).u32(offset)
  }

  // Guest memory.

  /** Leaves on the stack whether the TLB entry (its address goes into `entry`) does not allow the access: i32. */
  #lookup(address: number, bytes: number, tag: number, supervisor: boolean, entry: number): void {
    const w = this.#w
    // (linear + size - 1) & ~0xfff: an access that crosses its page meets the tag of the wrong page and misses.
    this.#value(address)
    if (bytes > 1)
      w.u8(Wasm.i64Const)
        .s64(bytes - 1, 0)
        .u8(Wasm.i64Add)
    w.u8(Wasm.i64Const).s64(-4096, -1).u8(Wasm.i64And)
    this.#value(address)
    w.u8(Wasm.i64Const).s64(7, 0).u8(Wasm.i64ShrU).u8(Wasm.i32WrapI64)
    w.u8(Wasm.i32Const)
      .s32((TLB_ENTRIES - 1) * TLB_ENTRY_BYTES)
      .u8(Wasm.i32And)
    if (supervisor || !this.#t.cache?.tlb())
      w.u8(Wasm.localGet)
        .u32(this.#t.stateLocal)
        .u8(Wasm.i32Load)
        .u32(2)
        .u32(supervisor ? EngineState.tlbSupervisor : EngineState.tlb)
    w.u8(Wasm.i32Add).u8(Wasm.localTee).u32(entry)
    w.u8(Wasm.i64Load).u32(3).u32(tag).u8(Wasm.i64Ne)
  }

  /** The host address of a guest access, on the stack. */
  #guestPointer(i: number, tag: number, slow: 'read' | 'reference'): void {
    const { aux, a } = this.#code
    const w = this.#w
    const bytes = accessBytes[aux[i]! & 15]!
    const supervisor = aux[i]! >> 4 !== 0
    const pointer = this.#t.pool.take(Type.i32)
    const callSlow = (): void => {
      w.u8(Wasm.localGet).u32(this.#t.stateLocal)
      this.#value(a[i]!)
      w.u8(Wasm.i32Const)
        .s32(bytes)
        .u8(Wasm.i32Const)
        .s32(supervisor ? 1 : 0)
      w.u8(Wasm.call).u32(this.#t.engineFunction(slow))
      w.u8(Wasm.localTee).u32(pointer).u8(Wasm.i32Eqz)
    }
    if (this.#t.inlineMemory) {
      const entry = this.#t.pool.take(Type.i32)
      this.#lookup(a[i]!, bytes, tag, supervisor, entry)
    this.#t.unlikely()
      w.u8(Wasm.if).u8(WasmType.empty)
      this.#open.push({ label: -1, op: Op.if })
      callSlow()
      this.#faultIf()
      if (slow === 'reference') this.#t.cache?.afterSlowStore()
      w.u8(Wasm.else)
      this.#value(a[i]!)
      w.u8(Wasm.i32WrapI64)
        .u8(Wasm.localGet)
        .u32(entry)
        .u8(Wasm.i32Load)
        .u32(2)
        .u32(TlbField.addend)
        .u8(Wasm.i32Add)
      w.u8(Wasm.localSet).u32(pointer)
      this.#open.pop()
      w.u8(Wasm.end)
      this.#t.pool.give(Type.i32, entry)
    } else {
      callSlow()
      this.#faultIf()
      if (slow === 'reference') this.#t.cache?.afterSlowStore()
    }
    w.u8(Wasm.localGet).u32(pointer)
    this.#t.pool.give(Type.i32, pointer)
  }

  #guestStore(i: number): void {
    const { aux, a, b } = this.#code
    const w = this.#w
    const access = (aux[i]! & 15) as Access
    const bytes = accessBytes[access]!
    const supervisor = aux[i]! >> 4 !== 0
    const slow = (): void => {
      w.u8(Wasm.localGet).u32(this.#t.stateLocal)
      this.#value(b[i]!)
      this.#store(access, EngineState.scratch)
      this.#writeSlow(a[i]!, bytes, supervisor)
    }
    if (!this.#t.inlineMemory) {
      slow()
      return
    }
    const entry = this.#t.pool.take(Type.i32)
    this.#lookup(a[i]!, bytes, TlbField.write, supervisor, entry)
    this.#t.unlikely()
    w.u8(Wasm.if).u8(WasmType.empty)
    this.#open.push({ label: -1, op: Op.if })
    slow()
    w.u8(Wasm.else)
    this.#value(a[i]!)
    w.u8(Wasm.i32WrapI64)
      .u8(Wasm.localGet)
      .u32(entry)
      .u8(Wasm.i32Load)
      .u32(2)
      .u32(TlbField.addend)
      .u8(Wasm.i32Add)
    this.#value(b[i]!)
    this.#store(access, 0)
    this.#open.pop()
    w.u8(Wasm.end)
    this.#t.pool.give(Type.i32, entry)
  }

  /** Writes the scratch bytes to guest memory; leaves by the fault edge. */
  #writeSlow(address: number, bytes: number, supervisor: boolean): void {
    const w = this.#w
    w.u8(Wasm.localGet).u32(this.#t.stateLocal)
    this.#value(address)
    w.u8(Wasm.i32Const)
      .s32(bytes)
      .u8(Wasm.i32Const)
      .s32(supervisor ? 1 : 0)
    w.u8(Wasm.call).u32(this.#t.engineFunction('write')).u8(Wasm.i32Eqz)
    this.#faultIf()
    this.#t.cache?.afterSlowStore()
  }

  /** A reference below guest RAM is the scratch buffer: what was stored there goes on to its place. */
  #refStore(i: number): void {
    const { aux, a, b, c } = this.#code
    const w = this.#w
    const access = aux[i]! as Access
    this.#value(a[i]!)
    this.#value(b[i]!)
    this.#store(access, 0)
    this.#value(a[i]!)
    w.u8(Wasm.localGet)
      .u32(this.#t.stateLocal)
      .u8(Wasm.i32Const)
      .s32(EngineState.scratch)
      .u8(Wasm.i32Add)
      .u8(Wasm.i32Eq)
    this.#t.unlikely()
    w.u8(Wasm.if).u8(WasmType.empty)
    this.#open.push({ label: -1, op: Op.if })
    this.#writeSlow(c[i]!, accessBytes[access]!, false)
    this.#open.pop()
    w.u8(Wasm.end)
  }

  // Arithmetic flags, see state-layout.ts of @trapframe/x86.

  #flagsArithmetic(i: number): void {
    const { op, aux, a, b, c } = this.#code
    const w = this.#w
    const bits = aux[i]! & 0xff
    const keepCarry = (aux[i]! & FlagsBit.keepCarry) !== 0
    const subtract = op[i] === Op.flagsSub
    const noted = this.#t.cache?.flagsOperation(
      subtract ? 'sub' : 'add',
      aux[i]!,
      () => this.#value(a[i]!),
      () => this.#value(b[i]!),
      () => this.#value(c[i]!),
    )
    if (noted) return
    this.#storeResult(c[i]!, bits)
    // Carries out of each bit. Sum: (a & b) | ((a | b) & ~r). Difference: with ~a for a, and r for ~r.
    const x = (): void => {
      this.#value(a[i]!)
      if (subtract) w.u8(Wasm.i64Const).s64(-1, -1).u8(Wasm.i64Xor)
    }
    const carries = (): void => {
      x()
      this.#value(b[i]!)
      w.u8(Wasm.i64And)
      x()
      this.#value(b[i]!)
      w.u8(Wasm.i64Or)
      this.#value(c[i]!)
      if (!subtract) w.u8(Wasm.i64Const).s64(-1, -1).u8(Wasm.i64Xor)
      w.u8(Wasm.i64And).u8(Wasm.i64Or)
      if (bits < 64)
        w.u8(Wasm.i64Const)
          .s64(64 - bits, 0)
          .u8(Wasm.i64Shl)
    }
    if (keepCarry) {
      // Bit 63 stays; bit 62 becomes CF ^ OF, so that OF reads right.
      const kept = this.#t.pool.take(Type.i64)
      const fresh = this.#t.pool.take(Type.i64)
      carries()
      w.u8(Wasm.localSet).u32(fresh)
      this.#loadState64(State.flagsCarry)
      w.u8(Wasm.i64Const).s64(0, -0x8000_0000).u8(Wasm.i64And).u8(Wasm.localSet).u32(kept)
      this.#storeState64(State.flagsCarry, () => {
        w.u8(Wasm.localGet)
          .u32(fresh)
          .u8(Wasm.localGet)
          .u32(fresh)
          .u8(Wasm.i64Const)
          .s64(1, 0)
          .u8(Wasm.i64Shl)
          .u8(Wasm.i64Xor)
        w.u8(Wasm.i64Const).s64(1, 0).u8(Wasm.i64ShrU).u8(Wasm.i64Const).s64(0, 0x4000_0000).u8(Wasm.i64And)
        w.u8(Wasm.localGet)
          .u32(kept)
          .u8(Wasm.localGet)
          .u32(kept)
          .u8(Wasm.i64Const)
          .s64(1, 0)
          .u8(Wasm.i64ShrU)
          .u8(Wasm.i64Or)
          .u8(Wasm.i64Xor)
      })
      this.#t.pool.give(Type.i64, kept)
      this.#t.pool.give(Type.i64, fresh)
    } else {
      this.#storeState64(State.flagsCarry, carries)
    }
    this.#storeState64(State.flagsAux, () => {
      this.#value(a[i]!)
      this.#value(b[i]!)
      w.u8(Wasm.i64Xor)
      this.#value(c[i]!)
      w.u8(Wasm.i64Xor).u8(Wasm.i64Const).s64(0x10, 0).u8(Wasm.i64And)
    })
  }

  #storeResult(value: number, bits: number): void {
    this.#storeState64(State.flagsResult, () => {
      this.#value(value)
      if (bits < 64)
        this.#w.u8(bits === 8 ? Wasm.i64Extend8S : bits === 16 ? Wasm.i64Extend16S : Wasm.i64Extend32S)
    })
  }

  #flagsLogic(i: number): void {
    const { aux, c } = this.#code
    const zero = (): void => void this.#w.u8(Wasm.i64Const).s64(0, 0)
    if (this.#t.cache?.flagsOperation('logic', aux[i]!, zero, zero, () => this.#value(c[i]!))) return
    this.#storeResult(c[i]!, aux[i]! & 0xff)
    this.#storeState64(State.flagsCarry, zero)
    this.#storeState64(State.flagsAux, zero)
  }

  #flagsSet(i: number): void {
    const { aux, a } = this.#code
    const w = this.#w
    const mask = aux[i]!
    if (mask === (Flag.cf | Flag.of) && this.#t.cache?.flagsOverride(() => this.#value(a[i]!))) return
    if (mask === Flag.cf || mask === (Flag.cf | Flag.of)) {
      // carry = CF << 63 | (CF ^ OF) << 62
      const image = this.#t.pool.take(Type.i64)
      this.#value(a[i]!)
      w.u8(Wasm.i64ExtendI32U).u8(Wasm.localSet).u32(image)
      this.#storeState64(State.flagsCarry, () => {
        const bitAt = (bit: number, place: number): void => {
          w.u8(Wasm.localGet)
            .u32(image)
            .u8(Wasm.i64Const)
            .s64(place - bit, 0)
            .u8(Wasm.i64Shl)
          w.u8(Wasm.i64Const)
            .s64(0, (1 << (place - 32)) | 0)
            .u8(Wasm.i64And)
        }
        bitAt(0, 63)
        bitAt(0, 62)
        w.u8(Wasm.i64Or)
        if (mask === Flag.cf) {
          this.#loadState64(State.flagsCarry)
          this.#loadState64(State.flagsCarry)
          w.u8(Wasm.i64Const)
            .s64(1, 0)
            .u8(Wasm.i64Shl)
            .u8(Wasm.i64Xor)
            .u8(Wasm.i64Const)
            .s64(1, 0)
            .u8(Wasm.i64ShrU)
          w.u8(Wasm.i64Const).s64(0, 0x4000_0000).u8(Wasm.i64And)
        } else bitAt(11, 62)
        w.u8(Wasm.i64Xor)
      })
      this.#t.pool.give(Type.i64, image)
      return
    }
    this.#t.cache?.beforeFlags()
    w.u8(Wasm.localGet).u32(this.#t.stateLocal).u8(Wasm.i32Const).s32(mask)
    this.#value(a[i]!)
    w.u8(Wasm.call).u32(this.#t.engineFunction('setFlags'))
    this.#t.cache?.afterFlags()
  }

  /** Bit 63 of what `emit` leaves, as i32 0 or 1. */
  #topBit(emit: () => void): void {
    emit()
    this.#w.u8(Wasm.i64Const).s64(63, 0).u8(Wasm.i64ShrU).u8(Wasm.i32WrapI64)
  }

  #flag(flag: number): void {
    const w = this.#w
    if (this.#t.cache?.flag(flag)) return
    switch (flag) {
      case Flag.cf:
        this.#topBit(() => this.#loadState64(State.flagsCarry))
        return
      case Flag.zf:
        this.#loadState64(State.flagsResult)
        w.u8(Wasm.i64Eqz)
        return
      case Flag.sf:
        this.#topBit(() => this.#signWord())
        return
      case Flag.of:
        this.#topBit(() => this.#overflowWord())
        return
      case Flag.af:
        this.#loadState64(State.flagsAux)
        w.u8(Wasm.i32WrapI64)
        w.u8(Wasm.i32Const).s32(4).u8(Wasm.i32ShrU).u8(Wasm.i32Const).s32(1).u8(Wasm.i32And)
        return
      case Flag.pf:
        this.#loadState64(State.flagsResult)
        this.#loadState64(State.flagsAux)
        w.u8(Wasm.i64Const).s64(8, 0).u8(Wasm.i64ShrU).u8(Wasm.i64Xor).u8(Wasm.i32WrapI64)
        w.u8(Wasm.i32Const)
          .s32(0xff)
          .u8(Wasm.i32And)
          .u8(Wasm.i32Popcnt)
          .u8(Wasm.i32Const)
          .s32(1)
          .u8(Wasm.i32And)
          .u8(Wasm.i32Eqz)
        return
      default:
        throw new Error(`flag ${flag.toString(16)} is not an arithmetic flag`)
    }
  }

  #signWord(): void {
    this.#loadState64(State.flagsResult)
    this.#loadState64(State.flagsAux)
    this.#w.u8(Wasm.i64Xor)
  }

  #overflowWord(): void {
    this.#loadState64(State.flagsCarry)
    this.#loadState64(State.flagsCarry)
    this.#w.u8(Wasm.i64Const).s64(1, 0).u8(Wasm.i64Shl).u8(Wasm.i64Xor)
  }

  #flagsImage(): void {
    const w = this.#w
    const flags = [Flag.cf, Flag.pf, Flag.af, Flag.zf, Flag.sf, Flag.of]
    flags.forEach((flag, index) => {
      this.#flag(flag)
      const shift = 31 - Math.clz32(flag)
      if (shift > 0) w.u8(Wasm.i32Const).s32(shift).u8(Wasm.i32Shl)
      if (index > 0) w.u8(Wasm.i32Or)
    })
  }

  #condition(code: number): void {
    const w = this.#w
    if (this.#t.cache?.condition(code)) return
    const zero = (): void => this.#flag(Flag.zf)
    const less = (): void =>
      this.#topBit(() => {
        this.#signWord()
        this.#overflowWord()
        w.u8(Wasm.i64Xor)
      })
    switch (code & 14) {
      case 0:
        this.#flag(Flag.of)
        break
      case 2:
        this.#flag(Flag.cf)
        break
      case 4:
        zero()
        break
      case 6:
        this.#flag(Flag.cf)
        zero()
        w.u8(Wasm.i32Or)
        break
      case 8:
        this.#flag(Flag.sf)
        break
      case 10:
        this.#flag(Flag.pf)
        break
      case 12:
        less()
        break
      default:
        less()
        zero()
        w.u8(Wasm.i32Or)
    }
    if (code & 1) w.u8(Wasm.i32Eqz)
  }
}
