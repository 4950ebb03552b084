/** Packs and unpacks saved machines aside, so that neither the page nor the machine waits for gzip. One job each. */
import { TrapframeError } from '@trapframe/core'
import type { WireError } from '@trapframe/machine'
import { packMachine, type SavedMachine, unpackMachine } from './machine-file.ts'

export type FileJob = { readonly pack: SavedMachine } | { readonly unpack: Blob }
export type FileJobResult =
  | { readonly packed: Blob }
  | { readonly unpacked: SavedMachine }
  | { readonly error: WireError }

addEventListener('message', ({ data }: MessageEvent<FileJob>) => void work(data))

async function work(job: FileJob): Promise<void> {
  try {
    if ('pack' in job) answer({ packed: await packMachine(job.pack) })
    else {
      const unpacked = await unpackMachine(job.unpack)
      // RAM changes hands rather than being copied.
      answer(
        { unpacked },
        unpacked.state.ram.map(({ bytes }) => bytes.buffer as ArrayBuffer),
      )
    }
  } catch (error) {
    const code = error instanceof TrapframeError ? error.code : 'browser/defect'
    answer({ error: { code, message: error instanceof Error ? error.message : String(error) } })
  }
}

function answer(result: FileJobResult, transfer: Transferable[] = []): void {
  postMessage(result, { transfer })
}
