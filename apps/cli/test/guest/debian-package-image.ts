// Debian packages made by hand: ar with control and data, data as a gzipped tar.
import { gzipSync } from 'node:zlib'

export interface PackagedFile {
  path: string
  bytes?: Uint8Array
  mode?: number
  type?: string
  target?: string
}

/** A ustar archive. A path beyond 100 bytes becomes a GNU long name. */
export function tarArchive(files: readonly PackagedFile[]): Uint8Array {
  const blocks: Uint8Array[] = []
  const add = (name: string, type: string, mode: number, target: string, content: Uint8Array): void => {
    const header = new Uint8Array(512)
    const put = (at: number, text: string): void => header.set(new TextEncoder().encode(text), at)
    put(0, name.slice(0, 100))
    put(100, `${mode.toString(8).padStart(7, '0')}\0`)
    put(124, `${content.length.toString(8).padStart(11, '0')}\0`)
    put(148, ' '.repeat(8))
    put(156, type)
    put(157, target)
    put(257, 'ustar\x0000')
    put(
      148,
      `${header
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, '0')}\0 `,
    )
    blocks.push(header, content, new Uint8Array((512 - (content.length % 512)) % 512))
  }
  for (const { path, bytes = new Uint8Array(0), mode = 0o644, type = '0', target = '' } of files) {
    if (path.length > 100) add('././@LongLink', 'L', 0o644, '', new TextEncoder().encode(`${path}\0`))
    add(path, type, mode, target, bytes)
  }
  return new Uint8Array(Buffer.concat([...blocks, new Uint8Array(1024)]))
}

/** An ar archive. */
export function arArchive(members: readonly { name: string; bytes: Uint8Array }[]): Uint8Array {
  const parts: Uint8Array[] = [Buffer.from('!<arch>\n')]
  for (const { name, bytes } of members) {
    const header = `${name.padEnd(16)}${'0'.padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'100644'.padEnd(8)}${String(bytes.length).padEnd(10)}\`\n`
    parts.push(Buffer.from(header), bytes, new Uint8Array(bytes.length % 2))
  }
  return new Uint8Array(Buffer.concat(parts))
}

/** A package with the files. */
export function debianPackage(files: readonly PackagedFile[]): Uint8Array {
  return arArchive([
    { name: 'debian-binary', bytes: Buffer.from('2.0\n') },
    { name: 'control.tar.gz', bytes: gzipSync(tarArchive([])) },
    { name: 'data.tar.gz', bytes: gzipSync(tarArchive(files)) },
  ])
}

/** The code of the error that the promise ends with; undefined where it does not. */
export async function errorCode(run: () => unknown): Promise<string | undefined> {
  try {
    await run()
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
  return undefined
}
