import { TrapframeError } from '@trapframe/core'

/** The emulated backend cannot do what was asked for. */
export class BackendError extends TrapframeError {}
