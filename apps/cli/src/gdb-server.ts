/** A machine's gdb stub on a TCP port of the local host. One debugger at a time. */
import { createServer, type Socket } from 'node:net'
import { createGdbStub, type GdbStub, type Machine } from '@trapframe/machine'
import { CommandError } from './command-error.ts'

export interface GdbServer {
  /** Resolves when the first debugger has come. */
  readonly attached: Promise<void>
  /** Resolves when no debugger is there. */
  readonly detached: Promise<void>
  close(): void
}

/** @throws CommandError `cli/gdb-port` when the port is not to be had */
export async function serveGdb(machine: Machine, port: number): Promise<GdbServer> {
  let socket: Socket | undefined
  let attach: () => void = () => {}
  const attached = new Promise<void>((resolve) => {
    attach = resolve
  })
  let detach: () => void = () => {}
  let detached: Promise<void> = Promise.resolve()

  const serve = async (incoming: Socket): Promise<void> => {
    if (socket !== undefined) {
      incoming.destroy()
      return
    }
    socket = incoming
    detached = new Promise((resolve) => {
      detach = resolve
    })
    incoming.setNoDelay(true)
    if (machine.state === 'running') await machine.pause()
    const stub: GdbStub = createGdbStub(machine.debug, (bytes) => {
      if (!incoming.destroyed) incoming.write(bytes)
    })
    const remove = machine.debug.onStop((stop) => stub.stopped(stop))
    incoming.on('data', (bytes) => stub.receive(bytes))
    incoming.on('error', () => incoming.destroy())
    incoming.on('close', () => {
      remove()
      stub.close()
      socket = undefined
      detach()
    })
    attach()
  }

  const server = createServer((incoming) => void serve(incoming))
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'EADDRINUSE' ? 'it is in use' : cause.message
      reject(new CommandError('cli/gdb-port', `--gdb ${port}: cannot listen on the port: ${why}`, { cause }))
    })
    server.listen(port, '127.0.0.1', resolve)
  })
  return {
    attached,
    get detached() {
      return detached
    },
    close() {
      server.close()
      socket?.end()
    },
  }
}
