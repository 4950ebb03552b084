/**
 * CPU time of a whole process with all its threads, and the core that measured processes are pinned to.
 *
 * proc(5), /proc/<pid>/stat: utime and stime, which have a resolution of one clock tick (10 ms). Linux only.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** USER_HZ is part of Linux's ABI for x86-64. */
const TICKS_PER_SECOND = 100

/** User and system time of all threads so far, in seconds. NaN when the process is gone. */
export function processCpuSeconds(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name of the program, in parentheses, may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
  } catch {
    return Number.NaN
  }
}

/** The last core that this process may use, if taskset is there to pin others to it; undefined otherwise. */
export function measuredCore(): number | undefined {
  if (spawnSync('taskset', ['--version'], { stdio: 'ignore' }).status !== 0) return undefined
  try {
    const list = /^Cpus_allowed_list:\s*(.+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
    const last = Number(list?.split(/[,-]/).at(-1))
    return Number.isInteger(last) ? last : undefined
  } catch {
    return undefined
  }
}

/** A command that runs on one core only. taskset becomes the program, so the process stays the same. */
export function pinned(core: number | undefined, command: readonly string[]): readonly string[] {
  return core === undefined ? command : ['taskset', '-c', String(core), ...command]
}
