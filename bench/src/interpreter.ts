/**
 * The interpreter's speed: instructions retired by intmix between its START and BENCH lines, divided by the CPU seconds
 * of a real-time run. In virtual time an instruction takes a nanosecond of the guest's clock, so the program's own
 * clock counts its instructions.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Bench } from './bench.ts'
import { BenchError } from './bench-error.ts'
import { guestPrograms } from './guest-program.ts'
import { pinned } from './process-cpu.ts'
import { type Measurements, measureInGuest } from './programs.ts'
import { median } from './statistics.ts'
import { type Cell, markdownTable } from './table.ts'

/** What cold-start.ts prints. */
export interface ColdStart {
  /** Averages from the start until some points in CPU time. */
  readonly points: readonly {
    readonly untilMs: number
    readonly cpuMs: number
    readonly instructions: number
  }[]
  /** Of intmix, in hexadecimal; empty when the last point came first. */
  readonly checksum: string
}

export async function measureInterpreter(bench: Bench): Promise<string> {
  const rows: Cell[][] = []
  const ours = bench.emulators.find(({ name }) => name === 'Trapframe')
  if (!ours) return ''
  const programs = bench.programs.length > 0 ? bench.programs : guestPrograms.slice(0, 1)
  bench.tell(`interpreter: ${programs.length} in virtual time`)
  try {
    const counted = await measureInGuest(bench, ours, programs, ['--virtual-time'])
    const timed: Measurements[] = []
    for (let round = 0; round < bench.rounds; round++) {
      bench.tell(`interpreter: in real time, round ${round + 1} of ${bench.rounds}`)
      timed.push(await measureInGuest(bench, ours, programs))
    }
    for (const [name, [count]] of counted) {
      const instructions = count!.guestSeconds * 1e9
      const seconds = median(
        timed.flatMap((round) => round.get(name) ?? []).map(({ cpuSeconds }) => cpuSeconds),
      )
      rows.push([`${name} in the guest`, instructions / 1e6, seconds, instructions / seconds / 1e6])
    }
  } catch (error) {
    bench.failures.push(`interpreter: ${(error as Error).message}`)
  }
  try {
    bench.tell('interpreter: cold start')
    const runs: ColdStart[] = []
    for (let round = 0; round < bench.rounds; round++) {
      runs.push(measureColdStart(bench))
    }
    for (const [index, { untilMs }] of runs[0]!.points.entries()) {
      const points = runs.map(({ points }) => points[index]!)
      rows.push([
        `intmix alone, cold: first ${untilMs} ms of CPU time`,
        median(points.map(({ instructions }) => instructions)) / 1e6,
        median(points.map(({ cpuMs }) => cpuMs)) / 1000,
        median(points.map(({ instructions, cpuMs }) => instructions / cpuMs)) / 1000,
      ])
    }
  } catch (error) {
    bench.failures.push(`cold start: ${(error as Error).message}`)
  }
  return markdownTable(['interpreter', 'M instructions', 'CPU s', 'M instructions / CPU s'], rows)
}

/** In a fresh process, because a JavaScript engine that has run the interpreter before is warm. */
function measureColdStart({ guest, core }: Bench): ColdStart {
  const program = fileURLToPath(new URL('./cold-start.ts', import.meta.url))
  const [command, ...parameters] = pinned(core, [
    process.execPath,
    '--import',
    'tsx',
    program,
    guest.bareIntmix,
  ])
  const { status, stdout, stderr } = spawnSync(command!, parameters, { encoding: 'utf8' })
  if (status !== 0) throw new BenchError('bench/no-result', `the cold start failed:\n${stderr}`)
  return JSON.parse(stdout) as ColdStart
}
