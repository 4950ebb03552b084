/**
 * Packets of gdb's remote serial protocol: `$data#checksum`, acknowledged by `+` or `-` until both sides agree not to.
 *
 * GDB manual, appendix E.1 (overview) and E.11 (interrupts: a bare 0x03 between packets). Run-length encoding is not
 * produced, and a debugger never sends it. Lengths are limited: a longer packet is dropped and refused.
 */

/** Longest packet that is taken and announced, in bytes of data. */
export const MAX_PACKET_BYTES = 0x4000

const DOLLAR = 0x24
const HASH = 0x23
const ESCAPE = 0x7d
const INTERRUPT = 0x03

/** What a debugger sends, cut into packets. */
export interface PacketEvents {
  /** Data of a packet with a right checksum, escapes resolved. */
  packet(data: Uint8Array): void
  /** The debugger wants the guest to stop. */
  interrupt(): void
  /** A packet that arrived damaged. */
  damaged(): void
  /** The other side got our last packet damaged (`-`). */
  resend(): void
}

/** Cuts a stream of bytes into packets. */
export class PacketReader {
  readonly #events: PacketEvents
  #state: 'idle' | 'data' | 'checksum' = 'idle'
  #data: number[] = []
  #sum = 0
  #escaped = false
  #digits = ''
  #tooLong = false

  constructor(events: PacketEvents) {
    this.#events = events
  }

  receive(bytes: Uint8Array): void {
    for (const byte of bytes) this.#byte(byte)
  }

  #byte(byte: number): void {
    switch (this.#state) {
      case 'idle':
        if (byte === DOLLAR) this.#begin()
        else if (byte === INTERRUPT) this.#events.interrupt()
        else if (byte === 0x2d) this.#events.resend()
        return
      case 'data':
        if (byte === DOLLAR) {
          this.#begin() // the end of the packet before got lost
        } else if (byte === HASH) {
          this.#digits = ''
          this.#state = 'checksum'
        } else {
          this.#sum = (this.#sum + byte) & 0xff
          if (this.#data.length >= MAX_PACKET_BYTES) this.#tooLong = true
          else if (byte === ESCAPE && !this.#escaped) this.#escaped = true
          else {
            this.#data.push(this.#escaped ? byte ^ 0x20 : byte)
            this.#escaped = false
          }
        }
        return
      case 'checksum':
        this.#digits += String.fromCharCode(byte)
        if (this.#digits.length < 2) return
        this.#state = 'idle'
        if (
          /^[0-9a-fA-F]{2}$/.test(this.#digits) &&
          Number.parseInt(this.#digits, 16) === this.#sum &&
          !this.#tooLong
        )
          this.#events.packet(Uint8Array.from(this.#data))
        else this.#events.damaged()
    }
  }

  #begin(): void {
    this.#state = 'data'
    this.#data = []
    this.#sum = 0
    this.#escaped = false
    this.#tooLong = false
  }
}

/** Wraps data into a packet. */
export function encodePacket(data: Uint8Array): Uint8Array {
  const bytes: number[] = [DOLLAR]
  let sum = 0
  const put = (byte: number): void => {
    bytes.push(byte)
    sum = (sum + byte) & 0xff
  }
  for (const byte of data) {
    if (byte === DOLLAR || byte === HASH || byte === ESCAPE || byte === 0x2a) {
      put(ESCAPE)
      put(byte ^ 0x20)
    } else put(byte)
  }
  bytes.push(HASH, ...new TextEncoder().encode(toHex(Uint8Array.of(sum))))
  return Uint8Array.from(bytes)
}

/** Two lower-case digits a byte. */
export function toHex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += (byte < 16 ? '0' : '') + byte.toString(16)
  return text
}

/** Undefined when the text is no even number of hexadecimal digits. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) return undefined
  const bytes = new Uint8Array(text.length / 2)
  for (let n = 0; n < bytes.length; n++) bytes[n] = Number.parseInt(text.slice(2 * n, 2 * n + 2), 16)
  return bytes
}
