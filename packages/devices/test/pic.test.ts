import { beforeEach, describe, expect, test } from 'vitest'
import { attachDevice, createIoBus, createIrqLine, createPic, type IoBus, type Pic } from '../src/index.ts'

let pic: Pic
let bus: IoBus
let int: boolean

/** The usual initialisation: vectors 0x20 and 0x28, cascade on 2, 8086 mode with `icw4`. */
function initialise(icw4 = 0x01): void {
  for (const [port, icw3] of [
    [0x20, 4],
    [0xa0, 2],
  ] as const) {
    bus.write(port, 1, 0x11)
    bus.write(port + 1, 1, port === 0x20 ? 0x20 : 0x28)
    bus.write(port + 1, 1, icw3)
    bus.write(port + 1, 1, icw4)
  }
}

const out = (port: number, value: number): void => bus.write(port, 1, value)
const inb = (port: number): number => bus.read(port, 1)
const isr = (port = 0x20): number => {
  out(port, 0x0b)
  return inb(port)
}
const irr = (port = 0x20): number => {
  out(port, 0x0a)
  return inb(port)
}

beforeEach(() => {
  int = false
  pic = createPic({
    output: createIrqLine((level) => {
      int = level
    }),
  })
  bus = createIoBus('pio', 0x1_0000)
  attachDevice(pic, bus, bus)
  initialise()
})

