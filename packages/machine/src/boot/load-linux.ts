/**
 * Plans the start of a Linux kernel: what is written where in guest memory, and the vCPU's first state.
 *
 * Three ways in, all without firmware:
 * - `bzimage64`: the bzImage's 64-bit entry (startup_64 of the unpacker, load address + 0x200); the guest unpacks itself;
 * - `vmlinux64`: the kernel proper, segments at their physical addresses, entered at e_entry with the same `boot_params`,
 *   as the unpacker would after it has run;
 * - `pvh`: the ELF note's 32-bit entry with `hvm_start_info`, for kernels other than Linux too.
 *
 * Linux/x86 boot protocol, "64-bit boot protocol"; Xen "x86/HVM direct boot ABI". Pure: it reads the files and makes a
 * plan, and guest memory is written by the caller. Nothing is placed where the memory map has no RAM, and nothing
 * overlaps. The loader's own tables lie below 0x30000 and may be reused by the guest at will.
 */
import { BootError } from './boot-error.ts'
import { BOOT_PARAMS_BYTES, bootParams, E820_TYPE, type E820Entry, pvhStartInfo } from './boot-params.ts'
import { type BzImage, isBzImage, parseBzImage, STARTUP_64_OFFSET } from './bzimage.ts'
import {
  bootGdt,
  type InitialState,
  identityPageTables,
  long64State,
  protected32State,
} from './initial-state.ts'
import { isElf, parseVmlinux, type Vmlinux } from './vmlinux.ts'

/** Where the loader's tables lie in guest-physical memory. The stack has the page below its top. */
export const LOW_MEMORY = {
  gdt: 0x500,
  startInfo: 0x6000,
  bootParams: 0x7000,
  stackTop: 0x9000,
  pageTables: 0x9000,
  commandLine: 0x2_0000,
  end: 0x3_0000,
} as const

/** The way into the kernel. */
export type LinuxEntry = 'bzimage64' | 'vmlinux64' | 'pvh'

/** What is to be started. */
export interface LinuxBootOptions {
  /** A bzImage, or an ELF kernel (`extractVmlinux`'s result, or a vmlinux file). */
  readonly kernel: Uint8Array
  /** With an ELF kernel: the bzImage that it came from, whose set-up header the kernel is to see. */
  readonly bzImage?: Uint8Array
  /** Placed as high as the kernel allows. */
  readonly initrd?: Uint8Array
  /** Without the closing NUL; characters outside ASCII are written as UTF-8. */
  readonly commandLine: string
  /** The guest's memory. RAM entries limit what may be placed where; they must cover 0x500 to 0x30000. */
  readonly memoryMap: readonly E820Entry[]
  /** Guest-physical address of the ACPI root pointer. */
  readonly rsdpAddress?: number
  /** Default: `bzimage64` for a bzImage, `vmlinux64` for an ELF file. */
  readonly entry?: LinuxEntry
}

/** Bytes to be written to guest memory. */
export interface BootSegment {
  /** What it is, for messages and maps. */
  readonly name: string
  readonly guestPhysical: number
  readonly bytes: Uint8Array
  /** Memory that it takes, at least `bytes.length`; the rest must be zero, which fresh RAM is. */
  readonly sizeBytes: number
}

/** The start of a kernel. */
export interface LinuxBootPlan {
  readonly entry: LinuxEntry
  /** Everything that is to be written, without overlaps. */
  readonly segments: readonly BootSegment[]
  /** The vCPU's first state. */
  readonly state: InitialState
  /** The kernel's text about itself; empty where it has none. */
  readonly kernelVersion: string
}

const PAGE_BYTES = 4096
const HIGH_MEMORY = 0x10_0000
const FOUR_GIB = 2 ** 32
/** What a kernel without a set-up header is assumed to take: COMMAND_LINE_SIZE - 1 and initrd_addr_max of every x86-64 Linux. */
const DEFAULT_CMDLINE_BYTES = 2047
const DEFAULT_INITRD_ADDR_MAX = 0x7fff_ffff

/**
 * Makes the plan.
 *
 * @throws BootError the codes of `parseBzImage` and `parseVmlinux`, `boot/no-pvh-entry`, `boot/kernel-does-not-fit`,
 *   `boot/initrd-does-not-fit`, `boot/bad-command-line`, `boot/bad-memory-map`, `boot/malformed`
 */
