/**
 * The encoder: a form and its operands to bytes, for code of 64, 32 or 16 bits. The displacement is as short as it can be unless it is
 * asked for; which form is shortest is the assembler's question.
 *
 * `operandShapes` tells a generator of tests what each operand of a form may be.
 */
import { TrapframeError } from '@trapframe/core'
import { HIGH_BYTE } from './decoder.ts'
import { type Encoding, encodingOf, isMemoryKind, SizeBit, takesMemory } from './encoding.ts'
import type { Form, OperandKind } from './form.ts'
import { operandBits } from './operands.ts'

/** A memory operand, by its parts. */
export interface MemoryOperand {
  /** General register 0 to 15. */
  readonly base?: number
  /** General register 0 to 15, but not 4 (RSP). */
  readonly index?: number
  /** 0 to 3: the index is shifted left by this. Default 0. */
  readonly scale?: number
  /** Signed 32 bits; with moffs forms the whole address. Default 0. */
  readonly displacement?: number | bigint
  /** The address is displacement + RIP of the next instruction. */
  readonly ripRelative?: boolean
  /** Segment override (0 to 5: ES, CS, SS, DS, FS, GS). */
  readonly segment?: number
  /** Default: that of the mode. */
  readonly addressBits?: 16 | 32 | 64
  /** The displacement takes four bytes even if it is small. */
  readonly wideDisplacement?: boolean
}

/**
 * An operand, in the position that it has in the form. A number is the register's number (8-bit registers 16 to 19
 * are AH, CH, DH, BH), a bigint an immediate or, for rel operands, the displacement from the next instruction.
 * `undefined` for operands that the form names (AL, ST(0), 1).
 */
export type EncodeOperand = number | bigint | MemoryOperand | undefined

/** What is asked of the encoding besides its operands. */
export interface EncodeOptions {
  readonly lock?: boolean
  readonly repeat?: 'rep' | 'repne'
  /** Selector of a far pointer; second immediates are operands of their own. */
  readonly selector?: number
  /** Segment override of an instruction with an implicit address (string instructions, XLAT). */
  readonly segment?: number
  /** Address size of an instruction with an implicit address. */
  readonly addressBits?: 16 | 32 | 64
  /** Kind of code. Default: 64, or 32 for forms that 64-bit mode does not have. */
  readonly mode?: 64 | 32 | 16
}

/** The operands cannot be encoded with this form. */
export class EncodeError extends TrapframeError {
  constructor(form: Form, problem: string) {
    super('x86/encode', `${form.text}: ${problem}`)
  }
}

const segmentPrefix = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]
const mandatory: Readonly<Record<string, number>> = { '66': 0x66, F2: 0xf2, F3: 0xf3 }

/**
 * Encodes an instance of a form.
 * @throws EncodeError for an operand that does not fit: AH with REX, an immediate out of range, RSP as index …
 */
