import { describe, expect, test } from 'vitest'
import { createConsoleWatch } from '../src/console-watch.ts'
import { createEscapeKeys } from '../src/escape-keys.ts'
import { formatPhases } from '../src/phase-times.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const type = (...pieces: string[]): [string, boolean] => {
  const keys = createEscapeKeys()
  let sent = ''
  for (const piece of pieces) {
    const input = keys(bytes(piece))
    sent += new TextDecoder().decode(input.bytes)
    if (input.leave) return [sent, true]
  }
  return [sent, false]
}

describe('escape keys', () => {
  test('default: everything else goes through', () => {
    expect(type('ls\r', '\x03\x04\x1b[A')).toEqual(['ls\r\x03\x04\x1b[A', false])
  })

  test('behaviour: Ctrl-A X leaves, Ctrl-A Ctrl-A sends one, in one piece or two', () => {
    expect(type('a\x01xb')).toEqual(['a', true])
    expect(type('a\x01', 'X')).toEqual(['a', true])
    expect(type('a\x01\x01b')).toEqual(['a\x01b', false])
    expect(type('\x01', '\x01', 'x')).toEqual(['\x01x', false])
    expect(type('\x01q', 'x')).toEqual(['x', false])
  })
})

describe('console watch', () => {
  const marks = (...pieces: string[]): string[] => {
    const seen: string[] = []
    const watch = createConsoleWatch((mark) => seen.push(mark))
    for (const piece of pieces) watch.read(bytes(piece))
    return seen
  }

  test('default: phases and panic, at the start of a line', () => {
    expect(marks('[    3.14] Run /init as init process\r\ntrapframe: shell\r\n')).toEqual(['init', 'shell'])
    expect(marks('[    0.5] Kernel panic - not syncing: VFS\n')).toEqual(['panic'])
    expect(marks('Kernel panic - not syncing: x\n')).toEqual(['panic'])
  })

  test('behaviour: in any pieces, and only when the line is whole', () => {
    const text = '[    1.0] Kernel panic - not syncing: no init\n'
    expect(marks(...text)).toEqual(['panic'])
    expect(marks(text.slice(0, -1))).toEqual([])
  })

  test('behaviour: the words elsewhere in a line are no mark; endless lines cost nothing', () => {
    expect(marks('$ echo Kernel panic - not syncing\n')).toEqual([])
    const seen: string[] = []
    const watch = createConsoleWatch((mark) => seen.push(mark))
    for (let n = 0; n < 1000; n++) watch.read(new Uint8Array(1000).fill(0x78))
    expect(watch.tail.length).toBeLessThanOrEqual(4096)
    watch.read(bytes('\ntrapframe: shell\n'))
    expect(seen).toEqual(['shell'])
    expect(watch.tail.endsWith('trapframe: shell\n')).toBe(true)
  })
})

test('behaviour: the line of phases has those that are known', () => {
  expect(
    formatPhases({ setUpMs: 20, loadedMs: 100, firstInstructionMs: 250, initMs: 3250, shellMs: 3500 }),
  ).toBe('set-up 0.02 s, process start 0.10 s, first guest instruction 0.15 s, kernel 3.00 s, init 0.25 s')
  expect(formatPhases({ loadedMs: 100 })).toBe('process start 0.10 s')
})
