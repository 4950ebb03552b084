/** Start: from the start of the process to the first guest instruction, as the command itself reports it. */
import type { Bench } from './bench.ts'

export async function measureStart(bench: Bench): Promise<string> {
  bench.tell('start')
  return ''
}
