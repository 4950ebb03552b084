// Writes a guest that needs no operating system: it prints a line on the serial port and switches itself off.
import { writeFile } from 'node:fs/promises'
import { assembleElf } from '@trapframe/x86'

const { bytes } = assembleElf(
  `
_start: lea   rsi, [rip + text]
        mov   ecx, end - text
        mov   dx, 0x3f8           ; COM1
        rep outsb
        mov   dx, 0x604           ; ACPI PM1 control
        mov   ax, 0x2000          ; sleep, and to type 0: S5, off
        out   dx, ax
        hlt
text:   .ascii "hello from ring 0\\n"
end:`,
  { origin: 0x100_0000 },
)
await writeFile(process.argv[2] ?? 'hello.elf', bytes)
