/**
 * The state that a case starts from and ends with: one record of fixed layout, so that every engine, the native one in
 * its own process included, reads and writes the same bytes. User mode: 64-bit code, 32-bit code with flat segments, or
 * 16-bit code, whose segments of 64 KiB begin at CODE.
 *
 * Memory is seen through regions around the boundaries of a small map of pages:
 *
 *     CODE        one page, readable and executable; INT3 but for the instructions of the case
 *     (nothing)
 *     WINDOW      two pages, readable and writable, then one that is read-only
 *     (nothing)
 *
 * What lies between the regions is zero at the start and not looked at in the end. The map is such that an
 * access can cross from nothing into memory, from page to page, from writable to read-only memory and out.
 */

/** The page of code. */
export const CODE_BASE = 0x1000_0000n
/** First of the three pages of data. */
export const WINDOW_BASE = 0x1000_2000n
/** Between the two writable pages. */
export const WINDOW_MIDDLE = 0x1000_3000n
/** The read-only page. */
export const WINDOW_READ_ONLY = 0x1000_4000n
/** End of the read-only page: nothing follows. */
export const WINDOW_END = 0x1000_5000n
/** Fixed bases of FS and GS. */
export const FS_BASE = 0x1000_2f00n
/** See FS_BASE. */
export const GS_BASE = 0x1000_3080n

/** Where bytes of the record's memory lie. */
export interface MemoryRegion {
  readonly address: bigint
  readonly sizeBytes: number
  /** Offset in `MachineImage.memory`. */
  readonly offset: number
}
/** All of a record's memory. */
export const memoryRegions: readonly MemoryRegion[] = [
  { address: WINDOW_BASE, sizeBytes: 128, offset: 0 },
  { address: WINDOW_MIDDLE - 512n, sizeBytes: 1024, offset: 128 },
  { address: WINDOW_READ_ONLY - 128n, sizeBytes: 256, offset: 1152 },
  { address: WINDOW_END - 128n, sizeBytes: 128, offset: 1408 },
]

const RIP = 0x80
const RFLAGS = 0x88
const VECTOR = 0x90
const ERROR_CODE = 0x94
const FAULT_ADDRESS = 0x98
const SIGNAL = 0xa0
const CODE_LENGTH = 0xa8
const MODE = 0xac
const CS = 0xb0
const SS = 0xb2
const DS = 0xb4
const CODE = 0xc0
const FXSAVE = 0x100
const MEMORY = 0x300
/** Size of a record. */
export const IMAGE_BYTES = 0x900
/** Most bytes of instructions in a record. */
export const MAX_CODE_BYTES: number = FXSAVE - CODE
/** Bytes of memory in a record. */
export const MEMORY_BYTES: number = IMAGE_BYTES - MEMORY

/** Offsets in an FXSAVE image (SDM volume 1, table 10-2). */
export const Fxsave = {
  fcw: 0,
  fsw: 2,
  ftw: 4,
  fop: 6,
  fip: 8,
  fdp: 16,
  mxcsr: 24,
  mxcsrMask: 28,
  st: 32,
  xmm: 160,
} as const

/** Outcome that no exception describes: `vector` of a case that did not end in time, or whose engine gave up. */
export const NoVector = { running: -1, timeout: -2, unsupported: -3 } as const

/** Kind of code. */
export type CodeBits = 64 | 32 | 16
/** Selectors that Linux gives its programs; those of 16-bit code are in an LDT. DS is ES as well. */
const selectors = {
  64: { cs: 0x33, ss: 0x2b, ds: 0 },
  32: { cs: 0x23, ss: 0x2b, ds: 0x2b },
  16: { cs: 0x07, ss: 0x0f, ds: 0x0f },
} as const

/** A start state or an end, as one record of bytes with named fields. */
export class MachineImage {
  /** The record, for other processes. */
  readonly bytes: Uint8Array
  readonly view: DataView

