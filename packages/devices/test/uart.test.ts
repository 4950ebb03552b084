import { beforeEach, describe, expect, test } from 'vitest'
import { createEventQueue, createIrqLine, createUart, type Uart, type UartOptions } from '../src/index.ts'

let now: number
let uart: Uart
let irq: boolean
let edges: number
let sent: string
let ready: number
let advance: (ns: number) => void

function newUart(options: Partial<UartOptions> = {}): Uart {
  now = 0
  irq = false
  edges = 0
  sent = ''
  ready = 0
  const queue = createEventQueue({ nowNs: () => now })
  advance = (ns) => {
    now += ns
    queue.runDue(now)
  }
  return createUart({
    id: 'com1',
    base: 0x3f8,
    irq: createIrqLine((level) => {
      irq = level
      if (level) edges++
    }),
    queue,
    host: {
      transmit: (bytes) => {
        sent += String.fromCharCode(...bytes)
      },
      receiveReady: () => {
        ready++
      },
    },
    ...options,
  })
}

const out = (offset: number, value: number): void => uart.pio![0]!.write(offset, 1, value)
const inb = (offset: number): number => uart.pio![0]!.read(offset, 1)
const bytes = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0))
const OUT2 = 0x08

beforeEach(() => {
  uart = newUart()
})

