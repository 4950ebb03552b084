/**
 * The neutral saved form of what stands between a vCPU and its devices: LAPIC, IOAPIC, PIC and PIT. A backend that has
 * them in the kernel and the device models save and load the same form, so a machine can move between them.
 *
 * Times are relative to the moment of saving, in nanoseconds of guest time, because the clock of the machine that loads
 * has a start of its own.
 */

/** Local APIC, in registers of the SDM (volume 3, chapter 11). Bitmaps are eight words of 32 vectors each. */
export type LapicState = {
  /** IA32_APIC_BASE: address of the page with the enable bits below bit 12 (bit 8 BSP, 10 x2APIC, 11 enabled). */
  readonly apicBase: number
  /** APIC id: 8 bits in xAPIC mode, 32 in x2APIC mode. */
  readonly id: number
  readonly tpr: number
  readonly ldr: number
  readonly dfr: number
  readonly svr: number
  /** In service. */
  readonly isr: readonly number[]
  /** Level-triggered. */
  readonly tmr: readonly number[]
  /** Requested. */
  readonly irr: readonly number[]
  /** Error status as the guest reads it. */
  readonly esr: number
  /** Errors seen since the last write to ESR. */
  readonly esrPending: number
  readonly icrLow: number
  readonly icrHigh: number
  /** CMCI is not implemented: timer, thermal, performance, LINT0, LINT1, error. */
  readonly lvt: readonly number[]
  /** Initial count register of the timer. */
  readonly initialCount: number
  /** Divide configuration register. */
  readonly divide: number
  /** The count that was loaded `timerElapsedNs` ago, and from which the current count follows. */
  readonly timerStartCount: number
  /** Guest time since `timerStartCount` was loaded. */
  readonly timerElapsedNs: number
  /** IA32_TSC_DEADLINE, 0 when disarmed. */
  readonly tscDeadlineLow: number
  readonly tscDeadlineHigh: number
  /** Levels of the LINT pins. */
  readonly lint: readonly number[]
  /** ExtINT accepted from an IOAPIC and not yet acknowledged. */
  readonly extInt: boolean
}

/** IOAPIC (82093AA). */
export type IoapicState = {
  /** Its APIC id. */
  readonly id: number
  /** IOREGSEL: which register IOWIN shows. */
  readonly select: number
  /** Redirection table: low and high word of each of 24 pins. */
  readonly redirection: readonly number[]
  /** Level of each pin, one bit for each. */
  readonly lines: number
}

/** One 8259A. */
export type PicChipState = {
  /** Interrupt requests. */
  readonly irr: number
  /** Mask: 1 is masked. */
  readonly imr: number
  /** In service. */
  readonly isr: number
  /** Levels of the inputs. */
  readonly lines: number
  /** Inputs that are level-triggered (port 0x4d0 or 0x4d1). */
  readonly elcr: number
  /** Input of highest priority. */
  readonly priority: number
  /** Vector of input 0 (ICW2). */
  readonly vectorBase: number
  /** Reads give ISR rather than IRR (OCW3). */
  readonly readIsr: boolean
  /** The next read is a poll (OCW3). */
  readonly poll: boolean
  readonly specialMask: boolean
  /** Which ICW is expected next: 0 none (ready), 2, 3 or 4. */
  readonly initStep: number
  /** ICW1 asked for an ICW4. */
  readonly icw4Needed: boolean
  /** ICW1: no cascade. */
  readonly single: boolean
  readonly autoEoi: boolean
  readonly rotateOnAutoEoi: boolean
  readonly specialFullyNested: boolean
}

/** The pair of 8259A: master, slave. */
export type PicState = { readonly chips: readonly PicChipState[] }

/** One counter of an 8254. */
export type PitChannelState = {
  /** 0 to 5. */
  readonly mode: number
  /** Counts in decimal. */
  readonly bcd: boolean
  /** 1 low byte, 2 high byte, 3 low then high. */
  readonly access: number
  /** Counting value, 1 to 65536 (10000 in BCD); 0 before the first count is written. */
  readonly reload: number
  /** Takes the place of `reload` at the end of the period; 0 when there is none. */
  readonly nextReload: number
  /** Level of the gate. */
  readonly gate: boolean
  /** Whether the counting element was loaded since the control word. */
  readonly loaded: boolean
  /** Time since the count was loaded. */
  readonly elapsedNs: number
  /** Ticks of `elapsedNs` that belong to periods with an earlier count. */
  readonly passedTicks: number
  /** Ticks at which a low gate stopped the count, or null while it counts. */
  readonly stoppedTicks: number | null
  /** First byte of a count that is written in two, or null. */
  readonly writeLow: number | null
  /** Next read gives the high byte. */
  readonly readHigh: boolean
  /** Count held by a latch command, or null. */
  readonly latchedCount: number | null
  /** Status held by a read-back command, or null. */
  readonly latchedStatus: number | null
}

/** 8254 with the bits of port 0x61 that a guest can write. */
export type PitState = {
  /** Three. */
  readonly channels: readonly PitChannelState[]
  /** Bits 0 and 1 of port 0x61: gate of channel 2, speaker. */
  readonly speaker: number
}
