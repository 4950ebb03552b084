/**
 * Keyboard controller i8042 at ports 0x60 and 0x64, and the fast A20 and reset port 0x92: controller commands, self
 * test, output port, reset pulse. No auxiliary port, and unless asked for, no keyboard.
 *
 * Answers are chosen so that drivers which probe end quickly: a command to the absent keyboard is answered by "resend"
 * with a time-out error, as the controller does, and tests of the absent auxiliary port fail at once.
 *
 * A20 is stored and never masks an address.
 */
import { requireVersion, type StateSection } from '@trapframe/core'
import type { Device, IoRange, MachineControl } from '../device.ts'
import type { IrqLine } from '../irq-line.ts'
import { StateReader } from '../state-reader.ts'

const Status = { outputFull: 0x01, system: 0x04, command: 0x08, unlocked: 0x10, timeout: 0x40 } as const
/** Bits of the command byte. */
const Config = { interrupt: 0x01, system: 0x04, keyboardOff: 0x10, auxiliaryOff: 0x20 } as const
const A20 = 0x02
const RESET_CONFIG = Config.interrupt | Config.system | Config.auxiliaryOff

/** What the controller is connected to. */
export interface I8042Options {
  /** Interrupt 1. */
  readonly irq: IrqLine
  /** Told of the reset pulse. */
  readonly control: Pick<MachineControl, 'reset'>
  /** A keyboard that answers commands and never types. Default: false. */
  readonly keyboard?: boolean
}

/** Saved state of the keyboard controller. */
export type I8042State = {
  /** Command byte. */
  readonly config: number
  /** Output buffer (port 0x60). */
  readonly output: number
  readonly outputFull: boolean
  readonly timeout: boolean
  readonly lastWasCommand: boolean
  /** Controller command that waits for its byte, 0 for none. */
  readonly command: number
  /** Command of the keyboard that waits for its parameter, 0 for none. */
  readonly keyboardCommand: number
  /** Stored, without effect on addresses. */
  readonly a20: boolean
  /** Bytes behind the one in the output buffer. */
  readonly queue: readonly number[]
}

/** The keyboard controller. */
export interface I8042 extends Device {
  readonly state: StateSection<I8042State>
}

/** Makes a controller with nothing plugged in, or with a keyboard that never types. */
export function createI8042(options: I8042Options): I8042 {
  return new KeyboardController(options)
}

class KeyboardController implements I8042 {
  readonly id = 'i8042'
  readonly pio: readonly IoRange[]
  readonly state: StateSection<I8042State>
  readonly #irq: IrqLine
  readonly #control: Pick<MachineControl, 'reset'>
  readonly #keyboard: boolean
  #config = RESET_CONFIG
  #output = 0
  #outputFull = false
  #timeout = false
  #lastWasCommand = false
  #command = 0
  #keyboardCommand = 0
  #a20 = true
  #queue: number[] = []

