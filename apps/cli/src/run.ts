/** `trapframe run`: prepares the guest, makes the machine, connects it, waits for its end. */
import { emulated } from '@trapframe/backend-emulated'
import type { Backend } from '@trapframe/cpu'
import {
  createMachine,
  formatReport,
  type GuestEnd,
  type GuestReport,
  javascriptHost,
  linux,
  type Machine,
  microvm,
} from '@trapframe/machine'
import { CommandError } from './command-error.ts'
import { startConsoleSession } from './console-session.ts'
import { createConsoleWatch } from './console-watch.ts'
import { runExecSession } from './exec-session.ts'
import { ExitStatus, exitStatusOf } from './exit-status.ts'
import { serveGdb } from './gdb-server.ts'
import type { GuestProgress } from './guest/index.ts'
import { type Folders, readGuestFiles } from './guest-files.ts'
import type { RunOptions } from './options.ts'
import { formatPhases } from './phase-times.ts'
import { createStandardOutput } from './standard-output.ts'
import { formatStatistics } from './statistics.ts'

/** What the process gives the command. */
export interface RunEnvironment {
  readonly stdin: NodeJS.ReadStream
  readonly stdout: NodeJS.WriteStream
  readonly stderr: NodeJS.WriteStream
  readonly folders: Folders
  /** Milliseconds since the process began at which its own code ran, and what came before it of set-up. */
  readonly loadedMs: number
  readonly setUpMs: number | undefined
}

const COMMAND_LINE = 'console=ttyS0,115200 panic=-1'

/** How long the last output of a guest that was left may take. */
const LAST_OUTPUT_MS = 1000

const backends: Readonly<Record<string, (options: RunOptions) => Backend>> = {
  emulated: ({ jit }) => emulated({ jit }),
}

