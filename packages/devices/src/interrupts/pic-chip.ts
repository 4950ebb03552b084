/**
 * One 8259A interrupt controller (Intel 8259A data sheet), with the edge/level register of PC chip sets (ELCR) in place
 * of the LTIM bit of ICW1, which they ignore.
 *
 * Edges stay latched in IRR until they are acknowledged. (The discrete chip drops a request whose line goes low before
 * the acknowledge; chip sets and hypervisors keep it, and drivers rely on that.) A level request follows its line, and
 * an acknowledge that finds it gone answers the spurious vector 7.
 */
import type { PicChipState } from '@trapframe/cpu'
import type { StateReader } from '../state-reader.ts'

export class PicChip {
  readonly #elcrMask: number
  readonly #output: (level: boolean) => void
  /** Inputs with a slave behind them. */
  readonly #cascade: number
  #irr = 0
  #imr = 0
  #isr = 0
  #lines = 0
  #elcr = 0
  #priority = 0
  #vectorBase = 0
  #readIsr = false
  #poll = false
  #specialMask = false
  #initStep = 0
  #icw4Needed = false
  #single = false
  #autoEoi = false
  #rotateOnAutoEoi = false
  #specialFullyNested = false
  #int = false

  /**
   * @param elcrMask - inputs whose trigger mode can be changed
   * @param cascade - inputs with a slave behind them
   * @param output - called when the INT output changes
   */
  constructor(elcrMask: number, cascade: number, output: (level: boolean) => void) {
    this.#elcrMask = elcrMask
    this.#cascade = cascade
    this.#output = output
  }

  /** INT output. */
  get int(): boolean {
    return this.#int
  }

  get elcr(): number {
    return this.#elcr
  }

  set elcr(value: number) {
    this.#elcr = value & this.#elcrMask
    this.#irr = (this.#irr & ~this.#elcr) | (this.#lines & this.#elcr)
    this.#update()
  }

