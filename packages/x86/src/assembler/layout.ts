/**
 * Layout: statements to bytes at addresses, in passes until no symbol moves. Instructions start short and only grow,
 * so the passes end.
 */
import { AssemblerError } from './error.ts'
import { type Scope, SyntaxProblem } from './expression.ts'
import { encodeInstruction } from './select.ts'
import type { Statement } from './statement.ts'

/** A section with its place. */
export interface Section {
  readonly name: string
  readonly writable: boolean
  readonly executable: boolean
  /** Zeros only, not in the file. */
  readonly zero: boolean
  readonly address: bigint
  readonly bytes: Uint8Array
}

export interface Layout {
  readonly sections: readonly Section[]
  readonly symbols: ReadonlyMap<string, bigint>
}

export interface LayoutOptions {
  /** Address of the first section. */
  readonly origin: bigint
  /** Sections start at multiples of this, after the section before. */
  readonly sectionAlignment: bigint
  /** Symbols from outside. */
  readonly symbols: ReadonlyMap<string, bigint>
  /** Most bytes of one section. */
  readonly maxSectionBytes: number
}

const MAX_PASSES = 100

/** Lays statements out. @throws AssemblerError */
export function layOut(statements: readonly Statement[], options: LayoutOptions): Layout {
  const layout = new Passes(statements, options)
  return layout.run()
}

class OpenSection {
  readonly name: string
  readonly flags: string
  address = 0n
  bytes: Uint8Array = new Uint8Array(256)
  size = 0

  constructor(name: string, flags: string) {
    this.name = name
    this.flags = flags
  }

  reserve(size: number): void {
    if (size <= this.bytes.length) return
    const bytes = new Uint8Array(Math.max(size, this.bytes.length * 2))
    bytes.set(this.bytes.subarray(0, this.size))
    this.bytes = bytes
  }

  put(bytes: Uint8Array): void {
    this.reserve(this.size + bytes.length)
    this.bytes.set(bytes, this.size)
    this.size += bytes.length
  }

  fill(count: number, value: bigint, unit = 1): void {
    this.reserve(this.size + count * unit)
    if (unit === 1) this.bytes.fill(Number(BigInt.asUintN(8, value)), this.size, this.size + count)
    else
      for (let byte = 0; byte < count * unit; byte++)
        this.bytes[this.size + byte] = Number(
          (BigInt.asUintN(64, value) >> BigInt((byte % unit) * 8)) & 0xffn,
        )
    this.size += count * unit
  }
}

const order = ['.text', '.rodata', '.data', '.bss']

function defaultFlags(name: string): string {
  if (name.startsWith('.text')) return 'ax'
  if (name.startsWith('.rodata')) return 'a'
  return name.startsWith('.bss') ? 'awz' : 'aw'
}

class Passes {
  readonly #statements: readonly Statement[]
  readonly #options: LayoutOptions
  readonly #sections: OpenSection[] = []
  readonly #lengths: Int32Array
  readonly #defined = new Set<string>()
  #symbols: Map<string, bigint>
  #previous = new Map<string, bigint>()
  #strict = false

  constructor(statements: readonly Statement[], options: LayoutOptions) {
    this.#statements = statements
    this.#options = options
    this.#lengths = new Int32Array(statements.length)
    this.#symbols = new Map(options.symbols)
    this.#collect()
  }

  #collect(): void {
    const byName = new Map<string, OpenSection>([['.text', new OpenSection('.text', 'ax')]])
    for (const statement of this.#statements) {
      if (statement.type === 'section' && !byName.has(statement.name))
        byName.set(
          statement.name,
          new OpenSection(statement.name, statement.flags ?? defaultFlags(statement.name)),
        )
      if (statement.type === 'label') {
        if (this.#defined.has(statement.name))
          throw new AssemblerError(statement.line, statement.text, `label ${statement.name} is defined twice`)
        this.#defined.add(statement.name)
      } else if (statement.type === 'equ') this.#defined.add(statement.name)
    }
    const rank = (section: OpenSection): number => {
      const known = order.indexOf(section.name)
      return known >= 0 ? known : section.flags.includes('x') ? 0.5 : section.flags.includes('w') ? 2.5 : 1.5
    }
    this.#sections.push(...[...byName.values()].sort((x, y) => rank(x) - rank(y)))
  }

