import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const examples = join(root, 'docs', 'examples')
const guest = join(root, '.cache', 'guest')
const noGuest = existsSync(join(guest, 'vmlinuz'))
  ? ''
  : ' (skipped: .cache/guest is empty; `npm run boot` fills it)'
const notBuilt = existsSync(join(root, 'packages', 'machine', 'dist', 'index.js'))
  ? ''
  : ' (skipped: the packages are not built; `npm test` builds them)'

/** Runs Node to its end. */
function run(args: readonly string[]): Promise<{ status: number | null; output: string; errors: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    let errors = ''
    child.stdout.on('data', (bytes) => {
      output += bytes
    })
    child.stderr.on('data', (bytes) => {
      errors += bytes
    })
    child.on('error', reject)
    child.on('close', (status) => resolve({ status, output, errors }))
  })
}
const fromSource = ['--conditions=trapframe-source', '--import', 'tsx']

function expectBoot({ status, output, errors }: Awaited<ReturnType<typeof run>>): void {
  expect(errors).toBe('')
  expect(output).toMatch(/^Linux trapframe \S+-cloud-amd64 .* x86_64 GNU\/Linux\r$/m)
  expect(output).toMatch(/\{ kind: 'power-off' \}\n$/)
  expect(status).toBe(0)
}

describe('the example of the README', () => {
  test('default: it is docs/examples/boot.ts, word for word', () => {
    const readme = readFileSync(join(root, 'README.md'), 'utf8')
    const example = readFileSync(join(examples, 'boot.ts'), 'utf8')
    expect(/```ts\n([\s\S]*?)```/.exec(readme)?.[1]).toBe(example)
    expect(example.trim().split('\n').length, 'lines').toBeLessThanOrEqual(25)
  })

  test.skipIf(noGuest !== '')(
    `default: runs as TypeScript, from the packages' sources${noGuest}`,
    async () => {
      expectBoot(await run([...fromSource, join(examples, 'boot.ts'), guest]))
    },
  )

  const reason = noGuest || notBuilt
  test.skipIf(reason !== '')(
    `default: runs as plain JavaScript, with the built packages${reason}`,
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'trapframe-example-'))
      try {
        symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
        const { outputText } = ts.transpileModule(readFileSync(join(examples, 'boot.ts'), 'utf8'), {
          compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
        })
        writeFileSync(join(folder, 'boot.mjs'), outputText)
        expectBoot(await run([join(folder, 'boot.mjs'), guest]))
      } finally {
        rmSync(folder, { recursive: true })
      }
    },
  )

  test.skipIf(reason !== '')(
    `error: says what is missing when the folder has no kernel${reason}`,
    async () => {
      const { status, errors } = await run([...fromSource, join(examples, 'boot.ts'), '/nowhere'])
      expect(errors).toContain('/nowhere/vmlinuz')
      expect(status).toBe(1)
    },
  )
})

describe('other examples', () => {
  test('default: a guest that forgets the watchdog is reset', async () => {
    const { status, output, errors } = await run([...fromSource, join(examples, 'watchdog-guest.ts')])
    expect(errors).toBe('')
    expect(output).toBe('reset after 12000004 ns\n')
    expect(status).toBe(0)
  })
})
