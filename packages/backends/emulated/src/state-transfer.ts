/**
 * The vCPU state between its layout in engine memory (state-layout.ts of @trapframe/x86) and its neutral saved form
 * (`VcpuState` of @trapframe/cpu), and its values after a reset (SDM volume 3, table 10-1).
 *
 * Loading believes nothing: a value that the architecture does not allow is a `StateError`, and the layout is written
 * only once everything was checked. Counters of the engine (budget, TLBs) are the vCPU's affair.
 *
 * MSRs that the saved form carries: those in `savedMsrs`. FS and GS bases are in the segments; the local APIC's
 * registers and read-only ones are taken without notice when another backend saved them.
 */
import { StateError } from '@trapframe/core'
import type { EventState, FpuState, SegmentState, VcpuState } from '@trapframe/cpu'
import {
  ARITHMETIC_FLAGS,
  Fault,
  Flag,
  readArithmeticFlags,
  Segment,
  SegmentField,
  State,
  segmentOffset,
  system,
  Vector,
  writeArithmeticFlags,
} from '@trapframe/x86'

const { Cr0, Cr4, Efer, STORED_FLAGS } = system

const IA32_TSC = 0x10
const IA32_EFER = 0xc000_0080
/** MSRs that are words of the state, in the order in which they are saved. The time stamp counter comes on top. */
export const savedMsrs: readonly (readonly [index: number, offset: number])[] = [
  [0x3b, State.tscAdjust],
  [0x48, State.specCtrl],
  [0x174, State.sysenterCs],
  [0x175, State.sysenterEsp],
  [0x176, State.sysenterEip],
  [0x1a0, State.miscEnable],
  ...Array.from({ length: 16 }, (_, index) => [0x200 + index, State.mtrrVariable + 8 * index] as const),
  ...system.fixedMtrrs.map((index, position) => [index, State.mtrrFixed + 8 * position] as const),
  [0x277, State.pat],
  [0x2ff, State.mtrrDefType],
  [0xda0, State.xss],
  [IA32_EFER, State.efer],
  [0xc000_0081, State.star],
  [0xc000_0082, State.lstar],
  [0xc000_0083, State.cstar],
  [0xc000_0084, State.sfmask],
  [0xc000_0102, State.kernelGsBase],
  [0xc000_0103, State.tscAux],
]
const msrOffsets = new Map(savedMsrs)
/** Registers that are constant here, or belong to another section of a saved machine. */
const ignoredMsrs = new Set([
  0x17, 0x1b, 0x49, 0x8b, 0xfe, 0x10a, 0x179, 0x17a, 0x6e0, 0xc000_0100, 0xc000_0101,
])
const canonicalMsrs = new Set([0x175, 0x176, 0xc000_0082, 0xc000_0083, 0xc000_0102])

const SEGMENTS = 8
/** Bit 16 of saved attributes: a null selector, which the layout keeps as P = 0. */
const UNUSABLE = 0x1_0000
const PRESENT = 0x80
const ATTRIBUTES = 0xf0ff
const XCR0_KNOWN = 7n
const MXCSR_KNOWN = 0xffff
const U64 = (1n << 64n) - 1n

/** The state alone, as the functions of @trapframe/x86 want it. */
function stateOf(view: DataView, base: number): DataView {
  return new DataView(view.buffer, view.byteOffset + base, State.sizeBytes)
}

/** RFLAGS as a whole. */
export function readRflags(view: DataView, base: number): bigint {
  const state = stateOf(view, base)
  return state.getBigUint64(State.rflags, true) | BigInt(readArithmeticFlags(state))
}

/** Sets RFLAGS as a whole. Reserved bits and RF are left out; bit 1 is set. */
export function writeRflags(view: DataView, base: number, rflags: bigint): void {
  const state = stateOf(view, base)
  writeArithmeticFlags(state, Number(rflags & BigInt(ARITHMETIC_FLAGS)))
  state.setBigUint64(State.rflags, (rflags & BigInt(STORED_FLAGS | Flag.vm)) | 2n, true)
}

/** Two bits for each physical x87 register: 0 valid, 1 zero, 2 special, 3 empty. */
function fullTags(state: DataView): number {
  const abridged = state.getInt32(State.ftw, true)
  let tags = 0
  for (let index = 0; index < 8; index++) {
    const at = State.x87 + 16 * index
    const significand = state.getBigUint64(at, true)
    const exponent = state.getUint16(at + 8, true) & 0x7fff
    let tag = 0
    if (((abridged >> index) & 1) === 0) tag = 3
    else if (exponent === 0 && significand === 0n) tag = 1
    else if (exponent === 0 || exponent === 0x7fff || significand >> 63n === 0n) tag = 2
    tags |= tag << (2 * index)
  }
  return tags
}

