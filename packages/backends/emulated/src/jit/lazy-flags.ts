/**
 * Arithmetic flags of a region, computed when somebody asks.
 *
 * What is kept in WebAssembly locals is either the three words of the state (state-layout.ts of @trapframe/x86) or the
 * last operation with its operands and result; a local says which, for exits and merge points, where the translation
 * does not know. Within straight-line code it does know, and a conditional branch behind a comparison becomes that
 * comparison.
 *
 * Locals that hold nothing are set to zero, so that the compiler need not keep old values for the sake of exits.
 */
import {
  Access,
  type Builder,
  Flag,
  FlagsBit,
  type Procedure,
  procedure,
  State,
  Type,
  type Value,
} from '@trapframe/x86'
import type { ByteWriter } from '../wasm/byte-writer.ts'
import { Wasm, WasmType } from '../wasm/opcode.ts'

/**
 * What the kind local holds: 0 for words, else an operation and its operand size (0 to 3: 8 to 64 bits) << 3, and
 * `OVERRIDDEN` if CF and OF were set apart since: the carry word then holds them at their EFLAGS positions.
 */
export const FlagsKind = {
  words: 0,
  add: 1,
  sub: 2,
  logic: 3,
  increment: 4,
  decrement: 5,
  adc: 6,
  sbb: 7,
} as const
const OVERRIDDEN = 0x20

/** WebAssembly locals of the flags. The words come in the order result, carry, aux. */
export interface FlagLocals {
  readonly state: number
  readonly words: number
  /** i32 */
  readonly kind: number
  readonly x: number
  readonly y: number
  readonly result: number
}

type Known = { readonly operation: number; readonly bits: number; readonly overridden?: boolean } | undefined

/** 0 to 3 for 8 to 64 bits. */
const sizeIndex = (bits: number): number => 28 - Math.clz32(bits)

const wordOffsets = [State.flagsResult, State.flagsCarry, State.flagsAux] as const
const [RESULT, CARRY, AUX] = [0, 1, 2] as const

/**
 * Writes the words of an operation into the state. (kind, x, y, result, old carry word)
 */
export const materializeFlags: Procedure = procedure(
  'materializeFlags',
  { parameters: [Type.i32, Type.i64, Type.i64, Type.i64, Type.i64] },
  (b, kind, x, y, result, carry) => {
    const operation = b.i32.and(kind!, b.const32(7))
    const size = b.i32.and(b.i32.shrU(kind!, b.const32(3)), b.const32(3))
    b.stateStore(Access.u64, State.flagsCarry, carry!)
    const each = (wanted: number, emit: (b: Builder, bits: number) => void): void =>
      b.if(b.i32.eq(operation, b.const32(wanted)), () => {
        for (const [index, bits] of [8, 16, 32, 64].entries())
          b.if(b.i32.eq(size, b.const32(index)), () => emit(b, bits))
      })
    const one = (): Value => b.const64(1)
    each(FlagsKind.add, (_, bits) => b.flagsAdd(bits, x!, y!, result!))
    each(FlagsKind.adc, (_, bits) => b.flagsAdd(bits, x!, y!, result!, { carryIn: true }))
    each(FlagsKind.sub, (_, bits) => b.flagsSub(bits, x!, y!, result!))
    each(FlagsKind.sbb, (_, bits) => b.flagsSub(bits, x!, y!, result!, { carryIn: true }))
    each(FlagsKind.logic, (_, bits) => b.flagsLogic(bits, result!))
    each(FlagsKind.increment, (_, bits) => b.flagsAdd(bits, x!, one(), result!, { keepCarry: true }))
    each(FlagsKind.decrement, (_, bits) => b.flagsSub(bits, x!, one(), result!, { keepCarry: true }))
    b.if(b.i32.and(kind!, b.const32(OVERRIDDEN)), () => b.flagsSet(Flag.cf | Flag.of, b.i32.wrapI64(carry!)))
  },
)

export class LazyFlags {
  readonly #w: ByteWriter
  readonly #local: FlagLocals
  readonly #materialize: () => number
  /** What the locals hold here, as far as the translation knows. */
  known: Known
  /** Off while an instruction changes flags in one of several branches: words then. */
  lazy = true

  /** @param materialize - index of `materializeFlags` */
  constructor(w: ByteWriter, local: FlagLocals, materialize: () => number) {
    this.#w = w
    this.#local = local
    this.#materialize = materialize
  }

