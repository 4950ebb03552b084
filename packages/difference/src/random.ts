/** A seeded generator of random numbers (sfc32, Chris Doty-Humphrey's small fast counting generator). */
export class Random {
  #a: number
  #b: number
  #c: number
  #counter = 1

  /** @param seed - 32 bits */
  constructor(seed: number) {
    this.#a = seed | 0
    this.#b = 0x9e37_79b9 | 0
    this.#c = 0x243f_6a88
    for (let i = 0; i < 12; i++) this.u32()
  }

  /** 32 bits, unsigned. */
  u32(): number {
    const value = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + value) | 0
    return value >>> 0
  }

  /** 64 bits, unsigned. */
  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32())
  }

  /** 0 to `limit - 1`. */
  below(limit: number): number {
    return this.u32() % limit
  }

  /** True once in `times`. */
  once(times: number): boolean {
    return this.below(times) === 0
  }

  /** One of the list. */
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!
  }
}
