/**
 * The worker that owns a machine: composes it, serves its control, and is its host. The clock, the turns of the event
 * loop (a MessageChannel), timers and the date are those of this thread.
 */
import { emulated } from '@trapframe/backend-emulated'
import { createConsoleWatch } from '@trapframe/cli/src/console-watch.ts'
import { TrapframeError } from '@trapframe/core'
import {
  createMachine,
  isBzImage,
  javascriptHost,
  linux,
  type Machine,
  microvm,
  serveMachine,
} from '@trapframe/machine'
import { readBootFile } from './boot-file.ts'
import { createOutputWindow } from './output-window.ts'
import type { FileProgress, FromWorker, MachineRequest, ToWorker } from './worker-protocol.ts'

/** At most that often; a file arrives in thousands of pieces. */
const PROGRESS_MS = 40

const output = createOutputWindow()

addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === 'shown') output.shown(data.bytes)
  else void create(data.request, data.control)
})

function tell(message: FromWorker): void {
  postMessage(message)
}

async function create(request: MachineRequest, control: MessagePort): Promise<void> {
  try {
    const [kernel, initrd] = await Promise.all([
      readBootFile(request.kernel, progressOf('kernel')),
      request.initrd === undefined ? undefined : readBootFile(request.initrd, progressOf('initrd')),
    ])
    // Threads can share memory only where the page is isolated from others; without, the machine has one thread anyway.
    const sharedMemory = globalThis.crossOriginIsolated === true
    const machine = await compose(request, sharedMemory, kernel, initrd)
    serveMachine(machine, control)
    tell({ kind: 'created', sharedMemory })
  } catch (error) {
    const code = error instanceof TrapframeError ? error.code : 'browser/defect'
    tell({
      kind: 'refused',
      error: { code, message: error instanceof Error ? error.message : String(error) },
    })
  }
}

async function compose(
  { commandLine, memoryBytes }: MachineRequest,
  sharedMemory: boolean,
  kernel: Uint8Array,
  initrd: Uint8Array | undefined,
): Promise<Machine> {
  const host = javascriptHost()
  let panicked = false
  const watch = createConsoleWatch((mark) => {
    if (mark === 'panic') panicked = true
    tell({ kind: 'mark', mark })
  })
  const create = (extract: boolean): Promise<Machine> =>
    createMachine({
      backend: emulated(),
      board: microvm({ memoryBytes, debugExit: false }),
      boot: linux({ kernel, ...(initrd && { initrd }), commandLine, extract }),
      sharedMemory,
      // After a panic the kernel resets: that would begin the same thing again.
      onReset: () => (panicked ? 'end' : 'reboot'),
      host: {
        ...host,
        async yieldToHost() {
          await host.yieldToHost()
          await output.room()
        },
      },
      log: { debug() {}, warn: (message) => console.warn(message) },
    })
  const machine = await create(isBzImage(kernel)).catch((error) => {
    // What only the guest can unpack, it unpacks itself.
    if (error instanceof TrapframeError && error.code === 'boot/unsupported-compression') return create(false)
    throw error
  })
  machine.console.onOutput((bytes) => watch.read(bytes))
  machine.onReset(() => {
    panicked = false
  })
  for (const port of Object.values(machine.ports)) port.onOutput((bytes) => output.sent(bytes.length))
  return machine
}

function progressOf(file: FileProgress['file']): (doneBytes: number, totalBytes: number | undefined) => void {
  let lastMs = Number.NEGATIVE_INFINITY
  return (doneBytes, totalBytes) => {
    const nowMs = performance.now()
    if (nowMs - lastMs < PROGRESS_MS && doneBytes !== totalBytes) return
    lastMs = nowMs
    tell({ kind: 'progress', progress: { file, doneBytes, totalBytes } })
  }
}
