/** A growable byte buffer with the encodings of the WebAssembly binary format (core specification, section 5.2). */
export class ByteWriter {
  #bytes: Uint8Array
  length = 0

  constructor(capacity = 1024) {
    this.#bytes = new Uint8Array(capacity)
  }

  /** The bytes written so far; valid until the next write. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.length)
  }

  u8(value: number): this {
    if (this.length === this.#bytes.length) this.#reserve(1)
    this.#bytes[this.length++] = value
    return this
  }

  bytes(values: ArrayLike<number>): this {
    this.#reserve(values.length)
    this.#bytes.set(values, this.length)
    this.length += values.length
    return this
  }

  /** Unsigned LEB128 of up to 32 bits. */
  u32(value: number): this {
    let rest = value >>> 0
    while (rest >= 0x80) {
      this.u8((rest & 0x7f) | 0x80)
      rest >>>= 7
    }
    return this.u8(rest)
  }

  /** Signed LEB128 of a 32-bit value. */
  s32(value: number): this {
    let rest = value | 0
    for (;;) {
      const low = rest & 0x7f
      rest >>= 7
      if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) return this.u8(low)
      this.u8(low | 0x80)
    }
  }

  /** Signed LEB128 of a 64-bit value given as two halves. */
  s64(low: number, high: number): this {
    let lo = low | 0
    let hi = high | 0
    for (;;) {
      const bits = lo & 0x7f
      lo = (lo >>> 7) | (hi << 25)
      hi >>= 7
      const sign = (bits & 0x40) !== 0
      if ((lo === 0 && hi === 0 && !sign) || (lo === -1 && hi === -1 && sign)) return this.u8(bits)
      this.u8(bits | 0x80)
    }
  }

  /** A vector of bytes: its length, then the bytes. */
  sized(bytes: Uint8Array): this {
    return this.u32(bytes.length).bytes(bytes)
  }

  name(text: string): this {
    return this.sized(new TextEncoder().encode(text))
  }

  #reserve(more: number): void {
    if (this.length + more <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + more))
    grown.set(this.#bytes.subarray(0, this.length))
    this.#bytes = grown
  }
}
