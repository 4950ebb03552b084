/**
 * The base of every error that a Trapframe package throws.
 *
 * Only host failures and wrong use are thrown. What a guest does wrong is a value: an exit reason, an exception
 * vector, a machine that ends with a report.
 */
export class TrapframeError extends Error {
  /** Stable, machine-readable name of the failure, in the form `area/what`, such as `memory/out-of-range`. */
  readonly code: string

  /**
   * @param code - stable name, `area/what`
   * @param message - one line for people, with the offending value in it
   * @param options - `cause`: the failure below this one
   */
  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
    this.name = new.target.name
  }
}
