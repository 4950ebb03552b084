/** The disassembler; what it writes, the assembler reads. */
import { describe, expect, test } from 'vitest'
import { assemble } from '../src/assembler/assemble.ts'
import { disassemble, disassembleAll } from '../src/isa/disassembler.ts'
import { forms } from '../src/isa/forms.ts'
import { instancesOf } from './instances.ts'

const bytesOf = (hex: string): Uint8Array =>
  Uint8Array.from(hex.split(' ').map((byte) => Number.parseInt(byte, 16)))

test.each([
  ['01 c8', 'add eax, ecx'],
  ['f0 48 83 44 cb f0 01', 'lock add qword ptr [rbx + rcx*8 - 0x10], 1'],
  ['64 8b 04 25 28 00 00 00', 'mov eax, dword ptr fs:[0x28]'],
  ['48 8b 05 10 00 00 00', 'mov rax, qword ptr [rip + 0x10] ; 0x1017'],
  ['eb fe', 'jmp 0x1000'],
  ['74 0e', 'je 0x1010'],
  ['48 b8 ff ff ff ff ff ff ff ff', 'movabs rax, 0xffffffffffffffff'],
  ['48 83 e4 f0', 'and rsp, -0x10'],
  ['f3 a6', 'repe cmpsb'],
  ['65 f3 48 a5', 'rep gs movsq'],
  ['66 6a 05', 'pushw 5'],
  ['67 e3 00', 'jecxz 0x1003'],
  ['ff 28', 'jmp fword ptr [rax]'],
  ['44 0f 20 c0', 'mov rax, cr8'],
  ['0f 28 04 24', 'movaps xmm0, xmmword ptr [rsp]'],
  ['67 89 00', 'mov dword ptr [eax], eax'],
  ['00 e4', 'add ah, ah'],
  ['40 00 e4', 'add spl, spl'],
  ['0f 04', '(bad)'],
])('default: %s', (hex, text) => {
  expect(disassemble(bytesOf(hex), { address: 0x1000 }).text).toBe(text)
})

test('default: disassembleAll lists addresses and bytes', () => {
  expect(disassembleAll(bytesOf('90 0f 04 c3'), { address: 0x400000 })).toEqual([
    '00400000: 90                             nop',
    '00400001: 0f                             (bad)',
    '00400002: 04 c3                          add al, 0xc3',
  ])
})

describe('every form', () => {
  test('behaviour: the text of every form assembles to the same text', { timeout: 60_000 }, () => {
    const origin = 0x40_0000
    const plain = (text: string): string => text.replace(/ ;.*/, '')
    const wrong: string[] = []
    for (const form of forms) {
      // 6 is another digit for SHL, which has only one name.
      if (form.mnemonic === 'SAL' || form.options.mode === 'no64') continue
      for (const { bytes } of instancesOf(form)) {
        const { text } = disassemble(bytes, { address: origin })
        try {
          const again = disassemble(assemble(text, { origin }).bytes, { address: origin }).text
          if (plain(again) !== plain(text)) wrong.push(`${form.text}: ${text} becomes ${again}`)
        } catch (error) {
          wrong.push(`${form.text}: ${text}: ${(error as Error).message}`)
        }
      }
    }
    expect(wrong).toEqual([])
  })
})
