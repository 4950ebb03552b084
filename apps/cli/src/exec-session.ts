/** `--exec`: a command in the guest, with this process's standard input, output and error, over the second serial port. */
import type { BytePort } from '@trapframe/machine'
import { createExecChannel } from './guest/index.ts'

export interface ExecSessionOptions {
  readonly command: string
  readonly port: BytePort
  readonly stdin: NodeJS.ReadStream
  readonly stdout: (bytes: Uint8Array) => void
  readonly stderr: (bytes: Uint8Array) => void
  /** The guest has greeted, and the command begins. */
  readonly ready?: () => void
}

/** Runs the command. Resolves with its status; rejects with a GuestError when the guest does not keep to the protocol. */
export function runExecSession(options: ExecSessionOptions): Promise<number> {
  const { command, port, stdin, stdout, stderr } = options
  return new Promise((resolve, reject) => {
    const end = (): void => {
      remove()
      stdin.off('data', onData)
      stdin.off('end', onEnd)
      stdin.pause()
    }
    const channel = createExecChannel({
      send: (bytes) => port.send(bytes),
      ready: () => options.ready?.(),
      stdout,
      stderr,
      exit(status) {
        end()
        resolve(status)
      },
      drain: () => stdin.resume(),
    })
    const onData = (bytes: Buffer): void => {
      if (!channel.writeInput(bytes)) stdin.pause()
    }
    const onEnd = (): void => channel.endInput()
    const remove = port.onOutput((bytes) => {
      try {
        channel.receive(bytes)
      } catch (error) {
        end()
        reject(error)
      }
    })
    try {
      channel.run(command)
    } catch (error) {
      remove()
      reject(error)
      return
    }
    stdin.on('data', onData)
    stdin.on('end', onEnd)
    stdin.on('error', onEnd)
    stdin.resume()
  })
}
