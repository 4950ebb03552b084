/**
 * The kernel proper as an ELF64 file: segments at physical addresses, the 64-bit entry, the PVH entry.
 *
 * System V ABI (ELF64), x86-64 psABI; PVH: Xen's public/elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY. Only program headers are
 * read; sections, symbols and relocations are not. The file is hostile input: every offset is checked.
 */
import { BootError } from './boot-error.ts'

const PT_LOAD = 1
const PT_NOTE = 4
const ET_EXEC = 2
const ET_DYN = 3
const EM_X86_64 = 62
const XEN_ELFNOTE_PHYS32_ENTRY = 18
const EHDR_BYTES = 64
const PHDR_BYTES = 56
const PHYSICAL_LIMIT = 2 ** 52

/** A PT_LOAD segment. */
export interface VmlinuxSegment {
  readonly guestPhysical: number
  /** What the file holds; the rest up to `memorySizeBytes` is zero. */
  readonly bytes: Uint8Array
  /** At least `bytes.length`. */
  readonly memorySizeBytes: number
}

/** An ELF kernel, ready to be placed. */
export interface Vmlinux {
  /** Guest-physical address of the 64-bit entry. */
  readonly entry: number
  /** Guest-physical address of the PVH entry (32-bit protected mode), where the kernel has the note. */
  readonly pvhEntry: number | undefined
  readonly segments: readonly VmlinuxSegment[]
  /** Lowest guest-physical address of a segment. */
  readonly startPhysical: number
  /** First guest-physical address behind the last segment. */
  readonly endPhysical: number
}

/** Whether the bytes carry the mark of an ELF file. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46
}

/**
 * Reads an ELF64 kernel for x86-64. Data behind the ELF file (the relocations in an unpacked bzImage) are ignored.
 *
 * @throws BootError `boot/not-a-kernel`, `boot/truncated`, `boot/elf-32-bit`, `boot/elf-wrong-machine`, `boot/malformed`
 */
