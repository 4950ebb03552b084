import { expect, test } from 'vitest'
import { createBytePort } from '../src/byte-port.ts'

test('default: bytes wait until they are taken, and the last one is news', () => {
  let arrived = 0
  let drained = 0
  const port = createBytePort(() => arrived++)
  port.onDrain(() => drained++)
  port.send(Uint8Array.of(1, 2, 3))
  port.send(Uint8Array.of(4))
  port.send(new Uint8Array(0))
  expect([arrived, port.waitingBytes]).toEqual([1, 4])
  const taken: number[] = []
  let room = 2
  const take = (bytes: Uint8Array): number => {
    const count = Math.min(room, bytes.length)
    taken.push(...bytes.subarray(0, count))
    room -= count
    return count
  }
  port.offer(take)
  expect([taken, port.waitingBytes, drained]).toEqual([[1, 2], 2, 0])
  room = 10
  port.offer(take)
  expect([taken, port.waitingBytes, drained]).toEqual([[1, 2, 3, 4], 0, 1])
  port.offer(take)
  expect(drained).toBe(1)
})

test('behaviour: what is sent is copied, also from a Buffer', () => {
  const port = createBytePort(() => {})
  const buffer = Buffer.from([1, 2, 3])
  port.send(buffer)
  buffer.fill(9)
  port.offer((bytes) => {
    expect([...bytes]).toEqual([1, 2, 3])
    return bytes.length
  })
})

test('behaviour: output goes to every listener that is left', () => {
  const port = createBytePort(() => {})
  const seen: string[] = []
  const remove = port.onOutput(() => {
    seen.push('a')
    remove()
  })
  port.onOutput((bytes) => seen.push(`b${bytes.length}`))
  port.deliver(new Uint8Array(2))
  port.deliver(new Uint8Array(1))
  expect(seen).toEqual(['a', 'b2', 'b1'])
})
