/**
 * The keys of a terminal that are for the command and not for the guest: Ctrl-A X ends, Ctrl-A Ctrl-A sends Ctrl-A, as
 * in QEMU. Any other key after Ctrl-A is dropped together with it.
 */

const CTRL_A = 0x01

/** What a piece of input means. */
export interface KeyInput {
  /** Bytes for the guest. */
  readonly bytes: Uint8Array
  /** The user wants to leave; what came behind is dropped. */
  readonly leave: boolean
}

/** Makes a filter; it remembers a Ctrl-A between two pieces. */
export function createEscapeKeys(): (input: Uint8Array) => KeyInput {
  let escaped = false
  return (input) => {
    const bytes: number[] = []
    for (const byte of input) {
      if (escaped) {
        escaped = false
        if (byte === 0x78 || byte === 0x58) return { bytes: Uint8Array.from(bytes), leave: true }
        if (byte === CTRL_A) bytes.push(CTRL_A)
      } else if (byte === CTRL_A) escaped = true
      else bytes.push(byte)
    }
    return { bytes: Uint8Array.from(bytes), leave: false }
  }
}
