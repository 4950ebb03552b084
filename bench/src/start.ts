/** Start: from the start of the process to the first guest instruction, as the command itself tells it. */
import type { Bench } from './bench.ts'
import { median } from './statistics.ts'
import { type Cell, markdownTable } from './table.ts'

const TIMEOUT_SECONDS = 120
/** More than of a guest's boot, which takes longer. */
const ROUNDS_PER_ROUND = 3
/** The command's own line about its phases. */
const PHASES = /process start ([\d.]+) s, first guest instruction ([\d.]+) s/

export async function measureStart(bench: Bench): Promise<string> {
  const ours = bench.emulators.find(({ name }) => name === 'Trapframe')
  if (!ours) return ''
  const loaded: number[] = []
  const whole: number[] = []
  bench.tell('start')
  for (let round = 0; round < ROUNDS_PER_ROUND * bench.rounds; round++) {
    // At its end, which the time-out brings, the command tells its phases.
    const process = ours.start({
      kernel: 'vmlinux',
      initramfs: bench.guest.debian.initramfs,
      options: ['--stats', '--timeout', '1'],
    })
    try {
      const [, load, made] = await process.error(PHASES, TIMEOUT_SECONDS)
      loaded.push(Number(load))
      whole.push(Number(load) + Number(made))
    } catch (error) {
      bench.failures.push(`start: ${(error as Error).message}`)
      break
    } finally {
      await process.kill()
    }
  }
  const rows: Cell[][] = [
    ['Node and the command loaded', 1000 * median(loaded)],
    ['first guest instruction', 1000 * median(whole)],
  ]
  return markdownTable(['from process start', 'wall ms'], rows)
}