  constructor(bytes?: Uint8Array) {
    this.bytes = bytes ?? new Uint8Array(IMAGE_BYTES)
    if (this.bytes.length !== IMAGE_BYTES)
      throw new RangeError(`a machine image has ${IMAGE_BYTES} bytes, not ${this.bytes.length}`)
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length)
    if (!bytes) this.mode = 64
  }

  /** A copy. */
  clone(): MachineImage {
    return new MachineImage(this.bytes.slice())
  }

  /** General register by number, RAX 0 to R15 15. */
  gpr(index: number): bigint {
    return this.view.getBigUint64(8 * index, true)
  }
  /** Sets a general register; `value` is cut to 64 bits. */
  setGpr(index: number, value: bigint): void {
    this.view.setBigUint64(8 * index, BigInt.asUintN(64, value), true)
  }
  get rip(): bigint {
    return this.view.getBigUint64(RIP, true)
  }
  set rip(value: bigint) {
    this.view.setBigUint64(RIP, value, true)
  }
  get rflags(): number {
    return Number(this.view.getBigUint64(RFLAGS, true) & 0xffff_ffffn)
  }
  set rflags(value: number) {
    this.view.setBigUint64(RFLAGS, BigInt(value >>> 0), true)
  }
  get mode(): CodeBits {
    return this.view.getInt32(MODE, true) as CodeBits
  }
  set mode(value: CodeBits) {
    const { cs, ss, ds } = selectors[value]
    this.view.setInt32(MODE, value, true)
    this.view.setUint16(CS, cs, true)
    this.view.setUint16(SS, ss, true)
    this.view.setUint16(DS, ds, true)
  }
  /** Base of CS, SS, DS and ES. */
  get segmentBase(): bigint {
    return this.mode === 16 ? CODE_BASE : 0n
  }
  get selectors(): { readonly cs: number; readonly ss: number; readonly ds: number } {
    return selectors[this.mode]
  }
  /** Where in the page of code RIP points. */
  get codeOffset(): number {
    return Number(this.rip & 0xfffn)
  }
  /** The exception that ended the case (3, #BP, when it reached its end), or a `NoVector`. */
  get vector(): number {
    return this.view.getInt32(VECTOR, true)
  }
  set vector(value: number) {
    this.view.setInt32(VECTOR, value, true)
  }
  /** Error code of the exception, 0 where it has none. */
  get errorCode(): number {
    return this.view.getInt32(ERROR_CODE, true)
  }
  set errorCode(value: number) {
    this.view.setInt32(ERROR_CODE, value, true)
  }
  /** CR2 after #PF. */
  get faultAddress(): bigint {
    return this.view.getBigUint64(FAULT_ADDRESS, true)
  }
  set faultAddress(value: bigint) {
    this.view.setBigUint64(FAULT_ADDRESS, value, true)
  }
  /** Signal that the native engine got, 0 elsewhere. */
  get signal(): number {
    return this.view.getInt32(SIGNAL, true)
  }
  /** The instructions; they lie at RIP. */
  get code(): Uint8Array {
    return this.bytes.subarray(CODE, CODE + this.view.getInt32(CODE_LENGTH, true))
  }
  set code(value: Uint8Array) {
    if (value.length > MAX_CODE_BYTES)
      throw new RangeError(`${value.length} bytes of code, ${MAX_CODE_BYTES} fit`)
    this.bytes.fill(0xcc, CODE, CODE + MAX_CODE_BYTES)
    this.bytes.set(value, CODE)
    this.view.setInt32(CODE_LENGTH, value.length, true)
  }
  /** x87, MMX and SSE state as FXSAVE64 stores it (512 bytes). */
  get fxsave(): Uint8Array {
    return this.bytes.subarray(FXSAVE, FXSAVE + 512)
  }
  /** The FXSAVE image, for the fields of `Fxsave`. */
  get fxsaveView(): DataView {
    return new DataView(this.bytes.buffer, this.bytes.byteOffset + FXSAVE, 512)
  }
  /** Bytes of the memory regions, one after the other. */
  get memory(): Uint8Array {
    return this.bytes.subarray(MEMORY, MEMORY + MEMORY_BYTES)
  }
}
