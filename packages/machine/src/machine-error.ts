/** Errors of the composition root: what was put together wrongly, and what cannot be done now. */
import { TrapframeError } from '@trapframe/core'

/** Stable names of what can be wrong with a machine or its use. */
export type MachineErrorCode =
  /** The life cycle has no such transition: the message names state and request. */
  | 'machine/state'
  /** The backend cannot do what the board or an option needs. */
  | 'machine/capability'
  /** An option is out of range. */
  | 'machine/option'
  /** A saved machine does not fit this one. */
  | 'machine/saved-state'
  /** The other side of a control port is gone, or does not speak the protocol. */
  | 'machine/control'
  /** The guest ended while something was expected of it. */
  | 'machine/ended'

/** A machine cannot be made or used in this way. */
export class MachineError extends TrapframeError {
  declare readonly code: MachineErrorCode

  constructor(code: MachineErrorCode, message: string, options?: { cause?: unknown }) {
    super(code, message, options)
  }
}
