/**
 * Executes IR as it stands, one operation after the other. It owns the engine's memory: the vCPU state, two places for
 * references to guest memory that are no plain RAM, and guest RAM, in one buffer with addresses as WebAssembly has them.
 *
 * What it checks beyond the specification of each operation, because compiled code would go wrong silently: a local of
 * an instruction is set before it is read, a procedure that is declared without faults has none, and nothing loops for ever.
 */
import { Builder, type CodeMode, ProcedureTable, type Value } from '../ir/builder.ts'
import { Access, accessBytes, Op, Type } from '../ir/op.ts'
import type { Procedure } from '../ir/procedure.ts'
import { Fault, State } from '../state-layout.ts'
import {
  conditionHolds,
  readArithmeticFlags,
  storeAddFlags,
  storeLogicFlags,
  storeSubFlags,
  writeArithmeticFlags,
} from './arithmetic-flags.ts'
import { type Program, prepareProgram } from './program.ts'
import { type Operation, scalarOperations } from './scalar-operations.ts'
import { EvaluatorError, type Scalar } from './value.ts'
import { extractLane, replaceLane, shuffle, vectorOperations } from './vector-operations.ts'

/** How a program ended. `fault`: an exception or an exit is pending in the state. */
export interface End {
  readonly kind: 'next' | 'branch' | 'jump' | 'resync' | 'return' | 'fault'
  /** RIP of a jump or resync, result of a procedure. */
  readonly value?: Scalar | undefined
}

/** What the operations `nextRip` and `thisRip` give. */
export interface InstructionPlace {
  readonly thisRip: bigint
  readonly nextRip: bigint
}

/** Guest memory at linear addresses. Each access answers `undefined` (or false) after a fault, which is then pending. */
export interface LinearMemory {
  load(linear: bigint, bytes: number, supervisor: boolean): Uint8Array | undefined
  store(linear: bigint, data: Uint8Array, supervisor: boolean): boolean
  /** Takes the faults of a read and a write. `ram`: offset in RAM when the access lies in one page of it. */
  reference(
    linear: bigint,
    bytes: number,
    supervisor: boolean,
  ): { readonly ram: number | undefined } | undefined
}

/** A procedure that the engine supplies. */
export type External = (...parameters: Scalar[]) => Scalar | undefined

/** Where the evaluator's state and guest RAM lie. */
export interface EngineMemory {
  readonly buffer: ArrayBufferLike
  /** The state, and behind it room for references: ENGINE_STATE_BYTES. Not 0. */
  readonly stateOffset: number
  readonly ramOffset: number
  readonly ramBytes: number
}

const PLACE_BYTES = 64
const PLACES = 2
/** Bytes that the evaluator uses from `stateOffset` on. */
export const ENGINE_STATE_BYTES: number = State.sizeBytes + PLACES * PLACE_BYTES

/** Memory of its own. */
export function allocateEngineMemory(ramBytes: number): EngineMemory {
  const ramOffset = 0x1_0000
  return { buffer: new ArrayBuffer(ramOffset + ramBytes), stateOffset: 0x1000, ramOffset, ramBytes }
}

/** More operations than any instruction needs (a REP string instruction of 2^20 iterations has fewer). */
const MAX_OPERATIONS = 100_000_000
const nowhere: InstructionPlace = { thisRip: 0n, nextRip: 0n }
const next: End = { kind: 'next' }
const fault: End = { kind: 'fault' }
const branch: End = { kind: 'branch' }
const numericOperations: Operation[] = []
scalarOperations.forEach((operation, opcode) => {
  numericOperations[opcode] = operation
})
vectorOperations.forEach((operation, opcode) => {
  numericOperations[opcode] = operation
})
const zeros: Readonly<Record<number, Scalar>> = {
  [Type.none]: 0,
  [Type.i32]: 0,
  [Type.i64]: 0n,
  [Type.f32]: 0,
  [Type.f64]: 0n,
  [Type.v128]: new Uint8Array(16),
}

