/** Boot: from the start of the process to the first line of the guest's own init, both kernel paths. */
import { type Bench, measuredColumns } from './bench.ts'
import type { Emulator, EmulatorName, GuestRun } from './emulator.ts'
import { median } from './statistics.ts'
import { type Cell, markdownTable } from './table.ts'

const TIMEOUT_SECONDS = 180
const KERNELS: readonly (readonly [GuestRun['kernel'], string])[] = [
  ['vmlinux', 'kernel proper (vmlinux), unpacked on the host before'],
  ['vmlinuz', 'bzImage (vmlinuz), which unpacks itself'],
]

export async function measureBoot(bench: Bench): Promise<string> {
  const rows: Cell[][] = []
  for (const [kernel, title] of KERNELS) {
    const cpu: Record<EmulatorName, number[]> = { Trapframe: [], QEMU: [] }
    const wall: Record<EmulatorName, number[]> = { Trapframe: [], QEMU: [] }
    for (let round = 0; round < bench.rounds; round++) {
      for (const emulator of round % 2 === 0 ? bench.emulators : bench.emulators.toReversed()) {
        bench.tell(`boot: ${kernel}, ${emulator.name}, round ${round + 1} of ${bench.rounds}`)
        try {
          const { cpuSeconds, wallSeconds } = await bootOnce(bench, emulator, kernel)
          cpu[emulator.name].push(cpuSeconds)
          wall[emulator.name].push(wallSeconds)
        } catch (error) {
          bench.failures.push(`boot of ${kernel}, ${emulator.name}: ${(error as Error).message}`)
        }
      }
    }
    const [ours, theirs] = [median(cpu.Trapframe), median(cpu.QEMU)]
    rows.push([title, ours, median(wall.Trapframe), theirs, median(wall.QEMU), theirs / ours])
  }
  const head = [
    'boot to /init',
    'Trapframe, CPU s',
    'Trapframe, wall s',
    'QEMU, CPU s',
    'QEMU, wall s',
    'QEMU / Trapframe, CPU',
  ]
  return markdownTable(...measuredColumns(bench, head, rows))
}

async function bootOnce(
  bench: Bench,
  emulator: Emulator,
  kernel: GuestRun['kernel'],
): Promise<{ cpuSeconds: number; wallSeconds: number }> {
  const process = emulator.start({ kernel, initramfs: bench.guest.debian.initramfs })
  try {
    return await process.line(/^trapframe: init/, TIMEOUT_SECONDS)
  } finally {
    await process.kill()
  }
}
