// Makes a clone ready to run, whatever state it is in: dependencies as the lock file says, every package built.
// Node built-ins only, because nothing is installed yet on a fresh clone. All it says goes to standard error.
// What is already fresh costs one look at the file times, some 20 ms; only a difference starts npm or nx.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { workspaces } from './workspaces.mjs'

export const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const stampFile = join(root, '.cache', 'built')

/** Installs and builds what is missing or stale; answers how long that took, in milliseconds. */
export function setUp() {
  const start = performance.now()
  requireNode()
  if (!dependenciesAreFresh()) {
    // `npm ci` refuses a lock file that lacks an optional package of another platform; `npm install` does not mind.
    const quiet = ['--include=dev', '--loglevel=error', '--no-progress']
    step('installing dependencies', 'npm', ['ci', ...quiet]) ||
      step('installing dependencies, second way', 'npm', ['install', '--no-save', ...quiet]) ||
      fail('the dependencies could not be installed')
  }
  // Taken before the build: what changes while it runs is stale afterwards.
  const fingerprint = sourcesFingerprint()
  if (!buildIsFresh(fingerprint)) {
    const nx = join(root, 'node_modules', 'nx', 'dist', 'bin', 'nx.js')
    const args = [nx, 'run-many', '--target=build', '--output-style=static']
    step('building', process.execPath, args) || fail('the build failed')
    mkdirSync(dirname(stampFile), { recursive: true })
    writeFileSync(stampFile, fingerprint)
  }
  return performance.now() - start
}

function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 19)) {
    fail(`Node ${process.versions.node} is too old: 20.19 or newer is needed`)
  }
}

/** Whether npm's own record of what it installed agrees with package-lock.json. */
function dependenciesAreFresh() {
  const installedFile = join(root, 'node_modules', '.package-lock.json')
  if (!existsSync(installedFile)) return false
  const installed = JSON.parse(readFileSync(installedFile, 'utf8')).packages
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages
  for (const [path, entry] of Object.entries(wanted)) {
    if (!path.includes('node_modules/')) continue
    const found = installed[path]
    if (found) {
      if (found.version !== entry.version) return false
    } else {
      // What is optional may be for other platforms.
      if (!(entry.optional || entry.devOptional || existsSync(join(root, path)))) return false
    }
  }
  return true
}

function buildIsFresh(fingerprint) {
  if (!existsSync(stampFile) || readFileSync(stampFile, 'utf8') !== fingerprint) return false
  return workspaces(root).every(({ folder, manifest }) => {
    if (!manifest.scripts?.build) return true
    return existsSync(join(folder, 'dist', manifest.private ? 'main.js' : 'index.js'))
  })
}

/** Names, sizes and times of all that goes into the build. */
function sourcesFingerprint() {
  const hash = createHash('sha256')
  hash.update(process.version)
  for (const name of [
    'package-lock.json',
    'tsconfig.base.json',
    'tsup.base.ts',
    'nx.json',
    'types',
    'scripts',
  ]) {
    add(join(root, name))
  }
  for (const { folder } of workspaces(root)) {
    for (const name of readdirSync(folder).sort()) {
      if (/^(src|scripts|package\.json|tsconfig.*\.json|tsup\.config\.ts)$/.test(name))
        add(join(folder, name))
    }
  }
  return hash.digest('hex')

  function add(path) {
    const stat = statSync(path)
    if (stat.isDirectory()) {
      for (const name of readdirSync(path).sort()) if (name !== 'generated') add(join(path, name))
    } else {
      hash.update(`${path}\0${stat.size}\0${stat.mtimeMs}\n`)
    }
  }
}

/** Runs a command quietly; shows all it said when it fails. */
function step(title, command, args) {
  const start = performance.now()
  process.stderr.write(`set-up: ${title} … `)
  const env = { ...process.env, NX_DAEMON: 'false', NX_NO_CLOUD: 'true', NX_TUI: 'false', FORCE_COLOR: '0' }
  const run = spawnSync(command, args, {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 2 ** 28,
  })
  process.stderr.write(`${((performance.now() - start) / 1000).toFixed(1)} s\n`)
  if (run.status !== 0) {
    process.stderr.write(`${run.stdout ?? ''}${run.stderr ?? ''}${run.error ? `${run.error.message}\n` : ''}`)
  }
  return run.status === 0
}

function fail(message) {
  process.stderr.write(`set-up: ${message}\n`)
  process.exit(1)
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) setUp()
