/** The decoder over a handful of rows: prefixes, sizes, addressing, immediates, failures. */
import { describe, expect, test } from 'vitest'
import { createDecoder, Decoded, DecodeFailure, Repeat } from '../src/isa/decoder.ts'
import { type Form, type FormOptions, form } from '../src/isa/form.ts'

const none = (): void => {}
const row = (text: string, encoding: string, options?: FormOptions): Form =>
  form(text, encoding, none, options)
const rows: Form[] = [
  row('ADD r/m8, r8', '00 /r', { lock: true }),
  row('ADD r/m16, r16', '01 /r', { lock: true }),
  row('ADD r/m32, r32', '01 /r', { lock: true }),
  row('ADD r/m64, r64', 'REX.W + 01 /r', { lock: true }),
  row('ADD r/m16, imm8s', '83 /0 ib', { lock: true }),
  row('ADD r/m32, imm8s', '83 /0 ib', { lock: true }),
  row('ADD r/m64, imm8s', 'REX.W + 83 /0 ib', { lock: true }),
  row('ADD r/m64, imm32s', 'REX.W + 81 /0 id', { lock: true }),
  row('MOV r64, imm64', 'REX.W + B8+rd io'),
  row('MOV r32, imm32', 'B8+rd id'),
  row('MOV AL, moffs8', 'A0'),
  row('PUSH r64', '50+rd', { mode: 'only64' }),
  row('PUSH r16', '50+rw'),
  row('PUSH r32', '50+rd', { mode: 'no64' }),
  row('PUSH imm8s', '6A ib'),
  row('PUSH imm8s', 'o16 6A ib'),
  row('ENTER imm16, imm8', 'C8 iw ib'),
  row('JMP rel32', 'E9 cd'),
  row('JMP rel8', 'EB cb'),
  row('JMP r/m64', 'FF /4', { mode: 'only64' }),
  row('RET', 'C3'),
  row('NOP', '90'),
  row('PAUSE', 'F3 90'),
  row('XCHG RAX, r64', 'REX.W + 90+rd'),
  row('XCHG EAX, r32', '90+rd'),
  row('MOVSB', 'A4', { string: true }),
  row('MOVAPS xmm1, xmm2/m128', 'NP 0F 28 /r'),
  row('MOVAPD xmm1, xmm2/m128', '66 0F 28 /r'),
  row('MOVHLPS xmm1, xmm2', 'NP 0F 12 /r'),
  row('MOVLPS xmm1, m64', 'NP 0F 12 /r'),
  row('MOVD xmm, r/m32', '66 0F 6E /r'),
  row('MOVQ xmm, r/m64', '66 REX.W 0F 6E /r'),
  row('POPCNT r16, r/m16', 'F3 0F B8 /r'),
  row('POPCNT r32, r/m32', 'F3 0F B8 /r'),
  row('LFENCE', 'NP 0F AE /5 reg'),
  row('FXSAVE m512', 'NP 0F AE /0'),
  row('RDTSCP', '0F 01 F9'),
  row('LGDT m16&64', '0F 01 /2'),
  row('FADD ST(0), ST(i)', 'D8 C0+i'),
  row('FADD m32', 'D8 /0'),
  row('MOV r64, CR', '0F 20 /r'),
  row('MOV Sreg, r/m16', '8E /r'),
  row('JECXZ rel8', 'a32 E3 cb'),
  row('JRCXZ rel8', 'a64 E3 cb'),
]
const decoder = createDecoder(rows)
const out = new Decoded()
const decode = (hex: string, mode: 64 | 32 | 16 = 64): string => {
  const bytes = Uint8Array.from(hex.split(' ').map((byte) => Number.parseInt(byte, 16)))
  const length = decoder.decode(bytes, 0, bytes.length, mode, out)
  if (length > 0) expect(length).toBe(bytes.length)
  return length > 0 ? rows[out.form]!.text : String(length)
}