describe('PIC', () => {
  test('default: an edge is latched, acknowledged and ended', () => {
    pic.line(4).pulse()
    expect(int).toBe(true)
    expect(pic.peek()).toBe(0x24)
    expect(irr()).toBe(0x10)
    expect(pic.acknowledge()).toBe(0x24)
    expect([irr(), isr(), int]).toEqual([0, 0x10, false])
    out(0x20, 0x20)
    expect(isr()).toBe(0)
  })

  test('behaviour: the mask holds a request back and is read at the data port', () => {
    out(0x21, 0xfb)
    expect(inb(0x21)).toBe(0xfb)
    pic.line(0).pulse()
    expect(int).toBe(false)
    out(0x21, 0xfe)
    expect(int).toBe(true)
  })

  test('behaviour: a second edge needs the line to fall first', () => {
    pic.line(1).set(true)
    pic.acknowledge()
    out(0x20, 0x20)
    expect(int).toBe(false)
    pic.line(1).set(true)
    expect(int).toBe(false)
    pic.line(1).pulse()
    expect(int).toBe(false)
    pic.line(1).set(true)
    expect(int).toBe(true)
  })

  test('behaviour: higher inputs interrupt lower ones, not the other way round', () => {
    pic.line(4).pulse()
    pic.acknowledge()
    pic.line(5).pulse()
    expect(int).toBe(false)
    pic.line(3).pulse()
    expect(int).toBe(true)
    expect(pic.acknowledge()).toBe(0x23)
    expect(isr()).toBe(0x18)
    out(0x20, 0x20) // ends the highest, 3
    expect([isr(), int]).toEqual([0x10, false])
    out(0x20, 0x64) // specific: ends 4
    expect(pic.acknowledge()).toBe(0x25)
  })

  test('behaviour: the slave cascades through input 2', () => {
    pic.line(12).pulse()
    expect(irr()).toBe(0x04)
    expect(irr(0xa0)).toBe(0x10)
    expect(pic.peek()).toBe(0x2c)
    expect(pic.acknowledge()).toBe(0x2c)
    expect([isr(), isr(0xa0)]).toEqual([0x04, 0x10])
    // Within the slave a higher input waits for the EOI of the master in the normal mode.
    pic.line(8).pulse()
    expect(int).toBe(false)
    out(0xa0, 0x20)
    out(0x20, 0x20)
    expect(int).toBe(true)
    expect(pic.acknowledge()).toBe(0x28)
  })

  test('behaviour: in special fully nested mode the slave interrupts itself', () => {
    initialise(0x11)
    pic.line(12).pulse()
    pic.acknowledge()
    pic.line(8).pulse()
    expect(int).toBe(true)
    expect(pic.acknowledge()).toBe(0x28)
    expect(isr(0xa0)).toBe(0x11)
  })

  test('behaviour: a request that is gone at the acknowledge gives the spurious vectors', () => {
    expect(pic.acknowledge()).toBe(0x27)
    expect(isr()).toBe(0)
    out(0x4d1, 0x04)
    pic.line(10).set(true)
    expect(int).toBe(true)
    // The slave loses its request between the two acknowledge cycles: the master's is latched already.
    pic.line(10).set(false)
    expect(pic.acknowledge()).toBe(0x2f)
    expect([isr(), isr(0xa0)]).toEqual([0x04, 0])
    expect(pic.metrics!.read()).toEqual({ acknowledged: 2, spurious: 2 })
  })

  test('behaviour: a level request stays while the line is high', () => {
    out(0x4d0, 0xff)
    expect(inb(0x4d0)).toBe(0xf8)
    out(0x4d1, 0xff)
    expect(inb(0x4d1)).toBe(0xde)
    pic.line(5).set(true)
    expect(pic.acknowledge()).toBe(0x25)
    out(0x20, 0x20)
    expect(int).toBe(true)
    pic.line(5).set(false)
    expect(int).toBe(false)
  })

  test('behaviour: automatic EOI leaves nothing in service, and rotates when told', () => {
    initialise(0x03)
    out(0x20, 0x80)
    pic.line(3).pulse()
    expect(pic.acknowledge()).toBe(0x23)
    expect(isr()).toBe(0)
    pic.line(3).pulse()
    pic.line(4).pulse()
    // 3 became the lowest.
    expect(pic.acknowledge()).toBe(0x24)
    expect(pic.acknowledge()).toBe(0x23)
  })

  test('behaviour: priorities rotate by command', () => {
    out(0x20, 0xc5) // 5 lowest, 6 highest
    for (const irq of [0, 5, 6]) pic.line(irq).pulse()
    expect(pic.acknowledge()).toBe(0x26)
    out(0x20, 0xa0) // rotate on non-specific EOI: 6 lowest, 7 highest
    expect(pic.acknowledge()).toBe(0x20)
    out(0x20, 0xe0) // rotate on specific EOI of 0: 0 lowest, 1 highest
    expect(pic.acknowledge()).toBe(0x25)
  })

  test('behaviour: in special mask mode a masked input in service blocks nobody', () => {
    pic.line(3).pulse()
    pic.acknowledge()
    pic.line(6).pulse()
    expect(int).toBe(false)
    out(0x21, 0x08)
    expect(int).toBe(false)
    out(0x20, 0x68)
    expect(int).toBe(true)
    expect(pic.acknowledge()).toBe(0x26)
    out(0x20, 0x20) // does not end the masked one
    expect(isr()).toBe(0x08)
    out(0x20, 0x48)
    expect(isr()).toBe(0x08)
  })

  test('behaviour: a poll is an acknowledge by reading', () => {
    pic.line(6).pulse()
    out(0x20, 0x0c)
    expect(inb(0x20)).toBe(0x86)
    expect(isr()).toBe(0x40)
    out(0x20, 0x0c)
    expect(inb(0x20)).toBe(0)
  })

  test('behaviour: ICW1 clears mask, service and edges, and holds INT until it is complete', () => {
    pic.line(3).pulse()
    pic.acknowledge()
    pic.line(4).pulse()
    out(0x21, 0x55)
    out(0x20, 0x11)
    expect(inb(0x21)).toBe(0)
    pic.line(1).pulse()
    expect(int).toBe(false)
    out(0x21, 0x40)
    out(0x21, 0x04)
    expect(int).toBe(false)
    out(0x21, 0x01)
    expect(int).toBe(true)
    expect(pic.acknowledge()).toBe(0x41)
    expect([isr(), irr()]).toEqual([0x02, 0])
  })

  test('behaviour: single mode without ICW4 needs ICW2 only', () => {
    out(0x20, 0x12)
    out(0x21, 0x60)
    out(0x21, 0xf0)
    expect(inb(0x21)).toBe(0xf0)
    pic.line(1).pulse()
    expect(pic.acknowledge()).toBe(0x61)
  })

  test('behaviour: a load in the middle of a service goes on there', () => {
    pic.line(12).set(true)
    pic.acknowledge()
    pic.line(1).set(true)
    const saved = pic.state.save()
    let otherInt = false
    const other = createPic({
      output: createIrqLine((level) => {
        otherInt = level
      }),
    })
    other.state.load(saved, 1)
    expect(otherInt).toBe(true)
    // The device drives its line again after its own load; that is no new edge.
    other.line(12).set(true)
    other.line(1).set(true)
    expect(other.acknowledge()).toBe(0x21)
    expect(other.state.save().chips[1]).toMatchObject({ isr: 0x10, irr: 0 })
  })
})
