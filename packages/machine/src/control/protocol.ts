/**
 * Messages between a machine and whoever controls it from another thread. Requests have a number and are answered in
 * any order; events come unasked. Everything survives structured cloning.
 */
import type { GuestEnd } from '../guest-end.ts'
import type { LifeCycleState } from '../life-cycle.ts'

/** Changes when one side would misunderstand the other. */
export const PROTOCOL_VERSION = 1

/** What can be asked of a machine, with what it takes and gives. */
export const METHODS = [
  'hello',
  'start',
  'pause',
  'pauseAt',
  'stop',
  'reset',
  'close',
  'save',
  'restore',
  'hash',
  'metrics',
] as const
export type Method = (typeof METHODS)[number]

export type ToMachine =
  | { readonly kind: 'request'; readonly id: number; readonly method: Method; readonly argument: unknown }
  /** Bytes for a port; not answered, `drained` says when they were taken. */
  | { readonly kind: 'input'; readonly port: string; readonly bytes: Uint8Array }

export type FromMachine =
  | { readonly kind: 'reply'; readonly id: number; readonly result: unknown }
  | { readonly kind: 'refusal'; readonly id: number; readonly error: WireError }
  | { readonly kind: 'state'; readonly state: LifeCycleState }
  | { readonly kind: 'reset'; readonly count: number }
  | { readonly kind: 'output'; readonly port: string; readonly bytes: Uint8Array }
  | { readonly kind: 'drained'; readonly port: string }
  | { readonly kind: 'ended'; readonly end: WireEnd }

/** Answer to `hello`. */
export interface Hello {
  readonly version: number
  readonly state: LifeCycleState
  readonly ports: readonly string[]
  readonly end: WireEnd | undefined
}

/** An error without its class. */
export interface WireError {
  /** `TrapframeError.code`; `machine/defect` for an error that is none of ours. */
  readonly code: string
  readonly message: string
}

/** A guest's end; the error of a machine that failed has lost its class. */
export type WireEnd =
  | Exclude<GuestEnd, { kind: 'failed' }>
  | { readonly kind: 'failed'; readonly error: WireError }

/** Whether a message is one of ours; whatever else comes along a port is left alone. */
export function isMessage<T extends { readonly kind: string }>(message: unknown): message is T {
  return (
    typeof message === 'object' &&
    message !== null &&
    typeof (message as { kind?: unknown }).kind === 'string'
  )
}
