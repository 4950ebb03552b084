import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { describe, expect, test } from 'vitest'
import { file, guestKernel, type Result, runCommand, startCommand } from './run-command.ts'

const run = (source: string, ...args: string[]): Promise<Result> =>
  runCommand(['run', '--kernel', guestKernel(source), ...args])

/** Prints the characters, by the serial port. */
const print = (text: string): string =>
  `mov dx, 0x3f8\n${[...text].map((char) => `mov al, ${char.charCodeAt(0)}\nout dx, al`).join('\n')}\n`
/** SLP_EN with SLP_TYP of S5 into PM1 control. */
const POWER_OFF = 'mov dx, 0x604\nmov ax, 0x2000\nout dx, ax\nhlt\n'

describe('ends of a guest', () => {
  test('default: console on standard output, status 0 after power off', async () => {
    expect(await run(print('hello\n') + POWER_OFF)).toEqual({
      status: 0,
      stdout: Buffer.from('hello\n'),
      stderr: '',
    })
  })

  test('behaviour: debug exit port, as QEMU has it, and only when asked for', async () => {
    const source = `mov al, 0x15\nout 0xf4, al\n${POWER_OFF}`
    expect((await run(source, '--debug-exit')).status).toBe((0x15 << 1) | 1)
    expect((await run(source)).status).toBe(0)
  })

  test('behaviour: debug console on standard error', async () => {
    const { stdout, stderr } = await run(`mov al, 0x41\nout 0xe9, al\n${POWER_OFF}`)
    expect([stdout.toString(), stderr]).toEqual(['', 'A'])
  })

  test('behaviour: triple fault, with registers, last exit and code', async () => {
    const { status, stderr } = await run(`${print('x')}mov rax, 0x1234567\nud2\n`)
    expect(status).toBe(102)
    expect(stderr).toContain('trapframe: guest ended: triple fault at rip 0000000000100')
    expect(stderr).toContain('rax 0000000001234567')
    expect(stderr).toMatch(/code: 0f 0b/)
    expect(stderr).toContain('at rip: ud2')
  })

  test('behaviour: halted for ever, and a fetch outside memory', async () => {
    const halted = await run('cli\nhlt\n')
    expect(halted.status).toBe(104)
    expect(halted.stderr).toContain('halted for ever, with interrupts off')
    const lost = await run('mov rax, 0xd0000000\njmp rax\n')
    expect(lost.status).toBe(106)
    expect(lost.stderr).toContain('instruction fetch outside memory at rip 00000000d0000000')
    expect(lost.stderr).toContain('code: not in memory')
  })

  test('behaviour: time-out ends a guest that spins', async () => {
    const { status, stderr } = await run('jmp .\n'.replace('.', '1f\n1: jmp 1b'), '--timeout', '0.5')
    expect([status, stderr]).toEqual([124, 'trapframe: time-out after 0.5 s\n'])
  })

  test('behaviour: a guest that floods the console waits while nobody reads', async () => {
    const flood = startCommand([
      'run',
      '--kernel',
      guestKernel(`next: ${print('flood\n')}jmp next`),
      '--timeout',
      '2',
    ])
    flood.stdin.on('error', () => {})
    flood.stdin.write(Buffer.alloc(300_000, 1))
    await once(flood.stdout, 'data')
    flood.stdout.pause()
    await new Promise((resolve) => setTimeout(resolve, 1000))
    flood.stdout.resume()
    let size = 0
    flood.stdout.on('data', (bytes: Buffer) => {
      size += bytes.length
    })
    const [status] = await once(flood, 'close')
    expect(status).toBe(124)
    expect(size).toBeGreaterThan(10_000)
  })

  test('behaviour: a reader that stands still does not keep the command beyond its time-out', async () => {
    const kernel = guestKernel(`next: ${print('flood\n')}jmp next`)
    const stuck = startCommand(['run', '--kernel', kernel, '--timeout', '0.5'])
    await once(stuck.stdout, 'data')
    stuck.stdout.pause()
    const [status] = await once(stuck, 'exit')
    expect(status).toBe(124)
  })

  test('behaviour: a reset starts again, or ends with --no-reboot; after a panic it ends', async () => {
    const reset = 'mov dx, 0xcf9\nmov al, 6\nout dx, al\nhlt\n'
    expect((await run(print('r') + reset, '--no-reboot')).stdout.toString()).toBe('r')
    const again = await run(print('r') + reset, '--timeout', '1')
    expect(again.status).toBe(124)
    expect(again.stdout.length).toBeGreaterThan(1)
    const panic = await run(print('\nKernel panic - not syncing: test\n') + reset, '--timeout', '10')
    expect([panic.status, panic.stderr]).toEqual([100, "trapframe: the guest's kernel panicked\n"])
  })

  test('behaviour: statistics and virtual time', async () => {
    const kernel = guestKernel(`mov ecx, 1000000\n1: dec ecx\njnz 1b\n${POWER_OFF}`)
    const { status, stderr } = await runCommand(['run', '--kernel', kernel, '--virtual-time', '--stats'])
    expect(status).toBe(0)
    expect(Number(/instructions-retired (\d+)/.exec(stderr)?.[1])).toBe(2_000_004)
    expect(stderr).toMatch(/exits-pio-write 1\b/)
    expect(stderr).toMatch(/process: [\d.]+ CPU seconds/)
  })
})

