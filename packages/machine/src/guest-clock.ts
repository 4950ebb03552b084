/** The guest's real time: the host's clock without the time in which the machine rested. */
import type { Clock } from '@trapframe/core'

export class GuestClock implements Clock {
  readonly #host: Clock
  /** Host time less guest time while running; guest time while at rest. */
  #offsetNs = 0
  #running = false

  constructor(host: Clock) {
    this.#host = host
  }

  nowNs(): number {
    return this.#running ? this.#host.nowNs() - this.#offsetNs : this.#offsetNs
  }

  start(): void {
    if (this.#running) return
    this.#offsetNs = this.#host.nowNs() - this.#offsetNs
    this.#running = true
  }

  stop(): void {
    if (!this.#running) return
    this.#offsetNs = this.#host.nowNs() - this.#offsetNs
    this.#running = false
  }
}
