import type { StateValue } from '@trapframe/core'
import { expect, test } from 'vitest'
import { StateHash } from '../src/state-hash.ts'

const hashOf = (value: StateValue): string => {
  const hash = new StateHash()
  hash.value(value)
  return hash.digest()
}

test('default: 16 digits, the same for equal values whatever the order of their keys', () => {
  expect(hashOf({ a: 1, b: [true, null, 'x', 5n] })).toMatch(/^[0-9a-f]{16}$/)
  expect(hashOf({ a: 1, b: 2 })).toBe(hashOf({ b: 2, a: 1 }))
})

test('behaviour: different values of every type have different hashes', () => {
  const values: StateValue[] = [
    null,
    true,
    false,
    0,
    1,
    -0,
    0.5,
    2 ** 53,
    0n,
    1n,
    2n ** 64n,
    '',
    '0',
    '1',
    [],
    [[]],
    [0],
    [0, 0],
    {},
    { a: 0 },
    { b: 0 },
    new Uint8Array(0),
    new Uint8Array(1),
    new Uint8Array(4),
    new Uint8Array(5),
    Uint8Array.of(0, 0, 0, 0, 1),
  ]
  expect(new Set(values.map(hashOf)).size).toBe(values.length)
})

test('behaviour: bytes hash by content, wherever they lie', () => {
  const backing = new Uint8Array(64).map((_, n) => n * 7)
  for (const length of [0, 3, 4, 17, 32])
    expect(hashOf(backing.subarray(3, 3 + length))).toBe(hashOf(backing.slice(3, 3 + length)))
})

test('behaviour: one flipped bit anywhere in a page changes the hash', () => {
  const page = new Uint8Array(4096)
  const seen = new Set([hashOf(page)])
  for (let bit = 0; bit < 4096 * 8; bit += 61) {
    page[bit >> 3]! ^= 1 << (bit & 7)
    seen.add(hashOf(page))
    page[bit >> 3]! ^= 1 << (bit & 7)
  }
  expect(seen.size).toBe(Math.ceil((4096 * 8) / 61) + 1)
})
