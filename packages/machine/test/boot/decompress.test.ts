import { constants, deflateRawSync, gzipSync } from 'node:zlib'
import { bzImage, elfKernel, errorCode, withSize } from '@trapframe/guests/kernel-image.ts'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseBzImage } from '../../src/boot/bzimage.ts'
import { builtinCodecs, extractVmlinux, type KernelCodec } from '../../src/boot/decompress.ts'
import { decompressGzip, inflate } from '../../src/boot/inflate.ts'
import { decompressLz4Legacy } from '../../src/boot/lz4.ts'
import { decompressXz, xzBlocks } from '../../src/boot/xz.ts'
import * as sample from './sample-data.ts'

const fixture = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'))
const expected = sample.codeLikeBytes()

describe('codecs', () => {
  test('default: every codec unpacks what the reference tool packed', () => {
    expect(decompressXz(fixture(sample.xzKernel), 1 << 20)).toEqual(expected)
    expect(decompressXz(fixture(sample.xzBlocks), 1 << 20)).toEqual(expected)
    expect(decompressXz(fixture(sample.xzContexts), 1 << 20)).toEqual(expected)
    expect(decompressLz4Legacy(fixture(sample.lz4), expected.length)).toEqual(expected)
    const zstd = builtinCodecs.find((codec) => codec.name === 'zstd')!
    expect(zstd.decompress(fixture(sample.zstd), expected.length)).toEqual(expected)
    expect(decompressGzip(gzipSync(expected), expected.length)).toEqual(expected)
  })

  test('behaviour: xz blocks come one by one', () => {
    const blocks = [...xzBlocks(fixture(sample.xzBlocks), 2048)]
    expect(blocks.map((block) => block.length)).toEqual([2048, 2048, 2048, 2048])
    expect(new Uint8Array(Buffer.concat(blocks))).toEqual(expected)
  })

  test('behaviour: concatenated xz streams with padding are one file', () => {
    const one = fixture(sample.xzKernel)
    const two = new Uint8Array([
      ...one,
      ...new Uint8Array(8),
      ...fixture(sample.xzBlocks),
      ...new Uint8Array(4),
    ])
    expect(decompressXz(two, 1 << 20)).toEqual(new Uint8Array([...expected, ...expected]))
  })

  test('behaviour: DEFLATE of all block types and strategies', () => {
    const strategies = [
      constants.Z_FIXED,
      constants.Z_HUFFMAN_ONLY,
      constants.Z_RLE,
      constants.Z_DEFAULT_STRATEGY,
    ]
    const inputs = fc.oneof(
      fc.uint8Array({ maxLength: 3000 }),
      fc.array(fc.constantFrom(0, 1, 65), { maxLength: 5000 }).map((values) => Uint8Array.from(values)),
    )
    fc.assert(
      fc.property(
        inputs,
        fc.constantFrom(...strategies),
        fc.constantFrom(0, 1, 9),
        (input, strategy, level) => {
          const packed = deflateRawSync(input, { strategy, level })
          const output = new Uint8Array(input.length)
          expect(inflate(packed, 0, output)).toBe(packed.length)
          expect(output).toEqual(input)
        },
      ),
      { numRuns: 300 },
    )
  })

  test('behaviour: a gzip header with all optional fields', () => {
    const plain = gzipSync(expected)
    const header = Uint8Array.of(
      0x1f,
      0x8b,
      8,
      2 | 4 | 8 | 16,
      0,
      0,
      0,
      0,
      0,
      3,
      3,
      0,
      1,
      2,
      3,
      0x61,
      0,
      0x62,
      0,
      9,
      9,
    )
    expect(decompressGzip(new Uint8Array([...header, ...plain.subarray(10)]), expected.length)).toEqual(
      expected,
    )
  })

  test('error: damaged data are refused or, without a checksum, yield the right size; never anything else', () => {
    const cases: { packed: Uint8Array; run: (bytes: Uint8Array) => Uint8Array; checked: boolean }[] = [
      { packed: fixture(sample.xzKernel), run: (bytes) => decompressXz(bytes, 1 << 20), checked: true },
      { packed: fixture(sample.xzBlocks), run: (bytes) => decompressXz(bytes, 1 << 20), checked: true },
      { packed: fixture(sample.xzContexts), run: (bytes) => decompressXz(bytes, 1 << 20), checked: false },
      { packed: fixture(sample.lz4), run: (bytes) => decompressLz4Legacy(bytes, 8192), checked: false },
      { packed: gzipSync(expected), run: (bytes) => decompressGzip(bytes, 8192), checked: false },
    ]
    for (const { packed, run, checked } of cases) {
      for (let at = 0; at < packed.length; at += 3) {
        const damaged = packed.slice()
        damaged[at] = damaged[at]! ^ (1 << (at % 8))
        let result: Uint8Array | undefined
        const code = errorCode(() => {
          result = run(damaged)
        })
        if (code === undefined) {
          expect(result?.length).toBe(8192)
          // Bits that do not matter exist (padding, a match at another distance); wrong data must not pass a checksum.
          if (checked) expect(result).toEqual(expected)
        } else expect(['boot/corrupt-data', 'boot/unsupported-compression', 'boot/too-large']).toContain(code)
      }
      for (let length = 0; length < packed.length; length += 61) {
        expect(errorCode(() => run(packed.subarray(0, length)))).toBe('boot/corrupt-data')
      }
    }
  })

  test('error: more than the caller allows', () => {
    expect(errorCode(() => decompressXz(fixture(sample.xzKernel), 8191))).toBe('boot/too-large')
    expect(errorCode(() => [...xzBlocks(fixture(sample.xzBlocks), 2047)])).toBe('boot/too-large')
    expect(errorCode(() => decompressGzip(gzipSync(expected), 8191))).toBe('boot/corrupt-data')
  })
})

