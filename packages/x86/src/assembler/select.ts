/**
 * Which form an instruction of the source means, and its bytes: of all forms whose operands match, the shortest
 * encoding. An instruction never gets shorter from one pass to the next, so that branches settle.
 */
import { EncodeError, type EncodeOperand, type EncodeOptions, encodeForm } from '../isa/encoder.ts'
import { encodingOf, isMemoryKind, takesMemory } from '../isa/encoding.ts'
import type { Form, OperandKind } from '../isa/form.ts'
import { operandBits, segmentNumber } from '../isa/operands.ts'
import { constant, type Scope, SyntaxProblem } from './expression.ts'
import { meaningOf } from './mnemonic.ts'
import type { Memory, ParsedOperand, Register } from './operand.ts'

/** An instruction of the source. */
export interface Instruction {
  readonly mnemonic: string
  readonly operands: readonly ParsedOperand[]
  readonly options: EncodeOptions
  /** Bytes in front that are prefixes without a meaning for the form. */
  readonly rawPrefixes: readonly number[]
  /** Forms that match, and the operands as each of them takes them. */
  readonly candidates: readonly Candidate[]
}

interface Candidate {
  readonly form: Form
  /** By operand of the form. */
  readonly operands: readonly (ParsedOperand | undefined)[]
}

/** Finds the forms that an instruction may be. @throws SyntaxProblem if there is none, or a size has to be told */
export function resolve(
  forms: readonly Form[],
  mnemonic: string,
  operands: readonly ParsedOperand[],
  options: EncodeOptions,
  rawPrefixes: readonly number[],
): Instruction {
  const meaning = meaningOf(forms, mnemonic)
  if (!meaning) throw new SyntaxProblem(`no instruction ${mnemonic}`)
  const given: ParsedOperand[] =
    meaning.immediate === undefined
      ? [...operands]
      : [...operands, { type: 'constant', value: constant(BigInt(meaning.immediate)), branchBytes: 0 }]
  let candidates: Candidate[] = []
  for (const spelling of spellings(given, mnemonic)) {
    candidates = meaning.forms.flatMap((form) => {
      const matched = match(form, spelling)
      return matched ? [{ form, operands: matched }] : []
    })
    if (candidates.length > 0) break
  }
  if (mnemonic === 'MOVABS')
    candidates = candidates.filter(({ form }) =>
      form.operands.some((kind) => kind.startsWith('moffs') || kind === 'imm64'),
    )
  if (candidates.length === 0 && mnemonic === 'MOVD') candidates = movdOfQuadwords(forms, given)
  // Forms of another size that only a token tells (PUSH imm16, o16 LEAVE) are not meant without a word.
  const mode = options.mode ?? 64
  const other = mode === 16 ? 32 : 16
  const natural = candidates.filter(({ form }) => {
    const far = form.operands[0]?.startsWith('ptr16:')
    return far
      ? farMeant(form, given, mode)
      : encodingOf(form).explicitSize !== other || explicitName(mnemonic)
  })
  if (natural.length > 0) candidates = natural
  if (candidates.length === 0) throw new SyntaxProblem(`${mnemonic} does not take these operands`)

  // Memory without a size keyword: all forms that match must agree on its size.
  if (given.some((operand) => operand.type === 'memory' && operand.bits === 0)) {
    const preferred = candidates.filter(({ form }) => encodingOf(form).default64)
    if (preferred.length > 0) candidates = preferred
    const widths = new Set(
      candidates.map(({ form, operands }) => {
        const index = operands.findIndex((operand) => operand?.type === 'memory')
        return index < 0 ? 0 : operandBits(form.operands[index]!, true)
      }),
    )
    if (widths.size > 1) throw new SyntaxProblem('the size of the memory operand is not clear')
  }
  return { mnemonic, operands: given, options, rawPrefixes, candidates }
}

/** Names that tell their size by themselves. */
const explicitName = (mnemonic: string): boolean => /^(PUSHAD|POPAD|PUSHFD|POPFD|IRETD)$/.test(mnemonic)

/** Whether a far pointer in the code has the size that is meant: told by a keyword, else that of the mode. */
function farMeant(form: Form, given: readonly ParsedOperand[], mode: 64 | 32 | 16): boolean {
  const [operand] = given
  const told = operand?.type === 'constant' ? operand.farBits : undefined
  return form.operands[0] === `ptr16:${told ?? mode}`
}

