/**
 * LZ4, legacy frame: the form that Linux uses for kernels and initramfs archives (`lz4 -l`).
 *
 * A magic number, then blocks { compressed size: u32, LZ4 block }, each of up to 8 MiB unpacked and independent of the
 * others; no end mark, no checksum. The current frame format (magic 04 22 4d 18) is not read.
 */
import { BootError } from './boot-error.ts'

/** First bytes of a legacy frame. */
export const LZ4_LEGACY_MAGIC: Uint8Array = Uint8Array.of(0x02, 0x21, 0x4c, 0x18)

const MIN_MATCH = 4

/**
 * Unpacks a legacy frame.
 *
 * @param expectedSizeBytes - size of the unpacked data; decoding ends there
 * @throws BootError `boot/corrupt-data`
 */
export function decompressLz4Legacy(bytes: Uint8Array, expectedSizeBytes: number): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const output = new Uint8Array(expectedSizeBytes)
  let at = LZ4_LEGACY_MAGIC.length
  let written = 0
  while (written < expectedSizeBytes) {
    if (at + 4 > bytes.length) throw corrupt(`ends after ${written} of ${expectedSizeBytes} bytes`)
    const blockBytes = view.getUint32(at, true)
    at += 4
    if (blockBytes === 0x184c2102) continue // another frame's magic
    if (blockBytes > bytes.length - at) throw corrupt(`block of ${blockBytes} bytes at ${at} is cut off`)
    written = decompressBlock(bytes, at, at + blockBytes, output, written)
    at += blockBytes
  }
  return output
}

/** Returns the position in `output` behind the block's data. */
function decompressBlock(
  input: Uint8Array,
  start: number,
  end: number,
  output: Uint8Array,
  written: number,
): number {
  const blockStart = written
  let from = start
  let to = written
  while (from < end) {
    const token = input[from++]!
    let literals = token >>> 4
    if (literals === 15) {
      let more: number
      do {
        if (from >= end) throw corrupt('literal length is cut off')
        more = input[from++]!
        literals += more
      } while (more === 255)
    }
    if (literals > 0) {
      if (literals > end - from || literals > output.length - to)
        throw corrupt(`${literals} literals do not fit`)
      // Up to about 32 bytes a loop is quicker than the call into the engine.
      if (literals > 32) {
        output.set(input.subarray(from, from + literals), to)
        from += literals
        to += literals
      } else {
        for (const stop = from + literals; from < stop; ) output[to++] = input[from++]!
      }
    }
    if (from === end) break // the last sequence has no match
    if (end - from < 2) throw corrupt('offset is cut off')
    const offset = input[from]! | (input[from + 1]! << 8)
    from += 2
    let length = (token & 15) + MIN_MATCH
    if (length === 15 + MIN_MATCH) {
      let more: number
      do {
        if (from >= end) throw corrupt('match length is cut off')
        more = input[from++]!
        length += more
      } while (more === 255)
    }
    if (offset === 0 || offset > to - blockStart) throw corrupt(`offset ${offset} points before the block`)
    if (length > output.length - to) throw corrupt(`a match of ${length} bytes does not fit`)
    if (length > 48 && offset >= length) {
      output.copyWithin(to, to - offset, to - offset + length)
      to += length
    } else {
      for (const stop = to + length; to < stop; to++) output[to] = output[to - offset]!
    }
  }
  return to
}

function corrupt(what: string): BootError {
  return new BootError('boot/corrupt-data', `LZ4 data: ${what}`)
}
