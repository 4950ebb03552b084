/** Linear to guest-physical address for a debugger: page tables read without side effects (SDM volume 3, 5.3 to 5.5). */
import type { VcpuState } from '@trapframe/cpu'
import type { GuestMemory } from '@trapframe/memory'

const PRESENT = 1n
const LARGE = 0x80n
const ADDRESS = 0xf_ffff_ffff_f000n
const IA32_EFER = 0xc000_0080
const LONG_MODE_ACTIVE = 0x400n
const PAGE_SIZE_EXTENSION = 0x10n
const PHYSICAL_EXTENSION = 0x20n

/** The guest-physical address, or undefined where nothing is mapped. */
export function translateLinear(memory: GuestMemory, state: VcpuState, linear: bigint): number | undefined {
  const address = BigInt.asUintN(64, linear)
  if ((state.cr0 & 0x8000_0000n) === 0n) return Number(address)
  const long = ((state.msrs.find(([index]) => index === IA32_EFER)?.[1] ?? 0n) & LONG_MODE_ACTIVE) !== 0n
  if (!long && (state.cr4 & PHYSICAL_EXTENSION) === 0n) return translateNarrow(memory, state, address)
  // PAE paging has two bits at its top level, and its table may begin at any multiple of 32 bytes.
  let table = state.cr3 & (long ? ADDRESS : 0xffff_ffe0n)
  for (let level = long ? 3 : 2; level >= 0; level--) {
    const shift = BigInt(12 + 9 * level)
    const at = Number(table + ((address >> shift) & 0x1ffn) * 8n)
    if (!memory.isRam(at, 8)) return undefined
    const entry = memory.readU64(at)
    if ((entry & PRESENT) === 0n) return undefined
    if (level === 0 || (level < (long ? 3 : 2) && (entry & LARGE) !== 0n)) {
      const mask = (1n << shift) - 1n
      return Number((entry & ADDRESS & ~mask) | (address & mask))
    }
    table = entry & ADDRESS
  }
  return undefined
}

/** 32-bit paging: two levels of 1,024 entries of 4 bytes, pages of 4 KiB and, with CR4.PSE, 4 MiB. */
function translateNarrow(memory: GuestMemory, state: VcpuState, address: bigint): number | undefined {
  let table = Number(state.cr3 & 0xffff_f000n)
  const linear = Number(address & 0xffff_ffffn)
  for (const shift of [22, 12]) {
    const at = table + ((linear >>> shift) & 0x3ff) * 4
    if (!memory.isRam(at & ~7, 8)) return undefined
    const both = memory.readU64(at & ~7)
    const entry = at & 4 ? both >> 32n : both & 0xffff_ffffn
    if ((entry & PRESENT) === 0n) return undefined
    if (shift === 22 && (entry & LARGE) !== 0n && (state.cr4 & PAGE_SIZE_EXTENSION) !== 0n) {
      const high = (entry & 0x1f_e000n) << 19n
      return Number((entry & 0xffc0_0000n) | high) + (linear & 0x3f_ffff)
    }
    table = Number(entry & 0xffff_f000n)
  }
  return table + (linear & 0xfff)
}