export function planLinuxBoot(options: LinuxBootOptions): LinuxBootPlan {
  const { kernel, initrd, memoryMap } = options
  const image = isElf(kernel)
    ? options.bzImage && parseBzImage(options.bzImage)
    : parseBzImage(isBzImage(kernel) ? kernel : refuse(kernel))
  const entry = options.entry ?? (isElf(kernel) ? 'vmlinux64' : 'bzimage64')
  if ((entry === 'bzimage64') === isElf(kernel)) {
    throw new BootError(
      'boot/malformed',
      `entry ${entry} needs ${entry === 'bzimage64' ? 'a bzImage' : 'an ELF kernel'}, not ${isElf(kernel) ? 'an ELF file' : 'a bzImage'}`,
    )
  }
  const ram = ramRegions(memoryMap)
  if (!isRam(ram, LOW_MEMORY.gdt, LOW_MEMORY.end)) {
    throw new BootError(
      'boot/bad-memory-map',
      `memory from 0x${LOW_MEMORY.gdt.toString(16)} to 0x${LOW_MEMORY.end.toString(16)} must be RAM`,
    )
  }
  const commandLine = encodeCommandLine(options.commandLine, image?.cmdlineSizeBytes ?? DEFAULT_CMDLINE_BYTES)

  const placed =
    entry === 'bzimage64'
      ? placeBzImage(image as BzImage, ram)
      : placeVmlinux(parseVmlinux(kernel), entry, ram)
  const segments = [...placed.segments]
  const kernelSegments = segments.length
  let initrdPlace: { guestPhysical: number; sizeBytes: number } | undefined
  if (initrd !== undefined && initrd.length > 0) {
    const limit = entry === 'pvh' ? FOUR_GIB : (image?.initrdAddrMax || DEFAULT_INITRD_ADDR_MAX) + 1
    const guestPhysical = placeInitrd(initrd.length, limit, placed, ram)
    initrdPlace = { guestPhysical, sizeBytes: initrd.length }
    segments.push({ name: 'initrd', guestPhysical, bytes: initrd, sizeBytes: initrd.length })
  }
  const described = {
    commandLineAddress: LOW_MEMORY.commandLine,
    initrd: initrdPlace,
    memoryMap,
    rsdpAddress: options.rsdpAddress,
  }
  const low = (name: string, guestPhysical: number, bytes: Uint8Array): void => {
    segments.push({ name, guestPhysical, bytes, sizeBytes: bytes.length })
  }
  low('command line', LOW_MEMORY.commandLine, commandLine)

  let state: InitialState
  if (entry === 'pvh') {
    low('gdt', LOW_MEMORY.gdt, bootGdt('protected32'))
    const startInfo = pvhStartInfo(LOW_MEMORY.startInfo, described)
    if (startInfo.length > BOOT_PARAMS_BYTES) {
      throw new BootError('boot/bad-memory-map', `the memory map has ${memoryMap.length} entries`)
    }
    low('start info', LOW_MEMORY.startInfo, startInfo)
    state = protected32State({ rip: placed.rip, startInfo: LOW_MEMORY.startInfo, gdt: LOW_MEMORY.gdt })
  } else {
    low('gdt', LOW_MEMORY.gdt, bootGdt('long64'))
    low('boot_params', LOW_MEMORY.bootParams, bootParams({ ...described, setupHeader: image?.setupHeader }))
    low('page tables', LOW_MEMORY.pageTables, identityPageTables(LOW_MEMORY.pageTables))
    state = long64State({
      rip: placed.rip,
      rsi: LOW_MEMORY.bootParams,
      rsp: LOW_MEMORY.stackTop,
      pageTables: LOW_MEMORY.pageTables,
      gdt: LOW_MEMORY.gdt,
    })
  }
  refuseOverlap(segments, kernelSegments)
  return { entry, segments, state, kernelVersion: image?.kernelVersion ?? '' }
}

interface Placed {
  readonly segments: readonly BootSegment[]
  readonly rip: number
  /** Memory that the kernel claims before it can read a map: nothing else may lie there. */
  readonly start: number
  readonly end: number
}

function placeBzImage(image: BzImage, ram: readonly Region[]): Placed {
  // Wherever it is loaded, the unpacker puts the kernel proper at the preferred address or above, so this is the lowest
  // memory that does.
  const start = image.prefAddress
  const end = start + Math.max(image.initSizeBytes, image.protectedModeKernel.length)
  if (start < HIGH_MEMORY || start % Math.min(image.alignmentBytes, 0x20_0000) !== 0) {
    throw new BootError('boot/malformed', `the kernel prefers to be loaded at 0x${start.toString(16)}`)
  }
  if (!isRam(ram, start, end)) throw kernelDoesNotFit(start, end, ram)
  const bytes = image.protectedModeKernel
  return {
    segments: [{ name: 'kernel', guestPhysical: start, bytes, sizeBytes: bytes.length }],
    rip: start + STARTUP_64_OFFSET,
    start,
    end,
  }
}

