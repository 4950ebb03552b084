/**
 * The guest's serial console on standard input and output: raw when that is a terminal, plain when a pipe. Nothing is
 * lost and nothing grows without bound: input is read as the guest takes it.
 */
import { spawnSync } from 'node:child_process'
import type { BytePort } from '@trapframe/machine'
import { createEscapeKeys } from './escape-keys.ts'

/** Input that may wait for the guest. */
const MAX_WAITING_BYTES = 65_536

export interface ConsoleSessionOptions {
  readonly stdin: NodeJS.ReadStream
  readonly port: BytePort
  /** The user wants to leave (Ctrl-A X). */
  leave(): void
}

/** Connects standard input; output is the caller's affair. Answers what gives the terminal back. */
export function startConsoleSession({ stdin, port, leave }: ConsoleSessionOptions): () => void {
  const terminal = stdin.isTTY === true
  const keys = createEscapeKeys()
  const onData = (bytes: Buffer): void => {
    if (terminal) {
      const input = keys(bytes)
      port.send(input.bytes)
      if (input.leave) leave()
    } else port.send(bytes)
    if (port.waitingBytes > MAX_WAITING_BYTES) stdin.pause()
  }
  if (terminal) {
    stdin.setRawMode(true)
    // Node leaves the output's translation of LF on, but the guest's terminal has done that already, or means a mere LF.
    // setRawMode(false) brings back what was there before.
    spawnSync('stty', ['-opost'], { stdio: [stdin, 'ignore', 'ignore'] })
  }
  const remove = port.onDrain(() => {
    if (stdin.isPaused()) stdin.resume()
  })
  stdin.on('data', onData)
  // A closed input is an input that says nothing more; the guest goes on.
  stdin.on('error', () => {})
  stdin.resume()
  return () => {
    remove()
    stdin.off('data', onData)
    stdin.pause()
    if (terminal) stdin.setRawMode(false)
  }
}
