/**
 * One row per instruction form, in the notation of Intel's manual (SDM volume 2, "Instruction format"):
 *
 *     form('ADD r/m32, r32', '01 /r', add, { lock: true })
 *     form('ADD r/m64, imm32s', 'REX.W + 81 /0 id', add, { lock: true })
 *     form('MOVAPS xmm1, xmm2/m128', 'NP 0F 28 /r', movaps, { feature: 'sse' })
 *
 * Additions to the manual's notation: `imm8s`, `imm16s`, `imm32s` are immediates that are sign-extended to the width of
 * the first operand (plain `imm8` is zero-extended); `o16`, `o32` in the encoding demand an operand size where no
 * operand tells it (`o16 A5` is MOVSW); `a16`, `a32`, `a64` likewise an address size. Otherwise the operand size comes
 * from the general-purpose operands: r/m16 means 16 bits, r/m32 means 32 bits, `REX.W +` means 64; a 64-bit operand
 * without REX.W is a form whose default size is 64 bits in 64-bit mode (PUSH, CALL, JMP). A form with only 8-bit, or
 * without any, general operands does not look at the operand size.
 *
 * Encoding tokens, in the manual's order:
 *
 *     NP | 66 | F2 | F3    mandatory prefix; NP: none of the three. Without a token the form is found whatever these
 *                          prefixes are (66 is then the operand size, F2 and F3 repeat or mean nothing), unless
 *                          another form of the same opcode demands the prefix that is there.
 *     NFx                  neither F2 nor F3 (66 is the operand size)
 *     REX.W                demands W = 1. With a mandatory prefix: `66 REX.W 0F 6E /r`
 *     o16 o32 o64, a16 a32 a64
 *     0F, 0F 38, 0F 3A     opcode map; then the opcode byte, `50+rd` when its low three bits are a register
 *     /r, /0 to /7         ModRM. The operand with a memory alternative is ModRM.rm; of register-only operands the last
 *                          one is ModRM.rm (but CR and DR are always ModRM.reg). With /digit the register is ModRM.rm.
 *                          /r without an operand for it: ModRM.reg is ignored (SETcc).
 *     reg, mem             after /r or /digit: demands mod = 11 or mod != 11 where no operand tells (`NP 0F AE /5 reg`
 *                          is LFENCE). `m…` operands demand mod != 11 and register-only operands mod = 11 by
 *                          themselves; MOV to and from CR and DR ignores mod.
 *     D0, C0+i             a second byte: the whole ModRM byte (`0F 01 D0`, `F3 0F 1E FA`), or with ST(i) in it
 *     ib iw id io          immediates in the order of the operands; cb cw cd: rel8 to rel32; moffs needs no token
 *     VEX.LZ.F2.0F38.W1    VEX with vector length (128, 256, LZ, LIG), prefix, map, W; of two registers beside
 *                          ModRM.rm the first is ModRM.reg and the second VEX.vvvv; with /digit the register is vvvv
 *
 * A slot (opcode, prefix, digit) that has no form for an effective operand size is decoded as the form of the nearest
 * size: `LLDT r/m16` alone is found with any size, `IN EAX, DX` also with REX.W. An immediate that is the first operand
 * (PUSH) is extended to 64 bits, or to 16 or 32 with o16 or o32. `lock` forms take LOCK only when ModRM.rm is memory.
 */
import type { Builder } from '../ir/builder.ts'
import type { Operands } from './operands.ts'

/** What an operand of a form can be. */
export const operandKinds = [
  'r8',
  'r16',
  'r32',
  'r64',
  'r/m8',
  'r/m16',
  'r/m32',
  'r/m64',
  'r32/m16',
  'r64/m16',
  'r32/m8',
  'r64/m32',
  'm',
  'm8',
  'm16',
  'm32',
  'm64',
  'm80',
  'm128',
  'm256',
  'm512',
  'm16:16',
  'm16:32',
  'm16:64',
  'm16&64',
  'm16&16',
  'm32&32',
  'moffs8',
  'moffs16',
  'moffs32',
  'moffs64',
  'imm8',
  'imm16',
  'imm32',
  'imm64',
  'imm8s',
  'imm16s',
  'imm32s',
  'rel8',
  'rel16',
  'rel32',
  'ptr16:16',
  'ptr16:32',
  'AL',
  'AX',
  'EAX',
  'RAX',
  'CL',
  'DX',
  '1',
  '3',
  'CS',
  'DS',
  'ES',
  'SS',
  'FS',
  'GS',
  'Sreg',
  'CR',
  'DR',
  'ST(0)',
  'ST(i)',
  'mm',
  'mm/m32',
  'mm/m64',
  'xmm',
  'xmm/m8',
  'xmm/m16',
  'xmm/m32',
  'xmm/m64',
  'xmm/m128',
  'ymm',
  'ymm/m256',
  'r32/mm',
  'r/m32x',
  'r/m64x',
] as const
/** See `operandKinds`. */
export type OperandKind = (typeof operandKinds)[number]

