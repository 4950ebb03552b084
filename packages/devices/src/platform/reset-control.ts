/**
 * Reset control register at port 0xcf9, as the ACPI reset register of the FADT: writing 6 resets the machine. It
 * answers byte accesses only; wider ones from 0xcf8 belong to PCI configuration.
 */
import { requireVersion, type StateSection } from '@trapframe/core'
import type { Device, IoRange, MachineControl } from '../device.ts'
import { StateReader } from '../state-reader.ts'

/** The port, for the FADT. */
export const RESET_CONTROL_PORT = 0xcf9
/** What is written there for a reset, for the FADT. */
export const RESET_CONTROL_VALUE = 0x06
const SYSTEM_RESET = 0x02
const RESET_CPU = 0x04

/** Saved state of the register. */
export type ResetControlState = { readonly value: number }

/** The reset control register. */
export interface ResetControl extends Device {
  readonly state: StateSection<ResetControlState>
}

/** Makes the register. */
export function createResetControl(options: {
  readonly control: Pick<MachineControl, 'reset'>
}): ResetControl {
  let value = 0
  const range: IoRange = {
    base: RESET_CONTROL_PORT,
    size: 1,
    access: 'answered',
    width: 1,
    exact: true,
    read: () => value,
    write(_offset, _size, written) {
      // The reset happens when RST_CPU rises.
      const rises = (written & RESET_CPU) !== 0 && (value & RESET_CPU) === 0
      value = written & (SYSTEM_RESET | RESET_CPU | 0x08)
      if (rises) options.control.reset()
    },
  }
  const state: StateSection<ResetControlState> = {
    name: 'reset-control',
    version: 1,
    save: () => ({ value }),
    load(saved, version) {
      requireVersion(state, version)
      value = new StateReader('reset-control', saved).integer('value', 0, 0x0e)
    },
  }
  return {
    id: 'reset-control',
    pio: [range],
    state,
    reset() {
      value = 0
    },
  }
}
