/** What all benchmarks of one run share. */
import type { Emulator, EmulatorName } from './emulator.ts'
import type { GuestProgram } from './guest-program.ts'
import type { MeasuredGuest } from './measured-guest.ts'
import type { Cell } from './table.ts'

export interface Bench {
  readonly guest: MeasuredGuest
  /** Trapframe first. */
  readonly emulators: readonly Emulator[]
  /** The core that measured processes are pinned to; undefined: none. */
  readonly core: number | undefined
  /** Programs named on the command line; none: those that a benchmark runs by default. */
  readonly programs: readonly GuestProgram[]
  /** How often each guest is booted. */
  readonly rounds: number
  /** How often a program runs in one boot. */
  readonly repeats: number
  readonly idleSeconds: number
  /** Progress, for people. */
  tell(message: string): void
  /** What went wrong: told below the tables, and the exit status is 1. */
  readonly failures: string[]
}

/** A table without the columns whose head names an emulator that does not take part. */
export function measuredColumns(
  bench: Bench,
  head: readonly string[],
  rows: readonly (readonly Cell[])[],
): [head: string[], rows: Cell[][]] {
  const names: readonly EmulatorName[] = ['Trapframe', 'QEMU']
  const absent = names.filter((name) => !bench.emulators.some((emulator) => emulator.name === name))
  const kept = head.map((title) => !absent.some((name) => title.includes(name)))
  return [
    head.filter((_, column) => kept[column]),
    rows.map((row) => row.filter((_, column) => kept[column])),
  ]
}