/**
 * The state in its saved form.
 * @param view - engine memory
 * @param base - where the vCPU's state starts
 * @param timeStamp - ticks of the time source at this moment, before `tscOffset`
 */
export function saveVcpuState(view: DataView, base: number, timeStamp = 0n): VcpuState {
  const state = stateOf(view, base)
  const u64 = (offset: number): bigint => state.getBigUint64(offset, true)
  const i32 = (offset: number): number => state.getInt32(offset, true)
  const segments: SegmentState[] = []
  for (let segment = 0; segment < SEGMENTS; segment++) {
    const attributes = state.getUint16(segmentOffset(segment, SegmentField.attributes), true)
    segments.push({
      selector: state.getUint16(segmentOffset(segment, SegmentField.selector), true),
      base: u64(segmentOffset(segment, SegmentField.base)),
      limit: state.getUint32(segmentOffset(segment, SegmentField.limit), true),
      attributes: attributes & PRESENT ? attributes : attributes | UNUSABLE,
    })
  }
  const bytes = new Uint8Array(state.buffer, state.byteOffset, state.byteLength)
  const registers = new Uint8Array(80)
  for (let index = 0; index < 8; index++)
    registers.set(bytes.subarray(State.x87 + 16 * index, State.x87 + 16 * index + 10), 10 * index)
  const fpu: FpuState = {
    fcw: i32(State.fcw) & 0xffff,
    fsw: i32(State.fsw) & 0xffff,
    ftw: fullTags(state),
    fop: i32(State.fop) & 0xffff,
    fip: u64(State.fip),
    fdp: u64(State.fdp),
    registers,
    mxcsr: i32(State.mxcsr) >>> 0,
    // A copy, also where the memory is shared.
    ymm: new Uint8Array(bytes.subarray(State.ymm, State.ymm + 512)),
    xcr0: u64(State.xcr0),
  }
  const events: EventState = {
    pendingInterrupt: i32(State.pendingInterrupt),
    nmiPending: i32(State.nmiPending) !== 0,
    nmiBlocked: i32(State.nmiBlocked) !== 0,
    interruptShadow: i32(State.interruptShadow) !== 0,
    halted: i32(State.halted) !== 0,
  }
  return {
    gpr: Array.from({ length: 16 }, (_, index) => u64(State.gpr + 8 * index)),
    rip: u64(State.rip),
    rflags: readRflags(view, base),
    segments,
    gdtr: { base: u64(State.gdtrBase), limit: state.getUint32(State.gdtrLimit, true) },
    idtr: { base: u64(State.idtrBase), limit: state.getUint32(State.idtrLimit, true) },
    cr0: u64(State.cr0),
    cr2: u64(State.cr2),
    cr3: u64(State.cr3),
    cr4: u64(State.cr4),
    cr8: Number(u64(State.cr8)),
    dr: Array.from({ length: 6 }, (_, index) => u64(State.dr + 8 * index)),
    msrs: [
      [IA32_TSC, BigInt.asUintN(64, timeStamp + u64(State.tscOffset))],
      ...savedMsrs.map(([index, offset]) => [index, u64(offset)] as const),
    ],
    fpu,
    events,
    instructionsRetired: Number(
      state.getBigInt64(State.budgetTop, true) - state.getBigInt64(State.budget, true),
    ),
    skippedNs: state.getFloat64(State.skippedNs, true),
  }
}

/** Names what is wrong: the value that was found, and what it should have been. */
function require(holds: boolean, what: string, value: unknown, expected: string): asserts holds {
  if (!holds) {
    const shown = typeof value === 'bigint' ? `0x${value.toString(16)}` : String(value)
    throw new StateError(`vCPU state: ${what} is ${shown}, not ${expected}`)
  }
}
function requireWide(what: string, value: bigint): void {
  require(typeof value === 'bigint' && value >= 0n && value <= U64, what, value, 'an unsigned 64-bit bigint')
}
function requireNumber(what: string, value: number, highest: number, lowest = 0): void {
  require(Number.isInteger(value) &&
    value >= lowest &&
    value <= highest, what, value, `an integer from ${lowest} to ${highest}`)
}
function requireCanonical(what: string, value: bigint, width: number): void {
  requireWide(what, value)
  require(BigInt.asUintN(64, BigInt.asIntN(width, value)) ===
    value, what, value, `a canonical address of ${width} bits`)
}
function requireOnly(what: string, value: bigint, mask: bigint): void {
  requireWide(what, value)
  require((value & ~mask) === 0n, what, value, `within 0x${mask.toString(16)}`)
}
function requireLength(what: string, value: { readonly length: number }, length: number): void {
  require(value.length === length, `length of ${what}`, value.length, String(length))
}

