/**
 * Debug console at port 0xe9, as in Bochs and QEMU: bytes written go to the host, and a read gives 0xe9, by which a
 * guest knows that it is there. Bytes are collected; see `flush`.
 */
import type { Metrics } from '@trapframe/core'
import type { Device, IoRange } from '../device.ts'

const BUFFER_BYTES = 1024

/** Where the bytes go. */
export interface DebugConsoleOptions {
  /** Gets the bytes in batches, its to keep. */
  readonly transmit: (bytes: Uint8Array) => void
  /** Default: 0xe9. */
  readonly port?: number
}

/** A port for messages; it has no state, what was written is gone with the next `flush`. */
export interface DebugConsole extends Device {
  readonly metrics: Metrics
  /** Delivers collected bytes. To be called after each run of the vCPU. */
  flush(): void
}

/** Makes a debug console. */
export function createDebugConsole({ transmit, port = 0xe9 }: DebugConsoleOptions): DebugConsole {
  const buffer = new Uint8Array(BUFFER_BYTES)
  let length = 0
  let transmitted = 0

  function flush(): void {
    if (length === 0) return
    const bytes = buffer.slice(0, length)
    length = 0
    transmit(bytes)
  }

  const range: IoRange = {
    base: port,
    size: 1,
    access: 'posted',
    width: 1,
    read: () => 0xe9,
    write(_offset, _size, value) {
      buffer[length++] = value
      transmitted++
      if (length === BUFFER_BYTES) flush()
    },
  }
  return {
    id: 'debug-console',
    pio: [range],
    metrics: { read: () => ({ 'transmitted-bytes': transmitted }) },
    flush,
  }
}