/** MOVD with a 64-bit general register is MOVQ. */
function movdOfQuadwords(forms: readonly Form[], given: readonly ParsedOperand[]): Candidate[] {
  return (meaningOf(forms, 'MOVQ')?.forms ?? []).flatMap((form) => {
    const matched = form.operands.includes('r/m64') ? match(form, given) : undefined
    return matched ? [{ form, operands: matched }] : []
  })
}

const st = (number: number): Register => ({ type: 'register', class: 'x87', number, bits: 80 })

/** The operands as given, then with what assemblers let people leave out. */
function* spellings(given: readonly ParsedOperand[], mnemonic: string): Generator<readonly ParsedOperand[]> {
  yield given
  if (mnemonic.startsWith('F')) {
    const one = given[0]
    if (given.length === 0) {
      // Not FADD and its like: some assemblers take it as FADDP.
      if (/^F(ADD|MUL|SUBR?|DIVR?)$/.test(mnemonic)) return
      yield [st(1)]
      yield [st(1), st(0)]
      yield [st(0), st(1)]
    } else if (given.length === 1 && one?.type === 'register') {
      yield [st(0), one]
      yield [one, st(0)]
    } else if (given.length === 2 && one?.type === 'register' && one.number === 0) yield [given[1]!]
    return
  }
  // MOV DS, EAX: the width of the register does not matter.
  const first = given[0]
  const toSegment = mnemonic === 'MOV' && first?.type === 'register' && first.class === 'segment'
  if (toSegment || /^(LLDT|LTR|LMSW|VERR|VERW)$/.test(mnemonic))
    yield given.map((operand, index) =>
      operand.type === 'register' && operand.class === 'general' && index === given.length - 1
        ? { ...operand, bits: 16 }
        : operand,
    )
  if (mnemonic === 'IMUL' && given.length === 2) yield [given[0]!, given[0]!, given[1]!]
  const last = given.at(-1)
  // The implicit XMM0 of BLENDVPS and SHA256RNDS2.
  if (last?.type === 'register' && last.class === 'xmm' && last.number === 0) yield given.slice(0, -1)
  if (given.length === 1 && /^(SH[LR]|SA[LR]|RC[LR]|RO[LR])$/.test(mnemonic))
    yield [...given, { type: 'constant', value: constant(1n), branchBytes: 0 }]
}

function match(form: Form, given: readonly ParsedOperand[]): (ParsedOperand | undefined)[] | undefined {
  if (given.length !== form.operands.length) return undefined
  const result: (ParsedOperand | undefined)[] = []
  for (let index = 0; index < given.length; index++) {
    const kind = form.operands[index]!
    const operand = given[index]!
    if (!matches(kind, operand)) return undefined
    result.push(operand)
  }
  return result
}

function matches(kind: OperandKind, operand: ParsedOperand): boolean {
  if (operand.type === 'register') return matchesRegister(kind, operand)
  if (operand.type === 'memory') return matchesMemory(kind, operand)
  if (kind === '1' || kind === '3')
    return !operand.value.relocatable && operand.value.evaluate(zero) === BigInt(kind)
  if (operand.offset) return kind.startsWith('ptr')
  if (kind.startsWith('rel'))
    return (
      operand.branchBytes === 0 ||
      kind === `rel${operand.branchBytes * 8}` ||
      (operand.branchBytes === 4 && kind === 'rel16')
    )
  return kind.startsWith('imm') && operand.branchBytes === 0
}

const zero: Scope = { here: 0n, lookup: () => 0n }

const named: Readonly<Record<string, readonly [number, number]>> = {
  AL: [0, 8],
  AX: [0, 16],
  EAX: [0, 32],
  RAX: [0, 64],
  CL: [1, 8],
  DX: [2, 16],
}

function matchesRegister(kind: OperandKind, { class: cls, number, bits }: Register): boolean {
  switch (cls) {
    case 'general': {
      const fixed = named[kind]
      if (fixed) return number === fixed[0] && bits === fixed[1]
      return kind.startsWith('r') && !kind.startsWith('rel') && operandBits(kind) === bits
    }
    case 'segment':
      return kind === 'Sreg' || (kind.length === 2 && kind[1] === 'S' && segmentNumber(kind) === number)
    case 'control':
      return kind === 'CR'
    case 'debug':
      return kind === 'DR'
    case 'x87':
      return kind === 'ST(i)' || (kind === 'ST(0)' && number === 0)
    case 'mmx':
      return kind === 'mm' || kind.startsWith('mm/') || kind === 'r32/mm'
    case 'xmm':
      return kind.startsWith(bits === 256 ? 'ymm' : 'xmm')
    default:
      return false
  }
}

