/**
 * gzip members and raw DEFLATE: RFC 1952, RFC 1951.
 *
 * Written for whole buffers whose unpacked size is known; a host with a native inflate hands that in instead (see
 * `KernelCodec`). The gzip CRC is checked. Preset dictionaries and multi-member files are not handled.
 */
import { BootError } from './boot-error.ts'
import { crc32 } from './checksum.ts'

/** First bytes of a gzip member with DEFLATE inside. */
export const GZIP_MAGIC: Uint8Array = Uint8Array.of(0x1f, 0x8b, 0x08)

const FHCRC = 2
const FEXTRA = 4
const FNAME = 8
const FCOMMENT = 16

const LENGTH_BASE = Uint16Array.of(
  3,
  4,
  5,
  6,
  7,
  8,
  9,
  10,
  11,
  13,
  15,
  17,
  19,
  23,
  27,
  31,
  35,
  43,
  51,
  59,
  67,
  83,
  99,
  115,
  131,
  163,
  195,
  227,
  258,
)
const LENGTH_EXTRA = Uint8Array.of(
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  1,
  1,
  1,
  1,
  2,
  2,
  2,
  2,
  3,
  3,
  3,
  3,
  4,
  4,
  4,
  4,
  5,
  5,
  5,
  5,
  0,
)
const DISTANCE_BASE = Uint16Array.of(
  1,
  2,
  3,
  4,
  5,
  7,
  9,
  13,
  17,
  25,
  33,
  49,
  65,
  97,
  129,
  193,
  257,
  385,
  513,
  769,
  1025,
  1537,
  2049,
  3073,
  4097,
  6145,
  8193,
  12289,
  16385,
  24577,
)
const DISTANCE_EXTRA = Uint8Array.of(
  0,
  0,
  0,
  0,
  1,
  1,
  2,
  2,
  3,
  3,
  4,
  4,
  5,
  5,
  6,
  6,
  7,
  7,
  8,
  8,
  9,
  9,
  10,
  10,
  11,
  11,
  12,
  12,
  13,
  13,
)
const CODE_LENGTH_ORDER = Uint8Array.of(16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)

/** Every code has its entry in one table of 2^15: entry = symbol << 4 | length, 0 where no code is. */
const MAX_BITS = 15

/**
 * Unpacks the first gzip member.
 *
 * @param expectedSizeBytes - size of the unpacked data
 * @throws BootError `boot/corrupt-data`
 */
export function decompressGzip(bytes: Uint8Array, expectedSizeBytes: number): Uint8Array {
  if (bytes.length < 18 || bytes[0] !== 0x1f || bytes[1] !== 0x8b || bytes[2] !== 8)
    throw corrupt('no gzip header')
  const flags = bytes[3]!
  let at = 10
  if (flags & FEXTRA) at += 2 + (bytes[at]! | (bytes[at + 1]! << 8))
  if (flags & FNAME) at = behindNul(bytes, at)
  if (flags & FCOMMENT) at = behindNul(bytes, at)
  if (flags & FHCRC) at += 2
  if (at + 8 > bytes.length) throw corrupt('the header is cut off')
  const output = new Uint8Array(expectedSizeBytes)
  const end = inflate(bytes, at, output)
  if (end + 8 > bytes.length) throw corrupt('the trailer is cut off')
  const expectedCrc = new DataView(bytes.buffer, bytes.byteOffset + end, 4).getUint32(0, true)
  const crc = crc32(output)
  if (crc !== expectedCrc) throw corrupt(`CRC is ${hex(crc)}, the file says ${hex(expectedCrc)}`)
  return output
}

/**
 * Unpacks raw DEFLATE data into `output`, which must have exactly the unpacked size.
 *
 * @returns position in `input` behind the last block, rounded up to a byte
 */
