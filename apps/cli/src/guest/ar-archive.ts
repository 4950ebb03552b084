/** Reads Unix `ar` archives in the common form, which Debian packages are (deb(5)); long-name extensions are not read. */
import { GuestError } from './guest-error.ts'

const MAGIC = '!<arch>\n'
const HEADER_BYTES = 60

/** One member of an archive; `bytes` is a view. */
export interface ArMember {
  readonly name: string
  readonly bytes: Uint8Array
}

/**
 * Lists the members.
 *
 * @throws GuestError `guest/bad-package`
 */
export function readAr(bytes: Uint8Array): ArMember[] {
  const text = (start: number, length: number): string =>
    String.fromCharCode(...bytes.subarray(start, start + length))
  if (text(0, MAGIC.length) !== MAGIC) throw new GuestError('guest/bad-package', 'not an ar archive')
  const members: ArMember[] = []
  let at = MAGIC.length
  while (at < bytes.length) {
    const size = text(at + 48, 10).trim()
    const start = at + HEADER_BYTES
    if (text(at + 58, 2) !== '`\n' || !/^\d+$/.test(size) || start + Number(size) > bytes.length) {
      throw new GuestError('guest/bad-package', `the ar archive is damaged at offset ${at}`)
    }
    const name = text(at, 16).trim().replace(/\/$/, '')
    members.push({ name, bytes: bytes.subarray(start, start + Number(size)) })
    at = start + Number(size) + (Number(size) % 2)
  }
  return members
}
