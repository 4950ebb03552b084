/**
 * How far a guest's output may be ahead of the page: what is sent and not yet shown. A guest that prints faster than
 * the terminal draws waits, or messages would pile up and the page would answer late.
 */

/** About 20 ms of the terminal's work; more would be felt when a key is pressed. */
const WINDOW_BYTES = 128 * 1024

export interface OutputWindow {
  sent(bytes: number): void
  shown(bytes: number): void
  /** Resolves when the guest may go on. */
  room(): Promise<void> | undefined
}

export function createOutputWindow(windowBytes: number = WINDOW_BYTES): OutputWindow {
  let ahead = 0
  let waiting: (() => void)[] = []
  return {
    sent(bytes) {
      ahead += bytes
    },
    shown(bytes) {
      ahead -= bytes
      if (ahead >= windowBytes) return
      const ready = waiting
      waiting = []
      for (const resolve of ready) resolve()
    },
    room() {
      if (ahead < windowBytes) return undefined
      return new Promise((resolve) => {
        waiting.push(resolve)
      })
    },
  }
}
