/**
 * CRC-32 (IEEE 802.3, reflected 0xedb88320) and CRC-64 (ECMA-182, reflected 0xc96c5795d7870f42), as gzip and xz use them.
 *
 * Four bytes a step with four tables ("slicing"). The CRC-64 is kept in two 32-bit halves: BigInt is 50 times slower.
 */

const crc32Tables = makeCrc32Tables()
const crc64Tables = makeCrc64Tables()

/** CRC-32 of the bytes, as an unsigned number. */
export function crc32(bytes: Uint8Array): number {
  const tables = crc32Tables
  const end = bytes.length
  let crc = -1
  let at = 0
  for (const stop = end - 3; at < stop; at += 4) {
    const word = crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24))
    crc =
      tables[768 + (word & 0xff)]! ^
      tables[512 + ((word >>> 8) & 0xff)]! ^
      tables[256 + ((word >>> 16) & 0xff)]! ^
      tables[word >>> 24]!
  }
  for (; at < end; at++) crc = tables[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8)
  return ~crc >>> 0
}

/** CRC-64 of the bytes: the low and the high 32 bits, unsigned. */
export function crc64(bytes: Uint8Array): { low: number; high: number } {
  const { low: lowTables, high: highTables } = crc64Tables
  const end = bytes.length
  let low = -1
  let high = -1
  let at = 0
  for (const stop = end - 3; at < stop; at += 4) {
    const word = low ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24))
    const a = 768 + (word & 0xff)
    const b = 512 + ((word >>> 8) & 0xff)
    const c = 256 + ((word >>> 16) & 0xff)
    const d = word >>> 24
    low = high ^ lowTables[a]! ^ lowTables[b]! ^ lowTables[c]! ^ lowTables[d]!
    high = highTables[a]! ^ highTables[b]! ^ highTables[c]! ^ highTables[d]!
  }
  for (; at < end; at++) {
    const index = (low ^ bytes[at]!) & 0xff
    low = lowTables[index]! ^ ((low >>> 8) | (high << 24))
    high = highTables[index]! ^ (high >>> 8)
  }
  return { low: ~low >>> 0, high: ~high >>> 0 }
}

function makeCrc32Tables(): Int32Array {
  const tables = new Int32Array(4 * 256)
  for (let index = 0; index < 256; index++) {
    let crc = index
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
    tables[index] = crc
  }
  for (let index = 256; index < 1024; index++) {
    const before = tables[index - 256]!
    tables[index] = tables[before & 0xff]! ^ (before >>> 8)
  }
  return tables
}

function makeCrc64Tables(): { low: Int32Array; high: Int32Array } {
  const low = new Int32Array(4 * 256)
  const high = new Int32Array(4 * 256)
  for (let index = 0; index < 256; index++) {
    let l = index
    let h = 0
    for (let bit = 0; bit < 8; bit++) {
      const odd = l & 1
      l = (l >>> 1) | (h << 31)
      h >>>= 1
      if (odd) {
        l ^= 0xd7870f42
        h ^= 0xc96c5795
      }
    }
    low[index] = l
    high[index] = h
  }
  for (let index = 256; index < 1024; index++) {
    const l = low[index - 256]!
    const h = high[index - 256]!
    low[index] = low[l & 0xff]! ^ ((l >>> 8) | (h << 24))
    high[index] = high[l & 0xff]! ^ (h >>> 8)
  }
  return { low, high }
}
