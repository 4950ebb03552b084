/**
 * cpio archives in the "new ASCII" (newc) form, as the kernel unpacks them into its initramfs.
 *
 * Documentation/driver-api/early-userspace/buffer-format.rst. The writer is deterministic: inode numbers count up,
 * times are zero unless given, owners are root. Hard links are not written. The reader is for tests and inspection.
 */
import { BootError } from './boot-error.ts'

/** What all entries have. */
interface CpioEntryBase {
  /** Path without a leading slash: `bin/busybox`. */
  readonly path: string
  /** Permission bits, such as 0o755. */
  readonly mode: number
  /** Seconds since 1970. Default: 0. */
  readonly mtimeSeconds?: number
}

/** One member of an archive. */
export type CpioEntry = CpioEntryBase &
  (
    | { readonly type: 'file'; readonly bytes: Uint8Array }
    | { readonly type: 'directory' }
    | { readonly type: 'symlink'; readonly target: string }
    | { readonly type: 'character-device' | 'block-device'; readonly major: number; readonly minor: number }
  )

const MAGIC = '070701'
const HEADER_BYTES = 110
const TRAILER = 'TRAILER!!!'
const TYPE_BITS = {
  file: 0o100000,
  directory: 0o040000,
  symlink: 0o120000,
  'character-device': 0o020000,
  'block-device': 0o060000,
} as const

/**
 * Packs the entries in their order; directories must come before what lies in them.
 *
 * @returns the archive, padded to 512 bytes so that another one may follow
 * @throws BootError `boot/bad-archive` for an empty or absolute path, or a file beyond 4 GiB
 */
export function packCpio(entries: readonly CpioEntry[]): Uint8Array {
  const encoder = new TextEncoder()
  const members = entries.map((entry) => {
    if (entry.path === '' || entry.path.startsWith('/') || entry.path.includes('\0')) {
      throw new BootError(
        'boot/bad-archive',
        `a cpio archive cannot hold the path ${JSON.stringify(entry.path)}`,
      )
    }
    const content =
      entry.type === 'file'
        ? entry.bytes
        : entry.type === 'symlink'
          ? encoder.encode(entry.target)
          : new Uint8Array(0)
    if (content.length > 0xffffffff) {
      throw new BootError(
        'boot/bad-archive',
        `${entry.path} has ${content.length} bytes; cpio holds up to 4 GiB`,
      )
    }
    return { entry, name: encoder.encode(entry.path), content }
  })
  const trailerBytes = roundUp4(HEADER_BYTES + TRAILER.length + 1)
  const sizeBytes = members.reduce(
    (sum, { name, content }) => sum + roundUp4(HEADER_BYTES + name.length + 1) + roundUp4(content.length),
    trailerBytes,
  )
  const output = new Uint8Array(Math.ceil(sizeBytes / 512) * 512)
  let at = 0
  members.forEach(({ entry, name, content }, index) => {
    const isDevice = entry.type === 'character-device' || entry.type === 'block-device'
    writeHeader({
      inode: index + 1,
      mode: TYPE_BITS[entry.type] | (entry.mode & 0o7777),
      links: entry.type === 'directory' ? 2 : 1,
      mtimeSeconds: entry.mtimeSeconds ?? 0,
      sizeBytes: content.length,
      deviceMajor: isDevice ? entry.major : 0,
      deviceMinor: isDevice ? entry.minor : 0,
      name,
    })
    output.set(content, at)
    at += roundUp4(content.length)
  })
  writeHeader({
    inode: 0,
    mode: 0,
    links: 1,
    mtimeSeconds: 0,
    sizeBytes: 0,
    deviceMajor: 0,
    deviceMinor: 0,
    name: encoder.encode(TRAILER),
  })
  return output

  function writeHeader(header: {
    inode: number
    mode: number
    links: number
    mtimeSeconds: number
    sizeBytes: number
    deviceMajor: number
    deviceMinor: number
    name: Uint8Array
  }): void {
    const fields = [
      header.inode,
      header.mode,
      0, // user
      0, // group
      header.links,
      header.mtimeSeconds,
      header.sizeBytes,
      0, // device that the file lies on
      0,
      header.deviceMajor,
      header.deviceMinor,
      header.name.length + 1,
      0, // checksum: none in this form
    ]
    const text =
      MAGIC + fields.map((field) => (field >>> 0).toString(16).toUpperCase().padStart(8, '0')).join('')
    output.set(encoder.encode(text), at)
    output.set(header.name, at + HEADER_BYTES)
    at += roundUp4(HEADER_BYTES + header.name.length + 1)
  }
}

/**
 * Reads an archive up to its trailer.
 *
 * @throws BootError `boot/bad-archive`
 */
export function unpackCpio(bytes: Uint8Array): CpioEntry[] {
  const decoder = new TextDecoder()
  const entries: CpioEntry[] = []
  let at = 0
  for (;;) {
    if (at + HEADER_BYTES > bytes.length)
      throw new BootError('boot/bad-archive', 'the cpio archive has no trailer')
    const header = decoder.decode(bytes.subarray(at, at + HEADER_BYTES))
    if (!header.startsWith(MAGIC)) throw new BootError('boot/bad-archive', `no cpio header at offset ${at}`)
    const field = (index: number): number => Number.parseInt(header.slice(6 + index * 8, 14 + index * 8), 16)
    const nameBytes = field(11)
    const contentBytes = field(6)
    const contentStart = roundUp4(at + HEADER_BYTES + nameBytes)
    if (!(contentStart + contentBytes <= bytes.length)) {
      throw new BootError('boot/bad-archive', `the cpio archive is cut off in the entry at offset ${at}`)
    }
    const path = decoder.decode(bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + nameBytes - 1))
    if (path === TRAILER) return entries
    const content = bytes.subarray(contentStart, contentStart + contentBytes)
    const base = { path, mode: field(1) & 0o7777, mtimeSeconds: field(5) }
    const typeBits = field(1) & 0o170000
    if (typeBits === TYPE_BITS.file) entries.push({ ...base, type: 'file', bytes: content })
    else if (typeBits === TYPE_BITS.directory) entries.push({ ...base, type: 'directory' })
    else if (typeBits === TYPE_BITS.symlink)
      entries.push({ ...base, type: 'symlink', target: decoder.decode(content) })
    else if (typeBits === TYPE_BITS['character-device'] || typeBits === TYPE_BITS['block-device']) {
      const type = typeBits === TYPE_BITS['block-device'] ? 'block-device' : 'character-device'
      entries.push({ ...base, type, major: field(9), minor: field(10) })
    } else {
      throw new BootError('boot/bad-archive', `${path} has type 0o${typeBits.toString(8)}`)
    }
    at = contentStart + roundUp4(contentBytes)
  }
}

function roundUp4(value: number): number {
  return Math.ceil(value / 4) * 4
}
