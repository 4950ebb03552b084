/**
 * From a linear instruction address to decoded records: TLB (fetch tag), then the block table by host address, then the
 * decoder. What is decoded belongs to a physical page, so context switches and aliases keep it.
 */
import {
  Access,
  type Builder,
  type Procedure,
  procedure,
  Request,
  Segment,
  SegmentField,
  State,
  segmentOffset,
  system,
  Type,
  type Value,
  Vector,
} from '@trapframe/x86'
import { decodeBlock } from './imports.ts'
import {
  BLOCK_TABLE_ENTRIES,
  BLOCK_TABLE_OFFSET,
  EngineState,
  Handler,
  JUMP_CACHE_ENTRIES,
  JUMP_CACHE_OFFSET,
  LEGACY_TABLE_ENTRIES,
  LEGACY_TABLE_OFFSET,
  LIMITED_END,
  RECORD_BYTES,
  RecordField,
  TlbField,
} from './layout.ts'
import { count, DEVICE, tlbEntry, translate } from './translation.ts'

const { ExitReason, WalkAccess } = system

const { i32, i64 } = Type

/** An instruction has at most 15 bytes: one that starts here or later may cross into the next page. */
const CROSSING_START = 4096 - 15

/** Host address of the code at `rip`, or 0 with a fault pending. Fetching from a device ends the run. */
export const translateFetch: Procedure = procedure(
  'translateFetch',
  { parameters: [i64], result: i32, mayFault: true },
  (b, rip) => {
    const entry = tlbEntry(b, b.stateLoad(Access.i32, EngineState.tlb), rip!)
    b.if(b.i64.eq(b.hostLoad(Access.u64, entry, TlbField.execute), b.i64.and(rip!, b.const64(-4096))), () =>
      b.return(b.i32.add(b.i32.wrapI64(rip!), b.hostLoad(Access.i32, entry, TlbField.addend))),
    )
    const host = b.call(translate, rip!, b.const32(WalkAccess.fetch), b.const32(0))
    b.if(b.i32.eq(host, b.const32(DEVICE)), () => {
      b.stateStore(Access.u64, State.exitAddress, b.stateLoad(Access.u64, EngineState.physical))
      b.exit(ExitReason.unsupported)
    })
    b.return(host)
  },
)

/** Decodes at `host`, asking for the next page's address where the first instruction needs it. */
function decode(b: Builder, linear: Value, host: Value, limit: Value): Value {
  const next = b.local(i32, b.const32(0))
  const following = b.i64.add(b.i64.and(linear, b.const64(-4096)), b.const64(4096))
  const legacy = b.stateLoad(Access.i32, EngineState.codeMode)
  const nextPage = b.i64.and(following, b.select(legacy, b.const64(0xffff_ffff), b.const64(-1)))
  b.if(b.i32.geU(b.i32.and(host, b.const32(0xfff)), b.const32(CROSSING_START)), () => {
    const cr2 = b.stateLoad(Access.u64, State.cr2)
    b.attempt(() => b.set(next, b.call(translateFetch, nextPage)))
    // Only a look ahead: if the instruction ends in this page, nothing has happened.
    b.if(b.takeFault(), () => {
      b.set(next, b.const32(0))
      b.stateStore(Access.u64, State.cr2, cr2)
    })
  })
  const record = b.local(i32, b.call(decodeBlock, host, b.get(next), limit))
  b.if(b.i32.eqz(b.get(record)), () =>
    b.set(record, b.call(decodeBlock, host, b.call(translateFetch, nextPage), limit)),
  )
  return b.get(record)
}

/** First record of the block at `rip`, with `State.ripPage` set; 0 with a fault pending. (rip) */
export const lookup: Procedure = procedure(
  'lookup',
  { parameters: [i64], result: i32, mayFault: true },
  (b, rip) => {
    b.if(b.stateLoad(Access.i32, EngineState.codeMode), () =>
      b.return(b.call(lookupLegacy, rip!, b.const32(0))),
    )
    const host = b.call(translateFetch, rip!)
    b.stateStore(Access.u64, State.ripPage, b.i64.and(rip!, b.const64(-4096)))
    const slot = blockSlot(b, host)
    b.if(b.i32.eq(b.hostLoad(Access.i32, slot), host), () => b.return(b.hostLoad(Access.i32, slot, 4)))
    b.return(decode(b, rip!, host, b.const32(0)))
  },
)

