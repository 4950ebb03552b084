/**
 * The decoder against iced-x86, an independent one, over seeded random byte strings: where either says that a string is an
 * instruction which we implement, length, mnemonic, registers, memory operand and immediates agree.
 *
 * `TRAPFRAME_DECODER_STRINGS=5000000 npx vitest run packages/x86/test/decoder-iced.test.ts` runs the long form.
 */
import {
  Code,
  DecoderOptions,
  Decoder as IcedDecoder,
  Instruction,
  Mnemonic,
  OpKind,
  Register,
} from 'iced-x86'
import { xoroshiro128plus } from 'pure-rand'
import { describe, expect, test } from 'vitest'
import { createDecoder, Decoded, HIGH_BYTE } from '../src/isa/decoder.ts'
import { type EncodeOperand, encodeForm, operandShapes } from '../src/isa/encoder.ts'
import { encodingOf } from '../src/isa/encoding.ts'
import type { Form, OperandKind } from '../src/isa/form.ts'
import { forms } from '../src/isa/forms.ts'
import { operandBits } from '../src/isa/operands.ts'

const STRINGS = Number(process.env.TRAPFRAME_DECODER_STRINGS ?? 200_000)
const STRIDE = 16
const BATCH = 20_000

const hex = (bytes: Uint8Array): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')

/** Names that iced has for our mnemonics. */
const icedNames: Readonly<Record<string, readonly string[]>> = {
  NOP: ['RESERVEDNOP', 'PREFETCHIT0', 'PREFETCHIT1', 'CLDEMOTE', 'RDSSPD', 'RDSSPQ'],
  FWAIT: ['WAIT'],
  PCMPESTRM: ['PCMPESTRM64'],
  PCMPESTRI: ['PCMPESTRI64'],
  PREFETCH: ['PREFETCHW'],
  WBINVD: ['WBNOINVD'],
  VMMCALL: ['VMGEXIT'],
  RETFW: ['RETF'],
  RETFQ: ['RETF'],
  JRCXZ: ['JECXZ', 'JCXZ'],
}

function sameMnemonic(form: Form, iced: Mnemonic): boolean {
  const name = Mnemonic[iced]!.toUpperCase()
  return name === form.mnemonic || (icedNames[form.mnemonic]?.includes(name) ?? false)
}

/** Forms whose one general register stands for all widths; iced has a code for each. */
const anyWidth = /^(MOV Sreg|LTR|LLDT|ARPL|VERR|VERW|LMSW|UD0|UD1|P?MOVMSK|PINSRW|PEXTR|EXTRACTPS)/

/** The number within its width of iced's general register. */
function generalNumber(register: Register): number {
  return register >= Register.AX && register <= Register.R15 ? (register - Register.AX) & 15 : -1
}

/** iced's number of a register operand. */
function icedRegister(kind: OperandKind, number: number): Register {
  if (kind === 'r8' || kind === 'r/m8' || kind === 'AL' || kind === 'CL') {
    // AL CL DL BL AH CH DH BH SPL BPL SIL DIL R8L
    if (number >= HIGH_BYTE) return Register.AH + number - HIGH_BYTE
    return number < 4 ? Register.AL + number : Register.SPL + number - 4
  }
  if (kind === 'Sreg' || /^[C-GS]S$/.test(kind)) return Register.ES + number
  if (kind === 'CR') return Register.CR0 + number
  if (kind === 'DR') return Register.DR0 + number
  if (kind.startsWith('ST(')) return Register.ST0 + number
  if (kind === 'mm' || kind.startsWith('mm/')) return Register.MM0 + number
  if (kind.startsWith('xmm')) return Register.XMM0 + number
  const bits = operandBits(kind)
  return (bits === 16 ? Register.AX : bits === 32 ? Register.EAX : Register.RAX) + number
}

const general = (number: number, addressBits: number): Register =>
  number < 0
    ? Register.None
    : (addressBits === 64 ? Register.RAX : addressBits === 32 ? Register.EAX : Register.AX) + number

type CodeBits = 64 | 32 | 16
const decoder = createDecoder(forms)
const out = new Decoded()

