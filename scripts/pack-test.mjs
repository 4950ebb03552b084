// Packs every published package, lints the tarballs, installs them together into an empty project and uses every
// export there: imported by plain node, and its types by tsc. Runs the README's example there as plain JavaScript, if
// .cache has the guest. Needs the build; fetches nothing.

import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import ts from 'typescript'
import { workspaces } from './workspaces.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const temporary = mkdtempSync(join(tmpdir(), 'trapframe-pack-'))
const project = join(temporary, 'project')
mkdirSync(project)
let failures = 0

try {
  const packages = workspaces(root).filter(({ manifest }) => !manifest.private)
  const tarballs = packages.map(({ folder, manifest }) => pack(folder, manifest))
  for (const [index, { manifest }] of packages.entries()) await lint(manifest, tarballs[index])
  install([...tarballs, ...foreignTarballs(packages)])
  const specifiers = packages.flatMap(({ manifest }) => exportsOf(manifest))
  importAll(specifiers)
  checkTypes(specifiers)
  runExample()
  console.log(`pack: ${packages.length} packages, ${specifiers.length} exports, ${failures} failures`)
} finally {
  rmSync(temporary, { recursive: true, force: true })
}
process.exitCode = failures > 0 ? 1 : 0

function pack(folder, manifest) {
  const output = execFileSync(
    'npm',
    ['pack', '--json', '--loglevel=error', '--pack-destination', temporary],
    {
      cwd: folder,
      encoding: 'utf8',
    },
  )
  const packed = JSON.parse(output)
  const [{ filename, files, size }] = Array.isArray(packed) ? packed : Object.values(packed)
  const stray = files
    .map((file) => file.path)
    .filter((path) => !/^(dist|src)\/|^(package\.json|README|LICENSE|CHANGELOG)/.test(path))
  if (stray.length > 0) fail(`${manifest.name}: stray files in the tarball: ${stray.join(', ')}`)
  for (const wanted of ['LICENSE', 'README.md'])
    if (!files.some((file) => file.path === wanted)) fail(`${manifest.name}: no ${wanted} in the tarball`)
  if (read(folder, 'LICENSE') !== read(root, 'LICENSE')) fail(`${manifest.name}: LICENSE is not the root's`)
  console.log(`pack: ${manifest.name}: ${files.length} files, ${(size / 1024).toFixed(0)} KiB`)
  return join(temporary, filename)
}

/** The runtime dependencies that are not ours, packed from what is installed here, so that nothing is fetched. */
function foreignTarballs(packages) {
  const names = packages.flatMap(({ manifest }) => Object.keys(manifest.dependencies ?? {}))
  const foreign = [...new Set(names)].filter((name) => !name.startsWith('@trapframe/'))
  return foreign.map((name) => {
    const folder = join(root, 'node_modules', name)
    const args = ['pack', '--json', '--ignore-scripts', '--loglevel=error', '--pack-destination', temporary]
    const output = JSON.parse(execFileSync('npm', args, { cwd: folder, encoding: 'utf8' }))
    return join(temporary, Object.values(output)[0].filename)
  })
}

async function lint(manifest, tarball) {
  const bytes = readFileSync(tarball)
  const data = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
  const { messages } = await publint({
    pack: { tarball: data },
    strict: true,
    level: 'warning',
  })
  for (const message of messages) fail(`publint: ${manifest.name}: ${formatMessage(message, manifest)}`)
  const attw = join(root, 'node_modules', '@arethetypeswrong', 'cli', 'dist', 'index.js')
  const run = spawnSync(
    process.execPath,
    [attw, tarball, '--profile', 'esm-only', '--no-color', '--no-emoji'],
    {
      encoding: 'utf8',
    },
  )
  if (run.status !== 0) fail(`attw: ${manifest.name}:\n${run.stdout}${run.stderr}`)
}

function install(tarballs) {
  writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
  const args = ['install', '--offline', '--no-audit', '--no-fund', '--loglevel=error', ...tarballs]
  const run = spawnSync('npm', args, { cwd: project, encoding: 'utf8' })
  if (run.status !== 0) fail(`npm install:\n${run.stdout}${run.stderr}`)
  // The conformance kits want the test runner of whoever uses them: here, ours.
  symlinkSync(join(root, 'node_modules', 'vitest'), join(project, 'node_modules', 'vitest'))
}

function exportsOf(manifest) {
  return Object.keys(manifest.exports)
    .filter((path) => !path.endsWith('.json'))
    .map((path) => manifest.name + path.slice(1))
}

function importAll(specifiers) {
  for (const specifier of specifiers) {
    const script = `const m = await import('${specifier}'); if (Object.keys(m).length === 0) throw new Error('exports nothing')`
    const run = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
      cwd: project,
      encoding: 'utf8',
    })
    if (run.status !== 0) fail(`import ${specifier}:\n${run.stderr}`)
  }
}

/** Types as a user's project sees them: no condition of ours, no Node types, libraries checked too. */
function checkTypes(specifiers) {
  const kits = specifiers.filter((specifier) => specifier.endsWith('/conformance'))
  const rest = specifiers.filter((specifier) => !kits.includes(specifier))
  const text = rest.map((specifier, index) => `export * as m${index} from '${specifier}'\n`).join('')
  writeFileSync(join(project, 'use.ts'), text)
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2022',
    lib: ['es2023', 'dom'],
    types: [],
    strict: true,
    noEmit: true,
  }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['use.ts'] }))
  const tsc = join(root, 'node_modules', '.bin', 'tsc')
  const run = spawnSync(tsc, ['-p', project], { encoding: 'utf8' })
  if (run.status !== 0) fail(`types:\n${run.stdout}${run.stderr}`)
}

/** The README's example, without its types, by plain node. */
function runExample() {
  const guest = join(root, '.cache', 'guest')
  if (!existsSync(join(guest, 'vmlinuz'))) {
    console.log('pack: skipped: the example, because .cache/guest is empty; `npm run boot` fills it')
    return
  }
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext }
  const { outputText } = ts.transpileModule(read(root, 'docs/examples/boot.ts'), { compilerOptions })
  writeFileSync(join(project, 'boot.js'), outputText)
  const run = spawnSync(process.execPath, ['boot.js', guest], {
    cwd: project,
    encoding: 'utf8',
    timeout: 300_000,
  })
  const booted = run.status === 0 && /^Linux trapframe .* x86_64/m.test(run.stdout)
  if (booted) console.log(`pack: the example boots on Node ${process.versions.node}`)
  else fail(`example: status ${run.status}\n${run.stdout}${run.stderr}`)
}

function read(folder, name) {
  return existsSync(join(folder, name)) ? readFileSync(join(folder, name), 'utf8') : ''
}

function fail(message) {
  failures++
  console.error(message)
}