export function encodeForm(
  form: Form,
  operands: readonly EncodeOperand[],
  options: EncodeOptions = {},
): Uint8Array {
  const encoding = encodingOf(form)
  const fail: (problem: string) => never = (problem) => {
    throw new EncodeError(form, problem)
  }
  const mode = options.mode ?? (form.options.mode === 'no64' ? 32 : 64)
  if (
    form.options.mode === (mode === 64 ? 'no64' : 'only64') ||
    (mode !== 64 && (encoding.w || encoding.default64))
  )
    fail(`is not in code of ${mode} bits`)
  let rex = encoding.w ? 0x48 : 0
  let reg = Math.max(encoding.digit, 0)
  let rm = Math.max(encoding.rmDigit, 0)
  let opcodeRegister = 0
  let vvvv = 0
  let memory: MemoryOperand | undefined
  let noRex = false

  for (const [index, kind] of form.operands.entries()) {
    const role = encoding.roles[index]!
    if (role !== 'rm' && role !== 'reg' && role !== 'opcode' && role !== 'moffs' && role !== 'vvvv') continue
    const operand = operands[index]
    if (typeof operand === 'object') {
      if (!takesMemory(kind) && role !== 'moffs') fail(`operand ${index + 1} cannot be memory`)
      memory = operand
      continue
    }
    if (typeof operand !== 'number') fail(`operand ${index + 1} must be ${describe(kind)}, not ${operand}`)
    if (isMemoryKind(kind) || role === 'moffs') fail(`operand ${index + 1} must be memory`)
    const { count, byte } = registerClass(kind)
    let register = operand
    if (byte && register >= HIGH_BYTE && register < HIGH_BYTE + 4) {
      noRex = true
      register -= HIGH_BYTE - 4
    } else {
      if (!(register >= 0 && register < count)) fail(`operand ${index + 1}: no register ${register}`)
      if (byte && register >= 4) rex |= 0x40
    }
    if (kind === 'CR' && ((1 << register) & 0x11d) === 0) fail(`no register CR${register}`)
    if (kind === 'Sreg' && index === 0 && register === 1) fail('CS cannot be loaded by MOV')
    const extended = register > 7
    if (role === 'vvvv') vvvv = register
    else if (role === 'rm') {
      rm = register & 7
      if (extended) rex |= 0x41
    } else if (role === 'reg') {
      reg = register & 7
      if (extended) rex |= 0x44
    } else {
      opcodeRegister = register & 7
      if (extended) rex |= 0x41
    }
  }
  if (memory && encoding.roles.includes('rm') && encoding.mod === 'register') fail('no memory operand')
  if (options.lock && !(form.options.lock && memory)) fail('takes no LOCK prefix here')
  if (options.repeat && !form.options.string) fail('takes no repeat prefix')

  // ModRM, SIB, displacement.
  const tail: number[] = []
  if (encoding.modrm) {
    if (memory) {
      const bits = memory.addressBits ?? mode
      if ((bits === 64) !== (mode === 64) && bits !== 32)
        fail(`addresses of ${bits} bits are not in code of ${mode} bits`)
      if (bits === 16) encodeMemory16(memory, reg, tail, fail)
      else rex |= encodeMemory(memory, reg, tail, fail, mode)
    } else tail.push(0xc0 | (reg << 3) | rm)
  }
  if (encoding.moffs) {
    const address = BigInt(memory?.displacement ?? 0)
    for (let shift = 0n; shift < BigInt(memory?.addressBits ?? mode); shift += 8n)
      tail.push(Number((address >> shift) & 0xffn))
  }

  // Immediates and relative displacement.
  let second = false
  for (const immediate of encoding.immediates) {
    const operand = immediate.operand < 0 ? 0n : operands[immediate.operand]
    let value: bigint
    if (second && form.operands[immediate.operand]?.startsWith('ptr')) value = BigInt(options.selector ?? 0)
    else if (typeof operand === 'bigint') value = operand
    else return fail(`operand ${immediate.operand + 1} must be an immediate (a bigint)`)
    if (!immediateFits(value, immediate)) fail(`immediate ${value} does not fit`)
    for (let byte = 0; byte < immediate.bytes; byte++) tail.push(Number((value >> BigInt(byte * 8)) & 0xffn))
    second = true
  }
  if (encoding.relativeBytes > 0) {
    const operand = operands[encoding.roles.indexOf('relative')]
    if (typeof operand !== 'bigint') return fail('the target must be a bigint')
    if (BigInt.asIntN(encoding.relativeBytes * 8, operand) !== operand)
      fail(`displacement ${operand} does not fit`)
    for (let byte = 0; byte < encoding.relativeBytes; byte++)
      tail.push(Number((operand >> BigInt(byte * 8)) & 0xffn))
  }

  // Prefixes and opcode.
  const bytes: number[] = []
  const segment = memory?.segment ?? options.segment
  if (segment !== undefined) bytes.push(segmentPrefix[segment] ?? fail(`no segment ${segment}`))
  const addressBits = encoding.addressBits || (memory?.addressBits ?? options.addressBits ?? mode)
  if (addressBits !== mode) bytes.push(0x67)
  if (options.lock) bytes.push(0xf0)
  if (options.repeat) bytes.push(options.repeat === 'rep' ? 0xf3 : 0xf2)
  if (encoding.vex) {
    pushVex(encoding, rex, vvvv, bytes)
    return Uint8Array.from([...bytes, encoding.opcode, ...tail])
  }
  const prefix = mandatory[encoding.prefix]
  const wantsOther = mode === 16 ? size32(encoding) : encoding.size16
  if (wantsOther && prefix !== 0x66) bytes.push(0x66)
  if (prefix !== undefined) bytes.push(prefix)
  // NOP's opcode is XCHG only with REX.B.
  if (
    encoding.map === 0 &&
    encoding.opcode === 0x90 &&
    encoding.opcodeRegister &&
    opcodeRegister === 0 &&
    (rex & 1) === 0
  )
    fail('90 without REX.B is NOP')
  if (rex !== 0 && mode !== 64) fail(`no such register in code of ${mode} bits`)
  if (rex !== 0) {
    if (noRex) fail('AH, CH, DH and BH cannot be encoded with REX')
    bytes.push(rex)
  }
  if (encoding.map > 0) bytes.push(0x0f)
  if (encoding.map > 1) bytes.push(encoding.map === 2 ? 0x38 : 0x3a)
  bytes.push(encoding.opcode | opcodeRegister)
  return Uint8Array.from([...bytes, ...tail])
}

