/**
 * Guest addresses as types of their own, so that a host offset can never be passed where a guest address is meant.
 */

/** A guest-physical address in bytes, exact up to 2^52 (the architectural limit). */
export type GuestPhysical = number & { readonly __brand: 'GuestPhysical' }

/** A guest-virtual (linear) address. 64-bit: only the saved form and the control API carry it as a bigint. */
export type GuestVirtual = bigint & { readonly __brand: 'GuestVirtual' }

/** A port of the I/O address space, 0 to 0xffff. */
export type IoPort = number & { readonly __brand: 'IoPort' }

/** Marks a number as a guest-physical address. */
export function guestPhysical(address: number): GuestPhysical {
  return address as GuestPhysical
}
