/**
 * Conversion between nanoseconds and ticks of a device clock, exact where doubles allow it: whole seconds are split
 * off, so that products stay below 2^53 for clocks up to 9 MHz; for faster ones the error is below a nanosecond.
 */

const SECOND_NS = 1e9

/** Whole ticks of a clock of `hz` in `ns`. */
export function ticksOf(ns: number, hz: number): number {
  if (hz === SECOND_NS) return Math.floor(ns)
  const seconds = Math.floor(ns / SECOND_NS)
  return seconds * hz + Math.floor(((ns - seconds * SECOND_NS) * hz) / SECOND_NS)
}

/** Nanoseconds until `ticks` ticks of a clock of `hz` have passed, rounded up: `ticksOf(nsOf(t)) >= t`. */
export function nsOf(ticks: number, hz: number): number {
  if (hz === SECOND_NS) return Math.ceil(ticks)
  const seconds = Math.floor(ticks / hz)
  const product = (ticks - seconds * hz) * SECOND_NS
  let ns = Math.floor(product / hz)
  if (ns * hz < product) ns++
  return seconds * SECOND_NS + ns
}

/**
 * Shortest period in nanoseconds at which a periodic timer raises events. A guest can program less; it then gets one
 * event for several periods, as when a real machine's interrupts coalesce, and cannot keep the host from its work.
 */
export const MIN_PERIOD_NS = 10_000
