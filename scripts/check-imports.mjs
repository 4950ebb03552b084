// Checks the direction of imports between packages against the one table below (ARCHITECTURE.md has the picture),
// and that each package.json asks for exactly what the sources import.

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { workspaces } from './workspaces.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')

/**
 * What the sources of a package may import of the others; `types:` in front means its types only, but for conformance
 * kits, which make such things for their tests.
 */
const allowed = {
  core: [],
  memory: ['core'],
  scheduler: ['core'],
  x86: ['core'],
  cpu: ['core', 'types:memory'],
  devices: ['core', 'cpu', 'memory'],
  storage: ['core'],
  network: ['core'],
  migration: ['core', 'cpu', 'memory', 'devices', 'storage'],
  'backend-emulated': ['core', 'cpu', 'memory', 'x86'],
  'backend-kvm': ['core', 'cpu', 'memory'],
  difference: ['core', 'cpu', 'memory', 'x86'],
  machine: ['core', 'cpu', 'memory', 'devices', 'storage', 'network', 'scheduler', 'migration', 'x86'],
}
/** Packages that belong to one host and may import its modules. */
const hosted = ['backend-kvm']

const problems = []
let files = 0
for (const { folder, path, manifest } of workspaces(root)) {
  const name = manifest.name.replace('@trapframe/', '')
  if (manifest.private) {
    for (const { file, specifier } of importsBelow(folder)) checkRelative(folder, file, specifier)
    continue
  }
  const table = allowed[name]
  if (!table) {
    problems.push(`${path}: scripts/check-imports.mjs has no row for ${name}`)
    continue
  }
  const used = new Set()
  for (const { file, specifier, typesOnly } of importsBelow(join(folder, 'src'))) {
    checkRelative(folder, file, specifier)
    if (specifier.startsWith('.')) continue
    if (specifier.startsWith('node:')) {
      if (!hosted.includes(name)) problems.push(`${file}: ${specifier} in a package without a host`)
      continue
    }
    const target = packageOf(specifier)
    used.add(target)
    if (!manifest.dependencies?.[target] && !manifest.peerDependencies?.[target]) {
      problems.push(`${file}: ${target} is no dependency in ${path}/package.json`)
    }
    if (!target.startsWith('@trapframe/') || target === manifest.name) continue
    const short = target.slice('@trapframe/'.length)
    const byType = typesOnly || file.includes('/src/conformance/')
    if (table.includes(short) || (byType && table.includes(`types:${short}`))) continue
    problems.push(`${file}: ${name} may not import ${specifier}${typesOnly ? '' : ' (as a value)'}`)
  }
  for (const { file, specifier } of importsBelow(join(folder, 'test'))) checkRelative(folder, file, specifier)
  for (const dependency of Object.keys(manifest.dependencies ?? {})) {
    if (!used.has(dependency)) problems.push(`${path}/package.json: ${dependency} is never imported`)
  }
}

for (const problem of problems) console.error(problem)
console.log(`imports: ${files} files, ${problems.length} problems`)
process.exitCode = problems.length > 0 ? 1 : 0

function checkRelative(folder, file, specifier) {
  if (!specifier.startsWith('.')) return
  const target = join(root, dirname(file), specifier)
  // What tests share belongs to no package's exports.
  const shared = file.includes('/test/') && target.includes('/test/')
  if (!target.startsWith(`${folder}/`) && !shared) problems.push(`${file}: ${specifier} leaves the package`)
}

function packageOf(specifier) {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

/** All imports and re-exports, static and dynamic, of the TypeScript files below a folder. */
function* importsBelow(folder) {
  let names
  try {
    names = readdirSync(folder, { recursive: true })
  } catch {
    return
  }
  for (const name of names) {
    if (
      !/\.(ts|mts|tsx|js|mjs)$/.test(name) ||
      /(^|\/)(node_modules|dist|generated|\.[^/]*|api)\//.test(name)
    )
      continue
    if (/\.config\.ts$/.test(name)) continue
    files++
    const file = relative(root, join(folder, name))
    const found = []
    const source = ts.createSourceFile(name, readFileSync(join(folder, name), 'utf8'), ts.ScriptTarget.Latest)
    visit(source, found)
    for (const one of found) yield { file, ...one }
  }
}

function visit(node, found) {
  if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier) {
    found.push({ specifier: node.moduleSpecifier.text, typesOnly: isTypesOnly(node) })
  } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    if (node.arguments[0] && ts.isStringLiteral(node.arguments[0])) {
      found.push({ specifier: node.arguments[0].text, typesOnly: false })
    }
  } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
    found.push({ specifier: node.argument.literal.text, typesOnly: true })
  }
  ts.forEachChild(node, (child) => visit(child, found))
}

function isTypesOnly(node) {
  const clause = ts.isImportDeclaration(node) ? node.importClause : node
  if (!clause) return false
  if (clause.isTypeOnly) return true
  const names = ts.isImportDeclaration(node) ? clause.namedBindings : node.exportClause
  if (!names?.elements || clause.name) return false
  return names.elements.length > 0 && names.elements.every((element) => element.isTypeOnly)
}
