/**
 * Control and debug registers, descriptor tables, model-specific registers, CPUID, time stamps, caches and TLB.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { Flag, Segment, SegmentField, State, segmentOffset, Vector } from '../state-layout.ts'
import { anyBit, notCanonical } from '../system/bit-field.ts'
import { Cr4 } from '../system/control-bits.ts'
import {
  clearTaskSwitched,
  loadMachineStatus,
  readControl,
  readDebug,
  writeControl,
  writeDebug,
} from '../system/control-registers.ts'
import { cpuid } from '../system/cpuid.ts'
import { currentPrivilege, requireSupervisor, selectorOf } from '../system/descriptor.ts'
import { flushPage, modeChanged } from '../system/engine.ts'
import { usesDescriptors } from '../system/mode.ts'
import { readMsr, readTsc, writeMsr } from '../system/msr.ts'
import { linearOf } from '../system/segmentation.ts'
import { Gpr, readGpr, writeGpr } from './registers.ts'
import { rexW } from './sizes.ts'

const ends: FormOptions = { ends: true }
const gp = (b: Builder): void => b.raise(Vector.gp, b.const32(0))
const cr4Has = (b: Builder, mask: number): Value => anyBit(b, b.stateLoad(Access.u64, State.cr4), mask)

const next = (b: Builder): void => b.resync(b.nextRip())

const movFromControl: Body = (b, o) => o.write(0, b.call(readControl, o.number(1)))
const movToControl: Body = (b, o) => {
  b.call(writeControl, o.number(0), o.read(1))
  next(b)
}
const movFromDebug: Body = (b, o) => o.write(0, b.call(readDebug, o.number(1)))
const movToDebug: Body = (b, o) => {
  b.call(writeDebug, o.number(0), o.read(1))
  next(b)
}
const lmsw: Body = (b, o) => {
  b.call(loadMachineStatus, o.read(0))
  next(b)
}
const clts: Body = (b) => {
  b.call(clearTaskSwitched)
  next(b)
}

/** UMIP: programs may not look at where the kernel's tables are. */
const requireUnprivilegedReads = (b: Builder): void =>
  b.if(b.i32.and(b.i32.ne(currentPrivilege(b), b.const32(0)), cr4Has(b, Cr4.umip)), () => gp(b))

const storeTable =
  (base: number, limit: number): Body =>
  (b, o) => {
    requireUnprivilegedReads(b)
    const address = o.address()
    const bytes = b.mode === 'legacy' ? Access.u32 : Access.u64
    b.guestStore(bytes, b.i64.add(address, b.const64(2)), b.stateLoad(Access.u64, base))
    b.guestStore(Access.u16, address, b.i64.extendI32U(b.stateLoad(Access.i32, limit)))
  }
/** @param bits - of the base: with an operand size of 16 bits outside 64-bit mode 24, else that of the mode */
const loadTable =
  (base: number, limit: number, bits?: 24): Body =>
  (b, o) => {
    requireSupervisor(b)
    const address = o.address()
    const newLimit = b.guestLoad(Access.u16, address)
    const bytes = b.mode === 'legacy' ? Access.u32 : Access.u64
    const whole = b.guestLoad(bytes, b.i64.add(address, b.const64(2)))
    const newBase = bits === 24 ? b.truncate(24, whole) : whole
    if (b.mode !== 'legacy') b.if(notCanonical(b, newBase), () => gp(b))
    b.stateStore(Access.u64, base, newBase)
    b.stateStore(Access.i32, limit, b.i32.wrapI64(newLimit))
  }
const storeWord =
  (value: (b: Builder) => Value): Body =>
  (b, o) => {
    const stored = value(b)
    requireUnprivilegedReads(b)
    o.write(0, stored)
  }
