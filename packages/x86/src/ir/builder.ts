/**
 * Builds IR. Bodies of instructions and procedures are functions over a builder; they are executed when the
 * interpreter is generated (operands still unknown), when the JIT translates (operands known) and by the evaluator.
 *
 * Integers narrower than 64 bits are carried zero-extended in i64. Guest faults leave by the fault edge: out of the
 * instruction, or to the end of the innermost `attempt`.
 */
import { TrapframeError } from '@trapframe/core'
import { Code } from './code.ts'
import { foldNumeric } from './fold.ts'
import { Access, accessType, FlagsBit, Lane, type LaneShape, numericRows, Op, Type } from './op.ts'
import type { Procedure } from './procedure.ts'

/** The result of an operation: its index in the code. */
export type Value = number & { readonly __brand: 'Value' }
/** A mutable variable. */
export type Local = number & { readonly __brand: 'Local' }
/** A target of `br`: the end of a block or the start of a loop. */
export type Label = number & { readonly __brand: 'Label' }
/** What a body passes where a value is expected: a number stands for a constant of the type that is asked for. */
export type Operand = Value

/** Numeric operations by shape: `b.i64.add(x, y)`. */
export type NumericOperations = { readonly [name: string]: (...operands: Value[]) => Value }

/** Privilege of a guest access. */
export const Privilege = { current: 0, supervisor: 1 } as const
export type Privilege = (typeof Privilege)[keyof typeof Privilege]

/** What a sum or difference does besides. */
export interface FlagsOptions {
  /** CF stays (INC, DEC). */
  readonly keepCarry?: boolean
  /** The carry or borrow went into the result (ADC, SBB). */
  readonly carryIn?: boolean
}

function flagsAux(bits: number, { keepCarry = false, carryIn = false }: FlagsOptions): number {
  return bits | (keepCarry ? FlagsBit.keepCarry : 0) | (carryIn ? FlagsBit.carryIn : 0)
}

/** Names of condition codes in the order of their encoding. */
export const Condition = {
  o: 0,
  no: 1,
  b: 2,
  ae: 3,
  e: 4,
  ne: 5,
  be: 6,
  a: 7,
  s: 8,
  ns: 9,
  p: 10,
  np: 11,
  l: 12,
  ge: 13,
  le: 14,
  g: 15,
} as const

/** A body or procedure builds IR that makes no sense: operand types that do not fit, an unknown operation. */
export class IrError extends TrapframeError {
  constructor(message: string) {
    super('x86/ir', message)
  }
}

/**
 * Mode of the instruction whose body is built: `long` is 64-bit mode, `legacy` every other one. Procedures are compiled
 * once; they do not look at this, but at the state.
 */
export type CodeMode = 'long' | 'legacy'

const typeNames = ['none', 'i32', 'i64', 'f32', 'f64', 'v128']

/** Emits IR, operation by operation. Methods answer the value of the operation that they append. */
export class Builder {
  /** What was emitted so far. */
  readonly code: Code
  /** Procedures that the code calls, in the order of `Op.call`'s numbers. Shared by everything that is compiled together. */
  readonly procedures: ProcedureTable
  /** Set by whoever builds the body of an instruction. */
  mode: CodeMode = 'long'
  readonly i32!: NumericOperations
  readonly i64!: NumericOperations
  readonly f32!: NumericOperations
  readonly f64!: NumericOperations
  readonly v128!: NumericOperations
  readonly i8x16!: NumericOperations
  readonly i16x8!: NumericOperations
  readonly i32x4!: NumericOperations
  readonly i64x2!: NumericOperations
  readonly f32x4!: NumericOperations
  readonly f64x2!: NumericOperations

  constructor(procedures: ProcedureTable = new ProcedureTable(), code: Code = new Code()) {
    this.procedures = procedures
    this.code = code
    const shapes: Record<string, Record<string, (...operands: Value[]) => Value>> = {}
    for (const [name, opcode, operands, result] of numericRows) {
      const [shape, operation] = name.split('.') as [string, string]
      shapes[shape] ??= {}
      shapes[shape][operation] = (x, y, z) => this.#numeric(name, opcode, operands, result, x!, y, z)
    }
    Object.assign(this, shapes)
  }

