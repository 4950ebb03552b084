/**
 * A watchdog timer. The guest writes a time in milliseconds to port 0x510, and again before it is over; if it is late,
 * the machine is reset. Zero stops the watchdog. Reading gives the time that was written last.
 */
import { requireVersion, type StateSection } from '@trapframe/core'
import { type Device, type EventQueue, type MachineControl, StateReader } from '@trapframe/devices'

export interface WatchdogOptions {
  /** Timers, in guest time. */
  readonly events: EventQueue
  readonly control: Pick<MachineControl, 'reset'>
  /** First of two ports. Default: 0x510. */
  readonly base?: number
}

export type WatchdogState = { readonly timeMs: number; readonly leftNs: number | null }

export function watchdog({ events, control, base = 0x510 }: WatchdogOptions): Device {
  let timeMs = 0
  const late = events.createEvent('watchdog', () => control.reset())

  function start(leftNs: number | null): void {
    if (leftNs === null) events.cancel(late)
    else events.schedule(late, events.nowNs() + leftNs)
  }

  const state: StateSection<WatchdogState> = {
    name: 'watchdog',
    version: 1,
    save: () => ({
      timeMs,
      // Relative to now: the machine that loads this has a time of its own.
      leftNs: late.deadlineNs === Infinity ? null : late.deadlineNs - events.nowNs(),
    }),
    load(saved, version) {
      requireVersion(state, version)
      const reader = new StateReader('watchdog', saved)
      const loaded = { timeMs: reader.u16('timeMs'), leftNs: reader.optionalNumber('leftNs') }
      // Everything was read, so nothing can fail any more: only now may something change.
      timeMs = loaded.timeMs
      start(loaded.leftNs)
    },
  }

  return {
    id: 'watchdog',
    pio: [
      {
        base,
        size: 2,
        access: 'answered',
        width: 2,
        read: (offset, size) => (timeMs >>> (8 * offset)) & (size === 1 ? 0xff : 0xffff),
        write(_offset, size, value) {
          if (size !== 2) return
          timeMs = value
          start(value === 0 ? null : value * 1e6)
        },
      },
    ],
    state,
    reset() {
      timeMs = 0
      start(null)
    },
  }
}
