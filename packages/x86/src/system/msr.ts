/**
 * RDMSR and WRMSR (SDM volume 4). One table says which registers the vCPU owns and what each allows; every other one is
 * asked of the driver by an exit (the local APIC's, its base and the TSC deadline among them), which may refuse.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { Segment, SegmentField, State, segmentOffset, Vector } from '../state-layout.ts'
import { bitField, notCanonical } from './bit-field.ts'
import { writeEfer } from './control-registers.ts'
import { CpuidEntry, hasCpuidBit } from './cpuid.ts'
import { timeStamp } from './engine.ts'
import { foreignMsrRead, foreignMsrWrite } from './exit.ts'

const { i32, i64 } = Type

/** Bit numbers of IA32_ARCH_CAPABILITIES (0x10a). */
export const ArchCapability = {
  rdclNo: 0,
  ibrsAll: 1,
  skipL1dfl: 3,
  ssbNo: 4,
  mdsNo: 5,
  pschangeMcNo: 6,
  taaNo: 8,
  sbdrSsdpNo: 13,
  fbsdpNo: 14,
  psdpNo: 15,
  bhiNo: 20,
  pbrsbNo: 24,
  gdsNo: 26,
  rfdsNo: 27,
  itsNo: 62,
} as const
/** Nothing here speculates: the guest is told so, and spends nothing on defences. */
export const ARCH_CAPABILITIES: bigint = Object.values(ArchCapability).reduce(
  (mask, bit) => mask | (1n << BigInt(bit)),
  0n,
)
/** Revision in the upper half of IA32_BIOS_SIGN_ID: high enough that no kernel calls the microcode outdated. */
export const MICROCODE_REVISION = 0xffff_0001n
/** IA32_MISC_ENABLE after reset: fast strings; no branch trace store, no PEBS. */
export const MISC_ENABLE_RESET = 0x1801n
/** IA32_MTRRCAP: eight variable ranges, fixed ranges, write combining. */
export const MTRR_CAPABILITIES = 0x508n
/** IA32_PAT after reset: write-back, write-through, uncached minus, uncached, twice. */
export const PAT_RESET = 0x0007_0406_0007_0406n

/** How one register is read and written. Absent `write`: #GP(0). */
interface MsrRow {
  readonly index: number
  readonly read?: (b: Builder) => Value
  readonly write?: (b: Builder, value: Value) => void
}

const gp = (b: Builder): void => b.raise(Vector.gp, b.const32(0))

type Check = (b: Builder, value: Value) => void
const anything: Check = () => {}
const canonical: Check = (b, value) => b.if(notCanonical(b, value), () => gp(b))
/** #GP(0) for bits outside `mask`. */
const only =
  (mask: bigint): Check =>
  (b, value) => {
    const others = b.i64.and(value, b.const64(~mask))
    b.if(b.i64.ne(others, b.const64(0)), () => gp(b))
  }
/** #GP(0) unless CPUID has the feature. */
const requires =
  (leaf: number, field: number, bitNumber: number, then: Check = anything): Check =>
  (b, value) => {
    b.if(b.i32.eqz(hasCpuidBit(b, leaf, field, bitNumber)), () => gp(b))
    then(b, value)
  }
/** i32: whether a memory type (i64) is one of those in `set`. */
const typeIn = (b: Builder, type: Value, set: number): Value => {
  const shifted = b.i64.shrU(b.const64(set), b.i64.and(type, b.const64(63)))
  return b.i32.and(b.i64.ltU(type, b.const64(64)), b.i32.and(b.i32.wrapI64(shifted), b.const32(1)))
}
/** UC, WC, WT, WP, WB. */
const MTRR_TYPES = 0b111_0011
/** Those and UC-. */
const PAT_TYPES = 0b1111_0011
/** Every byte is a memory type. */
const memoryTypes =
  (set: number): Check =>
  (b, value) => {
    const bytes = Array.from({ length: 8 }, (_, index) => typeIn(b, bitField(b, value, index * 8, 8), set))
    b.if(b.i32.eqz(bytes.reduce((x, y) => b.i32.and(x, y))), () => gp(b))
  }
const lowByteType =
  (mask: bigint): Check =>
  (b, value) => {
    only(mask)(b, value)
    b.if(b.i32.eqz(typeIn(b, bitField(b, value, 0, 8), MTRR_TYPES)), () => gp(b))
  }

/** A register that is a word of the state. */
function word(index: number, offset: number, check: Check = anything): MsrRow {
  return {
    index,
    read: (b) => b.stateLoad(Access.u64, offset),
    write: (b, value) => {
      check(b, value)
      b.stateStore(Access.u64, offset, value)
    },
  }
}

/** A register that reads as a constant. */
function fixed(index: number, value: bigint, write?: (b: Builder, value: Value) => void): MsrRow {
  const row = { index, read: (b: Builder) => b.const64(value) }
  return write ? { ...row, write } : row
}

