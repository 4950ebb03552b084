/**
 * Standard output for bytes from a guest: as they are, and no faster than the reader takes them. Whoever produces them
 * waits for `room` now and then.
 */

export interface StandardOutput {
  write(bytes: Uint8Array): void
  /** Resolves when the reader has caught up; undefined when there is nothing to wait for. */
  room(): Promise<void> | undefined
  /** Resolves when everything is written. */
  finish(): Promise<void>
  /** Whether the reader went away. */
  readonly closed: boolean
}

/** @param onClose - the reader went away */
export function createStandardOutput(stream: NodeJS.WriteStream, onClose: () => void): StandardOutput {
  let waiting: Promise<void> | undefined
  let release: () => void = () => {}
  let closed = false
  stream.on('drain', () => release())
  stream.on('error', () => {
    if (closed) return
    closed = true
    release()
    onClose()
  })
  return {
    get closed() {
      return closed
    },
    write(bytes) {
      if (closed || stream.write(bytes) || waiting) return
      waiting = new Promise((resolve) => {
        release = () => {
          waiting = undefined
          release = () => {}
          resolve()
        }
      })
    },
    room: () => waiting,
    finish: () =>
      closed
        ? Promise.resolve()
        : new Promise((resolve) => {
            stream.write('', () => resolve())
          }),
  }
}
