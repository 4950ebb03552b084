// Boots Debian's kernel to a shell, runs a command there and switches the machine off.
import { readFile } from 'node:fs/promises'
import { emulated } from '@trapframe/backend-emulated'
import { createMachine, javascriptHost, linux, microvm, textConsole } from '@trapframe/machine'

const folder = process.argv[2] ?? '.cache/guest' // where `npm run boot` keeps its guest
const machine = await createMachine({
  backend: emulated(),
  board: microvm({ memoryBytes: 256 * 2 ** 20 }),
  boot: linux({
    kernel: await readFile(`${folder}/vmlinuz`),
    initrd: await readFile(`${folder}/initramfs.cpio`),
    extract: true, // unpack the kernel here: it would take the guest longer
  }),
  host: javascriptHost(),
})
const terminal = textConsole(machine)
machine.start()
await terminal.readUntil('~# ')
terminal.write('uname -a\n')
console.log(await terminal.readUntil('~# '))
terminal.write('poweroff\n')
console.log(await machine.ended)
machine.close()