/** Codes of iced that our forms cover, found by encoding an instance of each. */
function coveredCodes(mode: CodeBits): Set<Code> {
  const covered = new Set<Code>()
  for (const form of forms) {
    const encoding = encodingOf(form)
    if (form.options.mode === (mode === 64 ? 'no64' : 'only64')) continue
    if (mode !== 64 && (encoding.w || encoding.default64 || encoding.vex)) continue
    for (const asMemory of [false, true]) {
      const operands = operandShapes(form).map((shape, index): EncodeOperand => {
        if (shape.role === 'immediate' || shape.role === 'relative') return 1n
        if (shape.role === 'implicit') return undefined
        if (shape.memory && (asMemory || !shape.register)) return { base: 3 }
        return shape.register === 'segment' ? 3 : shape.register === 'control' ? 3 : index + 1
      })
      const bytes = encodeForm(form, operands, { mode })
      const iced = new IcedDecoder(mode, bytes, DecoderOptions.None)
      covered.add(iced.decode().code)
      iced.free()
    }
  }
  return covered
}

/** Fills a buffer with strings of STRIDE bytes that look a little like instructions. */
function fillStrings(bytes: Uint8Array, next: () => number, mode: CodeBits): void {
  const prefixes = [0x66, 0xf2, 0xf3, 0x66, 0xf2, 0xf3, 0x67, 0xf0, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65]
  for (let at = 0; at < bytes.length; at += STRIDE) {
    for (let index = 0; index < STRIDE; index++) bytes[at + index] = next() & 0xff
    let position = at
    let count = next() % 8
    count = count > 3 ? 0 : count
    while (count-- > 0) bytes[position++] = prefixes[next() % prefixes.length]!
    if (mode === 64 && next() % 3 === 0) bytes[position++] = 0x40 | (next() & 15)
    const map = next() % 16
    if (map < 6) continue
    if (map === 6) bytes[position] = 0xc4 | (next() & 1)
    else {
      bytes[position++] = 0x0f
      if (map >= 14) bytes[position] = 0x3a
      else if (map >= 12) bytes[position] = 0x38
    }
  }
}

