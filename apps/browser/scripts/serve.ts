/** `npm run browser`: prepares the guest, bundles the page, serves both, and opens the page where there is a desktop. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type DebianGuest, GuestError, prepareDebianGuest } from '@trapframe/cli/src/guest/index.ts'
import { bundlePage, servePage } from './page-server.ts'

const USAGE = `npm run browser [-- options]

--port N         port on this machine (default: 8080, or the next that is free)
--no-isolation   without the headers that isolate the page, so without shared memory
--no-open        does not open the page
--dev            serves the sources in place of the bundle, and reloads the page when one changes
`
const DEFAULT_PORT = 8080

const root = fileURLToPath(new URL('../../..', import.meta.url))
const say = (text: string): void => void process.stderr.write(`browser: ${text}\n`)

async function main(): Promise<number | undefined> {
  const { values } = parseArgs({
    options: {
      port: { type: 'string' },
      'no-isolation': { type: 'boolean', default: false },
      'no-open': { type: 'boolean', default: false },
      dev: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(USAGE)
    return 0
  }
  const port = Number(values.port ?? DEFAULT_PORT)
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    say(`--port ${values.port}: a number from 0 to 65535`)
    return 2
  }
  const [guest] = await Promise.all([debianGuest(), values.dev ? undefined : bundlePage()])
  const { url } = await servePage({ guest, port, isolated: !values['no-isolation'], development: values.dev })
  process.stdout.write(`${url}\n`)
  say('Ctrl-C ends the server')
  if (!values['no-open']) open(url)
  return undefined
}

/** The guest; undefined where it cannot be had, and the page asks for a kernel then. */
async function debianGuest(): Promise<DebianGuest | undefined> {
  let last = ''
  try {
    return await prepareDebianGuest({
      cacheFolder: join(root, '.cache', 'guest'),
      sourceFolder: join(root, 'guests', 'initramfs'),
      onProgress({ phase, message }) {
        if (phase !== last) say(message)
        last = phase
      },
    })
  } catch (error) {
    if (!(error instanceof GuestError)) throw error
    say(
      `there is no Debian guest, the page will ask for a kernel: ${error.message.split('\n')[0]} (${error.code})`,
    )
    return undefined
  }
}

function open(url: string): void {
  const { platform, env } = process
  const desktop = platform === 'darwin' || platform === 'win32' || env.DISPLAY || env.WAYLAND_DISPLAY
  if (!desktop) return
  const [program, ...args] =
    platform === 'darwin'
      ? ['open', url]
      : platform === 'win32'
        ? ['cmd', '/c', 'start', '', url]
        : ['xdg-open', url]
  // Whoever has no such program has the address.
  spawn(program!, args, { stdio: 'ignore', detached: true })
    .on('error', () => {})
    .unref()
}

try {
  const status = await main()
  if (status !== undefined) process.exit(status)
} catch (error) {
  say(error instanceof Error ? error.message : String(error))
  process.exit(1)
}
