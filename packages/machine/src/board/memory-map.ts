/**
 * The guest-physical memory map of a PC without firmware: where RAM is, what the first megabyte holds, and where the
 * interrupt controllers answer.
 *
 * ```
 * 0           0x9fc00   0xa0000        0xe0000      0x100000          3 GiB at most        4 GiB
 * | RAM       | reserved | (nothing)    | tables     | RAM ...         | hole: IOAPIC, LAPIC | RAM ...
 * ```
 */
import type { GuestMemory } from '@trapframe/memory'
import { E820_TYPE, type E820Entry } from '../boot/boot-params.ts'

/** Fixed addresses of the map. */
export const MemoryMap = {
  /** End of conventional memory; the extended BIOS data area would begin here. */
  conventionalEnd: 0x9_fc00,
  /** ACPI tables, found by the RSDP in the boot parameters or by a search. */
  acpiTables: 0xe_0000,
  /** MP table, found by a search from 0xf0000 on. */
  mpTable: 0xf_0000,
  highMemory: 0x10_0000,
  ioapic: 0xfec0_0000,
  lapic: 0xfee0_0000,
} as const

/** What the guest is told about its memory (E820). */
export function memoryMap(memory: GuestMemory): E820Entry[] {
  const { conventionalEnd, acpiTables, highMemory, ioapic, lapic } = MemoryMap
  const entries: E820Entry[] = [
    { base: 0, sizeBytes: conventionalEnd, type: E820_TYPE.ram },
    { base: conventionalEnd, sizeBytes: 0xa_0000 - conventionalEnd, type: E820_TYPE.reserved },
    { base: acpiTables, sizeBytes: highMemory - acpiTables, type: E820_TYPE.reserved },
  ]
  for (const block of memory.blocks) {
    const base = Math.max(block.base, highMemory)
    const sizeBytes = block.base + block.sizeBytes - base
    if (sizeBytes > 0) entries.push({ base, sizeBytes, type: E820_TYPE.ram })
  }
  entries.push({ base: ioapic, sizeBytes: 0x1000, type: E820_TYPE.reserved })
  entries.push({ base: lapic, sizeBytes: 0x1000, type: E820_TYPE.reserved })
  return entries.sort((a, b) => a.base - b.base)
}
