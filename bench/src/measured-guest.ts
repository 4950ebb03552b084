/** Builds the programs and packs them into an initramfs with an /init of their own; both are kept in the cache. */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  buildInitramfs,
  type DebianGuest,
  type GuestFile,
  prepareDebianGuest,
} from '@trapframe/cli/src/guest/index.ts'
import { type Compiler, findCompiler } from './compiler.ts'
import { allBuilds, guestPrograms } from './guest-program.ts'

/** What is run. All paths are absolute. */
export interface MeasuredGuest {
  /** Kernel, kernel proper, and the ordinary guest's initramfs. */
  readonly debian: DebianGuest
  /** With the programs; see guests/bench/init for what it reads from the kernel's command line. */
  readonly initramfs: string
  /** The same binaries, for the host. */
  readonly programFolder: string
  /** intmix without an operating system: an ELF file that is loaded like a kernel. */
  readonly bareIntmix: string
  readonly compilerVersion: string
}

const STATIC = words('-static -s -march=x86-64 -mtune=generic -Wall')
// Linked to where kernels lie, above the loader's tables.
const BARE =
  words(`-O2 -march=x86-64 -mtune=generic -DBENCH_BARE -ffreestanding -nostdlib -static -fno-pie -no-pie
  -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables
  -Wl,-Ttext-segment=0x1000000 -Wl,--build-id=none`)

/** Prepares everything that can be prepared before a clock runs. */
export async function prepareMeasuredGuest(
  root: string,
  tell: (message: string) => void,
): Promise<MeasuredGuest> {
  const cacheFolder = join(root, '.cache', 'bench')
  const sources = join(root, 'guests', 'bench')
  const debian = await prepareDebianGuest({
    cacheFolder: join(root, '.cache', 'guest'),
    sourceFolder: join(root, 'guests', 'initramfs'),
    onProgress: ({ message }) => tell(message),
  })
  const compiler = await findCompiler(cacheFolder, tell)
  const programFolder = join(cacheFolder, `programs-${sourceHash(sources, compiler)}`)
  await mkdir(programFolder, { recursive: true })
  const build = async (binary: string, parameters: readonly string[]): Promise<string> => {
    const path = join(programFolder, binary)
    if (!existsSync(path)) {
      tell(`compiling ${binary}`)
      compiler.compile([...parameters, '-o', `${path}.tmp`])
      await rename(`${path}.tmp`, path)
    }
    return path
  }
  for (const { binary, source, flags } of allBuilds()) {
    await build(binary, [...STATIC, ...flags, join(sources, source)])
  }
  const bareIntmix = await build('intmix.bare', [...BARE, join(sources, 'intmix.c')])

  const files: GuestFile[] = [{ path: 'init', bytes: await readFile(join(sources, 'init')) }]
  for (const { binary } of allBuilds()) {
    files.push({ path: `bench/${binary}`, bytes: await readFile(join(programFolder, binary)) })
  }
  files.push({ path: 'bench/list', bytes: new TextEncoder().encode(programList()), mode: 0o644 })
  const archive = buildInitramfs({
    busybox: await readFile(debian.busybox),
    applets: debian.applets,
    sources: [],
    files,
  })
  const initramfs = join(cacheFolder, 'initramfs.cpio')
  await writeFile(initramfs, archive)
  return { debian, initramfs, programFolder, bareIntmix, compilerVersion: compiler.version }
}

function words(text: string): string[] {
  return text.split(/\s+/)
}

/** Lines "name command…" for the guest's init. */
function programList(): string {
  return guestPrograms
    .map(({ name, command }) => `${name} BUSYBOX=/bin/busybox TMP=/tmp; ${command}\n`)
    .join('')
}

function sourceHash(sources: string, compiler: Compiler): string {
  const hash = createHash('sha256').update(JSON.stringify([compiler.version, STATIC, BARE, allBuilds()]))
  for (const name of readdirSync(sources).sort()) {
    if (/\.[ch]$/.test(name)) hash.update(`\0${name}\0`).update(readFileSync(join(sources, name)))
  }
  return hash.digest('hex').slice(0, 16)
}
