/**
 * Guests that change the mode of the CPU, each on the evaluator and on the interpreter: the expected values are from the
 * manual (SDM volume 3, chapters 3, 5, 6, 8, 10, 21), and both engines end in the same state.
 */
import { describe, expect, test } from 'vitest'
import { type Outcome, runGuest } from './two-engines.ts'

/** Runs, compares the engines with each other, and gives the bytes from 0x500 on as words. */
async function results(source: string, count: number): Promise<number[]> {
  const { evaluator, interpreter } = await runGuest(source)
  const words = (outcome: Outcome): number[] =>
    Array.from({ length: count }, (_, index) => outcome.memory.getUint32(0x500 + 4 * index, true))
  expect(words(interpreter)).toEqual(words(evaluator))
  const comparable = ({ state }: Outcome): unknown => ({
    ...state,
    msrs: state.msrs.filter(([index]) => index !== 0x10),
    instructionsRetired: 0,
    fpu: 0,
  })
  expect(comparable(interpreter)).toEqual(comparable(evaluator))
  return words(evaluator)
}

/** Flat segments of 32 and 16 bits, a TSS, ring 3; selectors 08 code32, 10 data32, 18 code16, 20 data16, 28 code64. */
const GDT = `
.align 8
gdt: .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff, 0x00009a000000ffff, 0x000092000000ffff, 0x00af9a000000ffff
     .quad 0x00cffa000000ffff, 0x00cff2000000ffff          # 30, 38: ring 3
     .word 0x67, tss, 0x8900, 0                            # 40
     .word 0, 0, 0, 0                                      # 48: upper half of a 64-bit TSS, or more
     .quad 0, 0
gdtr: .word . - gdt - 1
     .long gdt
tss: .long 0, 0x7000, 0x10
     .space 92
     .word 0, 0x68
     .byte 0xff
`
const ENTER_PROTECTED = `
  cli
  lgdt [gdtr]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp dword 0x08:protected
.code32
protected:
  mov ax, 0x10
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov esp, 0x6000
`

describe('real mode', () => {
  test('default: segments, 16-bit addresses and stack, near and far calls, interrupts', async () => {
    const words = await results(
      `
  mov ax, 0x50
  mov es, ax
  mov bx, 0
  mov si, 4
  mov dword ptr es:[bx], 0x11223344
  mov word ptr es:[bx+si], sp
  mov sp, 0x7c00
  push ax
  mov word ptr es:[6], sp
  pop cx
  call near_one
  mov word ptr es:[8], ax
  call 0x0100:far_one - 0x1000
  mov word ptr es:[10], ax
  mov word ptr [4*0x21], handler
  mov word ptr [4*0x21+2], 0
  int 0x21
  mov word ptr es:[12], dx
  mov word ptr [4*6], undefined
  mov word ptr [4*6+2], 0
  ud2
undefined:
  mov bp, sp
  mov ax, [bp]
  sub ax, undefined - 2
  mov word ptr es:[14], ax
  hlt
near_one: mov ax, 0x1234
  ret
far_one: mov ax, cs
  retfw
handler: mov bp, sp
  mov dx, [bp+4]
  and dx, 0x300
  or dx, 1
  iret
`,
      4,
    )
    expect(words).toEqual([0x11223344, 0x7bfe7c00, 0x01001234, 0x1])
  })

  test('behaviour: offsets wrap at 64 KiB, and an access across the end is #GP', async () => {
    const words = await results(
      `
  mov word ptr [4*13], fault
  mov word ptr [4*13+2], 0
  mov bx, 0xfff0
  mov si, 0x510
  mov byte ptr [bx+si], 0x77
  mov bx, 0xffff
  mov ax, [bx]
  hlt
fault:
  mov dword ptr [0x504], 0xbad
  hlt
`,
      2,
    )
    expect(words).toEqual([0x77, 0xbad])
  })

  test('behaviour: BCD, BOUND, INTO, PUSHA and the like', async () => {
    const words = await results(
      `
  mov word ptr [4*5], out_of_bounds
  mov word ptr [4*5+2], 0
  mov word ptr [4*4], overflow
  mov word ptr [4*4+2], 0
  mov al, 0x79
  add al, 0x35
  daa
  mov [0x500], al
  mov ax, 0x0105
  sub al, 6
  aas
  mov [0x502], ax
  mov al, 123
  aam 10
  mov [0x504], ax
  aad 10
  mov [0x506], ax
  mov ax, 5
  mov word ptr [0x600], 6
  mov word ptr [0x602], 9
  bound ax, [0x600]
  hlt
out_of_bounds:
  mov al, 0x7f
  add al, 1
  into
  hlt
overflow:
  mov ax, 1
  mov cx, 2
  mov di, 9
  pusha
  xor di, di
  popa
  mov [0x508], di
  mov word ptr [0x50a], sp
  hlt
`,
      3,
    )
    expect(words).toEqual([0x00090014, 0x007b0c03, 0x7bf40009])
  })

  test('behaviour: string instructions with 16-bit registers', async () => {
    const words = await results(
      `
  mov edi, 0xaaaa0500
  mov ecx, 0xbbbb0004
  mov al, 0x5a
  cld
  rep stosb
  mov [0x504], edi
  mov [0x508], ecx
  mov si, 0x500
  mov di, 0x50c
  mov cx, 2
  rep movsw
  hlt
`,
      4,
    )
    expect(words).toEqual([0x5a5a5a5a, 0xaaaa0504, 0xbbbb0000, 0x5a5a5a5a])
  })
})