  /** Takes the words from the state. */
  fetch(): void {
    wordOffsets.forEach((offset, index) => {
      this.#w.u8(Wasm.localGet).u32(this.#local.state).u8(Wasm.i64Load).u32(3).u32(offset)
      this.#w.u8(Wasm.localSet).u32(this.#local.words + index)
    })
    this.#setKind(FlagsKind.words)
    this.#forget(this.#local.x, this.#local.y, this.#local.result)
    this.known = { operation: FlagsKind.words, bits: 64 }
  }

  /** Puts the words into the state; what the locals hold stays. */
  put(): void {
    const { known } = this
    if (known?.operation === FlagsKind.words) this.#putWords()
    else if (known) this.#callMaterialize()
    else {
      this.#w.u8(Wasm.localGet).u32(this.#local.kind).u8(Wasm.if).u8(WasmType.empty)
      this.#callMaterialize()
      this.#w.u8(Wasm.else)
      this.#putWords()
      this.#w.u8(Wasm.end)
    }
  }

  /** Makes the locals hold the words. */
  toWords(): void {
    const { known } = this
    if (known?.operation === FlagsKind.words) return
    if (known) {
      this.#computeWords(known)
      this.#setKind(FlagsKind.words)
      this.#forget(this.#local.x, this.#local.y, this.#local.result)
      this.known = { operation: FlagsKind.words, bits: 64 }
    } else {
      this.put()
      this.fetch()
    }
  }

  /** The word at a state offset, on the stack; whether there is one. */
  loadWord(offset: number): boolean {
    const word = wordOffsets.indexOf(offset as never)
    if (word < 0) return false
    this.toWords()
    this.#w.u8(Wasm.localGet).u32(this.#local.words + word)
    return true
  }

  storeWord(offset: number, value: () => void): boolean {
    const word = wordOffsets.indexOf(offset as never)
    if (word < 0) return false
    // A store of one word leaves the others as they are. The caller's value may read words: first things first.
    this.toWords()
    value()
    this.#w.u8(Wasm.localSet).u32(this.#local.words + word)
    return true
  }

  /** An operation that sets all flags (but CF, with `keepCarry`). Answers whether it was recorded. */
  record(
    operation: 'add' | 'sub' | 'logic',
    aux: number,
    x: () => void,
    y: () => void,
    result: () => void,
  ): boolean {
    if (!this.lazy) return false
    const { x: xLocal, y: yLocal, result: resultLocal, words } = this.#local
    const bits = aux & 0xff
    let kind: number = FlagsKind[operation]
    if ((aux & FlagsBit.carryIn) !== 0) kind = operation === 'add' ? FlagsKind.adc : FlagsKind.sbb
    if ((aux & FlagsBit.keepCarry) !== 0) {
      kind = operation === 'add' ? FlagsKind.increment : FlagsKind.decrement
      this.#keepCarry()
    } else this.#forget(words + CARRY)
    this.#forget(words + RESULT, words + AUX)
    if (operation === 'logic') this.#forget(xLocal)
    else {
      x()
      this.#w.u8(Wasm.localSet).u32(xLocal)
    }
    if (operation === 'logic' || (aux & FlagsBit.keepCarry) !== 0) this.#forget(yLocal)
    else {
      y()
      this.#w.u8(Wasm.localSet).u32(yLocal)
    }
    result()
    this.#w.u8(Wasm.localSet).u32(resultLocal)
    this.#setKind(kind | (sizeIndex(bits) << 3))
    this.known = { operation: kind, bits }
    return true
  }

