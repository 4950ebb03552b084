import { fileURLToPath } from 'node:url'
import { unpackCpio } from '@trapframe/machine'
import { describe, expect, test } from 'vitest'
import { buildInitramfs, readGuestSources } from '../../src/guest/initramfs.ts'

const sources = readGuestSources(fileURLToPath(new URL('../../../../guests/initramfs', import.meta.url)))
const options = { busybox: Uint8Array.of(1), applets: ['sh', 'ls', 'init', 'busybox'], sources }

describe('buildInitramfs', () => {
  test('default: scripts, busybox with links, device nodes', () => {
    const entries = new Map(unpackCpio(buildInitramfs(options)).map((entry) => [entry.path, entry]))
    expect(entries.get('init')).toMatchObject({ type: 'file', mode: 0o755 })
    expect(entries.get('bin/exec-agent')).toMatchObject({ type: 'file', mode: 0o755 })
    expect(entries.get('etc/profile')).toMatchObject({ type: 'file', mode: 0o644 })
    expect(entries.get('bin/busybox')).toMatchObject({ type: 'file', mode: 0o755, bytes: Uint8Array.of(1) })
    expect(entries.get('bin/sh')).toMatchObject({ type: 'symlink', target: 'busybox' })
    expect(entries.get('dev/console')).toMatchObject({ type: 'character-device', major: 5, minor: 1 })
    expect(entries.get('usr/bin')).toMatchObject({ type: 'symlink', target: '../bin' })
    expect(entries.has('bin/init')).toBe(false)
  })

  test('behaviour: folders come before what lies in them; the same input gives the same bytes', () => {
    const files = [{ path: 'opt/bench/deep/program', bytes: Uint8Array.of(7) }]
    const archive = buildInitramfs({ ...options, files })
    const seen = new Set<string>()
    for (const entry of unpackCpio(archive)) {
      const parent = entry.path.split('/').slice(0, -1).join('/')
      if (parent !== '') expect(seen).toContain(parent)
      expect(seen).not.toContain(entry.path)
      seen.add(entry.path)
    }
    expect(seen).toContain('opt/bench/deep/program')
    expect(buildInitramfs({ ...options, files })).toEqual(archive)
  })

  test('behaviour: extra files win, and are programs unless said otherwise', () => {
    const files = [
      { path: 'init', bytes: Uint8Array.of(9) },
      { path: 'etc/data', bytes: Uint8Array.of(8), mode: 0o600 },
    ]
    const entries = unpackCpio(buildInitramfs({ ...options, files }))
    expect(entries.filter(({ path }) => path === 'init')).toEqual([
      { path: 'init', type: 'file', mode: 0o755, mtimeSeconds: 0, bytes: Uint8Array.of(9) },
    ])
    expect(entries.find(({ path }) => path === 'etc/data')).toMatchObject({ mode: 0o600 })
  })
})
