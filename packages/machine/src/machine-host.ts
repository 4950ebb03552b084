/**
 * What a machine needs of the thread that it lives in: time, and a place in its event loop.
 *
 * `javascriptHost` makes one from what Node, Deno, Bun and browsers have in common. It is the only module of this
 * package that reads the surroundings, and only when it is called; whoever wants repeatable runs hands in another.
 */
import type { Clock, WallClock } from '@trapframe/core'

/** The host of a machine. */
export interface MachineHost {
  /** Monotonic. In real time, guest time follows it. */
  readonly clock: Clock
  /** For the guest's RTC. */
  readonly wallClock: WallClock
  /** Lets the other work of the thread's event loop happen. A running machine calls it at least every 2 ms. */
  yieldToHost(): Promise<void>
  /**
   * Calls `callback` once, not before `delayNs` have passed; Infinity stands for "not before someone cancels", and
   * keeps the thread alive. Answers the cancellation.
   */
  startTimer(delayNs: number, callback: () => void): () => void
}

/** The part of a JavaScript host's global object that is used. */
interface Globals {
  readonly performance: { now(): number }
  readonly Date: { now(): number }
  setTimeout(callback: () => void, delayMs: number): unknown
  clearTimeout(timer: unknown): void
  setImmediate?(callback: () => void): unknown
  readonly MessageChannel?: new () => {
    readonly port1: { onmessage: (() => void) | null }
    readonly port2: { postMessage(message: unknown): void }
  }
}

/** Longest delay of `setTimeout`: more than 31 bits of milliseconds mean "at once". */
const MAX_TIMEOUT_MS = 2 ** 31 - 1

/** A host from the globals of a JavaScript engine: its monotonic clock, its date and its timers. */
export function javascriptHost(): MachineHost {
  const globals = globalThis as unknown as Globals
  return {
    clock: { nowNs: () => Math.round(globals.performance.now() * 1e6) },
    wallClock: { nowMs: () => globals.Date.now() },
    yieldToHost: yielder(globals),
    startTimer(delayNs, callback) {
      // Rounded up: a timer that fires early would find nothing due, and sleep again.
      const delayMs = Math.min(Math.max(Math.ceil(delayNs / 1e6), 0), MAX_TIMEOUT_MS)
      const timer = globals.setTimeout(callback, delayMs)
      return () => globals.clearTimeout(timer)
    },
  }
}

/** The cheapest way to the end of the event loop's queue: `setTimeout` would cost 1 to 4 ms each time. */
function yielder(globals: Globals): () => Promise<void> {
  const { setImmediate, MessageChannel } = globals
  if (setImmediate !== undefined) return () => new Promise((resolve) => void setImmediate(resolve))
  if (MessageChannel !== undefined) {
    const { port1, port2 } = new MessageChannel()
    const waiting: (() => void)[] = []
    port1.onmessage = () => waiting.shift()?.()
    return () =>
      new Promise((resolve) => {
        waiting.push(resolve)
        port2.postMessage(null)
      })
  }
  return () => new Promise((resolve) => void globals.setTimeout(resolve, 0))
}