/** The extension that a form belongs to, by its CPUID feature. */
export type Feature =
  | 'base'
  | 'x64'
  | 'fpu'
  | 'cx8'
  | 'cmov'
  | 'mmx'
  | 'fxsr'
  | 'sse'
  | 'sse2'
  | 'sse3'
  | 'ssse3'
  | 'sse4.1'
  | 'sse4.2'
  | 'sse4a'
  | 'popcnt'
  | 'cx16'
  | 'lahf'
  | 'movbe'
  | 'bmi1'
  | 'bmi2'
  | 'lzcnt'
  | 'adx'
  | 'aes'
  | 'pclmulqdq'
  | 'sha'
  | 'avx'
  | 'avx2'
  | 'fma'
  | 'f16c'
  | 'xsave'
  | 'fsgsbase'
  | 'rdrand'
  | 'rdseed'
  | 'rdtscp'
  | 'rdpid'
  | 'invpcid'
  | 'smap'
  | 'clflushopt'
  | 'clwb'
  | 'monitor'
  | 'umip'
  | 'pku'
  | 'prefetchw'
  | 'sysenter'

/** What a form is, beyond its encoding. */
export interface FormOptions {
  /** CPUID feature that the form needs. Default `base`. */
  readonly feature?: Feature
  /** Takes a LOCK prefix when its first operand is memory. */
  readonly lock?: boolean
  /** A string instruction: takes REP, REPE, REPNE; addresses come from RSI, RDI, the address size and a segment override. */
  readonly string?: boolean
  /** Uses an address-sized register without a memory operand (LOOP, JRCXZ, XLAT). */
  readonly addressSized?: boolean
  /** Valid in 64-bit mode only, or nowhere in it. Default: everywhere. */
  readonly mode?: 'only64' | 'no64'
  /** Arithmetic flags (Flag bits) that the manual leaves undefined after this form. */
  readonly undefinedFlags?: number
  /** Compiled into the interpreter's main function: what programs and kernels execute all the time. */
  readonly hot?: boolean
  /** Can be executed at CPL 3 without effect on anything but registers, flags and memory: testable on the host's CPU. */
  readonly user?: boolean
  /** Ends a decoded block: every form that may transfer control or change what the next instruction means. */
  readonly ends?: boolean
}

/** Semantics: emits the IR of one instruction of the form. */
export type Body = (b: Builder, o: Operands) => void

/** One instruction form: a row. */
export interface Form {
  /** Such as `ADD`. */
  readonly mnemonic: string
  readonly operands: readonly OperandKind[]
  /** Encoding in the manual's notation. */
  readonly encoding: string
  readonly body: Body
  readonly options: FormOptions
  /** The row's text: `ADD r/m32, r32`. Unique together with the encoding. */
  readonly text: string
}

const kinds = new Set<string>(operandKinds)
/** The manual numbers vector registers (xmm1, xmm2/m128, mm1 …); the position says it all. */
const unnumbered = (operand: string): string =>
  operand
    .replace(/^(xmm|ymm|mm|r32\/mm)\d/, '$1')
    .replace(/^CR0-CR7$/, 'CR')
    .replace(/^DR0-DR7$/, 'DR')

/** Defines a form. @param text - mnemonic and operands, @param encoding - opcode bytes in the manual's notation */
export function form(text: string, encoding: string, body: Body, options: FormOptions = {}): Form {
  const space = text.indexOf(' ')
  const mnemonic = space < 0 ? text : text.slice(0, space)
  const operands =
    space < 0
      ? []
      : text
          .slice(space + 1)
          .split(',')
          .map((operand) => unnumbered(operand.trim()))
  for (const operand of operands)
    if (!kinds.has(operand)) throw new RangeError(`form ${text}: operand kind ${operand} is not known`)
  return { mnemonic, operands: operands as OperandKind[], encoding, body, options, text }
}
