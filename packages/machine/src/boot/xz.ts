/**
 * The .xz container: streams, blocks, index, filters. Blocks are decoded one by one, so a large archive (a Debian
 * package) can be read from its beginning without unpacking all of it.
 *
 * The .xz file format, version 1.2.0. Filters: LZMA2, alone or behind one x86 BCJ filter (kernels are packed with it).
 * Checks: none, CRC32 and CRC64 are verified; SHA-256 is skipped. Sizes are taken from the index at the end of the file,
 * so a truncated file is refused at once and no memory is allocated beyond what the caller allows.
 */
import { BootError } from './boot-error.ts'
import { crc32, crc64 } from './checksum.ts'
import { createLzma2Decoder } from './lzma2.ts'
import { undoX86Branches } from './x86-branch-filter.ts'

/** First bytes of a stream. */
export const XZ_MAGIC: Uint8Array = Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)

const STREAM_HEADER_BYTES = 12
const FILTER_X86 = 0x04
const FILTER_LZMA2 = 0x21
const CHECK_CRC32 = 1
const CHECK_CRC64 = 4
/** Size of the check field by check type, from the format's table. */
const CHECK_BYTES = Uint8Array.of(0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64)

interface XzBlock {
  /** Position of the block header in the file. */
  readonly offset: number
  /** Header, data and check, without padding. */
  readonly unpaddedSizeBytes: number
  readonly sizeBytes: number
  readonly check: number
}

/**
 * Unpacks a whole .xz file.
 *
 * @param maxSizeBytes - larger results are refused before anything is allocated
 * @throws BootError `boot/corrupt-data`, `boot/too-large`, `boot/unsupported-compression`
 */
export function decompressXz(bytes: Uint8Array, maxSizeBytes: number): Uint8Array {
  const blocks = readBlockList(bytes)
  const sizeBytes = blocks.reduce((sum, block) => sum + block.sizeBytes, 0)
  if (sizeBytes > maxSizeBytes) throw tooLarge(sizeBytes, maxSizeBytes)
  const output = new Uint8Array(sizeBytes)
  let at = 0
  for (const block of blocks) {
    decodeBlock(bytes, block, output.subarray(at, at + block.sizeBytes))
    at += block.sizeBytes
  }
  return output
}

/**
 * Unpacks a .xz file block by block; each result is a buffer of its own.
 *
 * @param maxBlockSizeBytes - larger blocks are refused before anything is allocated
 * @throws BootError as `decompressXz`
 */
export function* xzBlocks(bytes: Uint8Array, maxBlockSizeBytes: number): Generator<Uint8Array, void, void> {
  for (const block of readBlockList(bytes)) {
    if (block.sizeBytes > maxBlockSizeBytes) throw tooLarge(block.sizeBytes, maxBlockSizeBytes)
    const output = new Uint8Array(block.sizeBytes)
    decodeBlock(bytes, block, output)
    yield output
  }
}

/** Reads the indexes of all streams, from the end of the file to its beginning. */
function readBlockList(bytes: Uint8Array): XzBlock[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const blocks: XzBlock[] = []
  let end = bytes.length
  do {
    while (end >= 4 && view.getUint32(end - 4, true) === 0) end -= 4 // stream padding
    if (end < 2 * STREAM_HEADER_BYTES) throw corrupt('no stream')
    const footer = end - STREAM_HEADER_BYTES
    if (bytes[end - 2] !== 0x59 || bytes[end - 1] !== 0x5a)
      throw corrupt('no footer: the file is cut off or damaged')
    if (view.getUint32(footer, true) !== crc32(bytes.subarray(footer + 4, end - 2)))
      throw corrupt('CRC of the footer')
    const indexBytes = (view.getUint32(footer + 4, true) + 1) * 4
    const check = bytes[footer + 9]! & 15
    const index = footer - indexBytes
    if (index < STREAM_HEADER_BYTES) throw corrupt(`an index of ${indexBytes} bytes`)
    const streamBlocks = readIndex(bytes, index, footer)
    const dataBytes = streamBlocks.reduce((sum, record) => sum + roundUp4(record.unpaddedSizeBytes), 0)
    const start = index - dataBytes - STREAM_HEADER_BYTES
    if (start < 0 || XZ_MAGIC.some((byte, position) => bytes[start + position] !== byte)) {
      throw corrupt('the stream does not begin where its index says')
    }
    if (view.getUint32(start + 8, true) !== crc32(bytes.subarray(start + 6, start + 8)))
      throw corrupt('CRC of the header')
    if ((bytes[start + 7]! & 15) !== check) throw corrupt('header and footer disagree')
    let offset = start + STREAM_HEADER_BYTES
    const placed: XzBlock[] = []
    for (const record of streamBlocks) {
      placed.push({ ...record, offset, check })
      offset += roundUp4(record.unpaddedSizeBytes)
    }
    blocks.unshift(...placed)
    end = start
  } while (end > 0)
  return blocks
}

