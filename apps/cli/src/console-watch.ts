/**
 * Reads along on the guest's console: which phase of its start it is in, and whether its kernel panicked. The guest is
 * free to print such lines itself; what follows from them is a status and a line of text, never more.
 */

/** What a line of the console tells. */
export type ConsoleMark =
  /** The kernel starts /init. */
  | 'init'
  /** The Debian guest's shell is there. */
  | 'shell'
  | 'panic'

const MARKS: readonly (readonly [RegExp, ConsoleMark])[] = [
  [/^(\[ *\d+\.\d+\] )?Run \S+ as init process/, 'init'],
  // Also with "quiet", which drops the kernel's own line.
  [/^trapframe: init/, 'init'],
  [/^trapframe: shell/, 'shell'],
  [/^(\[ *\d+\.\d+\] )?Kernel panic - not syncing/, 'panic'],
]
/** Longest part of a line that is looked at. */
const MAX_LINE = 256
const MAX_TAIL = 4096

export interface ConsoleWatch {
  /** Takes a piece of output. */
  read(bytes: Uint8Array): void
  /** The end of what was printed, for a report. */
  readonly tail: string
}

/** Makes a watch. @param mark - called for each line that is a mark, when it is complete */
export function createConsoleWatch(mark: (mark: ConsoleMark) => void): ConsoleWatch {
  const decoder = new TextDecoder('latin1')
  let line = ''
  let tail = ''
  return {
    get tail() {
      return tail
    },
    read(bytes) {
      const text = decoder.decode(bytes)
      tail = (tail + text).slice(-MAX_TAIL)
      const lines = text.split('\n')
      lines.forEach((part, index) => {
        line = (line + part).slice(0, MAX_LINE)
        if (index === lines.length - 1) return
        const found = MARKS.find(([pattern]) => pattern.test(line))
        line = ''
        if (found) mark(found[1])
      })
    },
  }
}