  // Constants.

  /** A constant i32. @param value - a safe integer, cut to 32 bits */
  const32(value: number): Value {
    return this.#push(Op.constant, Type.i32, 0, value | 0, 0, 0)
  }

  /** A constant i64. @param value - a safe integer (sign-extended) or a bigint */
  const64(value: number | bigint): Value {
    const wide = BigInt.asIntN(64, BigInt(value))
    return this.#push(Op.constant, Type.i64, 0, Number(BigInt.asIntN(32, wide)), Number(wide >> 32n), 0)
  }

  /** A constant f32. */
  constF32(value: number): Value {
    return this.f32.reinterpretI32!(this.const32(new Int32Array(new Float32Array([value]).buffer)[0]!))
  }

  /** A constant f64. */
  constF64(value: number): Value {
    return this.f64.reinterpretI64!(this.const64(new BigInt64Array(new Float64Array([value]).buffer)[0]!))
  }

  /** A constant vector. @param bytes - 16 bytes, lane 0 first */
  constV128(bytes: Uint8Array | readonly number[]): Value {
    return this.#push(Op.vectorConstant, Type.v128, this.#pool(bytes), 0, 0, 0)
  }

  /** The value of a constant i64 or i32, or undefined. */
  constantOf(value: Value): bigint | undefined {
    const { op, type, a, b } = this.code
    if (op[value] !== Op.constant) return undefined
    return type[value] === Type.i32 ? BigInt(a[value]!) : (BigInt(b[value]!) << 32n) | BigInt(a[value]! >>> 0)
  }

  // Vectors.

  /** A lane of a vector; lanes of 8 and 16 bits are zero-extended to i32, or sign-extended. */
  extractLane(shape: LaneShape, vector: Value, lane: number, signed = false): Value {
    const row = Lane[shape]
    this.#expect('extractLane', vector, Type.v128)
    return this.#push(Op.extractLane, row.type, lane, vector, 0, signed ? row.extractS : row.extractU)
  }

  /** The vector with one lane replaced. */
  replaceLane(shape: LaneShape, vector: Value, lane: number, value: Value): Value {
    const row = Lane[shape]
    this.#expect('replaceLane', vector, Type.v128)
    this.#expect('replaceLane', value, row.type)
    return this.#push(Op.replaceLane, Type.v128, lane, vector, value, row.replace)
  }

  /** A vector of bytes of two others. @param lanes - 16 byte numbers: 0 to 15 from `x`, 16 to 31 from `y` */
  shuffle(x: Value, y: Value, lanes: readonly number[]): Value {
    this.#expect('shuffle', x, Type.v128)
    this.#expect('shuffle', y, Type.v128)
    return this.#push(Op.shuffle, Type.v128, this.#pool(lanes), x, y, 0)
  }

  /** `condition` (i32) ? `yes` : `no`. Both are evaluated. */
  select(condition: Value, yes: Value, no: Value): Value {
    this.#expect('select', condition, Type.i32)
    const type = this.typeOf(yes)
    this.#expect('select', no, type)
    const known = this.constantOf(condition)
    if (known !== undefined) return known !== 0n ? yes : no
    return this.#push(Op.select, type, 0, condition, yes, no)
  }

  // Variables and control.

  /** A new variable, zero unless given a value. */
  local(type: Type, initial?: Value): Local {
    const local = this.code.locals.push(type) - 1
    if (initial !== undefined) this.set(local as Local, initial)
    return local as Local
  }

  /** The variable's value now. */
  get(local: Local): Value {
    return this.#push(Op.localGet, this.code.locals[local]!, local, 0, 0, 0)
  }

  /** Changes the variable. */
  set(local: Local, value: Value): void {
    this.#expect('set', value, this.code.locals[local]!)
    this.#push(Op.localSet, Type.none, local, value, 0, 0)
  }

  /** The value of a procedure's parameter. */
  parameter(index: number, type: Type): Value {
    return this.#push(Op.parameter, type, index, 0, 0, 0)
  }

