import { errorCode } from '@trapframe/guests/kernel-image.ts'
import { describe, expect, test } from 'vitest'
import { type CpioEntry, packCpio, unpackCpio } from '../../src/boot/cpio.ts'

const entries: CpioEntry[] = [
  { path: 'bin', type: 'directory', mode: 0o755 },
  {
    path: 'bin/tool',
    type: 'file',
    mode: 0o4755,
    bytes: Uint8Array.of(1, 2, 3, 4, 5),
    mtimeSeconds: 1_700_000_000,
  },
  { path: 'bin/länk', type: 'symlink', mode: 0o777, target: 'tool' },
  { path: 'dev/console', type: 'character-device', mode: 0o600, major: 5, minor: 1 },
  { path: 'dev/vda', type: 'block-device', mode: 0o660, major: 254, minor: 0 },
  { path: 'empty', type: 'file', mode: 0o644, bytes: new Uint8Array(0) },
]

describe('cpio', () => {
  test('default: what was packed is read back', () => {
    expect(unpackCpio(packCpio(entries))).toEqual(entries.map((entry) => ({ mtimeSeconds: 0, ...entry })))
  })

  test('behaviour: layout of a header, alignment, trailer, the same bytes each time', () => {
    const bytes = packCpio([{ path: 'ab', type: 'file', mode: 0o640, bytes: Uint8Array.of(0xff) }])
    const text = Buffer.from(bytes).toString('latin1')
    expect(text.slice(0, 110)).toBe(
      '070701' +
        '00000001' + // inode
        '000081A0' + // S_IFREG | 0640
        '0000000000000000' + // owner
        '00000001' + // links
        '00000000' + // time
        '00000001' + // size
        '00000000000000000000000000000000' + // devices
        '00000003' + // name with its NUL
        '00000000',
    )
    expect(text.slice(110, 121)).toBe('ab\0\0\0\0\xff\0\0\0' + '0')
    expect(text.indexOf('070701', 6)).toBe(120)
    expect(text.slice(230, 241)).toBe('TRAILER!!!\0')
    expect(bytes.length % 512).toBe(0)
    expect(packCpio(entries)).toEqual(packCpio(entries))
  })

  test('error: paths that cannot be, archives that are cut off', () => {
    const file = (path: string): CpioEntry => ({ path, type: 'file', mode: 0o644, bytes: new Uint8Array(1) })
    for (const path of ['', '/etc/passwd', 'a\0b']) {
      expect(errorCode(() => packCpio([file(path)]))).toBe('boot/bad-archive')
    }
    const good = packCpio(entries)
    for (let length = 0; length < 800; length += 13) {
      expect(errorCode(() => unpackCpio(good.subarray(0, length)))).toBe('boot/bad-archive')
    }
    expect(errorCode(() => unpackCpio(new Uint8Array(512).fill(0x30)))).toBe('boot/bad-archive')
  })
})
