/** Bundles the page and serves it, with the guest beside it. */
import { fileURLToPath } from 'node:url'
import type { DebianGuest } from '@trapframe/cli/src/guest/index.ts'
import { build, createServer, type InlineConfig, type Plugin, preview } from 'vite'
import { guestFiles } from './guest-files.ts'

const configFile = fileURLToPath(new URL('../vite.config.ts', import.meta.url))

/** What makes a page cross-origin isolated, so that its threads can share memory. */
const ISOLATION = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
} as const

export interface PageServerOptions {
  /** Undefined: the page asks for a kernel. */
  readonly guest: DebianGuest | undefined
  /** Default: true. */
  readonly isolated?: boolean
  /** 0 or undefined: one that is free. */
  readonly port?: number
  /** Serves the sources, and reloads the page when one changes. Default: false, the bundle. */
  readonly development?: boolean
  /** Folder of the bundle. Default: that of vite.config.ts. */
  readonly folder?: string
}

export interface PageServer {
  readonly url: string
  close(): Promise<void>
}

/** Makes the bundle. */
export async function bundlePage(folder?: string): Promise<void> {
  await build({
    configFile,
    logLevel: 'warn',
    mode: 'production',
    ...(folder !== undefined && { build: { outDir: folder } }),
  })
}

/** Serves on this machine only. */
export async function servePage(options: PageServerOptions): Promise<PageServer> {
  const { guest, isolated = true, port = 0, development = false, folder } = options
  const headers = isolated ? ISOLATION : {}
  const files = guestFiles(guest, headers)
  const plugin: Plugin = {
    name: 'guest-files',
    configureServer: ({ middlewares }) => void middlewares.use('/guest', files),
    configurePreviewServer: ({ middlewares }) => void middlewares.use('/guest', files),
  }
  const place = { host: '127.0.0.1', port, headers }
  const config: InlineConfig = {
    configFile,
    logLevel: 'warn',
    plugins: [plugin],
    server: place,
    preview: place,
    ...(folder !== undefined && { build: { outDir: folder } }),
  }
  if (development) {
    const server = await createServer(config)
    await server.listen()
    return { url: server.resolvedUrls!.local[0]!, close: () => server.close() }
  }
  const server = await preview(config)
  return { url: server.resolvedUrls!.local[0]!, close: () => server.close() }
}