  /** CF and OF are set apart, to an i32 that has them at their EFLAGS positions. Answers whether it was recorded. */
  override(image: () => void): boolean {
    const { known } = this
    if (!this.lazy || !known || known.operation === FlagsKind.words) return false
    image()
    this.#w
      .u8(Wasm.i64ExtendI32U)
      .u8(Wasm.localSet)
      .u32(this.#local.words + CARRY)
    this.#setKind(known.operation | (sizeIndex(known.bits) << 3) | OVERRIDDEN)
    this.known = { ...known, overridden: true }
    return true
  }

  /** A flag as i32 0 or 1, where it follows from the operation directly. */
  flag(flag: number): boolean {
    const { known } = this
    if (!known || known.operation === FlagsKind.words) return false
    const code = { [Flag.cf]: 2, [Flag.zf]: 4, [Flag.sf]: 8, [Flag.of]: 0, [Flag.pf]: 10 }[flag]
    return code !== undefined && this.condition(code)
  }

  /** A condition as i32 0 or 1, where it follows from the operation directly. */
  condition(code: number): boolean {
    const { known } = this
    if (!known || known.operation === FlagsKind.words) return false
    const emit = this.#direct(known, code & 14)
    if (!emit) return false
    emit()
    if (code & 1) this.#w.u8(Wasm.i32Eqz)
    return true
  }

  /** How an even condition code is computed from the operands, or undefined. */
  #direct(
    { operation, bits, overridden = false }: NonNullable<Known>,
    code: number,
  ): (() => void) | undefined {
    const w = this.#w
    const { x, y, result, words } = this.#local
    const get = (local: number): void => void w.u8(Wasm.localGet).u32(local)
    const signed = (local: number): void => {
      get(local)
      if (bits < 64) w.u8(bits === 8 ? Wasm.i64Extend8S : bits === 16 ? Wasm.i64Extend16S : Wasm.i64Extend32S)
    }
    const compare =
      (operand: (local: number) => void, left: number, right: number, opcode: number) => (): void => {
        operand(left)
        operand(right)
        w.u8(opcode)
      }
    const zero = (): void => {
      get(result)
      w.u8(Wasm.i64Eqz)
    }
    const sign = (): void => {
      get(result)
      w.u8(Wasm.i64Const)
        .s64(bits - 1, 0)
        .u8(Wasm.i64ShrU)
        .u8(Wasm.i32WrapI64)
      if (bits < 64) w.u8(Wasm.i32Const).s32(1).u8(Wasm.i32And)
    }
    const parity = (): void => {
      get(result)
      w.u8(Wasm.i32WrapI64).u8(Wasm.i32Const).s32(0xff).u8(Wasm.i32And).u8(Wasm.i32Popcnt)
      w.u8(Wasm.i32Const).s32(1).u8(Wasm.i32And).u8(Wasm.i32Eqz)
    }
    if (code === 4) return zero
    if (code === 8) return sign
    if (code === 10) return parity
    const either = (one: () => void, other: () => void) => (): void => {
      one()
      other()
      w.u8(Wasm.i32Or)
    }
    if (overridden) {
      const bit = (index: number) => (): void => {
        get(words + CARRY)
        w.u8(Wasm.i32WrapI64)
          .u8(Wasm.i32Const)
          .s32(index)
          .u8(Wasm.i32ShrU)
          .u8(Wasm.i32Const)
          .s32(1)
          .u8(Wasm.i32And)
      }
      if (code === 0) return bit(11)
      if (code === 2) return bit(0)
      if (code === 6) return either(bit(0), zero)
      const less = (): void => {
        sign()
        bit(11)()
        w.u8(Wasm.i32Xor)
      }
      return code === 12 ? less : either(less, zero)
    }
    switch (operation) {
      case FlagsKind.sub:
        if (code === 2) return compare(get, x, y, 0x54)
        if (code === 6) return compare(get, x, y, 0x58)
        if (code === 12) return compare(signed, x, y, 0x53)
        if (code === 14) return compare(signed, x, y, 0x57)
        return undefined
      case FlagsKind.logic: {
        const never = (): void => void w.u8(Wasm.i32Const).s32(0)
        if (code === 0 || code === 2) return never
        if (code === 6) return zero
        if (code === 12) return sign
        return either(sign, zero)
      }
      case FlagsKind.add:
        if (code === 2) return compare(get, result, x, 0x54)
        if (code === 6) return either(compare(get, result, x, 0x54), zero)
        return undefined
      case FlagsKind.increment:
      case FlagsKind.decrement: {
        const carry = (): void => {
          get(words + CARRY)
          w.u8(Wasm.i64Const).s64(63, 0).u8(Wasm.i64ShrU).u8(Wasm.i32WrapI64)
        }
        if (code === 2) return carry
        if (code === 6) return either(carry, zero)
        return undefined
      }
      default:
        return undefined
    }
  }