function matchesMemory(kind: OperandKind, operand: Memory): boolean {
  if (kind.startsWith('moffs')) {
    if (operand.base !== undefined || operand.index !== undefined || operand.ripRelative) return false
    return operand.bits === 0 || operand.bits === operandBits(kind)
  }
  if (!takesMemory(kind)) return false
  const far = kind.startsWith('m16:')
  if (far) {
    // m16:32 is an fword; LSS and the like need no keyword.
    const bits = 16 + Number(kind.slice(4))
    return operand.bits === bits || (operand.bits === 0 && (!operand.far || kind === 'm16:32'))
  }
  if (operand.far) return false
  if (operand.bits === 0 || kind === 'm' || kind === 'm16&64') return true
  const bits = operandBits(kind, true)
  return bits === operand.bits || (isMemoryKind(kind) && bits > 256)
}

/** An encoding of the instruction, at least `minimum` bytes long. @throws SyntaxProblem */
export function encodeInstruction(instruction: Instruction, scope: Scope, minimum: number): Uint8Array {
  const { candidates, rawPrefixes } = instruction
  let best: Uint8Array | undefined
  let problem: EncodeError | undefined
  for (const candidate of candidates) {
    for (const wide of [false, true]) {
      if (wide && (minimum === 0 || !candidate.operands.some((operand) => operand?.type === 'memory')))
        continue
      let bytes: Uint8Array
      try {
        bytes = encodeCandidate(candidate, instruction.options, scope, wide, rawPrefixes.length)
      } catch (error) {
        if (!(error instanceof EncodeError)) throw error
        problem ??= error
        continue
      }
      const length = bytes.length + rawPrefixes.length
      if (length >= minimum && (!best || bytes.length < best.length)) best = bytes
    }
  }
  if (!best) throw new SyntaxProblem(problem ? problem.message : 'cannot be encoded')
  return rawPrefixes.length === 0 ? best : Uint8Array.from([...rawPrefixes, ...best])
}

function encodeCandidate(
  { form, operands }: Candidate,
  options: EncodeOptions,
  scope: Scope,
  wide: boolean,
  prefixBytes: number,
): Uint8Array {
  const build = (nextRip: bigint | undefined): { operands: EncodeOperand[]; options: EncodeOptions } => {
    let { selector } = options
    const built = operands.map((operand, index): EncodeOperand => {
      if (!operand) return undefined
      if (operand.type === 'register') return operand.number
      if (operand.type === 'constant') {
        if (form.operands[index]!.startsWith('rel'))
          return nextRip === undefined ? 0n : operand.value.evaluate(scope) - nextRip
        if (operand.offset) {
          selector = Number(operand.value.evaluate(scope))
          return operand.offset.evaluate(scope)
        }
        return operand.value.evaluate(scope)
      }
      let displacement = operand.displacement.evaluate(scope)
      if (operand.ripRelative && operand.displacement.relocatable)
        displacement = nextRip === undefined ? 0n : displacement - nextRip
      const { base, index: indexRegister, scale, ripRelative, segment, addressBits } = operand
      return {
        ...(base === undefined ? {} : { base }),
        ...(indexRegister === undefined ? {} : { index: indexRegister }),
        scale,
        displacement,
        ripRelative,
        ...(segment === undefined ? {} : { segment }),
        addressBits,
        wideDisplacement: wide,
      }
    })
    return { operands: built, options: selector === undefined ? options : { ...options, selector } }
  }
  const relative =
    encodingOf(form).relativeBytes > 0 ||
    operands.some(
      (operand) => operand?.type === 'memory' && operand.ripRelative && operand.displacement.relocatable,
    )
  let built = build(undefined)
  if (relative) {
    const { length } = encodeForm(form, built.operands, built.options)
    built = build(scope.here + BigInt(length + prefixBytes))
  }
  return encodeForm(form, built.operands, built.options)
}