/** Whether code of 16 bits has to ask for an operand size of 32. */
function size32({ sizes, relativeBytes }: Encoding): boolean {
  return sizes === SizeBit.bits32 || relativeBytes === 4
}

const vexPrefix: Readonly<Record<string, number>> = { NP: 0, '66': 1, F3: 2, F2: 3 }

/** Appends a VEX prefix, of two bytes where that is enough. */
function pushVex(encoding: Encoding, rex: number, vvvv: number, to: number[]): void {
  const { vectorBits, w } = encoding.vex!
  const last =
    (w === 1 ? 0x80 : 0) | ((~vvvv & 15) << 3) | (vectorBits === 256 ? 4 : 0) | vexPrefix[encoding.prefix]!
  if (encoding.map === 1 && (rex & 3) === 0 && w !== 1) to.push(0xc5, last | (rex & 4 ? 0 : 0x80))
  else to.push(0xc4, ((~rex & 7) << 5) | encoding.map, last)
}

/** Appends ModRM, SIB and displacement; gives back the REX bits. */
function encodeMemory(
  memory: MemoryOperand,
  reg: number,
  to: number[],
  fail: (problem: string) => never,
  mode: 64 | 32 | 16,
): number {
  const { base, index, scale = 0, ripRelative = false } = memory
  const bits = BigInt(memory.displacement ?? 0)
  const displacement = Number(BigInt.asIntN(32, bits))
  if (
    BigInt(displacement) !== bits &&
    !((memory.addressBits === 32 || mode !== 64) && bits === BigInt(displacement >>> 0))
  )
    fail(`displacement ${bits} does not fit 32 bits`)
  if (index === 4) fail('RSP cannot be an index')
  if (scale < 0 || scale > 3) fail(`scale ${scale} is not 0 to 3`)
  let rex = 0
  let displacementBytes: 0 | 1 | 4
  let mod: number
  if (ripRelative || base === undefined) {
    mod = 0
    displacementBytes = 4
  } else if (memory.wideDisplacement || displacement < -128 || displacement > 127) {
    mod = 2
    displacementBytes = 4
  } else if (displacement !== 0 || (base & 7) === 5) {
    mod = 1
    displacementBytes = 1
  } else {
    mod = 0
    displacementBytes = 0
  }
  const modrm = (mod << 6) | (reg << 3)
  if (ripRelative && mode !== 64) fail(`RIP-relative addresses are not in code of ${mode} bits`)
  if (mode !== 64 && base === undefined && index === undefined) {
    to.push(modrm | 5)
  } else if (ripRelative) {
    if (base !== undefined || index !== undefined) fail('RIP with another register')
    to.push(modrm | 5)
  } else if (index !== undefined || base === undefined || (base & 7) === 4) {
    if (base !== undefined && base > 7) rex |= 0x41
    if (index !== undefined && index > 7) rex |= 0x42
    to.push(modrm | 4, (scale << 6) | (((index ?? 4) & 7) << 3) | ((base ?? 5) & 7))
  } else {
    if (base > 7) rex |= 0x41
    to.push(modrm | (base & 7))
  }
  for (let byte = 0; byte < displacementBytes; byte++) to.push((displacement >> (byte * 8)) & 0xff)
  return rex
}

/** ModRM.rm of addresses of 16 bits, by base and index. */
const pairs: readonly (readonly [base: number, index: number])[] = [
  [3, 6],
  [3, 7],
  [5, 6],
  [5, 7],
  [6, -1],
  [7, -1],
  [5, -1],
  [3, -1],
]

