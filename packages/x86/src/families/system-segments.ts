/**
 * Segment registers and descriptors: MOV and POP to segment registers, LDS, LES, LSS, LFS, LGS, LLDT, LTR, LAR, LSL,
 * VERR, VERW, ARPL.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Privilege } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { Flag, Segment, SegmentField, State, Vector } from '../state-layout.ts'
import { bit, bitField32, notCanonical } from '../system/bit-field.ts'
import {
  currentPrivilege,
  DescriptorBit,
  descriptorAddress,
  descriptorBase,
  descriptorLimit,
  descriptorPrivilege,
  isCode,
  isNull,
  loadSegment,
  markBusy,
  requireSupervisor,
  selectorIndex,
  storeNullSegment,
  storeSegment,
} from '../system/descriptor.ts'
import { inLongMode, usesDescriptors } from '../system/mode.ts'
import { stackMask } from '../system/stack.ts'
import { afterPop, Gpr, readGpr, top, writeGpr, writeStackPointer } from './registers.ts'
import { accessOf, type Bits, rexW, wordSizes } from './sizes.ts'

const { i32, i64 } = Type

const movToSegment: Body = (b, o) => {
  const segment = o.number(0)
  // CS cannot be loaded so, and there are no segment registers 6 and 7.
  b.if(b.i32.or(b.i32.eq(segment, b.const32(Segment.cs)), b.i32.gtU(segment, b.const32(Segment.gs))), () =>
    b.raise(Vector.ud),
  )
  const selector = b.i32.and(b.i32.wrapI64(o.read(1)), b.const32(0xffff))
  b.call(loadSegment, segment, selector)
  b.if(b.i32.eq(segment, b.const32(Segment.ss)), () => {
    b.stateStore(Access.i32, State.interruptShadow, b.const32(1))
    b.resync(b.nextRip())
  })
}

const popSegment =
  (segment: number, bits: Bits): Body =>
  (b) => {
    const selector = b.i32.and(b.i32.wrapI64(top(b, bits)), b.const32(0xffff))
    const after = afterPop(b, bits / 8)
    // The pointer moves as the old SS says.
    const mask = segment === Segment.ss ? b.call(stackMask) : undefined
    const old = readGpr(b, Gpr.rsp)
    b.call(loadSegment, b.const32(segment), selector)
    if (mask === undefined) {
      writeStackPointer(b, after)
      return
    }
    const kept = b.i64.and(old, b.i64.xor(mask, b.const64(0xffff_ffff)))
    writeGpr(b, Gpr.rsp, b.i64.or(kept, b.i64.and(after, mask)))
    b.stateStore(Access.i32, State.interruptShadow, b.const32(1))
    b.resync(b.nextRip())
  }

const loadFarPointer =
  (segment: number, bits: Bits): Body =>
  (b, o) => {
    const address = o.address()
    const offset = b.guestLoad(accessOf(bits), address)
    const selector = b.guestLoad(Access.u16, b.i64.add(address, b.const64(bits / 8)))
    b.call(loadSegment, b.const32(segment), b.i32.wrapI64(selector))
    o.write(0, offset)
    if (segment === Segment.ss) b.resync(b.nextRip())
  }

/**
 * LLDT and LTR. (segment: ldtr or tr; selector). A TSS must be available and becomes busy; the table's entry has 16
 * bytes in long mode.
 */
