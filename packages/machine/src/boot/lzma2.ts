/**
 * LZMA2: chunks of LZMA-compressed or plain data, as in the .xz format.
 *
 * The dictionary is the output itself, so the whole result lies in one buffer. The decoder is one function with the range
 * coder written out at each use: V8 keeps its state in registers that way (calling a function for each bit costs about
 * twice the time). Measured on a Debian kernel package: 57 MB of output, 14 MB of packed data a second, 2/3 of liblzma.
 */
import { BootError } from './boot-error.ts'

// Where each group of probabilities begins. Numbers of contexts are those of the LZMA specification.
const IS_MATCH = 0 // [state][position state]
const IS_REP = IS_MATCH + 12 * 16
const IS_REP_G0 = IS_REP + 12
const IS_REP_G1 = IS_REP_G0 + 12
const IS_REP_G2 = IS_REP_G1 + 12
const IS_REP0_LONG = IS_REP_G2 + 12 // [state][position state]
const POSITION_SLOT = IS_REP0_LONG + 12 * 16 // [length state] trees of 6 bits
const POSITION_SPECIAL = POSITION_SLOT + 4 * 64
const POSITION_ALIGN = POSITION_SPECIAL + 115
const MATCH_LENGTH = POSITION_ALIGN + 16
const LENGTH_LOW = 2 // [position state] trees of 3 bits, behind two choice bits
const LENGTH_MID = LENGTH_LOW + 16 * 8
const LENGTH_HIGH = LENGTH_MID + 16 * 8 // one tree of 8 bits
const LENGTH_COUNT = LENGTH_HIGH + 256
const REP_LENGTH = MATCH_LENGTH + LENGTH_COUNT
const LITERAL = REP_LENGTH + LENGTH_COUNT // [literal context] 0x300 each; lc + lp <= 4
const PROBABILITY_COUNT = LITERAL + (0x300 << 4)

const HALF = 1024 // probabilities have 11 bits

/** Decodes one LZMA2 stream; make a new one for each. */
export interface Lzma2Decoder {
  /**
   * Decodes `input[start, end)` until `output` is full and the end mark is read.
   *
   * @throws BootError `boot/corrupt-data`
   */
  decode(input: Uint8Array, start: number, end: number, output: Uint8Array): void
}

