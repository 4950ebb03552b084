/**
 * Guest time as devices see it: it stands still while one access is answered or due timers run, although the host's
 * clock goes on. A device that computes a deadline and then looks whether it has passed must get one answer, or it
 * would lose a timer that is shorter than its own computation.
 */
import type { Clock } from '@trapframe/core'

export class DeviceClock implements Clock {
  readonly #clock: Clock
  #heldNs = 0
  #held = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  nowNs(): number {
    return this.#held ? this.#heldNs : this.#clock.nowNs()
  }

  /** Stops at the present time, and answers it. */
  hold(): number {
    this.#held = true
    this.#heldNs = this.#clock.nowNs()
    return this.#heldNs
  }

  release(): void {
    this.#held = false
  }
}