/** Runs a guest to its end. Answers the exit status. @throws TrapframeError before the guest has started */
export async function run(options: RunOptions, environment: RunEnvironment): Promise<number> {
  const { stdin, stdout, stderr, folders } = environment
  /** A line in a terminal that is raw ends in CR LF. */
  const lines = (text: string): string => (stderr.isTTY ? text.replaceAll('\n', '\r\n') : text)
  const say = (text: string): void => void stderr.write(lines(`trapframe: ${text}\n`))
  if (options.exec !== undefined && (options.kernel !== undefined || options.initrd !== undefined))
    throw new CommandError(
      'cli/exec-needs-guest',
      '--exec needs the agent in the initramfs of the Debian guest: it cannot be used with --kernel or --initrd',
    )
  const progress = progressOn(stderr)
  const files = await readGuestFiles(options, folders, progress.report).finally(progress.end)
  const words = [COMMAND_LINE]
  if (files.debian && options.exec !== undefined) words.push('quiet trapframe.exec=1')
  // A terminal that nobody has given a size says 0.
  else if (files.debian && stdout.isTTY && stdout.rows > 0 && stdout.columns > 0)
    words.push(`trapframe.size=${stdout.rows}x${stdout.columns}`)
  if (options.append !== '') words.push(options.append)

  const times: { initMs?: number; shellMs?: number; firstInstructionMs?: number } = {}
  // Set-up ran in this process, before its own code: it has a time of its own.
  const before = environment.setUpMs ?? 0
  const clock = (): number => performance.now() - before
  const phases = (): string =>
    formatPhases({ setUpMs: environment.setUpMs, loadedMs: environment.loadedMs - before, ...times })
  let panicked = false
  const watch = createConsoleWatch((mark) => {
    if (mark === 'panic') panicked = true
    else if (mark === 'init') times.initMs ??= clock()
    else if (times.shellMs === undefined) {
      times.shellMs = clock()
      say(phases())
    }
  })

  const host = javascriptHost()
  const output = createStandardOutput(stdout, () => machine.stop())
  const errors = createStandardOutput(stderr, () => {})
  const machine: Machine = await createMachine({
    backend: backends[options.backend]!(options),
    board: microvm({
      memoryBytes: options.memoryBytes,
      debugExit: options.debugExit,
      ...(options.cpu !== undefined && { cpu: options.cpu }),
    }),
    boot: linux({ ...files, commandLine: words.join(' ') }),
    time: options.virtualTime ? 'virtual' : 'real',
    // After a panic the kernel resets: that would begin the same thing again.
    onReset: () => (options.reboot && !panicked ? 'reboot' : 'end'),
    host: {
      ...host,
      async yieldToHost() {
        await host.yieldToHost()
        // A reader that is slower than the guest slows the guest down.
        await output.room()
      },
    },
    log: { debug() {}, warn: (message) => say(message) },
  })
  machine.console.onOutput((bytes) => {
    watch.read(bytes)
    if (options.exec === undefined) output.write(bytes)
  })
  machine.ports['debug-console']?.onOutput((bytes) => errors.write(bytes))

  let timedOut = false
  let commandDone = false
  const cleanUps: (() => void)[] = []
  try {
    const gdb = options.gdbPort === undefined ? undefined : await serveGdb(machine, options.gdbPort)
    if (gdb) {
      cleanUps.push(() => gdb.close())
      say(`waiting for gdb: target remote :${options.gdbPort}`)
    }
    if (options.timeoutSeconds !== undefined) {
      const timer = setTimeout(() => {
        timedOut = true
        machine.stop()
      }, options.timeoutSeconds * 1000)
      cleanUps.push(() => clearTimeout(timer))
    }
    let command: Promise<number> | undefined
    if (options.exec === undefined) {
      cleanUps.push(startConsoleSession({ stdin, port: machine.console, leave: () => machine.stop() }))
      cleanUps.push(onSignals(() => machine.stop()))
    } else {
      command = runExecSession({
        command: options.exec,
        port: machine.ports.com2!,
        stdin,
        stdout: (bytes) => output.write(bytes),
        stderr: (bytes) => errors.write(bytes),
        ready: () => {
          times.shellMs ??= clock()
        },
      })
      command.catch(() => {})
    }
    if (gdb) await Promise.race([gdb.attached, machine.ended])
    times.firstInstructionMs = clock()
    // With a debugger attached, it is the one who starts the guest.
    if (!gdb && machine.state === 'created') machine.start()

    let status: number
    const commandEnded = command && (await Promise.race([command, machine.ended.then(() => undefined)]))
    if (commandEnded !== undefined) {
      status = commandEnded
      commandDone = true
      machine.stop()
    } else {
      const end = await machine.ended
      if (gdb && 'report' in end) {
        say('the guest can still be looked at with gdb')
        await gdb.detached
      }
      if ('report' in end) await describeFault(end.report)
      status = describeEnd(end)
      if (command && status === ExitStatus.ok) status = ExitStatus.host
    }
    if (options.stats) {
      const { user, system } = process.cpuUsage()
      const usage = { cpuSeconds: (user + system) / 1e6, realSeconds: clock() / 1000 }
      say(phases())
      errors.write(new TextEncoder().encode(lines(`${formatStatistics(machine.metrics(), usage)}\n`)))
    }
    return status
  } finally {
    for (const cleanUp of cleanUps.reverse()) cleanUp()
    machine.close()
    const written = Promise.all([output.finish(), errors.finish()])
    // Who leaves a guest does not wait for a reader that stands still.
    const given = machine.end?.kind === 'stopped' && !commandDone
    await (given
      ? Promise.race([written, new Promise((resolve) => setTimeout(resolve, LAST_OUTPUT_MS))])
      : written)
  }

  async function describeFault(report: GuestReport): Promise<void> {
    say(formatReport(report))
    if (report.code.length === 0) return
    // Only here, since a run that ends well does not need it.
    const { disassemble } = await import('@trapframe/x86')
    say(`at rip: ${disassemble(report.code, { address: report.state.rip }).text}`)
  }

  /** Says on standard error what the user should know of the end; answers the status. */
  function describeEnd(end: GuestEnd): number {
    if (end.kind === 'failed') say(`the host could not go on: ${String(end.error)}`)
    const status = timedOut
      ? ExitStatus.timeout
      : panicked && end.kind === 'reset'
        ? ExitStatus.panic
        : exitStatusOf(end)
    if (timedOut) say(`time-out after ${options.timeoutSeconds} s`)
    if (status === ExitStatus.panic) say("the guest's kernel panicked")
    if (options.exec !== undefined) {
      say('the guest ended before the command did; its console said last:')
      errors.write(new TextEncoder().encode(`${watch.tail.trimEnd()}\n`))
    }
    return status
  }
}

/** Ends the guest on a signal that would otherwise leave the terminal raw. */
function onSignals(stop: () => void): () => void {
  const signals = ['SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.once(signal, stop)
  return () => {
    for (const signal of signals) process.off(signal, stop)
  }
}

/** Shows how far the preparation is: one line that changes on a terminal, a line for each step elsewhere. */
function progressOn(stderr: NodeJS.WriteStream): { report(progress: GuestProgress): void; end(): void } {
  let last = ''
  return {
    report({ phase, message, doneBytes, totalBytes }) {
      const percent =
        doneBytes !== undefined && totalBytes !== undefined && totalBytes > 0
          ? `, ${Math.floor((doneBytes / totalBytes) * 100)} %`
          : ''
      if (stderr.isTTY) {
        const moved = phase !== last && last !== '' ? '\n' : '\r\x1b[K'
        stderr.write(`${moved}guest: ${message}${percent}`)
      } else if (phase !== last) stderr.write(`guest: ${message}\n`)
      last = phase
    },
    end() {
      if (stderr.isTTY && last !== '') stderr.write('\n')
    },
  }
}
