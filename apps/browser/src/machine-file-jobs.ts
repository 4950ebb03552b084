/** Saved machines to files and back, in a worker of their own. */
import { TrapframeError } from '@trapframe/core'
import type { SavedMachine } from './machine-file.ts'
import type { FileJob, FileJobResult } from './machine-file-worker.ts'

/** The file of a saved machine. Takes the contents of RAM away from `saved`. */
export async function machineToFile(saved: SavedMachine): Promise<Blob> {
  const buffers = saved.state.ram.map(({ bytes }) => bytes.buffer as ArrayBuffer)
  const result = await run({ pack: saved }, buffers)
  return (result as { packed: Blob }).packed
}

/** @throws TrapframeError with the codes of `MachineFileError` */
export async function fileToMachine(file: Blob): Promise<SavedMachine> {
  const result = await run({ unpack: file }, [])
  return (result as { unpacked: SavedMachine }).unpacked
}

function run(job: FileJob, transfer: Transferable[]): Promise<FileJobResult> {
  const worker = new Worker(new URL('./machine-file-worker.ts', import.meta.url), { type: 'module' })
  return new Promise<FileJobResult>((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<FileJobResult>) => {
      if ('error' in data) reject(new TrapframeError(data.error.code, data.error.message))
      else resolve(data)
    }
    worker.onerror = (event) =>
      reject(new TrapframeError('browser/defect', event.message || 'a worker failed'))
    worker.postMessage(job, transfer)
  }).finally(() => worker.terminate())
}
