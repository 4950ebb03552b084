/**
 * The bzImage file: real-mode set-up sectors, set-up header, protected-mode kernel with the packed kernel proper.
 *
 * Linux/x86 boot protocol, Documentation/arch/x86/boot.rst, versions 2.12 (first with the 64-bit entry) and later.
 * Offsets in this file are offsets in the image, which for the set-up header are also those in `boot_params`.
 * The real-mode and 32-bit entries are not described: nothing here uses them.
 */
import { BootError } from './boot-error.ts'

/** Where the set-up header begins, in the file and in `boot_params`. */
export const SETUP_HEADER_OFFSET = 0x1f1
/** The 64-bit entry point lies this far into the protected-mode kernel. */
export const STARTUP_64_OFFSET = 0x200

const BOOT_FLAG = 0x1fe
const JUMP_LENGTH = 0x201
const MAGIC = 0x202
const VERSION = 0x206
const KERNEL_VERSION = 0x20e
const LOADFLAGS = 0x211
const INITRD_ADDR_MAX = 0x22c
const KERNEL_ALIGNMENT = 0x230
const RELOCATABLE = 0x234
const XLOADFLAGS = 0x236
const CMDLINE_SIZE = 0x238
const PAYLOAD_OFFSET = 0x248
const PAYLOAD_LENGTH = 0x24c
const PREF_ADDRESS = 0x258
const INIT_SIZE = 0x260
const HEADER_END_2_12 = 0x264
/** In `boot_params` other fields begin here. */
const HEADER_ROOM_END = 0x290

const HDRS = 0x53726448 // 'HdrS'
const SECTOR_BYTES = 512
const LOADED_HIGH = 1 << 0
const XLF_KERNEL_64 = 1 << 0

/** What the set-up header of a 64-bit bzImage says. */
export interface BzImage {
  /** The whole file. */
  readonly bytes: Uint8Array
  /** Boot protocol version, major in the high byte: 0x020f is 2.15. */
  readonly protocolVersion: number
  /** The text that the kernel carries about itself ("6.1.0-… (builder) …"); empty where there is none. */
  readonly kernelVersion: string
  /** Bytes from 0x1f1 to the header's end, to be copied to the same offset of `boot_params`. */
  readonly setupHeader: Uint8Array
  /** The protected-mode kernel: everything behind the set-up sectors. */
  readonly protectedModeKernel: Uint8Array
  /** The packed kernel proper: compressed ELF, the last 4 bytes being its unpacked size. Empty where the header names none. */
  readonly payload: Uint8Array
  /** Where the kernel prefers to be loaded (guest-physical). */
  readonly prefAddress: number
  /** Contiguous memory, from the load address on, that the kernel needs before it can read a memory map. */
  readonly initSizeBytes: number
  /** Load addresses must be multiples of this. */
  readonly alignmentBytes: number
  /** Whether it runs at other addresses than `prefAddress`. */
  readonly relocatable: boolean
  /** Longest command line, without the closing NUL. */
  readonly cmdlineSizeBytes: number
  /** Highest address that a byte of the initrd may have. */
  readonly initrdAddrMax: number
}

/** Whether the bytes carry the marks of a bzImage (the header may still be unusable). */
export function isBzImage(bytes: Uint8Array): boolean {
  if (bytes.length < MAGIC + 4) return false
  const view = viewOf(bytes)
  return view.getUint16(BOOT_FLAG, true) === 0xaa55 && view.getUint32(MAGIC, true) === HDRS
}

/**
 * Reads the set-up header of a bzImage.
 *
 * @throws BootError `boot/not-a-kernel`, `boot/truncated`, `boot/malformed`, `boot/no-64-bit-entry`
 */
