/** A static ELF64 executable (System V gABI, chapters 4 and 5): header, one PT_LOAD per section, contents. No symbols. */
import type { Section } from './layout.ts'

const HEADER_BYTES = 64
const PROGRAM_HEADER_BYTES = 56
const PAGE_BYTES = 4096
const ET_EXEC = 2
const EM_X86_64 = 62
const PT_LOAD = 1
const PT_GNU_STACK = 0x6474_e551

/** The file. Sections must start at multiples of 4096. */
export function elfFile(sections: readonly Section[], entry: bigint): Uint8Array {
  const offsets: number[] = []
  let offset = HEADER_BYTES + (sections.length + 1) * PROGRAM_HEADER_BYTES
  for (const section of sections) {
    offset = Math.ceil(offset / PAGE_BYTES) * PAGE_BYTES
    offsets.push(offset)
    if (!section.zero) offset += section.bytes.length
  }
  const bytes = new Uint8Array(offset)
  const view = new DataView(bytes.buffer)
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  view.setUint16(16, ET_EXEC, true)
  view.setUint16(18, EM_X86_64, true)
  view.setUint32(20, 1, true)
  view.setBigUint64(24, entry, true)
  view.setBigUint64(32, BigInt(HEADER_BYTES), true)
  view.setUint16(52, HEADER_BYTES, true)
  view.setUint16(54, PROGRAM_HEADER_BYTES, true)
  view.setUint16(56, sections.length + 1, true)
  const programHeader = (index: number, type: number, flags: number, section?: Section): void => {
    const at = HEADER_BYTES + index * PROGRAM_HEADER_BYTES
    view.setUint32(at, type, true)
    view.setUint32(at + 4, flags, true)
    if (!section) return
    const size = BigInt(section.bytes.length)
    view.setBigUint64(at + 8, BigInt(section.zero ? 0 : offsets[index]!), true)
    view.setBigUint64(at + 16, section.address, true)
    view.setBigUint64(at + 24, section.address, true)
    view.setBigUint64(at + 32, section.zero ? 0n : size, true)
    view.setBigUint64(at + 40, size, true)
    view.setBigUint64(at + 48, BigInt(PAGE_BYTES), true)
  }
  sections.forEach((section, index) => {
    const flags = 4 | (section.writable ? 2 : 0) | (section.executable ? 1 : 0)
    programHeader(index, PT_LOAD, flags, section)
    if (!section.zero) bytes.set(section.bytes, offsets[index]!)
  })
  // The stack is not executable.
  programHeader(sections.length, PT_GNU_STACK, 6)
  return bytes
}
