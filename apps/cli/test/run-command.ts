/** Runs the command from its sources, as a process of its own, with small guests made by the assembler. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { assembleElf } from '@trapframe/x86'

/** What comes before the command's own arguments. */
export const commandLine: readonly string[] = [
  process.execPath,
  '--conditions=trapframe-source',
  '--import',
  'tsx',
  fileURLToPath(new URL('../src/main.ts', import.meta.url)),
]
const folder = mkdtempSync(join(tmpdir(), 'trapframe-test-'))
let files = 0

/** A guest kernel from assembly text: 64-bit mode, entered at its start, the first 4 GiB mapped one to one. */
export function guestKernel(source: string): string {
  const path = join(folder, `guest-${files++}.elf`)
  writeFileSync(path, assembleElf(source, { origin: 0x10_0000 }).bytes)
  return path
}

/** A file with given contents. */
export function file(name: string, contents: Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, contents)
  return path
}

export interface Result {
  readonly status: number | null
  readonly stdout: Buffer
  readonly stderr: string
}

/** @param program - with its first arguments */
export function startCommand(
  args: readonly string[],
  program: readonly string[] = commandLine,
): ChildProcessWithoutNullStreams {
  return spawn(program[0]!, [...program.slice(1), ...args], {
    // An own set-up time would show in the line of phases.
    env: { ...process.env, TRAPFRAME_SET_UP_MS: undefined },
  })
}

/** Runs the command to its end. */
export function runCommand(args: readonly string[], input: string | Uint8Array = ''): Promise<Result> {
  const child = startCommand(args)
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (bytes: Buffer) => out.push(bytes))
  child.stderr.on('data', (bytes: Buffer) => err.push(bytes))
  child.stdin.on('error', () => {}) // a command that has ended takes no input
  child.stdin.end(input)
  return new Promise((resolve) => {
    child.on('close', (status) => {
      resolve({ status, stdout: Buffer.concat(out), stderr: Buffer.concat(err).toString() })
    })
  })
}
