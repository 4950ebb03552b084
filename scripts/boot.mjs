// npm run boot: sets up, then becomes `trapframe run` with the arguments that follow --.
// TRAPFRAME_SET_UP_MS tells the command how long set-up took, so that it can say so.

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root, setUp } from './set-up.mjs'

process.env.TRAPFRAME_SET_UP_MS = setUp().toFixed(0)
const main = join(root, 'apps', 'cli', 'dist', 'main.js')
process.argv = [process.execPath, main, 'run', ...process.argv.slice(2)]
await import(pathToFileURL(main).href)
