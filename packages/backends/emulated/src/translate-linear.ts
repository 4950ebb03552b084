/** Linear to guest-physical address for a debugger: 4-level page tables read without side effects (SDM volume 3, 5.5). */
import type { VcpuState } from '@trapframe/cpu'
import type { GuestMemory } from '@trapframe/memory'

const PRESENT = 1n
const LARGE = 0x80n
const ADDRESS = 0xf_ffff_ffff_f000n

/** The guest-physical address, or undefined where nothing is mapped. */
export function translateLinear(memory: GuestMemory, state: VcpuState, linear: bigint): number | undefined {
  const address = BigInt.asUintN(64, linear)
  if ((state.cr0 & 0x8000_0000n) === 0n) return Number(address)
  let table = state.cr3 & ADDRESS
  for (let level = 3; level >= 0; level--) {
    const shift = BigInt(12 + 9 * level)
    const at = Number(table + ((address >> shift) & 0x1ffn) * 8n)
    if (!memory.isRam(at, 8)) return undefined
    const entry = memory.readU64(at)
    if ((entry & PRESENT) === 0n) return undefined
    if (level === 0 || (level < 3 && (entry & LARGE) !== 0n)) {
      const mask = (1n << shift) - 1n
      return Number((entry & ADDRESS & ~mask) | (address & mask))
    }
    table = entry & ADDRESS
  }
  return undefined
}