  constructor({ irq, control, keyboard = false }: I8042Options) {
    this.#irq = irq
    this.#control = control
    this.#keyboard = keyboard
    const range = (base: number, read: () => number, write: (value: number) => void): IoRange => ({
      base,
      size: 1,
      access: 'answered',
      width: 1,
      read,
      write: (_offset, _size, value) => write(value & 0xff),
    })
    this.pio = [
      range(
        0x60,
        () => this.#readData(),
        (value) => this.#writeData(value),
      ),
      range(
        0x64,
        () => this.#readStatus(),
        (value) => this.#writeCommand(value),
      ),
      range(
        0x92,
        () => (this.#a20 ? A20 : 0),
        (value) => {
          this.#a20 = (value & A20) !== 0
          if ((value & 1) !== 0) this.#control.reset()
        },
      ),
    ]
    this.state = {
      name: 'i8042',
      version: 1,
      save: () => ({
        config: this.#config,
        output: this.#output,
        outputFull: this.#outputFull,
        timeout: this.#timeout,
        lastWasCommand: this.#lastWasCommand,
        command: this.#command,
        keyboardCommand: this.#keyboardCommand,
        a20: this.#a20,
        queue: [...this.#queue],
      }),
      load: (state, version) => {
        requireVersion(this.state, version)
        this.#load(new StateReader('i8042', state))
      },
    }
  }

  reset(): void {
    this.#config = RESET_CONFIG
    this.#output = 0
    this.#outputFull = false
    this.#timeout = false
    this.#lastWasCommand = false
    this.#command = 0
    this.#keyboardCommand = 0
    this.#a20 = true
    this.#queue = []
    this.#update()
  }

  #readStatus(): number {
    return (
      Status.unlocked |
      (this.#config & Config.system) |
      (this.#lastWasCommand ? Status.command : 0) |
      (this.#outputFull ? Status.outputFull : 0) |
      (this.#timeout ? Status.timeout : 0)
    )
  }

  #readData(): number {
    const value = this.#output
    this.#outputFull = false
    this.#timeout = false
    // The line falls between two bytes, so that each one is an edge.
    this.#update()
    const next = this.#queue.shift()
    if (next !== undefined) this.#put(next)
    return value
  }

  #writeCommand(value: number): void {
    this.#lastWasCommand = true
    this.#command = 0
    if (value >= 0xf0) {
      // Pulses output lines that are zero in the low nibble; line 0 is the reset.
      if ((value & 1) === 0) this.#control.reset()
      return
    }
    switch (value) {
      case 0x20: // read the command byte
        this.#put(this.#config)
        break
      case 0x60: // write the command byte
      case 0xd1: // write the output port
      case 0xd2: // write the keyboard's output buffer
      case 0xd3: // write the auxiliary output buffer
      case 0xd4: // write to the auxiliary device
        this.#command = value
        break
      case 0xa7:
        this.#config |= Config.auxiliaryOff
        break
      case 0xa8: // switching on an auxiliary port that is not there has no effect
        break
      case 0xa9: // test of the auxiliary port: clock line stuck high
        this.#put(0x02)
        break
      case 0xaa: // self test
        this.#config |= Config.system
        this.#put(0x55)
        break
      case 0xab: // test of the keyboard port
        this.#put(0x00)
        break
      case 0xad:
        this.#config |= Config.keyboardOff
        break
      case 0xae:
        this.#config &= ~Config.keyboardOff
        break
      case 0xc0: // input port: keyboard not inhibited
        this.#put(0x80)
        break
      case 0xd0: // output port
        this.#put(0x01 | (this.#a20 ? A20 : 0) | (this.#outputFull ? 0x10 : 0))
        break
      case 0xdd:
        this.#a20 = false
        break
      case 0xdf:
        this.#a20 = true
        break
    }
    this.#update()
  }

  #writeData(value: number): void {
    this.#lastWasCommand = false
    const command = this.#command
    this.#command = 0
    switch (command) {
      case 0x60:
        this.#config = value | Config.auxiliaryOff
        this.#update()
        break
      case 0xd1:
        this.#a20 = (value & A20) !== 0
        if ((value & 1) === 0) this.#control.reset()
        break
      case 0xd2:
      case 0xd3:
        // Without an auxiliary port its loopback comes back as a keyboard's byte, by which drivers know.
        this.#put(value)
        break
      case 0xd4:
        this.#put(0xfe)
        this.#timeout = true
        break
      default:
        this.#toKeyboard(value)
    }
  }

  #toKeyboard(value: number): void {
    if (!this.#keyboard) {
      this.#put(0xfe)
      this.#timeout = true
      return
    }
    if (this.#keyboardCommand !== 0) {
      const command = this.#keyboardCommand
      this.#keyboardCommand = 0
      this.#answer(0xfa)
      // Scan code set 0 asks for the set in use.
      if (command === 0xf0 && value === 0) this.#answer(0x02)
      return
    }
    switch (value) {
      case 0xff: // reset: acknowledge, then the result of the self test
        this.#answer(0xfa)
        this.#answer(0xaa)
        break
      case 0xee: // echo
        this.#answer(0xee)
        break
      case 0xf2: // identify: MF2 keyboard
        this.#answer(0xfa)
        this.#answer(0xab)
        this.#answer(0x83)
        break
      case 0xed: // LEDs
      case 0xf0: // scan code set
      case 0xf3: // typematic rate
        this.#keyboardCommand = value
        this.#answer(0xfa)
        break
      default:
        this.#answer(0xfa)
    }
  }

  /** A byte from the keyboard, after those that wait; a real one keeps 16. */
  #answer(value: number): void {
    if (!this.#outputFull) this.#put(value)
    else if (this.#queue.length < 16) this.#queue.push(value)
  }

  /** Puts a byte into the output buffer; one that was not read is lost. */
  #put(value: number): void {
    this.#output = value
    this.#outputFull = true
    this.#timeout = false
    this.#update()
  }

  #update(): void {
    this.#irq.set(this.#outputFull && (this.#config & Config.interrupt) !== 0)
  }

  #load(reader: StateReader): void {
    const state: I8042State = {
      config: reader.u8('config'),
      output: reader.u8('output'),
      outputFull: reader.bool('outputFull'),
      timeout: reader.bool('timeout'),
      lastWasCommand: reader.bool('lastWasCommand'),
      command: reader.u8('command'),
      keyboardCommand: reader.u8('keyboardCommand'),
      a20: reader.bool('a20'),
      queue: reader.integersUpTo('queue', 0, 16, 0xff),
    }
    this.#config = state.config
    this.#output = state.output
    this.#outputFull = state.outputFull
    this.#timeout = state.timeout
    this.#lastWasCommand = state.lastWasCommand
    this.#command = state.command
    this.#keyboardCommand = state.keyboardCommand
    this.#a20 = state.a20
    this.#queue = [...state.queue]
    this.#update()
  }
}
