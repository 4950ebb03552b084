/**
 * Debug exit port, as QEMU's isa-debug-exit: whatever is written ends the machine with that value. By default four
 * ports from 0xf4. A program that runs the machine makes its exit status of it, by convention `(value << 1) | 1`.
 */
import type { Device, IoRange, MachineControl } from '../device.ts'

/** What the port is connected to. */
export interface DebugExitOptions {
  /** Told of the value. */
  readonly control: Pick<MachineControl, 'debugExit'>
  /** Default: 0xf4. */
  readonly base?: number
}

/** Makes the port. It has no state. */
export function createDebugExit({ control, base = 0xf4 }: DebugExitOptions): Device {
  const range: IoRange = {
    base,
    size: 4,
    access: 'answered',
    read: () => 0,
    write: (_offset, _size, value) => control.debugExit(value),
  }
  return { id: 'debug-exit', pio: [range] }
}
