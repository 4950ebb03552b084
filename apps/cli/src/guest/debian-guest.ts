/**
 * Debian's cloud kernel and static busybox as a guest: downloaded through the host's own apt sources, without root,
 * checked, unpacked and packed into an initramfs, all in one cache folder.
 *
 * What is in the folder:
 * - vmlinuz, the kernel as packaged (bzImage); vmlinux, the kernel proper taken out of it;
 * - busybox and applets.txt; kernel.deb, for its modules;
 * - initramfs.cpio (and .gz);
 * - packages.json and initramfs.json, the stamps.
 *
 * Files appear by rename, a stamp after all that it speaks for, so an interrupted run leaves nothing that a later one
 * takes for whole. Work happens in `tmp-…` folders inside, so two runs at once do not disturb each other.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { extractVmlinux, parseBzImage, parseVmlinux } from '@trapframe/machine'
import { readDebianPackage } from './debian-package.ts'
import { GuestError } from './guest-error.ts'
import { hostCodecs } from './host-codecs.ts'
import { buildInitramfs, FALLBACK_APPLETS, type GuestFile, readGuestSources } from './initramfs.ts'
import { type AptPackage, createPrivateApt } from './private-apt.ts'

/** The guest, ready in the cache folder. All paths are absolute if the cache folder was. */
export interface DebianGuest {
  /** Release of the kernel, such as 6.1.0-56-cloud-amd64. */
  readonly kernelRelease: string
  /** The kernel as packaged: a bzImage. */
  readonly vmlinuz: string
  /** The kernel proper: an ELF file. */
  readonly vmlinux: string
  /** Uncompressed, which starts fastest. */
  readonly initramfs: string
  /** The same archive by gzip. */
  readonly initramfsGz: string
  readonly busybox: string
  /** Names that busybox answers to. */
  readonly applets: readonly string[]
  /** The kernel's package, which has the modules. */
  readonly kernelPackage: string
}

/** How far the preparation is. */
export interface GuestProgress {
  readonly phase: 'lists' | 'download' | 'unpack' | 'initramfs'
  /** For people. */
  readonly message: string
  readonly doneBytes?: number
  readonly totalBytes?: number
}

/** Where the guest comes from and goes to. */
export interface DebianGuestOptions {
  /** Default of the command: `<project>/.cache/guest`. */
  readonly cacheFolder: string
  /** The folder guests/initramfs. */
  readonly sourceFolder: string
  readonly onProgress?: (progress: GuestProgress) => void
  /** Programs of apt. Default: those on PATH. */
  readonly programs?: { readonly aptGet: string; readonly aptCache: string }
  readonly signal?: AbortSignal
}

/** Changes when the cache folder's content means something else; older folders are then made anew. */
const FORMAT = 1
const KERNEL_PACKAGE = 'linux-image-cloud-amd64'
const BUSYBOX_PACKAGE = 'busybox-static'
const PACKAGE_FILES = ['vmlinuz', 'vmlinux', 'busybox', 'applets.txt', 'kernel.deb']
const INITRAMFS_FILES = ['initramfs.cpio', 'initramfs.cpio.gz']
/** Work folders of runs that died are removed when they are older. */
const STALE_MS = 3_600_000

interface Stamp {
  readonly format: number
  /** What the files were made from. */
  readonly source: string
  readonly kernelRelease: string
  readonly sizes: Record<string, number>
}

/**
 * The guest, if it is in the cache and up to date; undefined otherwise. Takes a few milliseconds.
 */
export function cachedDebianGuest(
  options: Pick<DebianGuestOptions, 'cacheFolder' | 'sourceFolder'>,
): DebianGuest | undefined {
  const packages = readStamp(options.cacheFolder, 'packages.json')
  const initramfs = readStamp(options.cacheFolder, 'initramfs.json')
  if (packages === undefined || initramfs === undefined) return undefined
  if (initramfs.source !== initramfsSource(packages, readGuestSources(options.sourceFolder))) return undefined
  return describe(options.cacheFolder, packages)
}

/**
 * The guest: from the cache, or made now.
 *
 * @throws GuestError; its message ends with what to do instead
 */
export async function prepareDebianGuest(options: DebianGuestOptions): Promise<DebianGuest> {
  const cached = cachedDebianGuest(options)
  if (cached !== undefined) return cached
  try {
    return await makeGuest(options)
  } catch (error) {
    if (!(error instanceof GuestError)) throw error
    throw new GuestError(
      error.code,
      `${error.message}\nTo boot a kernel and an initrd of your own, give --kernel FILE and --initrd FILE.`,
      { cause: error },
    )
  }
}