describe('protected mode', () => {
  test('default: flat segments, calls, and back to real mode', async () => {
    const words = await results(
      `${ENTER_PROTECTED}
  push 0x12345678
  pop eax
  mov [0x500], eax
  call one
  mov [0x504], eax
  mov eax, esp
  mov [0x508], eax
  jmp 0x18:narrow
one: mov eax, 0x77
  ret
.code16
narrow:
  mov ax, 0x20
  mov ds, ax
  mov ss, ax
  mov eax, cr0
  and al, 0xfe
  mov cr0, eax
  jmp 0:real
real:
  xor ax, ax
  mov ds, ax
  mov ss, ax
  mov sp, 0x7c00
  push 0x4321
  pop ax
  mov [0x50c], ax
  hlt
${GDT}`,
      4,
    )
    expect(words).toEqual([0x12345678, 0x77, 0x6000, 0x4321])
  })

  test('behaviour: limits and types are checked, with the error code of the manual', async () => {
    const words = await results(
      `${ENTER_PROTECTED}
  mov word ptr [idt + 8*13], fault
  lidt [idtr]
  mov ax, 0x20
  mov ds, ax
  mov ebx, 0x10000
one: mov eax, [ebx]          # beyond 64 KiB: #GP(0)
one_end:
  mov ax, 0x18
  mov ds, ax
two: mov byte ptr [0], 1     # a code segment is not writable
two_end:
three: mov ax, 0x99          # beyond the GDT
  mov ds, ax
three_end:
  mov ax, 0x10
  mov ds, ax
  hlt
fault:
  push ds
  push eax
  mov ax, 0x10
  mov ds, ax
  mov edi, ss:[count]
  mov eax, [esp+8]
  mov ss:[0x500 + edi], eax
  add dword ptr ss:[count], 4
  mov eax, ss:[skip + edi]
  mov [esp+12], eax
  pop eax
  pop ds
  add esp, 4
  iretd
.align 8
count: .long 0
skip: .long one_end, two_end, three_end
idtr: .word 0x7ff
     .long idt
${GDT}
.align 8
idt:
.rept 32
  .word 0, 8, 0x8e00, 0
.endr
`,
      3,
    )
    expect(words).toEqual([0, 0, 0x98])
  })

  test('behaviour: ring 3 and back through an interrupt gate and a call gate', async () => {
    const words = await results(
      `${ENTER_PROTECTED}
  mov ax, 0x40
  ltr ax
  mov word ptr [gdt + 0x50], gate
  mov word ptr [gdt + 0x52], 8
  mov dword ptr [gdt + 0x54], 0x0000ec01     # one parameter
  mov word ptr [idt + 8*0x30], service
  lidt [idtr]
  push 0x3b
  push 0x5000
  push 0x33
  push user
  retf
user:
  mov ax, 0x3b
  mov ds, ax
  int 0x30
  push 0x4242
  call 0x53:0
  mov [0x50c], esp
  int 0x30
service:
  mov [0x500], esp
  mov eax, [esp+12]
  mov [0x504], eax
  cmp dword ptr [0x508], 0
  jne done
  iretd
gate:
  mov eax, [esp+8]
  mov [0x508], eax
  retf 4
done: hlt
idtr: .word 0x7ff
     .long idt
${GDT}
.align 8
idt:
.rept 64
  .word 0, 8, 0xee00, 0
.endr
`,
      4,
    )
    expect(words).toEqual([0x7000 - 20, 0x5000, 0x4242, 0x5000])
  })

  test('behaviour: paging of two levels, large pages, accessed and dirty bits; page fault with CR2', async () => {
    const words = await results(
      `${ENTER_PROTECTED}
  mov word ptr [idt + 8*14], fault
  lidt [idtr]
  mov dword ptr [0x20000], 0x21007
  mov dword ptr [0x20004], 0x87            # 4 MiB page at 4 MiB: linear 0x400000 is physical 0
  mov ecx, 256
  mov edi, 0x21000
  mov eax, 7
fill: mov [edi], eax
  add eax, 0x1000
  add edi, 4
  loop fill
  mov dword ptr [0x21000 + 4*0x90], 0x20
  mov eax, 0x20000
  mov cr3, eax
  mov eax, cr4
  or al, 0x10
  mov cr4, eax
  mov eax, cr0
  or eax, 0x80010000
  mov cr0, eax
  jmp short on
on:
  mov eax, 0x99
  mov [0x400500], eax
  mov eax, [0x20004]
  mov [0x504], eax
  mov dword ptr [0x90008], 1
  hlt
fault:
  pop eax
  mov [0x508], eax
  mov eax, cr2
  mov [0x50c], eax
  hlt
idtr: .word 0x7ff
     .long idt
${GDT}
.align 8
idt:
.rept 64
  .word 0, 8, 0x8e00, 0
.endr
`,
      4,
    )
    expect(words).toEqual([0x99, 0xe7, 2, 0x90008])
  })

  test('behaviour: a task switch by CALL and back by IRET', async () => {
    const words = await results(
      `${ENTER_PROTECTED}
  mov ax, 0x40
  ltr ax
  mov word ptr [gdt + 0x50], 0x67
  mov word ptr [gdt + 0x52], other
  mov dword ptr [gdt + 0x54], 0x00008900
  mov dword ptr [other + 0x20], task
  mov dword ptr [other + 0x24], 2
  mov dword ptr [other + 0x38], 0x5800
  mov dword ptr [other + 0x28], 0xabcd
  mov dword ptr [other + 0x48], 0x10
  mov dword ptr [other + 0x4c], 0x08
  mov dword ptr [other + 0x50], 0x10
  mov dword ptr [other + 0x54], 0x10
  mov ebx, 0x1111
  call 0x50:0
  mov [0x508], ebx
  xor eax, eax
  str ax
  mov [0x50c], eax
  hlt
task:
  mov [0x500], eax
  pushfd
  pop eax
  and eax, 0x4000
  str bx
  or eax, ebx
  mov [0x504], eax
  iretd
.align 8
other: .space 0x68
${GDT}
`,
      4,
    )
    expect(words).toEqual([0xabcd, 0x4050, 0x1111, 0x40])
  })

  test('behaviour: virtual-8086 mode: INT through the IDT at IOPL 3, #GP below', async () => {
    const words = await results(
      `${ENTER_PROTECTED}
  mov ax, 0x40
  ltr ax
  mov word ptr [idt + 8*0x30], service
  mov word ptr [idt + 8*13], fault
  lidt [idtr]
  push 0
  push 0
  push 0x50
  push 0
  push 0x700
  push 0x4000
  push 0x23002
  push 0
  push virtual
  iretd
.code16
virtual:
  mov ax, 0x60
  mov es, ax
  mov word ptr es:[0], 0x1234
  mov word ptr [0], 0x55
  int 0x30
  pushf
  hlt
.code32
service:
  mov eax, [esp + 12]
  mov ecx, [esp + 8]
  push 0x10
  pop ds
  mov [0x504], eax
  mov [0x508], ecx
  and dword ptr [esp + 8], ~0x3000
  iretd
fault:
  push 0x10
  pop ds
  mov eax, [esp + 4]
  sub eax, virtual
  mov [0x50c], eax
  hlt
idtr: .word 0x7ff
     .long idt
${GDT}
.align 8
idt:
.rept 64
  .word 0, 8, 0xee00, 0
.endr
`,
      4,
    )
    expect(words).toEqual([0x55, 0x4000, 0x23002, 0x14])
  })
})

