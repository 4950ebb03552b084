/**
 * A piece of IR made ready to be executed: its own copy of the arrays, with the targets of branches and faults found,
 * and checked. The checks are those that the compilers rely on without looking: a value is used only inside the
 * region that it was made in, and a label only inside its own region.
 */
import type { Code } from '../ir/code.ts'
import { numericRows, Op, Type } from '../ir/op.ts'
import type { Procedure } from '../ir/procedure.ts'
import { EvaluatorError } from './value.ts'

export interface Program {
  readonly name: string
  readonly length: number
  readonly op: Uint16Array
  readonly type: Uint8Array
  readonly aux: Int32Array
  readonly a: Int32Array
  readonly b: Int32Array
  readonly c: Int32Array
  readonly extra: readonly number[]
  readonly pool: readonly Uint8Array[]
  /** Types of the locals. */
  readonly locals: readonly Type[]
  /** Procedures by the numbers of `Op.call`. */
  readonly procedures: readonly Procedure[]
  /** For `if`: where a false condition goes on (behind `else` or `end`). For `else`: behind `end`. */
  readonly skip: Int32Array
  /** Where `br` to a label goes on: behind the `end` of a block, at the first operation of a loop. */
  readonly target: Int32Array
  /** Where a fault goes on, behind the end of the innermost `attempt`; -1: leaves the program. */
  readonly faultTarget: Int32Array
}

const numericOperands = new Map(numericRows.map(([, opcode, operands]) => [opcode, operands.length]))
/** Which of a, b, c are values, as bits 1, 2, 4; -1 in them means "none" where an operand is optional. */
const valueOperands: Readonly<Record<number, number>> = {
  [Op.localSet]: 1,
  [Op.select]: 7,
  [Op.extractLane]: 1,
  [Op.replaceLane]: 3,
  [Op.shuffle]: 3,
  [Op.if]: 1,
  [Op.brIf]: 1,
  [Op.return]: 1,
  [Op.stateLoad]: 1,
  [Op.stateStore]: 3,
  [Op.hostLoad]: 1,
  [Op.hostStore]: 3,
  [Op.hostCopy]: 7,
  [Op.hostFill]: 7,
  [Op.guestLoad]: 1,
  [Op.guestStore]: 3,
  [Op.guestRef]: 1,
  [Op.refLoad]: 1,
  [Op.refStore]: 7,
  [Op.refCompareExchange]: 7,
  [Op.flagsAdd]: 7,
  [Op.flagsSub]: 7,
  [Op.flagsLogic]: 4,
  [Op.flagsSet]: 1,
  [Op.jump]: 1,
  [Op.resync]: 1,
  [Op.raise]: 3,
}

interface Region {
  readonly label: number
  readonly start: number
  readonly id: number
  /** Position of `if` or `else` that still waits for its end. */
  waiting: number
}

/** Copies, checks and links `code`. @param name - for messages */
export function prepareProgram(name: string, code: Code, procedures: readonly Procedure[]): Program {
  const { length } = code
  const program = {
    name,
    length,
    op: code.op.slice(0, length),
    type: code.type.slice(0, length),
    aux: code.aux.slice(0, length),
    a: code.a.slice(0, length),
    b: code.b.slice(0, length),
    c: code.c.slice(0, length),
    extra: code.extra.slice(),
    pool: code.pool.slice(),
    locals: code.locals.slice(),
    procedures,
    skip: new Int32Array(length).fill(-1),
    target: new Int32Array(code.labels).fill(-1),
    faultTarget: new Int32Array(length).fill(-1),
  }
  const { op, aux, a, b, c, skip, target, faultTarget } = program
  const fail = (index: number, message: string): never => {
    throw new EvaluatorError(`${name}, operation ${index} (0x${op[index]!.toString(16)}): ${message}`)
  }

  const regionOf = new Int32Array(length)
  const open: Region[] = []
  const openIds = new Set<number>([0])
  let current = 0
  let ids = 0
  const enter = (label: number, start: number, waiting: number): void => {
    current = ++ids
    open.push({ label, start, id: current, waiting })
    openIds.add(current)
  }
  const leave = (index: number): Region => {
    const region = open.pop() ?? fail(index, 'ends a region that is not open')
    if (region.label !== aux[index]) fail(index, `ends label ${aux[index]}, label ${region.label} is open`)
    openIds.delete(region.id)
    current = open.at(-1)?.id ?? 0
    return region
  }

  const use = (index: number, value: number): void => {
    if (value < 0 || value >= index) fail(index, `uses value ${value}`)
    if (program.type[value] === Type.none) fail(index, `uses operation ${value}, which has no value`)
    if (!openIds.has(regionOf[value]!)) fail(index, `uses value ${value} outside its region`)
  }

  for (let index = 0; index < length; index++) {
    const opcode = op[index]!
    const count = numericOperands.get(opcode)
    const values = count !== undefined ? [0, 1, 3, 7][count]! : (valueOperands[opcode] ?? 0)
    const optional = opcode === Op.return || opcode === Op.stateLoad || opcode === Op.stateStore
    if (values & 1 && !(optional && a[index] === -1)) use(index, a[index]!)
    if (values & 2) use(index, b[index]!)
    if (values & 4) use(index, c[index]!)
    if (opcode === Op.call)
      for (let argument = 0; argument < b[index]!; argument++) use(index, code.extra[a[index]! + argument]!)

    switch (opcode) {
      case Op.block:
      case Op.loop:
      case Op.attempt:
        enter(aux[index]!, index, -1)
        break
      case Op.if:
        enter(aux[index]!, index, index)
        break
      case Op.else: {
        const region = leave(index)
        skip[region.waiting] = index + 1
        enter(aux[index]!, region.start, index)
        break
      }
      case Op.end: {
        const { start, label, waiting } = leave(index)
        if (waiting >= 0) skip[waiting] = index + 1
        target[label] = op[start] === Op.loop ? start + 1 : index + 1
        if (op[start] === Op.attempt) {
          for (let inside = start; inside < index; inside++)
            if (faultTarget[inside] === -1) faultTarget[inside] = index + 1
        }
        break
      }
      case Op.br:
      case Op.brIf:
        if (!open.some((region) => region.label === aux[index]))
          fail(index, `branches to label ${aux[index]} from outside`)
        break
    }
    regionOf[index] = current
  }
  if (open.length > 0) fail(length - 1, 'leaves a region open')
  return program
}
