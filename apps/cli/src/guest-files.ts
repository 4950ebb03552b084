/**
 * What is booted: the Debian guest from the cache, or files that the user names. A kernel taken out of a user's bzImage
 * is kept in the cache too, by the image's checksum, since unpacking takes a second or more.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BootError, extractVmlinux, isBzImage, parseBzImage } from '@trapframe/machine'
import { CommandError } from './command-error.ts'
import { ExitStatus } from './exit-status.ts'
import { type GuestProgress, hostCodecs, prepareDebianGuest } from './guest/index.ts'

/** The files of a guest, in the form in which `linux` of @trapframe/machine takes them. */
export interface GuestFiles {
  readonly kernel: Uint8Array
  /** The bzImage that an ELF `kernel` came from. */
  readonly bzImage?: Uint8Array
  readonly initrd?: Uint8Array
  /** Whether the guest is ours, with our /init. */
  readonly debian: boolean
}

/** Where the project keeps things. */
export interface Folders {
  readonly cache: string
  /** guests/initramfs. */
  readonly initramfs: string
}

export interface GuestFileOptions {
  readonly kernel: string | undefined
  readonly initrd: string | undefined
  /** Take the kernel proper out of a bzImage. */
  readonly extract: boolean
}

/**
 * Reads the files.
 *
 * @throws CommandError `cli/file`; GuestError when there is no Debian guest
 */
export async function readGuestFiles(
  options: GuestFileOptions,
  folders: Folders,
  onProgress: (progress: GuestProgress) => void,
): Promise<GuestFiles> {
  const initrd = options.initrd === undefined ? undefined : readUserFile('initrd', options.initrd)
  if (options.kernel !== undefined) {
    const kernel = readUserFile('kernel', options.kernel)
    const proper = options.extract && isBzImage(kernel) ? await extract(kernel, folders.cache) : undefined
    return {
      ...(proper ? { kernel: proper, bzImage: kernel } : { kernel }),
      ...(initrd && { initrd }),
      debian: false,
    }
  }
  const guest = await prepareDebianGuest({
    cacheFolder: join(folders.cache, 'guest'),
    sourceFolder: folders.initramfs,
    onProgress,
  })
  const vmlinuz = readFileSync(guest.vmlinuz)
  return {
    ...(options.extract ? { kernel: readFileSync(guest.vmlinux), bzImage: vmlinuz } : { kernel: vmlinuz }),
    initrd: initrd ?? readFileSync(guest.initramfs),
    debian: initrd === undefined,
  }
}

function readUserFile(what: string, path: string): Uint8Array {
  try {
    return readFileSync(path)
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    const why =
      code === 'ENOENT'
        ? 'there is no such file'
        : code === 'EACCES'
          ? 'permission denied'
          : code === 'EISDIR'
            ? 'it is a folder'
            : message
    throw new CommandError('cli/file', `cannot read the ${what} ${path}: ${why}`, {
      cause,
      status: ExitStatus.file,
    })
  }
}

/** The kernel proper of a bzImage; undefined where only the guest can unpack it. */
async function extract(image: Uint8Array, cache: string): Promise<Uint8Array | undefined> {
  const parsed = parseBzImage(image)
  const folder = join(cache, 'kernels')
  const path = join(folder, `${createHash('sha256').update(image).digest('hex')}.elf`)
  try {
    return await readFile(path)
  } catch {
    // Not there yet.
  }
  let kernel: Uint8Array
  try {
    kernel = extractVmlinux(parsed, { codecs: hostCodecs })
  } catch (error) {
    if (error instanceof BootError && error.code === 'boot/unsupported-compression') return undefined
    throw error
  }
  try {
    await mkdir(folder, { recursive: true })
    const temporary = `${path}.${process.pid}`
    await writeFile(temporary, kernel)
    await rename(temporary, path)
  } catch {
    // A cache that cannot be written costs time at the next start, and nothing else.
  }
  return kernel
}
