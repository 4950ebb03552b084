import { describe, expect, test } from 'vitest'
import { readAr } from '../../src/guest/ar-archive.ts'
import { readDebianPackage } from '../../src/guest/debian-package.ts'
import { readTar } from '../../src/guest/tar-archive.ts'
import { arArchive, debianPackage, errorCode, tarArchive } from './debian-package-image.ts'

const long = `./usr/lib/modules/${'deep/'.repeat(30)}file.ko`
const files = [
  { path: './boot/', type: '5', mode: 0o755 },
  { path: './boot/vmlinuz-1', bytes: new Uint8Array(1300).fill(3), mode: 0o600 },
  { path: './bin/sh', type: '2', target: 'busybox', mode: 0o777 },
  { path: long, bytes: Uint8Array.of(1, 2, 3) },
]
const expected = [
  { path: 'boot', type: 'directory', mode: 0o755, target: '', bytes: new Uint8Array(0) },
  { path: 'boot/vmlinuz-1', type: 'file', mode: 0o600, target: '', bytes: new Uint8Array(1300).fill(3) },
  { path: 'bin/sh', type: 'symlink', mode: 0o777, target: 'busybox', bytes: new Uint8Array(0) },
  { path: long.slice(2), type: 'file', mode: 0o644, target: '', bytes: Uint8Array.of(1, 2, 3) },
]

describe('readTar', () => {
  test('default: members of all kinds, in any division into chunks', () => {
    const archive = tarArchive(files)
    for (const chunkBytes of [archive.length, 512, 700, 1, 4096]) {
      const chunks: Uint8Array[] = []
      for (let at = 0; at < archive.length; at += chunkBytes)
        chunks.push(archive.subarray(at, at + chunkBytes))
      const entries = [...readTar(chunks)].map((entry) => ({ ...entry, bytes: new Uint8Array(entry.bytes) }))
      expect(entries).toEqual(expected)
    }
  })

  test('behaviour: pax headers give path and link target; what comes later is not asked for', () => {
    // Two digits, a space, the text, a line feed.
    const record = (text: string): string => `${Buffer.byteLength(text) + 4} ${text}\n`
    const pax = Buffer.from(record('path=long/näme') + record('linkpath=there'))
    let asked = 0
    function* chunks(): Generator<Uint8Array> {
      asked++
      yield tarArchive([
        { path: 'PaxHeaders/x', type: 'x', bytes: pax },
        { path: 'short', type: '2', target: 'elsewhere' },
        { path: 'next' },
      ])
      asked++
    }
    const iterator = readTar(chunks())
    expect(iterator.next().value).toMatchObject({ path: 'long/näme', type: 'symlink', target: 'there' })
    expect(iterator.next().value).toMatchObject({ path: 'next', type: 'file' })
    iterator.return()
    expect(asked).toBe(1)
  })

  test('error: cut off, damaged header', async () => {
    const archive = tarArchive(files)
    expect(await errorCode(() => [...readTar([archive.subarray(0, 1400)])])).toBe('guest/bad-package')
    const damaged = archive.slice()
    damaged[3] = 0x41
    expect(await errorCode(() => [...readTar([damaged])])).toBe('guest/bad-package')
  })
})

describe('readDebianPackage', () => {
  test('default: files of the data archive', () => {
    expect([...readDebianPackage(debianPackage(files))].map(({ path }) => path)).toEqual(
      expected.map(({ path }) => path),
    )
  })

  test('error: no ar archive, cut off, data in a form that cannot be read', async () => {
    expect(await errorCode(() => readAr(Buffer.from('PK\x03\x04 something')))).toBe('guest/bad-package')
    expect(await errorCode(() => readAr(debianPackage(files).subarray(0, 300)))).toBe('guest/bad-package')
    const zstd = arArchive([{ name: 'data.tar.zst', bytes: new Uint8Array(10) }])
    expect(await errorCode(() => readDebianPackage(zstd))).toBe('guest/bad-package')
    expect(await errorCode(() => readDebianPackage(arArchive([])))).toBe('guest/bad-package')
  })
})