/** As `lookup`, for a block of at most `limit` instructions, which is not kept. (rip, limit) */
export const lookupLimited: Procedure = procedure(
  'lookupLimited',
  { parameters: [i64, i32], result: i32, mayFault: true },
  (b, rip, limit) => {
    b.if(b.stateLoad(Access.i32, EngineState.codeMode), () => b.return(b.call(lookupLegacy, rip!, limit!)))
    const host = b.call(translateFetch, rip!)
    b.stateStore(Access.u64, State.ripPage, b.i64.and(rip!, b.const64(-4096)))
    b.return(decode(b, rip!, host, limit!))
  },
)

/**
 * Both of these for code of 32 and 16 bits. (EIP, most instructions or 0) -> record. `State.ripPage` is EIP less the
 * offset in the page, so that EIP of a record is ripPage + start whatever the base of CS.
 *
 * A page that lies in CS with all its instructions needs no look at the limit any more. Elsewhere, and where EIP wraps
 * inside the page, instructions are executed one by one.
 */
const lookupLegacy: Procedure = procedure(
  'lookupLegacy',
  { parameters: [i64, i32], result: i32, mayFault: true },
  (b, rip, limit) => {
    const eip = b.i64.and(rip!, b.const64(0xffff_ffff))
    b.stateStore(Access.u64, State.rip, eip)
    const base = b.stateLoad(Access.u64, segmentOffset(Segment.cs, SegmentField.base))
    const last = b.stateLoad(Access.u32, segmentOffset(Segment.cs, SegmentField.limit))
    b.if(b.i64.gtU(eip, last), () => b.raise(Vector.gp, b.const32(0)))
    const linear = b.i64.and(b.i64.add(base, eip), b.const64(0xffff_ffff))
    const host = b.call(translateFetch, linear)
    const page = b.i64.sub(eip, b.i64.and(linear, b.const64(0xfff)))
    b.stateStore(Access.u64, State.ripPage, page)
    const top = b.i64.add(page, b.const64(4096 + 14))
    const covered = b.i32.and(b.i64.leU(top, last), b.i64.geS(page, b.const64(0)))
    b.if(b.i32.and(covered, b.i32.eqz(limit!)), () => {
      const slot = legacySlot(b, host)
      const known = b.i32.and(
        b.i32.eq(b.hostLoad(Access.i32, slot), host),
        b.i32.eq(b.hostLoad(Access.i32, slot, 4), b.stateLoad(Access.i32, EngineState.codeMode)),
      )
      b.if(known, () => b.return(b.hostLoad(Access.i32, slot, 8)))
      b.return(decode(b, linear, host, b.const32(0)))
    })
    b.if(covered, () => b.return(decode(b, linear, host, limit!)))
    const record = decode(b, linear, host, b.const32(1))
    // So that a branch is followed by a look at the limit again.
    b.stateStore(
      Access.i32,
      State.request,
      b.i32.or(b.stateLoad(Access.i32, State.request), b.const32(Request.event)),
    )
    const guarded = b.i64.eq(b.hostLoad(Access.u16, record, RecordField.handler), b.const64(Handler.guard))
    const instruction = b.i32.add(record, b.select(guarded, b.const32(RECORD_BYTES), b.const32(0)))
    const end = b.i64.add(eip, b.hostLoad(Access.u8, instruction, RecordField.length))
    b.if(b.i64.gtU(end, b.i64.add(last, b.const64(1))), () => b.raise(Vector.gp, b.const32(0)))
    b.return(record)
  },
)

