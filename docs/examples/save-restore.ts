// Boots a guest to its shell, saves it into a file, and goes on from that file in another machine.
import { readFile, rm, writeFile } from 'node:fs/promises'
import { deserialize, serialize } from 'node:v8'
import { emulated } from '@trapframe/backend-emulated'
import {
  createMachine,
  javascriptHost,
  linux,
  type Machine,
  type MachineState,
  microvm,
  textConsole,
} from '@trapframe/machine'

const folder = process.argv[2] ?? '.cache/guest'
const file = process.argv[3] ?? '.cache/saved-machine'
const kernel = await readFile(`${folder}/vmlinux`)
const initrd = await readFile(`${folder}/initramfs.cpio`)

/** Both machines are made of the same parts. */
function newMachine(): Promise<Machine> {
  return createMachine({
    backend: emulated(),
    board: microvm({ memoryBytes: 256 * 2 ** 20 }),
    boot: linux({ kernel, initrd }),
    host: javascriptHost(),
  })
}

const first = await newMachine()
const console1 = textConsole(first)
first.start()
await console1.readUntil('~# ')
console1.write('echo written by the first machine >/tmp/note\n')
await console1.readUntil('~# ')
await first.pause()
await writeFile(file, serialize(first.save()))
first.close()

const second = await newMachine()
second.restore(deserialize(await readFile(file)) as MachineState)
await rm(file)
const console2 = textConsole(second)
second.start()
console2.write('cat /tmp/note; poweroff\n')
console.log(await console2.readUntil('machine\r\n'))
console.log(await second.ended)
second.close()