  /** Makes the carry word hold CF in bit 63, for an operation that leaves CF alone. OF is about to be overwritten. */
  #keepCarry(): void {
    const { known } = this
    const { words } = this.#local
    if (
      known &&
      (known.operation === FlagsKind.words ||
        known.operation === FlagsKind.increment ||
        known.operation === FlagsKind.decrement)
    )
      return
    const direct = known && this.#direct(known, 2)
    if (!direct) {
      this.toWords()
      return
    }
    direct()
    this.#w
      .u8(Wasm.i64ExtendI32U)
      .u8(Wasm.i64Const)
      .s64(63, 0)
      .u8(Wasm.i64Shl)
      .u8(Wasm.localSet)
      .u32(words + CARRY)
  }

  /** The words of a known operation, by the formulas of state-layout.ts, into their locals. */
  #computeWords({ operation, bits, overridden = false }: NonNullable<Known>): void {
    const w = this.#w
    const { x, y, result, words } = this.#local
    const counts = operation === FlagsKind.increment || operation === FlagsKind.decrement
    const subtracts =
      operation === FlagsKind.sub || operation === FlagsKind.sbb || operation === FlagsKind.decrement
    const get = (local: number): void => void w.u8(Wasm.localGet).u32(local)
    const getY = (): void => (counts ? void w.u8(Wasm.i64Const).s64(1, 0) : get(y))
    const invert = (): void => void w.u8(Wasm.i64Const).s64(-1, -1).u8(Wasm.i64Xor)
    get(result)
    if (bits < 64) w.u8(bits === 8 ? Wasm.i64Extend8S : bits === 16 ? Wasm.i64Extend16S : Wasm.i64Extend32S)
    w.u8(Wasm.localSet).u32(words + RESULT)
    const override = (): void => {
      // CF << 63 | (CF ^ OF) << 62
      get(words + CARRY)
      w.u8(Wasm.i64Const).s64(63, 0).u8(Wasm.i64Shl)
      get(words + CARRY)
      get(words + CARRY)
      w.u8(Wasm.i64Const)
        .s64(11, 0)
        .u8(Wasm.i64ShrU)
        .u8(Wasm.i64Xor)
        .u8(Wasm.i64Const)
        .s64(1, 0)
        .u8(Wasm.i64And)
      w.u8(Wasm.i64Const)
        .s64(62, 0)
        .u8(Wasm.i64Shl)
        .u8(Wasm.i64Or)
        .u8(Wasm.localSet)
        .u32(words + CARRY)
    }
    if (operation === FlagsKind.logic) {
      if (overridden) override()
      else this.#forget(words + CARRY)
      this.#forget(words + AUX)
      return
    }
    const getX = (): void => {
      get(x)
      if (subtracts) invert()
    }
    const carries = (): void => {
      getX()
      getY()
      w.u8(Wasm.i64And)
      getX()
      getY()
      w.u8(Wasm.i64Or)
      get(result)
      if (!subtracts) invert()
      w.u8(Wasm.i64And).u8(Wasm.i64Or)
      if (bits < 64)
        w.u8(Wasm.i64Const)
          .s64(64 - bits, 0)
          .u8(Wasm.i64Shl)
    }
    if (overridden) override()
    else carries()
    if (counts && !overridden) {
      // CF stays; bit 62 becomes CF ^ OF. The aux word is free for the new carries meanwhile.
      w.u8(Wasm.localSet).u32(words + AUX)
      get(words + AUX)
      get(words + AUX)
      w.u8(Wasm.i64Const)
        .s64(1, 0)
        .u8(Wasm.i64Shl)
        .u8(Wasm.i64Xor)
        .u8(Wasm.i64Const)
        .s64(1, 0)
        .u8(Wasm.i64ShrU)
      w.u8(Wasm.i64Const).s64(0, 0x4000_0000).u8(Wasm.i64And)
      get(words + CARRY)
      w.u8(Wasm.i64Const)
        .s64(0, -0x8000_0000)
        .u8(Wasm.i64And)
        .u8(Wasm.localTee)
        .u32(words + CARRY)
      get(words + CARRY)
      w.u8(Wasm.i64Const).s64(1, 0).u8(Wasm.i64ShrU).u8(Wasm.i64Or).u8(Wasm.i64Xor)
    }
    if (!overridden) w.u8(Wasm.localSet).u32(words + CARRY)
    get(x)
    getY()
    w.u8(Wasm.i64Xor)
    get(result)
    w.u8(Wasm.i64Xor)
      .u8(Wasm.i64Const)
      .s64(0x10, 0)
      .u8(Wasm.i64And)
      .u8(Wasm.localSet)
      .u32(words + AUX)
  }

  #putWords(): void {
    wordOffsets.forEach((offset, index) => {
      this.#w
        .u8(Wasm.localGet)
        .u32(this.#local.state)
        .u8(Wasm.localGet)
        .u32(this.#local.words + index)
      this.#w.u8(Wasm.i64Store).u32(3).u32(offset)
    })
  }

  #callMaterialize(): void {
    const { state, kind, x, y, result, words } = this.#local
    for (const local of [state, kind, x, y, result, words + CARRY]) this.#w.u8(Wasm.localGet).u32(local)
    this.#w.u8(Wasm.call).u32(this.#materialize())
  }

  #setKind(kind: number): void {
    this.#w.u8(Wasm.i32Const).s32(kind).u8(Wasm.localSet).u32(this.#local.kind)
  }

  #forget(...locals: number[]): void {
    for (const local of locals) this.#w.u8(Wasm.i64Const).s64(0, 0).u8(Wasm.localSet).u32(local)
  }
}