describe('standard input', () => {
  /** Echoes until a zero byte. Turns the FIFO on, and raises RTS, for which the port waits. */
  const echo = `
    mov dx, 0x3fa
    mov al, 1
    out dx, al
    mov dx, 0x3fc
    mov al, 3
    out dx, al
    next: mov dx, 0x3fd
    1: in al, dx
    test al, 1
    jz 1b
    mov dx, 0x3f8
    in al, dx
    test al, al
    jz 2f
    out dx, al
    jmp next
    2: ${POWER_OFF}`

  test('default: a pipe is binary clean, and as long as one likes', async () => {
    const input = Uint8Array.from({ length: 100_000 }, (_, n) => 1 + (n % 255))
    const kernel = guestKernel(echo)
    const { status, stdout } = await runCommand(['run', '--kernel', kernel], Uint8Array.of(...input, 0))
    expect(status).toBe(0)
    expect(Buffer.compare(stdout, Buffer.from(input))).toBe(0)
  })

  test('behaviour: the guest goes on when its input has ended', async () => {
    const { stdout, status } = await run(
      `${print('a')}mov ecx, 50000000\n1: dec ecx\njnz 1b\n${print('b')}${POWER_OFF}`,
    )
    expect([stdout.toString(), status]).toEqual(['ab', 0])
  })
})

describe('bad input', () => {
  test('error: files', async () => {
    const elf32 = new Uint8Array(200)
    elf32.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1])
    const kernel = guestKernel(POWER_OFF)
    const cases: [string[], number, string][] = [
      [
        ['--kernel', '/does/not/exist'],
        66,
        'cannot read the kernel /does/not/exist: there is no such file (cli/file)',
      ],
      [['--kernel', kernel, '--initrd', '/'], 66, 'cannot read the initrd /: it is a folder (cli/file)'],
      [['--kernel', file('text', Buffer.from('no kernel'))], 66, '(boot/not-a-kernel)'],
      [['--kernel', file('elf32', elf32)], 66, '(boot/elf-32-bit)'],
      [
        ['--kernel', kernel, '--initrd', file('large', new Uint8Array(5 << 20)), '--memory', '4'],
        66,
        '(boot/initrd-does-not-fit)',
      ],
      [['--kernel', kernel, '--memory', '0'], 64, '(memory/size)'],
      [['--kernel', kernel, '--memory', '64G'], 64, '(machine/capability)'],
      [['--kernel', kernel, '--cpu', 'i486'], 64, '(cpu/unknown-profile)'],
      [['--kernel', kernel, '--exec', 'ls'], 64, '(cli/exec-needs-guest)'],
    ]
    for (const [args, status, text] of cases) {
      const result = await runCommand(['run', ...args])
      expect(result.status, text).toBe(status)
      expect(result.stderr).toContain(text)
      expect(result.stderr.trimEnd().split('\n')).toHaveLength(1)
    }
  }, 120_000)
})

