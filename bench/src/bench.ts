/** What all benchmarks of one run share. */
import type { Emulator } from './emulator.ts'
import type { MeasuredGuest } from './measured-guest.ts'

export interface Bench {
  readonly guest: MeasuredGuest
  /** Trapframe first. */
  readonly emulators: readonly Emulator[]
  /** The core that measured processes are pinned to; undefined: none. */
  readonly core: number | undefined
  /** How often each guest is booted. */
  readonly rounds: number
  /** How often a program runs in one boot. */
  readonly repeats: number
  readonly idleSeconds: number
  /** Progress, for people. */
  tell(message: string): void
  /** What went wrong and what a reader of the figures must know. */
  readonly complaints: string[]
}