/** Slot of a host address in the table of legacy code. */
function legacySlot(b: Builder, host: Value): Value {
  const mixed = b.i32.xor(host, b.i32.mul(b.i32.shrU(host, b.const32(12)), b.const32(BLOCK_TABLE_MIX)))
  return b.i32.add(
    b.i32.shl(b.i32.and(mixed, b.const32(LEGACY_TABLE_ENTRIES - 1)), b.const32(4)),
    b.const32(LEGACY_TABLE_OFFSET),
  )
}

/** The same slot, for the TypeScript side. */
export function legacyTableSlot(host: number): number {
  return (
    (((host ^ Math.imul(host >>> 12, BLOCK_TABLE_MIX)) & (LEGACY_TABLE_ENTRIES - 1)) << 4) +
    LEGACY_TABLE_OFFSET
  )
}

/** Slot of a host address in the block table: the low bits of the address, with the page number mixed in. */
function blockSlot(b: Builder, host: Value): Value {
  const mixed = b.i32.xor(host, b.i32.mul(b.i32.shrU(host, b.const32(12)), b.const32(BLOCK_TABLE_MIX)))
  return b.i32.add(
    b.i32.shl(b.i32.and(mixed, b.const32(BLOCK_TABLE_ENTRIES - 1)), b.const32(3)),
    b.const32(BLOCK_TABLE_OFFSET),
  )
}

/** Odd, so that pages spread over the table. */
const BLOCK_TABLE_MIX = 0x9e35_79b1 | 0

/** The same slot, for the TypeScript side. */
export function blockTableSlot(host: number): number {
  return (
    (((host ^ Math.imul(host >>> 12, BLOCK_TABLE_MIX)) & (BLOCK_TABLE_ENTRIES - 1)) << 3) + BLOCK_TABLE_OFFSET
  )
}

/** A jump-cache miss: looks the target up and remembers it. (rip) -> record, or 0 with a fault pending and `State.rip` at the target. */
export const jumpSlow: Procedure = procedure(
  'jumpSlow',
  { parameters: [i64], result: i32, mayFault: true },
  (b, rip) => {
    count(b, 'jump-cache-misses')
    b.stateStore(Access.u64, State.rip, rip!)
    const record = b.call(lookup, rip!)
    b.if(b.stateLoad(Access.i32, EngineState.codeMode), () => {
      // The cache takes RIP's page for ripPage; and what was cut to length is gone soon.
      const page = b.i64.eq(b.stateLoad(Access.u64, State.ripPage), b.i64.and(rip!, b.const64(-4096)))
      const keeps = b.i32.and(page, b.i32.geU(record, b.const32(LIMITED_END)))
      b.if(b.i32.eqz(keeps), () => b.return(record))
    })
    const entry = b.i32.add(b.i32.add(b.stateBase(), b.const32(JUMP_CACHE_OFFSET)), jumpIndex(b, rip!))
    b.hostStore(Access.u64, entry, b.i64.xor(rip!, b.stateLoad(Access.u64, EngineState.jumpKey)))
    b.hostStore(Access.i32, entry, record, 8)
    b.return(record)
  },
)

/** Byte offset into the jump cache. */
export function jumpIndex(b: Builder, rip: Value): Value {
  const mixed = b.i32.xor(b.i32.wrapI64(rip), b.i32.wrapI64(b.i64.shrU(rip, b.const64(12))))
  return b.i32.shl(b.i32.and(mixed, b.const32(JUMP_CACHE_ENTRIES - 1)), b.const32(4))
}

/**
 * The guard of a block whose first instruction crosses a page: whether the second page is still where it was.
 * (host address of the second page when it was decoded) -> 1 or 0
 */
export const guard: Procedure = procedure(
  'guard',
  { parameters: [i32], result: i32, mayFault: true },
  (b, expected) => {
    const following = b.i64.add(b.stateLoad(Access.u64, State.ripPage), b.const64(4096))
    const legacy = b.stateLoad(Access.i32, EngineState.codeMode)
    const base = b.stateLoad(Access.u64, segmentOffset(Segment.cs, SegmentField.base))
    const linear = b.i64.and(b.i64.add(base, following), b.const64(0xffff_ffff))
    const host = b.call(translateFetch, b.select(legacy, linear, following))
    b.return(b.i32.eq(host, expected!))
  },
)