export function inflate(input: Uint8Array, start: number, output: Uint8Array): number {
  const lengths = new Uint8Array(320)
  const literalTable = new Uint16Array(1 << MAX_BITS)
  const distanceTable = new Uint16Array(1 << MAX_BITS)
  const codeTable = new Uint16Array(1 << 7)
  let at = start
  let bits = 0
  let bitCount = 0
  let to = 0
  let last = false

  // Beyond the end zeros are read; that the input was overrun is found when the block ends.
  function take(count: number): number {
    while (bitCount < count) {
      bits |= (at < input.length ? input[at]! : 0) << bitCount
      at++
      bitCount += 8
    }
    const value = bits & ((1 << count) - 1)
    bits >>>= count
    bitCount -= count
    return value
  }

  while (!last) {
    if (at - (bitCount >> 3) > input.length) throw corrupt('the data are cut off')
    last = take(1) === 1
    const type = take(2)
    if (type === 0) {
      at -= bitCount >> 3
      bits = 0
      bitCount = 0
      if (at + 4 > input.length) throw corrupt('a stored block is cut off')
      const length = input[at]! | (input[at + 1]! << 8)
      const complement = input[at + 2]! | (input[at + 3]! << 8)
      at += 4
      if ((length ^ 0xffff) !== complement) throw corrupt('length of a stored block')
      if (at + length > input.length || to + length > output.length)
        throw corrupt('a stored block does not fit')
      output.set(input.subarray(at, at + length), to)
      at += length
      to += length
      continue
    }
    if (type === 3) throw corrupt('block type 3')
    let literalBits: number
    let distanceBits: number
    if (type === 1) {
      lengths.fill(8, 0, 144).fill(9, 144, 256).fill(7, 256, 280).fill(8, 280, 288)
      literalBits = buildTable(lengths, 0, 288, literalTable)
      lengths.fill(5, 0, 30)
      distanceBits = buildTable(lengths, 0, 30, distanceTable)
    } else {
      const literalCount = take(5) + 257
      const distanceCount = take(5) + 1
      const codeCount = take(4) + 4
      if (literalCount > 286 || distanceCount > 30)
        throw corrupt(`${literalCount} and ${distanceCount} codes`)
      lengths.fill(0)
      for (let index = 0; index < codeCount; index++) lengths[CODE_LENGTH_ORDER[index]!] = take(3)
      const codeBits = buildTable(lengths, 0, 19, codeTable)
      lengths.fill(0, 0, 19)
      let previous = 0
      for (let index = 0; index < literalCount + distanceCount; ) {
        const symbol = takeSymbol(codeTable, codeBits)
        if (symbol < 16) {
          previous = symbol
          lengths[index++] = symbol
          continue
        }
        if (symbol === 16 && index === 0) throw corrupt('nothing to repeat')
        const repeat = symbol === 16 ? 3 + take(2) : symbol === 17 ? 3 + take(3) : 11 + take(7)
        if (symbol !== 16) previous = 0
        if (index + repeat > literalCount + distanceCount) throw corrupt('too many code lengths')
        lengths.fill(previous, index, index + repeat)
        index += repeat
      }
      literalBits = buildTable(lengths, 0, literalCount, literalTable)
      distanceBits = buildTable(lengths, literalCount, distanceCount, distanceTable)
    }
    const literalMask = (1 << literalBits) - 1
    for (;;) {
      while (bitCount < 15) {
        bits |= (at < input.length ? input[at]! : 0) << bitCount
        at++
        bitCount += 8
      }
      const entry = literalTable[bits & literalMask]!
      if (entry === 0) throw corrupt('a code that does not exist')
      bits >>>= entry & 15
      bitCount -= entry & 15
      const symbol = entry >> 4
      if (symbol < 256) {
        if (to >= output.length) throw corrupt(`more than ${output.length} bytes`)
        output[to++] = symbol
        continue
      }
      if (symbol === 256) break
      const lengthCode = symbol - 257
      if (lengthCode >= 29) throw corrupt(`length code ${symbol}`)
      const length = LENGTH_BASE[lengthCode]! + take(LENGTH_EXTRA[lengthCode]!)
      const distanceCode = takeSymbol(distanceTable, distanceBits)
      if (distanceCode >= 30) throw corrupt(`distance code ${distanceCode}`)
      const distance = DISTANCE_BASE[distanceCode]! + take(DISTANCE_EXTRA[distanceCode]!)
      if (distance > to) throw corrupt(`distance ${distance} points before the data`)
      if (length > output.length - to) throw corrupt(`more than ${output.length} bytes`)
      for (const stop = to + length; to < stop; to++) output[to] = output[to - distance]!
      if (at - 4 > input.length) throw corrupt('the data are cut off')
    }
  }
  at -= bitCount >> 3
  if (at > input.length) throw corrupt('the data are cut off')
  if (to !== output.length) throw corrupt(`${to} bytes instead of ${output.length}`)
  return at

  function takeSymbol(table: Uint16Array, tableBits: number): number {
    while (bitCount < 15) {
      bits |= (at < input.length ? input[at]! : 0) << bitCount
      at++
      bitCount += 8
    }
    const entry = table[bits & ((1 << tableBits) - 1)]!
    if (entry === 0) throw corrupt('a code that does not exist')
    bits >>>= entry & 15
    bitCount -= entry & 15
    return entry >> 4
  }
}

/** Fills the look-up table of a canonical Huffman code; returns how many bits index it. */
function buildTable(lengths: Uint8Array, first: number, count: number, table: Uint16Array): number {
  const perLength = new Uint16Array(MAX_BITS + 1)
  let tableBits = 1
  for (let symbol = 0; symbol < count; symbol++) {
    const length = lengths[first + symbol]!
    perLength[length]!++
    if (length > tableBits) tableBits = length
  }
  table.fill(0, 0, 1 << tableBits)
  const next = new Uint32Array(MAX_BITS + 2)
  let code = 0
  for (let length = 1; length <= MAX_BITS; length++) {
    next[length] = code
    code = (code + perLength[length]!) << 1
  }
  if (code > 1 << (MAX_BITS + 1)) throw corrupt('an over-subscribed code')
  for (let symbol = 0; symbol < count; symbol++) {
    const length = lengths[first + symbol]!
    if (length === 0) continue
    // Codes arrive with their most significant bit first, the table is indexed by bits as they lie in the stream.
    let reversed = 0
    let bitsLeft = next[length]!++
    for (let bit = 0; bit < length; bit++) {
      reversed = (reversed << 1) | (bitsLeft & 1)
      bitsLeft >>= 1
    }
    const entry = (symbol << 4) | length
    for (let index = reversed; index < 1 << tableBits; index += 1 << length) table[index] = entry
  }
  return tableBits
}

function behindNul(bytes: Uint8Array, from: number): number {
  const nul = bytes.indexOf(0, from)
  return nul < 0 ? bytes.length : nul + 1
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0')
}

function corrupt(what: string): BootError {
  return new BootError('boot/corrupt-data', `gzip data: ${what}`)
}
