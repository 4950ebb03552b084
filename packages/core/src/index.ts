/**
 * What all Trapframe packages share: the base of all errors, what a host hands in (clock, entropy, log, metrics), and the
 * contract of saved state. It imports nothing.
 *
 * @example
 * Something that can be saved: a section with a name and a version, in plain data.
 * ```ts
 * import { requireVersion, type StateSection, TrapframeError } from '@trapframe/core'
 *
 * let count = 3
 * const section: StateSection<{ readonly count: number }> = {
 *   name: 'counter',
 *   version: 1,
 *   save: () => ({ count }),
 *   load(state, version) {
 *     requireVersion(section, version)
 *     count = state.count
 *   },
 * }
 * const saved = section.save()
 * count = 0
 * section.load(saved, 1)
 * console.log(count) // 3
 * try {
 *   section.load(saved, 2)
 * } catch (error) {
 *   console.log((error as TrapframeError).code) // state/invalid
 * }
 * ```
 *
 * @packageDocumentation
 */
export { TrapframeError } from './error.ts'
export { type Clock, type Entropy, type Log, type Metrics, silentLog, type WallClock } from './host.ts'
export {
  requireVersion,
  type SavedSection,
  StateError,
  type StateSection,
  type StateValue,
} from './state-section.ts'
