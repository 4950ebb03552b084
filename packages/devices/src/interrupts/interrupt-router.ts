/**
 * Global system interrupts (GSI): lines that lead to an IOAPIC pin and, for ISA interrupts, to the PIC too. Several
 * devices may share a line; it is asserted while one of them asserts it.
 *
 * Levels are not saved here: controllers save the level of their inputs, and devices drive their lines when they load.
 */
import { DeviceError } from '../device-error.ts'
import { createIrqLine, type IrqLine } from '../irq-line.ts'
import { IOAPIC_PINS } from './ioapic.ts'

/** What has numbered interrupt inputs. */
export interface InterruptInputs {
  /** The line of an input. Each call may give the same one. */
  line(input: number): IrqLine
}

/** Where interrupts lead. */
export interface InterruptRouterOptions {
  /** Gets the ISA interrupts 0 to 15 but 2. */
  readonly pic?: InterruptInputs
  /** Gets all interrupts. */
  readonly ioapic?: InterruptInputs
  /** IOAPIC pin of an ISA interrupt, as the board's interrupt source overrides tell. Default: the same number. */
  readonly isaPin?: (irq: number) => number
}

/** Gives devices their interrupt lines. */
export interface InterruptRouter {
  /** A line to ISA interrupt `irq`, 0 to 15, of a device's own: lines of one interrupt are combined by OR. */
  isa(irq: number): IrqLine
  /** A line to IOAPIC pin `gsi`, 0 to 23, alone. */
  gsi(gsi: number): IrqLine
}

/** A router; its lines throw DeviceError `device/interrupt` for numbers that are not there. */
export function createInterruptRouter(options: InterruptRouterOptions): InterruptRouter {
  const { pic, ioapic, isaPin = (irq) => irq } = options
  const asserted = new Uint32Array(IOAPIC_PINS + 16)

  function shared(slot: number, targets: readonly IrqLine[]): IrqLine {
    return createIrqLine((level) => {
      const before = asserted[slot]!
      const after = level ? before + 1 : before - 1
      asserted[slot] = after
      if (before > 0 && after > 0) return
      for (let n = 0; n < targets.length; n++) targets[n]!.set(level)
    })
  }

  return {
    isa(irq) {
      if (!(Number.isInteger(irq) && irq >= 0 && irq < 16 && irq !== 2))
        throw new DeviceError('device/interrupt', `ISA interrupt ${irq}: there are 0 to 15 without 2`)
      const targets: IrqLine[] = []
      if (pic) targets.push(pic.line(irq))
      if (ioapic) targets.push(ioapic.line(isaPin(irq)))
      return shared(IOAPIC_PINS + irq, targets)
    },
    gsi(gsi) {
      if (!(Number.isInteger(gsi) && gsi >= 0 && gsi < IOAPIC_PINS))
        throw new DeviceError('device/interrupt', `interrupt ${gsi}: there are 0 to ${IOAPIC_PINS - 1}`)
      return shared(gsi, ioapic ? [ioapic.line(gsi)] : [])
    },
  }
}