/**
 * Files of the guest's kernel package below lib/modules, such as `lib/modules/6.1.0-56-cloud-amd64/kernel/fs/ext4/ext4.ko`.
 * Unpacking takes about two seconds.
 *
 * @param wanted - chooses by the path
 */
export async function readGuestModules(
  guest: DebianGuest,
  wanted: (path: string) => boolean,
): Promise<GuestFile[]> {
  const files: GuestFile[] = []
  for (const entry of readDebianPackage(await readFile(guest.kernelPackage))) {
    const path = entry.path.replace(/^usr\/lib\//, 'lib/')
    if (entry.type === 'file' && path.startsWith('lib/modules/') && wanted(path)) {
      files.push({ path, bytes: new Uint8Array(entry.bytes), mode: 0o644 })
    }
  }
  return files
}

async function makeGuest(options: DebianGuestOptions): Promise<DebianGuest> {
  const { cacheFolder, sourceFolder } = options
  const progress = options.onProgress ?? ((): void => {})
  let work: string
  try {
    await mkdir(cacheFolder, { recursive: true })
    await removeStale(cacheFolder)
    work = await mkdtemp(join(cacheFolder, 'tmp-'))
  } catch (cause) {
    throw new GuestError(
      'guest/cache-not-writable',
      `the cache folder ${cacheFolder} cannot be written: ${cause}`,
      {
        cause,
      },
    )
  }
  try {
    const packages =
      readStamp(cacheFolder, 'packages.json') ?? (await makePackageFiles(options, work, progress))

    progress({ phase: 'initramfs', message: 'packing the initramfs' })
    const sources = readGuestSources(sourceFolder)
    const archive = buildInitramfs({
      busybox: await readFile(join(cacheFolder, 'busybox')),
      applets: readApplets(cacheFolder),
      sources,
    })
    await writeFile(join(work, 'initramfs.cpio'), archive)
    await writeFile(join(work, 'initramfs.cpio.gz'), await promisify(gzip)(archive))
    await publish(cacheFolder, work, INITRAMFS_FILES, 'initramfs.json', {
      source: initramfsSource(packages, sources),
      kernelRelease: packages.kernelRelease,
    })
    return describe(cacheFolder, packages)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Downloads and unpacks the packages; returns their stamp. */
async function makePackageFiles(
  options: DebianGuestOptions,
  work: string,
  progress: (progress: GuestProgress) => void,
): Promise<Stamp> {
  const aptFolder = join(work, 'apt')
  const downloads = join(work, 'downloads')
  await mkdir(aptFolder)
  await mkdir(downloads)
  const apt = await createPrivateApt({
    folder: aptFolder,
    architecture: 'amd64',
    signal: options.signal,
    ...(options.programs && { programs: options.programs }),
  })
  progress({ phase: 'lists', message: 'fetching the package lists' })
  await apt.update((percent) =>
    progress({ phase: 'lists', message: `fetching the package lists, ${percent} %` }),
  )
  const meta = await apt.show(KERNEL_PACKAGE)
  const kernelName = /\blinux-image-\d[^\s,|()]*-cloud-amd64\b/.exec(meta.depends)?.[0]
  if (kernelName === undefined) {
    throw new GuestError('guest/no-package', `${KERNEL_PACKAGE} depends on no kernel: "${meta.depends}"`)
  }
  const packages = [await apt.show(kernelName), await apt.show(BUSYBOX_PACKAGE)] as const
  const totalBytes = packages.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const message = `downloading ${packages.map(({ name }) => name).join(' and ')}`
  progress({ phase: 'download', message, doneBytes: 0, totalBytes })
  const paths = await apt.download(packages, downloads, (percent) =>
    progress({ phase: 'download', message, doneBytes: Math.round((percent / 100) * totalBytes), totalBytes }),
  )
  const [kernelDeb, busyboxDeb] = await Promise.all(
    packages.map((expected, index) => readChecked(paths[index]!, expected)),
  )

  progress({ phase: 'unpack', message: 'unpacking the kernel', doneBytes: 0, totalBytes: kernelDeb!.length })
  const kernelRelease = kernelName.replace(/^linux-image-/, '')
  const vmlinuz = packagedFile(kernelDeb!, packages[0], (path) => path === `boot/vmlinuz-${kernelRelease}`)
  const image = parseBzImage(vmlinuz)
  const vmlinux = extractVmlinux(image, { codecs: hostCodecs })
  parseVmlinux(vmlinux)
  const busybox = packagedFile(busyboxDeb!, packages[1], (path) => /^(usr\/)?bin\/busybox$/.test(path))
  await writeFile(join(work, 'vmlinuz'), vmlinuz)
  await writeFile(join(work, 'vmlinux'), vmlinux)
  await writeFile(join(work, 'busybox'), busybox, { mode: 0o755 })
  await writeFile(join(work, 'applets.txt'), (await listApplets(join(work, 'busybox'))).join('\n'))
  await rename(paths[0]!, join(work, 'kernel.deb'))
  return publish(options.cacheFolder, work, PACKAGE_FILES, 'packages.json', {
    source: packages.map(({ name, version, sha256 }) => `${name} ${version} ${sha256}`).join('\n'),
    kernelRelease,
  })
}

async function readChecked(path: string, expected: AptPackage): Promise<Uint8Array> {
  const bytes = await readFile(path)
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  if (sha256 !== expected.sha256) {
    throw new GuestError(
      'guest/wrong-checksum',
      `the downloaded package ${expected.name} ${expected.version} has SHA-256 ${sha256}, the package list says ${expected.sha256}`,
    )
  }
  return bytes
}

function packagedFile(deb: Uint8Array, { name }: AptPackage, matches: (path: string) => boolean): Uint8Array {
  for (const entry of readDebianPackage(deb)) {
    if (entry.type === 'file' && matches(entry.path)) return entry.bytes
  }
  throw new GuestError(
    'guest/bad-package',
    `the package ${name} does not have the file that is needed from it`,
  )
}

/** Asks busybox itself, where the host can run it. */
async function listApplets(busybox: string): Promise<readonly string[]> {
  try {
    const { stdout } = await promisify(execFile)(busybox, ['--list'], { timeout: 5000 })
    return stdout.trim().split('\n')
  } catch {
    return FALLBACK_APPLETS // another architecture, or a folder where nothing may be executed
  }
}

/** Moves finished files to their place: the old stamp goes first and the new one comes last. */
async function publish(
  cacheFolder: string,
  work: string,
  files: readonly string[],
  stampName: string,
  made: Pick<Stamp, 'source' | 'kernelRelease'>,
): Promise<Stamp> {
  const sizes: Record<string, number> = {}
  for (const file of files) sizes[file] = (await stat(join(work, file))).size
  const stamp: Stamp = { format: FORMAT, ...made, sizes }
  await writeFile(join(work, stampName), `${JSON.stringify(stamp, undefined, 2)}\n`)
  await rm(join(cacheFolder, stampName), { force: true })
  for (const file of [...files, stampName]) await rename(join(work, file), join(cacheFolder, file))
  return stamp
}

function readStamp(cacheFolder: string, name: string): Stamp | undefined {
  try {
    const stamp = JSON.parse(readFileSync(join(cacheFolder, name), 'utf8')) as Stamp
    if (stamp.format !== FORMAT) return undefined
    for (const [file, size] of Object.entries(stamp.sizes)) {
      if (statSync(join(cacheFolder, file)).size !== size) return undefined
    }
    return stamp
  } catch {
    return undefined // absent, damaged, or a file is missing: made anew
  }
}

function initramfsSource(packages: Stamp, sources: readonly GuestFile[]): string {
  const hash = createHash('sha256').update(packages.source)
  for (const { path, bytes, mode } of sources)
    hash.update(`\0${path}\0${mode}\0${bytes.length}\0`).update(bytes)
  return hash.digest('hex')
}

function describe(cacheFolder: string, packages: Stamp): DebianGuest {
  const path = (file: string): string => join(cacheFolder, file)
  return {
    kernelRelease: packages.kernelRelease,
    vmlinuz: path('vmlinuz'),
    vmlinux: path('vmlinux'),
    initramfs: path('initramfs.cpio'),
    initramfsGz: path('initramfs.cpio.gz'),
    busybox: path('busybox'),
    applets: readApplets(cacheFolder),
    kernelPackage: path('kernel.deb'),
  }
}

function readApplets(cacheFolder: string): string[] {
  return readFileSync(join(cacheFolder, 'applets.txt'), 'utf8').split('\n')
}

async function removeStale(cacheFolder: string): Promise<void> {
  for (const name of await readdir(cacheFolder)) {
    if (!name.startsWith('tmp-')) continue
    const path = join(cacheFolder, name)
    const { mtimeMs } = await stat(path)
    if (Date.now() - mtimeMs > STALE_MS) await rm(path, { recursive: true, force: true })
  }
}
