/**
 * Reads tar archives as a stream of chunks: POSIX ustar, GNU long names, pax paths. What a Debian package holds.
 *
 * Sparse files and other GNU extensions are not read. A consumer that stops early leaves the rest undecoded.
 */
import { GuestError } from './guest-error.ts'

const BLOCK_BYTES = 512

/** One member. */
export interface TarEntry {
  /** Without a leading `./` or `/`. */
  readonly path: string
  readonly type: 'file' | 'directory' | 'symlink' | 'hardlink' | 'other'
  readonly mode: number
  /** A link's target; empty for others. */
  readonly target: string
  /** A file's content; empty for others. */
  readonly bytes: Uint8Array
}

const TYPES: Record<string, TarEntry['type']> = {
  '0': 'file',
  '\0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '5': 'directory',
}

/**
 * Yields the members in their order.
 *
 * @param chunks - the archive in pieces of any size
 * @throws GuestError `guest/bad-package`
 */
export function* readTar(chunks: Iterable<Uint8Array>): Generator<TarEntry, void, void> {
  const source = chunks[Symbol.iterator]()
  try {
    yield* readEntries(source)
  } finally {
    source.return?.()
  }
}

function* readEntries(source: Iterator<Uint8Array>): Generator<TarEntry, void, void> {
  let chunk: Uint8Array = new Uint8Array(0)
  let chunkAt = 0

  /** The next bytes of the archive, as a view where they lie in one chunk; undefined at its end. */
  function take(sizeBytes: number): Uint8Array | undefined {
    if (chunkAt + sizeBytes <= chunk.length) {
      chunkAt += sizeBytes
      return chunk.subarray(chunkAt - sizeBytes, chunkAt)
    }
    const pieces: Uint8Array[] = []
    for (let missing = sizeBytes; ; ) {
      const piece = chunk.subarray(chunkAt, chunkAt + missing)
      pieces.push(piece)
      chunkAt += piece.length
      missing -= piece.length
      if (missing === 0) return new Uint8Array(Buffer.concat(pieces))
      const next = source.next()
      if (next.done) return undefined
      chunk = next.value
      chunkAt = 0
    }
  }

  let longPath: string | undefined
  let longTarget: string | undefined
  for (;;) {
    const header = take(BLOCK_BYTES)
    // Two blocks of zeros end an archive; writers that leave them out exist.
    if (header === undefined || header[0] === 0) return
    checkHeader(header)
    const sizeBytes = octal(header, 124, 12)
    const content = take(sizeBytes)
    if (content === undefined) throw new GuestError('guest/bad-package', 'the tar archive is cut off')
    take((BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES)
    const type = String.fromCharCode(header[156]!)
    if (type === 'L') longPath = text(content, 0, content.length)
    else if (type === 'K') longTarget = text(content, 0, content.length)
    else if (type === 'x') {
      const records = paxRecords(content)
      longPath = records.get('path') ?? longPath
      longTarget = records.get('linkpath') ?? longTarget
    } else if (type !== 'g') {
      const prefix = text(header, 257, 6) === 'ustar' ? text(header, 345, 155) : ''
      const name = text(header, 0, 100)
      const path = longPath ?? (prefix === '' ? name : `${prefix}/${name}`)
      yield {
        path: path.replace(/^(\.?\/)+/, '').replace(/\/$/, ''),
        type: TYPES[type] ?? 'other',
        mode: octal(header, 100, 8),
        target: longTarget ?? text(header, 157, 100),
        bytes: content,
      }
      longPath = undefined
      longTarget = undefined
    }
  }
}

function checkHeader(header: Uint8Array): void {
  let sum = 8 * 0x20 // the checksum field counts as spaces
  for (let at = 0; at < BLOCK_BYTES; at++) if (at < 148 || at >= 156) sum += header[at]!
  if (octal(header, 148, 8) !== sum)
    throw new GuestError('guest/bad-package', 'a tar header has a wrong checksum')
}

function octal(header: Uint8Array, start: number, length: number): number {
  const digits = text(header, start, length).trim()
  if (!/^[0-7]*$/.test(digits))
    throw new GuestError('guest/bad-package', `a tar header has the number "${digits}"`)
  return digits === '' ? 0 : Number.parseInt(digits, 8)
}

/** Records are "length key=value\n", the length counting itself. */
function paxRecords(content: Uint8Array): Map<string, string> {
  const records = new Map<string, string>()
  let at = 0
  while (at < content.length) {
    const space = content.indexOf(0x20, at)
    const length = Number(text(content, at, space - at))
    if (space < 0 || !(length > 0) || at + length > content.length) {
      throw new GuestError('guest/bad-package', 'a pax header of the tar archive is damaged')
    }
    const record = text(content, space + 1, at + length - 1 - (space + 1))
    const equals = record.indexOf('=')
    records.set(record.slice(0, equals), record.slice(equals + 1))
    at += length
  }
  return records
}

function text(bytes: Uint8Array, start: number, length: number): string {
  const field = bytes.subarray(start, start + length)
  const nul = field.indexOf(0)
  return new TextDecoder().decode(nul < 0 ? field : field.subarray(0, nul))
}
