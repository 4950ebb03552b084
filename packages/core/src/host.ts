/**
 * What a host hands in: time, randomness, a log. No package reads them from its surroundings, which is what makes
 * repeatable runs possible.
 */

/** A clock that never goes backwards. */
export interface Clock {
  /** Nanoseconds since an arbitrary start, exact up to 2^53 (104 days). */
  nowNs(): number
}

/** Wall-clock time, for devices that show the date to a guest (RTC). */
export interface WallClock {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  nowMs(): number
}

/** A source of random bytes. */
export interface Entropy {
  /** Fills `into` completely. */
  fill(into: Uint8Array): void
}

/** Where a package reports what its caller may want to know. The default is silence. */
export interface Log {
  /** For whoever looks for a defect; may be frequent. */
  debug(message: string): void
  /** Something a user should hear of, though work goes on. */
  warn(message: string): void
}

/** A log that drops everything. */
export const silentLog: Log = { debug() {}, warn() {} }

/** Named counters and gauges of one component; values are read when asked for, never pushed. */
export interface Metrics {
  /** A snapshot: metric name (kebab-case, with its unit) to value. */
  read(): Readonly<Record<string, number>>
}
