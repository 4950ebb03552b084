/**
 * The encoding of a form, parsed from the manual's notation (the tokens are listed in form.ts): prefixes, opcode map,
 * ModRM, immediates, and where each operand lies. Decoder, encoder and disassembler work from this.
 *
 * VEX: `VEX.128.66.0F.WIG 58 /r`; of two registers beside ModRM.rm the first is ModRM.reg, the second VEX.vvvv.
 */
import { TrapframeError } from '@trapframe/core'
import type { Form, OperandKind } from './form.ts'
import { operandBits } from './operands.ts'

/** Mandatory prefix of a form. `any`: the form does not look at 66, F2 and F3; `NFx`: neither F2 nor F3. */
export type MandatoryPrefix = 'any' | 'NFx' | 'NP' | '66' | 'F2' | 'F3'

/** Where an operand lies. `implicit`: nowhere, the form says it all (AL, ST(0), 1). */
export type Role = 'rm' | 'reg' | 'opcode' | 'immediate' | 'relative' | 'moffs' | 'implicit' | 'vvvv'

/** Bits of `Encoding.sizes`: effective operand sizes. */
export const SizeBit = { bits16: 1, bits32: 2, bits64: 4 } as const

/** An immediate of a form. */
export interface Immediate {
  /** Operand index; the selector of a ptr16:32 names the same operand as its offset. */
  readonly operand: number
  readonly bytes: 1 | 2 | 4 | 8
  readonly signed: boolean
  /** The value is truncated to so many bits once it is extended. */
  readonly truncateBits: number
}

export interface Vex {
  readonly vectorBits: 128 | 256 | 'any'
  readonly w: 0 | 1 | 'any'
  /** Operand in VEX.vvvv, or -1. */
  readonly vvvv: number
}

/** The encoding of a form, parsed. */
export interface Encoding {
  readonly prefix: MandatoryPrefix
  /** 0: one byte, 1: 0F, 2: 0F 38, 3: 0F 3A. */
  readonly map: 0 | 1 | 2 | 3
  readonly opcode: number
  /** The low three bits of the opcode byte are a register. */
  readonly opcodeRegister: boolean
  /** A ModRM byte follows the opcode. */
  readonly modrm: boolean
  /** ModRM.reg that is demanded, or -1. */
  readonly digit: number
  /** ModRM.rm that is demanded (the form has a whole ModRM byte), or -1. */
  readonly rmDigit: number
  /** What ModRM.mod may be; `ignored`: anything, and ModRM.rm is a register. */
  readonly mod: 'any' | 'memory' | 'register' | 'ignored'
  /** Effective operand sizes that the form demands (`SizeBit`), or 0 when it does not look at the size. */
  readonly sizes: number
  /** Operand size that a token (o16, o32, o64) demands, or 0. */
  readonly explicitSize: 0 | 16 | 32 | 64
  /** REX.W is part of the encoding. */
  readonly w: boolean
  /** Operand size that the encoder has to ask for with a 66 prefix: 16 and no mandatory prefix. */
  readonly size16: boolean
  /** A 64-bit operand without REX.W. */
  readonly default64: boolean
  /** Demanded address size, or 0. */
  readonly addressBits: 0 | 16 | 32 | 64
  readonly immediates: readonly Immediate[]
  /** Size of the relative displacement, or 0. */
  readonly relativeBytes: 0 | 1 | 2 | 4
  readonly moffs: boolean
  readonly roles: readonly Role[]
  readonly vex?: Vex
}

/** A row's text or encoding does not follow the notation. */
export class FormError extends TrapframeError {
  constructor(form: Form, problem: string) {
    super('x86/form', `form ${form.text} (${form.encoding}): ${problem}`)
  }
}

const generalBits: Partial<Record<OperandKind, 16 | 32 | 64>> = {
  r16: 16,
  r32: 32,
  r64: 64,
  'r/m16': 16,
  'r/m32': 32,
  'r/m64': 64,
  'r/m32x': 32,
  'r/m64x': 64,
  'r32/m16': 32,
  'r64/m16': 64,
  'r32/m8': 32,
  'r64/m32': 64,
  'r32/mm': 32,
  AX: 16,
  EAX: 32,
  RAX: 64,
}
const farBits: Partial<Record<OperandKind, 16 | 32 | 64>> = {
  'm16:16': 16,
  'm16:32': 32,
  'm16:64': 64,
  'ptr16:16': 16,
  'ptr16:32': 32,
}
const sizeBit = { 16: SizeBit.bits16, 32: SizeBit.bits32, 64: SizeBit.bits64 } as const