describe('UART', () => {
  test('default: bytes written go to the host in batches', () => {
    for (const byte of bytes('hello')) {
      expect(inb(5)).toBe(0x60)
      out(0, byte)
    }
    expect(sent).toBe('')
    uart.flush()
    uart.flush()
    expect(sent).toBe('hello')
    for (let n = 0; n < 4096; n++) out(0, 0x61)
    expect(sent.length).toBe(5 + 4096)
    expect(uart.metrics!.read()['transmitted-bytes']).toBe(4101)
  })

  test('behaviour: the probe of Linux finds a 16550A', () => {
    // autoconfig: existence by IER, loopback, scratch, FIFO kind, no enhanced registers.
    out(1, 0)
    expect(inb(1)).toBe(0)
    out(1, 0x0f)
    expect(inb(1) & 0x0f).toBe(0x0f)
    out(1, 0xff)
    expect(inb(1)).toBe(0x0f)
    out(1, 0)
    const mcr = inb(4)
    out(4, 0x10 | 0x0a)
    expect(inb(6) & 0xf0).toBe(0x90)
    out(4, mcr)
    out(3, 0xbf)
    out(2, 0)
    out(3, 0)
    out(2, 1)
    expect(inb(2) >> 6).toBe(3)
    out(3, 0x80)
    expect(inb(2)).toBe(0xc1)
    out(2, 0x21)
    expect(inb(2) & 0x20).toBe(0)
    out(3, 0)
    out(2, 0)
    expect(inb(2)).toBe(0x01)
    out(7, 0x5a)
    expect(inb(7)).toBe(0x5a)
  })

  test('behaviour: the tests of the transmit interrupt at start-up pass', () => {
    out(4, OUT2)
    out(1, 0x02)
    expect(inb(2) & 0x0f).toBe(0x02)
    out(1, 0)
    out(1, 0x02)
    expect(inb(2) & 0x0f).toBe(0x02)
    // Reading IIR clears it when it was the source.
    expect(inb(2) & 0x0f).toBe(0x01)
    expect(irq).toBe(false)
    out(0, 0x41)
    expect(irq).toBe(true)
    expect(inb(2)).toBe(0x02)
  })

  test('behaviour: each byte written gives a new edge of the transmit interrupt', () => {
    out(4, OUT2)
    out(1, 0x02)
    edges = 0
    for (let n = 0; n < 3; n++) out(0, 0x41)
    expect(edges).toBe(3)
  })

  test('behaviour: OUT2 gates the interrupt', () => {
    out(1, 0x02)
    expect(irq).toBe(false)
    out(4, OUT2)
    expect(irq).toBe(true)
    out(4, 0)
    expect(irq).toBe(false)
  })

  test('behaviour: divisor and line control behind DLAB', () => {
    out(3, 0x83)
    out(0, 0x34)
    out(1, 0x12)
    expect([inb(0), inb(1)]).toEqual([0x34, 0x12])
    out(3, 0x03)
    expect([inb(1), inb(3)]).toEqual([0, 3])
    uart.flush()
    expect(sent).toBe('')
  })

  test('behaviour: received bytes wait in the FIFO, interrupt at the trigger level', () => {
    out(2, 0x81) // FIFO, level 8
    out(4, OUT2)
    out(1, 0x01)
    expect(uart.receive(bytes('1234567'))).toBe(7)
    expect([irq, inb(5) & 1]).toEqual([false, 1])
    expect(uart.receive(bytes('8'))).toBe(1)
    expect([irq, inb(2)]).toEqual([true, 0xc4])
    expect(uart.receive(bytes('abcdefghijk'))).toBe(8)
    expect(uart.receive(bytes('x'))).toBe(0)
    let text = ''
    while ((inb(5) & 1) !== 0) text += String.fromCharCode(inb(0))
    expect(text).toBe('12345678abcdefgh')
    expect(irq).toBe(false)
  })

  test('behaviour: the time-out interrupt comes four characters after the last byte', () => {
    out(3, 0x83)
    out(0, 1) // 115200
    out(3, 0x03)
    out(2, 0x81)
    out(4, OUT2)
    out(1, 0x01)
    uart.receive(bytes('a'))
    advance(347_000)
    expect(irq).toBe(false)
    advance(1_000)
    expect([irq, inb(2)]).toEqual([true, 0xcc])
    expect(inb(0)).toBe(0x61)
    expect([irq, inb(2)]).toEqual([false, 0xc1])
  })

  test('behaviour: after an emptied FIFO the host is told, once the gap is over', () => {
    out(2, 0x01)
    uart.receive(bytes('ab'))
    inb(0)
    expect(ready).toBe(0)
    inb(0)
    expect(uart.receive(bytes('c'))).toBe(0)
    advance(99_999)
    expect(ready).toBe(0)
    advance(1)
    expect(ready).toBe(1)
    expect(uart.receive(bytes('c'))).toBe(1)
  })

  test('behaviour: without FIFO there is room for one byte', () => {
    expect(uart.receive(bytes('ab'))).toBe(1)
    out(4, OUT2)
    out(1, 1)
    expect([irq, inb(2)]).toEqual([true, 0x04])
    expect(inb(0)).toBe(0x61)
    expect(inb(0)).toBe(0)
  })

  test('behaviour: enabling or clearing the FIFO drops what was received', () => {
    uart.receive(bytes('a'))
    out(2, 0x01)
    expect(inb(5) & 1).toBe(0)
    advance(200_000)
    uart.receive(bytes('b'))
    out(2, 0x03)
    expect(inb(5) & 1).toBe(0)
    // A clear bit without the enable bit switches the FIFO off.
    out(2, 0xc2)
    expect(inb(2)).toBe(0x01)
  })

  test('behaviour: loopback returns bytes and modem outputs, and shuts the host out', () => {
    out(4, 0x1f)
    expect(inb(6) & 0xf0).toBe(0xf0)
    out(2, 0x01)
    for (const byte of bytes('loop')) out(0, byte)
    let text = ''
    while ((inb(5) & 1) !== 0) text += String.fromCharCode(inb(0))
    expect(text).toBe('loop')
    expect(uart.receive(bytes('x'))).toBe(0)
    uart.flush()
    expect(sent).toBe('')
    out(4, 0x10)
    expect(inb(6)).toBe(0x0f) // all four changed, RI by its end
    expect(inb(6)).toBe(0)
    for (let n = 0; n < 17; n++) out(0, n)
    expect(inb(5) & 0x02).toBe(0x02)
    expect(inb(5) & 0x02).toBe(0)
  })

  test('behaviour: a break is a line error of its byte', () => {
    out(2, 0x01)
    out(4, OUT2)
    out(1, 0x05)
    uart.receive(bytes('a'))
    uart.receiveBreak()
    expect(inb(5)).toBe(0x60 | 0x80 | 0x01)
    inb(0)
    expect(inb(2)).toBe(0xc6)
    expect(inb(5)).toBe(0x60 | 0x80 | 0x10 | 0x01)
    expect(inb(5)).toBe(0x61)
    expect(inb(0)).toBe(0)
  })

  test('behaviour: modem lines change status and interrupt', () => {
    expect(inb(6)).toBe(0xb0)
    out(4, OUT2)
    out(1, 0x08)
    uart.setModemLines({ cts: false, dsr: true, ri: true, dcd: true })
    expect([irq, inb(2)]).toEqual([true, 0x00])
    expect(inb(6)).toBe(0xe1)
    expect(irq).toBe(false)
    uart.setModemLines({ cts: false, dsr: true, ri: false, dcd: false })
    expect(inb(6)).toBe(0x20 | 0x0c)
  })

  test('behaviour: the line status has priority over data, data over transmit, transmit over modem', () => {
    out(2, 0x01)
    out(4, OUT2)
    out(1, 0x0f)
    uart.receiveBreak()
    uart.setModemLines({ cts: false, dsr: false, ri: false, dcd: false })
    const ids: number[] = []
    ids.push(inb(2) & 0x0f)
    inb(5)
    ids.push(inb(2) & 0x0f)
    inb(0)
    ids.push(inb(2) & 0x0f)
    ids.push(inb(2) & 0x0f)
    inb(6)
    ids.push(inb(2) & 0x0f)
    expect(ids).toEqual([6, 4, 2, 0, 1])
  })

  test('behaviour: with RTS flow control the guest can hold the host back', () => {
    uart = newUart({ rtsFlowControl: true })
    out(2, 1)
    expect(uart.receive(bytes('a'))).toBe(0)
    out(4, 0x02)
    advance(100_000)
    expect(ready).toBe(1)
    expect(uart.receive(bytes('a'))).toBe(1)
  })

  test('behaviour: what waits in the FIFO survives save and load', () => {
    out(2, 0x81)
    out(4, OUT2)
    out(1, 0x01)
    uart.receive(bytes('xyz'))
    inb(0)
    const saved = structuredClone(uart.state.save())
    expect(saved.timeoutInNs).toBeGreaterThan(0)
    uart = newUart()
    uart.state.load(saved, 1)
    advance(saved.timeoutInNs!)
    expect([irq, inb(2)]).toEqual([true, 0xcc])
    expect([inb(0), inb(0)]).toEqual([0x79, 0x7a])
  })
})
