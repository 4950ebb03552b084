/** The emulators that are compared: how each is started with the same kernel, initrd, command line and memory. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import type { DebianGuest } from '@trapframe/cli/src/guest/index.ts'
import { pinned } from './process-cpu.ts'
import { WatchedProcess } from './watched-process.ts'

export type EmulatorName = 'Trapframe' | 'QEMU'

/** One start of a guest. */
export interface GuestRun {
  /** `vmlinux`: the kernel proper, taken out on the host. `vmlinuz`: the bzImage, which unpacks itself in the guest. */
  readonly kernel: 'vmlinux' | 'vmlinuz'
  readonly initramfs: string
  /** Is added to the command line that all runs have. */
  readonly commandLine?: string
  /** More options of Trapframe's command. */
  readonly options?: readonly string[]
}

export interface Emulator {
  readonly name: EmulatorName
  /** For the head of the report. */
  readonly version: string
  start(run: GuestRun): WatchedProcess
}

const MEMORY = '512M'
/** Emulated CPUs do not speculate, and a kernel that guards against it would be measured for that. */
const COMMAND_LINE = 'console=ttyS0 quiet panic=-1 mitigations=off'

interface Surroundings {
  readonly root: string
  readonly debian: DebianGuest
  /** The core that emulators are pinned to; undefined: none. */
  readonly core: number | undefined
}

/** `apps/cli`, on its default backend. */
export function trapframe({ root, debian, core }: Surroundings): Emulator {
  const main = join(root, 'apps', 'cli', 'dist', 'main.js')
  const version = spawnSync(process.execPath, [main, '--version'], { encoding: 'utf8' })
  const fixed = [process.execPath, main, ...`run --memory ${MEMORY} --no-reboot`.split(' ')]
  return {
    name: 'Trapframe',
    version: version.stdout?.trim() ?? '',
    start(run) {
      // Without --kernel it is the kernel proper, from the cache.
      const kernel = run.kernel === 'vmlinuz' ? ['--kernel', debian.vmlinuz, '--no-extract'] : []
      const guest = ['--initrd', run.initramfs, '--append', commandLine(run)]
      const command = [...fixed, ...kernel, ...guest, ...(run.options ?? [])]
      return new WatchedProcess(pinned(core, command), root)
    },
  }
}

/**
 * QEMU's TCG on its q35 board; undefined where there is no qemu-system-x86_64.
 *
 * Not on its microvm board, where the only reference to calibrate the time stamp counter against is the PIT: TCG is often
 * too slow in answering it, and the kernel then has no clock and hangs.
 */
export function qemu({ root, debian, core }: Surroundings): Emulator | undefined {
  const program = 'qemu-system-x86_64'
  const { status, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' })
  if (status !== 0) return undefined
  const machine = `-M q35 -accel tcg -cpu qemu64 -smp 1 -m ${MEMORY} -no-reboot`.split(' ')
  const devices = '-nodefaults -no-user-config -display none -monitor none -serial stdio'.split(' ')
  return {
    name: 'QEMU',
    version: /version (\S+)/.exec(stdout)?.[1] ?? '',
    start(run) {
      const files = ['-kernel', debian[run.kernel], '-initrd', run.initramfs]
      const command = [program, ...machine, ...devices, ...files, '-append', commandLine(run)]
      return new WatchedProcess(pinned(core, command), root)
    },
  }
}

function commandLine({ commandLine = '' }: GuestRun): string {
  return `${COMMAND_LINE} ${commandLine}`.trim()
}
