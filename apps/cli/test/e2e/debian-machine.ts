// A machine that boots the Debian guest, in this process: what the tests look at that no command shows.
import { readFileSync } from 'node:fs'
import { emulated } from '@trapframe/backend-emulated'
import { createMachine, javascriptHost, linux, type Machine, microvm } from '@trapframe/machine'
import type { DebianGuest } from '../../src/guest/debian-guest.ts'

export interface DebianMachine {
  readonly machine: Machine
  /** What the console has printed so far. */
  readonly output: () => string
  /** Runs on until the console has printed `text`. */
  runUntil(text: string): Promise<void>
  /** Runs on until guest time is `guestTimeNs`. */
  runTo(guestTimeNs: number): Promise<void>
}

export async function debianMachine(
  guest: DebianGuest,
  options: { time: 'real' | 'virtual'; commandLine?: string },
): Promise<DebianMachine> {
  let output = ''
  let look: () => void = () => {}
  const machine = await createMachine({
    backend: emulated(),
    board: microvm({ memoryBytes: 128 * 2 ** 20 }),
    boot: linux({
      kernel: readFileSync(guest.vmlinux),
      bzImage: readFileSync(guest.vmlinuz),
      initrd: readFileSync(guest.initramfs),
      commandLine: `console=ttyS0,115200 panic=-1 ${options.commandLine ?? ''}`.trim(),
    }),
    time: options.time,
    host: javascriptHost(),
    console(bytes) {
      output += new TextDecoder('latin1').decode(bytes)
      look()
    },
  })
  const paused = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const remove = machine.onStateChange((state) => {
        if (state !== 'paused' && state !== 'stopped' && state !== 'failed') return
        remove()
        if (state === 'paused') resolve()
        else
          reject(
            new Error(
              `the guest ended: ${JSON.stringify(machine.end?.kind)}; it said:\n${output.slice(-2000)}`,
            ),
          )
      })
    })
  return {
    machine,
    output: () => output,
    async runUntil(text) {
      const from = output.length
      const rest = paused()
      await new Promise<void>((resolve, reject) => {
        rest.catch(reject)
        look = () => {
          if (output.indexOf(text, Math.max(from - text.length, 0)) >= 0) resolve()
        }
        machine.start()
      })
      look = () => {}
      await machine.pause()
      await rest
    },
    async runTo(guestTimeNs) {
      const rest = paused()
      machine.pauseAt(guestTimeNs)
      machine.start()
      await rest
    },
  }
}