describe('gdb', () => {
  const checksum = (text: string): string =>
    [...Buffer.from(text)]
      .reduce((sum, byte) => (sum + byte) & 0xff, 0)
      .toString(16)
      .padStart(2, '0')
  const freePort = async (): Promise<number> => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    await once(server, 'close')
    return port
  }

  test('default: waits, steps, stops at breakpoints and on request, and lets go', async () => {
    const port = await freePort()
    const kernel = guestKernel(`mov eax, 5\nnop\nnop\n1: inc ebx\ncmp ebx, 0x40000000\njb 1b\n${POWER_OFF}`)
    const child = startCommand(['run', '--kernel', kernel, '--gdb', String(port)])
    const [greeting] = (await once(child.stderr, 'data')) as [Buffer]
    expect(greeting.toString()).toContain(`waiting for gdb: target remote :${port}`)
    const socket = connect(port, '127.0.0.1')
    let buffer = ''
    const waiting: ((packet: string) => void)[] = []
    socket.on('data', (bytes) => {
      buffer += bytes.toString('latin1')
      for (;;) {
        const match = /^\+*\$([^#]*)#[0-9a-f]{2}/.exec(buffer)
        if (!match || waiting.length === 0) return
        buffer = buffer.slice(match[0].length)
        waiting.shift()!(match[1]!)
      }
    })
    const answer = (): Promise<string> => new Promise((resolve) => waiting.push(resolve))
    const ask = (text: string): Promise<string> => {
      socket.write(`$${text}#${checksum(text)}`)
      return answer()
    }
    const rip = async (): Promise<bigint> => Buffer.from(await ask('p10'), 'hex').readBigUInt64LE()
    expect(await ask('?')).toBe('T02thread:1;')
    expect(await rip()).toBe(0x10_0000n)
    expect(await ask('m100000,5')).toBe('b805000000')
    expect(await ask('s')).toBe('T05thread:1;')
    expect(await rip()).toBe(0x10_0005n)
    expect(await ask('p0')).toBe('0500000000000000')
    expect(await ask('Z0,100007,1')).toBe('OK')
    expect(await ask('c')).toBe('T05swbreak:;thread:1;')
    expect(await rip()).toBe(0x10_0007n)
    expect(await ask('z0,100007,1')).toBe('OK')
    socket.write(`$c#${checksum('c')}`)
    await new Promise((resolve) => setTimeout(resolve, 200))
    const stopped = answer()
    socket.write(Buffer.of(3))
    expect(await stopped).toBe('T02thread:1;')
    expect(await rip()).toBeGreaterThanOrEqual(0x10_0007n)
    // Leaves the loop at once, and the debugger with it.
    expect(await ask('P1=0000004000000000')).toBe('OK')
    expect(await ask('D')).toBe('OK')
    socket.end()
    const [status] = await once(child, 'close')
    expect(status).toBe(0)
  })

  test('error: a port that is in use', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const { status, stderr } = await run(POWER_OFF, '--gdb', String(port))
    server.close()
    expect([status, stderr]).toEqual([
      64,
      `trapframe: --gdb ${port}: cannot listen on the port: it is in use (cli/gdb-port)\n`,
    ])
  })
})

test('default: version', async () => {
  const { stdout, status } = await runCommand(['--version'])
  expect([status, stdout.toString()]).toEqual([0, 'trapframe 0.1.0\n'])
})
