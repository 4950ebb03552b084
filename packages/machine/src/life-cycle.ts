/**
 * The life cycle of a machine, as one table. Whatever is not in the table is a typed error.
 *
 * ```
 * created ──start──► running ──pause──► pausing ──paused──► paused ──start──► running
 *    └───────────────stop / end / fail, from every state but the last two──► stopped, failed
 * ```
 *
 * `stopped`: the guest ended or was stopped; `failed`: the host could not go on. Both are final.
 */
import { MachineError } from './machine-error.ts'

/** Where a machine is in its life. */
export type LifeCycleState = 'created' | 'running' | 'pausing' | 'paused' | 'stopped' | 'failed'

/** What moves it on. */
export type LifeCycleEvent =
  /** Run, for the first time or again. */
  | 'start'
  /** Come to rest: the slice under way ends, output is handed over. */
  | 'pause'
  /** At rest. */
  | 'paused'
  /** The guest ended, or is ended. */
  | 'stop'
  /** The host cannot go on. */
  | 'fail'

const TABLE: Readonly<Record<LifeCycleState, Partial<Record<LifeCycleEvent, LifeCycleState>>>> = {
  created: { start: 'running', stop: 'stopped', fail: 'failed' },
  running: { pause: 'pausing', paused: 'paused', stop: 'stopped', fail: 'failed' },
  pausing: { paused: 'paused', stop: 'stopped', fail: 'failed' },
  paused: { start: 'running', stop: 'stopped', fail: 'failed' },
  stopped: {},
  failed: {},
}

/** The state after `event`, or undefined when the table has none. */
export function nextState(state: LifeCycleState, event: LifeCycleEvent): LifeCycleState | undefined {
  return TABLE[state][event]
}

/** A machine's position in the table, and who wants to hear of changes. */
export class LifeCycle {
  #state: LifeCycleState = 'created'
  readonly #listeners = new Set<(state: LifeCycleState) => void>()

  get state(): LifeCycleState {
    return this.#state
  }

  /** @throws MachineError `machine/state` when the table has no such transition */
  move(event: LifeCycleEvent): void {
    const next = nextState(this.#state, event)
    if (next === undefined)
      throw new MachineError('machine/state', `cannot ${event} a machine that is ${this.#state}`)
    this.#state = next
    for (const listener of this.#listeners) listener(next)
  }

  /** Throws unless the state is one of `states`. */
  require(what: string, ...states: readonly LifeCycleState[]): void {
    if (!states.includes(this.#state))
      throw new MachineError(
        'machine/state',
        `cannot ${what} a machine that is ${this.#state}: it must be ${states.join(' or ')}`,
      )
  }

  onChange(listener: (state: LifeCycleState) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}
