import { beforeEach, describe, expect, test } from 'vitest'
import {
  ACPI_PM_BASE,
  type AcpiPm,
  attachDevice,
  createAcpiPm,
  createDebugConsole,
  createDebugExit,
  createEventQueue,
  createI8042,
  createIoBus,
  createIrqLine,
  createResetControl,
  type Device,
  type IoBus,
  RESET_CONTROL_PORT,
  RESET_CONTROL_VALUE,
} from '../src/index.ts'

let log: string[]
let bus: IoBus
let irq: boolean
const line = createIrqLine((level) => {
  irq = level
})
const control = {
  powerOff: () => log.push('power off'),
  reset: () => log.push('reset'),
  debugExit: (value: number) => log.push(`exit ${value}`),
}
const out = (port: number, value: number, size = 1): void => bus.write(port, size, value)
const inb = (port: number): number => bus.read(port, 1)

function attach<T extends Device>(device: T): T {
  attachDevice(device, bus, bus)
  return device
}

beforeEach(() => {
  log = []
  bus = createIoBus('pio', 0x1_0000)
  line.set(false)
  irq = false
})

describe('i8042', () => {
  /** Sends a controller command and reads its answer. */
  const command = (value: number): number => {
    out(0x64, value)
    expect(inb(0x64) & 1).toBe(1)
    return inb(0x60)
  }

  test('default: the controller passes the probe of Linux, and nothing is plugged in', () => {
    attach(createI8042({ irq: line, control }))
    // Flush, self test, command byte.
    expect(inb(0x64) & 1).toBe(0)
    expect(command(0xaa)).toBe(0x55)
    const config = command(0x20)
    out(0x64, 0x60)
    out(0x60, config | 0x10)
    expect(command(0x20)).toBe(config | 0x10)
    // The loopback of an auxiliary port comes back as a keyboard's byte, and its test fails.
    out(0x64, 0xd3)
    out(0x60, 0x5a)
    expect(inb(0x64) & 0x21).toBe(0x01)
    expect(inb(0x60)).toBe(0x5a)
    expect(command(0xa9)).not.toBe(0)
    expect(command(0xab)).toBe(0)
    // A command to the keyboard ends with a time-out error.
    out(0x60, 0xf2)
    expect(inb(0x64) & 0x41).toBe(0x41)
    expect(inb(0x60)).toBe(0xfe)
    expect(inb(0x64) & 0x41).toBe(0)
    expect(log).toEqual([])
  })

  test('behaviour: a keyboard identifies itself byte by byte, each with its edge', () => {
    attach(createI8042({ irq: line, control, keyboard: true }))
    const answers: number[] = []
    for (const value of [0xf2, 0xff, 0xed, 0x02, 0xf0, 0x00, 0xee]) {
      out(0x60, value)
      while (irq) {
        answers.push(inb(0x60))
      }
    }
    expect(answers).toEqual([0xfa, 0xab, 0x83, 0xfa, 0xaa, 0xfa, 0xfa, 0xfa, 0xfa, 0x02, 0xee])
    out(0x64, 0x60)
    out(0x60, 0)
    out(0x60, 0xee)
    expect([irq, inb(0x64) & 1]).toEqual([false, 1])
  })

  test('behaviour: the ways to reset', () => {
    attach(createI8042({ irq: line, control }))
    out(0x64, 0xff) // pulses nothing
    expect(log).toEqual([])
    out(0x64, 0xfe)
    out(0x64, 0xd1)
    out(0x60, 0xfe)
    out(0x92, 0x03)
    expect(log).toEqual(['reset', 'reset', 'reset'])
  })

  test('behaviour: A20 by every door', () => {
    attach(createI8042({ irq: line, control }))
    const a20 = (): number => command(0xd0) & 2
    expect([a20(), inb(0x92)]).toEqual([2, 2])
    out(0x64, 0xdd)
    expect([a20(), inb(0x92)]).toEqual([0, 0])
    out(0x64, 0xdf)
    expect(a20()).toBe(2)
    out(0x92, 0)
    expect(a20()).toBe(0)
    out(0x64, 0xd1)
    out(0x60, 0x03)
    expect(a20()).toBe(2)
    expect(log).toEqual([])
  })
})

