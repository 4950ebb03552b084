import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'trapframe-overviews-'))
symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
afterAll(() => rmSync(folder, { recursive: true }))

const packages = ['packages', 'packages/backends'].flatMap((parent) =>
  readdirSync(join(root, parent))
    .filter((name) => name !== 'backends')
    .map((name) => join(parent, name)),
)

const examples = new Map(
  packages.map((path) => {
    const [overview] = readFileSync(join(root, path, 'src/index.ts'), 'utf8').split('*/')
    const example = /@example[\s\S]*?```ts\n([\s\S]*?) \* ```/
      .exec(overview!)?.[1]
      ?.replaceAll(/^ \* ?/gm, '')
    const file = join(folder, `${path.replaceAll('/', '-')}.ts`)
    writeFileSync(file, example ?? '')
    return [path, { file, example }]
  }),
)

/** What the example's comments say it prints: behind `console.log(…)` and in lines of their own at its end. */
function expectedOutput(example: string): string {
  return [...example.matchAll(/^(?:.*\S)? ?\/\/ (.*)$/gm)].map(([, text]) => `${text}\n`).join('')
}

describe('the examples in the overviews of the packages', () => {
  test.each(packages)('default: %s does what its comments say', (path) => {
    const { file, example } = examples.get(path)!
    expect(example, 'an example').toBeDefined()
    const args = ['--conditions=trapframe-source', '--import', 'tsx', file]
    const { stdout, stderr, status } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' })
    expect(stderr).toBe('')
    expect(stdout).toBe(expectedOutput(example!))
    expect(status).toBe(0)
  })

  test('default: their types are right', () => {
    const compilerOptions = {
      module: 'nodenext',
      target: 'es2022',
      lib: ['es2023', 'dom'],
      types: ['node'],
      typeRoots: [join(root, 'node_modules/@types')],
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      allowImportingTsExtensions: true,
      customConditions: ['trapframe-source'],
    }
    const files = [...examples.values()].map(({ file }) => file)
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
    const run = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', folder], { encoding: 'utf8' })
    expect(run.stdout).toBe('')
    expect(run.status).toBe(0)
  })
})
