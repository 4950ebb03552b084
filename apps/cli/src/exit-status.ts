/**
 * What the command's exit status says. Statuses of our own are even: `(value << 1) | 1`, which the debug exit port
 * gives, is odd.
 */
import type { GuestEnd } from '@trapframe/machine'

export const ExitStatus = {
  /** The guest switched itself off, or the user left with Ctrl-A X. */
  ok: 0,
  /** Options that are unknown, missing or impossible (EX_USAGE). */
  usage: 64,
  /** A kernel, initrd or other file that cannot be read or used. */
  file: 66,
  /** The host could not go on (EX_SOFTWARE). */
  host: 70,
  panic: 100,
  tripleFault: 102,
  halted: 104,
  unsupported: 106,
  /** As with timeout(1). */
  timeout: 124,
} as const
export type ExitStatus = (typeof ExitStatus)[keyof typeof ExitStatus]

/** The table of `--help`. */
export const EXIT_STATUS_HELP: readonly (readonly [status: string, meaning: string])[] = [
  ['0', 'the guest powered off (or was reset, with --no-reboot), or Ctrl-A X'],
  ['(value << 1) | 1', 'the guest wrote value to the debug exit port (--debug-exit)'],
  [`${ExitStatus.usage}`, 'bad usage'],
  [`${ExitStatus.file}`, 'a file cannot be read or used'],
  [`${ExitStatus.host}`, 'host error'],
  [`${ExitStatus.panic}`, "the guest's kernel panicked"],
  [`${ExitStatus.tripleFault}`, 'triple fault'],
  [`${ExitStatus.halted}`, 'the guest halted for ever, with interrupts off'],
  [`${ExitStatus.unsupported}`, 'unsupported instruction, or instruction fetch outside memory'],
  [`${ExitStatus.timeout}`, 'time-out (--timeout)'],
  ['any', 'with --exec: the status of the command, once it has run'],
]

/** The status of a guest's end. */
export function exitStatusOf(end: GuestEnd): number {
  switch (end.kind) {
    case 'power-off':
    case 'reset':
    case 'stopped':
      return ExitStatus.ok
    case 'debug-exit':
      return ((end.value << 1) | 1) & 0xff
    case 'triple-fault':
      return ExitStatus.tripleFault
    case 'halted':
      return ExitStatus.halted
    case 'fetch-outside-memory':
    case 'unsupported-instruction':
      return ExitStatus.unsupported
    case 'failed':
      return ExitStatus.host
  }
}
