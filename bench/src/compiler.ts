/**
 * The C compiler: the host's, or Debian's gcc unpacked into the cache without root.
 *
 * The unpacked one runs on the host's own C library and dynamic linker, which are of the same release as the package
 * sources, and takes everything else from its folder.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { readDebianPackage } from '@trapframe/cli/src/guest/debian-package.ts'
import { type AptPackage, createPrivateApt } from '@trapframe/cli/src/guest/private-apt.ts'
import { BenchError } from './bench-error.ts'

/** A C compiler that makes static programs for x86-64 Linux. */
export interface Compiler {
  /** For people and for cache keys. */
  readonly version: string
  /** @throws BenchError `bench/compile` with what the compiler said */
  compile(parameters: readonly string[]): void
}

/** What `gcc` names changes with the release; these stand for themselves. */
const WANTED = ['gcc', 'libc6-dev']
/** The host has them, of the same release, and they must fit its dynamic linker. */
const OF_THE_HOST = /^(libc6|libc-bin|libcrypt1|gcc-\d+-base|debconf|dpkg|libgcc-s1|libstdc\+\+6)$/
/** Needed for other than static C programs. */
const LEFT_OUT =
  /^(lib(asan|tsan|ubsan|lsan|itm|atomic|quadmath|cc1-)\S*|libc-dev-bin|rpcsvc-proto|libnsl\S*|libtirpc\S*|libgprofng\S*|libcrypt-dev)$/

/**
 * Finds a compiler, or unpacks one (about 60 MB, half a minute).
 *
 * @throws BenchError `bench/no-compiler`
 */
export async function findCompiler(cacheFolder: string, tell: (message: string) => void): Promise<Compiler> {
  for (const program of process.env.CC ? [process.env.CC] : ['cc', 'gcc', 'clang']) {
    const compiler = tryCompiler(program, [], {})
    if (compiler) return compiler
  }
  const folder = join(cacheFolder, 'compiler')
  try {
    if (!existsSync(folder)) await unpackCompiler(folder, cacheFolder, tell)
  } catch (cause) {
    throw new BenchError(
      'bench/no-compiler',
      `this host has no C compiler that makes static x86-64 programs, and gcc could not be had from its package sources: ${(cause as Error).message}\nInstall one (Debian: apt-get install gcc libc6-dev), or name one in CC.`,
      { cause },
    )
  }
  const compiler = unpackedCompiler(folder)
  if (compiler) return compiler
  throw new BenchError(
    'bench/no-compiler',
    'this host has no C compiler that makes static x86-64 programs, and the one from its package sources does not run. Install one (Debian: apt-get install gcc libc6-dev), or name one in CC.',
  )
}

/** The compiler in a folder that `unpackCompiler` made. */
export function unpackedCompiler(folder: string): Compiler | undefined {
  const libraries = ['usr/lib/x86_64-linux-gnu', 'lib/x86_64-linux-gnu'].map((path) => join(folder, path))
  return tryCompiler(
    join(folder, 'usr/bin/x86_64-linux-gnu-gcc'),
    [`--sysroot=${folder}`, `-B${join(folder, 'usr/bin')}/`],
    { LD_LIBRARY_PATH: libraries.join(':'), PATH: `${join(folder, 'usr/bin')}:${process.env.PATH ?? ''}` },
  )
}

/** A compiler that has made a static program, or undefined. */
function tryCompiler(
  program: string,
  fixed: readonly string[],
  environment: Record<string, string>,
): Compiler | undefined {
  const env = { ...process.env, LC_ALL: 'C', ...environment }
  const run = (parameters: readonly string[], input = ''): ReturnType<typeof spawnSync> =>
    spawnSync(program, [...fixed, ...parameters], { env, input, encoding: 'utf8' })
  const machine = run(['-dumpmachine'])
  if (machine.status !== 0 || !/^x86_64.*linux/.test(String(machine.stdout))) return undefined
  const trial = ['-x', 'c', '-', '-static', '-o', '/dev/null']
  if (run(trial, '#include <stdio.h>\nint main(void) { return puts(""); }\n').status !== 0) return undefined
  return {
    version: String(run(['--version']).stdout).split('\n')[0]!,
    compile(parameters) {
      const result = run(parameters)
      if (result.status === 0) return
      throw new BenchError(
        'bench/compile',
        `${program} ${parameters.join(' ')}: ${result.error?.message ?? String(result.stderr)}`,
      )
    },
  }
}

/** Downloads gcc and what it needs through the host's package sources and unpacks it all into `folder`. */
export async function unpackCompiler(
  folder: string,
  cacheFolder: string,
  tell: (message: string) => void,
): Promise<void> {
  await mkdir(cacheFolder, { recursive: true })
  const work = await mkdtemp(join(cacheFolder, 'tmp-compiler-'))
  try {
    const [state, downloads, root] = [join(work, 'apt'), join(work, 'downloads'), join(work, 'root')]
    for (const path of [state, downloads, root]) await mkdir(path)
    const apt = await createPrivateApt({ folder: state, architecture: 'amd64' })
    tell('no C compiler on this host: fetching the package lists')
    await apt.update(() => {})
    const packages = await closure(WANTED, (name) => apt.show(name))
    tell(`downloading ${packages.length} packages of the compiler`)
    const paths = await apt.download(packages, downloads, () => {})
    tell('unpacking the compiler')
    for (const [index, expected] of packages.entries()) await unpack(paths[index]!, expected, root)
    await rename(root, folder)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** The packages and what they depend on, the first alternative each. */
async function closure(
  names: readonly string[],
  show: (name: string) => Promise<AptPackage>,
): Promise<AptPackage[]> {
  const found = new Map<string, AptPackage>()
  const waiting = [...names]
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
    if (found.has(name) || OF_THE_HOST.test(name) || LEFT_OUT.test(name)) continue
    const entry = await show(name)
    found.set(name, entry)
    for (const dependency of entry.depends.split(',')) {
      const first = /^\s*([a-z0-9][a-z0-9+.-]*)/.exec(dependency)?.[1]
      if (first !== undefined) waiting.push(first)
    }
  }
  return [...found.values()]
}

async function unpack(path: string, expected: AptPackage, root: string): Promise<void> {
  const bytes = await readFile(path)
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  if (sha256 !== expected.sha256)
    throw new Error(`${expected.name} has SHA-256 ${sha256}, not ${expected.sha256}`)
  const hardLinks: (readonly [string, string])[] = []
  for (const entry of readDebianPackage(bytes)) {
    if (entry.path.startsWith('usr/share/') || entry.path.split('/').includes('..')) continue
    const target = join(root, entry.path)
    if (entry.type === 'directory') await mkdir(target, { recursive: true })
    else await mkdir(dirname(target), { recursive: true })
    if (entry.type === 'file') await writeFile(target, entry.bytes, { mode: entry.mode })
    if (entry.type === 'symlink') {
      await rm(target, { force: true })
      await symlink(entry.target, target)
    }
    if (entry.type === 'hardlink') hardLinks.push([join(root, entry.target.replace(/^\.?\//, '')), target])
  }
  for (const [from, to] of hardLinks) await writeFile(to, await readFile(from), { mode: 0o755 })
}