describe('IA-32e mode', () => {
  test('default: real, protected, long, compatibility mode, and all the way back', async () => {
    const words = await results(
      `${ENTER_PROTECTED}
  mov dword ptr [0x20000], 0x21007
  mov dword ptr [0x21000], 0x22007
  mov dword ptr [0x22000], 0x87
  mov ax, 0x40
  ltr ax
  mov eax, 0x20000
  mov cr3, eax
  mov eax, cr4
  or al, 0x20
  mov cr4, eax
  mov ecx, 0xc0000080
  rdmsr
  or ah, 1
  wrmsr
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  mov ecx, 0xc0000080
  rdmsr
  mov [0x500], eax
  jmp 0x28:wide
.code64
wide:
  mov rax, 0x1122334455667788
  mov [0x504], rax
  mov rbx, cs
  push 0x08
  push compatibility
  retfq
.code32
compatibility:
  inc dword ptr [0x50c]
  mov eax, 0x7fffffff
  inc eax
  mov [0x510], eax
  mov eax, cr0
  and eax, 0x7fffffff
  mov cr0, eax
  mov ecx, 0xc0000080
  rdmsr
  mov [0x514], eax
  jmp 0x18:narrow
.code16
narrow:
  mov ax, 0x20
  mov ds, ax
  mov ss, ax
  mov eax, cr0
  and al, 0xfe
  mov cr0, eax
  jmp 0:real
real:
  xor ax, ax
  mov ds, ax
  mov word ptr [0x518], 0x1ea1
  hlt
${GDT}`,
      7,
    )
    expect(words).toEqual([0x500, 0x55667788, 0x11223344, 1, 0x80000000, 0x100, 0x1ea1])
  })

  test('behaviour: a 32-bit program under a 64-bit kernel: INT 80h, SYSENTER, SYSEXIT, segments', async () => {
    const words = await results(
      `${ENTER_PROTECTED}
  mov dword ptr [0x20000], 0x21007
  mov dword ptr [0x21000], 0x22007
  mov dword ptr [0x22000], 0x87
  mov ax, 0x40
  ltr ax
  mov eax, 0x20000
  mov cr3, eax
  mov eax, cr4
  or al, 0x20
  mov cr4, eax
  mov ecx, 0xc0000080
  rdmsr
  or ah, 1
  wrmsr
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
  jmp 0x28:wide
.code64
wide:
  mov dword ptr [tss + 4], 0x7000
  mov dword ptr [tss + 8], 0
  and byte ptr [gdt + 0x45], 0xfd
  mov ax, 0x40
  ltr ax
  lea rdi, [idt]
  mov word ptr [idt + 16*0x80], service
  mov word ptr [idt + 16*13], fault
  lidt [idtr]
  mov ecx, 0x174
  mov eax, 0x28
  xor edx, edx
  wrmsr
  inc ecx
  mov eax, 0x6800
  wrmsr
  inc ecx
  mov eax, fast
  wrmsr
  push 0x3b
  push 0x5000
  push 0x202
  push 0x33
  push user
  iretq
.code32
user:
  mov eax, 0x3b
  mov ds, eax
  mov es, eax
  mov eax, 0x12340000
  int 0x80
  mov [0x504], eax
  mov ecx, esp
  mov edx, after
  sysenter
after:
  mov [0x50c], esp
  mov eax, 0xfff
  mov fs, eax
  hlt
.code64
service:
  mov rbx, [rsp]
  mov [0x500], esp
  add eax, 1
  iretq
fast:
  mov [0x508], esp
  mov rax, cs
  mov [0x510], eax
  sysexit
fault:
  pop rax
  mov [0x514], eax
  hlt
.align 8
idtr: .word 0xfff
  .quad idt
${GDT}
.align 16
idt:
.rept 256
  .word 0, 0x28, 0xee00, 0
  .quad 0
.endr
`,
      6,
    )
    // SYSEXIT loads CS 28h + 10h, which here is the ring-3 data selector's number.
    expect(words).toEqual([0x7000 - 40, 0x12340001, 0x6800, 0x5000, 0x28, 0xffc])
  })

  test('behaviour: PAE paging, with large pages and no-execute', async () => {
    const words = await results(
      `${ENTER_PROTECTED}
  mov word ptr [idt + 8*14], fault
  lidt [idtr]
  mov dword ptr [0x20000], 0x21001
  mov dword ptr [0x21000], 0x87
  mov dword ptr [0x21008], 0x22007
  mov dword ptr [0x22000], 0x7
  mov dword ptr [0x22008], 0x10007
  mov dword ptr [0x2200c], 0x80000000
  mov eax, 0x20000
  mov cr3, eax
  mov eax, cr4
  or al, 0x20
  mov cr4, eax
  mov ecx, 0xc0000080
  rdmsr
  or ah, 8
  wrmsr
  mov eax, cr0
  or eax, 0x80010000
  mov cr0, eax
  mov dword ptr [0x200500], 0x4567
  mov eax, [0x22000]
  mov [0x504], eax
  mov byte ptr [0x10000], 0xc3
  mov eax, 0x201000
  call eax
  hlt
fault:
  pop eax
  mov [0x508], eax
  mov eax, cr2
  mov [0x50c], eax
  hlt
idtr: .word 0x7ff
     .long idt
${GDT}
.align 8
idt:
.rept 64
  .word 0, 8, 0x8e00, 0
.endr
`,
      4,
    )
    expect(words).toEqual([0x4567, 0x67, 0x11, 0x201000])
  })

  test('behaviour: virtual-8086 mode with VME: IF is VIF, and INT is redirected by the bitmap', async () => {
    const words = await results(
      `${ENTER_PROTECTED}
  mov dword ptr [tss + 0x64], 0x00880000     # bitmaps: 32 bytes for interrupts, then ports
  mov byte ptr [tss + 0x6c], 4               # of 20h to 27h only INT 22h is kept
  mov word ptr [gdt + 0x40], 0x90
  mov dword ptr [4*0x21], handler
  mov word ptr [idt + 8*13], fault
  lidt [idtr]
  mov ax, 0x40
  ltr ax
  mov eax, cr4
  or al, 1
  mov cr4, eax
  push 0
  push 0
  push 0
  push 0
  push 0
  push 0x4000
  push 0x20002
  push 0
  push virtual
  iretd
.code16
virtual:
  sti
  pushf
  pop ax
  mov [0x500], ax
  int 0x21
  cli
  pushf
  pop ax
  mov [0x504], ax
  int 0x22
handler:
  mov bp, sp
  mov ax, [bp+4]
  mov [0x502], ax
  iret
.code32
fault:
  mov eax, [esp + 12]
  mov ss:[0x508], eax
  hlt
idtr: .word 0x7ff
     .long idt
${GDT}
  .space 64, 0
.align 8
idt:
.rept 64
  .word 0, 8, 0xee00, 0
.endr
`,
      3,
    )
    expect(words[0]! & 0x32003200).toBe(0x32003200)
    expect(words[1]! & 0x3200).toBe(0x3000)
    expect(words[2]! & 0xa3200).toBe(0x20000)
  })
})