  /** Runs `then` if `condition` (i32) is not zero, else `otherwise`. */
  if(condition: Value, then: () => void, otherwise?: () => void): void {
    this.#expect('if', condition, Type.i32)
    const known = this.constantOf(condition)
    if (known !== undefined) {
      if (known !== 0n) then()
      else otherwise?.()
      return
    }
    const label = this.code.labels++
    this.#push(Op.if, Type.none, label, condition, 0, 0)
    then()
    if (otherwise) {
      this.#push(Op.else, Type.none, label, 0, 0, 0)
      otherwise()
    }
    this.#push(Op.end, Type.none, label, 0, 0, 0)
  }

  /** `br(label)` inside leaves the block. */
  block(body: (label: Label) => void): void {
    this.#region(Op.block, body)
  }

  /** `br(label)` inside starts the next round; falling off the end leaves the loop. */
  loop(body: (label: Label) => void): void {
    this.#region(Op.loop, body)
  }

  /** Goes to the end of a block or the start of a loop. */
  br(label: Label): void {
    this.#push(Op.br, Type.none, label, 0, 0, 0)
  }

  /** As `br`, if `condition` (i32) is not zero. */
  brIf(condition: Value, label: Label): void {
    this.#expect('brIf', condition, Type.i32)
    this.#push(Op.brIf, Type.none, label, condition, 0, 0)
  }

  /** A fault inside goes to the end of the region, where `takeFault` tells. */
  attempt(body: () => void): void {
    this.#region(Op.attempt, body)
  }

  /** i32: 1 if a fault is pending, which is then forgotten (its details stay in the state). */
  takeFault(): Value {
    return this.#push(Op.takeFault, Type.i32, 0, 0, 0, 0)
  }

  /** Leaves the procedure, with its result if it has one. */
  return(value?: Value): void {
    this.#push(Op.return, Type.none, 0, value ?? -1, 0, 0)
  }

  /** Calls a procedure. The result is of its result type; meaningless when it has none. */
  call(procedure: Procedure, ...operands: Value[]): Value {
    if (operands.length !== procedure.parameters.length)
      throw new IrError(
        `${procedure.name}: ${operands.length} arguments for ${procedure.parameters.length} parameters`,
      )
    operands.forEach((operand, index) => this.#expect(procedure.name, operand, procedure.parameters[index]!))
    const first = this.code.extra.length
    this.code.extra.push(...operands)
    return this.#push(Op.call, procedure.result, this.procedures.number(procedure), first, operands.length, 0)
  }

  // State and engine memory.

  /** The state's base address, i32. */
  stateBase(): Value {
    return this.#push(Op.stateBase, Type.i32, 0, 0, 0, 0)
  }

  /** Reads the vCPU's state. @param index - i32 that is added to `offset` */
  stateLoad(access: Access, offset: number, index?: Value): Value {
    return this.#push(Op.stateLoad, accessType[access]!, access, index ?? -1, 0, offset)
  }

  /** Writes the vCPU's state, cutting the value to the access's width. @param index - i32 that is added to `offset` */
  stateStore(access: Access, offset: number, value: Value, index?: Value): void {
    this.#expect('stateStore', value, accessType[access]!)
    this.#push(Op.stateStore, Type.none, access, index ?? -1, value, offset)
  }

  /** Memory of the engine at an absolute i32 address. */
  hostLoad(access: Access, address: Value, offset = 0): Value {
    this.#expect('hostLoad', address, Type.i32)
    return this.#push(Op.hostLoad, accessType[access]!, access, address, 0, offset)
  }

  /** See `hostLoad`. */
  hostStore(access: Access, address: Value, value: Value, offset = 0): void {
    this.#expect('hostStore', address, Type.i32)
    this.#expect('hostStore', value, accessType[access]!)
    this.#push(Op.hostStore, Type.none, access, address, value, offset)
  }

  /** As WebAssembly's memory.copy: right even where the ranges overlap. */
  hostCopy(to: Value, from: Value, length: Value): void {
    this.#push(Op.hostCopy, Type.none, 0, to, from, length)
  }

  /** As WebAssembly's memory.fill. @param byte - i32 */
  hostFill(to: Value, byte: Value, length: Value): void {
    this.#push(Op.hostFill, Type.none, 0, to, byte, length)
  }

  // Guest memory, by linear address.

  /** Reads guest memory at a linear (or segmented) address; may fault. */
  guestLoad(access: Access, address: Value, privilege: Privilege = Privilege.current): Value {
    this.#expect('guestLoad', address, Type.i64)
    return this.#push(Op.guestLoad, accessType[access]!, access | (privilege << 4), address, 0, 0)
  }

  /** Writes guest memory at a linear (or segmented) address; may fault, and has then written nothing. */
  guestStore(access: Access, address: Value, value: Value, privilege: Privilege = Privilege.current): void {
    this.#expect('guestStore', address, Type.i64)
    this.#expect('guestStore', value, accessType[access]!)
    this.#push(Op.guestStore, Type.none, access | (privilege << 4), address, value, 0)
  }

  /** A reference to memory that will be read and written: takes all faults of the write now. One at a time. */
  guestRef(access: Access, address: Value, privilege: Privilege = Privilege.current): Value {
    this.#expect('guestRef', address, Type.i64)
    return this.#push(Op.guestRef, Type.i32, access | (privilege << 4), address, 0, 0)
  }

  /** Reads through a reference. Cannot fault. */
  refLoad(access: Access, reference: Value): Value {
    this.#expect('refLoad', reference, Type.i32)
    return this.#push(Op.refLoad, accessType[access]!, access, reference, 0, 0)
  }

  /** Writes through a reference. Cannot fault. @param address - the linear address that it was made from */
  refStore(access: Access, reference: Value, value: Value, address: Value): void {
    this.#expect('refStore', value, accessType[access]!)
    this.#push(Op.refStore, Type.none, access, reference, value, address)
  }

  /** Atomically: if the value is `expected`, stores `replacement`. Gives the value found (zero-extended i64). u8 to u64. */
  refCompareExchange(
    access: Access,
    reference: Value,
    expected: Value,
    replacement: Value,
    address: Value,
  ): Value {
    const first = this.code.extra.length
    this.code.extra.push(address)
    this.#expect('refCompareExchange', expected, Type.i64)
    this.#expect('refCompareExchange', replacement, Type.i64)
    return this.#push(
      Op.refCompareExchange,
      Type.i64,
      access | (first << 4),
      reference,
      expected,
      replacement,
    )
  }

