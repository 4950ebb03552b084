/**
 * Names of instructions: which forms a mnemonic in a source text may mean. Forms have one name each; the manual's other
 * names for the same encoding (JZ for JE) and the usual names of assemblers are here, for assembler and disassembler.
 */
import { encodingOf } from '../isa/encoding.ts'
import type { Form } from '../isa/form.ts'

const conditionGroups = [
  ['O'],
  ['NO'],
  ['B', 'C', 'NAE'],
  ['AE', 'NB', 'NC'],
  ['E', 'Z'],
  ['NE', 'NZ'],
  ['BE', 'NA'],
  ['A', 'NBE'],
  ['S'],
  ['NS'],
  ['P', 'PE'],
  ['NP', 'PO'],
  ['L', 'NGE'],
  ['GE', 'NL'],
  ['LE', 'NG'],
  ['G', 'NLE'],
]

/** Other names, both ways. */
const synonyms: readonly (readonly string[])[] = [
  ['SHL', 'SAL'],
  ['FWAIT', 'WAIT'],
  ['XLATB', 'XLAT'],
  ['RET', 'RETN'],
  ['RETF', 'LRET'],
  ['LOOPE', 'LOOPZ'],
  ['LOOPNE', 'LOOPNZ'],
  ['INT1', 'ICEBP'],
  ['PUSHF', 'PUSHFQ', 'PUSHFD'],
  ['POPF', 'POPFQ', 'POPFD'],
  ['PUSHA', 'PUSHAD'],
  ['POPA', 'POPAD'],
  ['JRCXZ', 'JECXZ', 'JCXZ'],
  ['MOV', 'MOVABS'],
  ['LEAVE', 'LEAVEQ'],
  ['CALL', 'LCALL'],
  ['JMP', 'LJMP'],
  ['SYSRET', 'SYSRETL'],
]

/** CMPEQPS is CMPPS with an immediate. */
const comparisons = ['EQ', 'LT', 'LE', 'UNORD', 'NEQ', 'NLT', 'NLE', 'ORD']

/** x87 instructions that are FWAIT and another instruction. */
export const waiting: Readonly<Record<string, string>> = {
  FINIT: 'FNINIT',
  FSTCW: 'FNSTCW',
  FSTSW: 'FNSTSW',
  FCLEX: 'FNCLEX',
  FSAVE: 'FNSAVE',
  FSTENV: 'FNSTENV',
}

export interface Meaning {
  readonly forms: readonly Form[]
  /** An immediate that the mnemonic stands for, after the operands. */
  readonly immediate?: number
}

const indexes = new WeakMap<readonly Form[], Map<string, Form[]>>()

function indexOf(forms: readonly Form[]): Map<string, Form[]> {
  let index = indexes.get(forms)
  if (index) return index
  index = new Map<string, Form[]>()
  const put = (name: string, form: Form): void => {
    const list = index!.get(name)
    if (!list) index!.set(name, [form])
    else if (!list.includes(form)) list.push(form)
  }
  for (const form of forms) {
    const { mnemonic } = form
    put(mnemonic, form)
    const conditional = /^(J|SET|CMOV)(N?[A-Z]E?)$/.exec(mnemonic)
    const group = conditional && conditionGroups.find((names) => names.includes(conditional[2]!))
    for (const name of group ?? []) put(conditional![1] + name, form)
    for (const names of synonyms) if (names.includes(mnemonic)) for (const name of names) put(name, form)
  }
  indexes.set(forms, index)
  return index
}

/** Bits of code. */
export type CodeBits = 64 | 32 | 16

const byMode = new WeakMap<readonly Form[], Map<CodeBits, readonly Form[]>>()

/** The forms that code of so many bits has, without those that would need a prefix to mean what they say. */
export function formsOfMode(forms: readonly Form[], mode: CodeBits): readonly Form[] {
  const lists = byMode.get(forms) ?? new Map<CodeBits, readonly Form[]>()
  byMode.set(forms, lists)
  let list = lists.get(mode)
  if (!list) {
    list = forms.filter((form) => {
      if (form.options.mode === (mode === 64 ? 'no64' : 'only64')) return false
      if (mode === 64) return true
      const { w, default64, relativeBytes } = encodingOf(form)
      // A near branch of the other size cuts EIP, or is a prefix longer.
      return !w && !default64 && relativeBytes !== (mode === 32 ? 2 : 4)
    })
    lists.set(mode, list)
  }
  return list
}

/** What a mnemonic (upper case) may mean, or undefined. */
export function meaningOf(forms: readonly Form[], mnemonic: string): Meaning | undefined {
  const index = indexOf(forms)
  const direct = index.get(mnemonic)
  if (direct) return { forms: direct }
  // PUSHW, LEAVEW: the 16-bit form of a name.
  if (mnemonic.endsWith('W')) {
    const narrow = index.get(mnemonic.slice(0, -1))?.filter((form) => encodingOf(form).explicitSize === 16)
    if (narrow && narrow.length > 0) return { forms: narrow }
  }
  const comparison = /^CMP(EQ|LT|LE|UNORD|NEQ|NLT|NLE|ORD)(PS|PD|SS|SD)$/.exec(mnemonic)
  const compared = comparison && index.get(`CMP${comparison[2]}`)
  if (compared) return { forms: compared, immediate: comparisons.indexOf(comparison[1]!) }
  return undefined
}
