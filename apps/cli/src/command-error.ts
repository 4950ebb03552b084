/** Errors of the command itself, each with the exit status that it ends with. */
import { TrapframeError } from '@trapframe/core'
import { ExitStatus } from './exit-status.ts'

/** Stable names of what can be wrong with a call of the command. */
export type CommandErrorCode =
  /** Unknown, missing or impossible options. */
  | 'cli/usage'
  /** A file that cannot be read. */
  | 'cli/file'
  /** The gdb port cannot be used. */
  | 'cli/gdb-port'
  /** `--exec` needs the agent of the Debian guest. */
  | 'cli/exec-needs-guest'
  /** The guest ended before the command of `--exec` did. */
  | 'cli/exec-interrupted'

export class CommandError extends TrapframeError {
  declare readonly code: CommandErrorCode
  readonly status: ExitStatus

  constructor(
    code: CommandErrorCode,
    message: string,
    options: { cause?: unknown; status?: ExitStatus } = {},
  ) {
    super(code, message, options)
    this.status = options.status ?? ExitStatus.usage
  }
}