/** A register of any operand size, or a word of memory. */
const wordForms = (mnemonic: string, encoding: string, body: Body): Form[] => [
  form(`${mnemonic} r/m16`, encoding, body),
  form(`${mnemonic} r32/m16`, encoding, body),
  form(`${mnemonic} r64/m16`, `REX.W + ${encoding}`, body),
]
/** SLDT and STR, which real and virtual-8086 mode do not know. */
const selector =
  (segment: number) =>
  (b: Builder): Value => {
    if (b.mode === 'legacy') b.if(b.i32.eqz(usesDescriptors(b)), () => b.raise(Vector.ud))
    return b.i64.extendI32U(selectorOf(b, segment))
  }

/** EDX:EAX, from and to one i64. */
function writeEdxEax(b: Builder, value: Value): void {
  writeGpr(b, Gpr.rax, b.truncate(32, value))
  writeGpr(b, Gpr.rdx, b.i64.shrU(value, b.const64(32)))
}
const ecx = (b: Builder): Value => b.i32.wrapI64(readGpr(b, Gpr.rcx, 32))
const rdmsr: Body = (b) => {
  requireSupervisor(b)
  writeEdxEax(b, b.call(readMsr, ecx(b)))
}
const wrmsr: Body = (b) => {
  requireSupervisor(b)
  const high = b.i64.shl(readGpr(b, Gpr.rdx, 32), b.const64(32))
  b.call(writeMsr, ecx(b), b.i64.or(high, readGpr(b, Gpr.rax, 32)))
  next(b)
}

const requireTimeStamp = (b: Builder): void =>
  b.if(b.i32.and(b.i32.ne(currentPrivilege(b), b.const32(0)), cr4Has(b, Cr4.tsd)), () => gp(b))
const rdtsc: Body = (b) => {
  requireTimeStamp(b)
  writeEdxEax(b, readTsc(b))
}
const tscAux = (b: Builder): Value => b.stateLoad(Access.u64, State.tscAux)
const rdtscp: Body = (b) => {
  requireTimeStamp(b)
  writeEdxEax(b, readTsc(b))
  writeGpr(b, Gpr.rcx, tscAux(b), 32)
}
const rdpid: Body = (b, o) => o.write(0, tscAux(b))
/** There are no counters: every number is one too high. */
const rdpmc: Body = (b) => gp(b)

const supervisorNop: Body = (b) => requireSupervisor(b)
const invlpg: Body = (b, o) => {
  requireSupervisor(b)
  b.call(flushPage, linearOf(b, o.address()))
  next(b)
}

const requireFsGsBase = (b: Builder): void =>
  b.if(b.i32.eqz(cr4Has(b, Cr4.fsgsbase)), () => b.raise(Vector.ud))
const readBase =
  (segment: number): Body =>
  (b, o) => {
    requireFsGsBase(b)
    o.write(0, b.stateLoad(Access.u64, segmentOffset(segment, SegmentField.base)))
  }
const writeBase =
  (segment: number): Body =>
  (b, o) => {
    requireFsGsBase(b)
    const base = o.read(0)
    b.if(notCanonical(b, base), () => gp(b))
    b.stateStore(Access.u64, segmentOffset(segment, SegmentField.base), base)
  }

/** STAC and CLAC are #UD outside CPL 0. */
const setAlignmentCheck =
  (value: boolean): Body =>
  (b) => {
    b.if(currentPrivilege(b), () => b.raise(Vector.ud))
    const flags = b.stateLoad(Access.u64, State.rflags)
    const changed = value ? b.i64.or(flags, b.const64(Flag.ac)) : b.i64.and(flags, b.const64(~Flag.ac))
    b.stateStore(Access.u64, State.rflags, changed)
    b.call(modeChanged)
  }
const undefinedOpcode: Body = (b) => b.raise(Vector.ud)

const fsgsbase: FormOptions = { feature: 'fsgsbase', mode: 'only64' }

