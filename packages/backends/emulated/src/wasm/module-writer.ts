/** Builds a WebAssembly module from function bodies (core specification, section 5.5). */
import { BRANCH_HINT_SECTION, type FunctionHints, writeBranchHints } from './branch-hints.ts'
import { ByteWriter } from './byte-writer.ts'
import { WasmType } from './opcode.ts'

export interface FunctionType {
  readonly parameters: readonly number[]
  readonly results: readonly number[]
}

/** Declaration of locals and code of a function, and the offsets in it of branches that are hardly ever taken. */
export interface FunctionBody {
  readonly bytes: Uint8Array
  readonly unlikely: readonly number[]
}

interface DefinedFunction {
  readonly type: number
  /** Locals declaration and code, without the size in front. */
  body: Uint8Array | undefined
}

export class ModuleWriter {
  readonly #types: FunctionType[] = []
  readonly #imports: { module: string; name: string; type: number }[] = []
  readonly #functions: DefinedFunction[] = []
  readonly #exports: { name: string; index: number }[] = []
  readonly #elements: number[] = []
  #table: string | undefined
  readonly #hints: FunctionHints[] = []

  type(parameters: readonly number[], results: readonly number[]): number {
    const key = `${parameters}:${results}`
    const found = this.#types.findIndex((type) => `${type.parameters}:${type.results}` === key)
    return found >= 0 ? found : this.#types.push({ parameters, results }) - 1
  }

  /** Imports come before the first `declare`. Gives the function's index. */
  importFunction(
    module: string,
    name: string,
    parameters: readonly number[],
    results: readonly number[],
  ): number {
    return this.#imports.push({ module, name, type: this.type(parameters, results) }) - 1
  }

  /** Reserves a function index; its body follows by `define`. */
  declare(parameters: readonly number[], results: readonly number[]): number {
    return (
      this.#imports.length +
      this.#functions.push({ type: this.type(parameters, results), body: undefined }) -
      1
    )
  }

  /**
   * @param body - declaration of locals and code, `end` included
   * @param unlikely - offsets in the body of branches that are hardly ever taken
   */
  define(index: number, body: Uint8Array, unlikely: readonly number[] = []): void {
    if (unlikely.length > 0) this.#hints.push({ functionIndex: index, unlikely })
    this.#functions[index - this.#imports.length]!.body = body
  }

  export(name: string, index: number): void {
    this.#exports.push({ name, index })
  }

  /** Exports the module's own table. */
  exportTable(name: string): void {
    this.#table = name
  }

  /** Puts a function into the module's own table; gives its place there. */
  element(index: number): number {
    return this.#elements.push(index) - 1
  }

  /**
   * The binary, and the offset of the one byte that says how the imported memory `engine.memory` is limited: 1 for an
   * unshared memory, 3 for a shared one. A module is made once and patched for either.
   */
  finish(): { bytes: Uint8Array; memoryFlagOffset: number } {
    const out = new ByteWriter(1 << 16)
    out.bytes([0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0])
    const section = (id: number, fill: (w: ByteWriter) => void): number => {
      const content = new ByteWriter()
      fill(content)
      out.u8(id).u32(content.length)
      const start = out.length
      out.bytes(content.view())
      return start
    }
    section(1, (w) => {
      w.u32(this.#types.length)
      for (const { parameters, results } of this.#types)
        w.u8(0x60).u32(parameters.length).bytes(parameters).u32(results.length).bytes(results)
    })
    let flag = 0
    const importsAt = section(2, (w) => {
      w.u32(this.#imports.length + 1)
        .name('engine')
        .name('memory')
        .u8(2)
      flag = w.length
      w.u8(1).u32(0).u32(65536)
      for (const { module, name, type } of this.#imports) w.name(module).name(name).u8(0).u32(type)
    })
    section(3, (w) => {
      w.u32(this.#functions.length)
      for (const { type } of this.#functions) w.u32(type)
    })
    section(4, (w) => w.u32(1).u8(WasmType.funcref).u8(0).u32(this.#elements.length))
    section(7, (w) => {
      w.u32(this.#exports.length + (this.#table === undefined ? 0 : 1))
      if (this.#table !== undefined) w.name(this.#table).u8(1).u32(0)
      for (const { name, index } of this.#exports) w.name(name).u8(0).u32(index)
    })
    section(9, (w) => {
      w.u32(1).u32(0).u8(0x41).s32(0).u8(0x0b).u32(this.#elements.length)
      for (const index of this.#elements) w.u32(index)
    })
    if (this.#hints.length > 0)
      section(0, (w) => {
        w.name(BRANCH_HINT_SECTION)
        writeBranchHints(
          w,
          this.#hints.sort((a, b) => a.functionIndex - b.functionIndex),
        )
      })
    section(10, (w) => {
      w.u32(this.#functions.length)
      for (const { body } of this.#functions) w.sized(body!)
    })
    return { bytes: out.view().slice(), memoryFlagOffset: importsAt + flag }
  }
}
