// A command that a test talks with while it runs, and the guest for it.
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cachedDebianGuest, type DebianGuest, prepareDebianGuest } from '../../src/guest/debian-guest.ts'
import { type Result, startCommand } from '../run-command.ts'

const root: string = fileURLToPath(new URL('../../../..', import.meta.url))
/** A running command. */
export class Command {
  readonly process: ChildProcessWithoutNullStreams
  /** Resolves at its end. */
  readonly ended: Promise<Result>
  readonly #stdout: Buffer[] = []
  #text = ''
  #stderr = ''
  #searched = 0
  readonly #waiting = new Set<() => void>()

  constructor(args: readonly string[], program?: readonly string[]) {
    this.process = startCommand(args, program)
    this.process.stdout.on('data', (bytes: Buffer) => {
      this.#stdout.push(bytes)
      this.#text += bytes.toString('latin1')
      for (const look of [...this.#waiting]) look()
    })
    this.process.stderr.on('data', (bytes: Buffer) => {
      this.#stderr += bytes.toString()
      for (const look of [...this.#waiting]) look()
    })
    // The command may end before it has read all of its input.
    this.process.stdin.on('error', () => {})
    this.ended = new Promise((resolve, reject) => {
      this.process.on('error', reject)
      this.process.on('close', (status) => {
        resolve({ status, stdout: Buffer.concat(this.#stdout), stderr: this.#stderr })
        for (const look of [...this.#waiting]) look()
      })
    })
    this.ended.catch(() => {})
  }

  get stderr(): string {
    return this.#stderr
  }

  /** Waits for standard output behind what was found last; answers all of it up to the end of the match. */
  waitFor(pattern: RegExp): Promise<string> {
    return this.#wait(`output like ${pattern}`, () => {
      const match = pattern.exec(this.#text.slice(this.#searched))
      if (!match) return undefined
      const from = this.#searched
      this.#searched += match.index + match[0].length
      return this.#text.slice(from, this.#searched)
    })
  }

  waitForError(pattern: RegExp): Promise<string> {
    return this.#wait(`an error like ${pattern}`, () => pattern.exec(this.#stderr)?.[0])
  }

  /** Runs a line in a shell on the console; answers what it printed. */
  async shell(line: string): Promise<string> {
    // The echo of what is typed does not contain the number.
    this.process.stdin.write(`${line}; echo "over$((40+2))"\n`)
    const text = await this.waitFor(/over42\r?\n/)
    return text.replace(/over42\r?\n$/, '').replace(/^.*\r?\n/, '')
  }

  /** Resident memory of the process in MiB; undefined where the host does not tell. */
  residentMib(): number | undefined {
    try {
      const status = readFileSync(`/proc/${this.process.pid}/status`, 'utf8')
      return Number(/VmRSS:\s*(\d+) kB/.exec(status)![1]) / 1024
    } catch {
      return undefined
    }
  }

  kill(): void {
    this.process.kill('SIGKILL')
  }

  #wait<T>(what: string, look: () => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const attempt = (): void => {
        const found = look()
        if (found === undefined) {
          if (this.process.exitCode === null && this.process.signalCode === null) return
          reject(
            new Error(
              `the command ended without ${what}; it said:\n${this.#text.slice(-2000)}\n${this.#stderr}`,
            ),
          )
        } else resolve(found)
        this.#waiting.delete(attempt)
      }
      this.#waiting.add(attempt)
      attempt()
    })
  }
}

/** The Debian guest, prepared if need be, or the reason why there is none. */
export async function debianGuest(): Promise<{ guest: DebianGuest; reason: '' } | { reason: string }> {
  const folders = {
    cacheFolder: join(root, '.cache/guest'),
    sourceFolder: join(root, 'guests/initramfs'),
  }
  try {
    return { guest: cachedDebianGuest(folders) ?? (await prepareDebianGuest(folders)), reason: '' }
  } catch (error) {
    return { reason: ` (skipped: no Debian guest: ${String(error).split('\n')[0]})` }
  }
}