const gated = (row: MsrRow, check: Check): MsrRow => {
  const { read, write } = row
  return {
    index: row.index,
    ...(read && {
      read: (b: Builder) => {
        check(b, b.const64(0))
        return read(b)
      },
    }),
    ...(write && {
      write: (b: Builder, value: Value) => {
        check(b, value)
        write(b, value)
      },
    }),
  }
}

/** The time stamp counter. */
export function readTsc(b: Builder): Value {
  return b.i64.add(b.call(timeStamp), b.stateLoad(Access.u64, State.tscOffset))
}

/** Moves TSC and TSC_ADJUST by the same amount, as hardware does. */
function moveTsc(b: Builder, delta: Value): void {
  const add = (offset: number): void =>
    b.stateStore(Access.u64, offset, b.i64.add(b.stateLoad(Access.u64, offset), delta))
  add(State.tscOffset)
  add(State.tscAdjust)
}

/** Numbers of the fixed-range MTRRs, in the order of `State.mtrrFixed`. */
export const fixedMtrrs: readonly number[] = [
  0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
]
const PHYSICAL_PAGES = ((1n << 46n) - 1n) & ~0xfffn

const speculation = requires(7, CpuidEntry.edx, 26)

const rows: readonly MsrRow[] = [
  {
    index: 0x10,
    read: readTsc,
    write: (b, value) => moveTsc(b, b.i64.sub(value, readTsc(b))),
  },
  fixed(0x17, 0n),
  {
    index: 0x3b,
    read: (b) => b.stateLoad(Access.u64, State.tscAdjust),
    write: (b, value) => moveTsc(b, b.i64.sub(value, b.stateLoad(Access.u64, State.tscAdjust))),
  },
  gated(word(0x48, State.specCtrl, only(0x7n)), speculation),
  gated({ index: 0x49, write: only(1n) }, speculation),
  fixed(0x8b, MICROCODE_REVISION << 32n, only(0n)),
  fixed(0xfe, MTRR_CAPABILITIES),
  gated(fixed(0x10a, ARCH_CAPABILITIES), requires(7, CpuidEntry.edx, 29)),
  word(0x174, State.sysenterCs, only(0xffff_ffffn)),
  word(0x175, State.sysenterEsp, canonical),
  word(0x176, State.sysenterEip, canonical),
  fixed(0x179, 0n),
  fixed(0x17a, 0n, only(0n)),
  word(0x1a0, State.miscEnable),
  ...Array.from({ length: 8 }, (_, index) => [
    word(0x200 + index * 2, State.mtrrVariable + index * 16, lowByteType(PHYSICAL_PAGES | 0xffn)),
    word(0x201 + index * 2, State.mtrrVariable + index * 16 + 8, only(PHYSICAL_PAGES | 0x800n)),
  ]).flat(),
  ...fixedMtrrs.map((number, index) => word(number, State.mtrrFixed + index * 8, memoryTypes(MTRR_TYPES))),
  word(0x277, State.pat, memoryTypes(PAT_TYPES)),
  word(0x2ff, State.mtrrDefType, lowByteType(0xcffn)),
  {
    index: 0xc000_0080,
    read: (b) => b.stateLoad(Access.u64, State.efer),
    write: (b, value) => {
      b.call(writeEfer, value)
    },
  },
  word(0xc000_0081, State.star),
  word(0xc000_0082, State.lstar, canonical),
  word(0xc000_0083, State.cstar, canonical),
  word(0xc000_0084, State.sfmask, only(0xffff_ffffn)),
  word(0xc000_0100, segmentOffset(Segment.fs, SegmentField.base), canonical),
  word(0xc000_0101, segmentOffset(Segment.gs, SegmentField.base), canonical),
  word(0xc000_0102, State.kernelGsBase, canonical),
  word(0xc000_0103, State.tscAux, only(0xffff_ffffn)),
]

/** Numbers of the registers that the vCPU owns. */
export const ownMsrs: readonly number[] = rows.map((row) => row.index)

/** RDMSR; the CPL has been checked. (index) -> i64 */
export const readMsr: Procedure = procedure(
  'readMsr',
  { parameters: [i32], result: i64, mayFault: true },
  (b, index) => {
    for (const { index: number, read } of rows) {
      b.if(b.i32.eq(index!, b.const32(number)), () => {
        if (read) b.return(read(b))
        else gp(b)
      })
    }
    b.return(b.call(foreignMsrRead, index!))
  },
)

/** WRMSR; the CPL has been checked. (index, value). The body ends with `resync`. */
export const writeMsr: Procedure = procedure(
  'writeMsr',
  { parameters: [i32, i64], mayFault: true },
  (b, index, value) => {
    for (const { index: number, write } of rows) {
      b.if(b.i32.eq(index!, b.const32(number)), () => {
        if (write) {
          write(b, value!)
          b.return()
        } else gp(b)
      })
    }
    b.call(foreignMsrWrite, index!, value!)
    b.return()
  },
)
