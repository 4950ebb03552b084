/**
 * The program that runs cases on the host's CPU: Linux on x86-64, no libraries, made by our own assembler.
 *
 * It reads records of machine-image.ts from standard input and writes each back as the case left it. All its work is
 * done in one signal handler: a case ends by a signal, the handler stores the registers out of the signal frame, reads
 * the next record, puts it into the same frame, and returns into it, so that the kernel loads every register.
 * Vector, error code and CR2 come from the frame as well. A timer ends what does not end by itself; standard input at
 * its end ends the program.
 *
 * The pages of a case have a second mapping at ALIAS, by which the handler fills the code and the read-only page.
 */
import { assembleElf } from '@trapframe/x86'
import { CODE_BASE, FS_BASE, GS_BASE, IMAGE_BYTES, WINDOW_BASE, WINDOW_READ_ONLY } from './machine-image.ts'

/** Far from what 32-bit addresses reach, and no address that a case makes up. */
const ORIGIN = 0x2468_ace0_2000n
const ALIAS = 0x1357_9bdf_1000n

const source = `
; Offsets of registers in the signal frame (struct ucontext: uc_mcontext is at 40).
UC_R8 = 40
UC_RDI = 104
UC_RSI = 112
UC_RBP = 120
UC_RBX = 128
UC_RDX = 136
UC_RAX = 144
UC_RCX = 152
UC_RSP = 160
UC_RIP = 168
UC_EFLAGS = 176
UC_CS = 184
UC_SS = 190
UC_ERROR = 192
UC_TRAP = 200
UC_CR2 = 216
UC_FPSTATE = 224
; Offsets in a record (machine-image.ts).
START_RIP = 0x80
RFLAGS = 0x88
VECTOR = 0x90
ERROR_CODE = 0x94
FAULT_ADDRESS = 0x98
SIGNAL = 0xa0
SIGNAL_CODE = 0xa4
CODE_LENGTH = 0xa8
CS_SELECTOR = 0xb0
SS_SELECTOR = 0xb2
DS_SELECTOR = 0xb4
CODE_BYTES = 0xc0
FXSAVE = 0x100
MEMORY = 0x300
SIGALRM = 14

_start:
  mov eax, 9                    ; mmap: four shared pages
  mov rdi, ALIAS
  mov esi, 0x4000
  mov edx, 3
  mov r10d, 0x108021            ; MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_ANONYMOUS | MAP_POPULATE
  mov r8, -1
  xor r9d, r9d
  syscall
  cmp rax, rdi
  jne fail
  xor edi, edi                  ; code
  mov r14d, 0x1000
  mov r15d, CODE
  call duplicate
  mov edi, 0x1000               ; the writable pages of the window
  mov r14d, 0x2000
  mov r15d, WINDOW
  call duplicate
  mov edi, 0x3000               ; the read-only one
  mov r14d, 0x1000
  mov r15d, READ_ONLY
  call duplicate
  mov edi, CODE
  mov edx, 5                    ; PROT_READ | PROT_EXEC
  call protect
  mov edi, READ_ONLY
  mov edx, 1                    ; PROT_READ
  call protect
  mov eax, READ_ONLY            ; present from now on, so that a write to it is a protection fault
  mov al, [rax]
  mov eax, 131                  ; sigaltstack
  lea rdi, [rip + signal_stack]
  xor esi, esi
  syscall
  test rax, rax
  jne fail
  mov ebx, 4                    ; SIGILL
  call handle
  mov ebx, 5                    ; SIGTRAP
  call handle
  mov ebx, 7                    ; SIGBUS
  call handle
  mov ebx, 8                    ; SIGFPE
  call handle
  mov ebx, 11                   ; SIGSEGV
  call handle
  mov ebx, SIGALRM
  call handle
  mov eax, 154                  ; modify_ldt: code and data of 16 bits, where the kernel has it
  mov edi, 1
  lea rsi, [rip + descriptors]
  mov edx, 16
  syscall
  mov eax, 154
  mov edi, 1
  lea rsi, [rip + descriptors + 16]
  mov edx, 16
  syscall
  mov eax, 158                  ; arch_prctl(ARCH_SET_FS)
  mov edi, 0x1002
  mov esi, FS_BASE
  syscall
  mov eax, 158                  ; arch_prctl(ARCH_SET_GS)
  mov edi, 0x1001
  mov esi, GS_BASE
  syscall
  mov eax, 38                   ; setitimer(ITIMER_REAL)
  xor edi, edi
  lea rsi, [rip + timer]
  xor edx, edx
  syscall
  int3                          ; the first signal; its frame becomes that of every case
fail:
  mov eax, 60                   ; exit
  mov edi, 1
  syscall

duplicate:                      ; mremap with an old size of 0: r14 bytes at ALIAS + rdi once more at r15
  mov rax, ALIAS
  add rdi, rax
  mov eax, 25
  xor esi, esi
  mov rdx, r14
  mov r10d, 3                   ; MREMAP_MAYMOVE | MREMAP_FIXED
  mov r8, r15
  syscall
  cmp rax, r15
  jne fail
  ret

protect:                        ; mprotect of a page
  mov eax, 10
  mov esi, 0x1000
  syscall
  test rax, rax
  jne fail
  ret

handle:                         ; rt_sigaction of signal ebx
  mov eax, 13
  mov edi, ebx
  lea rsi, [rip + action]
  xor edx, edx
  mov r10d, 8
  syscall
  test rax, rax
  jne fail
  ret

restorer:
  mov eax, 15                   ; rt_sigreturn
  syscall

handler:                        ; (rdi: signal, rsi: siginfo, rdx: ucontext)
  mov ebx, edi
  mov rbp, rsi
  mov r15, rdx
  lea r14, [rip + record]
  cmp ebx, SIGALRM
  jne ended
  inc dword ptr [rip + ticks]
  cmp dword ptr [rip + ticks], 4
  jae ended
  ret                           ; it may still end
ended:
  cmp dword ptr [rip + started], 0
  je next
  mov rax, [r15 + UC_RAX]
  mov [r14], rax
  mov rax, [r15 + UC_RCX]
  mov [r14 + 8], rax
  mov rax, [r15 + UC_RDX]
  mov [r14 + 16], rax
  mov rax, [r15 + UC_RBX]
  mov [r14 + 24], rax
  mov rax, [r15 + UC_RSP]
  mov [r14 + 32], rax
  mov rax, [r15 + UC_RBP]
  mov [r14 + 40], rax
  mov rax, [r15 + UC_RSI]
  mov [r14 + 48], rax
  mov rax, [r15 + UC_RDI]
  mov [r14 + 56], rax
  lea rsi, [r15 + UC_R8]        ; R8 to R15
  lea rdi, [r14 + 64]
  mov ecx, 8
  rep movsq
  mov rax, [r15 + UC_RIP]
  mov [r14 + START_RIP], rax
  mov rax, [r15 + UC_EFLAGS]
  mov [r14 + RFLAGS], rax
  mov eax, [r15 + UC_TRAP]
  mov [r14 + VECTOR], eax
  mov eax, [r15 + UC_ERROR]
  mov [r14 + ERROR_CODE], eax
  mov rax, [r15 + UC_CR2]
  mov [r14 + FAULT_ADDRESS], rax
  mov [r14 + SIGNAL], ebx
  mov eax, [rbp + 8]
  mov [r14 + SIGNAL_CODE], eax
  mov rsi, [r15 + UC_FPSTATE]
  lea rdi, [r14 + FXSAVE]
  mov ecx, 64
  rep movsq
  mov rbx, ALIAS                ; the regions, as memoryRegions lists them
  lea rsi, [rbx + 0x1000]
  mov ecx, 128
  rep movsb
  lea rsi, [rbx + 0x1e00]
  mov ecx, 1024
  rep movsb
  lea rsi, [rbx + 0x2f80]
  mov ecx, 256
  rep movsb
  lea rsi, [rbx + 0x3f80]
  mov ecx, 128
  rep movsb
  mov r12, r14
  mov r13d, RECORD_BYTES
write:
  mov eax, 1
  mov edi, 1
  mov rsi, r12
  mov edx, r13d
  syscall
  test rax, rax
  jle fail
  add r12, rax
  sub r13, rax
  jne write
next:
  push 0x202                    ; rt_sigreturn leaves NT and ID as they are here
  popfq
  mov dword ptr [rip + started], 1
  mov r12, r14
  mov r13d, RECORD_BYTES
read:
  xor eax, eax
  xor edi, edi
  mov rsi, r12
  mov edx, r13d
  syscall
  test rax, rax
  jle done
  add r12, rax
  sub r13, rax
  jne read
  mov rbx, ALIAS                ; the page of code: INT3, and the instructions up to its end
  mov rdi, rbx
  mov ecx, 0x1000
  mov eax, 0xcc
  rep stosb
  mov edx, [r14 + START_RIP]
  and edx, 0xfff
  mov ecx, 0x1000
  sub ecx, edx
  mov eax, [r14 + CODE_LENGTH]
  cmp ecx, eax
  jbe fits
  mov ecx, eax
fits:
  lea rdi, [rbx + rdx]
  lea rsi, [r14 + CODE_BYTES]
  rep movsb
  lea rdi, [rbx + 0x1000]       ; the window: zeros but for the regions
  mov ecx, 0x3000
  xor eax, eax
  rep stosb
  lea rsi, [r14 + MEMORY]
  lea rdi, [rbx + 0x1000]
  mov ecx, 128
  rep movsb
  lea rdi, [rbx + 0x1e00]
  mov ecx, 1024
  rep movsb
  lea rdi, [rbx + 0x2f80]
  mov ecx, 256
  rep movsb
  lea rdi, [rbx + 0x3f80]
  mov ecx, 128
  rep movsb
  mov rdi, [r15 + UC_FPSTATE]
  or dword ptr [rdi + 512], 3   ; XSTATE_BV: x87 and SSE are to be loaded
  lea rsi, [r14 + FXSAVE]
  mov ecx, 58                   ; the 48 bytes behind are the kernel's
  rep movsq
  mov rax, [r14]
  mov [r15 + UC_RAX], rax
  mov rax, [r14 + 8]
  mov [r15 + UC_RCX], rax
  mov rax, [r14 + 16]
  mov [r15 + UC_RDX], rax
  mov rax, [r14 + 24]
  mov [r15 + UC_RBX], rax
  mov rax, [r14 + 32]
  mov [r15 + UC_RSP], rax
  mov rax, [r14 + 40]
  mov [r15 + UC_RBP], rax
  mov rax, [r14 + 48]
  mov [r15 + UC_RSI], rax
  mov rax, [r14 + 56]
  mov [r15 + UC_RDI], rax
  lea rdi, [r15 + UC_R8]
  lea rsi, [r14 + 64]
  mov ecx, 8
  rep movsq
  mov rax, [r14 + START_RIP]
  mov [r15 + UC_RIP], rax
  mov rax, [r14 + RFLAGS]
  mov [r15 + UC_EFLAGS], rax
  movzx eax, word ptr [r14 + CS_SELECTOR]
  mov [r15 + UC_CS], ax
  movzx eax, word ptr [r14 + SS_SELECTOR]
  mov [r15 + UC_SS], ax
  movzx eax, word ptr [r14 + DS_SELECTOR]
  mov ds, ax
  mov es, ax
  mov dword ptr [rip + ticks], 0
  ret
done:
  mov eax, 60
  xor edi, edi
  syscall

.data
.align 16
action:       .quad handler, 0x0c000004, restorer, -1   ; SA_SIGINFO | SA_ONSTACK | SA_RESTORER; all signals wait
signal_stack: .quad stack, 0, 0x10000
timer:        .quad 0, 50000, 0, 50000                  ; every 50 ms
; struct user_desc: number, base, limit, flags (contents << 1: 2 is code; useable)
descriptors:  .long 0, CODE, 0xffff, 0x44
              .long 1, CODE, 0xffff, 0x40
ticks:        .long 0
started:      .long 0
.bss
.align 64
record:       .space RECORD_BYTES
stack:        .space 0x10000
`

/** The program as an ELF file. */
export function nativeHarness(): Uint8Array {
  return assembleElf(source, {
    origin: ORIGIN,
    symbols: {
      ALIAS,
      CODE: CODE_BASE,
      WINDOW: WINDOW_BASE,
      READ_ONLY: WINDOW_READ_ONLY,
      FS_BASE,
      GS_BASE,
      RECORD_BYTES: IMAGE_BYTES,
    },
  }).bytes
}