const KNOWN_RFLAGS = BigInt(ARITHMETIC_FLAGS | STORED_FLAGS | Flag.rf | Flag.vm | 2)
const KNOWN_CR0 = BigInt(Object.values(Cr0).reduce((mask, bit) => mask + bit, 0))
const KNOWN_CR4 = BigInt(Object.values(Cr4).reduce((mask, bit) => mask + bit, 0))
const KNOWN_EFER = BigInt(Object.values(Efer).reduce((mask, bit) => mask + bit, 0))
const PHYSICAL = (1n << BigInt(system.PHYSICAL_ADDRESS_BITS)) - 1n

/** @throws StateError when the control registers contradict themselves or each other. Gives EFER. */
function checkControl(state: VcpuState): bigint {
  requireOnly('CR0', state.cr0, KNOWN_CR0)
  requireOnly('CR3', state.cr3, PHYSICAL)
  requireOnly('CR4', state.cr4, KNOWN_CR4)
  requireWide('CR2', state.cr2)
  requireNumber('CR8', state.cr8, 15)
  const efer = state.msrs.find(([index]) => index === IA32_EFER)?.[1] ?? 0n
  requireOnly('EFER', efer, KNOWN_EFER)
  const has = (value: bigint, bit: number): boolean => (value & BigInt(bit)) !== 0n
  const paging = has(state.cr0, Cr0.pg)
  require(!paging || has(state.cr0, Cr0.pe), 'CR0', state.cr0, 'without PG when PE is clear')
  require(!has(state.cr0, Cr0.nw) || has(state.cr0, Cr0.cd), 'CR0', state.cr0, 'with NW when CD is clear')
  const active = has(efer, Efer.lma)
  require(active === (paging && has(efer, Efer.lme)), 'EFER', efer, 'LMA = LME and CR0.PG')
  require(!active || has(state.cr4, Cr4.pae), 'CR4', state.cr4, 'without PAE in long mode')
  return efer
}

/** @throws StateError on a value that the architecture does not allow */
export function checkVcpuState(saved: VcpuState): void {
  const efer = checkControl(saved)
  const long = (efer & BigInt(Efer.lma)) !== 0n
  const width = (saved.cr4 & BigInt(Cr4.la57)) !== 0n ? 57 : 48
  requireLength('gpr', saved.gpr, 16)
  saved.gpr.forEach((value, index) => requireWide(`general register ${index}`, value))
  requireCanonical('RIP', saved.rip, width)
  requireOnly('RFLAGS', saved.rflags, KNOWN_RFLAGS)
  require((saved.rflags & 2n) !== 0n, 'RFLAGS', saved.rflags, 'with bit 1 set')
  require(!long || (saved.rflags & BigInt(Flag.vm)) === 0n, 'RFLAGS', saved.rflags, 'without VM in long mode')
  requireLength('segments', saved.segments, SEGMENTS)
  saved.segments.forEach((segment, index) => {
    requireNumber(`selector of segment ${index}`, segment.selector, 0xffff)
    requireNumber(`limit of segment ${index}`, segment.limit, 0xffff_ffff)
    requireNumber(`attributes of segment ${index}`, segment.attributes, 0x1_ffff)
    if (index >= Segment.fs) requireCanonical(`base of segment ${index}`, segment.base, width)
    else requireOnly(`base of segment ${index}`, segment.base, 0xffff_ffffn)
  })
  for (const [name, table] of [
    ['GDTR', saved.gdtr],
    ['IDTR', saved.idtr],
  ] as const) {
    requireCanonical(`${name} base`, table.base, width)
    requireNumber(`${name} limit`, table.limit, 0xffff)
  }
  requireLength('debug registers', saved.dr, 6)
  saved.dr.forEach((value, index) =>
    requireOnly(`debug register slot ${index}`, value, index < 4 ? U64 : 0xffff_ffffn),
  )

  for (const [index, value] of saved.msrs) {
    requireNumber('MSR number', index, 0xffff_ffff)
    const name = `MSR 0x${index.toString(16)}`
    if (canonicalMsrs.has(index)) requireCanonical(name, value, width)
    else requireWide(name, value)
    const known = index === IA32_TSC || msrOffsets.has(index) || ignoredMsrs.has(index)
    require(known || value === 0n, name, value, 'zero, as a register that is not here')
  }

  const { fpu, events } = saved
  requireLength('x87 registers', fpu.registers, 80)
  requireLength('YMM registers', fpu.ymm, 512)
  for (const field of ['fcw', 'fsw', 'ftw', 'fop'] as const)
    requireNumber(field.toUpperCase(), fpu[field], 0xffff)
  requireNumber('MXCSR', fpu.mxcsr, MXCSR_KNOWN)
  requireWide('FIP', fpu.fip)
  requireWide('FDP', fpu.fdp)
  requireOnly('XCR0', fpu.xcr0, XCR0_KNOWN)
  require((fpu.xcr0 & 1n) !== 0n &&
    (fpu.xcr0 & 6n) !== 4n, 'XCR0', fpu.xcr0, 'with x87, and SSE where AVX is')
  requireNumber('pending interrupt', events.pendingInterrupt, 255, -1)
  requireNumber('count of instructions', saved.instructionsRetired, Number.MAX_SAFE_INTEGER)
  const { skippedNs } = saved
  require(Number.isFinite(skippedNs) && skippedNs >= 0, 'skipped time', skippedNs, 'a number of nanoseconds')
}