export function parseBzImage(bytes: Uint8Array): BzImage {
  if (!isBzImage(bytes)) {
    throw new BootError(
      'boot/not-a-kernel',
      `not a bzImage: no "HdrS" mark at offset 0x202 of a file of ${bytes.length} bytes`,
    )
  }
  const view = viewOf(bytes)
  if (bytes.length < SECTOR_BYTES * 2) {
    throw new BootError(
      'boot/truncated',
      `the bzImage ends within its set-up sectors, at ${bytes.length} bytes`,
    )
  }
  const protocolVersion = view.getUint16(VERSION, true)
  if (protocolVersion < 0x020c) {
    throw new BootError(
      'boot/no-64-bit-entry',
      `the kernel speaks boot protocol ${protocolText(protocolVersion)}; the 64-bit entry needs 2.12 or later`,
    )
  }
  const setupSectors = bytes[SETUP_HEADER_OFFSET] || 4 // 0 means 4, says the protocol
  const setupSizeBytes = (setupSectors + 1) * SECTOR_BYTES
  const headerEnd = JUMP_LENGTH + 1 + bytes[JUMP_LENGTH]!
  if (headerEnd < HEADER_END_2_12 || headerEnd > HEADER_ROOM_END) {
    throw new BootError('boot/malformed', `the set-up header ends at 0x${headerEnd.toString(16)}`)
  }
  if ((view.getUint16(XLOADFLAGS, true) & XLF_KERNEL_64) === 0) {
    throw new BootError('boot/no-64-bit-entry', 'the kernel has no 64-bit entry (a 32-bit kernel?)')
  }
  if ((view.getUint8(LOADFLAGS) & LOADED_HIGH) === 0) {
    throw new BootError(
      'boot/malformed',
      'the kernel wants to be loaded below 1 MiB and yet has a 64-bit entry',
    )
  }
  // The size counts paragraphs of 16 bytes and is rounded up.
  const kernelSizeBytes = view.getUint32(0x1f4, true) * 16
  if (bytes.length + 15 < setupSizeBytes + kernelSizeBytes || kernelSizeBytes <= STARTUP_64_OFFSET) {
    throw new BootError(
      'boot/truncated',
      `the bzImage has ${bytes.length} bytes, its header announces ${setupSizeBytes + kernelSizeBytes}`,
    )
  }
  // Signatures may follow behind the kernel; they are not loaded.
  const protectedModeKernel = bytes.subarray(setupSizeBytes, setupSizeBytes + kernelSizeBytes)
  const payloadOffset = view.getUint32(PAYLOAD_OFFSET, true)
  const payloadLength = view.getUint32(PAYLOAD_LENGTH, true)
  if (payloadOffset + payloadLength > protectedModeKernel.length) {
    throw new BootError(
      'boot/malformed',
      `the packed kernel (${payloadLength} bytes at ${payloadOffset}) lies outside the image`,
    )
  }
  const alignmentBytes = view.getUint32(KERNEL_ALIGNMENT, true)
  if (alignmentBytes === 0 || (alignmentBytes & (alignmentBytes - 1)) !== 0) {
    throw new BootError('boot/malformed', `kernel_alignment is ${alignmentBytes}, not a power of two`)
  }
  const prefAddressHigh = view.getUint32(PREF_ADDRESS + 4, true)
  if (prefAddressHigh !== 0) {
    throw new BootError('boot/malformed', 'the kernel prefers an address above 4 GiB')
  }
  return {
    bytes,
    protocolVersion,
    kernelVersion: versionText(bytes, view.getUint16(KERNEL_VERSION, true), setupSizeBytes),
    setupHeader: bytes.subarray(SETUP_HEADER_OFFSET, headerEnd),
    protectedModeKernel,
    payload: protectedModeKernel.subarray(payloadOffset, payloadOffset + payloadLength),
    prefAddress: view.getUint32(PREF_ADDRESS, true),
    initSizeBytes: view.getUint32(INIT_SIZE, true),
    alignmentBytes,
    relocatable: bytes[RELOCATABLE] !== 0,
    cmdlineSizeBytes: view.getUint32(CMDLINE_SIZE, true),
    initrdAddrMax: view.getUint32(INITRD_ADDR_MAX, true),
  }
}

function versionText(bytes: Uint8Array, pointer: number, setupSizeBytes: number): string {
  if (pointer === 0) return ''
  let text = ''
  for (let at = pointer + 0x200; at < setupSizeBytes && bytes[at] && text.length < 256; at++) {
    text += String.fromCharCode(bytes[at]!)
  }
  return text
}

function protocolText(version: number): string {
  return `${version >> 8}.${String(version & 0xff).padStart(2, '0')}`
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