/** Appends ModRM and displacement of an address of 16 bits: BX or BP, SI or DI. */
function encodeMemory16(
  memory: MemoryOperand,
  reg: number,
  to: number[],
  fail: (problem: string) => never,
): void {
  const { base, index, scale = 0 } = memory
  const bits = BigInt(memory.displacement ?? 0)
  const displacement = Number(BigInt.asIntN(16, bits))
  if (bits < -0x8000n || bits > 0xffffn) fail(`displacement ${bits} does not fit 16 bits`)
  const low = displacement & 0xff
  const high = (displacement >> 8) & 0xff
  if (base === undefined && index === undefined) {
    to.push((reg << 3) | 6, low, high)
    return
  }
  const first = base ?? index!
  const second = base === undefined ? -1 : (index ?? -1)
  const rm = pairs.findIndex(([x, y]) => (x === first && y === second) || (x === second && y === first))
  if (rm < 0 || scale !== 0) fail('no such address of 16 bits')
  if (memory.wideDisplacement || displacement < -128 || displacement > 127)
    to.push(0x80 | (reg << 3) | rm, low, high)
  else if (displacement !== 0 || rm === 6) to.push(0x40 | (reg << 3) | rm, low)
  else to.push((reg << 3) | rm)
}

/** Whether a value, signed or unsigned at the width that the instruction sees, can be this immediate. */
export function immediateFits(value: bigint, immediate: Encoding['immediates'][number]): boolean {
  const { signed, truncateBits } = immediate
  const bits = immediate.bytes * 8
  const width = signed ? truncateBits : bits
  if (value < -(1n << BigInt(width - 1)) || value >= 1n << BigInt(width)) return false
  return !signed || BigInt.asUintN(width, BigInt.asIntN(bits, value)) === BigInt.asUintN(width, value)
}

/** Kinds of registers. */
export type RegisterClass = 'general' | 'x87' | 'mmx' | 'xmm' | 'segment' | 'control' | 'debug'

/** What an operand of a form may be. */
export interface OperandShape {
  readonly kind: OperandKind
  readonly role: Encoding['roles'][number]
  /** Register class, where it may be a register. */
  readonly register?: RegisterClass
  /** Number of registers of the class that can be named. */
  readonly registerCount: number
  /** Width as a register (or of the immediate) in bits. */
  readonly bits: number
  readonly memory: boolean
  /** Width in memory, 0 where the form does not tell. */
  readonly memoryBits: number
}

/** What each operand of a form may be, for generators of tests. */
export function operandShapes(form: Form): readonly OperandShape[] {
  const encoding = encodingOf(form)
  return form.operands.map((kind, index) => {
    const role = encoding.roles[index]!
    const memory = (takesMemory(kind) && encoding.mod !== 'register') || role === 'moffs'
    const { name, count } = registerClass(kind)
    const register =
      role === 'immediate' || role === 'relative' || role === 'moffs' || isMemoryKind(kind) ? undefined : name
    return {
      kind,
      role,
      ...(register ? { register } : {}),
      registerCount: register ? count : 0,
      bits: operandBits(kind),
      memory,
      memoryBits: memory ? operandBits(kind, true) : 0,
    }
  })
}

function registerClass(kind: OperandKind): { name: RegisterClass; count: number; byte: boolean } {
  if (kind === 'r8' || kind === 'r/m8') return { name: 'general', count: 16, byte: true }
  if (kind === 'Sreg' || (kind.length === 2 && kind[1] === 'S'))
    return { name: 'segment', count: 6, byte: false }
  if (kind === 'CR') return { name: 'control', count: 9, byte: false }
  if (kind === 'DR') return { name: 'debug', count: 8, byte: false }
  if (kind.startsWith('ST(')) return { name: 'x87', count: 8, byte: false }
  if (kind === 'mm' || kind.startsWith('mm/')) return { name: 'mmx', count: 8, byte: false }
  if (kind.startsWith('xmm') || kind.startsWith('ymm')) return { name: 'xmm', count: 16, byte: false }
  return { name: 'general', count: 16, byte: false }
}

function describe(kind: OperandKind): string {
  return isMemoryKind(kind) ? 'memory' : takesMemory(kind) ? 'a register or memory' : 'a register'
}
