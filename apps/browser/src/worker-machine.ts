/** A machine in a worker of its own, from the page's side. */
import type { ConsoleMark } from '@trapframe/cli/src/console-watch.ts'
import { TrapframeError } from '@trapframe/core'
import { connectMachine, type RemoteMachine } from '@trapframe/machine'
import type { FileProgress, FromWorker, MachineRequest, ToWorker } from './worker-protocol.ts'

export interface WorkerMachine {
  readonly remote: RemoteMachine
  /** Whether guest RAM is shared memory, which takes a page that is isolated from others. */
  readonly sharedMemory: boolean
  /** Takes note that output of the guest was dealt with; a guest that is too far ahead waits for it. */
  shown(bytes: number): void
  /** Ends the worker, whatever it does. */
  terminate(): void
}

export interface WorkerMachineOptions {
  readonly request: MachineRequest
  progress(progress: FileProgress): void
  mark(mark: ConsoleMark): void
  /** The worker died: out of memory, or a defect. */
  failed(error: TrapframeError): void
  readonly signal: AbortSignal
}

/** Makes a machine. @throws TrapframeError with the code of what the worker threw; AbortError */
export async function createWorkerMachine(options: WorkerMachineOptions): Promise<WorkerMachine> {
  const { request, signal } = options
  const worker = new Worker(new URL('./machine-worker.ts', import.meta.url), { type: 'module' })
  const { port1, port2 } = new MessageChannel()
  const post = (message: ToWorker, transfer: Transferable[] = []): void =>
    worker.postMessage(message, transfer)
  try {
    const sharedMemory = await new Promise<boolean>((resolve, reject) => {
      signal.throwIfAborted()
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
        switch (data.kind) {
          case 'progress':
            return options.progress(data.progress)
          case 'mark':
            return options.mark(data.mark)
          case 'created':
            return resolve(data.sharedMemory)
          case 'refused':
            return reject(new TrapframeError(data.error.code, data.error.message))
        }
      }
      worker.onerror = (event) => {
        const error = new TrapframeError('browser/worker', event.message || 'the worker could not be started')
        reject(error)
        options.failed(error)
      }
      post({ kind: 'create', request, control: port2 }, [port2])
    })
    const remote = await connectMachine(port1)
    return {
      remote,
      sharedMemory,
      shown: (bytes) => post({ kind: 'shown', bytes }),
      terminate() {
        remote.disconnect()
        worker.terminate()
        port1.close()
      },
    }
  } catch (error) {
    worker.terminate()
    port1.close()
    throw error
  }
}
