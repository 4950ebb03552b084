/** Idle: CPU used by a guest that waits at its prompt, all emulators at once on the same core. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from './bench.ts'
import type { Emulator } from './emulator.ts'
import { type Cell, markdownTable } from './table.ts'

const BOOT_TIMEOUT_SECONDS = 180
/** After the prompt: the kernel's late work, and the compilers of a JavaScript engine. */
const SETTLE_SECONDS = 5

export async function measureIdle(bench: Bench): Promise<string> {
  bench.tell(`idle: ${bench.idleSeconds} s`)
  // One boots after the other, so that none settles while another still computes.
  const running: { emulator: Emulator; process: ReturnType<Emulator['start']> }[] = []
  try {
    for (const emulator of bench.emulators) {
      const process = emulator.start({ kernel: 'vmlinux', initramfs: bench.guest.debian.initramfs })
      running.push({ emulator, process })
      try {
        await process.line(/^trapframe: shell/, BOOT_TIMEOUT_SECONDS)
      } catch (error) {
        bench.failures.push(`idle, ${emulator.name}: ${(error as Error).message}`)
      }
    }
    await sleep(SETTLE_SECONDS * 1000)
    const startMs = performance.now()
    const before = running.map(({ process }) => process.cpuSeconds())
    await sleep(bench.idleSeconds * 1000)
    const seconds = (performance.now() - startMs) / 1000
    const rows: Cell[][] = running.map(({ emulator, process }, index) => {
      const used = process.cpuSeconds() - before[index]!
      return [emulator.name, used, (100 * used) / seconds]
    })
    return markdownTable([`idle at the prompt for ${bench.idleSeconds} s`, 'CPU s', '% of a core'], rows)
  } finally {
    for (const { process } of running) await process.kill()
  }
}
