/**
 * Runs the host's apt with its own sources and keys, but with state, lists and cache in a folder of ours, so that any
 * user may update and download, and the host's package data stay as they are.
 *
 * apt-get(8), apt-cache(8), apt.conf(5). Only lists of packages are fetched (no translations, no sources), and the
 * host's hooks (Post-Invoke commands) are not run. Locks are off: the folder belongs to one run.
 */
import { spawn } from 'node:child_process'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { GuestError } from './guest-error.ts'

/** One version of a package, from the package lists. */
export interface AptPackage {
  readonly name: string
  readonly version: string
  readonly sizeBytes: number
  readonly sha256: string
  /** The Depends field; empty where there is none. */
  readonly depends: string
}

/** Where apt is and where it works. */
export interface PrivateAptOptions {
  /** An empty folder for apt's state. */
  readonly folder: string
  /** Debian architecture of the packages. */
  readonly architecture: string
  /** Programs. Default: those on PATH. */
  readonly programs?: { readonly aptGet: string; readonly aptCache: string }
  readonly signal?: AbortSignal | undefined
}

/** apt in a folder of its own. */
export interface PrivateApt {
  /** Fetches the package lists. Sources that fail are told by `warnings`, as long as others answer. */
  update(onProgress: (percent: number) => void): Promise<void>
  /** What apt complained about so far. */
  readonly warnings: string
  /** The version that apt would install. Throws GuestError `guest/no-package`. */
  show(name: string): Promise<AptPackage>
  /** Downloads packages into `folder`; returns their paths in the same order. Throws `guest/download-failed`. */
  download(
    packages: readonly AptPackage[],
    folder: string,
    onProgress: (percent: number) => void,
  ): Promise<string[]>
}

/** Prepares the folder. */
export async function createPrivateApt(options: PrivateAptOptions): Promise<PrivateApt> {
  const { folder, architecture, signal } = options
  const { aptGet, aptCache } = options.programs ?? { aptGet: 'apt-get', aptCache: 'apt-cache' }
  const configuration = join(folder, 'apt.conf')
  await mkdir(join(folder, 'lists', 'partial'), { recursive: true })
  await mkdir(join(folder, 'archives', 'partial'), { recursive: true })
  await writeFile(join(folder, 'status'), '')
  await writeFile(configuration, configurationText(folder, architecture))
  let warnings = ''

  return {
    get warnings(): string {
      return warnings.trim()
    },

    async update(onProgress): Promise<void> {
      const result = await run(aptGet, ['update', '-q'], folder, onProgress)
      warnings += result.errors
    },

    async show(name): Promise<AptPackage> {
      const result = await run(aptCache, ['show', '--no-all-versions', name], folder)
      const fields = new Map<string, string>()
      // One stanza; fields that go on in further lines (descriptions) are not needed.
      for (const line of (result.output.split('\n\n')[0] ?? '').split('\n')) {
        const colon = line.indexOf(': ')
        if (colon > 0 && !line.startsWith(' ')) fields.set(line.slice(0, colon), line.slice(colon + 2))
      }
      const version = fields.get('Version')
      const sha256 = fields.get('SHA256')
      if (
        result.status !== 0 ||
        fields.get('Package') !== name ||
        version === undefined ||
        sha256 === undefined
      ) {
        const complaints = `${warnings}${result.errors}`.trim()
        throw new GuestError(
          'guest/no-package',
          `the package sources of this host have no package ${name} for ${architecture}${complaints && `; apt says:\n${complaints}`}`,
        )
      }
      return {
        name,
        version,
        sha256,
        sizeBytes: Number(fields.get('Size')),
        depends: fields.get('Depends') ?? '',
      }
    },

    async download(packages, target, onProgress): Promise<string[]> {
      const names = packages.map(({ name, version }) => `${name}=${version}`)
      const result = await run(aptGet, ['download', '-q', ...names], target, onProgress)
      const files = await readdir(target)
      return packages.map(({ name }) => {
        const file = files.find((candidate) => candidate.startsWith(`${name}_`) && candidate.endsWith('.deb'))
        if (result.status !== 0 || file === undefined) {
          throw new GuestError(
            'guest/download-failed',
            `the package ${name} could not be downloaded; apt says:\n${result.errors.trim()}`,
          )
        }
        return join(target, file)
      })
    },
  }

  function run(
    program: string,
    parameters: string[],
    cwd: string,
    onProgress?: (percent: number) => void,
  ): Promise<{ status: number; output: string; errors: string }> {
    // File descriptor 3 carries lines such as "dlstatus:1:35.2:Retrieving file 1 of 2".
    const status = onProgress ? ['-o', 'APT::Status-Fd=3'] : []
    return new Promise((resolve, reject) => {
      const child = spawn(program, ['-c', configuration, ...status, ...parameters], {
        cwd,
        env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
        stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
        ...(signal && { signal }),
      })
      let output = ''
      let errors = ''
      let lastPercent = -1
      child.stdout?.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        errors += text
      })
      child.stdio[3]?.on('data', (text: Buffer) => {
        const percent = Math.floor(
          Number(/^dlstatus:\d+:([\d.]+):/m.exec(text.toString())?.[1] ?? lastPercent),
        )
        if (percent !== lastPercent) onProgress?.(percent)
        lastPercent = percent
      })
      child.on('error', (cause: NodeJS.ErrnoException) => {
        if (cause.code === 'ENOENT') {
          reject(new GuestError('guest/no-apt', `this host has no ${program} (it is no Debian?)`, { cause }))
        } else reject(cause)
      })
      child.on('close', (code) => resolve({ status: code ?? 1, output, errors }))
    })
  }
}

function configurationText(folder: string, architecture: string): string {
  const quoted = (path: string): string => {
    // apt's configuration has no way to write a quote within a string.
    if (/["\n]/.test(path))
      throw new GuestError('guest/cache-not-writable', `apt cannot work in the folder ${path}`)
    return `"${path}"`
  }
  return `
Dir::State ${quoted(folder)};
Dir::State::lists ${quoted(join(folder, 'lists'))};
Dir::State::status ${quoted(join(folder, 'status'))};
Dir::State::extended_states ${quoted(join(folder, 'extended_states'))};
Dir::Cache ${quoted(folder)};
Dir::Cache::archives ${quoted(join(folder, 'archives'))};
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "";
Dir::Log ${quoted(folder)};
APT::Architecture "${architecture}";
#clear APT::Architectures;
APT::Architectures { "${architecture}"; };
APT::Sandbox::User "root";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets;
Acquire::IndexTargets::deb::Packages {
  MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages";
  flatMetaKey "Packages";
  ShortDescription "Packages";
  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Packages";
  Optional "0";
};
Acquire::Languages "none";
Acquire::GzipIndexes "false";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Debug::NoLocking "true";
`
}