  run(): Layout {
    for (let pass = 0; ; pass++) {
      if (pass === MAX_PASSES) {
        const moved = [...this.#symbols].find(([name, value]) => this.#previous.get(name) !== value)
        throw new AssemblerError(0, moved?.[0] ?? '', `addresses do not settle in ${MAX_PASSES} passes`)
      }
      this.#previous = this.#symbols
      this.#symbols = new Map(this.#options.symbols)
      const sizes = this.#sections.map((section) => section.size)
      this.#pass()
      const settled =
        this.#sections.every((section, index) => section.size === sizes[index]) &&
        [...this.#symbols].every(([name, value]) => this.#previous.get(name) === value)
      if (settled && this.#strict) break
      this.#strict = settled
    }
    const symbols = new Map([...this.#symbols].filter(([name]) => !name.includes('#')))
    return {
      symbols,
      sections: this.#sections
        .filter((section) => section.size > 0)
        .map(({ name, flags, address, bytes, size }) => ({
          name,
          writable: flags.includes('w'),
          executable: flags.includes('x'),
          zero: flags.includes('z'),
          address,
          bytes: bytes.slice(0, size),
        })),
    }
  }

  #pass(): void {
    const { origin, sectionAlignment } = this.#options
    let address = origin
    for (const section of this.#sections) {
      section.address = address
      const end = address + BigInt(section.size)
      address = ((end + sectionAlignment - 1n) / sectionAlignment) * sectionAlignment
    }
    for (const section of this.#sections) section.size = 0
    let section = this.#sections.find(({ name }) => name === '.text')!
    this.#statements.forEach((statement, index) => {
      try {
        if (statement.type === 'section')
          section = this.#sections.find(({ name }) => name === statement.name)!
        else this.#place(statement, index, section)
      } catch (error) {
        if (error instanceof SyntaxProblem)
          throw new AssemblerError(statement.line, statement.text, error.message)
        throw error
      }
    })
  }

  #place(statement: Statement, index: number, section: OpenSection): void {
    const here = section.address + BigInt(section.size)
    const scope: Scope = { here, lookup: (name) => this.#lookup(name, here) }
    const count = (value: bigint): number => {
      const size = Number(value)
      // A guess of an early pass may be nonsense.
      if (value < 0n && !this.#strict) return 0
      if (value < 0n || section.size + size > this.#options.maxSectionBytes) {
        if (!this.#strict && value >= 0n) return 0
        throw new SyntaxProblem(`${value} bytes do not fit the section`)
      }
      return size
    }
    switch (statement.type) {
      case 'label':
        this.#symbols.set(statement.name, here)
        break
      case 'equ':
        this.#symbols.set(statement.name, statement.value.evaluate(scope))
        break
      case 'raw':
        section.put(statement.bytes)
        break
      case 'data':
        for (const value of statement.values) {
          const number = value.evaluate(scope)
          const bits = statement.bytes * 8
          if (this.#strict && (number < -(1n << BigInt(bits - 1)) || number >= 1n << BigInt(bits)))
            throw new SyntaxProblem(`${number} does not fit ${bits} bits`)
          section.fill(1, number, statement.bytes)
        }
        break
      case 'align': {
        const value = statement.alignment.evaluate(scope)
        const alignment = statement.power ? 1n << BigInt.asUintN(5, value) : value
        if (alignment <= 0n || (alignment & (alignment - 1n)) !== 0n)
          throw new SyntaxProblem(`alignment ${alignment} is no power of two`)
        const padding = -here & (alignment - 1n)
        const fill = statement.fill?.evaluate(scope) ?? (section.flags.includes('x') ? 0x90n : 0n)
        section.fill(count(padding), fill)
        break
      }
      case 'space':
        section.fill(
          count(statement.count.evaluate(scope)),
          statement.fill?.evaluate(scope) ?? 0n,
          statement.unit,
        )
        break
      case 'org': {
        const offset = statement.offset.evaluate(scope)
        if (this.#strict && offset < BigInt(section.size)) throw new SyntaxProblem(`.org ${offset} goes back`)
        section.fill(count(offset - BigInt(section.size)), 0n)
        break
      }
      case 'instruction': {
        const bytes = encodeInstruction(statement.instruction, scope, this.#lengths[index]!)
        this.#lengths[index] = bytes.length
        section.put(bytes)
        break
      }
    }
  }

  #lookup(name: string, here: bigint): bigint {
    const value = this.#symbols.get(name) ?? this.#previous.get(name)
    if (value !== undefined) return value
    // Defined further on: a guess that the next pass corrects.
    if (this.#defined.has(name)) return here
    throw new SyntaxProblem(`symbol ${name} is not defined`)
  }
}
