/** A set of the 256 interrupt vectors, as the IRR, ISR and TMR of a local APIC hold it. */

export class VectorSet {
  /** Word `n` holds vectors 32n to 32n + 31. */
  readonly words: Uint32Array = new Uint32Array(8)

  add(vector: number): void {
    this.words[vector >>> 5]! |= 1 << (vector & 31)
  }

  remove(vector: number): void {
    this.words[vector >>> 5]! &= ~(1 << (vector & 31))
  }

  has(vector: number): boolean {
    return ((this.words[vector >>> 5]! >>> (vector & 31)) & 1) !== 0
  }

  /** The highest vector, or -1. */
  highest(): number {
    const words = this.words
    for (let n = 7; n >= 0; n--) {
      const word = words[n]!
      if (word !== 0) return n * 32 + 31 - Math.clz32(word)
    }
    return -1
  }

  clear(): void {
    this.words.fill(0)
  }
}
