/** The assembler: statements, directives, branches that grow, errors, ELF files that run on the host's CPU. */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DecoderOptions, Formatter, FormatterSyntax, Decoder as IcedDecoder } from 'iced-x86'
import { describe, expect, test } from 'vitest'
import { assemble, assembleElf } from '../src/assembler/assemble.ts'
import { AssemblerError } from '../src/assembler/error.ts'

const hex = (source: string, options = {}): string =>
  [...assemble(source, options).bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')

/** What iced-x86 makes of the bytes. */
function iced(source: string, origin = 0): string {
  const decoder = new IcedDecoder(64, assemble(source, { origin }).bytes, DecoderOptions.None)
  decoder.ip = BigInt(origin)
  const formatter = new Formatter(FormatterSyntax.Intel)
  const lines: string[] = []
  while (decoder.canDecode) lines.push(formatter.format(decoder.decode()))
  return lines.join('; ')
}

describe('instructions', () => {
  test.each([
    ['mov eax, 5', 'mov eax,5'],
    ['mov rax, 5', 'mov rax,5'],
    ['mov rax, 0x123456789a', 'mov rax,123456789Ah'],
    ['mov rax, -1', 'mov rax,0FFFFFFFFFFFFFFFFh'],
    ['mov ah, bl', 'mov ah,bl'],
    ['mov sil, r9b', 'mov sil,r9b'],
    ['add [rax], ebx', 'add [rax],ebx'],
    ['lock xadd qword ptr fs:[rbx + rcx*8 - 16], rax', 'lock xadd fs:[rbx+rcx*8-10h],rax'],
    ['lea rdi, [rax*4 + rbx + 5 - 2]', 'lea rdi,[rbx+rax*4+3]'],
    ['lea rdi, [rsp + rax]', 'lea rdi,[rsp+rax]'],
    ['lea rdi, [rax + rsp]', 'lea rdi,[rsp+rax]'],
    ['lea rdi, [4*rax]', 'lea rdi,[rax*4]'],
    ['mov rax, fs:0x28', 'mov rax,fs:[28h]'],
    ['mov al, [0x1122334455667788]', 'mov al,[1122334455667788h]'],
    ['movzx eax, word ptr [r13]', 'movzx eax,word ptr [r13]'],
    ['push 5', 'push 5'],
    ['push 0x12345678', 'push 12345678h'],
    ['push [rax]', 'push qword ptr [rax]'],
    ['push word ptr [rax]', 'push word ptr [rax]'],
    ['imul eax, 5', 'imul eax,5'],
    ['shl rax, cl', 'shl rax,cl'],
    ['shr qword ptr [rdi]', 'shr qword ptr [rdi],1'],
    ['xchg rax, r8', 'xchg r8,rax'],
    ['rep movsb', 'rep movsb [rdi],[rsi]'],
    ['repne scasb', 'repne scasb [rdi]'],
    ['rep ret', 'rep ret'],
    ['addr32 rep stosq', 'rep stosq [edi]'],
    ['gs lodsb', 'lodsb gs:[rsi]'],
    ['jz .', 'je short 0'],
    ['setnz al', 'setne al'],
    ['cmovc rax, rbx', 'cmovb rax,rbx'],
    ['movd xmm1, eax', 'movd xmm1,eax'],
    ['movd xmm1, rax', 'movq xmm1,rax'],
    ['movq xmm1, [rax]', 'movq xmm1,[rax]'],
    ['movsd xmm1, [rax]', 'movsd xmm1,[rax]'],
    ['movsd', 'movsd [rdi],[rsi]'],
    ['cmpltps xmm1, xmm2', 'cmpltps xmm1,xmm2'],
    ['cvtsi2sd xmm0, dword ptr [rax]', 'cvtsi2sd xmm0,dword ptr [rax]'],
    ['mov cr3, rax', 'mov cr3,rax'],
    ['mov ds, eax', 'mov ds,ax'],
    ['ltr ax', 'ltr ax'],
    ['mov rax, gs', 'mov rax,gs'],
    ['int 0x80', 'int 80h'],
    ['in al, dx', 'in al,dx'],
    ['out 0x10, eax', 'out 10h,eax'],
    ['andn eax, ebx, [rcx]', 'andn eax,ebx,[rcx]'],
    ['shlx r8, [r9 + 4], r10', 'shlx r8,[r9+4],r10'],
    ['fstcw [rax]', 'fwait; fnstcw [rax]'],
    ['jmp fword ptr [rax]', 'jmp far fword ptr [rax]'],
    ['lgdt [rip + 0x10]', 'lgdt [17h]'],
    ['endbr64', 'endbr64'],
  ])('default: %s', (source, text) => {
    expect(iced(source)).toBe(text)
  })

  test('behaviour: the shortest encoding is taken', () => {
    expect(hex('add eax, 5')).toBe('83 c0 05')
    expect(hex('mov ds, eax')).toBe('8e d8')
    expect(hex('add eax, 500')).toBe('05 f4 01 00 00')
    expect(hex('mov rax, 0x7fffffff')).toBe('48 c7 c0 ff ff ff 7f')
    expect(hex('mov eax, [rax + 0]')).toBe('8b 00')
    expect(hex('mov eax, [rax + 127]')).toBe('8b 40 7f')
    expect(hex('mov eax, [rax + 128]')).toBe('8b 80 80 00 00 00')
  })
})

describe('labels', () => {
  test('behaviour: branches are short where they reach', () => {
    expect(hex('a: jmp b\n jnz a\nb:')).toBe('eb 02 75 fc')
    expect(hex('jmp b\n.space 127\nb:').slice(0, 6)).toBe('eb 7f ')
    expect(hex('jmp b\n.space 128\nb:').slice(0, 15)).toBe('e9 80 00 00 00 ')
  })

  test('behaviour: a branch that grows makes another one grow', () => {
    // The first jump reaches only while the second is short.
    const source = 'jmp a\n.space 120\njmp b\n.space 3\na:\n.space 126\nb: nop'
    const { bytes, symbols } = assemble(source)
    expect(bytes[0]).toBe(0xe9)
    expect(Number(symbols.get('b'))).toBe(bytes.length - 1)
    const view = new DataView(bytes.buffer)
    expect(BigInt(view.getInt32(1, true) + 5)).toBe(symbols.get('a'))
  })

  test('behaviour: `short` and `near` fix the size', () => {
    expect(hex('a: jmp near a')).toBe('e9 fb ff ff ff')
    expect(() => assemble('jmp short b\n.space 200\nb:')).toThrow(/does not fit/)
  })

  test('behaviour: local labels', () => {
    expect(hex('f: .l: jmp .l\ng: .l: jmp .l\njmp f.l')).toBe('eb fe eb fe eb fa')
    expect(hex('1: jmp 1f\n1: jmp 1b\njmp 1b')).toBe('eb 00 eb fe eb fc')
  })

  test('behaviour: RIP-relative operands know their immediate', () => {
    expect(iced('cmp dword ptr [rip + v], 5\nv: nop', 0x1000)).toBe('cmp dword ptr [1007h],5; nop')
    expect(iced('cmp dword ptr [rip + v], 0x12345\nv: nop', 0x1000)).toBe('cmp dword ptr [100Ah],12345h; nop')
    expect(iced('lea rax, [rel v + 1]\nv: nop', 0x1000)).toBe('lea rax,[1008h]; nop')
  })

  test('behaviour: expressions, symbols from outside, equates before and after use', () => {
    expect(hex('.long (2 + 3) * 4 - 7 / 2, 1 << 4 | 3, ~0 & 0xff, -1')).toBe(
      '11 00 00 00 13 00 00 00 ff 00 00 00 ff ff ff ff',
    )
    expect(
      hex('mov eax, later\nlater = 5\n.equ more, later + outside\n.byte more', { symbols: { outside: 2 } }),
    ).toBe('b8 05 00 00 00 07')
    expect(hex('.quad end - start\nstart: .byte 1, "ab", \'c\'\nend: .word $ - start')).toBe(
      '04 00 00 00 00 00 00 00 01 61 62 63 04 00',
    )
    expect(assemble('nop\nhere:', { origin: 0x7c00 }).symbols.get('here')).toBe(0x7c01n)
    expect(hex('table: .quad table + 1', { origin: 0xffff_ffff_8000_0000n })).toBe('01 00 00 80 ff ff ff ff')
  })
})

describe('directives', () => {
  test('default: data', () => {
    expect(hex('.byte 1, -1\n.word 0x1234\n.ascii "a\\n"\n.asciz "b"')).toBe('01 ff 34 12 61 0a 62 00')
    expect(hex('.float 1.5\n.double -2.0')).toBe('00 00 c0 3f 00 00 00 00 00 00 00 c0')
    expect(hex('.space 2\n.space 2, 7\n.fill 2, 2, 0x102')).toBe('00 00 07 07 02 01 02 01')
  })

  test('default: alignment and origin', () => {
    expect(hex('ret\n.align 4\nret\n.org 7\nret')).toBe('c3 90 90 90 c3 00 00 c3')
    expect(hex('.data\n.byte 1\n.align 4\n.byte 2')).toBe('01 00 00 00 02')
    expect(hex('ret\n.p2align 2, 0xcc')).toBe('c3 cc cc cc')
  })

  test('behaviour: sections follow each other', () => {
    const { bytes, symbols, sections } = assemble(
      '.data\nd: .byte 1\n.text\nret\n.bss\nz: .space 4\n.text\nnop',
      { origin: 0x100 },
    )
    expect([...bytes.subarray(0, 17)]).toEqual([0xc3, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    expect(symbols.get('d')).toBe(0x110n)
    expect(symbols.get('z')).toBe(0x120n)
    expect(bytes).toHaveLength(0x24)
    expect(sections.map(({ name }) => name)).toEqual(['.text', '.data', '.bss'])
  })

  test('default: repetition and macros', () => {
    expect(hex('.set i, 0\n.rept 3\n.byte i\n.set i, i + 1\n.endr')).toBe('00 01 02')
    expect(hex('.macro gate number, type=0x8e\n.byte \\number, \\type\n.endm\ngate 1\ngate 2, 0xef')).toBe(
      '01 8e 02 ef',
    )
    expect(hex('.macro spin\nl\\@: jmp l\\@\n.endm\nspin\nspin')).toBe('eb fe eb fe')
    expect(() => assemble('.rept 2\nnop')).toThrow(/\.endr is missing/)
    expect(() => assemble('.macro m a\nnop\n.endm\nm')).toThrow(/parameter a is missing/)
    expect(() => assemble('.macro m\nm\n.endm\nm')).toThrow(/nest too deep/)
  })

  test('behaviour: comments', () => {
    expect(hex('nop ; one\n# two\nret # three; four\n.ascii "#;" ; five')).toBe('90 c3 23 3b')
  })
})

describe('errors', () => {
  test.each([
    ['nop\nmov eax', 2, /does not take these operands/],
    ['mov bx, eax', 1, /does not take these operands/],
    ['bogus eax', 1, /no instruction BOGUS/],
    ['mov [rax], 5', 1, /size of the memory operand/],
    ['movzx eax, [rax]', 1, /size of the memory operand/],
    ['jmp nowhere', 1, /symbol nowhere is not defined/],
    ['a:\na:', 2, /defined twice/],
    ['mov eax, 0x100000000', 1, /does not fit/],
    ['mov ah, r8b', 1, /cannot be encoded with REX/],
    ['mov rax, [rsp*2]', 1, /RSP cannot be an index/],
    ['mov rax, [rax*3]', 1, /scale 3/],
    ['mov rax, [rax + rbx + rcx]', 1, /too many registers/],
    ['mov rax, [rax', 1, /] is missing/],
    ['lock add eax, ebx', 1, /LOCK/],
    ['.byte 256', 1, /does not fit 8 bits/],
    ['.align 3', 1, /no power of two/],
    ['.org 4\n.org 2', 2, /goes back/],
    ['.space 1 << 40', 1, /do not fit the section/],
    ['.long 1 / 0', 1, /division by zero/],
    ['.bogus', 1, /no directive/],
    ['nop nop', 1, /too much|does not take/],
    ['mov eax, "x"', 1, /is no value/],
    ['mov eax, `5`', 1, /column 9/],
  ])('error: %s', (source, line, message) => {
    let caught: unknown
    try {
      assemble(source)
    } catch (error) {
      caught = error
    }
    expect(caught).toBeInstanceOf(AssemblerError)
    expect((caught as AssemblerError).message).toMatch(message)
    expect((caught as AssemblerError).line).toBe(line)
    expect((caught as AssemblerError).code).toBe('x86/assembler')
    expect((caught as AssemblerError).message).toContain(source.split('\n')[line - 1])
  })
})

const hello = `
    .equ write, 1
    .equ exit, 60
    .text
  _start:
    mov   eax, write
    mov   edi, 1
    lea   rsi, [rip + text]
    mov   edx, text.end - text
    syscall
    ; sum of 1 to 10 by a table, checked in bss
    xor   ecx, ecx
  .loop:
    mov   eax, dword ptr [table + rcx*4]
    add   qword ptr [rip + sum], rax
    inc   ecx
    cmp   ecx, (table.end - table) / 4
    jb    .loop
    mov   rdi, [rip + sum]
    mov   eax, exit
    syscall
    .rodata
  text: .ascii "hello\\n"
  .end:
    .data
  table: .long 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
  .end:
    .bss
    .align 8
  sum:  .space 8
`

describe('ELF', () => {
  test('default: header and segments', () => {
    const { bytes, entry, sections, symbols } = assembleElf(hello)
    const view = new DataView(bytes.buffer)
    expect([...bytes.subarray(0, 6)]).toEqual([0x7f, 0x45, 0x4c, 0x46, 2, 1])
    expect(entry).toBe(symbols.get('_start'))
    expect(view.getBigUint64(24, true)).toBe(entry)
    expect(
      sections.map(({ name, writable, executable, zero }) => [name, writable, executable, zero]),
    ).toEqual([
      ['.text', false, true, false],
      ['.rodata', false, false, false],
      ['.data', true, false, false],
      ['.bss', true, false, true],
    ])
    expect(sections.every(({ address }) => address % 4096n === 0n)).toBe(true)
    expect(view.getUint16(56, true)).toBe(5)
  })

  // Only where the host runs x86-64 Linux programs.
  test.skipIf(process.platform !== 'linux' || process.arch !== 'x64')('behaviour: the file runs', () => {
    const folder = mkdtempSync(join(tmpdir(), 'trapframe-'))
    try {
      const path = join(folder, 'hello')
      writeFileSync(path, assembleElf(hello).bytes)
      chmodSync(path, 0o755)
      const { stdout, status } = spawnSync(path)
      expect(stdout.toString()).toBe('hello\n')
      expect(status).toBe(55)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
