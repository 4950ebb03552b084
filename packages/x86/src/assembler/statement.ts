/**
 * Statements: source text to a list of labels, data, directives and instructions with their forms found. What has
 * addresses in it is evaluated later, in passes (layout.ts).
 */
import type { Form } from '../isa/form.ts'
import { Segment } from '../state-layout.ts'
import { AssemblerError } from './error.ts'
import { type Expression, parseExpression, SyntaxProblem } from './expression.ts'
import { Cursor, tokenize } from './lexer.ts'
import { expandMacros } from './macro.ts'
import { type CodeBits, formsOfMode, waiting } from './mnemonic.ts'
import { type ParsedOperand, parseOperand } from './operand.ts'
import { type Instruction, resolve } from './select.ts'

interface Place {
  /** Line number from 1. */
  readonly line: number
  readonly text: string
}

export type Statement = Place &
  (
    | { readonly type: 'label'; readonly name: string }
    | { readonly type: 'section'; readonly name: string; readonly flags?: string }
    | { readonly type: 'equ'; readonly name: string; readonly value: Expression }
    | { readonly type: 'data'; readonly bytes: number; readonly values: readonly Expression[] }
    | { readonly type: 'raw'; readonly bytes: Uint8Array }
    | {
        readonly type: 'align'
        readonly alignment: Expression
        readonly power: boolean
        readonly fill?: Expression
      }
    | {
        readonly type: 'space'
        readonly count: Expression
        readonly unit: number
        readonly fill?: Expression
      }
    | { readonly type: 'org'; readonly offset: Expression }
    | { readonly type: 'instruction'; readonly instruction: Instruction }
  )

const dataBytes: Readonly<Record<string, number>> = {
  '.byte': 1,
  '.db': 1,
  '.word': 2,
  '.short': 2,
  '.2byte': 2,
  '.value': 2,
  '.hword': 2,
  '.long': 4,
  '.int': 4,
  '.4byte': 4,
  '.quad': 8,
  '.8byte': 8,
}
const ignored = new Set([
  '.global',
  '.globl',
  '.intel_syntax',
  '.type',
  '.size',
  '.file',
  '.ident',
  '.p2align_none',
])
const rawPrefixes: Readonly<Record<string, number>> = { notrack: 0x3e, bnd: 0xf2, data16: 0x66 }
const repeats: Readonly<Record<string, 'rep' | 'repne'>> = {
  rep: 'rep',
  repe: 'rep',
  repz: 'rep',
  repne: 'repne',
  repnz: 'repne',
}

/** Parses a source text. @param mode - kind of code until a directive says otherwise @throws AssemblerError */
export function parse(source: string, allForms: readonly Form[], startMode: CodeBits = 64): Statement[] {
  const statements: Statement[] = []
  const names = new LabelNames()
  let mode = startMode
  let forms = formsOfMode(allForms, mode)
  for (const { line, text: raw } of expandMacros(source)) {
    const text = raw.trim()
    const tokens = tokenize(raw)
    if (typeof tokens === 'number')
      throw new AssemblerError(line, text, `column ${tokens + 1} is not understood`)
    const cursor = new Cursor(tokens)
    const directive = /^\.code(16|32|64)\b/.exec(text)
    if (directive) {
      mode = Number(directive[1]) as CodeBits
      forms = formsOfMode(allForms, mode)
      continue
    }
    try {
      for (const statement of parseLine(cursor, names, forms, mode))
        statements.push({ line, text, ...statement } as Statement)
    } catch (error) {
      if (error instanceof SyntaxProblem) throw new AssemblerError(line, text, error.message)
      throw error
    }
  }
  return statements
}

/** Local labels: `.name` belongs to the label before it; `1:` may come again and again. */
class LabelNames {
  #global = ''
  readonly #counts = new Map<string, number>()

