import { TrapframeError } from '@trapframe/core'

/** Wrong use of guest memory by the host: an address that is no RAM, an impossible size, too many dirty clients. */
export class MemoryError extends TrapframeError {}

/** Hexadecimal form of an address for messages. */
export function hex(value: number): string {
  return `0x${value.toString(16)}`
}
