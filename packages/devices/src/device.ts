/**
 * What a device is to those who wire it up: an object that declares the ranges it answers, what it saves and what it
 * counts. Nothing else is asked of it. What it needs (interrupt lines, the event queue, host callbacks) is handed to
 * its factory.
 *
 * Accesses come from the guest, so every offset, size and value must be accepted: a device never throws out of `read`
 * or `write`.
 */
import type { Metrics, StateSection } from '@trapframe/core'

/**
 * How an access is carried to the device's thread: `answered` makes the vCPU wait for the answer, `posted` lets it go
 * on at once (writes only; reads are always answered).
 */
export type IoAccess = 'answered' | 'posted'

/** A range of ports or of guest-physical addresses that a device answers. */
export interface IoRange {
  /** First port or address. */
  readonly base: number
  /** Size in bytes. */
  readonly size: number
  /** How accesses are carried to the device. */
  readonly access: IoAccess
  /** Widest access in bytes that the range takes whole; the bus splits wider ones. Default: 4. */
  readonly width?: 1 | 2 | 4
  /** Answers only accesses that begin in it, not the rest of one that began below (port 0xcf9 inside 0xcf8). */
  readonly exact?: boolean
  /** `offset` from `base`, `size` 1, 2 or 4. Answers an unsigned value of that size. */
  read(offset: number, size: number): number
  /** `value` is unsigned and has `size` bytes. */
  write(offset: number, size: number, value: number): void
}

/** A device. */
export interface Device {
  /** Unique on its board, and the owner of its saved section. */
  readonly id: string
  /** Ports. */
  readonly pio?: readonly IoRange[]
  /** Guest-physical windows. */
  readonly mmio?: readonly IoRange[]
  /** What the device saves; absent only where a guest can change nothing. */
  readonly state?: StateSection
  /** What it counts. */
  readonly metrics?: Metrics
  /** Power-on or bus reset: the state of a fresh device. Host connections and contents kept by battery stay. */
  reset?(): void
}

/**
 * What the platform's devices ask of the machine. Called in the middle of a guest's instruction: take note, and act
 * when the vCPU is out of `run`.
 */
export interface MachineControl {
  /** The guest switched the machine off (ACPI S5). */
  powerOff(): void
  /** The guest asked for a reset. */
  reset(): void
  /** The guest wrote `value` to the debug exit port. */
  debugExit(value: number): void
}
