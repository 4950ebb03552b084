/** Errors of preparing a guest and of talking to it. */
import { TrapframeError } from '@trapframe/core'

/** Stable names of what can go wrong. */
export type GuestErrorCode =
  /** No apt on this host. */
  | 'guest/no-apt'
  /** The host's package sources do not have the package, or none could be reached. */
  | 'guest/no-package'
  /** The package is known and could not be downloaded. */
  | 'guest/download-failed'
  /** A downloaded package is not the one that the package list names. */
  | 'guest/wrong-checksum'
  /** A package whose content is not as expected. */
  | 'guest/bad-package'
  /** The cache folder cannot be written. */
  | 'guest/cache-not-writable'
  /** Bytes on the exec channel that the protocol does not know. */
  | 'guest/exec-protocol'

/** A guest cannot be prepared or does not answer as it should. */
export class GuestError extends TrapframeError {
  declare readonly code: GuestErrorCode

  constructor(code: GuestErrorCode, message: string, options?: { cause?: unknown }) {
    super(code, message, options)
  }
}
