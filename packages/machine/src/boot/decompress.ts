/**
 * Takes the kernel proper (an ELF file) out of a bzImage, on the host, so that the guest need not unpack itself.
 *
 * The payload is what the kernel's build appended: compressed data and, for every method but gzip (whose own trailer is
 * the same), four more bytes with the unpacked size. Methods are codecs under one contract; a host with faster ones
 * (node:zlib, a native zstd) puts them before `builtinCodecs`.
 */
import { decompress as decompressZstd } from 'fzstd'
import { BootError } from './boot-error.ts'
import type { BzImage } from './bzimage.ts'
import { decompressGzip, GZIP_MAGIC } from './inflate.ts'
import { decompressLz4Legacy, LZ4_LEGACY_MAGIC } from './lz4.ts'
import { isElf } from './vmlinux.ts'
import { decompressXz, XZ_MAGIC } from './xz.ts'

/** A decompression method. */
export interface KernelCodec {
  /** The method's usual name, such as `zstd`. */
  readonly name: string
  /** First bytes of its data. */
  readonly magic: Uint8Array
  /**
   * Unpacks the data. Any error may be thrown; a result of another size counts as corrupt.
   *
   * @param expectedSizeBytes - size of the result, already checked against the caller's limit
   */
  decompress(bytes: Uint8Array, expectedSizeBytes: number): Uint8Array
}

/** The codecs that need nothing from the host. */
export const builtinCodecs: readonly KernelCodec[] = [
  { name: 'gzip', magic: GZIP_MAGIC, decompress: decompressGzip },
  { name: 'xz', magic: XZ_MAGIC, decompress: decompressXz },
  {
    name: 'zstd',
    magic: Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd),
    decompress: (bytes, expectedSizeBytes) => decompressZstd(bytes, new Uint8Array(expectedSizeBytes)),
  },
  { name: 'lz4', magic: LZ4_LEGACY_MAGIC, decompress: decompressLz4Legacy },
]

/** Methods that a kernel may use and that have no codec here. */
const KNOWN_UNSUPPORTED: readonly { name: string; magic: Uint8Array }[] = [
  { name: 'bzip2', magic: Uint8Array.of(0x42, 0x5a, 0x68) },
  { name: 'lzma', magic: Uint8Array.of(0x5d, 0x00, 0x00) },
  { name: 'lzo', magic: Uint8Array.of(0x89, 0x4c, 0x5a, 0x4f) },
]

/** How to unpack a kernel. */
export interface ExtractOptions {
  /** Codecs to choose from, the first match wins. Default: `builtinCodecs`. */
  readonly codecs?: readonly KernelCodec[]
  /** Kernels that claim to be larger are refused before memory is allocated. Default: 512 MiB. */
  readonly maxSizeBytes?: number
}

/**
 * Unpacks the kernel proper. The result is an ELF file for `parseVmlinux`, with the build's relocations behind it.
 *
 * @throws BootError `boot/unsupported-compression`, `boot/corrupt-data`, `boot/too-large`
 */
export function extractVmlinux(image: BzImage, options: ExtractOptions = {}): Uint8Array {
  const { codecs = builtinCodecs, maxSizeBytes = 512 * 2 ** 20 } = options
  const { payload } = image
  if (isElf(payload)) return payload
  if (payload.length < 18) {
    throw new BootError('boot/corrupt-data', `the packed kernel has ${payload.length} bytes`)
  }
  const codec = codecs.find((candidate) => startsWith(payload, candidate.magic))
  if (codec === undefined) {
    const known = KNOWN_UNSUPPORTED.find((candidate) => startsWith(payload, candidate.magic))
    const method = known?.name ?? `an unknown method (${hexOf(payload.subarray(0, 6))})`
    const names = codecs.map((candidate) => candidate.name).join(', ')
    throw new BootError(
      'boot/unsupported-compression',
      `the kernel is packed with ${method}; supported are ${names}. Its bzImage entry still works: the guest unpacks itself`,
    )
  }
  const sizeAt = payload.length - 4
  const sizeBytes = new DataView(payload.buffer, payload.byteOffset + sizeAt, 4).getUint32(0, true)
  if (sizeBytes > maxSizeBytes) {
    throw new BootError(
      'boot/too-large',
      `the kernel claims ${sizeBytes} bytes unpacked, more than ${maxSizeBytes} allowed`,
    )
  }
  const packed = codec.name === 'gzip' ? payload : payload.subarray(0, sizeAt)
  let unpacked: Uint8Array
  try {
    unpacked = codec.decompress(packed, sizeBytes)
  } catch (cause) {
    if (cause instanceof BootError) throw cause
    throw new BootError('boot/corrupt-data', `the packed kernel (${codec.name}) cannot be unpacked`, {
      cause,
    })
  }
  if (unpacked.length !== sizeBytes || !isElf(unpacked)) {
    throw new BootError(
      'boot/corrupt-data',
      `the packed kernel (${codec.name}) gives ${unpacked.length} bytes that are no ELF file of ${sizeBytes} bytes`,
    )
  }
  return unpacked
}

function startsWith(bytes: Uint8Array, magic: Uint8Array): boolean {
  return magic.every((byte, index) => bytes[index] === byte)
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ')
}