/** Reads a value from bytes, as `Access` says. */
export function readValue(view: DataView, offset: number, access: Access): Scalar {
  switch (access) {
    case Access.u8:
      return BigInt(view.getUint8(offset))
    case Access.u16:
      return BigInt(view.getUint16(offset, true))
    case Access.u32:
      return BigInt(view.getUint32(offset, true))
    case Access.u64:
    case Access.f64:
      return view.getBigUint64(offset, true)
    case Access.i32:
    case Access.f32:
      return view.getInt32(offset, true)
    case Access.v128:
      return new Uint8Array(view.buffer.slice(view.byteOffset + offset, view.byteOffset + offset + 16))
  }
}

/** Writes a value, cut to the width of `access`. */
export function writeValue(view: DataView, offset: number, access: Access, value: Scalar): void {
  switch (access) {
    case Access.u8:
      view.setUint8(offset, Number(BigInt.asUintN(8, value as bigint)))
      break
    case Access.u16:
      view.setUint16(offset, Number(BigInt.asUintN(16, value as bigint)), true)
      break
    case Access.u32:
      view.setUint32(offset, Number(BigInt.asUintN(32, value as bigint)), true)
      break
    case Access.u64:
    case Access.f64:
      view.setBigUint64(offset, value as bigint, true)
      break
    case Access.i32:
    case Access.f32:
      view.setInt32(offset, value as number, true)
      break
    case Access.v128:
      new Uint8Array(view.buffer, view.byteOffset + offset, 16).set(value as Uint8Array)
  }
}

export class IrMachine {
  /** Engine memory: state, places of references, RAM. */
  readonly memory: DataView
  readonly state: DataView
  readonly ram: Uint8Array
  readonly #bytes: Uint8Array
  readonly #stateBase: number
  readonly #placesBase: number
  readonly #ramBase: number
  readonly #linear: LinearMemory
  readonly #externals: ReadonlyMap<Procedure, External>
  readonly #builder = new Builder(new ProcedureTable())
  readonly #programs = new Map<Procedure, Program>()
  /** For each place: linear address, size and privilege of the reference that was made last. */
  readonly #places: { linear: bigint; bytes: number; supervisor: boolean }[] = []
  #operations = 0

  /** @param linear - made from the machine's RAM and state, which do not exist before the machine */
  constructor(
    memory: EngineMemory,
    linear: (machine: IrMachine) => LinearMemory,
    externals: (machine: IrMachine) => ReadonlyMap<Procedure, External>,
  ) {
    const { buffer, stateOffset, ramOffset, ramBytes } = memory
    this.#stateBase = stateOffset
    this.#placesBase = stateOffset + State.sizeBytes
    this.#ramBase = ramOffset
    this.memory = new DataView(buffer)
    this.#bytes = new Uint8Array(buffer)
    this.state = new DataView(buffer, stateOffset, State.sizeBytes)
    this.ram = new Uint8Array(buffer, ramOffset, ramBytes)
    this.#linear = linear(this)
    this.#externals = externals(this)
  }

