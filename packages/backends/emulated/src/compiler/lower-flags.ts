/** Lowering of arithmetic flags to the three words that hold them (state-layout.ts of @trapframe/x86). */
import { Access, type Code, Flag, FlagsBit, Op, State, Type } from '@trapframe/x86'
import type { ByteWriter } from '../wasm/byte-writer.ts'
import { Wasm } from '../wasm/opcode.ts'
import type { LoweringHost } from './lowering-host.ts'
import type { LoweringTarget } from './lowering-target.ts'

export class FlagsLowering {
  readonly #code: Code
  readonly #t: LoweringTarget
  readonly #w: ByteWriter
  readonly #host: LoweringHost

  constructor(code: Code, target: LoweringTarget, host: LoweringHost) {
    this.#code = code
    this.#t = target
    this.#w = target.w
    this.#host = host
  }

  /** Flags of a sum or difference. */
  arithmetic(i: number): void {
    const { op, aux, a, b, c } = this.#code
    const w = this.#w
    const bits = aux[i]! & 0xff
    const keepCarry = (aux[i]! & FlagsBit.keepCarry) !== 0
    const subtract = op[i] === Op.flagsSub
    const noted = this.#t.cache?.flagsOperation(
      subtract ? 'sub' : 'add',
      aux[i]!,
      () => this.#host.value(a[i]!),
      () => this.#host.value(b[i]!),
      () => this.#host.value(c[i]!),
    )
    if (noted) return
    this.#storeResult(c[i]!, bits)
    // Carries out of each bit. Sum: (a & b) | ((a | b) & ~r). Difference: with ~a for a, and r for ~r.
    const x = (): void => {
      this.#host.value(a[i]!)
      if (subtract) w.u8(Wasm.i64Const).s64(-1, -1).u8(Wasm.i64Xor)
    }
    const carries = (): void => {
      x()
      this.#host.value(b[i]!)
      w.u8(Wasm.i64And)
      x()
      this.#host.value(b[i]!)
      w.u8(Wasm.i64Or)
      this.#host.value(c[i]!)
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
      this.#host.value(a[i]!)
      this.#host.value(b[i]!)
      w.u8(Wasm.i64Xor)
      this.#host.value(c[i]!)
      w.u8(Wasm.i64Xor).u8(Wasm.i64Const).s64(0x10, 0).u8(Wasm.i64And)
    })
  }

  #storeResult(value: number, bits: number): void {
    this.#storeState64(State.flagsResult, () => {
      this.#host.value(value)
      if (bits < 64)
        this.#w.u8(bits === 8 ? Wasm.i64Extend8S : bits === 16 ? Wasm.i64Extend16S : Wasm.i64Extend32S)
    })
  }

  logic(i: number): void {
    const { aux, c } = this.#code
    const zero = (): void => void this.#w.u8(Wasm.i64Const).s64(0, 0)
    if (this.#t.cache?.flagsOperation('logic', aux[i]!, zero, zero, () => this.#host.value(c[i]!))) return
    this.#storeResult(c[i]!, aux[i]! & 0xff)
    this.#storeState64(State.flagsCarry, zero)
    this.#storeState64(State.flagsAux, zero)
  }

  set(i: number): void {
    const { aux, a } = this.#code
    const w = this.#w
    const mask = aux[i]!
    if (mask === (Flag.cf | Flag.of) && this.#t.cache?.flagsOverride(() => this.#host.value(a[i]!))) return
    if (mask === Flag.cf || mask === (Flag.cf | Flag.of)) {
      // carry = CF << 63 | (CF ^ OF) << 62
      const image = this.#t.pool.take(Type.i64)
      this.#host.value(a[i]!)
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
    this.#host.value(a[i]!)
    w.u8(Wasm.call).u32(this.#t.engineFunction('setFlags'))
    this.#t.cache?.afterFlags()
  }

  /** Bit 63 of what `emit` leaves, as i32 0 or 1. */
  #topBit(emit: () => void): void {
    emit()
    this.#w.u8(Wasm.i64Const).s64(63, 0).u8(Wasm.i64ShrU).u8(Wasm.i32WrapI64)
  }

  /** One flag as i32 0 or 1. */
  flag(flag: number): void {
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

  /** All six at their EFLAGS positions, i32. */
  image(): void {
    const w = this.#w
    const flags = [Flag.cf, Flag.pf, Flag.af, Flag.zf, Flag.sf, Flag.of]
    flags.forEach((flag, index) => {
      this.flag(flag)
      const shift = 31 - Math.clz32(flag)
      if (shift > 0) w.u8(Wasm.i32Const).s32(shift).u8(Wasm.i32Shl)
      if (index > 0) w.u8(Wasm.i32Or)
    })
  }

  /** A condition code as i32 0 or 1. */
  condition(code: number): void {
    const w = this.#w
    if (this.#t.cache?.condition(code)) return
    const zero = (): void => this.flag(Flag.zf)
    const less = (): void =>
      this.#topBit(() => {
        this.#signWord()
        this.#overflowWord()
        w.u8(Wasm.i64Xor)
      })
    switch (code & 14) {
      case 0:
        this.flag(Flag.of)
        break
      case 2:
        this.flag(Flag.cf)
        break
      case 4:
        zero()
        break
      case 6:
        this.flag(Flag.cf)
        zero()
        w.u8(Wasm.i32Or)
        break
      case 8:
        this.flag(Flag.sf)
        break
      case 10:
        this.flag(Flag.pf)
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
}