function placeVmlinux(vmlinux: Vmlinux, entry: LinuxEntry, ram: readonly Region[]): Placed {
  const rip = entry === 'pvh' ? vmlinux.pvhEntry : vmlinux.entry
  if (rip === undefined) throw new BootError('boot/no-pvh-entry', 'the ELF kernel has no PVH entry note')
  const { startPhysical: start, endPhysical: end } = vmlinux
  if (end > FOUR_GIB) {
    throw new BootError('boot/malformed', `the ELF kernel ends at 0x${end.toString(16)}, above 4 GiB`)
  }
  for (const segment of vmlinux.segments) {
    const segmentEnd = segment.guestPhysical + segment.memorySizeBytes
    if (!isRam(ram, segment.guestPhysical, segmentEnd))
      throw kernelDoesNotFit(segment.guestPhysical, segmentEnd, ram)
  }
  return {
    segments: vmlinux.segments.map((segment, index) => ({
      name: `kernel segment ${index}`,
      guestPhysical: segment.guestPhysical,
      bytes: segment.bytes,
      sizeBytes: segment.memorySizeBytes,
    })),
    rip,
    start,
    end,
  }
}

/** As high as possible, so that it is out of the way of the kernel and of what it allocates early. */
function placeInitrd(sizeBytes: number, limit: number, kernel: Placed, ram: readonly Region[]): number {
  for (const region of [...ram].reverse()) {
    // A kernel splits a region in the parts above and below it.
    const parts = [
      { from: Math.max(region.start, kernel.end), to: region.end },
      { from: region.start, to: Math.min(region.end, kernel.start) },
    ]
    for (const part of parts) {
      const at = Math.floor((Math.min(part.to, limit) - sizeBytes) / PAGE_BYTES) * PAGE_BYTES
      if (at >= Math.max(part.from, HIGH_MEMORY)) return at
    }
  }
  const total = ram.reduce((sum, region) => sum + region.end - region.start, 0)
  throw new BootError(
    'boot/initrd-does-not-fit',
    `the initrd of ${sizeBytes} bytes does not fit beside the kernel (0x${kernel.start.toString(16)} to 0x${kernel.end.toString(16)}) into ${total} bytes of memory`,
  )
}

interface Region {
  readonly start: number
  end: number
}

/** RAM, sorted, neighbours joined. */
function ramRegions(memoryMap: readonly E820Entry[]): Region[] {
  const regions: Region[] = []
  const sorted = memoryMap.filter((entry) => entry.type === E820_TYPE.ram).sort((a, b) => a.base - b.base)
  for (const { base, sizeBytes } of sorted) {
    const last = regions.at(-1)
    if (last !== undefined && base <= last.end) last.end = Math.max(last.end, base + sizeBytes)
    else regions.push({ start: base, end: base + sizeBytes })
  }
  return regions
}

function isRam(ram: readonly Region[], start: number, end: number): boolean {
  return ram.some((region) => start >= region.start && end <= region.end)
}

function encodeCommandLine(commandLine: string, maxBytes: number): Uint8Array {
  const text = new TextEncoder().encode(commandLine)
  if (text.includes(0)) throw new BootError('boot/bad-command-line', 'the command line holds a NUL')
  const room = Math.min(maxBytes, LOW_MEMORY.end - LOW_MEMORY.commandLine - 1)
  if (text.length > room) {
    throw new BootError(
      'boot/bad-command-line',
      `the command line has ${text.length} bytes; the kernel takes ${room}`,
    )
  }
  const bytes = new Uint8Array(text.length + 1)
  bytes.set(text)
  return bytes
}

/** An ELF kernel may name any address, also that of the loader's tables. */
function refuseOverlap(segments: readonly BootSegment[], kernelSegments: number): void {
  for (const kernel of segments.slice(0, kernelSegments)) {
    for (const other of segments.slice(kernelSegments)) {
      const overlaps =
        kernel.guestPhysical < other.guestPhysical + other.sizeBytes &&
        other.guestPhysical < kernel.guestPhysical + kernel.sizeBytes
      if (overlaps) {
        throw new BootError(
          'boot/malformed',
          `${kernel.name} at 0x${kernel.guestPhysical.toString(16)} overlaps the ${other.name} at 0x${other.guestPhysical.toString(16)}`,
        )
      }
    }
  }
}

function kernelDoesNotFit(start: number, end: number, ram: readonly Region[]): BootError {
  const total = ram.reduce((sum, region) => sum + region.end - region.start, 0)
  return new BootError(
    'boot/kernel-does-not-fit',
    `the kernel needs memory from 0x${start.toString(16)} to 0x${end.toString(16)}; the guest has ${total} bytes of RAM`,
  )
}

function refuse(bytes: Uint8Array): never {
  throw new BootError(
    'boot/not-a-kernel',
    `neither a bzImage nor an ELF file (${bytes.length} bytes): no "HdrS" at offset 0x202, no ELF mark at 0`,
  )
}
