/** Interrupt lines between devices and controllers. `true` is asserted, whatever the electrical polarity. */

export interface IrqLine {
  /** Sets the level. Setting the level that the line has changes nothing. */
  set(level: boolean): void
  /** Asserts and releases: one edge. */
  pulse(): void
}

/** A line that leads nowhere. */
export const noIrq: IrqLine = { set() {}, pulse() {} }

/** A line that calls `change` when its level changes. */
export function createIrqLine(change: (level: boolean) => void): IrqLine {
  let level = false
  const set = (wanted: boolean): void => {
    if (wanted === level) return
    level = wanted
    change(wanted)
  }
  return {
    set,
    pulse() {
      set(true)
      set(false)
    },
  }
}
