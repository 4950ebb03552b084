/** How long each phase of a start took, for the one line that says so. */

/** Milliseconds since the process began at which a phase was over; absent: it is not over. */
export interface PhaseTimes {
  /** Duration of what `npm run boot` did before this process's own work; not part of the other times. */
  readonly setUpMs?: number | undefined
  /** The machine was made. */
  readonly firstInstructionMs?: number
  /** The kernel started /init. */
  readonly initMs?: number
  /** The shell was there. */
  readonly shellMs?: number
  /** This program began to run its own code. */
  readonly loadedMs: number
}

/** Such as "set-up 0.02 s, process start 0.11 s, first guest instruction 0.13 s, kernel 3.10 s, init 0.21 s". */
export function formatPhases(times: PhaseTimes): string {
  const { setUpMs, loadedMs, firstInstructionMs, initMs, shellMs } = times
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`
  const parts: string[] = []
  if (setUpMs !== undefined) parts.push(`set-up ${seconds(setUpMs)}`)
  parts.push(`process start ${seconds(loadedMs)}`)
  if (firstInstructionMs !== undefined)
    parts.push(`first guest instruction ${seconds(firstInstructionMs - loadedMs)}`)
  if (initMs !== undefined && firstInstructionMs !== undefined)
    parts.push(`kernel ${seconds(initMs - firstInstructionMs)}`)
  if (shellMs !== undefined && initMs !== undefined) parts.push(`init ${seconds(shellMs - initMs)}`)
  return parts.join(', ')
}