describe('extractVmlinux', () => {
  const elf = elfKernel({ segments: [{ physical: 0x100_0000n, bytes: expected }] })

  test('default: gzip payload', () => {
    const image = parseBzImage(bzImage({ payload: gzipSync(elf) }))
    expect(extractVmlinux(image)).toEqual(elf)
  })

  test('behaviour: a codec of the host goes first and gets the size', () => {
    const seen: number[] = []
    const codec: KernelCodec = {
      name: 'mine',
      magic: Uint8Array.of(1, 2, 3),
      decompress: (bytes, size) => {
        seen.push(bytes.length, size)
        return elf
      },
    }
    const payload = withSize(Uint8Array.of(1, 2, 3, ...new Uint8Array(20)), elf.length)
    const image = parseBzImage(bzImage({ payload }))
    expect(extractVmlinux(image, { codecs: [codec, ...builtinCodecs] })).toBe(elf)
    expect(seen).toEqual([23, elf.length])
  })

  test('behaviour: an uncompressed payload is the kernel', () => {
    expect(extractVmlinux(parseBzImage(bzImage({ payload: elf })))).toEqual(elf)
  })

  test('error: methods without a codec are named', () => {
    for (const [name, magic] of [
      ['bzip2', [0x42, 0x5a, 0x68, 0x39]],
      ['lzma', [0x5d, 0, 0, 0]],
      ['lzo', [0x89, 0x4c, 0x5a, 0x4f]],
      ['unknown method', [9, 9, 9, 9]],
    ] as const) {
      const image = parseBzImage(bzImage({ payload: Uint8Array.of(...magic, ...new Uint8Array(30)) }))
      expect(errorCode(() => extractVmlinux(image))).toBe('boot/unsupported-compression')
      expect(() => extractVmlinux(image)).toThrow(name)
    }
  })

  test('error: size beyond the limit, data that are no ELF, codec that throws', () => {
    const packed = gzipSync(elf)
    expect(
      errorCode(() => extractVmlinux(parseBzImage(bzImage({ payload: packed })), { maxSizeBytes: 100 })),
    ).toBe('boot/too-large')
    expect(errorCode(() => extractVmlinux(parseBzImage(bzImage({ payload: gzipSync(expected) }))))).toBe(
      'boot/corrupt-data',
    )
    const zstd = withSize(fixture(sample.zstd).subarray(0, 900), 8192)
    expect(errorCode(() => extractVmlinux(parseBzImage(bzImage({ payload: zstd }))))).toBe(
      'boot/corrupt-data',
    )
    expect(errorCode(() => extractVmlinux(parseBzImage(bzImage({ payload: new Uint8Array(0) }))))).toBe(
      'boot/corrupt-data',
    )
  })
})