describe('ACPI power management', () => {
  let now: number
  let acpi: AcpiPm
  let run: () => void
  const read = (offset: number, size: number): number => bus.read(ACPI_PM_BASE + offset, size)
  const write = (offset: number, size: number, value: number): void =>
    bus.write(ACPI_PM_BASE + offset, size, value)

  beforeEach(() => {
    now = 0
    const queue = createEventQueue({ nowNs: () => now })
    run = () => queue.runDue(now)
    acpi = attach(createAcpiPm({ queue, sci: line, control }))
  })

  test('default: ACPI mode, and power-off by S5', () => {
    expect(read(4, 2)).toBe(0x0001)
    write(4, 2, 0x1400) // type 5 without enable
    expect(read(4, 2)).toBe(0x1401)
    write(4, 2, 0x3400) // another sleep state
    expect(log).toEqual([])
    write(4, 2, 0x0001)
    write(4, 2, 0x2001)
    expect(log).toEqual(['power off'])
  })

  test('behaviour: the power button is an event, cleared by writing one', () => {
    acpi.pressPowerButton()
    expect([read(0, 2), irq]).toEqual([0x0100, false])
    write(2, 2, 0x0120)
    expect([read(2, 2), irq]).toEqual([0x0120, true])
    write(0, 2, 0x0020)
    expect(irq).toBe(true)
    write(1, 1, 0x01)
    expect([read(0, 4), irq]).toEqual([0x0120_0000, false])
  })

  test('behaviour: the timer runs at 3.579545 MHz and wraps at 32 bits', () => {
    now = 1e9
    expect(read(8, 4)).toBe(3_579_545)
    expect([read(8, 1), read(9, 2)]).toEqual([3_579_545 & 0xff, (3_579_545 >> 8) & 0xffff])
    now = 1200e9
    expect(read(8, 4)).toBe(3_579_545 * 1200 - 2 ** 32)
  })

  test('behaviour: each change of the timer’s highest bit is an event', () => {
    write(2, 2, 1)
    now = Math.ceil((2 ** 31 / 3_579_545) * 1e9) - 1
    run()
    expect([irq, read(0, 2)]).toEqual([false, 0])
    now += 1
    run()
    expect([irq, read(0, 2)]).toEqual([true, 1])
    write(0, 2, 1)
    expect(irq).toBe(false)
    now *= 2
    run()
    expect(irq).toBe(true)
  })
})

describe('reset control', () => {
  test('default: a rise of the CPU bit resets; wider accesses are not for it', () => {
    attach(createResetControl({ control }))
    out(0xcf8, 0x8000_0600, 4)
    out(RESET_CONTROL_PORT, 0x02)
    expect(log).toEqual([])
    out(RESET_CONTROL_PORT, RESET_CONTROL_VALUE)
    expect([log, inb(RESET_CONTROL_PORT)]).toEqual([['reset'], 0x06])
  })
})

describe('debug ports', () => {
  test('default: the exit port gives its value', () => {
    attach(createDebugExit({ control }))
    out(0xf4, 0x10)
    out(0xf4, 0xdead_beef, 4)
    expect(inb(0xf4)).toBe(0)
    expect(log).toEqual(['exit 16', `exit ${0xdead_beef}`])
  })

  test('default: the console collects bytes', () => {
    const batches: string[] = []
    const device = attach(
      createDebugConsole({ transmit: (bytes) => batches.push(String.fromCharCode(...bytes)) }),
    )
    expect(inb(0xe9)).toBe(0xe9)
    for (const character of 'debug') out(0xe9, character.charCodeAt(0))
    device.flush()
    device.flush()
    for (let n = 0; n < 1024; n++) out(0xe9, 0x2e)
    expect(batches).toEqual(['debug', '.'.repeat(1024)])
  })
})
