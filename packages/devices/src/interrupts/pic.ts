/**
 * The pair of 8259A interrupt controllers of a PC: master at ports 0x20/0x21, slave at 0xa0/0xa1 on the master's input
 * 2, edge/level registers at 0x4d0/0x4d1. 16 inputs, of which number 2 is the cascade.
 */
import { requireVersion, type StateSection } from '@trapframe/core'
import type { PicState } from '@trapframe/cpu'
import type { Device, IoRange } from '../device.ts'
import { createIrqLine, type IrqLine } from '../irq-line.ts'
import { StateReader } from '../state-reader.ts'
import { PicChip, readPicChip } from './pic-chip.ts'

/** Inputs 0, 1, 2, 8 and 13 are always edge-triggered. */
const MASTER_ELCR_MASK = 0xf8
const SLAVE_ELCR_MASK = 0xde
const CASCADE_INPUT = 2

/** What a PIC is connected to. */
export interface PicOptions {
  /** The INT output: to LINT0 of the boot processor. */
  readonly output: IrqLine
}

/** The pair of 8259A, with interrupt inputs. */
export interface Pic extends Device {
  readonly state: StateSection<PicState>
  /** Input line of ISA interrupt `irq`, 0 to 15 but 2. */
  line(irq: number): IrqLine
  /** Whether INT is asserted. */
  readonly pending: boolean
  /** The vector that `acknowledge` would answer, without side effects. */
  peek(): number
  /** The two INTA cycles: answers the vector, that of input 7 or 15 when the request is gone (spurious). */
  acknowledge(): number
}

/** Makes the pair as after power-on: it delivers nothing before it is initialised. */
export function createPic(options: PicOptions): Pic {
  return new PicPair(options)
}

class PicPair implements Pic {
  readonly id = 'pic'
  readonly pio: readonly IoRange[]
  readonly state: StateSection<PicState>
  readonly metrics: { read(): Readonly<Record<string, number>> }
  readonly #master: PicChip
  readonly #slave: PicChip
  readonly #lines: (IrqLine | undefined)[] = []
  #acknowledged = 0
  #spurious = 0

  constructor({ output }: PicOptions) {
    this.#master = new PicChip(MASTER_ELCR_MASK, 1 << CASCADE_INPUT, (level) => output.set(level))
    this.#slave = new PicChip(SLAVE_ELCR_MASK, 0, (level) => this.#master.setLine(CASCADE_INPUT, level))
    this.pio = [
      this.#range(0x20, (a0) => this.#read(this.#master, a0), this.#master),
      this.#range(0xa0, (a0) => this.#read(this.#slave, a0), this.#slave),
      {
        base: 0x4d0,
        size: 2,
        access: 'answered',
        width: 1,
        read: (offset) => (offset === 0 ? this.#master : this.#slave).elcr,
        write: (offset, _size, value) => {
          if (offset === 0) this.#master.elcr = value & 0xff
          else this.#slave.elcr = value & 0xff
        },
      },
    ]
    this.state = {
      name: 'pic',
      version: 1,
      save: () => ({ chips: [this.#master.save(), this.#slave.save()] }),
      load: (state, version) => {
        requireVersion(this.state, version)
        const [master, slave] = new StateReader('pic', state).records('chips', 2).map(readPicChip)
        // The slave first: its output is the master's input, whose saved level and latch then replace what that caused.
        this.#slave.load(slave!)
        this.#master.load(master!)
      },
    }
    this.metrics = { read: () => ({ acknowledged: this.#acknowledged, spurious: this.#spurious }) }
  }

  get pending(): boolean {
    return this.#master.int
  }

  line(irq: number): IrqLine {
    let line = this.#lines[irq]
    if (line === undefined) {
      const chip = irq < 8 ? this.#master : this.#slave
      line = createIrqLine((level) => chip.setLine(irq & 7, level))
      this.#lines[irq] = line
    }
    return line
  }

  peek(): number {
    const input = this.#master.pendingInput()
    if (input !== CASCADE_INPUT) return this.#master.vector(input < 0 ? 7 : input)
    const slaveInput = this.#slave.pendingInput()
    return this.#slave.vector(slaveInput < 0 ? 7 : slaveInput)
  }

  acknowledge(): number {
    this.#acknowledged++
    const input = this.#master.pendingInput()
    if (input < 0) {
      this.#spurious++
      return this.#master.vector(7)
    }
    if (input !== CASCADE_INPUT) {
      this.#master.acknowledge(input)
      return this.#master.vector(input)
    }
    const slaveInput = this.#slave.pendingInput()
    if (slaveInput >= 0) this.#slave.acknowledge(slaveInput)
    else this.#spurious++
    this.#master.acknowledge(CASCADE_INPUT)
    return this.#slave.vector(slaveInput < 0 ? 7 : slaveInput)
  }

  reset(): void {
    this.#slave.reset()
    this.#master.reset()
  }

  /** A read of either port; after a poll command it is an acknowledge that answers the input. */
  #read(chip: PicChip, a0: number): number {
    if (!chip.takePoll()) return chip.read(a0)
    const input = chip.pendingInput()
    if (input < 0) return 0
    chip.acknowledge(input)
    return 0x80 | input
  }

  #range(base: number, read: (a0: number) => number, chip: PicChip): IoRange {
    return {
      base,
      size: 2,
      access: 'answered',
      width: 1,
      read: (offset) => read(offset & 1),
      write: (offset, _size, value) => chip.write(offset & 1, value & 0xff),
    }
  }
}
