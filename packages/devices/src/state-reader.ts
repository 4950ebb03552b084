/**
 * Checked access to a saved state. Saved states are hostile input: every field is looked at before anything is taken
 * over, and what does not fit is a StateError that names section and field.
 */
import { StateError, type StateValue } from '@trapframe/core'

/** The fields of a saved record, each checked when it is read. */
export class StateReader {
  readonly #section: string
  readonly #fields: { readonly [key: string]: StateValue }

  /** @throws StateError when `state` is no record */
  constructor(section: string, state: StateValue) {
    if (typeof state !== 'object' || state === null || Array.isArray(state) || state instanceof Uint8Array)
      throw new StateError(`section ${section}: not a record`)
    this.#section = section
    this.#fields = state as { readonly [key: string]: StateValue }
  }

  /** An integer of 8 bits. @throws StateError, as every method here */
  u8(key: string): number {
    return this.integer(key, 0, 0xff)
  }

  /** An integer of 16 bits. */
  u16(key: string): number {
    return this.integer(key, 0, 0xffff)
  }

  /** An integer of 32 bits. */
  u32(key: string): number {
    return this.integer(key, 0, 0xffff_ffff)
  }

  /** An integer from `min` to `max`. */
  integer(key: string, min: number, max: number): number {
    return this.#integer(key, this.#get(key), min, max)
  }

  /** A finite number; durations in nanoseconds. */
  number(key: string): number {
    const value = this.#get(key)
    if (typeof value !== 'number' || !Number.isFinite(value)) this.#fail(key, value, 'a finite number')
    return value
  }

  /** A number, or null for "none". */
  optionalNumber(key: string): number | null {
    return this.#get(key) === null ? null : this.number(key)
  }

  /** True or false. */
  bool(key: string): boolean {
    const value = this.#get(key)
    if (typeof value !== 'boolean') this.#fail(key, value, 'true or false')
    return value
  }

  /** `length` integers from 0 to `max`. */
  integers(key: string, length: number, max: number): number[] {
    return this.integersUpTo(key, length, length, max)
  }

  /** From `least` to `most` integers from 0 to `max`. */
  integersUpTo(key: string, least: number, most: number, max: number): number[] {
    const value = this.#get(key)
    if (!Array.isArray(value) || value.length < least || value.length > most)
      this.#fail(key, value, `${least === most ? most : `${least} to ${most}`} integers`)
    return (value as readonly StateValue[]).map((item, n) => this.#integer(`${key}[${n}]`, item, 0, max))
  }

  /** A copy of `length` bytes. */
  bytes(key: string, length: number): Uint8Array {
    const value = this.#get(key)
    if (!(value instanceof Uint8Array) || value.length !== length) this.#fail(key, value, `${length} bytes`)
    return value.slice()
  }

  /** A record inside the record. */
  record(key: string): StateReader {
    return new StateReader(`${this.#section}.${key}`, this.#get(key))
  }

  /** `length` records. */
  records(key: string, length: number): StateReader[] {
    const value = this.#get(key)
    if (!Array.isArray(value) || value.length !== length) this.#fail(key, value, `${length} records`)
    return (value as readonly StateValue[]).map(
      (item, n) => new StateReader(`${this.#section}.${key}[${n}]`, item),
    )
  }

  #get(key: string): StateValue {
    if (!Object.hasOwn(this.#fields, key)) throw new StateError(`section ${this.#section}: ${key} is missing`)
    return this.#fields[key]!
  }

  #integer(key: string, value: StateValue, min: number, max: number): number {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
      this.#fail(key, value, `an integer from ${min} to ${max}`)
    return value
  }

  #fail(key: string, value: StateValue, wanted: string): never {
    const shown = typeof value === 'object' && value !== null ? 'something else' : String(value)
    throw new StateError(`section ${this.#section}: ${key} is ${shown}, not ${wanted}`)
  }
}
