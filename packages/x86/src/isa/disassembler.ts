/**
 * The disassembler: bytes to Intel syntax, from the same rows as everything else. What it writes the assembler reads, and
 * finds the same form; direct targets are absolute addresses, RIP-relative operands displacements with the address in a
 * comment.
 */
import { createDecoder, Decoded, DecodeFailure, type Decoder, HIGH_BYTE, Repeat } from './decoder.ts'
import { encodingOf } from './encoding.ts'
import type { Form, OperandKind } from './form.ts'
import { forms as allForms } from './forms.ts'
import { operandBits } from './operands.ts'

/** An instruction as text. */
export interface Disassembled {
  /** `add qword ptr [rbx + rcx*8 - 0x10], 1`, or `(bad)`. */
  readonly text: string
  /** Bytes consumed: 1 for what is no instruction. */
  readonly length: number
  /** Absent for what is no instruction. */
  readonly form?: Form
}

/** How to read the bytes. */
export interface DisassembleOptions {
  /** Address of the first byte. Default 0. */
  readonly address?: number | bigint
  /** Default: a decoder of every form of this package. */
  readonly decoder?: Decoder
  readonly mode?: 64 | 32 | 16
}

const general = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di']
const lowBytes = ['al', 'cl', 'dl', 'bl', 'spl', 'bpl', 'sil', 'dil']
const highBytes = ['ah', 'ch', 'dh', 'bh']
const segments = ['es', 'cs', 'ss', 'ds', 'fs', 'gs']
const sizeNames: Readonly<Record<number, string>> = {
  8: 'byte',
  16: 'word',
  32: 'dword',
  48: 'fword',
  64: 'qword',
  80: 'tbyte',
  128: 'xmmword',
  256: 'ymmword',
}

/** Name of a general register: `rax`, `r8d`, `spl`. Numbers 16 to 19 of 8 bits are AH, CH, DH, BH. */
export function registerName(number: number, bits: number): string {
  if (bits === 8)
    return number >= HIGH_BYTE ? highBytes[number - HIGH_BYTE]! : (lowBytes[number] ?? `r${number}b`)
  if (number >= 8) return `r${number}${bits === 32 ? 'd' : bits === 16 ? 'w' : ''}`
  return `${bits === 64 ? 'r' : bits === 32 ? 'e' : ''}${general[number]}`
}

/** A number: below 10 as it is, else in hexadecimal. */
function hex(value: bigint | number): string {
  const magnitude = value < 0 ? -value : value
  return `${value < 0 ? '-' : ''}${magnitude < 10 ? magnitude : `0x${magnitude.toString(16)}`}`
}

let sharedDecoder: Decoder | undefined
const decoded = new Decoded()

/** Disassembles the instruction at the start of `bytes`. */
export function disassemble(bytes: Uint8Array, options: DisassembleOptions = {}): Disassembled {
  const mode = options.mode ?? 64
  let { decoder } = options
  if (!decoder) {
    sharedDecoder ??= createDecoder(allForms)
    decoder = sharedDecoder
  }
  const length = decoder.decode(bytes, 0, bytes.length, mode, decoded)
  if (length <= DecodeFailure.invalid) return { text: '(bad)', length: 1 }
  const form = decoder.forms[decoded.form]!
  return { text: formatDecoded(decoder.forms, decoded, BigInt(options.address ?? 0)), length, form }
}

/** Disassembles to the end of `bytes`: one line per instruction, `address: bytes text`. */
export function disassembleAll(bytes: Uint8Array, options: DisassembleOptions = {}): string[] {
  const start = BigInt(options.address ?? 0)
  const lines: string[] = []
  for (let offset = 0; offset < bytes.length; ) {
    const address = start + BigInt(offset)
    const { text, length } = disassemble(bytes.subarray(offset, offset + 15), { ...options, address })
    const raw = [...bytes.subarray(offset, offset + length)]
      .map((byte) => byte.toString(16).padStart(2, '0'))
      .join(' ')
    lines.push(`${address.toString(16).padStart(8, '0')}: ${raw.padEnd(30)} ${text}`)
    offset += length
  }
  return lines
}

