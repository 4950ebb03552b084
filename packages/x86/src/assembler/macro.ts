/**
 * Repetition and macros, expanded as text before statements are parsed:
 *
 *     .rept 4                      .macro gate number, type=0x8e
 *       .quad 0                      .word \number, \type
 *     .endr                        .endm
 *
 * `\@` is a number that differs in every expansion, for labels. The count of .rept is a literal.
 */
import { AssemblerError } from './error.ts'

export interface Line {
  /** Line number from 1, of the place where the text is written. */
  readonly line: number
  readonly text: string
}

interface Macro {
  readonly parameters: readonly { readonly name: string; readonly value: string | undefined }[]
  readonly body: readonly Line[]
}

/** Most lines that a source may become. */
const MAX_LINES = 1 << 20
const MAX_DEPTH = 64

/** Expands the lines of a source. @throws AssemblerError */
export function expandMacros(source: string): Line[] {
  const lines = source.split('\n').map((text, index) => ({ line: index + 1, text }))
  const result: Line[] = []
  new Expansion(result).expand(lines, 0)
  return result
}

class Expansion {
  readonly #result: Line[]
  readonly #macros = new Map<string, Macro>()
  #count = 0

  constructor(result: Line[]) {
    this.#result = result
  }

  expand(lines: readonly Line[], depth: number): void {
    for (let index = 0; index < lines.length; index++) {
      const { line, text } = lines[index]!
      const word = /^\s*([.\w]+)/.exec(text)?.[1]?.toLowerCase()
      const rest = (): string =>
        text
          .replace(/^\s*[.\w]+/, '')
          .replace(/[;#].*/, '')
          .trim()
      if (word === '.rept') {
        const end = closing(lines, index, '.rept', '.endr')
        const count = Number(rest())
        if (!Number.isInteger(count) || count < 0) throw new AssemblerError(line, text.trim(), '.rept count')
        const body = lines.slice(index + 1, end)
        for (let round = 0; round < count; round++) this.#nested(body, depth, lines[index]!, [])
        index = end
      } else if (word === '.macro') {
        const end = closing(lines, index, '.macro', '.endm')
        const [name = '', ...parameters] = rest().split(/[\s,]+/)
        if (name === '') throw new AssemblerError(line, text.trim(), 'a macro name is missing')
        this.#macros.set(name.toLowerCase(), {
          parameters: parameters.map((parameter) => {
            const [parameterName = '', value] = parameter.split('=')
            return { name: parameterName, value }
          }),
          body: lines.slice(index + 1, end),
        })
        index = end
      } else if (word === '.endr' || word === '.endm')
        throw new AssemblerError(line, text.trim(), `${word} without its beginning`)
      else {
        const macro = word === undefined ? undefined : this.#macros.get(word)
        if (!macro) {
          if (this.#result.length >= MAX_LINES) throw new AssemblerError(line, text.trim(), 'too many lines')
          this.#result.push(lines[index]!)
          continue
        }
        const values =
          rest() === ''
            ? []
            : rest()
                .split(',')
                .map((value) => value.trim())
        if (values.length > macro.parameters.length)
          throw new AssemblerError(
            line,
            text.trim(),
            `${macro.parameters.length} parameters, ${values.length} given`,
          )
        const bindings = macro.parameters.map(({ name, value }, position): readonly [string, string] => {
          const bound = values[position] || value
          if (bound === undefined) throw new AssemblerError(line, text.trim(), `parameter ${name} is missing`)
          return [name, bound]
        })
        this.#nested(macro.body, depth, lines[index]!, bindings)
      }
    }
  }

  #nested(
    body: readonly Line[],
    depth: number,
    place: Line,
    bindings: readonly (readonly [string, string])[],
  ): void {
    if (depth >= MAX_DEPTH) throw new AssemblerError(place.line, place.text.trim(), 'macros nest too deep')
    const values = new Map([...bindings, ['@', String(this.#count++)]])
    const substituted = body.map(({ line, text }) => ({
      line,
      text: text.replace(/\\(@|\w+)(?:\(\))?/g, (whole, name: string) => values.get(name) ?? whole),
    }))
    this.expand(substituted, depth + 1)
  }
}

/** Index of the line that closes the block opened at `start`. */
function closing(lines: readonly Line[], start: number, open: string, close: string): number {
  let depth = 0
  for (let index = start; index < lines.length; index++) {
    const word = /^\s*([.\w]+)/.exec(lines[index]!.text)?.[1]?.toLowerCase()
    if (word === open) depth++
    else if (word === close && --depth === 0) return index
  }
  throw new AssemblerError(lines[start]!.line, lines[start]!.text.trim(), `${close} is missing`)
}
