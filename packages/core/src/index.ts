/**
 * What all Trapframe packages share: the base error, what a host hands in, and the contract of saved state.
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
