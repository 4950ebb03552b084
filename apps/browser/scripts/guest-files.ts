/** The prepared guest as files of the page's server, below `guest/`: a list for the page, kernel and initramfs. */
import { createReadStream, statSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { DebianGuest } from '@trapframe/cli/src/guest/index.ts'

/** Answers requests below `/guest`; others, and all when there is no guest, go on to `next`. */
export function guestFiles(
  guest: DebianGuest | undefined,
  headers: Readonly<Record<string, string>>,
): (request: IncomingMessage, response: ServerResponse, next: () => void) => void {
  // The kernel proper, not the bzImage: four times as large, but unpacking would take longer than fetching it.
  const files: Readonly<Record<string, string>> = guest
    ? { '/vmlinux': guest.vmlinux, '/initramfs.cpio': guest.initramfs }
    : {}
  const list = guest && {
    title: `Debian ${guest.kernelRelease}`,
    kernel: 'vmlinux',
    initrd: 'initramfs.cpio',
  }
  return (request, response, next) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
    if (pathname === '/guest.json') {
      response.statusCode = list ? 200 : 404
      response.setHeader('Content-Type', 'application/json')
      response.setHeader('Cache-Control', 'no-cache')
      response.end(JSON.stringify(list ?? {}))
      return
    }
    const path = Object.hasOwn(files, pathname) ? files[pathname] : undefined
    if (path === undefined) return next()
    const { size, mtimeMs } = statSync(path)
    const tag = `"${size.toString(36)}-${Math.floor(mtimeMs).toString(36)}"`
    response.setHeader('Cache-Control', 'no-cache')
    response.setHeader('ETag', tag)
    if (request.headers['if-none-match'] === tag) {
      response.statusCode = 304
      response.end()
      return
    }
    response.setHeader('Content-Type', 'application/octet-stream')
    response.setHeader('Content-Length', size)
    if (request.method === 'HEAD') response.end()
    else createReadStream(path).pipe(response)
  }
}