  setLine(input: number, level: boolean): void {
    const bit = 1 << input
    const was = (this.#lines & bit) !== 0
    if (level) this.#lines |= bit
    else this.#lines &= ~bit
    if ((this.#elcr & bit) !== 0) {
      if (level) this.#irr |= bit
      else this.#irr &= ~bit
    } else if (level && !was) this.#irr |= bit
    this.#update()
  }

  /** The input that would be acknowledged now, or -1. */
  pendingInput(): number {
    const requests = this.#irr & ~this.#imr
    if (requests === 0) return -1
    // What is in service blocks its own and all lower priorities, but: in special mask mode an input that is masked
    // blocks nobody, and in special fully nested mode the slave may ask again while one of its inputs is served.
    const own = this.#specialFullyNested ? this.#isr & ~this.#cascade : this.#isr
    const blocking = this.#specialMask ? own & ~this.#imr : own
    for (let n = 0; n < 8; n++) {
      const input = (this.#priority + n) & 7
      if ((blocking & (1 << input)) !== 0) return -1
      if ((requests & (1 << input)) !== 0) return input
    }
    return -1
  }

  /** Vector of an input. */
  vector(input: number): number {
    return this.#vectorBase | input
  }

  /** The acknowledge cycle for `input`. */
  acknowledge(input: number): void {
    const bit = 1 << input
    if (this.#autoEoi) {
      if (this.#rotateOnAutoEoi) this.#priority = (input + 1) & 7
    } else this.#isr |= bit
    if ((this.#elcr & bit) === 0) this.#irr &= ~bit
    this.#update()
  }

  /** Takes a pending poll command: answers whether the next read is a poll. */
  takePoll(): boolean {
    const poll = this.#poll
    this.#poll = false
    return poll
  }

  /** Reads port `a0` (0 or 1), when no poll is pending. */
  read(a0: number): number {
    if (a0 === 1) return this.#imr
    return this.#readIsr ? this.#isr : this.#irr
  }

  write(a0: number, value: number): void {
    if (a0 === 0) {
      if ((value & 0x10) !== 0) this.#icw1(value)
      else if ((value & 0x08) !== 0) this.#ocw3(value)
      else this.#ocw2(value)
    } else if (this.#initStep !== 0) this.#icw(value)
    else this.#imr = value
    this.#update()
  }

  reset(): void {
    this.#irr = 0
    this.#elcr = 0
    this.#vectorBase = 0
    this.#rotateOnAutoEoi = false
    this.#initialise()
    this.#initStep = 0
    this.#icw4Needed = false
    this.#single = false
    this.#update()
  }

  save(): PicChipState {
    return {
      irr: this.#irr,
      imr: this.#imr,
      isr: this.#isr,
      lines: this.#lines,
      elcr: this.#elcr,
      priority: this.#priority,
      vectorBase: this.#vectorBase,
      readIsr: this.#readIsr,
      poll: this.#poll,
      specialMask: this.#specialMask,
      initStep: this.#initStep,
      icw4Needed: this.#icw4Needed,
      single: this.#single,
      autoEoi: this.#autoEoi,
      rotateOnAutoEoi: this.#rotateOnAutoEoi,
      specialFullyNested: this.#specialFullyNested,
    }
  }

  load(state: PicChipState): void {
    this.#irr = state.irr
    this.#imr = state.imr
    this.#isr = state.isr
    this.#lines = state.lines
    this.#elcr = state.elcr & this.#elcrMask
    this.#priority = state.priority
    this.#vectorBase = state.vectorBase & 0xf8
    this.#readIsr = state.readIsr
    this.#poll = state.poll
    this.#specialMask = state.specialMask
    this.#initStep = state.initStep
    this.#icw4Needed = state.icw4Needed
    this.#single = state.single
    this.#autoEoi = state.autoEoi
    this.#rotateOnAutoEoi = state.rotateOnAutoEoi
    this.#specialFullyNested = state.specialFullyNested
    this.#update()
  }

  #icw1(value: number): void {
    this.#initialise()
    this.#initStep = 2
    this.#icw4Needed = (value & 1) !== 0
    this.#single = (value & 2) !== 0
  }

  /** What ICW1 does: edge latches, mask, priorities and modes start anew. */
  #initialise(): void {
    this.#irr &= this.#elcr
    this.#imr = 0
    this.#isr = 0
    this.#priority = 0
    this.#readIsr = false
    this.#poll = false
    this.#specialMask = false
    this.#autoEoi = false
    this.#specialFullyNested = false
  }

  #icw(value: number): void {
    if (this.#initStep === 2) {
      this.#vectorBase = value & 0xf8
      this.#initStep = this.#single ? (this.#icw4Needed ? 4 : 0) : 3
    } else if (this.#initStep === 3) {
      // ICW3 says where the slave is; that is wired here.
      this.#initStep = this.#icw4Needed ? 4 : 0
    } else {
      this.#specialFullyNested = (value & 0x10) !== 0
      this.#autoEoi = (value & 0x02) !== 0
      this.#initStep = 0
    }
  }

  #ocw2(value: number): void {
    const level = value & 7
    switch (value >>> 5) {
      case 0: // rotate in automatic EOI mode: clear
        this.#rotateOnAutoEoi = false
        break
      case 1: // non-specific EOI
        this.#endHighest(false)
        break
      case 3: // specific EOI
        this.#isr &= ~(1 << level)
        break
      case 4: // rotate in automatic EOI mode: set
        this.#rotateOnAutoEoi = true
        break
      case 5: // rotate on non-specific EOI
        this.#endHighest(true)
        break
      case 6: // set priority: `level` becomes the lowest
        this.#priority = (level + 1) & 7
        break
      case 7: // rotate on specific EOI
        this.#isr &= ~(1 << level)
        this.#priority = (level + 1) & 7
        break
    }
  }

  #endHighest(rotate: boolean): void {
    // In special mask mode a non-specific EOI does not clear an input that is masked.
    const service = this.#specialMask ? this.#isr & ~this.#imr : this.#isr
    for (let n = 0; n < 8; n++) {
      const input = (this.#priority + n) & 7
      if ((service & (1 << input)) === 0) continue
      this.#isr &= ~(1 << input)
      if (rotate) this.#priority = (input + 1) & 7
      return
    }
  }

  #ocw3(value: number): void {
    if ((value & 0x04) !== 0) this.#poll = true
    if ((value & 0x02) !== 0) this.#readIsr = (value & 1) !== 0
    if ((value & 0x40) !== 0) this.#specialMask = (value & 0x20) !== 0
  }

  #update(): void {
    const int = this.#initStep === 0 && this.pendingInput() >= 0
    if (int === this.#int) return
    this.#int = int
    this.#output(int)
  }
}

/** Reads a saved chip and checks it. */
export function readPicChip(reader: StateReader): PicChipState {
  return {
    irr: reader.u8('irr'),
    imr: reader.u8('imr'),
    isr: reader.u8('isr'),
    lines: reader.u8('lines'),
    elcr: reader.u8('elcr'),
    priority: reader.integer('priority', 0, 7),
    vectorBase: reader.u8('vectorBase'),
    readIsr: reader.bool('readIsr'),
    poll: reader.bool('poll'),
    specialMask: reader.bool('specialMask'),
    initStep: reader.integer('initStep', 0, 4),
    icw4Needed: reader.bool('icw4Needed'),
    single: reader.bool('single'),
    autoEoi: reader.bool('autoEoi'),
    rotateOnAutoEoi: reader.bool('rotateOnAutoEoi'),
    specialFullyNested: reader.bool('specialFullyNested'),
  }
}