/** What differs between our decoding of a string and iced's, or ''. */
function difference(
  bytes: Uint8Array,
  at: number,
  iced: Instruction,
  covered: ReadonlySet<Code>,
  mode: CodeBits,
): string {
  const length = decoder.decode(bytes, at, STRIDE, mode, out)
  if (length <= 0) {
    if (iced.isInvalid || !covered.has(iced.code)) return ''
    return `not decoded (${length}), iced: ${Code[iced.code]}`
  }
  const form = forms[out.form]!
  if (iced.isInvalid) return `${form.text}, iced: invalid`
  if (!sameMnemonic(form, iced.mnemonic)) return `${form.text}, iced: ${Code[iced.code]}`
  if (iced.length !== length) return `${form.text}: length ${length}, iced: ${iced.length}`
  if (iced.hasLockPrefix !== (out.lock === 1)) return `${form.text}: LOCK`
  if (form.options.string) {
    const repeat = iced.hasRepnePrefix ? 2 : iced.hasRepPrefix ? 1 : 0
    if (repeat !== out.repeat) return `${form.text}: repeat ${out.repeat}, iced: ${repeat}`
    return ''
  }
  if (out.memory === 1) {
    const base = out.ripRelative
      ? out.addressBits === 64
        ? Register.RIP
        : Register.EIP
      : general(out.base, out.addressBits)
    const index = general(out.index, out.addressBits)
    if (base !== iced.memoryBase) return `${form.text}: base ${out.base}, iced: ${Register[iced.memoryBase]}`
    if (index !== iced.memoryIndex)
      return `${form.text}: index ${out.index}, iced: ${Register[iced.memoryIndex]}`
    if (out.index >= 0 && 1 << out.scale !== iced.memoryIndexScale) return `${form.text}: scale ${out.scale}`
    if (Register.ES + out.segment !== iced.memorySegment && out.segmentOverride >= 0)
      return `${form.text}: segment ${out.segment}, iced: ${Register[iced.memorySegment]}`
    if (!out.ripRelative) {
      const ours = (BigInt(out.displacementHigh) << 32n) | BigInt(out.displacement >>> 0)
      const theirs = iced.memoryDisplacement
      const bits = out.addressBits
      if (BigInt.asUintN(bits, ours) !== BigInt.asUintN(bits, theirs))
        return `${form.text}: displacement ${ours}, iced: ${theirs}`
    }
  }
  // Operand by operand, where both list the same ones.
  const count = iced.opCount
  if (count !== form.operands.length) return ''
  const { roles, immediates } = encodingOf(form)
  for (let index = 0; index < count; index++) {
    const kind = form.operands[index]!
    const opKind = iced.opKind(index)
    const role = roles[index]!
    if (kind.startsWith('ptr')) continue
    if (opKind === OpKind.Register) {
      const number = out.registers[index]!
      if (number < 0)
        return `${form.text}: operand ${index} is no register, iced: ${Register[iced.opRegister(index)]}`
      const register = icedRegister(kind, number)
      // XCHG with the accumulator lists its operands the other way round.
      const theirs = iced.opRegister(
        form.mnemonic === 'XCHG' && role !== 'rm' && !roles.includes('rm') ? 1 - index : index,
      )
      if (
        anyWidth.test(form.text) &&
        generalNumber(register) >= 0 &&
        generalNumber(register) === generalNumber(theirs)
      )
        continue
      if (register !== theirs)
        return `${form.text}: operand ${index} is ${Register[register]}, iced: ${Register[iced.opRegister(index)]}`
    } else if (opKind === OpKind.Memory) {
      if (role !== 'moffs' && (role !== 'rm' || out.memory !== 1))
        return `${form.text}: operand ${index} is no memory`
    } else if (role === 'immediate') {
      const first = immediates[0]!
      const ours =
        first.operand === index
          ? (BigInt(out.immediateHigh) << 32n) | BigInt(out.immediateLow >>> 0)
          : BigInt(out.immediate2)
      const theirs = iced.immediate(index)
      const bits = first.operand === index ? first.truncateBits : 64
      if (BigInt.asUintN(64, ours) !== BigInt.asUintN(bits, theirs))
        return `${form.text}: immediate ${ours}, iced: ${theirs}`
    } else if (role === 'relative') {
      const width = mode === 64 ? 64 : out.operandBits === 16 ? 16 : 32
      if (
        BigInt.asIntN(width, BigInt(out.relative)) !== BigInt.asIntN(width, iced.nearBranch64 - iced.nextIP)
      )
        return `${form.text}: target`
    } else if (kind !== '1' && kind !== '3')
      return `${form.text}: operand ${index} is ${kind}, iced: ${OpKind[opKind]}`
  }
  return ''
}

describe('against iced-x86', () => {
  test.each([64, 32, 16] as const)(
    `behaviour: ${STRINGS} random strings of %i-bit code decode alike`,
    { timeout: 3_600_000 },
    (mode) => {
      const covered = coveredCodes(mode)
      const generator = xoroshiro128plus(20_260_101)
      const next = (): number => generator.unsafeNext() >>> 0
      const iced = new Instruction()
      const found = new Map<string, { count: number; example: string }>()
      const seen = new Set<number>()
      let valid = 0
      for (let done = 0; done < STRINGS; done += BATCH) {
        const bytes = new Uint8Array(BATCH * STRIDE + 32)
        fillStrings(bytes.subarray(0, BATCH * STRIDE), next, mode)
        const other = new IcedDecoder(mode, bytes, DecoderOptions.None)
        for (let at = 0; at < BATCH * STRIDE; at += STRIDE) {
          other.position = at
          other.decodeOut(iced)
          const text = difference(bytes, at, iced, covered, mode)
          if (out.length > 0) {
            valid++
            seen.add(out.form)
          }
          if (text === '') continue
          const known = found.get(text)
          if (known) known.count++
          else found.set(text, { count: 1, example: hex(bytes.subarray(at, at + STRIDE)) })
        }
        other.free()
      }
      const report = [...found].map(([text, { count, example }]) => `${count} x ${text} [${example}]`)
      expect(report.join('\n')).toBe('')
      // The strings reach most forms.
      expect(valid).toBeGreaterThan(STRINGS / 4)
      expect(seen.size).toBeGreaterThan(forms.length * (mode === 64 ? 0.75 : 0.5))
    },
  )
})
