/** What keeps a benchmark from being run. */
import { TrapframeError } from '@trapframe/core'

/** Stable names. */
export type BenchErrorCode =
  /** A wrong option or name on the command line. */
  | 'bench/usage'
  /** No C compiler on the host, and none from its package sources. */
  | 'bench/no-compiler'
  /** The compiler refused a program. */
  | 'bench/compile'
  /** A measured process ended, or was too slow, before it said what was waited for. */
  | 'bench/no-result'

export class BenchError extends TrapframeError {
  declare readonly code: BenchErrorCode

  constructor(code: BenchErrorCode, message: string, options?: { cause?: unknown }) {
    super(code, message, options)
  }
}