/** Makes a decoder. */
export function createLzma2Decoder(): Lzma2Decoder {
  const probabilities = new Uint16Array(PROBABILITY_COUNT)
  let lc = 0
  let lp = 0
  let pb = 0
  let state = 0
  let rep0 = 0
  let rep1 = 0
  let rep2 = 0
  let rep3 = 0

  return { decode }

  function decode(input: Uint8Array, start: number, end: number, output: Uint8Array): void {
    let at = start
    let to = 0
    let dictionaryStart = 0
    let needsDictionary = true
    let needsProperties = true
    let needsState = true
    for (;;) {
      if (at >= end) throw corrupt('no end mark')
      const control = input[at++]!
      if (control === 0) break
      if (control >= 0xe0 || control === 1) {
        dictionaryStart = to
        needsDictionary = false
      } else if (needsDictionary) {
        throw corrupt('the first chunk does not reset the dictionary')
      }
      if (control < 0x80) {
        if (control > 2) throw corrupt(`control byte ${control}`)
        if (at + 2 > end) throw corrupt('a chunk is cut off')
        const size = ((input[at]! << 8) | input[at + 1]!) + 1
        at += 2
        if (size > end - at || size > output.length - to)
          throw corrupt(`a plain chunk of ${size} bytes does not fit`)
        output.set(input.subarray(at, at + size), to)
        at += size
        to += size
        continue
      }
      if (at + 5 > end) throw corrupt('a chunk is cut off')
      const unpackedSize = (((control & 0x1f) << 16) | (input[at]! << 8) | input[at + 1]!) + 1
      const packedSize = ((input[at + 2]! << 8) | input[at + 3]!) + 1
      at += 4
      if (control >= 0xc0) {
        const properties = input[at++]!
        if (properties > (4 * 5 + 4) * 9 + 8) throw corrupt(`properties ${properties}`)
        pb = Math.floor(properties / 45)
        lp = Math.floor(properties / 9) % 5
        lc = properties % 9
        if (lc + lp > 4) throw corrupt(`lc ${lc} and lp ${lp}`)
        needsProperties = false
      } else if (needsProperties) {
        throw corrupt('the first LZMA chunk has no properties')
      }
      if (control >= 0xa0) {
        probabilities.fill(HALF)
        state = 0
        rep0 = 0
        rep1 = 0
        rep2 = 0
        rep3 = 0
        needsState = false
      } else if (needsState) {
        throw corrupt('the first LZMA chunk does not reset the state')
      }
      if (packedSize > end - at) throw corrupt('a chunk is cut off')
      if (unpackedSize > output.length - to) throw corrupt(`a chunk of ${unpackedSize} bytes does not fit`)
      decodeChunk(input, at, at + packedSize, output, to, to + unpackedSize, dictionaryStart)
      at += packedSize
      to += unpackedSize
    }
    if (to !== output.length) throw corrupt(`${to} bytes instead of ${output.length}`)
  }

  /** One LZMA chunk. Reads beyond `end` yield undefined (0 as an integer) and are found afterwards. */
  function decodeChunk(
    input: Uint8Array,
    start: number,
    end: number,
    output: Uint8Array,
    outputStart: number,
    outputEnd: number,
    dictionaryStart: number,
  ): void {
    const probs = probabilities
    const literalMask = (1 << lp) - 1
    const literalShift = 8 - lc
    const lcBits = lc
    const positionMask = (1 << pb) - 1
    let currentState = state
    let r0 = rep0
    let r1 = rep1
    let r2 = rep2
    let r3 = rep3
    let to = outputStart
    let at = start + 5
    // Both are unsigned 32-bit values held as signed ones; comparisons and products go through >>> 0.
    let range = -1
    let code =
      (input[start + 1]! << 24) | (input[start + 2]! << 16) | (input[start + 3]! << 8) | input[start + 4]!
    let bound = 0
    let prob = 0
    let index = 0

    while (to < outputEnd) {
      const positionState = (to - dictionaryStart) & positionMask
      let length = 0

      if (range >>> 24 === 0) {
        range <<= 8
        code = (code << 8) | input[at++]!
      }
      index = IS_MATCH + (currentState << 4) + positionState
      prob = probs[index]!
      bound = Math.imul(range >>> 11, prob)
      if (code >>> 0 < bound >>> 0) {
        range = bound
        probs[index] = prob + ((2048 - prob) >> 5)
        // A literal, in the context of its position and of the byte before.
        const before = to > dictionaryStart ? output[to - 1]! : 0
        const base =
          LITERAL + 0x300 * ((((to - dictionaryStart) & literalMask) << lcBits) + (before >>> literalShift))
        let symbol = 1
        if (currentState >= 7) {
          // After a match the byte that would have followed it is context too.
          if (r0 >= to - dictionaryStart) throw corrupt('a distance points before the data')
          let matchByte = output[to - r0 - 1]! << 1
          let offset = 0x100
          do {
            const matchBit = matchByte & offset
            matchByte <<= 1
            if (range >>> 24 === 0) {
              range <<= 8
              code = (code << 8) | input[at++]!
            }
            index = base + offset + matchBit + symbol
            prob = probs[index]!
            bound = Math.imul(range >>> 11, prob)
            if (code >>> 0 < bound >>> 0) {
              range = bound
              probs[index] = prob + ((2048 - prob) >> 5)
              symbol <<= 1
              offset &= ~matchBit
            } else {
              range = (range - bound) | 0
              code = (code - bound) | 0
              probs[index] = prob - (prob >> 5)
              symbol = (symbol << 1) | 1
              offset &= matchBit
            }
          } while (symbol < 0x100)
        } else {
          do {
            if (range >>> 24 === 0) {
              range <<= 8
              code = (code << 8) | input[at++]!
            }
            index = base + symbol
            prob = probs[index]!
            bound = Math.imul(range >>> 11, prob)
            if (code >>> 0 < bound >>> 0) {
              range = bound
              probs[index] = prob + ((2048 - prob) >> 5)
              symbol <<= 1
            } else {
              range = (range - bound) | 0
              code = (code - bound) | 0
              probs[index] = prob - (prob >> 5)
              symbol = (symbol << 1) | 1
            }
          } while (symbol < 0x100)
        }
        output[to++] = symbol
        currentState = currentState < 4 ? 0 : currentState < 10 ? currentState - 3 : currentState - 6
        continue
      }
      range = (range - bound) | 0
      code = (code - bound) | 0
      probs[index] = prob - (prob >> 5)

      if (range >>> 24 === 0) {
        range <<= 8
        code = (code << 8) | input[at++]!
      }
      index = IS_REP + currentState
      prob = probs[index]!
      bound = Math.imul(range >>> 11, prob)
      let lengthBase = MATCH_LENGTH
      const isRep = code >>> 0 >= bound >>> 0
      if (!isRep) {
        range = bound
        probs[index] = prob + ((2048 - prob) >> 5)
        r3 = r2
        r2 = r1
        r1 = r0
        currentState = currentState < 7 ? 7 : 10
      } else {
        range = (range - bound) | 0
        code = (code - bound) | 0
        probs[index] = prob - (prob >> 5)
        lengthBase = REP_LENGTH
        if (range >>> 24 === 0) {
          range <<= 8
          code = (code << 8) | input[at++]!
        }
        index = IS_REP_G0 + currentState
        prob = probs[index]!
        bound = Math.imul(range >>> 11, prob)
        if (code >>> 0 < bound >>> 0) {
          range = bound
          probs[index] = prob + ((2048 - prob) >> 5)
          if (range >>> 24 === 0) {
            range <<= 8
            code = (code << 8) | input[at++]!
          }
          index = IS_REP0_LONG + (currentState << 4) + positionState
          prob = probs[index]!
          bound = Math.imul(range >>> 11, prob)
          if (code >>> 0 < bound >>> 0) {
            // One byte from the last distance.
            range = bound
            probs[index] = prob + ((2048 - prob) >> 5)
            if (r0 >= to - dictionaryStart) throw corrupt('a distance points before the data')
            output[to] = output[to - r0 - 1]!
            to++
            currentState = currentState < 7 ? 9 : 11
            continue
          }
          range = (range - bound) | 0
          code = (code - bound) | 0
          probs[index] = prob - (prob >> 5)
        } else {
          range = (range - bound) | 0
          code = (code - bound) | 0
          probs[index] = prob - (prob >> 5)
          let distance = r1
          if (range >>> 24 === 0) {
            range <<= 8
            code = (code << 8) | input[at++]!
          }
          index = IS_REP_G1 + currentState
          prob = probs[index]!
          bound = Math.imul(range >>> 11, prob)
          if (code >>> 0 < bound >>> 0) {
            range = bound
            probs[index] = prob + ((2048 - prob) >> 5)
          } else {
            range = (range - bound) | 0
            code = (code - bound) | 0
            probs[index] = prob - (prob >> 5)
            if (range >>> 24 === 0) {
              range <<= 8
              code = (code << 8) | input[at++]!
            }
            index = IS_REP_G2 + currentState
            prob = probs[index]!
            bound = Math.imul(range >>> 11, prob)
            if (code >>> 0 < bound >>> 0) {
              range = bound
              probs[index] = prob + ((2048 - prob) >> 5)
              distance = r2
            } else {
              range = (range - bound) | 0
              code = (code - bound) | 0
              probs[index] = prob - (prob >> 5)
              distance = r3
              r3 = r2
            }
            r2 = r1
          }
          r1 = r0
          r0 = distance
        }
        currentState = currentState < 7 ? 8 : 11
      }

      // The length: two choice bits, then a tree of 3, 3 or 8 bits.
      let treeBase = lengthBase + LENGTH_LOW + (positionState << 3)
      let treeLimit = 8
      let lengthOffset = 2 - 8
      if (range >>> 24 === 0) {
        range <<= 8
        code = (code << 8) | input[at++]!
      }
      prob = probs[lengthBase]!
      bound = Math.imul(range >>> 11, prob)
      if (code >>> 0 < bound >>> 0) {
        range = bound
        probs[lengthBase] = prob + ((2048 - prob) >> 5)
      } else {
        range = (range - bound) | 0
        code = (code - bound) | 0
        probs[lengthBase] = prob - (prob >> 5)
        if (range >>> 24 === 0) {
          range <<= 8
          code = (code << 8) | input[at++]!
        }
        index = lengthBase + 1
        prob = probs[index]!
        bound = Math.imul(range >>> 11, prob)
        if (code >>> 0 < bound >>> 0) {
          range = bound
          probs[index] = prob + ((2048 - prob) >> 5)
          treeBase = lengthBase + LENGTH_MID + (positionState << 3)
          lengthOffset = 2 + 8 - 8
        } else {
          range = (range - bound) | 0
          code = (code - bound) | 0
          probs[index] = prob - (prob >> 5)
          treeBase = lengthBase + LENGTH_HIGH
          treeLimit = 256
          lengthOffset = 2 + 16 - 256
        }
      }
      let symbol = 1
      do {
        if (range >>> 24 === 0) {
          range <<= 8
          code = (code << 8) | input[at++]!
        }
        index = treeBase + symbol
        prob = probs[index]!
        bound = Math.imul(range >>> 11, prob)
        if (code >>> 0 < bound >>> 0) {
          range = bound
          probs[index] = prob + ((2048 - prob) >> 5)
          symbol <<= 1
        } else {
          range = (range - bound) | 0
          code = (code - bound) | 0
          probs[index] = prob - (prob >> 5)
          symbol = (symbol << 1) | 1
        }
      } while (symbol < treeLimit)
      length = symbol + lengthOffset

      if (!isRep) {
        // The distance: its highest two bits and their place as a slot, then the bits below.
        const slotBase = POSITION_SLOT + ((length < 6 ? length - 2 : 3) << 6)
        symbol = 1
        do {
          if (range >>> 24 === 0) {
            range <<= 8
            code = (code << 8) | input[at++]!
          }
          index = slotBase + symbol
          prob = probs[index]!
          bound = Math.imul(range >>> 11, prob)
          if (code >>> 0 < bound >>> 0) {
            range = bound
            probs[index] = prob + ((2048 - prob) >> 5)
            symbol <<= 1
          } else {
            range = (range - bound) | 0
            code = (code - bound) | 0
            probs[index] = prob - (prob >> 5)
            symbol = (symbol << 1) | 1
          }
        } while (symbol < 64)
        const slot = symbol - 64
        if (slot < 4) {
          r0 = slot
        } else {
          let bitsBelow = (slot >> 1) - 1
          r0 = 2 | (slot & 1)
          let reverseBase: number
          if (slot < 14) {
            r0 <<= bitsBelow
            reverseBase = POSITION_SPECIAL + r0 - slot
          } else {
            // Bits in the middle have no probabilities.
            for (let count = bitsBelow - 4; count > 0; count--) {
              if (range >>> 24 === 0) {
                range <<= 8
                code = (code << 8) | input[at++]!
              }
              range >>>= 1
              code = (code - range) | 0
              const borrow = code >> 31
              code = (code + (range & borrow)) | 0
              r0 = (r0 << 1) + borrow + 1
            }
            r0 <<= 4
            bitsBelow = 4
            reverseBase = POSITION_ALIGN
          }
          symbol = 1
          for (let bit = 0; bit < bitsBelow; bit++) {
            if (range >>> 24 === 0) {
              range <<= 8
              code = (code << 8) | input[at++]!
            }
            index = reverseBase + symbol
            prob = probs[index]!
            bound = Math.imul(range >>> 11, prob)
            if (code >>> 0 < bound >>> 0) {
              range = bound
              probs[index] = prob + ((2048 - prob) >> 5)
              symbol <<= 1
            } else {
              range = (range - bound) | 0
              code = (code - bound) | 0
              probs[index] = prob - (prob >> 5)
              symbol = (symbol << 1) | 1
              r0 += 1 << bit
            }
          }
        }
      }

      if (r0 < 0 || r0 >= to - dictionaryStart) throw corrupt('a distance points before the data')
      // Chunks of LZMA2 never share a match.
      if (length > outputEnd - to) throw corrupt('a match crosses the end of its chunk')
      const distance = r0 + 1
      if (length > 48 && distance >= length) {
        output.copyWithin(to, to - distance, to - distance + length)
        to += length
      } else {
        for (const stop = to + length; to < stop; to++) output[to] = output[to - distance]!
      }
      if (at > end) throw corrupt('a chunk is cut off')
    }
    // The encoder's last shift leaves one normalisation to do; then all bytes are used up.
    if (range >>> 24 === 0) at++
    if (at !== end) throw corrupt(`a chunk of ${end - start} bytes ends after ${at - start}`)
    state = currentState
    rep0 = r0
    rep1 = r1
    rep2 = r2
    rep3 = r3
  }
}

function corrupt(what: string): BootError {
  return new BootError('boot/corrupt-data', `LZMA2 data: ${what}`)
}
