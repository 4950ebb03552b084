// The preparation is tested against apt programs of our own making, so that no test needs a network.
import { createHash } from 'node:crypto'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { bzImage, elfKernel } from '@trapframe/guests/kernel-image.ts'
import { unpackCpio } from '@trapframe/machine'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  cachedDebianGuest,
  type GuestProgress,
  prepareDebianGuest,
  readGuestModules,
} from '../../src/guest/debian-guest.ts'
import { debianPackage, errorCode } from './debian-package-image.ts'

const sourceFolder = fileURLToPath(new URL('../../../../guests/initramfs', import.meta.url))
const release = '6.9.0-1-cloud-amd64'
const vmlinux = elfKernel()
const vmlinuz = bzImage({ payload: gzipSync(vmlinux) })
const busybox = '#!/bin/sh\nprintf "sh\\nls\\n"\n'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'trapframe-guest-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

interface FakeAptOptions {
  meta?: string | undefined
  kernelFiles?: Parameters<typeof debianPackage>[0]
  sha256?: string
  downloadFails?: boolean
}

/** apt-get and apt-cache as scripts; every call is noted in the file `calls`. */
function fakeApt(options: FakeAptOptions = {}): { aptGet: string; aptCache: string } {
  const packages = {
    [`linux-image-${release}`]: debianPackage(
      options.kernelFiles ?? [
        { path: `./boot/vmlinuz-${release}`, bytes: vmlinuz },
        { path: `./usr/lib/modules/${release}/kernel/a.ko`, bytes: Uint8Array.of(1) },
        { path: `./usr/lib/modules/${release}/kernel/b.ko`, bytes: Uint8Array.of(2) },
      ],
    ),
    'busybox-static': debianPackage([{ path: './bin/busybox', bytes: Buffer.from(busybox), mode: 0o755 }]),
  }
  const cases: string[] = []
  for (const [name, bytes] of Object.entries(packages)) {
    writeFileSync(join(folder, `${name}.deb`), bytes)
    const sha256 = options.sha256 ?? createHash('sha256').update(bytes).digest('hex')
    cases.push(
      `${name}) printf 'Package: ${name}\\nVersion: 1:2-3\\nSize: ${bytes.length}\\nSHA256: ${sha256}\\nDescription: text\\n more: text\\n' ;;`,
    )
  }
  if (!('meta' in options) || options.meta !== undefined) {
    const depends = options.meta ?? `linux-image-${release} (= 6.9-1) | linux-image-${release}-unsigned`
    cases.push(
      `linux-image-cloud-amd64) printf 'Package: linux-image-cloud-amd64\\nVersion: 6.9-1\\nSHA256: 00\\nDepends: ${depends}\\n\\nPackage: older\\n' ;;`,
    )
  }
  const program = (name: string, text: string): string => {
    const path = join(folder, name)
    writeFileSync(path, `#!/bin/sh\necho "$@" >>'${folder}/calls'\nfor last; do :; done\n${text}`)
    chmodSync(path, 0o755)
    return path
  }
  return {
    aptCache: program(
      'apt-cache',
      `case $last in ${cases.join('\n')} *) echo "N: No packages found" >&2; exit 100 ;; esac`,
    ),
    aptGet: program(
      'apt-get',
      `case "$*" in
*update*) echo 'W: a source failed' >&2; exit 100 ;;
*download*) ${options.downloadFails ? "echo 'E: Failed to fetch' >&2; exit 100" : ''}
  echo 'dlstatus:1:50:Retrieving' >&3
  for each; do case $each in *=1:2-3) cp "${folder}/\${each%%=*}.deb" "\${each%%=*}_1%3a2-3_amd64.deb" ;; esac; done ;;
esac`,
    ),
  }
}

const options = (): { cacheFolder: string; sourceFolder: string } => ({
  cacheFolder: join(folder, 'cache with space'),
  sourceFolder,
})
const calls = (): number => readFileSync(join(folder, 'calls'), 'utf8').split('\n').length - 1

