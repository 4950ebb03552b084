import { describe, expect, test } from 'vitest'
import { type BytePortEnd, createBytePort } from '../src/byte-port.ts'
import { type TextConsole, textConsole } from '../src/text-console.ts'

interface Setup {
  readonly port: BytePortEnd
  readonly terminal: TextConsole
  print(text: string): void
  end(kind: string): void
}

function setUp(): Setup {
  const port = createBytePort(() => {})
  let end: (end: { kind: string }) => void = () => {}
  const ended = new Promise<{ kind: string }>((resolve) => {
    end = resolve
  })
  const terminal = textConsole({ console: port, ended })
  return {
    port,
    terminal,
    print: (text) => port.deliver(new TextEncoder().encode(text)),
    end: (kind) => end({ kind }),
  }
}
/** What a promise came to, or 'pending'. */
const outcome = async (promise: Promise<string>): Promise<string> => {
  const settled = promise.catch(
    (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
  )
  await new Promise((resolve) => setImmediate(resolve))
  return Promise.race([settled, Promise.resolve('pending')])
}

describe('text console', () => {
  test('default: answers what was printed up to the end that is waited for, and keeps the rest', async () => {
    const { terminal, print } = setUp()
    print('booting\nlogin')
    const first = terminal.readUntil('login: ')
    expect(await outcome(first)).toBe('pending')
    print(': ')
    expect(await first).toBe('booting\nlogin: ')
    print('a$ b$ c')
    expect(await terminal.readUntil('$ ')).toBe('a$ ')
    expect(await terminal.readUntil('$ ')).toBe('b$ ')
    expect(await outcome(terminal.readUntil('$ '))).toBe('pending')
  })

  test('behaviour: readers are served in their order, and an end may arrive in pieces', async () => {
    const { terminal, print } = setUp()
    const both = Promise.all([terminal.readUntil('one;'), terminal.readUntil('two;')])
    for (const letter of 'two; one; two;') print(letter)
    expect(await both).toEqual(['two; one;', ' two;'])
  })

  test('behaviour: characters of several bytes may be cut', async () => {
    const { terminal, port } = setUp()
    const bytes = new TextEncoder().encode('grüße → ')
    for (const byte of bytes) port.deliver(Uint8Array.of(byte))
    expect(await terminal.readUntil('→ ')).toBe('grüße → ')
  })

  test('behaviour: text is sent as UTF-8', () => {
    const { terminal, port } = setUp()
    terminal.write('ü\n')
    const taken: number[] = []
    port.offer((bytes) => {
      taken.push(...bytes)
      return bytes.length
    })
    expect(taken).toEqual([0xc3, 0xbc, 0x0a])
  })

  test('behaviour: a guest that prints for ever does not fill the memory', async () => {
    const { terminal, print } = setUp()
    for (let n = 0; n < 40; n++) print('x'.repeat(65_536))
    print('end')
    expect((await terminal.readUntil('end')).length).toBe(2 ** 20)
    const reader = terminal.readUntil('end')
    for (let n = 0; n < 40; n++) print('x'.repeat(65_536))
    print('en')
    print('d')
    expect((await reader).slice(-5)).toBe('xxend')
  })

  test('error: the guest ends first', async () => {
    const { terminal, print, end } = setUp()
    print('done\nKernel panic')
    const waiting = terminal.readUntil('login: ')
    end('reset')
    expect(await outcome(waiting)).toMatch(
      /^machine\/ended: the guest ended \(reset\) before it printed "login: ".*Kernel panic/,
    )
    // What was printed before can still be read.
    expect(await terminal.readUntil('\n')).toBe('done\n')
    expect(await outcome(terminal.readUntil('\n'))).toMatch(/^machine\/ended/)
  })
})
