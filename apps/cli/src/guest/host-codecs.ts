/** Decompression with Node's own zlib, which is quicker than code written for every host; the rest stays as it is. */
import { gunzipSync } from 'node:zlib'
import { builtinCodecs, type KernelCodec } from '@trapframe/machine'

/** Codecs for `extractVmlinux` on Node. */
export const hostCodecs: readonly KernelCodec[] = [
  {
    name: 'gzip',
    magic: Uint8Array.of(0x1f, 0x8b, 0x08),
    decompress: (bytes, expectedSizeBytes) => gunzipSync(bytes, { maxOutputLength: expectedSizeBytes || 1 }),
  },
  ...builtinCodecs,
]
