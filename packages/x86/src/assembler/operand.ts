/**
 * Operands in Intel syntax: registers, memory (`qword ptr fs:[rbx + rcx*8 + 16]`, `[rip + label]`), expressions.
 */

import { HIGH_BYTE } from '../isa/decoder.ts'
import type { RegisterClass } from '../isa/encoder.ts'
import { Segment } from '../state-layout.ts'
import {
  binary,
  constant,
  type Expression,
  parseExpression,
  parseTerm,
  type Rename,
  SyntaxProblem,
} from './expression.ts'
import type { Cursor } from './lexer.ts'

export interface Register {
  readonly type: 'register'
  readonly class: RegisterClass | 'ip'
  readonly number: number
  readonly bits: number
}

export interface Memory {
  readonly type: 'memory'
  /** Size keyword, or 0. */
  readonly bits: number
  readonly far: boolean
  readonly base?: number
  readonly index?: number
  readonly scale: number
  readonly displacement: Expression
  readonly ripRelative: boolean
  readonly segment?: number
  readonly addressBits: 16 | 32 | 64
}

export interface Constant {
  readonly type: 'constant'
  readonly value: Expression
  /** `short` and `near` fix the size of a branch: 1 or 4 bytes, else 0. */
  readonly branchBytes: number
  /** After a colon: `0x08:target`. */
  readonly offset?: Expression
  /** Size of the offset where a keyword told it (`dword 0x08:target`). */
  readonly farBits?: number
}

export type ParsedOperand = Register | Memory | Constant

const registers = new Map<string, Register>()
function add(name: string, cls: Register['class'], number: number, bits: number): void {
  registers.set(name, { type: 'register', class: cls, number, bits })
}
const legacy = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di']
legacy.forEach((name, number) => {
  add(name, 'general', number, 16)
  add(`e${name}`, 'general', number, 32)
  add(`r${name}`, 'general', number, 64)
})
;['al', 'cl', 'dl', 'bl', 'spl', 'bpl', 'sil', 'dil'].forEach((name, number) => {
  add(name, 'general', number, 8)
})
;['ah', 'ch', 'dh', 'bh'].forEach((name, number) => {
  add(name, 'general', HIGH_BYTE + number, 8)
})
for (let number = 0; number < 16; number++) {
  if (number >= 8) {
    add(`r${number}`, 'general', number, 64)
    add(`r${number}d`, 'general', number, 32)
    add(`r${number}w`, 'general', number, 16)
    add(`r${number}b`, 'general', number, 8)
    add(`r${number}l`, 'general', number, 8)
  } else {
    add(`mm${number}`, 'mmx', number, 64)
    add(`st${number}`, 'x87', number, 80)
  }
  add(`xmm${number}`, 'xmm', number, 128)
  add(`ymm${number}`, 'xmm', number, 256)
  add(`cr${number}`, 'control', number, 64)
  add(`dr${number}`, 'debug', number, 64)
}
add('st', 'x87', 0, 80)
add('rip', 'ip', 0, 64)
add('eip', 'ip', 0, 32)
for (const name of ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const) add(name, 'segment', Segment[name], 16)

/** The register of a name in lower case, or undefined. */
export function registerNamed(name: string | undefined): Register | undefined {
  return name === undefined ? undefined : registers.get(name)
}

const sizes: Readonly<Record<string, number>> = {
  byte: 8,
  word: 16,
  dword: 32,
  fword: 48,
  qword: 64,
  mmword: 64,
  tbyte: 80,
  tword: 80,
  oword: 128,
  xmmword: 128,
  ymmword: 256,
}