export const systemRegisterForms: readonly Form[] = [
  form('MOV r64, CR0-CR7', '0F 20 /r', movFromControl, { mode: 'only64' }),
  form('MOV CR0-CR7, r64', '0F 22 /r', movToControl, { ends: true, mode: 'only64' }),
  form('MOV r64, DR0-DR7', '0F 21 /r', movFromDebug, { mode: 'only64' }),
  form('MOV DR0-DR7, r64', '0F 23 /r', movToDebug, { ends: true, mode: 'only64' }),
  form('MOV r32, CR0-CR7', '0F 20 /r', movFromControl, { mode: 'no64' }),
  form('MOV CR0-CR7, r32', '0F 22 /r', movToControl, { ends: true, mode: 'no64' }),
  form('MOV r32, DR0-DR7', '0F 21 /r', movFromDebug, { mode: 'no64' }),
  form('MOV DR0-DR7, r32', '0F 23 /r', movToDebug, { ends: true, mode: 'no64' }),
  form('CLTS', '0F 06', clts, ends),
  form('LMSW r/m16', '0F 01 /6', lmsw, ends),
  ...wordForms(
    'SMSW',
    '0F 01 /4',
    storeWord((b) => b.stateLoad(Access.u64, State.cr0)),
  ),
  form('SGDT m', '0F 01 /0', storeTable(State.gdtrBase, State.gdtrLimit)),
  form('SIDT m', '0F 01 /1', storeTable(State.idtrBase, State.idtrLimit)),
  form('LGDT m', '0F 01 /2', loadTable(State.gdtrBase, State.gdtrLimit)),
  form('LIDT m', '0F 01 /3', loadTable(State.idtrBase, State.idtrLimit)),
  form('LGDT m', 'o16 0F 01 /2', loadTable(State.gdtrBase, State.gdtrLimit, 24), { mode: 'no64' }),
  form('LIDT m', 'o16 0F 01 /3', loadTable(State.idtrBase, State.idtrLimit, 24), { mode: 'no64' }),
  form('INVLPG m', '0F 01 /7', invlpg, ends),
  ...wordForms('SLDT', '0F 00 /0', storeWord(selector(Segment.ldtr))),
  ...wordForms('STR', '0F 00 /1', storeWord(selector(Segment.tr))),
  form('CPUID', '0F A2', (b) => {
    b.call(cpuid)
  }),
  form('RDMSR', '0F 32', rdmsr),
  form('WRMSR', '0F 30', wrmsr, ends),
  form('RDTSC', '0F 31', rdtsc),
  form('RDTSCP', '0F 01 F9', rdtscp, { feature: 'rdtscp' }),
  form('RDPID r64', 'F3 0F C7 /7', rdpid, { feature: 'rdpid', mode: 'only64' }),
  form('RDPID r32', 'F3 0F C7 /7', rdpid, { feature: 'rdpid', mode: 'no64' }),
  form('RDPMC', '0F 33', rdpmc),
  form('INVD', '0F 08', supervisorNop),
  form('WBINVD', '0F 09', supervisorNop),
  ...([32, 64] as const).flatMap((bits) => [
    form(`RDFSBASE r${bits}`, `F3 ${rexW(bits)}0F AE /0`, readBase(Segment.fs), fsgsbase),
    form(`RDGSBASE r${bits}`, `F3 ${rexW(bits)}0F AE /1`, readBase(Segment.gs), fsgsbase),
    form(`WRFSBASE r${bits}`, `F3 ${rexW(bits)}0F AE /2`, writeBase(Segment.fs), fsgsbase),
    form(`WRGSBASE r${bits}`, `F3 ${rexW(bits)}0F AE /3`, writeBase(Segment.gs), fsgsbase),
  ]),
  form('CLAC', 'NP 0F 01 CA', setAlignmentCheck(false), { feature: 'smap' }),
  form('STAC', 'NP 0F 01 CB', setAlignmentCheck(true), { feature: 'smap' }),
  // Hypercalls of others: not here, so a guest that tries gets #UD.
  form('VMCALL', 'NP 0F 01 C1', undefinedOpcode),
  form('VMMCALL', '0F 01 D9', undefinedOpcode),
]
