// npm run browser: sets up, then serves the page with the guest; arguments follow --.

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { root, setUp } from './set-up.mjs'

setUp()
const main = join(root, 'apps', 'browser', 'scripts', 'serve.ts')
const args = ['--conditions=trapframe-source', '--import', 'tsx', main, ...process.argv.slice(2)]
const server = spawn(process.execPath, args, { cwd: root, stdio: 'inherit' })
// Ctrl-C reaches both; this one stays to pass on how the other ended.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => server.kill('SIGTERM'))
server.on('exit', (status) => {
  process.exitCode = status ?? 0
})