  /** IR that `emit` builds, ready to be executed. */
  build(name: string, emit: (b: Builder) => void, mode: CodeMode = 'long'): Program {
    this.#builder.code.clear()
    this.#builder.mode = mode
    emit(this.#builder)
    return prepareProgram(name, this.#builder.code, this.#builder.procedures.list)
  }

  /** Calls a procedure. `undefined` with `State.fault` set: it faulted. */
  call(procedure: Procedure, ...parameters: Scalar[]): End {
    if (procedure.body === undefined) {
      const external = this.#externals.get(procedure)
      if (!external) throw new EvaluatorError(`no external procedure ${procedure.name}`)
      const value = external(...parameters)
      return this.#leave(procedure, { kind: 'return', value })
    }
    let program = this.#programs.get(procedure)
    if (!program) {
      const { body } = procedure
      program = this.build(procedure.name, (b) =>
        body(b, ...procedure.parameters.map((type, index): Value => b.parameter(index, type))),
      )
      this.#programs.set(procedure, program)
    }
    const end = this.#execute(program, parameters, undefined)
    if (end.kind === 'next') {
      if (procedure.result !== Type.none)
        throw new EvaluatorError(`${procedure.name} falls off its end without a result`)
      return this.#leave(procedure, { kind: 'return' })
    }
    if (end.kind !== 'return' && end.kind !== 'fault')
      throw new EvaluatorError(`${procedure.name}, a procedure, ends an instruction (${end.kind})`)
    return this.#leave(procedure, end)
  }

  /** Executes the program of an instruction. */
  run(program: Program, place: InstructionPlace = nowhere): End {
    this.#operations = 0
    return this.#execute(program, [], place)
  }

  #leave(procedure: Procedure, end: End): End {
    const pending = this.state.getInt32(State.fault, true) !== Fault.none
    if (!pending) return end
    if (!procedure.mayFault)
      throw new EvaluatorError(`${procedure.name} faults, but is declared without faults`)
    return fault
  }

  #execute(program: Program, parameters: readonly Scalar[], place: InstructionPlace | undefined): End {
    const { op, aux, a, b, c, length, type } = program
    const { state } = this
    const values: Scalar[] = new Array(length)
    // Locals of a procedure start at zero, as those of a WebAssembly function. An instruction's may share a function
    // with other instructions and must be set first.
    const locals: (Scalar | undefined)[] = program.locals.map((type) => (place ? undefined : zeros[type]!))
    const at = (index: number): Scalar => values[index]!
    const address = (index: number): number => (values[index] as number) >>> 0

    for (let pc = 0; pc < length; ) {
      if (++this.#operations > MAX_OPERATIONS) throw new EvaluatorError(`${program.name} does not end`)
      const index = pc++
      const opcode = op[index]!
      let faulted = false
      if (opcode < Op.first) {
        const operation = numericOperations[opcode]
        if (!operation)
          throw new EvaluatorError(`${program.name}: opcode 0x${opcode.toString(16)} is not implemented`)
        values[index] = operation(values[a[index]!]!, values[b[index]!]!, values[c[index]!]!)
        continue
      }
      switch (opcode) {
        case Op.constant:
          values[index] =
            type[index] === Type.i32 ? a[index]! : (BigInt(b[index]! >>> 0) << 32n) | BigInt(a[index]! >>> 0)
          break
        case Op.vectorConstant:
          values[index] = program.pool[aux[index]!]!.slice()
          break
        case Op.parameter:
          values[index] = parameters[aux[index]!]!
          break
        case Op.localGet: {
          const value = locals[aux[index]!]
          if (value === undefined)
            throw new EvaluatorError(`${program.name}: local ${aux[index]} is read before it is set`)
          values[index] = value
          break
        }
        case Op.localSet:
          locals[aux[index]!] = at(a[index]!)
          break
        case Op.select:
          values[index] = at(a[index]!) !== 0 ? at(b[index]!) : at(c[index]!)
          break
        case Op.extractLane:
          values[index] = extractLane(c[index]!, at(a[index]!) as Uint8Array, aux[index]!)
          break
        case Op.replaceLane:
          values[index] = replaceLane(c[index]!, at(a[index]!) as Uint8Array, aux[index]!, at(b[index]!))
          break
        case Op.shuffle:
          values[index] = shuffle(
            at(a[index]!) as Uint8Array,
            at(b[index]!) as Uint8Array,
            program.pool[aux[index]!]!,
          )
          break

        case Op.block:
        case Op.loop:
        case Op.attempt:
        case Op.end:
          break
        case Op.if:
          if (at(a[index]!) === 0) pc = program.skip[index]!
          break
        case Op.else:
          pc = program.skip[index]!
          break
        case Op.br:
          pc = program.target[aux[index]!]!
          break
        case Op.brIf:
          if (at(a[index]!) !== 0) pc = program.target[aux[index]!]!
          break
        case Op.takeFault: {
          const pending = state.getInt32(State.fault, true)
          state.setInt32(State.fault, Fault.none, true)
          values[index] = pending === Fault.none ? 0 : 1
          break
        }
        case Op.return:
          return { kind: 'return', value: a[index]! < 0 ? undefined : at(a[index]!) }
        case Op.call: {
          const procedure = program.procedures[aux[index]!]!
          const operands = program.extra.slice(a[index]!, a[index]! + b[index]!).map(at)
          const end = this.call(procedure, ...operands)
          if (end.kind === 'fault') faulted = true
          else values[index] = end.value ?? zeros[procedure.result]!
          break
        }

        case Op.stateLoad:
          values[index] = readValue(
            state,
            this.#stateOffset(program, a[index]!, c[index]!, values),
            aux[index]! as Access,
          )
          break
        case Op.stateStore:
          writeValue(
            state,
            this.#stateOffset(program, a[index]!, c[index]!, values),
            aux[index]! as Access,
            at(b[index]!),
          )
          break
        case Op.stateBase:
          values[index] = this.#stateBase
          break
        case Op.hostLoad:
          values[index] = readValue(this.memory, address(a[index]!) + c[index]!, aux[index]! as Access)
          break
        case Op.hostStore:
          writeValue(this.memory, address(a[index]!) + c[index]!, aux[index]! as Access, at(b[index]!))
          break
        case Op.hostCopy:
          this.#bytes.copyWithin(
            address(a[index]!),
            address(b[index]!),
            address(b[index]!) + address(c[index]!),
          )
          break
        case Op.hostFill:
          this.#bytes.fill(
            at(b[index]!) as number,
            address(a[index]!),
            address(a[index]!) + address(c[index]!),
          )
          break

        case Op.guestLoad: {
          const access = (aux[index]! & 15) as Access
          const data = this.#linear.load(
            at(a[index]!) as bigint,
            accessBytes[access]!,
            (aux[index]! & 0x10) !== 0,
          )
          if (data) values[index] = readValue(new DataView(data.buffer, data.byteOffset), 0, access)
          else faulted = true
          break
        }
        case Op.guestStore: {
          const access = (aux[index]! & 15) as Access
          const data = new Uint8Array(accessBytes[access]!)
          writeValue(new DataView(data.buffer), 0, access, at(b[index]!))
          faulted = !this.#linear.store(at(a[index]!) as bigint, data, (aux[index]! & 0x10) !== 0)
          break
        }
        case Op.guestRef: {
          const reference = this.#refer(
            at(a[index]!) as bigint,
            accessBytes[aux[index]! & 15]!,
            (aux[index]! & 0x10) !== 0,
            (aux[index]! >> 8) & 1,
          )
          if (reference === undefined) faulted = true
          else values[index] = reference
          break
        }
        case Op.refLoad: {
          const value = this.#referenceLoad(address(a[index]!), aux[index]! as Access)
          if (value === undefined) faulted = true
          else values[index] = value
          break
        }
        case Op.refStore:
          faulted = !this.#referenceStore(address(a[index]!), aux[index]! as Access, at(b[index]!))
          break
        case Op.refCompareExchange: {
          const access = (aux[index]! & 15) as Access
          const found = this.#referenceLoad(address(a[index]!), access)
          if (found === undefined) faulted = true
          else {
            values[index] = found
            if (found === at(b[index]!))
              faulted = !this.#referenceStore(address(a[index]!), access, at(c[index]!))
          }
          break
        }