/** Parses one operand. @throws SyntaxProblem */
export function parseOperand(cursor: Cursor, rename: Rename, mode: 64 | 32 | 16 = 64): ParsedOperand {
  let bits = 0
  let far = false
  let branchBytes = 0
  for (;;) {
    const name = cursor.name()
    if (name === undefined) break
    if (name === 'far') far = true
    else if (name === 'short') branchBytes = 1
    else if (name === 'near') branchBytes = 4
    else if (name === 'offset') branchBytes = 0
    else if (
      Object.hasOwn(sizes, name) &&
      !cursor.at(':', 1) &&
      cursor.peek(1) !== undefined &&
      !cursor.at(',', 1)
    ) {
      bits = sizes[name]!
      if (cursor.name(1) === 'ptr') cursor.next()
    } else if (name === 'ptr') {
      // `far ptr [x]`
    } else break
    cursor.next()
  }
  let segment: number | undefined
  const register = registerNamed(cursor.name())
  if (register?.class === 'segment' && cursor.at(':', 1)) {
    segment = register.number
    cursor.position += 2
  } else if (register) {
    cursor.next()
    if (register.class === 'x87' && cursor.name(-1) === 'st' && cursor.take('(')) {
      const token = cursor.next()
      if (token?.type !== 'number' || token.value > 7n || !cursor.take(')'))
        throw new SyntaxProblem('st(0) to st(7)')
      return { ...register, number: Number(token.value) }
    }
    return register
  }
  if (cursor.at('[')) return parseMemory(cursor, rename, bits, far, segment, mode)
  const value = parseExpression(cursor, rename)
  if (cursor.at('[')) {
    // label[rbx]
    const memory = parseMemory(cursor, rename, bits, far, segment, mode)
    return { ...memory, displacement: binary('+', memory.displacement, value) }
  }
  if (segment !== undefined)
    return {
      type: 'memory',
      bits,
      far,
      scale: 0,
      displacement: value,
      ripRelative: false,
      segment,
      addressBits: mode,
    }
  if (bits !== 0 && cursor.take(':'))
    return { type: 'constant', value, branchBytes, offset: parseExpression(cursor, rename), farBits: bits }
  if (bits !== 0) throw new SyntaxProblem('a size keyword belongs to memory in brackets')
  if (cursor.take(':'))
    return { type: 'constant', value, branchBytes, offset: parseExpression(cursor, rename) }
  return { type: 'constant', value, branchBytes }
}

function parseMemory(
  cursor: Cursor,
  rename: Rename,
  bits: number,
  far: boolean,
  outerSegment: number | undefined,
  mode: 64 | 32 | 16,
): Memory {
  cursor.next()
  let segment = outerSegment
  const prefix = registerNamed(cursor.name())
  if (prefix?.class === 'segment' && cursor.at(':', 1)) {
    segment = prefix.number
    cursor.position += 2
  }
  let base: Register | undefined
  let index: Register | undefined
  let factor = 1n
  let ripRelative = false
  let displacement = constant(0n)
  let negative = false
  let addressBits: 16 | 32 | 64 = mode
  const addRegister = (register: Register, times: bigint | undefined): void => {
    if (negative) throw new SyntaxProblem('a register cannot be subtracted')
    if (register.class === 'ip') ripRelative = true
    else if (register.class !== 'general' || register.bits < (mode === 64 ? 32 : 16))
      throw new SyntaxProblem('not a register of an address')
    else if (times === undefined && !base) base = register
    else if (!index) {
      index = register
      factor = times ?? 1n
    } else throw new SyntaxProblem('too many registers in an address')
    if (register.bits <= 32) addressBits = register.bits as 16 | 32
  }
  for (;;) {
    if (cursor.name() === 'rel') {
      // [rel label]
      cursor.next()
      ripRelative = true
    }
    const register = registerNamed(cursor.name())
    if (register) {
      cursor.next()
      addRegister(register, cursor.take('*') ? parseTerm(cursor, rename).evaluate(factorScope) : undefined)
    } else if (cursor.peek()?.type === 'number' && cursor.at('*', 1) && registerNamed(cursor.name(2))) {
      const times = cursor.next()!.value
      cursor.next()
      addRegister(registerNamed(cursor.name())!, times)
      cursor.next()
    } else displacement = binary(negative ? '-' : '+', displacement, parseTerm(cursor, rename))
    if (cursor.take('+')) negative = false
    else if (cursor.take('-')) negative = true
    else if (cursor.take(']')) break
    else throw new SyntaxProblem('a ] is missing')
  }
  // RSP can only be the base; [reg*1] alone is shorter as a base.
  if (index && factor === 1n && addressBits !== 16 && (!base || index.number === 4))
    [base, index] = [index, base]
  const scale = [1n, 2n, 4n, 8n].indexOf(factor)
  if (scale < 0) throw new SyntaxProblem(`scale ${factor} is not 1, 2, 4 or 8`)
  if (base && index && base.bits !== index.bits) throw new SyntaxProblem('base and index of different sizes')
  return {
    type: 'memory',
    bits,
    far,
    ...(base ? { base: base.number } : {}),
    ...(index ? { index: index.number } : {}),
    scale: index ? scale : 0,
    displacement,
    ripRelative,
    ...(segment === undefined ? {} : { segment }),
    addressBits,
  }
}

const factorScope = {
  here: 0n,
  lookup(name: string): bigint {
    throw new SyntaxProblem(`scale ${name} must be a number`)
  },
}
