// Runs the native harness as a child process: for tests and the command line, Node only.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { arch, platform, tmpdir } from 'node:os'
import { join } from 'node:path'
import { type HarnessProcess, nativeHarness } from '../src/index.ts'

export function harnessProcess(): HarnessProcess {
  if (platform() !== 'linux' || arch() !== 'x64')
    return {
      unavailable: `cases run natively on Linux on x86-64, not on ${platform()} on ${arch()}`,
      exchange: () => new Uint8Array(),
    }
  const folder = join(tmpdir(), `trapframe-difference-${process.pid}`)
  const file = join(folder, 'native')
  if (!existsSync(file)) {
    mkdirSync(folder, { recursive: true })
    writeFileSync(file, nativeHarness(), { mode: 0o755 })
  }
  return {
    exchange: (input) => {
      const { stdout, error, status, signal } = spawnSync(file, { input, maxBuffer: 1 << 28 })
      if (error) throw error
      if (status === 1) throw new Error('the native harness could not set itself up')
      void signal
      return stdout
    },
  }
}