  define(name: string): string {
    if (/^\d+$/.test(name)) {
      const count = (this.#counts.get(name) ?? 0) + 1
      this.#counts.set(name, count)
      return `${name}#${count}`
    }
    if (name.startsWith('.')) return this.#global + name
    this.#global = name
    return name
  }

  readonly refer = (name: string): string => {
    const numeric = /^(\d+)([bf])$/.exec(name)
    if (numeric) {
      const count = this.#counts.get(numeric[1]!) ?? 0
      return `${numeric[1]}#${numeric[2] === 'b' ? count : count + 1}`
    }
    return name.startsWith('.') ? this.#global + name : name
  }
}

type Unplaced = Statement extends infer S ? (S extends Place ? Omit<S, keyof Place> : never) : never

function* parseLine(
  cursor: Cursor,
  names: LabelNames,
  forms: readonly Form[],
  mode: CodeBits,
): Generator<Unplaced> {
  while (!cursor.done && cursor.at(':', 1)) {
    const token = cursor.peek()!
    if (token.type !== 'name' && token.type !== 'number') break
    cursor.position += 2
    yield { type: 'label', name: names.define(token.text) }
  }
  if (cursor.done) return
  const token = cursor.peek()!
  if (token.type !== 'name') throw new SyntaxProblem(`'${token.text}' begins no statement`)
  if (cursor.at('=', 1)) {
    cursor.position += 2
    yield { type: 'equ', name: names.refer(token.text), value: parseExpression(cursor, names.refer) }
  } else if (token.text.startsWith('.')) {
    cursor.next()
    yield* parseDirective(token.text.toLowerCase(), cursor, names)
  } else yield* parseInstruction(cursor, names, forms, mode)
  if (!cursor.done) throw new SyntaxProblem(`'${cursor.peek()!.text}' is too much`)
}

function* parseDirective(name: string, cursor: Cursor, names: LabelNames): Generator<Unplaced> {
  const expression = (): Expression => parseExpression(cursor, names.refer)
  const size = dataBytes[name]
  if (size !== undefined) {
    yield* parseData(size, cursor, names)
    return
  }
  switch (name) {
    case '.text':
    case '.data':
    case '.rodata':
    case '.bss':
      yield { type: 'section', name }
      return
    case '.section': {
      const token = cursor.next()
      if (token?.type !== 'name' && token?.type !== 'string')
        throw new SyntaxProblem('a section name is missing')
      let flags: string | undefined
      if (cursor.take(',')) flags = cursor.next()?.text
      // @progbits, @nobits
      while (cursor.take(',')) cursor.next()
      yield { type: 'section', name: token.text, ...(flags === undefined ? {} : { flags }) }
      return
    }
    case '.ascii':
    case '.asciz':
    case '.string':
      do {
        const token = cursor.next()
        if (token?.type !== 'string') throw new SyntaxProblem('a string is missing')
        yield { type: 'raw', bytes: utf8(name === '.ascii' ? token.text : `${token.text}\0`) }
      } while (cursor.take(','))
      return
    case '.align':
    case '.balign':
    case '.p2align': {
      const alignment = expression()
      const fill = cursor.take(',') ? expression() : undefined
      yield { type: 'align', alignment, power: name === '.p2align', ...(fill ? { fill } : {}) }
      return
    }
    case '.space':
    case '.skip':
    case '.zero': {
      const count = expression()
      const fill = cursor.take(',') ? expression() : undefined
      yield { type: 'space', count, unit: 1, ...(fill ? { fill } : {}) }
      return
    }
    case '.fill': {
      const count = expression()
      let unit = 1
      if (cursor.take(',')) unit = Number(cursor.next()?.value ?? 1n)
      if (unit < 1 || unit > 8) throw new SyntaxProblem('.fill of 1 to 8 bytes')
      const fill = cursor.take(',') ? expression() : undefined
      yield { type: 'space', count, unit, ...(fill ? { fill } : {}) }
      return
    }
    case '.float':
    case '.single':
    case '.double':
      yield { type: 'raw', bytes: parseFloats(name === '.double', cursor) }
      return
    case '.org':
      yield { type: 'org', offset: expression() }
      return
    case '.equ':
    case '.set': {
      const token = cursor.next()
      if (token?.type !== 'name' || !cursor.take(',')) throw new SyntaxProblem('.equ name, value')
      yield { type: 'equ', name: names.refer(token.text), value: expression() }
      return
    }
  }
  if (!ignored.has(name)) throw new SyntaxProblem(`no directive ${name}`)
  while (!cursor.done) cursor.next()
}

function* parseData(bytes: number, cursor: Cursor, names: LabelNames): Generator<Unplaced> {
  let values: Expression[] = []
  do {
    if (cursor.peek()?.type === 'string' && bytes === 1) {
      if (values.length > 0) yield { type: 'data', bytes, values }
      values = []
      yield { type: 'raw', bytes: utf8(cursor.next()!.text) }
    } else values.push(parseExpression(cursor, names.refer))
  } while (cursor.take(','))
  if (values.length > 0) yield { type: 'data', bytes, values }
}

function parseFloats(double: boolean, cursor: Cursor): Uint8Array {
  const values: number[] = []
  do {
    let text = ''
    while (!cursor.done && !cursor.at(',')) text += cursor.next()!.text
    const value = /^[-+]?inf$/i.test(text) ? (text.startsWith('-') ? -Infinity : Infinity) : Number(text)
    if (Number.isNaN(value) && !/^[-+]?nan$/i.test(text)) throw new SyntaxProblem(`${text} is no number`)
    values.push(value)
  } while (cursor.take(','))
  const size = double ? 8 : 4
  const bytes = new Uint8Array(values.length * size)
  const view = new DataView(bytes.buffer)
  values.forEach((value, index) => {
    if (double) view.setFloat64(index * 8, value, true)
    else view.setFloat32(index * 4, value, true)
  })
  return bytes
}

function* parseInstruction(
  cursor: Cursor,
  names: LabelNames,
  forms: readonly Form[],
  mode: CodeBits,
): Generator<Unplaced> {
  let lock = false
  let repeat: 'rep' | 'repne' | undefined
  let addressBits: 16 | 32 | undefined
  let segment: number | undefined
  const raw: number[] = []
  for (;;) {
    const name = cursor.name()
    // A prefix is followed by another name.
    if (name === undefined || (cursor.peek(1)?.type !== 'name' && name !== 'lock')) break
    if (name === 'lock') lock = true
    else if (Object.hasOwn(repeats, name)) repeat = repeats[name]
    else if (name === 'addr32') addressBits = 32
    else if (name === 'addr16') addressBits = 16
    else if (Object.hasOwn(rawPrefixes, name)) raw.push(rawPrefixes[name]!)
    else if (Object.hasOwn(Segment, name) && name.length === 2 && name !== 'tr')
      segment = Segment[name as keyof typeof Segment]
    else break
    cursor.next()
  }
  const token = cursor.next()
  if (token?.type !== 'name') throw new SyntaxProblem('an instruction is missing')
  let mnemonic = token.text.toUpperCase()
  const operands: ParsedOperand[] = []
  if (!cursor.done) {
    do operands.push(parseOperand(cursor, names.refer, mode))
    while (cursor.take(','))
  }
  const wait = waiting[mnemonic]
  if (wait !== undefined) {
    mnemonic = wait
    raw.unshift(0x9b)
  }
  if (mnemonic === 'JECXZ') addressBits = 32
  if (mnemonic === 'JCXZ') addressBits = 16
  const build = (repeated: boolean, prefixes: readonly number[]): Instruction =>
    resolve(
      forms,
      mnemonic,
      operands,
      {
        mode,
        ...(lock ? { lock } : {}),
        ...(repeated ? { repeat: repeat! } : {}),
        ...(addressBits ? { addressBits } : {}),
        ...(segment === undefined ? {} : { segment }),
      },
      prefixes,
    )
  let instruction = build(false, raw)
  if (repeat) {
    // On forms that do not repeat the prefix is only bytes (rep ret).
    const string = instruction.candidates.every(({ form }) => form.options.string)
    instruction = string ? build(true, raw) : build(false, [...raw, repeat === 'rep' ? 0xf3 : 0xf2])
  }
  yield { type: 'instruction', instruction }
}

/** UTF-8 without a host's encoder. */
function utf8(text: string): Uint8Array {
  const bytes: number[] = []
  for (const character of text) {
    const code = character.codePointAt(0)!
    if (code < 0x80) bytes.push(code)
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63))
    else if (code < 0x1_0000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63))
    else
      bytes.push(
        0xf0 | (code >> 18),
        0x80 | ((code >> 12) & 63),
        0x80 | ((code >> 6) & 63),
        0x80 | (code & 63),
      )
  }
  return Uint8Array.from(bytes)
}
