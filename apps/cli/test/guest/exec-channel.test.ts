import { describe, expect, test } from 'vitest'
import { createExecChannel, type ExecChannel } from '../../src/guest/exec-channel.ts'
import { errorCode } from './debian-package-image.ts'

/** A channel with a record of all that happens on it. */
function recorded(): {
  channel: ExecChannel
  sent: () => string
  log: string[]
  receive(text: string): void
} {
  const log: string[] = []
  let sent = ''
  const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')
  const channel = createExecChannel({
    send: (bytes) => {
      sent += latin1(bytes)
    },
    ready: () => log.push('ready'),
    stdout: (bytes) => log.push(`out ${latin1(bytes)}`),
    stderr: (bytes) => log.push(`err ${latin1(bytes)}`),
    exit: (status) => log.push(`exit ${status}`),
    drain: () => log.push('drain'),
  })
  return {
    channel,
    log,
    sent: () => {
      const text = sent
      sent = ''
      return text
    },
    receive: (text) => channel.receive(Buffer.from(text, 'latin1')),
  }
}
const hello = '\ntrapframe-exec 1\n'

describe('exec channel', () => {
  test('default: a command with input, output, error and status', () => {
    const { channel, log, sent, receive } = recorded()
    receive(hello)
    expect(channel.ready).toBe(true)
    channel.run('cat; exit 3')
    expect(channel.writeInput(Buffer.from('abc'))).toBe(true)
    channel.endInput()
    expect(sent()).toBe('C 11\ncat; exit 3I 3\nabcE 0\n')
    receive('A      3\nO      3\nabcR      2\n!\nX      3\n')
    expect(log).toEqual(['ready', 'out abc', 'err !\n', 'exit 3'])
  })

  test('behaviour: before the greeting noise is skipped, and what was asked for waits', () => {
    const { channel, log, sent, receive } = recorded()
    channel.run('true')
    channel.writeInput(Buffer.from('x'))
    channel.endInput()
    receive('\r\n[    1.0] ttyS1\r\ntrapframe-exe\ntrapframe-exec \n\n')
    expect(log).toEqual([])
    expect(sent()).toBe('')
  })

  test('behaviour: the greeting arrives in pieces, behind text that resembles it', () => {
    const { channel, log, sent, receive } = recorded()
    channel.run('true')
    for (const byte of `noise\ntrap\n\ntrapframe-exec 1`) receive(byte)
    expect(channel.ready).toBe(false)
    receive('\n')
    expect(channel.ready).toBe(true)
    expect(log).toEqual(['ready'])
    expect(sent()).toBe('C 4\ntrue')
  })

  test('behaviour: bytes of any value, in any division, with data that look like frames', () => {
    const data = Buffer.concat([
      Buffer.from('X 1\nO 5\n'),
      Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
    ])
    const stream = Buffer.concat([
      Buffer.from(hello),
      Buffer.from(`O ${String(data.length).padStart(6)}\n`),
      data,
      Buffer.from('R      4\n'),
      Buffer.from([0, 255, 10, 13]),
      Buffer.from('X      0\n'),
    ])
    for (const pieceBytes of [1, 2, 7, 100, stream.length]) {
      const out: number[] = []
      const err: number[] = []
      const statuses: number[] = []
      const channel = createExecChannel({
        send: () => {},
        stdout: (bytes) => out.push(...bytes),
        stderr: (bytes) => err.push(...bytes),
        exit: (status) => statuses.push(status),
      })
      for (let at = 0; at < stream.length; at += pieceBytes)
        channel.receive(stream.subarray(at, at + pieceBytes))
      expect(Buffer.from(out).equals(data)).toBe(true)
      expect(err).toEqual([0, 255, 10, 13])
      expect(statuses).toEqual([0])
    }
  })

  test('behaviour: at most 32768 bytes of input are on their way, in frames of at most 16384', () => {
    const { channel, log, sent, receive } = recorded()
    receive(hello)
    channel.run('cat')
    const input = Buffer.from(Array.from({ length: 50_000 }, (_, i) => i % 251))
    sent()
    expect(channel.writeInput(input)).toBe(false)
    channel.endInput()
    const frames = (text: string): { data: Buffer; ended: boolean } => {
      const data: string[] = []
      let ended = false
      for (let rest = text; rest !== ''; ) {
        const match = /^([IE]) (\d+)\n/.exec(rest)
        if (match === null) throw new Error(`no frame: ${rest.slice(0, 20)}`)
        const size = Number(match[2])
        expect(size).toBeLessThanOrEqual(16_384)
        ended = match[1] === 'E'
        data.push(rest.slice(match[0].length, match[0].length + size))
        rest = rest.slice(match[0].length + size)
      }
      return { data: Buffer.from(data.join(''), 'latin1'), ended }
    }
    const first = frames(sent())
    expect(first.data.length).toBe(32_768)
    receive('A  16384\n')
    const second = frames(sent())
    expect(second.data.length).toBe(16_384)
    expect(second.ended).toBe(false)
    expect(log).toEqual(['ready'])
    receive('A  16384\n')
    const third = frames(sent())
    expect(third.ended).toBe(true)
    expect(log).toEqual(['ready', 'drain'])
    expect(Buffer.concat([first.data, second.data, third.data]).equals(input)).toBe(true)
  })

  test('behaviour: a command that ends before its input does; its late acknowledgements do not count for the next', () => {
    const { channel, log, sent, receive } = recorded()
    receive(hello)
    channel.run('true')
    expect(channel.writeInput(new Uint8Array(40_000))).toBe(false)
    receive('X      0\n')
    expect(log).toEqual(['ready', 'drain', 'exit 0'])
    expect(channel.writeInput(new Uint8Array(10))).toBe(true) // as into a closed pipe
    channel.endInput()
    sent()
    channel.run('cat')
    channel.writeInput(new Uint8Array(10))
    expect(sent()).toBe('C 3\ncat') // the window is still full
    receive('A  16384\nA  16384\n')
    expect(sent()).toBe(`I 10\n${'\0'.repeat(10)}`)
  })

  test('behaviour: power off', () => {
    const { channel, sent, receive } = recorded()
    channel.powerOff()
    receive(hello)
    expect(sent()).toBe('Q 0\n')
  })

  test('error: unknown frames, another version, misuse', async () => {
    for (const text of ['Z 1\n', 'O\n', 'O -1\n', 'O 1 2\n', 'A      1\n', 'x'.repeat(40)]) {
      const { receive } = recorded()
      receive(hello)
      expect(await errorCode(() => receive(text))).toBe('guest/exec-protocol')
    }
    expect(await errorCode(() => recorded().receive('\ntrapframe-exec 2\n'))).toBe('guest/exec-protocol')
    const { channel } = recorded()
    expect(await errorCode(() => channel.run(''))).toBe('guest/exec-protocol')
    expect(await errorCode(() => channel.run('a\0b'))).toBe('guest/exec-protocol')
    expect(await errorCode(() => channel.run('x'.repeat(131_072)))).toBe('guest/exec-protocol')
    channel.run('true')
    expect(await errorCode(() => channel.run('true'))).toBe('guest/exec-protocol')
  })
})
