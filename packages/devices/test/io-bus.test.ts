import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { attachDevice, createIoBus, type IoRange } from '../src/index.ts'

type Logged = IoRange & { readonly log: string[] }

function range(base: number, size: number, extra: Partial<IoRange> = {}): Logged {
  const log: string[] = []
  return {
    base,
    size,
    access: 'answered',
    ...extra,
    log,
    read: (offset, bytes) => {
      log.push(`r${offset}.${bytes}`)
      return Number.parseInt('44332211'.slice(-2 * bytes), 16)
    },
    write: (offset, bytes, value) => {
      log.push(`w${offset}.${bytes}=${value.toString(16)}`)
    },
  }
}

describe('IoBus', () => {
  test('default: an access goes to its range, with the offset in it', () => {
    const bus = createIoBus('pio', 0x1_0000)
    const a = range(0x60, 1)
    const b = range(0x3f8, 8)
    bus.add(b, 'b')
    bus.add(a, 'a')
    expect(bus.read(0x3fd, 1)).toBe(0x11)
    bus.write(0x60, 1, 0xfe)
    expect(a.log).toEqual(['w0.1=fe'])
    expect(b.log).toEqual(['r5.1'])
  })

  test('behaviour: where nothing answers, reads are all ones and writes vanish', () => {
    const bus = createIoBus('pio', 0x1_0000)
    bus.add(range(0x60, 1), 'a')
    expect(bus.read(0x61, 1)).toBe(0xff)
    expect(bus.read(0x80, 2)).toBe(0xffff)
    expect(bus.read(0x80, 4)).toBe(0xffff_ffff)
    bus.write(0x80, 1, 1)
    expect(bus.unclaimed).toBe(4)
    expect(bus.find(0x5f)).toBeUndefined()
  })

  test('behaviour: wide accesses are split by the width of the range', () => {
    const bus = createIoBus('pio', 0x1_0000)
    const bytes = range(0x20, 2, { width: 1 })
    bus.add(bytes, 'bytes')
    expect(bus.read(0x20, 2)).toBe(0x1111)
    bus.write(0x20, 2, 0xabcd)
    bus.write(0x20, 4, 0x01020304)
    expect(bus.read(0x21, 2)).toBe(0xff11)
    expect(bytes.log).toEqual(['r0.1', 'r1.1', 'w0.1=cd', 'w1.1=ab', 'w0.1=4', 'w1.1=3', 'r1.1'])
  })

  test('behaviour: an access over the end of a range reaches the next', () => {
    const bus = createIoBus('pio', 0x1_0000)
    const a = range(0x100, 2)
    const b = range(0x102, 2)
    bus.add(a, 'a')
    bus.add(b, 'b')
    expect(bus.read(0x100, 4)).toBe(0x22112211)
    bus.write(0x101, 2, 0xaabb)
    expect(a.log).toEqual(['r0.2', 'w1.1=bb'])
    expect(b.log).toEqual(['r0.2', 'w0.1=aa'])
  })

  test('behaviour: an exact range does not see the rest of an access from below', () => {
    const bus = createIoBus('pio', 0x1_0000)
    const reset = range(0xcf9, 1, { width: 1, exact: true })
    bus.add(reset, 'reset')
    bus.write(0xcf8, 4, 0x8000_0600)
    expect(bus.read(0xcf8, 4)).toBe(0xffff_ffff)
    expect(reset.log).toEqual([])
    bus.write(0xcf9, 1, 6)
    expect(reset.log).toEqual(['w0.1=6'])
  })

  test('behaviour: eight bytes are two halves, low one first', () => {
    const bus = createIoBus('mmio', 2 ** 52)
    const a = range(0xfed0_0000, 0x100)
    bus.add(a, 'a')
    const access = { address: 0xfed0_0008, sizeBytes: 8, value: 0, valueHigh: 0 }
    bus.readAccess(access)
    expect([access.value, access.valueHigh]).toEqual([0x44332211, 0x44332211])
    access.value = 1
    access.valueHigh = 2
    bus.writeAccess(access)
    expect(a.log).toEqual(['r8.4', 'r12.4', 'w8.4=1', 'w12.4=2'])
    const small = { address: 0xfed0_0000, sizeBytes: 1, value: 0x55, valueHigh: 9 }
    bus.readAccess(small)
    expect([small.value, small.valueHigh]).toEqual([0x11, 0])
  })

  test('error: overlapping and impossible ranges', () => {
    const bus = createIoBus('pio', 0x1_0000)
    bus.add(range(0x100, 8), 'first')
    for (const [base, size] of [
      [0x100, 8],
      [0xf9, 8],
      [0x107, 1],
      [0x80, 0x200],
    ] as const)
      expect(() => bus.add(range(base, size), 'second')).toThrow(
        expect.objectContaining({
          code: 'device/overlap',
          message: expect.stringContaining('first at 0x100'),
        }),
      )
    expect(() => bus.add(range(0, 0), 'empty')).toThrow(expect.objectContaining({ code: 'device/range' }))
    expect(() => bus.add(range(0xffff, 2), 'late')).toThrow(/late: pio 0x10000 is beyond/)
    bus.add(range(0x108, 1), 'neighbour')
  })

  test('behaviour: a removed range answers no more', () => {
    const bus = createIoBus('pio', 0x1_0000)
    const a = range(0x60, 1)
    bus.add(a, 'a')
    bus.read(0x60, 1)
    bus.remove(a)
    expect(bus.read(0x60, 1)).toBe(0xff)
    attachDevice({ id: 'again', pio: [a] }, bus, bus)
    expect(bus.read(0x60, 1)).toBe(0x11)
  })

  test('behaviour: any access to byte-wide registers equals its bytes', () => {
    const shape = fc.record({
      gap: fc.nat(3),
      size: fc.integer({ min: 1, max: 6 }),
      width: fc.constantFrom(1, 2, 4),
    })
    fc.assert(
      fc.property(
        fc.array(shape, { maxLength: 6 }),
        fc.nat(30),
        fc.constantFrom(1, 2, 4),
        (shapes, at, size) => {
          const bus = createIoBus('pio', 64)
          const bytes = new Uint8Array(64).fill(0xff)
          let base = 0
          for (const { gap, size: length, width } of shapes) {
            base += gap
            if (base + length > 48) break
            const start = base
            for (let n = 0; n < length; n++) bytes[start + n] = start + n + 1
            bus.add(
              {
                base: start,
                size: length,
                access: 'answered',
                width: width as 1 | 2 | 4,
                read: (offset, count) => {
                  expect(offset + count).toBeLessThanOrEqual(length)
                  let value = 0
                  for (let n = 0; n < count; n++) value += bytes[start + offset + n]! * 2 ** (8 * n)
                  return value
                },
                write: () => {},
              },
              `${start}`,
            )
            base += length
          }
          let expected = 0
          for (let n = 0; n < size; n++) expected += bytes[at + n]! * 2 ** (8 * n)
          expect(bus.read(at, size)).toBe(expected)
        },
      ),
    )
  })
})