describe('prepareDebianGuest', () => {
  test('default: downloads, checks, unpacks, packs; the second time all is there', async () => {
    const progress: GuestProgress[] = []
    const guest = await prepareDebianGuest({
      ...options(),
      programs: fakeApt(),
      onProgress: (step) => progress.push(step),
    })
    expect(guest.kernelRelease).toBe(release)
    expect(new Uint8Array(readFileSync(guest.vmlinuz))).toEqual(vmlinuz)
    expect(new Uint8Array(readFileSync(guest.vmlinux))).toEqual(vmlinux)
    expect(guest.applets).toEqual(['sh', 'ls'])
    const paths = unpackCpio(readFileSync(guest.initramfs)).map(({ path }) => path)
    expect(paths).toContain('bin/ls')
    expect(paths).toContain('init')
    expect(statSync(guest.initramfsGz).size).toBeLessThan(statSync(guest.initramfs).size)
    expect([...new Set(progress.map(({ phase }) => phase))]).toEqual([
      'lists',
      'download',
      'unpack',
      'initramfs',
    ])
    const downloads = progress.filter(({ phase }) => phase === 'download')
    expect(downloads.at(-1)?.doneBytes).toBe(Math.round(downloads[0]!.totalBytes! / 2))
    expect(readdirSync(options().cacheFolder).filter((name) => name.startsWith('tmp-'))).toEqual([])

    const before = calls()
    expect(await prepareDebianGuest(options())).toEqual(guest)
    expect(cachedDebianGuest(options())).toEqual(guest)
    expect(calls()).toBe(before)
  })

  test('behaviour: modules are read from the cached package', async () => {
    const guest = await prepareDebianGuest({ ...options(), programs: fakeApt() })
    expect(await readGuestModules(guest, (path) => path.endsWith('b.ko'))).toEqual([
      { path: `lib/modules/${release}/kernel/b.ko`, bytes: Uint8Array.of(2), mode: 0o644 },
    ])
  })

  test('behaviour: a missing or cut file and a damaged stamp are made anew, our scripts alone without apt', async () => {
    const programs = fakeApt()
    const guest = await prepareDebianGuest({ ...options(), programs })
    const changes: (() => void)[] = [
      () => rmSync(guest.vmlinux),
      () => writeFileSync(guest.vmlinuz, 'short'),
      () => writeFileSync(join(options().cacheFolder, 'packages.json'), '{"format":'),
      () => writeFileSync(join(options().cacheFolder, 'packages.json'), '{"format":0}'),
    ]
    for (const change of changes) {
      change()
      expect(cachedDebianGuest(options())).toBe(undefined)
      await prepareDebianGuest({ ...options(), programs })
      expect(new Uint8Array(readFileSync(guest.vmlinux))).toEqual(vmlinux)
      expect(new Uint8Array(readFileSync(guest.vmlinuz))).toEqual(vmlinuz)
    }
    const before = calls()
    writeFileSync(guest.initramfs, 'short')
    expect(cachedDebianGuest(options())).toBe(undefined)
    await prepareDebianGuest({ ...options(), programs })
    expect(unpackCpio(readFileSync(guest.initramfs)).length).toBeGreaterThan(10)
    expect(calls()).toBe(before)
  })

  test('behaviour: leftovers of runs that died are removed, those of a run at this moment are not', async () => {
    const { cacheFolder } = options()
    await prepareDebianGuest({ ...options(), programs: fakeApt() })
    mkdirSync(join(cacheFolder, 'tmp-old', 'apt'), { recursive: true })
    mkdirSync(join(cacheFolder, 'tmp-new'))
    utimesSync(join(cacheFolder, 'tmp-old'), 1, 1)
    rmSync(join(cacheFolder, 'packages.json'))
    await prepareDebianGuest({ ...options(), programs: fakeApt() })
    expect(readdirSync(cacheFolder).filter((name) => name.startsWith('tmp-'))).toEqual(['tmp-new'])
  })

  test('error: what goes wrong is named, says what to do instead, and leaves nothing behind', async () => {
    const cases: [string, () => { aptGet: string; aptCache: string }, RegExp][] = [
      ['guest/no-apt', () => ({ aptGet: join(folder, 'none'), aptCache: join(folder, 'none') }), /no .*none/],
      [
        'guest/no-package',
        () => fakeApt({ meta: undefined }),
        /linux-image-cloud-amd64[\s\S]*a source failed[\s\S]*No packages/,
      ],
      ['guest/no-package', () => fakeApt({ meta: 'something-else' }), /depends on no kernel/],
    ]
    for (const [code, programs, text] of cases) {
      const run = (): Promise<unknown> => prepareDebianGuest({ ...options(), programs: programs() })
      expect(await errorCode(run)).toBe(code)
      await expect(run()).rejects.toThrow(text)
      await expect(run()).rejects.toThrow('--kernel FILE and --initrd FILE')
    }
    const more: [string, FakeAptOptions][] = [
      ['guest/download-failed', { downloadFails: true }],
      ['guest/wrong-checksum', { sha256: 'ab'.repeat(32) }],
      ['guest/bad-package', { kernelFiles: [{ path: './boot/config', bytes: Uint8Array.of(1) }] }],
      [
        'boot/not-a-kernel',
        { kernelFiles: [{ path: `./boot/vmlinuz-${release}`, bytes: new Uint8Array(999) }] },
      ],
    ]
    for (const [code, apt] of more) {
      expect(await errorCode(() => prepareDebianGuest({ ...options(), programs: fakeApt(apt) }))).toBe(code)
    }
    expect(readdirSync(options().cacheFolder)).toEqual([])
    expect(cachedDebianGuest(options())).toBe(undefined)
  })

  test('error: a cache folder that cannot be', async () => {
    writeFileSync(join(folder, 'file'), '')
    const cacheFolder = join(folder, 'file', 'cache')
    expect(await errorCode(() => prepareDebianGuest({ cacheFolder, sourceFolder }))).toBe(
      'guest/cache-not-writable',
    )
  })

  test('error: given up on request', async () => {
    const signal = AbortSignal.abort()
    await expect(prepareDebianGuest({ ...options(), programs: fakeApt(), signal })).rejects.toThrow(/abort/i)
    expect(readdirSync(options().cacheFolder)).toEqual([])
  })
})
