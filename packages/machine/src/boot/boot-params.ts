/**
 * What a loader tells the kernel: `boot_params` (the "zero page") and PVH's `hvm_start_info`.
 *
 * Documentation/arch/x86/zero-page.rst, boot.rst; Xen public/arch-x86/hvm/start_info.h. There is no set-up code that ran
 * before: no video mode, no EDD, no APM; the kernel copes with zeros there.
 */
import { BootError } from './boot-error.ts'
import { SETUP_HEADER_OFFSET } from './bzimage.ts'

/** Kinds of memory, as the firmware's E820 call numbers them. */
export const E820_TYPE = { ram: 1, reserved: 2, acpi: 3, nvs: 4, unusable: 5 } as const

/** One line of the guest's memory map. */
export interface E820Entry {
  /** Guest-physical address. */
  readonly base: number
  readonly sizeBytes: number
  readonly type: (typeof E820_TYPE)[keyof typeof E820_TYPE]
}

/** Where the loader put things. */
export interface BootParamsOptions {
  /** Set-up header of the bzImage, copied as it is; undefined for a kernel that came without one. */
  readonly setupHeader: Uint8Array | undefined
  readonly commandLineAddress: number
  readonly initrd: { readonly guestPhysical: number; readonly sizeBytes: number } | undefined
  /** At most 128 entries. */
  readonly memoryMap: readonly E820Entry[]
  /** ACPI root pointer. */
  readonly rsdpAddress: number | undefined
}

/** Size of `boot_params`. */
export const BOOT_PARAMS_BYTES = 4096

const ACPI_RSDP_ADDR = 0x070
const E820_ENTRIES = 0x1e8
const E820_TABLE = 0x2d0
const E820_ENTRY_BYTES = 20
const E820_MAX_ENTRIES = 128

const BOOT_FLAG = 0x1fe
const HEADER_MAGIC = 0x202
const PROTOCOL_VERSION = 0x206
const TYPE_OF_LOADER = 0x210
const LOADFLAGS = 0x211
const RAMDISK_IMAGE = 0x218
const RAMDISK_SIZE = 0x21c
const CMD_LINE_PTR = 0x228
const KERNEL_ALIGNMENT = 0x230
const CMDLINE_SIZE = 0x238
const SETUP_DATA = 0x250

const LOADED_HIGH = 1 << 0
const KASLR_FLAG = 1 << 1
const QUIET_FLAG = 1 << 5
const CAN_USE_HEAP = 1 << 7
/** "Undefined" loader: numbers are assigned, and none is ours. */
const LOADER_UNDEFINED = 0xff

/**
 * Fills `boot_params`.
 *
 * @throws BootError `boot/bad-memory-map` for more than 128 entries
 */
export function bootParams(options: BootParamsOptions): Uint8Array {
  const { setupHeader, commandLineAddress, initrd, memoryMap, rsdpAddress } = options
  if (memoryMap.length > E820_MAX_ENTRIES) {
    throw new BootError(
      'boot/bad-memory-map',
      `the memory map has ${memoryMap.length} entries; boot_params holds 128`,
    )
  }
  const bytes = new Uint8Array(BOOT_PARAMS_BYTES)
  const view = new DataView(bytes.buffer)
  if (setupHeader === undefined) {
    view.setUint16(BOOT_FLAG, 0xaa55, true)
    view.setUint32(HEADER_MAGIC, 0x53726448, true) // 'HdrS'
    view.setUint16(PROTOCOL_VERSION, 0x020f, true)
    view.setUint32(KERNEL_ALIGNMENT, 0x0100_0000, true)
    view.setUint32(CMDLINE_SIZE, 2047, true)
  } else {
    bytes.set(setupHeader, SETUP_HEADER_OFFSET)
  }
  bytes[TYPE_OF_LOADER] = LOADER_UNDEFINED
  // Nothing ran before: no heap of the set-up code, no address randomisation, and messages are wanted.
  bytes[LOADFLAGS] = (bytes[LOADFLAGS]! | LOADED_HIGH) & ~(KASLR_FLAG | QUIET_FLAG | CAN_USE_HEAP)
  view.setUint32(CMD_LINE_PTR, commandLineAddress, true)
  view.setBigUint64(SETUP_DATA, 0n, true)
  if (initrd !== undefined) {
    view.setUint32(RAMDISK_IMAGE, initrd.guestPhysical, true)
    view.setUint32(RAMDISK_SIZE, initrd.sizeBytes, true)
  }
  if (rsdpAddress !== undefined) view.setBigUint64(ACPI_RSDP_ADDR, BigInt(rsdpAddress), true)
  bytes[E820_ENTRIES] = memoryMap.length
  memoryMap.forEach((entry, index) => {
    const at = E820_TABLE + index * E820_ENTRY_BYTES
    view.setBigUint64(at, BigInt(entry.base), true)
    view.setBigUint64(at + 8, BigInt(entry.sizeBytes), true)
    view.setUint32(at + 16, entry.type, true)
  })
  return bytes
}

const START_INFO_MAGIC = 0x336e_c578
const START_INFO_BYTES = 56
const MODULE_BYTES = 32
const MEMORY_MAP_ENTRY_BYTES = 24

/** `hvm_start_info` with its module list and memory map behind it, to be placed at `base`. */
export function pvhStartInfo(base: number, options: Omit<BootParamsOptions, 'setupHeader'>): Uint8Array {
  const { commandLineAddress, initrd, memoryMap, rsdpAddress } = options
  const modules = START_INFO_BYTES
  const map = modules + MODULE_BYTES
  const bytes = new Uint8Array(map + memoryMap.length * MEMORY_MAP_ENTRY_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, START_INFO_MAGIC, true)
  view.setUint32(4, 1, true) // version: with a memory map
  view.setUint32(12, initrd === undefined ? 0 : 1, true)
  view.setBigUint64(16, initrd === undefined ? 0n : BigInt(base + modules), true)
  view.setBigUint64(24, BigInt(commandLineAddress), true)
  view.setBigUint64(32, BigInt(rsdpAddress ?? 0), true)
  view.setBigUint64(40, BigInt(base + map), true)
  view.setUint32(48, memoryMap.length, true)
  if (initrd !== undefined) {
    view.setBigUint64(modules, BigInt(initrd.guestPhysical), true)
    view.setBigUint64(modules + 8, BigInt(initrd.sizeBytes), true)
  }
  memoryMap.forEach((entry, index) => {
    const at = map + index * MEMORY_MAP_ENTRY_BYTES
    view.setBigUint64(at, BigInt(entry.base), true)
    view.setBigUint64(at + 8, BigInt(entry.sizeBytes), true)
    view.setUint32(at + 16, entry.type, true)
  })
  return bytes
}
