/**
 * The contract of saved state. A vCPU or a device saves itself as a named section with a version, in a form that
 * belongs to the architecture and not to the implementation, so that another implementation can load it.
 *
 * Compatibility: a reader accepts its own version and every older one it names; a newer one is an error.
 */
import { TrapframeError } from './error.ts'

/** Plain data that survives structured cloning and serialisation: what `save` may return. */
export type StateValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly StateValue[]
  | { readonly [key: string]: StateValue }

/** Something that can be saved and loaded. */
export interface StateSection<T extends StateValue = StateValue> {
  /** Kind of the section, such as `lapic`; unique together with the id of its owner. */
  readonly name: string
  /** Version of the form that `save` writes, from 1. */
  readonly version: number
  /** The whole state now. The value shares no memory with the owner. */
  save(): T
  /**
   * Replaces the whole state.
   * @param version - version the state was saved with
   * @throws StateError when the version is unknown or a value is out of range; the state is then unchanged
   */
  load(state: T, version: number): void
}

/** A saved section, with its owner. */
export interface SavedSection {
  /** Id of the device or other part that it belongs to. */
  readonly owner: string
  /** `StateSection.name`. */
  readonly name: string
  /** Version that `state` was saved with. */
  readonly version: number
  /** What `save` answered. */
  readonly state: StateValue
}

/** A saved state that cannot be loaded. */
export class StateError extends TrapframeError {
  /** @param message - section, field and offending value */
  constructor(message: string, options?: { cause?: unknown }) {
    super('state/invalid', message, options)
  }
}

/** Throws unless `version` is between 1 and the section's own version. */
export function requireVersion(section: { name: string; version: number }, version: number): void {
  if (!Number.isInteger(version) || version < 1 || version > section.version)
    throw new StateError(
      `section ${section.name}: version ${version} is not known (this is version ${section.version})`,
    )
}
