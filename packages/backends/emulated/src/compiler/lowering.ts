/**
 * Lowers IR to WebAssembly code. The same for everything that is compiled: interpreter handlers, procedures and,
 * later, regions. What differs between them (where operands live, where a fault goes, how an instruction ends) is the
 * `LoweringTarget`.
 *
 * Values are emitted where they are used if they are pure and used once; everything else goes through a WebAssembly
 * local. Locals come from a pool per type, so that the interpreter's main function needs few of them.
 */
import { type Access, accessBytes, type Code, Fault, numericRows, Op, State, Type } from '@trapframe/x86'
import { TlbField } from '../engine/layout.ts'
import type { ByteWriter } from '../wasm/byte-writer.ts'
import { Wasm, WasmType } from '../wasm/opcode.ts'
import { FlagsLowering } from './lower-flags.ts'
import { MemoryLowering } from './lower-memory.ts'
import type { LoweringHost } from './lowering-host.ts'
import { emitLoad, emitStore, type LoweringTarget } from './lowering-target.ts'

const pureNumeric = new Map<number, readonly Type[]>()
for (const [, opcode, operands] of numericRows) pureNumeric.set(opcode, operands)
/** Division traps, so it must stay where it was written. */
const traps = new Set([0x6d, 0x6e, 0x6f, 0x70, 0x7f, 0x80, 0x81, 0x82])

/** Emits the code of `code` for `target`. Falls off the end where the code does. */
export function lower(code: Code, target: LoweringTarget): void {
  new Lowering(code, target).run()
}

class Lowering implements LoweringHost {
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
  readonly #memory: MemoryLowering
  readonly #flags: FlagsLowering

  constructor(code: Code, target: LoweringTarget) {
    this.#code = code
    this.#t = target
    this.#w = target.w
    this.#memory = new MemoryLowering(code, target, this)
    this.#flags = new FlagsLowering(code, target, this)
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
  value(v: number): void {
    const local = this.#local[v]!
    if (local >= 0) this.#w.u8(Wasm.localGet).u32(local)
    else this.#compute(v)
  }

  get #depth(): number {
    return this.#open.length
  }

  enter(): void {
    this.#open.push({ label: -1, op: Op.if })
  }
  leave(): void {
    this.#open.pop()
  }

