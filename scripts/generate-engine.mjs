// Runs the generator of the emulated CPU's engine, from sources, before that package is built.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const folder = join(dirname(fileURLToPath(import.meta.url)), '..', 'packages', 'backends', 'emulated')
const script = join(folder, 'scripts', 'generate-engine.ts')
if (existsSync(script)) {
  const args = ['--conditions=trapframe-source', '--import', 'tsx', script]
  const run = spawnSync(process.execPath, args, { cwd: folder, stdio: 'inherit' })
  process.exitCode = run.status ?? 1
}
