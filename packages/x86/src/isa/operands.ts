/**
 * Operands of an instruction as its semantics sees them. Reading, writing and address generation are here, once, for
 * every consumer; a `Binding` says where the operands are: in a decoded record at run time (interpreter) or known
 * while translating (JIT, evaluator).
 */
import { type Builder, IrError, Privilege, type Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { Segment, SegmentField, State, segmentOffset, Vector } from '../state-layout.ts'
import { linearOf } from '../system/segmentation.ts'
import type { Form, OperandKind } from './form.ts'

/** Where the operands of one instruction are. */
export interface Binding {
  /** Whether operand `index` of a form such as r/m32 is memory here. */
  isMemory(index: number): boolean
  /**
   * State location of a register operand: a constant offset plus, where the register is not known yet, an i32. General
   * registers of 8 bits may point one byte into a register (AH).
   */
  register(index: number): { readonly offset: number; readonly dynamic?: Value }
  /** Number of a register operand (segment, control, debug, ST, or vector register), i32. */
  number(index: number): Value
  /**
   * Effective address of the memory operand, without its segment's base, truncated to the address size. i64.
   * @param distance - i64 that is added before the address is truncated
   */
  effectiveAddress(distance?: Value): Value
  /** Linear address of the memory operand, or of what lies `distance` behind it. i64. */
  linearAddress(distance?: Value): Value
  /** Immediate operand, extended as the form says and truncated to the width of the first operand. i64. */
  immediate(index: number): Value
  /** Selector of a far pointer in the code (ptr16:32), or another second immediate. i64. */
  secondImmediate(): Value
  /** What an offset is added to for an implicit address in the override's segment, else in `segment`. i64. */
  segmentBase(segment: number): Value
  /** RIP of the direct target (rel8, rel32), i64. */
  target(): Value
  readonly addressBits: 16 | 32 | 64
  readonly lock: boolean
  readonly repeat: 'none' | 'rep' | 'repne'
}

const accessOfBits: Record<number, Access> = {
  8: Access.u8,
  16: Access.u16,
  32: Access.u32,
  64: Access.u64,
  128: Access.v128,
}

/** Width of an operand kind in bits, as memory or as register (`memory`: where the two differ). */
export function operandBits(kind: OperandKind, memory = false): number {
  switch (kind) {
    case 'AL':
    case 'CL':
    case '1':
    case '3':
      return 8
    case 'AX':
    case 'DX':
    case 'Sreg':
    case 'CS':
    case 'DS':
    case 'ES':
    case 'SS':
    case 'FS':
    case 'GS':
      return 16
    case 'EAX':
      return 32
    case 'RAX':
    case 'CR':
    case 'DR':
      return 64
    case 'ST(0)':
    case 'ST(i)':
      return 80
    case 'mm':
      return 64
    case 'xmm':
      return 128
    case 'ymm':
      return 256
    case 'm':
      return 0
    default: {
      const parts = kind.split('/')
      const part = parts[memory ? parts.length - 1 : 0]!
      if (part.startsWith('xmm')) return 128
      if (part.startsWith('ymm')) return 256
      if (part.startsWith('mm')) return 64
      const digits = /\d+/.exec(part) ?? /\d+/.exec(parts[1] ?? '')
      if (!digits) throw new IrError(`operand kind ${kind} has no width`)
      return Number(digits[0])
    }
  }
}

/** What a body sees of its operands, wherever they are. Operand numbers count from 0 in the text's order. */
export class Operands {
  readonly form: Form
  readonly binding: Binding
  readonly #b: Builder

  constructor(b: Builder, form: Form, binding: Binding) {
    this.#b = b
    this.form = form
    this.binding = binding
  }

  get lock(): boolean {
    return this.binding.lock
  }
  get repeat(): 'none' | 'rep' | 'repne' {
    return this.binding.repeat
  }
  get addressBits(): 16 | 32 | 64 {
    return this.binding.addressBits
  }
  get count(): number {
    return this.form.operands.length
  }

  /** What the operand is, by the row. */
  kind(index: number): OperandKind {
    return this.form.operands[index]!
  }
  /** Whether the operand is memory in this instruction. Known when the body is built. */
  isMemory(index: number): boolean {
    return this.binding.isMemory(index)
  }
  /** Width of operand `index` in bits, here. */
  bits(index: number): number {
    return operandBits(this.kind(index), this.isMemory(index))
  }
  /** Number of a register operand, i32. */
  number(index: number): Value {
    return this.binding.number(index)
  }
  /** Linear address of the memory operand, or of what lies `distance` (i64) behind it: the effective address wraps. */
  address(distance?: Value): Value {
    return this.binding.linearAddress(distance)
  }
  /** Effective address of the memory operand (LEA). */
  effectiveAddress(): Value {
    return this.binding.effectiveAddress()
  }
  /** What an offset is added to for an implicit address in the override's segment, else in `segment`. i64. */
  segmentBase(segment: number): Value {
    return this.binding.segmentBase(segment)
  }
  /** Target of a direct branch, i64. */
  target(): Value {
    return this.binding.target()
  }
  /** Selector of a far pointer in the code, i64. */
  farSelector(): Value {
    return this.binding.secondImmediate()
  }

  /** An integer operand, zero-extended to i64 (immediates as the form extends them, cut to the first operand's width). */
  read(index: number): Value {
    const b = this.#b
    const kind = this.kind(index)
    if (kind.startsWith('imm') || kind.startsWith('ptr')) return this.binding.immediate(index)
    if (kind === '1' || kind === '3') return b.const64(Number(kind))
    const bits = this.bits(index)
    const access = accessOfBits[bits]!
    if (this.isMemory(index)) return b.guestLoad(access, this.address())
    if (segmentNames.has(kind) || kind === 'Sreg') return this.#readSelector(index)
    const { offset, dynamic } = this.binding.register(index)
    return b.stateLoad(access, offset, dynamic)
  }

  /** As `read`, sign-extended from the operand's width to i64. */
  readSigned(index: number): Value {
    const value = this.read(index)
    return this.#b.signExtend(this.bits(index), value)
  }

  /** Writes an integer operand; bits above its width are ignored. A 32-bit register write clears the upper half. */
  write(index: number, value: Value): void {
    const b = this.#b
    const bits = this.bits(index)
    if (this.isMemory(index)) b.guestStore(accessOfBits[bits]!, this.address(), value)
    else this.#writeRegister(index, bits, value)
  }

  /**
   * Reads, computes and writes one operand; all of it atomic with a LOCK prefix.
   * @param compute - the new value from the old one (zero-extended); no side effects, may be emitted in a retry loop
   * @param then - what happens once the write is done (flags, other registers), with the result cut to the width
   */
  modify(index: number, compute: (old: Value) => Value, then?: (old: Value, result: Value) => void): void {
    const b = this.#b
    const bits = this.bits(index)
    if (!this.isMemory(index)) {
      const old = this.read(index)
      const result = b.truncate(bits, compute(old))
      this.#writeRegister(index, bits, result)
      then?.(old, result)
      return
    }
    this.modifyMemory(bits, this.address(), compute, then)
  }

  /**
   * `modify` of memory at a linear address that is not simply the operand's (bit strings).
   * @param atomic - with or without LOCK (XCHG)
   */
  modifyMemory(
    bits: number,
    address: Value,
    compute: (old: Value) => Value,
    then?: (old: Value, result: Value) => void,
    atomic: boolean = this.lock,
  ): void {
    const b = this.#b
    const access = accessOfBits[bits]!
    const reference = b.guestRef(access, address)
    if (!atomic) {
      const old = b.refLoad(access, reference)
      const result = b.truncate(bits, compute(old))
      b.refStore(access, reference, result, address)
      then?.(old, result)
      return
    }
    const old = b.local(2, b.refLoad(access, reference))
    const result = b.local(2)
    b.loop((again) => {
      const expected = b.get(old)
      b.set(result, b.truncate(bits, compute(expected)))
      const found = b.refCompareExchange(access, reference, expected, b.get(result), address)
      b.set(old, found)
      b.brIf(b.i64.ne!(found, expected), again)
    })
    then?.(b.get(old), b.get(result))
  }

  /** A vector of 128 bits. @param aligned - memory must be 16-byte aligned, else #GP(0) (legacy SSE) */
  readVector(index: number, aligned = true): Value {
    const b = this.#b
    if (this.isMemory(index)) {
      const address = this.address()
      if (aligned) this.requireAligned(address, 16)
      return b.guestLoad(Access.v128, address)
    }
    const { offset, dynamic } = this.binding.register(index)
    return b.stateLoad(Access.v128, offset, dynamic)
  }

  /** Writes 128 bits; the upper half of the YMM register stays (legacy SSE). */
  writeVector(index: number, value: Value, aligned = true): void {
    const b = this.#b
    if (this.isMemory(index)) {
      const address = this.address()
      if (aligned) this.requireAligned(address, 16)
      b.guestStore(Access.v128, address, value)
      return
    }
    const { offset, dynamic } = this.binding.register(index)
    b.stateStore(Access.v128, offset, value, dynamic)
  }

  /** The low part of a vector or MMX register, or memory of that width (u8 to u64, i32, f32, f64). */
  readLow(index: number, access: Access): Value {
    const b = this.#b
    if (this.isMemory(index)) return b.guestLoad(access, this.address())
    const { offset, dynamic } = this.binding.register(index)
    return b.stateLoad(access, offset, dynamic)
  }

  /** Writes the low part of a vector or MMX register (the rest stays), or memory. */
  writeLow(index: number, access: Access, value: Value): void {
    const b = this.#b
    if (this.isMemory(index)) {
      b.guestStore(access, this.address(), value)
      return
    }
    const { offset, dynamic } = this.binding.register(index)
    b.stateStore(access, offset, value, dynamic)
  }

  /** #GP(0) unless the linear address is a multiple of `bytes`. */
  requireAligned(address: Value, bytes: number): void {
    const b = this.#b
    const linear = linearOf(b, address)
    b.if(b.i32.wrapI64!(b.i64.and!(linear, b.const64(bytes - 1))), () => b.raise(Vector.gp, b.const32(0)))
  }

  #writeRegister(index: number, bits: number, value: Value): void {
    const b = this.#b
    const { offset, dynamic } = this.binding.register(index)
    if (bits === 32) b.stateStore(Access.u64, offset, b.truncate(32, value), dynamic)
    else b.stateStore(accessOfBits[bits]!, offset, value, dynamic)
  }

  #readSelector(index: number): Value {
    const b = this.#b
    const kind = this.kind(index)
    if (kind !== 'Sreg')
      return b.stateLoad(Access.u16, segmentOffset(segmentNumber(kind), SegmentField.selector))
    return b.stateLoad(
      Access.u16,
      State.segments + SegmentField.selector,
      b.i32.shl!(this.number(index), b.const32(4)),
    )
  }
}

const segmentNames = new Set<string>(['ES', 'CS', 'SS', 'DS', 'FS', 'GS'])
/** Index of a segment register that a form names. */
export function segmentNumber(kind: OperandKind): number {
  return Segment[kind.toLowerCase() as 'es']
}
export { Privilege }
