/** Encoder, and the rows as a whole: every form is encoded, decoded to itself, and known to iced-x86 by its name. */
import { DecoderOptions, Decoder as IcedDecoder, Mnemonic } from 'iced-x86'
import { describe, expect, test } from 'vitest'
import { DecodeTable, FormTable } from '../src/isa/decode-table.ts'
import { createDecoder, Decoded } from '../src/isa/decoder.ts'
import { encodeForm, type MemoryOperand, operandShapes } from '../src/isa/encoder.ts'
import { encodingOf, FormError } from '../src/isa/encoding.ts'
import { form } from '../src/isa/form.ts'
import { forms } from '../src/isa/forms.ts'
import { instancesOf, modeOf } from './instances.ts'

const hex = (bytes: Uint8Array): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
const find = (text: string, encoding?: string) => {
  const found = forms.find(
    (row) => row.text === text && (encoding === undefined || row.encoding === encoding),
  )
  if (!found) throw new Error(`no form ${text}`)
  return found
}
const icedNames: Readonly<Record<string, readonly string[]>> = {
  NOP: ['RESERVEDNOP', 'PREFETCHIT0', 'PREFETCHIT1', 'CLDEMOTE'],
  FWAIT: ['WAIT'],
  PCMPESTRM: ['PCMPESTRM64'],
  PCMPESTRI: ['PCMPESTRI64'],
  PREFETCH: ['PREFETCHW'],
  RETFW: ['RETF'],
  RETFQ: ['RETF'],
  JRCXZ: ['JECXZ', 'JCXZ'],
  RETF: ['RETFW'],
}

describe('all rows', () => {
  test('behaviour: no two forms claim the same encoding', () => {
    const table = new FormTable(forms)
    for (const mode of [64, 32] as const)
      expect(
        new DecodeTable(table, mode).conflicts.map(({ first, second }) => `${first.text} = ${second.text}`),
      ).toEqual([])
    const rows = forms.map((row) => `${row.text} | ${row.encoding}`)
    expect(rows.filter((row, index) => rows.indexOf(row) !== index)).toEqual([])
  })

  test('behaviour: what is encoded is decoded again, form and operands', () => {
    const decoder = createDecoder(forms)
    const out = new Decoded()
    const wrong: string[] = []
    for (const [number, row] of forms.entries()) {
      const shapes = operandShapes(row)
      for (const { bytes, operands } of instancesOf(row)) {
        const where = `${row.text} (${row.encoding}) ${hex(bytes)}`
        const length = decoder.decode(bytes, 0, bytes.length, modeOf(row), out)
        if (length !== bytes.length || out.form !== number) {
          wrong.push(`${where}: ${length > 0 ? forms[out.form]!.text : length}`)
          continue
        }
        for (const [index, operand] of operands.entries()) {
          const { role } = shapes[index]!
          if (typeof operand === 'number') {
            if (out.registers[index] !== operand)
              wrong.push(`${where}: register ${index} ${out.registers[index]}`)
          } else if (typeof operand === 'object') {
            const memory: MemoryOperand = operand
            const displacement = (BigInt(out.displacementHigh) << 32n) | BigInt(out.displacement >>> 0)
            const expected = BigInt(memory.displacement ?? 0)
            if (
              out.memory !== 1 ||
              out.base !== (memory.base ?? -1) ||
              out.index !== (memory.index ?? -1) ||
              out.scale !== (memory.scale ?? 0) ||
              out.ripRelative !== Number(memory.ripRelative ?? false) ||
              displacement !== expected ||
              out.segmentOverride !== (memory.segment ?? -1) ||
              out.addressBits !== (memory.addressBits ?? modeOf(row))
            )
              wrong.push(`${where}: address ${JSON.stringify(out)}`)
          } else if (role === 'relative') {
            if (BigInt(out.relative) !== operand) wrong.push(`${where}: relative ${out.relative}`)
          } else if (role === 'immediate') {
            const { immediates } = encodingOf(row)
            const value =
              immediates[0]!.operand === index
                ? (BigInt(out.immediateHigh) << 32n) | BigInt(out.immediateLow >>> 0)
                : BigInt(out.immediate2)
            const bits = immediates[0]!.operand === index ? immediates[0]!.truncateBits : 64
            if (BigInt.asUintN(64, value) !== BigInt.asUintN(bits, operand!))
              wrong.push(`${where}: immediate ${value}`)
          }
        }
      }
    }
    expect(wrong).toEqual([])
  })

  test('behaviour: iced-x86 knows every encoding by the same name', () => {
    const wrong = new Set<string>()
    for (const row of forms) {
      for (const { bytes } of instancesOf(row)) {
        const decoder = new IcedDecoder(modeOf(row), bytes, DecoderOptions.None)
        const iced = decoder.decode()
        const name = Mnemonic[iced.mnemonic]!.toUpperCase()
        const known = name === row.mnemonic || icedNames[row.mnemonic]?.includes(name)
        if (!known || iced.length !== bytes.length)
          wrong.add(`${row.text} (${row.encoding}) ${hex(bytes)}: ${name} ${iced.length}`)
        iced.free()
        decoder.free()
      }
    }
    expect([...wrong]).toEqual([])
  })
})

