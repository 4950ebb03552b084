/** Reads a file of the guest piece by piece, and tells how far it is. */
import { TrapframeError } from '@trapframe/core'
import type { BootFile } from './worker-protocol.ts'

/** @throws TrapframeError `browser/file` when it cannot be read */
export async function readBootFile(
  file: BootFile,
  report: (doneBytes: number, totalBytes: number | undefined) => void,
): Promise<Uint8Array> {
  const { stream, sizeBytes } = await open(file)
  report(0, sizeBytes)
  // With a known size the pieces go to their place at once: a kernel is large, and would be there twice.
  let bytes = new Uint8Array(sizeBytes ?? 2 ** 20)
  let doneBytes = 0
  const reader = stream.getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      if (doneBytes + value.length > bytes.length) {
        const larger = new Uint8Array(Math.max(bytes.length * 2, doneBytes + value.length))
        larger.set(bytes.subarray(0, doneBytes))
        bytes = larger
      }
      bytes.set(value, doneBytes)
      doneBytes += value.length
      report(doneBytes, sizeBytes)
    }
  } catch (cause) {
    throw new TrapframeError('browser/file', `${nameOf(file)} cannot be read: ${String(cause)}`, { cause })
  }
  return bytes.subarray(0, doneBytes)
}

async function open(file: BootFile): Promise<{ stream: ReadableStream<Uint8Array>; sizeBytes?: number }> {
  if (typeof file !== 'string') return { stream: file.stream(), sizeBytes: file.size }
  let response: Response
  try {
    response = await fetch(file)
  } catch (cause) {
    throw new TrapframeError('browser/file', `${file} cannot be fetched: ${String(cause)}`, { cause })
  }
  if (!response.ok || !response.body)
    throw new TrapframeError('browser/file', `${file} cannot be fetched: status ${response.status}`)
  // The length is that of the transfer: with an encoding it says nothing about the file.
  const length = response.headers.get('content-encoding') ? null : response.headers.get('content-length')
  return { stream: response.body, ...(length !== null && { sizeBytes: Number(length) }) }
}

function nameOf(file: BootFile): string {
  return typeof file === 'string' ? file : ((file as File).name ?? 'the file')
}