export function parseVmlinux(bytes: Uint8Array): Vmlinux {
  if (!isElf(bytes)) throw new BootError('boot/not-a-kernel', 'not an ELF file: no 7f 45 4c 46 at its start')
  if (bytes.length < EHDR_BYTES) {
    throw new BootError('boot/truncated', `the ELF file ends within its header, at ${bytes.length} bytes`)
  }
  if (bytes[4] === 1)
    throw new BootError('boot/elf-32-bit', 'the kernel is a 32-bit ELF file; a 64-bit one is needed')
  if (bytes[4] !== 2 || bytes[5] !== 1) {
    throw new BootError(
      'boot/elf-wrong-machine',
      `ELF class ${bytes[4]}, byte order ${bytes[5]}; 2 and 1 are needed`,
    )
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const machine = view.getUint16(18, true)
  if (machine !== EM_X86_64) {
    throw new BootError(
      'boot/elf-wrong-machine',
      `the ELF file is for machine ${machine}; x86-64 is ${EM_X86_64}`,
    )
  }
  const type = view.getUint16(16, true)
  if (type !== ET_EXEC && type !== ET_DYN) {
    throw new BootError('boot/elf-wrong-machine', `the ELF file has type ${type}; an executable is needed`)
  }
  const headersOffset = fileNumber(view, 32)
  const headerBytes = view.getUint16(54, true)
  const headerCount = view.getUint16(56, true)
  if (headerCount === 0 || headerBytes < PHDR_BYTES) {
    throw new BootError(
      'boot/malformed',
      `the ELF file has ${headerCount} program headers of ${headerBytes} bytes`,
    )
  }
  if (headersOffset + headerCount * headerBytes > bytes.length) {
    throw new BootError(
      'boot/truncated',
      `the ELF file of ${bytes.length} bytes ends before its program headers`,
    )
  }

  const entryVirtual = view.getBigUint64(24, true)
  let entry: number | undefined
  let entryByVirtual: number | undefined
  let pvhEntry: number | undefined
  let startPhysical = PHYSICAL_LIMIT
  let endPhysical = 0
  const segments: VmlinuxSegment[] = []
  for (let index = 0; index < headerCount; index++) {
    const at = headersOffset + index * headerBytes
    const segmentType = view.getUint32(at, true)
    if (segmentType !== PT_LOAD && segmentType !== PT_NOTE) continue
    const offset = fileNumber(view, at + 8)
    const fileSizeBytes = fileNumber(view, at + 32)
    if (offset + fileSizeBytes > bytes.length) {
      throw new BootError(
        'boot/truncated',
        `segment ${index} of the ELF file ends at ${offset + fileSizeBytes}, the file at ${bytes.length}`,
      )
    }
    const content = bytes.subarray(offset, offset + fileSizeBytes)
    if (segmentType === PT_NOTE) {
      pvhEntry ??= findPvhEntry(content)
      continue
    }
    const guestPhysical = fileNumber(view, at + 24)
    const memorySizeBytes = fileNumber(view, at + 40)
    if (memorySizeBytes === 0) continue
    if (fileSizeBytes > memorySizeBytes || guestPhysical + memorySizeBytes > PHYSICAL_LIMIT) {
      throw new BootError(
        'boot/malformed',
        `segment ${index} of the ELF file: ${fileSizeBytes} bytes in the file, ${memorySizeBytes} in memory at 0x${guestPhysical.toString(16)}`,
      )
    }
    segments.push({ guestPhysical, bytes: content, memorySizeBytes })
    startPhysical = Math.min(startPhysical, guestPhysical)
    endPhysical = Math.max(endPhysical, guestPhysical + memorySizeBytes)
    // Linux gives the entry as a physical address, most other kernels as a virtual one.
    const fromPhysical = entryVirtual - BigInt(guestPhysical)
    if (fromPhysical >= 0n && fromPhysical < BigInt(memorySizeBytes)) entry = Number(entryVirtual)
    const fromVirtual = entryVirtual - view.getBigUint64(at + 16, true)
    if (fromVirtual >= 0n && fromVirtual < BigInt(memorySizeBytes)) {
      entryByVirtual = guestPhysical + Number(fromVirtual)
    }
  }
  entry ??= entryByVirtual
  if (segments.length === 0) throw new BootError('boot/malformed', 'the ELF file has nothing to load')
  if (entry === undefined) {
    throw new BootError(
      'boot/malformed',
      `the ELF file's entry 0x${entryVirtual.toString(16)} lies in no segment`,
    )
  }
  return { entry, pvhEntry, segments, startPhysical, endPhysical }
}

/** Notes are records of { name size, description size, type, name, description }, each part padded to 4 bytes. */
function findPvhEntry(notes: Uint8Array): number | undefined {
  const view = new DataView(notes.buffer, notes.byteOffset, notes.byteLength)
  let at = 0
  while (at + 12 <= notes.length) {
    const nameBytes = view.getUint32(at, true)
    const descriptionBytes = view.getUint32(at + 4, true)
    const type = view.getUint32(at + 8, true)
    const name = at + 12
    const description = name + Math.ceil(nameBytes / 4) * 4
    const next = description + Math.ceil(descriptionBytes / 4) * 4
    if (next > notes.length) return undefined
    const isXen = nameBytes === 4 && view.getUint32(name, true) === 0x006e6558 // 'Xen\0'
    if (isXen && type === XEN_ELFNOTE_PHYS32_ENTRY && descriptionBytes >= 4)
      return view.getUint32(description, true)
    at = next
  }
  return undefined
}

/** A 64-bit field as a number; beyond 2^52 it cannot be an offset, a size or a physical address. */
function fileNumber(view: DataView, at: number): number {
  const value = view.getBigUint64(at, true)
  if (value >= BigInt(PHYSICAL_LIMIT)) {
    throw new BootError(
      'boot/malformed',
      `the ELF file has 0x${value.toString(16)} at offset 0x${at.toString(16)}`,
    )
  }
  return Number(value)
}