  // Arithmetic flags. Operands are zero-extended i64 values of `bits` bits.

  /** Flags of `x + y = result`, or of `x + y + carry = result`. */
  flagsAdd(bits: number, x: Value, y: Value, result: Value, options: FlagsOptions = {}): void {
    this.#push(Op.flagsAdd, Type.none, flagsAux(bits, options), x, y, result)
  }

  /** Flags of `x - y = result`, or of `x - y - borrow = result`. */
  flagsSub(bits: number, x: Value, y: Value, result: Value, options: FlagsOptions = {}): void {
    this.#push(Op.flagsSub, Type.none, flagsAux(bits, options), x, y, result)
  }

  /** ZF, SF and PF of `result`; CF, OF and AF are cleared. */
  flagsLogic(bits: number, result: Value): void {
    this.#push(Op.flagsLogic, Type.none, bits, 0, 0, result)
  }

  /** Sets the flags in `mask` from an i32 that has them at their EFLAGS positions; the others stay. */
  flagsSet(mask: number, image: Value): void {
    this.#expect('flagsSet', image, Type.i32)
    this.#push(Op.flagsSet, Type.none, mask, image, 0, 0)
  }

  /** One flag (`Flag.cf` …) as i32 0 or 1. */
  flag(flag: number): Value {
    return this.#push(Op.flagGet, Type.i32, flag, 0, 0, 0)
  }

  /** The six arithmetic flags at their EFLAGS positions, i32. */
  flags(): Value {
    return this.#push(Op.flagsRead, Type.i32, 0, 0, 0, 0)
  }

  /** A condition code (0 to 15, see `Condition`) as i32 0 or 1. */
  condition(code: number): Value {
    return this.#push(Op.condition, Type.i32, code, 0, 0, 0)
  }

  // Ends of an instruction.

  /** Takes the direct branch of the instruction. */
  branch(): void {
    this.#push(Op.branch, Type.none, 0, 0, 0, 0)
  }

