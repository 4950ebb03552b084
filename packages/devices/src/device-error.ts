import { TrapframeError } from '@trapframe/core'

/** Devices that cannot be wired up as asked: ranges that overlap, options out of range. Never caused by a guest. */
export class DeviceError extends TrapframeError {}

/** Hexadecimal form of an address for messages. */
export function hex(value: number): string {
  return `0x${value.toString(16)}`
}
