/** The receive FIFO of a 16550A: up to 16 bytes, each with its line errors. */

export const FIFO_BYTES = 16

export class ReceiveFifo {
  readonly #bytes = new Uint8Array(FIFO_BYTES)
  readonly #errors = new Uint8Array(FIFO_BYTES)
  #first = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  /** Line errors of the byte that is read next. */
  get headErrors(): number {
    return this.#length > 0 ? this.#errors[this.#first]! : 0
  }

  /** Whether any byte has an error. */
  get anyErrors(): boolean {
    for (let n = 0; n < this.#length; n++)
      if (this.#errors[(this.#first + n) & (FIFO_BYTES - 1)] !== 0) return true
    return false
  }

  /** Adds a byte; there must be room. */
  push(byte: number, errors: number): void {
    const at = (this.#first + this.#length) & (FIFO_BYTES - 1)
    this.#bytes[at] = byte
    this.#errors[at] = errors
    this.#length++
  }

  /** Takes the oldest byte; there must be one. */
  shift(): number {
    const byte = this.#bytes[this.#first]!
    this.#first = (this.#first + 1) & (FIFO_BYTES - 1)
    this.#length--
    return byte
  }

  /** Replaces the newest byte, as a receiver without FIFO does. */
  replaceLast(byte: number, errors: number): void {
    const at = (this.#first + this.#length - 1) & (FIFO_BYTES - 1)
    this.#bytes[at] = byte
    this.#errors[at] = errors
  }

  clearHeadErrors(): void {
    this.#errors[this.#first] = 0
  }

  clear(): void {
    this.#length = 0
  }

  save(): { bytes: number[]; errors: number[] } {
    const bytes: number[] = []
    const errors: number[] = []
    for (let n = 0; n < this.#length; n++) {
      const at = (this.#first + n) & (FIFO_BYTES - 1)
      bytes.push(this.#bytes[at]!)
      errors.push(this.#errors[at]!)
    }
    return { bytes, errors }
  }

  load(bytes: readonly number[], errors: readonly number[]): void {
    this.#first = 0
    this.#length = bytes.length
    this.#bytes.set(bytes)
    this.#errors.set(errors)
  }
}
