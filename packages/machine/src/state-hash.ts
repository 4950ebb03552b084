/**
 * A 64-bit hash of saved state and guest RAM, to tell whether two runs ended alike. Not cryptographic.
 *
 * Two lanes of 32 bits over little-endian words, with multiplication and rotation as in xxHash32; the constants are its
 * primes. Values are hashed by type and content, objects by their keys in sorted order, so that equal states have equal
 * hashes whoever built them.
 */
import type { StateValue } from '@trapframe/core'

const PRIME1 = 0x9e3779b1 | 0
const PRIME2 = 0x85ebca77 | 0
const PRIME3 = 0xc2b2ae3d | 0

export class StateHash {
  #a = 0x24234428
  #b = 0x61c88647

  word(value: number): void {
    const a = Math.imul((this.#a + Math.imul(value, PRIME2)) | 0, PRIME1)
    this.#a = (a << 13) | (a >>> 19)
    const b = Math.imul((this.#b ^ value) + PRIME3, PRIME1)
    this.#b = (b << 17) | (b >>> 15)
  }

  bytes(bytes: Uint8Array): void {
    this.word(bytes.length)
    const { buffer, byteOffset, length } = bytes
    const words = length >>> 2
    if (byteOffset % 4 === 0 && LITTLE_ENDIAN) {
      this.words(new Uint32Array(buffer, byteOffset, words))
    } else {
      const view = new DataView(buffer, byteOffset)
      for (let n = 0; n < words; n++) this.word(view.getUint32(n * 4, true))
    }
    for (let n = words * 4; n < length; n++) this.word(bytes[n]!)
  }

  /** Runs over RAM: local variables, because a field access per word takes four times as long. */
  words(words: Uint32Array): void {
    let a = this.#a
    let b = this.#b
    for (let n = 0; n < words.length; n++) {
      const value = words[n]! | 0
      a = Math.imul((a + Math.imul(value, PRIME2)) | 0, PRIME1)
      a = (a << 13) | (a >>> 19)
      b = Math.imul((b ^ value) + PRIME3, PRIME1)
      b = (b << 17) | (b >>> 15)
    }
    this.#a = a
    this.#b = b
  }

  value(value: StateValue): void {
    if (value === null) this.word(1)
    else if (typeof value === 'boolean') this.word(value ? 3 : 2)
    else if (typeof value === 'number') {
      this.word(4)
      NUMBER[0] = value
      this.word(NUMBER_WORDS[0]!)
      this.word(NUMBER_WORDS[1]!)
    } else if (typeof value === 'bigint') {
      this.word(5)
      this.#text(value.toString(16))
    } else if (typeof value === 'string') {
      this.word(6)
      this.#text(value)
    } else if (value instanceof Uint8Array) {
      this.word(7)
      this.bytes(value)
    } else if (Array.isArray(value)) {
      this.word(8)
      this.word(value.length)
      for (const element of value) this.value(element)
    } else {
      this.word(9)
      const record = value as { readonly [key: string]: StateValue }
      const keys = Object.keys(record)
        .filter((key) => record[key] !== undefined)
        .sort()
      this.word(keys.length)
      for (const key of keys) {
        this.#text(key)
        this.value(record[key]!)
      }
    }
  }

  /** The hash so far, as 16 hexadecimal digits. */
  digest(): string {
    const finish = (value: number): string => {
      let h = value
      h = Math.imul(h ^ (h >>> 15), PRIME2)
      h = Math.imul(h ^ (h >>> 13), PRIME3)
      return ((h ^ (h >>> 16)) >>> 0).toString(16).padStart(8, '0')
    }
    return finish(this.#a) + finish(this.#b)
  }

  #text(text: string): void {
    this.word(text.length)
    for (let n = 0; n < text.length; n++) this.word(text.charCodeAt(n))
  }
}

const NUMBER = new Float64Array(1)
const NUMBER_WORDS = new Uint32Array(NUMBER.buffer)
const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1