const loadSystemSegment: Procedure = procedure(
  'loadSystemSegment',
  { parameters: [i32, i32], mayFault: true },
  (b, segment, selector) => {
    const isTask = b.i32.eq(segment!, b.const32(Segment.tr))
    const error = selectorIndex(b, selector!)
    const gp = (): void => b.raise(Vector.gp, error)
    b.if(isNull(b, selector!), () => {
      b.if(isTask, () => b.raise(Vector.gp, b.const32(0)))
      b.call(storeNullSegment, segment!, selector!, b.const32(0))
      b.return()
    })
    b.if(b.i32.and(selector!, b.const32(4)), gp)
    const long = inLongMode(b)
    const last = b.select(long, b.const32(15), b.const32(7))
    b.if(b.i32.gtU(b.i32.add(error, last), b.stateLoad(Access.i32, State.gdtrLimit)), gp)
    const address = b.call(descriptorAddress, selector!)
    const low = b.guestLoad(Access.u64, address, Privilege.supervisor)
    const high = b.local(i64, b.const64(0))
    b.if(long, () =>
      b.set(high, b.guestLoad(Access.u64, b.i64.add(address, b.const64(8)), Privilege.supervisor)),
    )
    // An available TSS; outside IA-32e mode also one of 16 bits.
    const type = bitField32(b, low, DescriptorBit.accessed, 5)
    const task = b.i32.or(
      b.i32.eq(type, b.const32(9)),
      b.i32.and(b.i32.eqz(long), b.i32.eq(type, b.const32(1))),
    )
    b.if(b.i32.eqz(b.select(isTask, task, b.i32.eq(type, b.const32(2)))), gp)
    b.if(bitField32(b, b.get(high), 40, 5), gp)
    b.if(b.i32.eqz(bit(b, low, DescriptorBit.present)), () => b.raise(Vector.np, error))
    const base = b.i64.or(descriptorBase(b, low), b.i64.shl(b.get(high), b.const64(32)))
    b.if(notCanonical(b, base), gp)
    b.if(isTask, () => markBusy(b, selector!))
    const busy = b.select(isTask, b.const64(1n << BigInt(DescriptorBit.writable)), b.const64(0))
    b.call(storeSegment, segment!, selector!, b.i64.or(low, busy))
    b.stateStore(Access.u64, State.segments + SegmentField.base, base, b.i32.shl(segment!, b.const32(4)))
    b.return()
  },
)
/** Real and virtual-8086 mode do not know these instructions. */
function requireDescriptors(b: Builder): void {
  if (b.mode === 'legacy') b.if(b.i32.eqz(usesDescriptors(b)), () => b.raise(Vector.ud))
}
const loadSystem =
  (segment: number): Body =>
  (b, o) => {
    requireDescriptors(b)
    requireSupervisor(b)
    b.call(loadSystemSegment, b.const32(segment), b.i32.and(b.i32.wrapI64(o.read(0)), b.const32(0xffff)))
  }

/** What LAR, LSL, VERR and VERW ask of a descriptor. */
const Query = { rights: 0, limit: 1, readable: 2, writable: 3 } as const

/** System types that LAR and LSL accept in long mode: LDT, TSS available and busy; LAR a call gate, too. */
const LIMIT_TYPES = (1 << 0x2) | (1 << 0x9) | (1 << 0xb)
const RIGHTS_TYPES = LIMIT_TYPES | (1 << 0xc)
/** Outside it also TSSs of 16 bits; LAR their call gates and task gates. */
const LEGACY_LIMIT_TYPES = LIMIT_TYPES | (1 << 0x1) | (1 << 0x3)
const LEGACY_RIGHTS_TYPES = LEGACY_LIMIT_TYPES | (1 << 0xc) | (1 << 0x4) | (1 << 0x5)

/** The descriptor of a selector that may be looked at for `query`, or 0. (selector, query) -> i64 */
const inspect: Procedure = procedure(
  'inspectDescriptor',
  { parameters: [i32, i32], result: i64, mayFault: true },
  (b, selector, query) => {
    const no = (): void => b.return(b.const64(0))
    b.if(isNull(b, selector!), no)
    const address = b.call(descriptorAddress, selector!)
    b.if(b.i64.eq(address, b.const64(-1)), no)
    const descriptor = b.guestLoad(Access.u64, address, Privilege.supervisor)
    const is = (value: number): Value => b.i32.eq(query!, b.const32(value))
    const verifies = b.i32.geU(query!, b.const32(Query.readable))
    const isSegment = bit(b, descriptor, DescriptorBit.segment)
    const type = bitField32(b, descriptor, DescriptorBit.accessed, 4)
    const types = b.select(
      inLongMode(b),
      b.select(is(Query.rights), b.const32(RIGHTS_TYPES), b.const32(LIMIT_TYPES)),
      b.select(is(Query.rights), b.const32(LEGACY_RIGHTS_TYPES), b.const32(LEGACY_LIMIT_TYPES)),
    )
    const systemFits = b.i32.and(b.i32.and(b.i32.shrU(types, type), b.const32(1)), b.i32.eqz(verifies))
    b.if(b.i32.eqz(b.i32.or(isSegment, systemFits)), no)
    const code = isCode(b, descriptor)
    const second = bit(b, descriptor, DescriptorBit.writable)
    const readable = b.i32.or(b.i32.eqz(code), second)
    const writable = b.i32.and(b.i32.eqz(code), second)
    b.if(b.i32.and(is(Query.readable), b.i32.eqz(readable)), no)
    b.if(b.i32.and(is(Query.writable), b.i32.eqz(writable)), no)
    const dpl = descriptorPrivilege(b, descriptor)
    const visible = b.i32.and(
      b.i32.leU(b.i32.and(selector!, b.const32(3)), dpl),
      b.i32.leU(currentPrivilege(b), dpl),
    )
    const anyLevel = b.i32.and(code, bit(b, descriptor, DescriptorBit.conforming))
    b.if(b.i32.eqz(b.i32.or(visible, anyLevel)), no)
    b.return(descriptor)
  },
)

