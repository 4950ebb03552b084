/**
 * Tokens of one line of assembly. Comments start with ';' or '#'. Numbers are decimal, 0x, 0o, 0b; `1b` and `1f` name
 * the numeric label before and after; 'a' is a character's code.
 */

export interface Token {
  readonly type: 'name' | 'number' | 'string' | 'label' | 'symbol'
  /** The token's text; of a string its contents. */
  readonly text: string
  readonly value: bigint
}

const pattern =
  /\s*(?:([;#].*)|(0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+)|(\d+[bf])(?![\w.])|(\d[\d_]*)|([A-Za-z_.$@?][\w.$@?]*)|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.))'|(<<|>>|[-,:[\](){}+*/%&|^~=!]))/y

const escapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '0': '\0', b: '\b', f: '\f' }

function unescaped(text: string): string {
  return text.replace(/\\(x[0-9a-fA-F]{1,2}|.)/g, (_, code: string) =>
    code.length > 1 ? String.fromCharCode(Number.parseInt(code.slice(1), 16)) : (escapes[code] ?? code),
  )
}

/** Splits a line. @returns the tokens, or the column where the line is not understood */
export function tokenize(line: string): Token[] | number {
  const tokens: Token[] = []
  pattern.lastIndex = 0
  const end = line.trimEnd().length
  while (pattern.lastIndex < end) {
    const column = pattern.lastIndex
    const match = pattern.exec(line)
    if (!match) return column
    const [, comment, radix, label, decimal, name, string, character, symbol] = match
    if (comment !== undefined) break
    if (radix !== undefined || decimal !== undefined) {
      const text = (radix ?? decimal)!.replaceAll('_', '')
      tokens.push({ type: 'number', text, value: BigInt(text) })
    } else if (label !== undefined) tokens.push({ type: 'label', text: label, value: 0n })
    else if (name !== undefined) tokens.push({ type: 'name', text: name, value: 0n })
    else if (string !== undefined) tokens.push({ type: 'string', text: unescaped(string), value: 0n })
    else if (character !== undefined) {
      const text = unescaped(character)
      tokens.push({ type: 'number', text, value: BigInt(text.codePointAt(0)!) })
    } else tokens.push({ type: 'symbol', text: symbol!, value: 0n })
  }
  return tokens
}

/** A place in a list of tokens. */
export class Cursor {
  readonly tokens: readonly Token[]
  position = 0

  constructor(tokens: readonly Token[]) {
    this.tokens = tokens
  }

  get done(): boolean {
    return this.position >= this.tokens.length
  }

  peek(ahead = 0): Token | undefined {
    return this.tokens[this.position + ahead]
  }

  next(): Token | undefined {
    return this.tokens[this.position++]
  }

  /** Whether the token here (or further on) is this symbol. */
  at(symbol: string, ahead = 0): boolean {
    const token = this.peek(ahead)
    return token?.type === 'symbol' && token.text === symbol
  }

  /** Steps over a symbol if it is here. */
  take(symbol: string): boolean {
    if (!this.at(symbol)) return false
    this.position++
    return true
  }

  /** The name here in lower case, or undefined. */
  name(ahead = 0): string | undefined {
    const token = this.peek(ahead)
    return token?.type === 'name' ? token.text.toLowerCase() : undefined
  }
}
