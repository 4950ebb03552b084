import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../..', import.meta.url))
/** The first JavaScript block of a text. */
const example = (markdown: string): string => /```js\n([\s\S]*?)```/.exec(markdown)![1]!

/** Runs a file in the project's root, as a user would. */
function runNode(args: readonly string[]): Promise<{ status: number | null; output: string }> {
  const child = spawn(process.execPath, args, { cwd: root })
  let output = ''
  const take = (bytes: Buffer): void => {
    output += bytes.toString()
  }
  child.stdout.on('data', take)
  child.stderr.on('data', take)
  return new Promise((resolve) => {
    child.on('close', (status) => resolve({ status, output }))
  })
}

const source = example(readFileSync(join(root, 'README.md'), 'utf8'))
const guestThere = existsSync(join(root, '.cache/guest/vmlinux'))
const built = ['packages/machine', 'packages/backends/emulated'].every((folder) =>
  existsSync(join(root, folder, 'dist/index.js')),
)

// The file lies below the root, so that imports are resolved as in a project that has the packages.
const write = (name: string): string => {
  mkdirSync(join(root, '.cache'), { recursive: true })
  const path = join(root, '.cache', name)
  writeFileSync(path, source)
  return path
}

test('behaviour: the example has about twenty lines of code', () => {
  const lines = source.split('\n').filter((line) => line.trim() !== '')
  expect(lines.length).toBeLessThanOrEqual(25)
})

// Skipped where the Debian guest is not in the cache: the example begins with "after npm run boot".
test.skipIf(!guestThere)('default: boots Linux and reads its console, from the sources', async () => {
  const path = write('readme-example.ts')
  const { status, output } = await runNode(['--conditions=trapframe-source', '--import', 'tsx', path])
  expect(output).toMatch(/^Linux trapframe \S+ .*x86_64 GNU\/Linux/m)
  expect(output).toContain("{ kind: 'power-off' }")
  expect(status).toBe(0)
})

// Skipped where the packages are not built (a run of vitest without npm test).
test.skipIf(!guestThere || !built)(
  'default: the same as plain JavaScript, with the built packages',
  async () => {
    const { status, output } = await runNode([write('readme-example.mjs')])
    expect(output).toMatch(/^Linux trapframe \S+ .*x86_64 GNU\/Linux/m)
    expect(output).toContain("{ kind: 'power-off' }")
    expect(status).toBe(0)
  },
)
