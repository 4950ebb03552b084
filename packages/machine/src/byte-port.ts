/**
 * A stream of bytes between the guest and the host: the far end of a serial port. What the guest sends is handed on as
 * it comes; what the host sends waits here until the guest takes it.
 */

/** The host's end. */
export interface BytePort {
  /** Calls `listener` with what the guest wrote; the array is to be read only. Answers the removal. */
  onOutput(listener: (bytes: Uint8Array) => void): () => void
  /** Queues bytes for the guest. They are copied. */
  send(bytes: Uint8Array): void
  /** Bytes that were sent and not yet taken. Whoever sends much should wait for `onDrain`. */
  readonly waitingBytes: number
  /** Calls `listener` when the last waiting byte was taken. Answers the removal. */
  onDrain(listener: () => void): () => void
}

/** The board's end. */
export interface BytePortEnd extends BytePort {
  /** Hands on what the guest wrote. */
  deliver(bytes: Uint8Array): void
  /** Offers waiting bytes to `take`, which answers how many it took, until it takes none or all are gone. */
  offer(take: (bytes: Uint8Array) => number): void
}

/**
 * Makes a port.
 * @param inputArrived - bytes wait where none did before
 */
export function createBytePort(inputArrived: () => void): BytePortEnd {
  const outputListeners = new Set<(bytes: Uint8Array) => void>()
  const drainListeners = new Set<() => void>()
  const input: Uint8Array[] = []
  let waitingBytes = 0

  return {
    get waitingBytes() {
      return waitingBytes
    },
    onOutput: (listener) => subscribe(outputListeners, listener),
    onDrain: (listener) => subscribe(drainListeners, listener),
    send(bytes) {
      if (bytes.length === 0) return
      const first = waitingBytes === 0
      input.push(new Uint8Array(bytes)) // `slice` of a Buffer would share its memory
      waitingBytes += bytes.length
      if (first) inputArrived()
    },
    deliver(bytes) {
      for (const listener of outputListeners) listener(bytes)
    },
    offer(take) {
      let first = input[0]
      while (first !== undefined) {
        const taken = take(first)
        if (taken <= 0) return
        waitingBytes -= taken
        if (taken < first.length) input[0] = first.subarray(taken)
        else input.shift()
        first = input[0]
        if (waitingBytes === 0) for (const listener of drainListeners) listener()
      }
    },
  }
}

function subscribe<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}
