// A machine in a worker thread, controlled and talked to from the main thread.
import { readFile } from 'node:fs/promises'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { emulated } from '@trapframe/backend-emulated'
import {
  connectMachine,
  createMachine,
  javascriptHost,
  linux,
  microvm,
  serveMachine,
  textConsole,
} from '@trapframe/machine'

const folder = process.argv[2] ?? '.cache/guest'

if (isMainThread) {
  const worker = new Worker(new URL(import.meta.url), { argv: [folder] })
  const machine = await connectMachine(worker)
  const terminal = textConsole(machine)
  await machine.start()
  await terminal.readUntil('~# ')
  terminal.write('poweroff\n')
  console.log(await machine.ended)
  await worker.terminate()
} else {
  const machine = await createMachine({
    backend: emulated(),
    board: microvm(),
    boot: linux({
      kernel: await readFile(`${folder}/vmlinux`),
      initrd: await readFile(`${folder}/initramfs.cpio`),
    }),
    host: javascriptHost(),
  })
  serveMachine(machine, parentPort)
}
