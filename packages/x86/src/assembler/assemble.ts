/**
 * The assembler: Intel syntax, one statement a line. Test guests, fixtures and the harness that runs on the
 * host's CPU are written in it.
 *
 *     start:  mov   eax, dword ptr [rip + value]   ; comments with ; or #
 *     .loop:  lock add qword ptr fs:[rbx + rcx*8 - 16], 1
 *             jnz   .loop                          # a local label belongs to the label before it
 *     1:      jmp   1b
 *     value:  .long 5, value - start
 *
 * Directives: .byte .word .long .quad .ascii .asciz .float .double .align .p2align .space .fill .org .equ (name = value)
 * .text .rodata .data .bss .section name, "awx". A size keyword (`dword ptr`) is needed where no operand tells. A bare
 * label is its address; `[rip + label]` is relative, `[label]` absolute. `.org` is an offset in the section.
 *
 * .rept and .macro are in macro.ts. .code16, .code32 and .code64 switch the kind of code. No relocations.
 */

import type { Form } from '../isa/form.ts'
import { forms as allForms } from '../isa/forms.ts'
import { elfFile } from './elf.ts'
import { type Layout, layOut, type Section } from './layout.ts'
import { parse } from './statement.ts'

/** What the assembler is told besides the source. */
export interface AssembleOptions {
  /** Address of the first byte. Default 0 (assemble), 0x400000 (assembleElf). */
  readonly origin?: number | bigint
  /** Symbols that the source may use. */
  readonly symbols?: Readonly<Record<string, number | bigint>>
  /** Instructions that are known. Default: every form of this package. */
  readonly forms?: readonly Form[]
  /** Kind of code at the start. Default 64. */
  readonly mode?: 64 | 32 | 16
  /** Most bytes of a section. Default 64 MiB. */
  readonly maxSectionBytes?: number
}

/** Flat code and data, with their addresses. */
export interface Assembled {
  /** Sections one after another from `origin`: text, rodata, data; the zeros of bss are included. */
  readonly bytes: Uint8Array
  /** Address of the first byte. */
  readonly origin: bigint
  /** Labels and names, local labels as `label.local`. */
  readonly symbols: ReadonlyMap<string, bigint>
  readonly sections: readonly Section[]
}

/** An executable file. */
export interface AssembledElf {
  /** An ELF64 executable, statically linked. */
  readonly bytes: Uint8Array
  /** Address of `_start`, or of the first section. */
  readonly entry: bigint
  readonly symbols: ReadonlyMap<string, bigint>
  readonly sections: readonly Section[]
}

function run(source: string, options: AssembleOptions, origin: bigint, sectionAlignment: bigint): Layout {
  const symbols = new Map(Object.entries(options.symbols ?? {}).map(([name, value]) => [name, BigInt(value)]))
  return layOut(parse(source, options.forms ?? allForms, options.mode ?? 64), {
    origin,
    sectionAlignment,
    symbols,
    maxSectionBytes: options.maxSectionBytes ?? 64 << 20,
  })
}

/** Assembles to flat bytes; sections follow each other at multiples of 16. @throws AssemblerError with the line */
export function assemble(source: string, options: AssembleOptions = {}): Assembled {
  const origin = BigInt(options.origin ?? 0)
  const { sections, symbols } = run(source, options, origin, 16n)
  const last = sections.at(-1)
  const bytes = new Uint8Array(last ? Number(last.address - origin) + last.bytes.length : 0)
  for (const section of sections) bytes.set(section.bytes, Number(section.address - origin))
  return { bytes, origin, symbols, sections }
}

/**
 * Assembles to a static ELF64 executable: each section is a segment with permissions of its own, the entry is `_start`
 * (without one, the start of .text).
 * @throws AssemblerError with the line
 */
export function assembleElf(source: string, options: AssembleOptions = {}): AssembledElf {
  const origin = BigInt(options.origin ?? 0x40_0000)
  const { sections, symbols } = run(source, options, origin, 4096n)
  const entry = symbols.get('_start') ?? sections[0]?.address ?? origin
  return { bytes: elfFile(sections, entry), entry, symbols, sections }
}