        case Op.flagsAdd:
        case Op.flagsSub: {
          const store = opcode === Op.flagsAdd ? storeAddFlags : storeSubFlags
          const keepCarry = (aux[index]! & 0x100) !== 0
          store(
            state,
            aux[index]! & 0xff,
            at(a[index]!) as bigint,
            at(b[index]!) as bigint,
            at(c[index]!) as bigint,
            keepCarry,
          )
          break
        }
        case Op.flagsLogic:
          storeLogicFlags(state, aux[index]!, at(c[index]!) as bigint)
          break
        case Op.flagsSet: {
          const image = at(a[index]!) as number
          writeArithmeticFlags(state, (readArithmeticFlags(state) & ~aux[index]!) | (image & aux[index]!))
          break
        }
        case Op.flagGet:
          values[index] = readArithmeticFlags(state) & aux[index]! ? 1 : 0
          break
        case Op.flagsRead:
          values[index] = readArithmeticFlags(state)
          break
        case Op.condition:
          values[index] = conditionHolds(aux[index]!, readArithmeticFlags(state)) ? 1 : 0
          break

        case Op.branch:
          return branch
        case Op.jump:
          return { kind: 'jump', value: at(a[index]!) }
        case Op.resync:
          return { kind: 'resync', value: at(a[index]!) }
        case Op.raise:
          state.setInt32(State.faultVector, at(a[index]!) as number, true)
          state.setInt32(State.faultErrorCode, at(b[index]!) as number, true)
          state.setInt32(State.fault, Fault.exception, true)
          faulted = true
          break
        case Op.exit:
          state.setInt32(State.exitReason, aux[index]!, true)
          state.setInt32(State.fault, Fault.exit, true)
          faulted = true
          break
        case Op.nextRip:
        case Op.thisRip:
          if (!place)
            throw new EvaluatorError(`${program.name}: a procedure asks for the RIP of its instruction`)
          values[index] = opcode === Op.nextRip ? place.nextRip : place.thisRip
          break
        default:
          throw new EvaluatorError(`${program.name}: opcode 0x${opcode.toString(16)} is not implemented`)
      }
      if (faulted) {
        pc = program.faultTarget[index]!
        if (pc < 0) return fault
      }
    }
    return next
  }

  #stateOffset(program: Program, dynamic: number, constant: number, values: Scalar[]): number {
    const offset = constant + (dynamic < 0 ? 0 : (values[dynamic] as number))
    if (offset < 0 || offset >= State.sizeBytes)
      throw new EvaluatorError(`${program.name}: state offset 0x${offset.toString(16)} is outside the state`)
    return offset
  }

  #refer(linear: bigint, bytes: number, supervisor: boolean, place: number): number | undefined {
    const found = this.#linear.reference(linear, bytes, supervisor)
    if (!found) return undefined
    if (found.ram !== undefined) return this.ramAddress(found.ram)
    this.#places[place] = { linear, bytes, supervisor }
    return this.#placesBase + place * PLACE_BYTES
  }

  /** The address of an offset in RAM, as IR sees it. */
  ramAddress(offset: number): number {
    return (this.#ramBase + offset) | 0
  }

  #place(reference: number): { linear: bigint; bytes: number; supervisor: boolean } | undefined {
    const number = (reference - this.#placesBase) / PLACE_BYTES
    return Number.isInteger(number) && number >= 0 && number < PLACES ? this.#places[number] : undefined
  }

  #referenceLoad(reference: number, access: Access): Scalar | undefined {
    const place = this.#place(reference)
    if (!place) return readValue(this.memory, reference >>> 0, access)
    const data = this.#linear.load(place.linear, accessBytes[access]!, place.supervisor)
    return data && readValue(new DataView(data.buffer, data.byteOffset), 0, access)
  }

  #referenceStore(reference: number, access: Access, value: Scalar): boolean {
    const place = this.#place(reference)
    if (!place) {
      writeValue(this.memory, reference >>> 0, access, value)
      return true
    }
    const data = new Uint8Array(accessBytes[access]!)
    writeValue(new DataView(data.buffer), 0, access, value)
    return this.#linear.store(place.linear, data, place.supervisor)
  }
}
