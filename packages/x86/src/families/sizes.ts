/**
 * The operand sizes that families loop over, and how the manual's notation spells them.
 */
import { Access } from '../ir/op.ts'

export type Bits = 8 | 16 | 32 | 64

export const everySize: readonly Bits[] = [8, 16, 32, 64]
export const wordSizes: readonly Bits[] = [16, 32, 64]

/** Encoding prefix of a form whose operands tell 16 or 32 bits: only REX.W has to be said. */
export const rexW = (bits: Bits): string => (bits === 64 ? 'REX.W + ' : '')
/** Encoding prefix of a form whose operands do not tell the operand size (`o16 98` is CBW). */
export const operandSize = (bits: Bits): string => (bits === 64 ? 'REX.W + ' : bits === 8 ? '' : `o${bits} `)
/** Widest immediate of an operand size; with 64 bits it is sign-extended from 32. */
export const immediateKind = (bits: Bits): string => (bits === 64 ? 'imm32s' : `imm${bits}`)
export const immediateBytes = (bits: Bits): string => (bits === 8 ? 'ib' : bits === 16 ? 'iw' : 'id')
/** Register in the low bits of the opcode. */
export const opcodeRegister = (bits: Bits): string => (bits === 8 ? '+rb' : bits === 16 ? '+rw' : '+rd')
export const accumulator = (bits: Bits): string =>
  bits === 8 ? 'AL' : bits === 16 ? 'AX' : bits === 32 ? 'EAX' : 'RAX'
export const hex = (byte: number): string => byte.toString(16).toUpperCase().padStart(2, '0')
export const accessOf = (bits: number): Access =>
  bits === 8 ? Access.u8 : bits === 16 ? Access.u16 : bits === 32 ? Access.u32 : Access.u64

/** Conditions by code: the name that rows carry, as in JE, SETE, CMOVE. */
export const conditionNames: readonly string[] = [
  'O',
  'NO',
  'B',
  'AE',
  'E',
  'NE',
  'BE',
  'A',
  'S',
  'NS',
  'P',
  'NP',
  'L',
  'GE',
  'LE',
  'G',
]