  #fault(): void {
    const attempt = this.#attempts.at(-1)
    if (attempt === undefined) this.#t.fault(this.#depth)
    else this.#w.u8(Wasm.br).u32(this.#depth - attempt)
  }

  /** Leaves by the fault edge if the i32 on the stack is not zero. */
  faultIf(): void {
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
        this.value(a[i]!)
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
        this.value(a[i]!)
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
        this.value(a[i]!)
        w.u8(Wasm.brIf).u32(this.#depth - this.#labelDepth[aux[i]!]!)
        return
      case Op.return:
        if (a[i]! >= 0) this.value(a[i]!)
        this.#t.return(this.#depth)
        return
      case Op.stateStore:
        if (a[i]! < 0 && this.#t.cache?.store(aux[i]! as Access, c[i]!, () => this.value(b[i]!))) return
        w.u8(Wasm.localGet).u32(this.#t.stateLocal)
        if (a[i]! >= 0) {
          this.value(a[i]!)
          w.u8(Wasm.i32Add)
        }
        this.value(b[i]!)
        emitStore(w, aux[i]! as Access, c[i]!)
        return
      case Op.hostStore:
        this.value(a[i]!)
        this.value(b[i]!)
        emitStore(w, aux[i]! as Access, c[i]!)
        return
      case Op.hostCopy:
      case Op.hostFill:
        this.value(a[i]!)
        this.value(b[i]!)
        this.value(c[i]!)
        if (op[i] === Op.hostCopy) w.u8(Wasm.prefixFc).u32(Wasm.memoryCopy).u8(0).u8(0)
        else w.u8(Wasm.prefixFc).u32(Wasm.memoryFill).u8(0)
        return
      case Op.guestStore:
        this.#memory.store(i)
        return
      case Op.refStore:
        this.#memory.refStore(i)
        return
      case Op.flagsAdd:
      case Op.flagsSub:
        this.#flags.arithmetic(i)
        return
      case Op.flagsLogic:
        this.#flags.logic(i)
        return
      case Op.flagsSet:
        this.#flags.set(i)
        return
      case Op.branch:
        this.#t.branch(this.#depth)
        return
      case Op.jump:
        this.value(a[i]!)
        this.#t.jump(this.#depth)
        return
      case Op.resync:
        this.value(a[i]!)
        this.#t.resync(this.#depth)
        return
      case Op.raise:
        this.#storeState32(State.faultVector, () => this.value(a[i]!))
        this.#storeState32(State.faultErrorCode, () => this.value(b[i]!))
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
        for (let k = 0; k < b[i]!; k++) this.value(extra[a[i]! + k]!)
        w.u8(Wasm.call).u32(this.#t.procedure(aux[i]!))
        if (type[i] !== Type.none) {
          if (this.#uses[i]! > 0) this.#setNew(i)
          else w.u8(Wasm.drop)
        }
        if (this.#t.procedureMayFault(aux[i]!)) {
          w.u8(Wasm.localGet).u32(this.#t.stateLocal).u8(Wasm.i32Load).u32(2).u32(State.fault)
          this.faultIf()
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
      this.value(a[i]!)
      if (operands.length > 1) this.value(b[i]!)
      if (operands.length > 2) this.value(c[i]!)
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
        this.value(b[i]!)
        this.value(c[i]!)
        this.value(a[i]!)
        if (type[i] === Type.v128) w.u8(0x1c).u32(1).u8(WasmType.v128)
        else w.u8(Wasm.select)
        return
      case Op.extractLane:
        this.value(a[i]!)
        w.u8(Wasm.prefixSimd).u32(c[i]!).u8(aux[i]!)
        return
      case Op.replaceLane:
        this.value(a[i]!)
        this.value(b[i]!)
        w.u8(Wasm.prefixSimd).u32(c[i]!).u8(aux[i]!)
        return
      case Op.shuffle:
        this.value(a[i]!)
        this.value(b[i]!)
        w.u8(Wasm.prefixSimd).u32(Wasm.i8x16Shuffle).bytes(pool[aux[i]!]!)
        return
      case Op.stateLoad:
        if (a[i]! < 0 && this.#t.cache?.load(aux[i]! as Access, c[i]!)) return
        w.u8(Wasm.localGet).u32(this.#t.stateLocal)
        if (a[i]! >= 0) {
          this.value(a[i]!)
          w.u8(Wasm.i32Add)
        }
        emitLoad(w, aux[i]! as Access, c[i]!)
        return
      case Op.hostLoad:
        this.value(a[i]!)
        emitLoad(w, aux[i]! as Access, c[i]!)
        return
      case Op.takeFault:
        w.u8(Wasm.localGet).u32(this.#t.stateLocal).u8(Wasm.i32Load).u32(2).u32(State.fault)
        w.u8(Wasm.i32Const).s32(0).u8(Wasm.i32Ne)
        this.#storeState32(State.fault, () => w.u8(Wasm.i32Const).s32(0))
        return
      case Op.guestLoad:
        this.#memory.pointer(i, TlbField.read, 'read')
        emitLoad(w, (aux[i]! & 15) as Access, 0)
        return
      case Op.guestRef:
        this.#memory.pointer(i, TlbField.write, 'reference')
        return
      case Op.refLoad:
        this.value(a[i]!)
        emitLoad(w, aux[i]! as Access, 0)
        return
      case Op.refCompareExchange:
        w.u8(Wasm.localGet).u32(this.#t.stateLocal)
        this.value(a[i]!)
        this.value(this.#code.extra[aux[i]! >> 4]!)
        w.u8(Wasm.i32Const).s32(accessBytes[aux[i]! & 15]!)
        this.value(b[i]!)
        this.value(c[i]!)
        w.u8(Wasm.call).u32(this.#t.engineFunction('compareExchange'))
        return
      case Op.flagGet:
        this.#flags.flag(aux[i]!)
        return
      case Op.flagsRead:
        this.#flags.image()
        return
      case Op.condition:
        this.#flags.condition(aux[i]!)
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
}