/** The text of a decoded instruction. @param address - of the instruction */
export function formatDecoded(forms: readonly Form[], d: Decoded, address: bigint): string {
  const form = forms[d.form]!
  const { roles, addressBits, immediates, explicitSize } = encodingOf(form)
  let mnemonic = form.mnemonic.toLowerCase()
  if (form.mnemonic === 'JRCXZ' && d.addressBits === 32) mnemonic = 'jecxz'
  if (form.operands.some((kind) => kind === 'imm64' || kind.startsWith('moffs')) && mnemonic === 'mov')
    mnemonic = 'movabs'
  if (explicitSize === 16 && needsSuffix(form, forms)) mnemonic += 'w'
  const far = /^(JMP|CALL)$/.test(form.mnemonic)
  let comment = ''
  const operands = form.operands.map((kind, index): string => {
    switch (roles[index]) {
      case 'relative':
        return hex(BigInt.asUintN(64, address + BigInt(d.length) + BigInt(d.relative)))
      case 'immediate': {
        if (kind.startsWith('ptr')) return `${hex(d.immediate2)}:${hex(d.immediateLow >>> 0)}`
        const immediate = immediates.find(({ operand }) => operand === index)!
        if (immediate !== immediates[0]) return hex(d.immediate2)
        const value = (BigInt(d.immediateHigh) << 32n) | BigInt(d.immediateLow >>> 0)
        return hex(
          immediate.signed ? BigInt.asIntN(immediate.truncateBits, value) : BigInt.asUintN(64, value),
        )
      }
      case 'rm':
        if (d.memory === 0) break
        if (d.ripRelative)
          comment = ` ; ${hex(BigInt.asUintN(d.addressBits, address + BigInt(d.length) + BigInt(d.displacement)))}`
        return sizePrefix(kind, far) + formatAddress(d)
      case 'moffs':
        return sizePrefix(kind, false) + formatAddress(d)
    }
    const number = d.registers[index]!
    return number < 0 ? kind : formatRegister(kind, number)
  })
  const implicitMemory = form.options.string || form.mnemonic === 'XLATB'
  const prefixes =
    (d.lock ? 'lock ' : '') +
    (d.repeat === Repeat.none
      ? ''
      : d.repeat === Repeat.repne
        ? 'repne '
        : /^(CMPS|SCAS)/.test(form.mnemonic)
          ? 'repe '
          : 'rep ') +
    (implicitMemory && d.segmentOverride >= 0 ? `${segments[d.segmentOverride]} ` : '') +
    ((implicitMemory || form.options.addressSized) &&
    d.addressBits === 32 &&
    addressBits === 0 &&
    mnemonic !== 'jecxz'
      ? 'addr32 '
      : '')
  return `${prefixes}${mnemonic}${operands.length > 0 ? ` ${operands.join(', ')}` : ''}${comment}`
}

/** Whether a 16-bit form has the name of a form of the usual size. */
function needsSuffix(form: Form, forms: readonly Form[]): boolean {
  if (form.mnemonic === 'PUSHF' || form.mnemonic === 'POPF' || form.mnemonic === 'IRET') return true
  return forms.some((other) => other.mnemonic === form.mnemonic && encodingOf(other).explicitSize !== 16)
}

function sizePrefix(kind: OperandKind, far: boolean): string {
  if (kind.startsWith('m16:')) return far ? `${sizeNames[16 + Number(kind.slice(4))]} ptr ` : ''
  if (kind === 'm16&64') return ''
  const name = sizeNames[operandBits(kind, true)]
  return name ? `${name} ptr ` : ''
}

function formatAddress(d: Decoded): string {
  const bits = d.addressBits
  const parts: string[] = []
  if (d.ripRelative) parts.push(bits === 32 ? 'eip' : 'rip')
  if (d.base >= 0) parts.push(registerName(d.base, bits))
  if (d.index >= 0) parts.push(`${registerName(d.index, bits)}*${1 << d.scale}`)
  let text = parts.join(' + ')
  if (parts.length === 0) {
    const address = (BigInt(d.displacementHigh) << 32n) | BigInt(d.displacement >>> 0)
    text = hex(BigInt.asUintN(bits, address))
  } else if (d.displacement !== 0)
    text += d.displacement < 0 ? ` - ${hex(-d.displacement)}` : ` + ${hex(d.displacement)}`
  const segment = d.segmentOverride >= 0 ? `${segments[d.segment]}:` : ''
  return `${segment}[${text}]`
}

function formatRegister(kind: OperandKind, number: number): string {
  if (kind === 'Sreg' || (kind.length === 2 && kind[1] === 'S')) return segments[number]!
  if (kind === 'CR') return `cr${number}`
  if (kind === 'DR') return `dr${number}`
  if (kind.startsWith('ST(')) return `st(${number})`
  if (kind === 'mm' || kind.startsWith('mm/')) return `mm${number}`
  if (kind.startsWith('xmm')) return `xmm${number}`
  if (kind.startsWith('ymm')) return `ymm${number}`
  return registerName(number, operandBits(kind))
}
