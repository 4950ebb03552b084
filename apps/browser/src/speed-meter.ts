/** How fast a guest runs, from two readings of its machine's counters. */
import type { MachineMetrics } from '@trapframe/machine'

export interface Speed {
  /** Million instructions a second, of real time: a guest that waits executes few. */
  readonly mips: number
  /** Accesses to devices and other ways out of the CPU's engine, a second. */
  readonly exitsPerSecond: number
  /** Since the machine was made. */
  readonly instructions: number
  /** The latest values of `mips`, oldest first. */
  readonly history: readonly number[]
}

export const STANDING: Speed = { mips: 0, exitsPerSecond: 0, instructions: 0, history: [] }

const HISTORY = 48
/** The end of a slice of time is no wish of the guest. */
const NO_EXITS = new Set(['exits-budget', 'exits-kicked'])

export interface SpeedMeter {
  /** @param atMs - when the counters were read */
  read(metrics: MachineMetrics, atMs: number): Speed
}

export function createSpeedMeter(): SpeedMeter {
  let last: { atMs: number; instructions: number; exits: number } | undefined
  let history: readonly number[] = []
  return {
    read(metrics, atMs) {
      const vcpu = metrics['vcpu-0'] ?? {}
      const instructions = vcpu['instructions-retired'] ?? 0
      const exits = Object.entries(vcpu).reduce(
        (sum, [name, count]) => (name.startsWith('exits-') && !NO_EXITS.has(name) ? sum + count : sum),
        0,
      )
      const before = last
      last = { atMs, instructions, exits }
      const seconds = before ? (atMs - before.atMs) / 1000 : 0
      // Counters go back when a saved machine is restored.
      if (!before || seconds <= 0 || instructions < before.instructions || exits < before.exits)
        return { mips: 0, exitsPerSecond: 0, instructions, history }
      const mips = (instructions - before.instructions) / seconds / 1e6
      history = [...history.slice(1 - HISTORY), mips]
      return { mips, exitsPerSecond: (exits - before.exits) / seconds, instructions, history }
    },
  }
}