/** Whether a kind is memory and nothing else. */
export function isMemoryKind(kind: OperandKind): boolean {
  return (
    kind === 'm' || (kind.charCodeAt(0) === 0x6d && kind.charCodeAt(1) >= 0x30 && kind.charCodeAt(1) <= 0x39)
  )
}
/** Whether a kind may be memory, by ModRM. */
export function takesMemory(kind: OperandKind): boolean {
  return kind.includes('/m') || isMemoryKind(kind)
}
/** Whether a kind is a register that is encoded (not one that the form names). */
export function isRegisterKind(kind: OperandKind): boolean {
  switch (kind) {
    case 'r8':
    case 'r16':
    case 'r32':
    case 'r64':
    case 'Sreg':
    case 'CR':
    case 'DR':
    case 'ST(i)':
    case 'mm':
    case 'xmm':
    case 'ymm':
      return true
    default:
      return false
  }
}
/** Whether a kind is a vector or MMX register, or may be. */
export function isVectorKind(kind: OperandKind): boolean {
  return kind.startsWith('xmm') || kind.startsWith('mm') || kind.startsWith('ymm') || kind.endsWith('/mm')
}

const cache = new WeakMap<Form, Encoding>()

/** The parsed encoding of a form. @throws FormError when the row does not follow the notation */
export function encodingOf(form: Form): Encoding {
  let encoding = cache.get(form)
  if (!encoding) {
    encoding = parse(form)
    cache.set(form, encoding)
  }
  return encoding
}

const isHexByte = (token: string): boolean => token.length === 2 && /^[0-9A-F]{2}$/.test(token)