/**
 * Replaces the state by a saved one. Instructions retired and skipped time are not touched: time stands on them, and
 * they are the vCPU's affair.
 * @param timeStamp - ticks of the time source at this moment: the time stamp counter goes on from its saved value
 * @throws StateError on a value that the architecture does not allow; nothing has been changed then
 */
export function loadVcpuState(view: DataView, base: number, saved: VcpuState, timeStamp = 0n): void {
  checkVcpuState(saved)
  const { fpu, events } = saved
  const efer = saved.msrs.find(([index]) => index === IA32_EFER)?.[1] ?? 0n
  const state = stateOf(view, base)
  const setU64 = (offset: number, value: bigint): void => state.setBigUint64(offset, value, true)
  const setI32 = (offset: number, value: number): void => state.setInt32(offset, value, true)
  saved.gpr.forEach((value, index) => setU64(State.gpr + 8 * index, value))
  setU64(State.zero, 0n)
  setU64(State.rip, saved.rip)
  writeRflags(view, base, saved.rflags)
  saved.segments.forEach((segment, index) => {
    const { attributes } = segment
    const kept = attributes & UNUSABLE ? attributes & ATTRIBUTES & ~PRESENT : attributes & ATTRIBUTES
    setU64(segmentOffset(index, SegmentField.base), segment.base)
    state.setUint32(segmentOffset(index, SegmentField.limit), segment.limit, true)
    state.setUint16(segmentOffset(index, SegmentField.selector), segment.selector, true)
    state.setUint16(segmentOffset(index, SegmentField.attributes), kept, true)
  })
  // The privilege level is SS.DPL, in real mode 0.
  const privilege = (saved.segments[Segment.ss]!.attributes >> 5) & 3
  setI32(State.cpl, (saved.cr0 & 1n) !== 0n ? privilege : 0)
  setU64(State.gdtrBase, saved.gdtr.base)
  setI32(State.gdtrLimit, saved.gdtr.limit)
  setU64(State.idtrBase, saved.idtr.base)
  setI32(State.idtrLimit, saved.idtr.limit)
  setU64(State.cr0, saved.cr0 | BigInt(Cr0.et))
  setU64(State.cr2, saved.cr2)
  setU64(State.cr3, saved.cr3)
  setU64(State.cr4, saved.cr4)
  setU64(State.cr8, BigInt(saved.cr8))
  const debugFixed = [0n, 0n, 0n, 0n, BigInt(system.DR6_FIXED), BigInt(system.DR7_FIXED)]
  saved.dr.forEach((value, index) => setU64(State.dr + 8 * index, value | debugFixed[index]!))
  setU64(State.efer, efer)
  for (const [index, value] of saved.msrs) {
    const offset = msrOffsets.get(index)
    if (offset !== undefined) setU64(offset, value)
    else if (index === IA32_TSC) setU64(State.tscOffset, BigInt.asUintN(64, value - timeStamp))
  }
  for (const field of ['fcw', 'fsw', 'fop', 'mxcsr'] as const) setI32(State[field], fpu[field])
  let abridged = 0
  for (let index = 0; index < 8; index++) if (((fpu.ftw >> (2 * index)) & 3) !== 3) abridged |= 1 << index
  setI32(State.ftw, abridged)
  setU64(State.fip, fpu.fip)
  setU64(State.fdp, fpu.fdp)
  setU64(State.xcr0, fpu.xcr0)
  const bytes = new Uint8Array(state.buffer, state.byteOffset, state.byteLength)
  for (let index = 0; index < 8; index++)
    bytes.set(fpu.registers.subarray(10 * index, 10 * index + 10), State.x87 + 16 * index)
  bytes.set(fpu.ymm, State.ymm)
  setI32(State.pendingInterrupt, events.pendingInterrupt)
  setI32(State.nmiPending, events.nmiPending ? 1 : 0)
  setI32(State.nmiBlocked, events.nmiBlocked ? 1 : 0)
  setI32(State.interruptShadow, events.interruptShadow ? 1 : 0)
  setI32(State.halted, events.halted ? 1 : 0)
  forgetInstruction(state)
  updateAvailability(state)
}