function readIndex(
  bytes: Uint8Array,
  start: number,
  end: number,
): { unpaddedSizeBytes: number; sizeBytes: number }[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes[start] !== 0) throw corrupt('no index')
  if (view.getUint32(end - 4, true) !== crc32(bytes.subarray(start, end - 4)))
    throw corrupt('CRC of the index')
  const reader = { at: start + 1, end: end - 4 }
  const count = readVariable(bytes, reader)
  if (count > (end - start) / 2) throw corrupt(`${count} blocks in an index of ${end - start} bytes`)
  const records: { unpaddedSizeBytes: number; sizeBytes: number }[] = []
  for (let index = 0; index < count; index++) {
    const unpaddedSizeBytes = readVariable(bytes, reader)
    records.push({ unpaddedSizeBytes, sizeBytes: readVariable(bytes, reader) })
  }
  return records
}

function decodeBlock(bytes: Uint8Array, block: XzBlock, output: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const { offset } = block
  const headerBytes = (bytes[offset]! + 1) * 4
  const checkBytes = CHECK_BYTES[block.check]!
  const dataStart = offset + headerBytes
  const dataEnd = offset + block.unpaddedSizeBytes - checkBytes
  if (headerBytes < 8 || dataStart > dataEnd) throw corrupt(`a block header of ${headerBytes} bytes`)
  if (view.getUint32(dataStart - 4, true) !== crc32(bytes.subarray(offset, dataStart - 4))) {
    throw corrupt('CRC of a block header')
  }
  const flags = bytes[offset + 1]!
  const reader = { at: offset + 2, end: dataStart - 4 }
  if (flags & 0x40) readVariable(bytes, reader) // compressed size: the index has it
  if (flags & 0x80 && readVariable(bytes, reader) !== output.length)
    throw corrupt('a block and the index disagree')
  const filterCount = (flags & 3) + 1
  let x86Start: number | undefined
  for (let filter = 0; filter < filterCount; filter++) {
    const id = readVariable(bytes, reader)
    const propertyBytes = readVariable(bytes, reader)
    const last = filter === filterCount - 1
    if (last ? id !== FILTER_LZMA2 : id !== FILTER_X86 || filter !== 0) {
      throw new BootError(
        'boot/unsupported-compression',
        `xz data: filter 0x${id.toString(16)} is not supported`,
      )
    }
    if (propertyBytes > reader.end - reader.at) throw corrupt('filter properties')
    if (id === FILTER_X86) x86Start = propertyBytes === 4 ? view.getUint32(reader.at, true) : 0
    reader.at += propertyBytes
  }
  createLzma2Decoder().decode(bytes, dataStart, dataEnd, output)
  if (x86Start !== undefined) undoX86Branches(output, x86Start)
  // The check field follows the data's padding.
  const checkAt = offset + roundUp4(dataEnd - offset)
  if (block.check === CHECK_CRC32) {
    if (view.getUint32(checkAt, true) !== crc32(output)) throw corrupt('CRC of a block')
  } else if (block.check === CHECK_CRC64) {
    const { low, high } = crc64(output)
    const matches = view.getUint32(checkAt, true) === low && view.getUint32(checkAt + 4, true) === high
    if (!matches) throw corrupt('CRC of a block')
  }
}

/** An integer of 7-bit groups, least significant first. More than 2^53 cannot be a size. */
function readVariable(bytes: Uint8Array, reader: { at: number; end: number }): number {
  let value = 0
  for (let scale = 1; reader.at < reader.end; scale *= 128) {
    const byte = bytes[reader.at++]!
    value += (byte & 0x7f) * scale
    if (value > Number.MAX_SAFE_INTEGER) throw corrupt('a size beyond 2^53')
    if (byte < 0x80) return value
  }
  throw corrupt('a size is cut off')
}

function roundUp4(value: number): number {
  return Math.ceil(value / 4) * 4
}

function tooLarge(sizeBytes: number, maxSizeBytes: number): BootError {
  return new BootError(
    'boot/too-large',
    `xz data: ${sizeBytes} bytes unpacked, more than ${maxSizeBytes} allowed`,
  )
}

function corrupt(what: string): BootError {
  return new BootError('boot/corrupt-data', `xz data: ${what}`)
}