function parse(form: Form): Encoding {
  const fail: (problem: string) => never = (problem) => {
    throw new FormError(form, problem)
  }
  const { operands } = form
  let prefix: MandatoryPrefix = 'any'
  let w = false
  let explicitSize: 0 | 16 | 32 | 64 = 0
  let addressBits: 0 | 16 | 32 | 64 = 0
  let digit = -1
  let slashR = false
  let modToken: 'any' | 'register' | 'memory' = 'any'
  let map: 0 | 1 | 2 | 3 = 0
  let opcode = -1
  let opcodeRegister = false
  let stackRegister = false
  let secondByte = -1
  let relativeBytes: 0 | 1 | 2 | 4 = 0
  const immediateBytes: (1 | 2 | 4 | 8)[] = []
  let vex: { vectorBits: 128 | 256 | 'any'; w: 0 | 1 | 'any' } | undefined

  const tokens = form.encoding.replaceAll(' + ', ' ').split(/ +/)
  for (let position = 0; position < tokens.length; position++) {
    const token = tokens[position]!
    switch (token) {
      case '':
      case '+':
        continue
      case 'NP':
      case 'NFx':
        prefix = token
        continue
      case 'REX.W':
        w = true
        continue
      case 'REX':
        continue
      case 'o16':
        explicitSize = 16
        continue
      case 'o32':
        explicitSize = 32
        continue
      case 'o64':
        explicitSize = 64
        continue
      case 'a16':
        addressBits = 16
        continue
      case 'a32':
        addressBits = 32
        continue
      case 'a64':
        addressBits = 64
        continue
      case '/r':
        slashR = true
        continue
      case 'reg':
        modToken = 'register'
        continue
      case 'mem':
        modToken = 'memory'
        continue
      case 'ib':
        immediateBytes.push(1)
        continue
      case 'iw':
        immediateBytes.push(2)
        continue
      case 'id':
        immediateBytes.push(4)
        continue
      case 'io':
        immediateBytes.push(8)
        continue
      case 'cb':
        relativeBytes = 1
        continue
      case 'cw':
        relativeBytes = 2
        continue
      case 'cd':
        if (operands[0] !== 'ptr16:16') relativeBytes = 4
        continue
      case 'cp':
      case 'mo':
        continue
    }
    if (token.startsWith('VEX.')) {
      vex = parseVex(token)
      for (const part of token.split('.')) {
        if (part === '66' || part === 'F2' || part === 'F3') prefix = part
        else if (part === '0F') map = 1
        else if (part === '0F38') map = 2
        else if (part === '0F3A') map = 3
      }
      if (prefix === 'any') prefix = 'NP'
    } else if (/^\/[0-7]$/.test(token)) {
      digit = Number(token[1])
    } else if (isHexByte(token)) {
      const byte = Number.parseInt(token, 16)
      const next = tokens[position + 1] ?? ''
      const opcodeFollows = isHexByte(next) || next === 'REX.W' || /^[0-9A-F]{2}\+(r|i)/.test(next)
      if (opcode < 0 && opcodeFollows && (token === '66' || token === 'F2' || token === 'F3')) {
        // `66 F2 0F 38 F1`: F2 is the mandatory prefix, 66 the operand size.
        if (prefix === '66') explicitSize = 16
        prefix = token
      } else if (opcode < 0 && map === 0 && !vex && token === '0F' && opcodeFollows) map = 1
      else if (opcode < 0 && map === 1 && !vex && opcodeFollows && (token === '38' || token === '3A'))
        map = token === '38' ? 2 : 3
      else if (opcode < 0) opcode = byte
      else if (secondByte < 0) secondByte = byte
      else fail(`byte ${token} follows two opcode bytes`)
    } else if (/^[0-9A-F]{2}\+(rb|rw|rd|ro)$/.test(token)) {
      opcode = Number.parseInt(token, 16)
      opcodeRegister = true
    } else if (/^[0-9A-F]{2}\+i$/.test(token)) {
      secondByte = Number.parseInt(token, 16)
      stackRegister = true
    } else fail(`token ${token} is not known`)
  }
  if (opcode < 0) fail('no opcode')
  if (slashR && digit >= 0) fail('both /r and /digit')
  let rmDigit = -1
  if (secondByte >= 0) {
    if (secondByte < 0xc0) fail('a whole ModRM byte below C0')
    digit = (secondByte >> 3) & 7
    if (!stackRegister) rmDigit = secondByte & 7
    modToken = 'register'
  }
  const modrm = slashR || digit >= 0

  // Operands: where each one lies.
  const roles: Role[] = operands.map((kind) => {
    if (kind.startsWith('imm') || kind.startsWith('ptr')) return 'immediate'
    if (kind.startsWith('rel')) return 'relative'
    if (kind.startsWith('moffs')) return 'moffs'
    if (takesMemory(kind) || kind === 'r32/mm') return 'rm'
    return isRegisterKind(kind) ? 'reg' : 'implicit'
  })
  const registers = roles.flatMap((role, index) => (role === 'reg' ? [index] : []))
  const memoryOperands = roles.filter((role) => role === 'rm').length
  if (memoryOperands > 1) fail('two operands are ModRM.rm')
  let mod: Encoding['mod'] = modToken
  let vvvv = -1
  if (!modrm) {
    if (memoryOperands > 0) fail('a memory operand without ModRM')
    if (registers.length > (opcodeRegister ? 1 : 0)) fail('a register operand without ModRM or +r')
    for (const index of registers) roles[index] = 'opcode'
  } else {
    if (memoryOperands === 0) {
      // Register-only forms: the last register is ModRM.rm, but control and debug registers are always ModRM.reg.
      const special = registers.some((index) => operands[index] === 'CR' || operands[index] === 'DR')
      const candidates = special
        ? registers.filter((index) => operands[index] !== 'CR' && operands[index] !== 'DR')
        : registers
      const last = candidates.at(-1)
      if (last !== undefined && (digit >= 0 || registers.length >= 2)) {
        roles[last] = 'rm'
        mod = special ? 'ignored' : 'register'
      }
    } else if (operands.some((kind) => isMemoryKind(kind))) mod = 'memory'
    const inReg = roles.flatMap((role, index) => (role === 'reg' ? [index] : []))
    if (vex && inReg.length > (digit >= 0 ? 0 : 1)) {
      vvvv = digit >= 0 ? inReg[0]! : inReg[1]!
      roles[vvvv] = 'vvvv'
    }
    const used = roles.filter((role) => role === 'reg').length
    if (used > (digit >= 0 ? 0 : 1)) fail('more registers than ModRM has room for')
  }

  // Immediates.
  const immediates: Immediate[] = []
  const first = operands[0]
  let width = 64
  if (first !== undefined) {
    if (first.startsWith('imm')) width = explicitSize === 16 ? 16 : explicitSize === 32 ? 32 : 64
    else if (!first.startsWith('rel') && !first.startsWith('ptr')) width = operandBits(first) || 64
  }
  const truncateBits = Math.min(width, 64)
  for (const [operand, kind] of operands.entries()) {
    if (kind === 'ptr16:16' || kind === 'ptr16:32') {
      immediates.push({ operand, bytes: kind === 'ptr16:16' ? 2 : 4, signed: false, truncateBits: 64 })
      immediates.push({ operand, bytes: 2, signed: false, truncateBits: 64 })
    } else if (kind.startsWith('imm')) {
      const bytes = immediateBytes.shift()
      if (bytes === undefined) fail(`no immediate bytes for ${kind}`)
      if (bytes * 8 !== Number.parseInt(kind.slice(3), 10)) fail(`${kind} in ${bytes} bytes`)
      immediates.push({ operand, bytes, signed: kind.endsWith('s'), truncateBits })
    }
  }
  // Bytes that no operand tells, such as the 0A of AAM: read and ignored.
  for (const bytes of immediateBytes) immediates.push({ operand: -1, bytes, signed: false, truncateBits: 64 })
  if (immediates.length > 2) fail('more than two immediates')
  const relative = operands.find((kind) => kind.startsWith('rel'))
  if ((relative === undefined) !== (relativeBytes === 0)) fail('relative operand and cb, cw, cd do not agree')
  if (relative !== undefined && Number.parseInt(relative.slice(3), 10) !== relativeBytes * 8)
    fail(`${relative} in ${relativeBytes} bytes`)

  // Operand size.
  const general = operands.flatMap((kind) => (generalBits[kind] === undefined ? [] : [generalBits[kind]!]))
  const vector = operands.some(isVectorKind)
  const repeatPrefix = prefix === 'F2' || prefix === 'F3'
  let sizes = 0
  let size16 = false
  let default64 = false
  if (vex) sizes = vex.w === 1 ? SizeBit.bits64 : vex.w === 0 ? SizeBit.bits32 : 0
  else if (w || explicitSize === 64) sizes = SizeBit.bits64
  else if (explicitSize !== 0) {
    sizes = sizeBit[explicitSize]
    size16 = explicitSize === 16
  } else if (general.length > 0 && first !== 'Sreg') {
    const bits = general[0]!
    if (vector || prefix === '66' || prefix === 'NP') {
      // 66 belongs to the opcode here: only W is left to tell 32 from 64.
      sizes = bits === 64 ? 0 : SizeBit.bits16 | SizeBit.bits32
      default64 = bits === 64
    } else if (repeatPrefix) {
      // CRC32: the size is that of the source; with an 8-bit source only W counts.
      const source = operands.at(-1)!
      const sourceBits = source === 'r/m8' || source === 'r8' ? 8 : general.at(-1)!
      if (bits === 64) default64 = true
      else if (sourceBits === 8) sizes = SizeBit.bits16 | SizeBit.bits32
      else sizes = sizeBit[sourceBits]
      size16 = sourceBits === 16
    } else if (bits === 64) {
      default64 = true
      sizes = SizeBit.bits32 | SizeBit.bits64
    } else {
      sizes = sizeBit[bits]
      size16 = bits === 16
    }
  } else {
    const far = operands.map((kind) => farBits[kind]).find((bits) => bits !== undefined)
    if (far !== undefined) {
      sizes = sizeBit[far]
      size16 = far === 16
      if (far === 64) w = true
    } else if (relativeBytes === 2) {
      sizes = SizeBit.bits16
      size16 = true
    }
  }
  if (explicitSize === 64) w = true
  return {
    prefix,
    map,
    opcode,
    opcodeRegister,
    modrm,
    digit,
    rmDigit,
    mod,
    sizes,
    explicitSize,
    w,
    size16,
    default64,
    addressBits,
    immediates,
    relativeBytes,
    moffs: operands.some((kind) => kind.startsWith('moffs')),
    roles,
    ...(vex ? { vex: { ...vex, vvvv } } : {}),
  }
}

function parseVex(token: string): { vectorBits: 128 | 256 | 'any'; w: 0 | 1 | 'any' } {
  const parts = token.split('.')
  const vectorBits = parts.includes('256') || parts.includes('L1') ? 256 : parts.includes('LIG') ? 'any' : 128
  return { vectorBits, w: parts.includes('W1') ? 1 : parts.includes('W0') ? 0 : 'any' }
}
