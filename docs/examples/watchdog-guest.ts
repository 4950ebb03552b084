// A guest of seven instructions that sets the watchdog to 10 ms, feeds it once, and then forgets it.
import { emulated } from '@trapframe/backend-emulated'
import { createMachine, javascriptHost, linux, microvm } from '@trapframe/machine'
import { assembleElf } from '@trapframe/x86'
import { watchdog } from './watchdog.ts'

const source = `
_start: mov   dx, 0x510
        mov   ax, 10
        out   dx, ax          ; 10 ms from now
        mov   ecx, 2000000
wait:   loop  wait            ; 2 ms: in virtual time, an instruction takes a nanosecond
        out   dx, ax          ; 10 ms from now
hang:   jmp   hang`

const machine = await createMachine({
  backend: emulated(),
  board: microvm({ memoryBytes: 32 * 2 ** 20, devices: (slots) => [watchdog(slots)] }),
  boot: linux({ kernel: assembleElf(source, { origin: 0x100_0000 }).bytes }),
  host: javascriptHost(),
  time: 'virtual',
  onReset: 'end',
})
machine.start()
const { kind } = await machine.ended
console.log(`${kind} after ${machine.guestTimeNs} ns`)
machine.close()