describe('encodeForm', () => {
  test.each([
    ['ADD r/m32, r32', [0, 9], '44 01 c8'],
    ['ADD r/m8, r8', [4, 0], '40 00 c4'],
    ['ADD r/m8, r8', [16, 0], '00 c4'],
    ['ADD r/m64, imm8s', [{ base: 5 }, -1n], '48 83 45 00 ff'],
    ['ADD r/m32, imm8s', [0, 0xffff_ffffn], '83 c0 ff'],
    ['LEA r64, m', [0, { base: 12 }], '49 8d 04 24'],
    ['LEA r64, m', [0, { base: 0, displacement: 1, wideDisplacement: true }], '48 8d 80 01 00 00 00'],
    ['MOV r64, imm64', [8, 0x1122_3344_5566_7788n], '49 b8 88 77 66 55 44 33 22 11'],
    ['JMP rel8', [-2n], 'eb fe'],
  ] as const)('default: %s is encoded (%#)', (text, operands, bytes) => {
    expect(hex(encodeForm(find(text), operands))).toBe(bytes)
  })

  test('behaviour: prefixes', () => {
    const add = find('ADD r/m32, r32')
    expect(hex(encodeForm(add, [{ base: 0, segment: 5 }, 1], { lock: true }))).toBe('65 f0 01 08')
    expect(hex(encodeForm(find('MOVSB'), [], { repeat: 'rep', segment: 4, addressBits: 32 }))).toBe(
      '64 67 f3 a4',
    )
  })

  test.each([
    ['ADD r/m8, r8', [16, 8], /cannot be encoded with REX/],
    ['ADD r/m32, r32', [{ index: 4 }, 0], /RSP cannot be an index/],
    ['ADD r/m32, imm8s', [0, 200n], /does not fit/],
    ['ADD r/m32, r32', [0, 16], /no register 16/],
    ['ADD r/m32, r32', [{ base: 0, displacement: 1n << 40n }, 0], /does not fit 32 bits/],
    ['LEA r64, m', [0, 0], /must be memory/],
    ['JMP rel8', [128n], /does not fit/],
  ] as const)('error: %s (%#)', (text, operands, message) => {
    expect(() => encodeForm(find(text), operands)).toThrow(message)
  })

  test('error: LOCK without memory', () => {
    expect(() => encodeForm(find('ADD r/m32, r32'), [0, 1], { lock: true })).toThrow(/no LOCK/)
  })
})

describe('notation', () => {
  const none = (): void => {}
  test.each([
    ['FOO r32', '01', /without ModRM or \+r/],
    ['FOO r/m32, r/m32', '01 /r', /two operands are ModRM.rm/],
    ['FOO r32, r32, r32', '01 /r', /more registers/],
    ['FOO imm8', '01', /no immediate bytes/],
    ['FOO imm8', '01 id', /imm8 in 4 bytes/],
    ['FOO rel8', '01', /do not agree/],
    ['FOO', '01 /9', /not known/],
    ['FOO', '', /no opcode/],
  ])('error: %s %s', (text, encoding, message) => {
    const row = form(text, encoding, none)
    expect(() => encodingOf(row)).toThrow(message)
    expect(() => encodingOf(row)).toThrow(FormError)
  })

  test('error: forms with and without ModRM in one opcode', () => {
    expect(() => createDecoder([form('FOO', '0F 0A', none), form('BAR r/m8', '0F 0A /0', none)])).toThrow(
      /has ModRM/,
    )
  })

  test('behaviour: two forms of one encoding are a conflict', () => {
    const table = new FormTable([
      form('FOO r/m32, r32', '0F 0A /r', none),
      form('BAR r/m32, r32', '0F 0A /r', none),
    ])
    expect(new DecodeTable(table, 64).conflicts).toHaveLength(1)
  })
})
