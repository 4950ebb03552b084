/** Operands of an instruction that is still a record: every register, displacement and immediate is a load from it. */
import {
  Access,
  type Binding,
  type Builder,
  type Form,
  type OperandKind,
  SegmentField,
  State,
  segmentOffset,
  system,
  Type,
  type Value,
} from '@trapframe/x86'
import { RecordField, registerFields } from '../engine/layout.ts'
import { type HandlerVariant, isLegacy, Variant } from './variants.ts'

/** Registers that a form names: their number. */
const namedRegisters: Partial<Record<OperandKind, number>> = { AL: 0, AX: 0, EAX: 0, RAX: 0, CL: 1, DX: 2 }

export class RecordBinding implements Binding {
  readonly addressBits: 16 | 32 | 64
  readonly lock: boolean
  readonly repeat: 'none' | 'rep' | 'repne'
  readonly #b: Builder
  readonly #form: Form
  readonly #key: number
  readonly #memory: boolean
  readonly #legacy: boolean

  constructor(b: Builder, variant: HandlerVariant) {
    this.#b = b
    this.#form = variant.form
    this.#key = variant.key
    const string = variant.key - Variant.string
    const isString = variant.form.options.string === true
    this.#legacy = isLegacy(variant.key)
    if (this.#legacy) {
      const { key } = variant
      this.addressBits = (key & 1) === 1 ? 16 : 32
      this.lock = key >= Variant.legacyLocked && key < Variant.legacyString
      this.repeat = isString
        ? (['none', 'rep', 'repne'] as const)[(key - Variant.legacyString) >> 1]!
        : 'none'
      this.#memory = key >= Variant.legacyMemory && key < Variant.legacyString
      return
    }
    this.addressBits = (isString && (string & 1) === 1) || variant.key === Variant.address32 ? 32 : 64
    this.lock = variant.key === Variant.locked
    this.repeat = isString ? (['none', 'rep', 'repne'] as const)[string >> 1]! : 'none'
    this.#memory = variant.key >= Variant.memoryBase && variant.key <= Variant.locked
  }

  isMemory(index: number): boolean {
    return this.#memory && /^(m(\d|$)|moffs)|\/m/.test(this.#form.operands[index]!)
  }

  register(index: number): { offset: number; dynamic?: Value } {
    const named = namedRegisters[this.#form.operands[index]!]
    if (named !== undefined) return { offset: State.gpr + 8 * named }
    return { offset: 0, dynamic: this.number(index) }
  }

  number(index: number): Value {
    return this.#field16(registerFields[index]!)
  }

  linearAddress(distance?: Value): Value {
    const effective = this.effectiveAddress(distance)
    return this.#key === Variant.memoryBase
      ? effective
      : this.#b.i64.add(effective, this.#recordSegmentBase())
  }

  immediate(index: number): Value {
    if (this.#form.operands[index]!.startsWith('ptr'))
      return this.#b.hostLoad(Access.u64, this.#record(), RecordField.immediate)
    const earlier = this.#form.operands.slice(0, index).some((kind) => kind.startsWith('imm'))
    if (earlier) return this.#b.hostLoad(Access.u16, this.#record(), RecordField.register2)
    return this.#b.hostLoad(Access.u64, this.#record(), RecordField.immediate)
  }

  secondImmediate(): Value {
    return this.#b.hostLoad(Access.u16, this.#record(), RecordField.register2)
  }

  segmentBase(segment: number): Value {
    const b = this.#b
    if (this.#legacy) return segment === 0 ? system.segmentedConstant(b, 0) : this.#recordSegmentBase()
    // ES takes no override; for the others the decoder left the effective segment's base in the record.
    if (segment === 0) return b.stateLoad(Access.u64, State.zero)
    return this.#recordSegmentBase()
  }

  target(): Value {
    const b = this.#b
    return b.i64.add(
      b.stateLoad(Access.u64, State.ripPage),
      b.hostLoad(Access.u64, this.#record(), RecordField.immediate),
    )
  }

  #record(): Value {
    return this.#b.parameter(0, Type.i32)
  }

  #field16(offset: number): Value {
    const b = this.#b
    return b.i32.wrapI64(b.hostLoad(Access.u16, this.#record(), offset))
  }

  #recordSegmentBase(): Value {
    const b = this.#b
    if (this.#legacy)
      return system.segmentedBase(
        b,
        b.i32.wrapI64(b.hostLoad(Access.u8, this.#record(), RecordField.segment)),
      )
    const slot = b.i32.shl(
      b.i32.wrapI64(b.hostLoad(Access.u8, this.#record(), RecordField.segment)),
      b.const32(3),
    )
    return b.stateLoad(Access.u64, 0, slot)
  }

  effectiveAddress(distance?: Value): Value {
    const b = this.#b
    if (this.#form.operands.some((kind) => kind.startsWith('moffs')))
      return b.hostLoad(Access.u64, this.#record(), RecordField.immediate)
    const displacement = b.i64.extendI32S(b.hostLoad(Access.i32, this.#record(), RecordField.displacement))
    const base = b.stateLoad(Access.u64, 0, this.#field16(RecordField.base))
    const near = b.i64.add(base, displacement)
    const simple = distance === undefined ? near : b.i64.add(near, distance)
    if (this.#key === Variant.memoryBase) return simple
    const index = b.stateLoad(Access.u64, 0, this.#field16(RecordField.index))
    const scale = b.hostLoad(Access.u8, this.#record(), RecordField.scale)
    const full = b.i64.add(
      simple,
      b.i64.shl(index, this.#key === Variant.memoryIndex ? scale : b.i64.and(scale, b.const64(3))),
    )
    if (this.#key === Variant.memoryIndex) return full
    if (this.#legacy) return b.truncate(this.addressBits, full)
    const short = b.i32.wrapI64(b.i64.and(scale, b.const64(0x80)))
    return b.select(short, b.i64.and(full, b.const64(0xffff_ffff)), full)
  }
}

/** State offset of a segment's base, or of zero for the segments whose base counts nothing in 64-bit mode. */
export function segmentSlot(segment: number): number {
  return segment === 4 || segment === 5 ? segmentOffset(segment, SegmentField.base) : State.zero
}