describe('forms', () => {
  test.each([
    ['00 c8', 'ADD r/m8, r8'],
    ['01 c8', 'ADD r/m32, r32'],
    ['66 01 c8', 'ADD r/m16, r16'],
    ['66 48 01 c8', 'ADD r/m64, r64'],
    ['48 66 01 c8', 'ADD r/m16, r16'],
    ['f3 01 c8', 'ADD r/m32, r32'],
    ['50', 'PUSH r64'],
    ['48 50', 'PUSH r64'],
    ['66 50', 'PUSH r16'],
    ['66 ff e0', 'JMP r/m64'],
    ['f3 c3', 'RET'],
    ['90', 'NOP'],
    ['48 90', 'NOP'],
    ['f3 90', 'PAUSE'],
    ['49 90', 'XCHG RAX, r64'],
    ['91', 'XCHG EAX, r32'],
    ['0f 28 c1', 'MOVAPS xmm1, xmm2/m128'],
    ['66 0f 28 c1', 'MOVAPD xmm1, xmm2/m128'],
    ['66 f3 0f 28 c1', '0'],
    ['0f 12 c1', 'MOVHLPS xmm1, xmm2'],
    ['0f 12 01', 'MOVLPS xmm1, m64'],
    ['66 0f 6e c0', 'MOVD xmm, r/m32'],
    ['66 48 0f 6e c0', 'MOVQ xmm, r/m64'],
    ['66 f3 0f b8 c0', 'POPCNT r16, r/m16'],
    ['f3 66 0f b8 c0', 'POPCNT r16, r/m16'],
    ['0f b8 c0', '0'],
    ['0f ae ee', 'LFENCE'],
    ['0f ae 06', 'FXSAVE m512'],
    ['0f 01 f9', 'RDTSCP'],
    ['0f 01 fa', '0'],
    ['0f 01 16', 'LGDT m16&64'],
    ['d8 c3', 'FADD ST(0), ST(i)'],
    ['d8 03', 'FADD m32'],
    ['0f 20 18', 'MOV r64, CR'],
    ['0f 20 08', '0'],
    ['8e d8', 'MOV Sreg, r/m16'],
    ['66 8e d8', 'MOV Sreg, r/m16'],
    ['8e c8', '0'],
    ['e3 00', 'JRCXZ rel8'],
    ['67 e3 00', 'JECXZ rel8'],
    ['f0 01 c8', '0'],
    ['f0 01 08', 'ADD r/m32, r32'],
    ['f0 90', '0'],
    ['66 66 66 66 66 66 66 66 66 66 66 66 66 01 c8', 'ADD r/m16, r16'],
    ['66 66 66 66 66 66 66 66 66 66 66 66 66 66 01 c8', String(DecodeFailure.tooLong)],
    ['48 b8 00 00 00', String(DecodeFailure.incomplete)],
    ['48', String(DecodeFailure.incomplete)],
    ['01', String(DecodeFailure.incomplete)],
  ])('behaviour: %s is %s', (hex, text) => {
    expect(decode(hex)).toBe(text)
  })

  test('behaviour: modes of 32 and 16 bits', () => {
    expect(decode('66 50', 32)).toBe('PUSH r16')
    expect(decode('50', 32)).toBe('PUSH r32')
    expect(decode('50', 16)).toBe('PUSH r16')
    expect(decode('48 01 c8', 32)).toBe('0')
    expect(decode('01 40 05', 16)).toBe('ADD r/m16, r16')
    expect(out).toMatchObject({ base: 3, index: 6, displacement: 5, addressBits: 16, segment: 3 })
    expect(decode('01 06 34 92', 16)).toBe('ADD r/m16, r16')
    expect(out).toMatchObject({ base: -1, index: -1, displacement: 0x9234 - 0x1_0000 })
  })
})

describe('operands', () => {
  test('default: registers with and without REX', () => {
    decode('00 f4')
    expect([...out.registers]).toEqual([16, 18, -1, -1])
    decode('40 00 f4')
    expect([...out.registers]).toEqual([4, 6, -1, -1])
    decode('45 00 f4')
    expect([...out.registers]).toEqual([12, 14, -1, -1])
    decode('41 91')
    expect([...out.registers]).toEqual([0, 9, -1, -1])
  })

  test('behaviour: addressing', () => {
    decode('01 44 24 f8')
    expect(out).toMatchObject({
      memory: 1,
      base: 4,
      index: -1,
      displacement: -8,
      displacementHigh: -1,
      segment: 2,
    })
    decode('43 01 44 65 10')
    expect(out).toMatchObject({ base: 13, index: 12, scale: 1, displacement: 16, segment: 3 })
    decode('01 05 ff ff ff ff')
    expect(out).toMatchObject({ base: -1, ripRelative: 1, displacement: -1 })
    decode('64 01 04 25 00 10 00 00')
    expect(out).toMatchObject({
      base: -1,
      index: -1,
      ripRelative: 0,
      displacement: 0x1000,
      segment: 4,
      segmentOverride: 4,
    })
    decode('64 3e 67 01 00')
    expect(out).toMatchObject({ base: 0, segment: 4, addressBits: 32 })
    decode('2e 01 45 00')
    expect(out).toMatchObject({ base: 5, segment: 2, segmentOverride: -1 })
    decode('a0 01 02 03 04 05 06 07 08')
    expect(out).toMatchObject({ memory: 1, displacement: 0x04030201, displacementHigh: 0x08070605 })
    expect(out.registers[0]).toBe(0)
  })

  test('behaviour: immediates are extended as the form says and cut to the first operand', () => {
    const halves = (): number[] => [out.immediateLow, out.immediateHigh]
    decode('48 83 c0 ff')
    expect(halves()).toEqual([-1, -1])
    decode('83 c0 ff')
    expect(halves()).toEqual([-1, 0])
    decode('66 83 c0 ff')
    expect(halves()).toEqual([0xffff, 0])
    decode('48 81 c0 00 00 00 80')
    expect(halves()).toEqual([-0x8000_0000, -1])
    decode('48 b8 01 02 03 04 05 06 07 08')
    expect(halves()).toEqual([0x04030201, 0x08070605])
    decode('6a 80')
    expect(halves()).toEqual([-128, -1])
    decode('66 6a 80')
    expect(halves()).toEqual([0xff80, 0])
    decode('c8 00 80 1f')
    expect([...halves(), out.immediate2]).toEqual([0x8000, 0, 0x1f])
    decode('eb fe')
    expect(out.relative).toBe(-2)
    decode('e9 00 ff ff ff')
    expect(out.relative).toBe(-256)
  })

  test('behaviour: repeat prefixes are reported for string forms only', () => {
    decode('f3 a4')
    expect(out.repeat).toBe(Repeat.rep)
    decode('f2 f3 a4')
    expect(out.repeat).toBe(Repeat.rep)
    decode('f3 01 c0')
    expect(out.repeat).toBe(Repeat.none)
  })
})

test('behaviour: forms of features that are not there are not found', () => {
  const limited = createDecoder(
    [row('BSR r32, r/m32', '0F BD /r'), row('LZCNT r32, r/m32', 'F3 0F BD /r', { feature: 'lzcnt' })],
    {
      features: new Set(['base'] as const),
    },
  )
  expect(limited.decode(Uint8Array.of(0xf3, 0x0f, 0xbd, 0xc0), 0, 4, 64, out)).toBe(4)
  expect(out.form).toBe(0)
})