  /** Ends the instruction by a near jump to `rip`, i64. */
  jump(rip: Value): void {
    this.#expect('jump', rip, Type.i64)
    this.#push(Op.jump, Type.none, 0, rip, 0, 0)
  }

  /** Ends the instruction; events, mode and privilege are looked at again. For everything that changes them. */
  resync(rip: Value): void {
    this.#expect('resync', rip, Type.i64)
    this.#push(Op.resync, Type.none, 0, rip, 0, 0)
  }

  /** Raises an exception. @param errorCode - i32, absent for vectors that push none */
  raise(vector: number, errorCode?: Value): void {
    const none = errorCode ?? this.const32(-1)
    this.#push(Op.raise, Type.none, 0, this.const32(vector), none, 0)
  }

  /** Abandons the instruction with an exit. Its details are in the state; it is executed again on the next `run`. */
  exit(reason: number): void {
    this.#push(Op.exit, Type.none, reason, 0, 0, 0)
  }

  /** Address of the next instruction, i64. */
  nextRip(): Value {
    return this.#push(Op.nextRip, Type.i64, 0, 0, 0, 0)
  }

  /** Address of this instruction, i64. */
  thisRip(): Value {
    return this.#push(Op.thisRip, Type.i64, 0, 0, 0, 0)
  }

  // Shorthands that many bodies need.

  /** Masks an i64 to `bits` bits. */
  truncate(bits: number, value: Value): Value {
    if (bits === 64) return value
    return this.i64.and!(value, this.const64((1n << BigInt(bits)) - 1n))
  }

  /** Sign-extends the low `bits` bits of an i64. */
  signExtend(bits: number, value: Value): Value {
    if (bits === 64) return value
    const name = bits === 8 ? 'extend8S' : bits === 16 ? 'extend16S' : 'extend32S'
    return this.i64[name]!(value)
  }

  /** Type of a value. */
  typeOf(value: Value): Type {
    return this.code.type[value]! as Type
  }

  #region(op: number, body: (label: Label) => void): void {
    const label = this.code.labels++
    this.#push(op, Type.none, label, 0, 0, 0)
    body(label as Label)
    this.#push(Op.end, Type.none, label, 0, 0, 0)
  }

  #numeric(
    name: string,
    opcode: number,
    operands: readonly Type[],
    result: Type,
    x: Value,
    y?: Value,
    z?: Value,
  ): Value {
    const given = z !== undefined ? 3 : y !== undefined ? 2 : 1
    if (given !== operands.length) throw new IrError(`${name}: ${given} operands for ${operands.length}`)
    this.#expect(name, x, operands[0]!)
    if (y !== undefined) this.#expect(name, y, operands[1]!)
    if (z !== undefined) this.#expect(name, z, operands[2]!)
    if (result <= Type.i64) {
      const folded = foldNumeric(this, opcode, x, y)
      if (folded !== undefined) return folded
    }
    return this.#push(opcode, result, 0, x, y ?? 0, z ?? 0)
  }

  #expect(where: string, value: Value, type: Type): void {
    if (this.code.type[value] !== type)
      throw new IrError(
        `${where}: operand is ${typeNames[this.code.type[value] ?? 0]}, expected ${typeNames[type]}`,
      )
  }

  #pool(bytes: Uint8Array | readonly number[]): number {
    if (bytes.length !== 16) throw new IrError(`a vector constant has 16 bytes, not ${bytes.length}`)
    return this.code.pool.push(Uint8Array.from(bytes)) - 1
  }

  #push(op: number, type: Type, aux: number, a: number, b: number, c: number): Value {
    return this.code.push(op, type, aux, a, b, c) as Value
  }
}

/** Numbers procedures as they are met. */
export class ProcedureTable {
  /** In the order of their numbers. */
  readonly list: Procedure[] = []
  readonly #numbers = new Map<Procedure, number>()

  /** The procedure's number, a new one at the first call. */
  number(procedure: Procedure): number {
    let number = this.#numbers.get(procedure)
    if (number === undefined) {
      number = this.list.push(procedure) - 1
      this.#numbers.set(procedure, number)
    }
    return number
  }
}

export { Access, Type }
