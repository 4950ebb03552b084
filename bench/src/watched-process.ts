/** A child process whose lines of standard output are awaited, each with the CPU time that it had used by then. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { BenchError } from './bench-error.ts'
import { processCpuSeconds } from './process-cpu.ts'

/** A line of output, and when it came. */
export interface StampedLine {
  /** Without line end and terminal control sequences. */
  readonly text: string
  /** CPU seconds of the process until now. */
  readonly cpuSeconds: number
  /** Seconds since the process was started. */
  readonly wallSeconds: number
}

const KEPT_ERROR_CHARACTERS = 4000

export class WatchedProcess {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #startMs: number
  readonly #lines: StampedLine[] = []
  #next = 0
  #partial = ''
  #errors = ''
  #ended: string | undefined
  #wake: () => void = () => {}

  constructor(command: readonly string[], cwd: string) {
    this.#startMs = performance.now()
    const child = spawn(command[0]!, command.slice(1), { cwd, stdio: ['pipe', 'pipe', 'pipe'] })
    this.#child = child
    child.stdin.on('error', () => {})
    child.stdout.setEncoding('latin1').on('data', (text: string) => this.#take(text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-KEPT_ERROR_CHARACTERS)
      this.#wake()
    })
    child.on('error', (error) => this.#end(error.message))
    child.on('close', (status, signal) => this.#end(signal ?? `exit status ${status}`))
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  cpuSeconds(): number {
    return processCpuSeconds(this.pid)
  }

  /**
   * The next line that `wanted` accepts; those before are skipped.
   *
   * @throws BenchError `bench/no-result` when the process ends or the time is over before
   */
  async line(wanted: RegExp, timeoutSeconds: number): Promise<StampedLine> {
    return this.#until(wanted, timeoutSeconds, () => {
      while (this.#next < this.#lines.length) {
        const line = this.#lines[this.#next++]!
        if (wanted.test(line.text)) return line
      }
      return undefined
    })
  }

  /** What `wanted` finds on standard error. Throws as `line` does. */
  async error(wanted: RegExp, timeoutSeconds: number): Promise<RegExpExecArray> {
    return this.#until(wanted, timeoutSeconds, () => wanted.exec(this.#errors) ?? undefined)
  }

  async #until<T>(wanted: RegExp, timeoutSeconds: number, look: () => T | undefined): Promise<T> {
    const deadlineMs = performance.now() + timeoutSeconds * 1000
    for (;;) {
      const found = look()
      if (found !== undefined) return found
      const leftMs = deadlineMs - performance.now()
      if (this.#ended !== undefined || leftMs <= 0) throw this.#noResult(wanted, timeoutSeconds)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  /** Waits for the process to end by itself. */
  async end(timeoutSeconds: number): Promise<void> {
    try {
      await this.line(/(?!)/, timeoutSeconds)
    } catch {
      if (this.#ended === undefined) await this.kill()
    }
  }

  async kill(): Promise<void> {
    if (this.#ended !== undefined) return
    this.#child.kill('SIGKILL')
    await new Promise<void>((resolve) => this.#child.once('close', () => resolve()))
  }

  #take(text: string): void {
    const lines = (this.#partial + text).split('\n')
    this.#partial = lines.pop()!
    for (const line of lines) this.#lines.push(this.#stamp(line))
    this.#wake()
  }

  #stamp(text: string): StampedLine {
    return {
      text: plain(text),
      cpuSeconds: this.cpuSeconds(),
      wallSeconds: (performance.now() - this.#startMs) / 1000,
    }
  }

  #end(how: string): void {
    this.#ended ??= how
    this.#wake()
  }

  #noResult(wanted: RegExp, timeoutSeconds: number): BenchError {
    const tail = this.#lines.slice(-12).map(({ text }) => text)
    const why = this.#ended ?? `nothing within ${timeoutSeconds} s`
    return new BenchError(
      'bench/no-result',
      `no line ${wanted} (${why}); last lines:\n${[...tail, plain(this.#partial), this.#errors.trim()].join('\n')}`,
    )
  }
}

/** Carriage returns and terminal control sequences. */
const CONTROL = new RegExp(`${String.fromCharCode(0x1b)}\\[[0-9;?]*[A-Za-z]|\\r`, 'g')

function plain(text: string): string {
  return text.replace(CONTROL, '')
}
