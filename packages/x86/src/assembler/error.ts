/** What the assembler throws. */
import { TrapframeError } from '@trapframe/core'

/** A statement that cannot be assembled. */
export class AssemblerError extends TrapframeError {
  /** Line number from 1. */
  readonly line: number
  /** The offending statement. */
  readonly text: string

  constructor(line: number, text: string, problem: string) {
    super('x86/assembler', `line ${line}: ${problem}: ${text}`)
    this.line = line
    this.text = text
  }
}