function inspectOperand(b: Builder, source: Value, query: number): Value {
  requireDescriptors(b)
  const selector = b.i32.and(b.i32.wrapI64(source), b.const32(0xffff))
  return b.call(inspect, selector, b.const32(query))
}
/** ZF tells whether the descriptor may be used. */
function setFound(b: Builder, descriptor: Value): void {
  const found = b.i64.ne(descriptor, b.const64(0))
  b.flagsSet(Flag.zf, b.i32.shl(found, b.const32(6)))
}
const loadRights: Body = (b, o) => {
  const descriptor = inspectOperand(b, o.read(1), Query.rights)
  b.if(b.i64.ne(descriptor, b.const64(0)), () => {
    o.write(0, b.i64.and(b.i64.shrU(descriptor, b.const64(32)), b.const64(0xf0_ff00)))
  })
  setFound(b, descriptor)
}
const loadLimit: Body = (b, o) => {
  const descriptor = inspectOperand(b, o.read(1), Query.limit)
  b.if(b.i64.ne(descriptor, b.const64(0)), () => o.write(0, descriptorLimit(b, descriptor)))
  setFound(b, descriptor)
}
const verify =
  (query: number): Body =>
  (b, o) =>
    setFound(b, inspectOperand(b, o.read(0), query))

/** The first operand's RPL is raised to that of the second. */
const adjustRpl: Body = (b, o) => {
  requireDescriptors(b)
  const least = b.i64.and(o.read(1), b.const64(3))
  const set = b.local(i32, b.const32(0))
  o.modify(
    0,
    (old) => {
      const rpl = b.i64.and(old, b.const64(3))
      return b.select(b.i64.ltU(rpl, least), b.i64.or(b.i64.and(old, b.const64(~3)), least), old)
    },
    (old) => b.set(set, b.i64.ltU(b.i64.and(old, b.const64(3)), least)),
  )
  b.flagsSet(Flag.zf, b.i32.shl(b.get(set), b.const32(6)))
}
const no64: FormOptions = { mode: 'no64' }

export const systemSegmentForms: readonly Form[] = [
  form('MOV Sreg, r/m16', '8E /r', movToSegment, { ends: true }),
  form('POP FS', 'o16 0F A1', popSegment(Segment.fs, 16)),
  form('POP GS', 'o16 0F A9', popSegment(Segment.gs, 16)),
  form('POP FS', '0F A1', popSegment(Segment.fs, 64), { mode: 'only64' }),
  form('POP GS', '0F A9', popSegment(Segment.gs, 64), { mode: 'only64' }),
  form('POP FS', 'o32 0F A1', popSegment(Segment.fs, 32), no64),
  form('POP GS', 'o32 0F A9', popSegment(Segment.gs, 32), no64),
  ...([16, 32] as const).flatMap((bits) => [
    form('POP ES', `o${bits} 07`, popSegment(Segment.es, bits), no64),
    form('POP SS', `o${bits} 17`, popSegment(Segment.ss, bits), { ...no64, ends: true }),
    form('POP DS', `o${bits} 1F`, popSegment(Segment.ds, bits), no64),
    form(`LES r${bits}, m16:${bits}`, 'C4 /r', loadFarPointer(Segment.es, bits), no64),
    form(`LDS r${bits}, m16:${bits}`, 'C5 /r', loadFarPointer(Segment.ds, bits), no64),
  ]),
  form('ARPL r/m16, r16', '63 /r', adjustRpl, no64),
  ...wordSizes.flatMap((bits) => [
    form(`LSS r${bits}, m16:${bits}`, `${rexW(bits)}0F B2 /r`, loadFarPointer(Segment.ss, bits), {
      ends: true,
    }),
    form(`LFS r${bits}, m16:${bits}`, `${rexW(bits)}0F B4 /r`, loadFarPointer(Segment.fs, bits)),
    form(`LGS r${bits}, m16:${bits}`, `${rexW(bits)}0F B5 /r`, loadFarPointer(Segment.gs, bits)),
  ]),
  form('LLDT r/m16', '0F 00 /2', loadSystem(Segment.ldtr)),
  form('LTR r/m16', '0F 00 /3', loadSystem(Segment.tr)),
  form('VERR r/m16', '0F 00 /4', verify(Query.readable)),
  form('VERW r/m16', '0F 00 /5', verify(Query.writable)),
  form('LAR r16, r/m16', '0F 02 /r', loadRights),
  form('LAR r32, r32/m16', '0F 02 /r', loadRights),
  form('LAR r64, r64/m16', 'REX.W + 0F 02 /r', loadRights),
  form('LSL r16, r/m16', '0F 03 /r', loadLimit),
  form('LSL r32, r32/m16', '0F 03 /r', loadLimit),
  form('LSL r64, r64/m16', 'REX.W + 0F 03 /r', loadLimit),
]
