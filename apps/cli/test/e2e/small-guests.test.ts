// How guests end, with guests of a few instructions that our own assembler makes: no Debian guest is needed.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { assembleElf } from '@trapframe/x86'
import { afterAll, describe, expect, test } from 'vitest'
import { Command, type Result, runCommand } from './command.ts'

const folder = mkdtempSync(join(tmpdir(), 'trapframe-e2e-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A guest that is entered in 64-bit mode at 16 MiB, as a file. */
function guest(source: string): string {
  const path = join(folder, 'guest.elf')
  writeFileSync(path, assembleElf(source, { origin: 0x100_0000 }).bytes)
  return path
}
const run = (source: string, ...options: string[]): Promise<Result> =>
  runCommand(['run', '--kernel', guest(source), ...options])

const HELLO = `
  lea rsi, [rip + text]
  mov ecx, 6
  mov edx, 0x3f8
  rep outsb
`
const TEXT = `
text: .ascii "hello\\n"
`

describe('ends that the guest wishes', () => {
  test('default: prints on the console and writes to the debug exit port', async () => {
    const result = await run(
      `${HELLO}\n mov al, 0x2a\n mov dx, 0xf4\n out dx, al\n hlt\n${TEXT}`,
      '--debug-exit',
    )
    expect(result.status).toBe((0x2a << 1) | 1)
    expect(result.stdout.toString()).toBe('hello\n')
    expect(result.stderr).toBe('')
  })

  test('behaviour: without --debug-exit the port is nobody’s', async () => {
    const source = `mov dx, 0xf4\n out dx, al\n cli\n hlt`
    expect((await run(source)).status).toBe(104)
  })

  test('behaviour: power off', async () => {
    const result = await run(`mov dx, 0x604\n mov ax, 0x2000\n out dx, ax\n hlt`)
    expect(result).toMatchObject({ status: 0, stderr: '' })
  })

  test('behaviour: a reset ends the guest with --no-reboot, and starts it again without', async () => {
    const source = `${HELLO}\n mov al, 0xfe\n out 0x64, al\n spin: jmp spin\n${TEXT}`
    const once = await run(source, '--no-reboot')
    expect(once.status).toBe(0)
    expect(once.stdout.toString()).toBe('hello\n')
    const again = new Command(['run', '--kernel', guest(source)])
    await again.waitFor(/(hello\n){3}/)
    again.process.kill('SIGTERM')
    expect((await again.ended).status).toBe(0)
  })
})

describe('ends with a report', () => {
  test.each([
    ['triple fault', 102, 'mov rax, 0x1234567890\n lidt [rip + none]\n ud2\n none: .quad 0, 0', '0f 0b'],
    ['halted for ever, with interrupts off', 104, 'mov rax, 0x1234567890\n cli\n hlt\n nop', '90'],
    [
      'instruction fetch outside memory',
      106,
      'mov rax, 0x1234567890\n mov rbx, 0x30000000\n jmp rbx',
      'not in memory',
    ],
  ])('behaviour: %s', async (title, status, source, code) => {
    const result = await run(source)
    expect(result.status).toBe(status)
    expect(result.stdout.toString()).toBe('')
    const lines = result.stderr.trimEnd().split('\n')
    expect(lines[0]).toMatch(new RegExp(`^trapframe: guest ended: ${title} at rip [0-9a-f]{16}$`))
    expect(result.stderr).toContain('rax 0000001234567890')
    expect(result.stderr).toMatch(/^last exit: /m)
    expect(result.stderr).toContain(`code: ${code}`)
    expect(result.stderr).not.toMatch(/^ {4}at /m)
  })
})

describe('guests that do not end', () => {
  test('behaviour: one that spins ends at the time-out', async () => {
    const result = await run('cli\n spin: jmp spin', '--timeout', '0.5')
    expect(result).toMatchObject({ status: 124, stderr: 'trapframe: time-out after 0.5 s\n' })
  })

  test('behaviour: one that floods the console while nobody reads, and reads nothing of what is sent', async () => {
    const flood = new Command([
      'run',
      '--kernel',
      guest(`again: ${HELLO}\n jmp again\n${TEXT}`),
      '--timeout',
      '2',
    ])
    // Nobody reads for a while: the guest waits.
    flood.process.stdout.pause()
    flood.process.stdin.write(Buffer.alloc(300_000, 1))
    await new Promise((resolve) => setTimeout(resolve, 1000))
    flood.process.stdout.resume()
    const result = await flood.ended
    expect(result.status).toBe(124)
    expect(result.stdout.length).toBeGreaterThan(1000)
  })
})