/** No instruction is under way, none waits for an answer. */
function forgetInstruction(state: DataView): void {
  for (const offset of [State.fault, State.replayCount, State.replayPosition, State.exitFault])
    state.setInt32(offset, Fault.none, true)
}

/** What the procedure `updateFpuAvailability` computes, for a state that TypeScript has just written. */
function updateAvailability(state: DataView): void {
  const cr0 = state.getInt32(State.cr0, true)
  const cr4 = state.getInt32(State.cr4, true)
  const emulated = (cr0 & Cr0.em) !== 0
  const switched = (cr0 & Cr0.ts) !== 0
  const unusable = emulated || (cr4 & Cr4.osfxsr) === 0
  state.setInt32(State.sseUnavailable, unusable ? Vector.ud : switched ? Vector.nm : 0, true)
  state.setInt32(State.fpuUnavailable, emulated || switched ? Vector.nm : 0, true)
}

/** The state after power-up or INIT of a vCPU that starts from the reset vector, in real mode. */
export function resetState(view: DataView, base: number): void {
  const data: SegmentState = { selector: 0, base: 0n, limit: 0xffff, attributes: 0x93 }
  const code: SegmentState = { selector: 0xf000, base: 0xffff_0000n, limit: 0xffff, attributes: 0x9b }
  loadVcpuState(view, base, {
    // RDX tells family, model and stepping.
    gpr: Array.from({ length: 16 }, (_, index) => (index === 2 ? 0x600n : 0n)),
    rip: 0xfff0n,
    rflags: 2n,
    segments: [
      data,
      code,
      data,
      data,
      data,
      data,
      { ...data, attributes: 0x82 },
      { ...data, attributes: 0x8b },
    ],
    gdtr: { base: 0n, limit: 0xffff },
    idtr: { base: 0n, limit: 0xffff },
    cr0: 0x6000_0010n,
    cr2: 0n,
    cr3: 0n,
    cr4: 0n,
    cr8: 0,
    dr: [0n, 0n, 0n, 0n, BigInt(system.DR6_FIXED), BigInt(system.DR7_FIXED)],
    msrs: [[IA32_TSC, 0n], ...savedMsrs.map(([index]) => [index, resetMsrs.get(index) ?? 0n] as const)],
    fpu: {
      fcw: 0x40,
      fsw: 0,
      // Empty registers come from FNINIT only; after a reset they hold +0.
      ftw: 0x5555,
      fop: 0,
      fip: 0n,
      fdp: 0n,
      registers: new Uint8Array(80),
      mxcsr: 0x1f80,
      ymm: new Uint8Array(512),
      xcr0: 1n,
    },
    events: {
      pendingInterrupt: -1,
      nmiPending: false,
      nmiBlocked: false,
      interruptShadow: false,
      halted: false,
    },
    instructionsRetired: 0,
    skippedNs: 0,
  })
}

const resetMsrs = new Map<number, bigint>([
  [0x1a0, system.MISC_ENABLE_RESET],
  [0x277, system.PAT_RESET],
])
