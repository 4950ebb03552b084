/** Reads the files of a Debian binary package (deb(5)). Control data are not read: nothing is installed. */
import { gunzipSync } from 'node:zlib'
import { xzBlocks } from '@trapframe/machine'
import { readAr } from './ar-archive.ts'
import { GuestError } from './guest-error.ts'
import { readTar, type TarEntry } from './tar-archive.ts'

/** A block of a package's data that unpacks to more is refused. */
const MAX_BLOCK_BYTES = 2 ** 30

/**
 * Yields the files of a package in their order. Data are unpacked as far as they are asked for.
 *
 * @throws GuestError `guest/bad-package`
 */
export function readDebianPackage(bytes: Uint8Array): Generator<TarEntry, void, void> {
  const data = readAr(bytes).find((member) => member.name.startsWith('data.tar'))
  switch (data?.name) {
    case 'data.tar.xz':
      return readTar(xzBlocks(data.bytes, MAX_BLOCK_BYTES))
    case 'data.tar.gz':
      return readTar([gunzipSync(data.bytes, { maxOutputLength: MAX_BLOCK_BYTES })])
    case 'data.tar':
      return readTar([data.bytes])
    default:
      throw new GuestError(
        'guest/bad-package',
        `a Debian package with ${data?.name ?? 'no data'} cannot be read`,
      )
  }
}
