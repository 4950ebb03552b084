/**
 * Branch hints: the custom section `metadata.code.branch_hint` (WebAssembly branch hinting proposal). Engines that know
 * it keep unlikely code out of the way; for others it is just a custom section.
 */
import type { ByteWriter } from './byte-writer.ts'

export const BRANCH_HINT_SECTION = 'metadata.code.branch_hint'

/** Hints of one function: offsets of `if` and `br_if` that are hardly ever taken, from the start of its body. */
export interface FunctionHints {
  readonly functionIndex: number
  readonly unlikely: readonly number[]
}

/** Content of the section behind its name. Functions in the order of their index. */
export function writeBranchHints(w: ByteWriter, functions: readonly FunctionHints[]): void {
  w.u32(functions.length)
  for (const { functionIndex, unlikely } of functions) {
    w.u32(functionIndex).u32(unlikely.length)
    for (const offset of unlikely) w.u32(offset).u32(1).u8(0)
  }
}
