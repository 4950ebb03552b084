/** The command `trapframe`. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { TrapframeError } from '@trapframe/core'
import { CpuProfileError } from '@trapframe/cpu'
import { BootError, MachineError } from '@trapframe/machine'
import { MemoryError } from '@trapframe/memory'
import { CommandError } from './command-error.ts'
import { ExitStatus } from './exit-status.ts'
import { helpText, parseCommandLine } from './options.ts'
import { run } from './run.ts'

const loadedMs = performance.now()
const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url))

async function main(args: readonly string[]): Promise<number> {
  const invocation = parseCommandLine(args)
  switch (invocation.action) {
    case 'help':
      process.stdout.write(helpText())
      return ExitStatus.ok
    case 'version': {
      const { version } = JSON.parse(readFileSync(path('../package.json'), 'utf8')) as { version: string }
      process.stdout.write(`trapframe ${version}\n`)
      return ExitStatus.ok
    }
    case 'run': {
      const setUp = Number(process.env.TRAPFRAME_SET_UP_MS)
      return run(invocation.options, {
        stdin: process.stdin,
        stdout: process.stdout,
        stderr: process.stderr,
        folders: { cache: path('../../../.cache'), initramfs: path('../../../guests/initramfs') },
        loadedMs,
        setUpMs: process.env.TRAPFRAME_SET_UP_MS !== undefined && setUp >= 0 ? setUp : undefined,
      })
    }
  }
}

/** One clear line for what can be expected to happen; the whole story for a defect. */
function explain(error: unknown): { text: string; status: number } {
  if (!(error instanceof TrapframeError))
    return {
      text: `defect: ${error instanceof Error ? error.stack : String(error)}`,
      status: ExitStatus.host,
    }
  const status =
    error instanceof CommandError
      ? error.status
      : error instanceof BootError
        ? ExitStatus.file
        : error instanceof MemoryError || error instanceof CpuProfileError || error instanceof MachineError
          ? ExitStatus.usage
          : ExitStatus.host
  const hint = error.code === 'cli/usage' ? '; see trapframe --help' : ''
  return { text: `${error.message}${hint} (${error.code})`, status }
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  const { text, status } = explain(error)
  process.stderr.write(`trapframe: ${text}\n`)
  process.exitCode = status
}
// Standard input may still be open, and would keep the process.
process.exit()
