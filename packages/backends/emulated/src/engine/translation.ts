/**
 * The software TLB: three tables a vCPU (supervisor, supervisor with SMAP lifted by EFLAGS.AC, user), direct-mapped by
 * linear page. An entry has one tag each for reads, writes and fetches, so the fast path is one comparison: a tag says
 * that this page may be accessed so without anybody's notice.
 *
 * A page whose flag byte is not zero (decoded code, dirty tracking, device) never gets a write tag.
 */
import { HIGH_RAM_BASE, PAGE_FLAGS_OFFSET, PageFlag, RAM_OFFSET } from '@trapframe/memory'
import {
  Access,
  type Builder,
  engine,
  Flag,
  type Procedure,
  procedure,
  Segment,
  SegmentField,
  State,
  segmentOffset,
  system,
  Type,
  type Value,
  WalkFlag,
} from '@trapframe/x86'
import { noticeWrite } from './imports.ts'
import {
  type CounterName,
  counterOffset,
  EngineState,
  JUMP_CACHE_ENTRIES,
  JUMP_CACHE_OFFSET,
  TLB_BYTES,
  TLB_ENTRIES,
  TLB_ENTRY_BYTES,
  TLB_OFFSETS,
  TlbField,
} from './layout.ts'

const { WalkAccess, pageWalk } = system

const { i32, i64 } = Type
const INVALID = -1

export function count(b: Builder, name: CounterName): void {
  const offset = counterOffset(name)
  b.stateStore(Access.u64, offset, b.i64.add(b.stateLoad(Access.u64, offset), b.const64(1)))
}

/** Host address of a guest-physical one, or 0 where there is no RAM. */
export const hostAddress: Procedure = procedure(
  'hostAddress',
  { parameters: [i64], result: i32 },
  (b, physical) => {
    const low = b.stateLoad(Access.u64, EngineState.lowBytes)
    b.if(b.i64.ltU(physical!, low), () =>
      b.return(b.i32.add(b.i32.wrapI64(physical!), b.const32(RAM_OFFSET))),
    )
    const above = b.i64.sub(physical!, b.const64(HIGH_RAM_BASE))
    b.if(b.i64.ltU(above, b.stateLoad(Access.u64, EngineState.highBytes)), () =>
      b.return(b.i32.add(b.i32.wrapI64(b.i64.add(above, low)), b.const32(RAM_OFFSET))),
    )
    b.return(b.const32(0))
  },
)

/** Address of the flag byte of the page at a host address. */
export function pageFlagAddress(b: Builder, host: Value): Value {
  return b.i32.add(
    b.i32.shrU(b.i32.sub(host, b.const32(RAM_OFFSET)), b.const32(12)),
    b.const32(PAGE_FLAGS_OFFSET),
  )
}

/** Address of the TLB entry of a linear address in `table`. */
export function tlbEntry(b: Builder, table: Value, linear: Value): Value {
  return b.i32.add(
    table,
    b.i32.and(
      b.i32.wrapI64(b.i64.shrU(linear, b.const64(7))),
      b.const32((TLB_ENTRIES - 1) * TLB_ENTRY_BYTES),
    ),
  )
}

/** What `translate` answers for a device. Host addresses of RAM are far above. */
export const DEVICE = 1

/**
 * Walks the page tables for one access inside one page and fills the TLB. (linear, WalkAccess.write or .fetch or 0,
 * 1: implicit supervisor access) -> host address, DEVICE (guest-physical address in `physical`), or 0 with a fault pending.
 */
export const translate: Procedure = procedure(
  'translate',
  { parameters: [i64, i32, i32], result: i32, mayFault: true },
  (b, linear, access, supervisor) => {
    count(b, 'tlb-misses')
    const user = b.i32.and(b.i32.eqz(supervisor!), b.i32.eq(b.stateLoad(Access.i32, State.cpl), b.const32(3)))
    const privilege = b.i32.or(b.i32.shl(user, b.const32(2)), b.i32.shl(supervisor!, b.const32(3)))
    const physical = b.call(pageWalk, linear!, b.i32.or(access!, privilege))
    b.stateStore(Access.u64, EngineState.physical, physical)
    const host = b.call(hostAddress, physical)
    b.if(b.i32.eqz(host), () => b.return(b.const32(DEVICE)))
    const flagAddress = pageFlagAddress(b, host)
    const flags = b.local(i64, b.hostLoad(Access.u8, flagAddress))
    b.if(b.i32.wrapI64(b.i64.and(b.get(flags), b.const64(PageFlag.device))), () =>
      b.return(b.const32(DEVICE)),
    )
    const isWrite = b.i32.and(access!, b.const32(WalkAccess.write))
    b.if(isWrite, () => {
      b.if(b.i32.wrapI64(b.i64.and(b.get(flags), b.const64(PageFlag.rom))), () => b.return(b.const32(DEVICE)))
      b.if(b.i32.eqz(b.i64.eqz(b.get(flags))), () => {
        b.call(noticeWrite, b.i32.shrU(b.i32.sub(host, b.const32(RAM_OFFSET)), b.const32(12)))
        b.set(flags, b.hostLoad(Access.u8, flagAddress))
      })
    })
    const table = b.select(
      supervisor!,
      b.stateLoad(Access.i32, EngineState.tlbSupervisor),
      b.stateLoad(Access.i32, EngineState.tlb),
    )
    const entry = tlbEntry(b, table, linear!)
    const page = b.i64.and(linear!, b.const64(-4096))
    // A tag that is there for this very page stays: a read after a fetch keeps the fetch's tag.
    for (const tag of [TlbField.read, TlbField.write, TlbField.execute])
      b.if(b.i64.ne(b.hostLoad(Access.u64, entry, tag), page), () =>
        b.hostStore(Access.u64, entry, b.const64(INVALID), tag),
      )
    const walk = b.stateLoad(Access.i32, State.walkFlags)
    const has = (flag: number): Value => b.i32.ne(b.i32.and(walk, b.const32(flag)), b.const32(0))
    const isFetch = b.i32.and(access!, b.const32(WalkAccess.fetch))
    b.if(b.i32.eqz(isFetch), () => b.hostStore(Access.u64, entry, page, TlbField.read))
    const writable = b.i32.and(b.i32.and(has(WalkFlag.writable), b.i64.eqz(b.get(flags))), b.i32.eqz(isFetch))
    b.hostStore(Access.u64, entry, b.select(writable, page, b.const64(INVALID)), TlbField.write)
    b.if(isFetch, () => b.hostStore(Access.u64, entry, page, TlbField.execute))
    b.hostStore(Access.i32, entry, b.i32.sub(host, b.i32.wrapI64(linear!)), TlbField.addend)
    b.hostStore(Access.i32, entry, b.i32.and(walk, b.const32(WalkFlag.global)), TlbField.flags)
    b.return(host)
  },
)

function forEachEntry(b: Builder, body: (entry: Value) => void): void {
  for (const offset of TLB_OFFSETS) {
    const entry = b.local(i32, b.i32.add(b.stateBase(), b.const32(offset)))
    const end = b.i32.add(b.stateBase(), b.const32(offset + TLB_BYTES))
    b.loop((next) => {
      body(b.get(entry))
      b.set(entry, b.i32.add(b.get(entry), b.const32(TLB_ENTRY_BYTES)))
      b.brIf(b.i32.ne(b.get(entry), end), next)
    })
  }
}

function invalidate(b: Builder, entry: Value): void {
  for (const tag of [TlbField.read, TlbField.write, TlbField.execute])
    b.hostStore(Access.u64, entry, b.const64(INVALID), tag)
}

/** The epoch of the jump cache has come round: keys of its last use may still be there. */
function clearJumps(b: Builder): void {
  b.hostFill(
    b.i32.add(b.stateBase(), b.const32(JUMP_CACHE_OFFSET)),
    b.const32(0xff),
    b.const32(JUMP_CACHE_ENTRIES * 16),
  )
}

/** Starts a new epoch of the jump cache: every key in it becomes wrong. */
export const flushJumps: Procedure = procedure('flushJumps', {}, (b) => {
  const epoch = b.i32.and(
    b.i32.add(b.stateLoad(Access.i32, EngineState.flushEpoch), b.const32(1)),
    b.const32(0x3fff),
  )
  b.stateStore(Access.i32, EngineState.flushEpoch, epoch)
  b.if(b.i32.eqz(epoch), () => clearJumps(b))
  b.call(chooseTables)
})

/** Outside 64-bit mode: notes whether CS is another one than the last time. (mode) */
const noteLegacyCode: Procedure = procedure('noteLegacyCode', { parameters: [i32] }, (b, mode) => {
  const base = b.stateLoad(Access.u64, segmentOffset(Segment.cs, SegmentField.base))
  const limit = b.stateLoad(Access.u32, segmentOffset(Segment.cs, SegmentField.limit))
  const same = [
    b.i64.eq(base, b.stateLoad(Access.u64, EngineState.codeBase)),
    b.i64.eq(limit, b.stateLoad(Access.u64, EngineState.codeLimit)),
    b.i32.eq(mode!, b.stateLoad(Access.i32, EngineState.codeEpochMode)),
  ].reduce((x, y) => b.i32.and(x, y))
  b.if(same, () => b.return())
  const epoch = b.i32.and(
    b.i32.add(b.stateLoad(Access.i32, EngineState.codeEpoch), b.const32(1)),
    b.const32(0xffff),
  )
  b.stateStore(Access.i32, EngineState.codeEpoch, epoch)
  b.stateStore(Access.u64, EngineState.codeBase, base)
  b.stateStore(Access.u64, EngineState.codeLimit, limit)
  b.stateStore(Access.i32, EngineState.codeEpochMode, mode!)
  b.if(b.i32.eqz(epoch), () => clearJumps(b))
})

/** Chooses TLB and jump-cache key by CPL, EFLAGS.AC and the mode. */
export const chooseTables: Procedure = procedure('chooseTables', {}, (b) => {
  const user = b.i32.eq(b.stateLoad(Access.i32, State.cpl), b.const32(3))
  const lifted = b.i32.wrapI64(b.i64.and(b.stateLoad(Access.u64, State.rflags), b.const64(Flag.ac)))
  const supervisor = b.select(lifted, b.const32(TLB_OFFSETS[1]), b.const32(TLB_OFFSETS[0]))
  b.stateStore(
    Access.i32,
    EngineState.tlb,
    b.i32.add(b.stateBase(), b.select(user, b.const32(TLB_OFFSETS[2]), supervisor)),
  )
  b.stateStore(Access.i32, EngineState.tlbSupervisor, b.i32.add(b.stateBase(), b.const32(TLB_OFFSETS[0])))
  const key = b.i32.or(b.i32.shl(b.stateLoad(Access.i32, EngineState.flushEpoch), b.const32(2)), user)
  const attributes = b.stateLoad(Access.u16, segmentOffset(Segment.cs, SegmentField.attributes))
  const longMode = b.i64.and(b.stateLoad(Access.u64, State.efer), b.const64(system.Efer.lma))
  const long = b.i64.and(b.i64.shrU(attributes, b.const64(13)), b.i64.shrU(longMode, b.const64(10)))
  b.if(
    b.i32.wrapI64(b.i64.and(long, b.const64(1))),
    () => {
      b.stateStore(Access.i32, EngineState.codeMode, b.const32(0))
      b.stateStore(Access.u64, EngineState.jumpKey, b.i64.shl(b.i64.extendI32U(key), b.const64(48)))
    },
    () => {
      const big = b.i32.wrapI64(b.i64.and(b.i64.shrU(attributes, b.const64(14)), b.const64(1)))
      const mode = b.select(big, b.const32(32), b.const32(16))
      b.stateStore(Access.i32, EngineState.codeMode, mode)
      b.call(noteLegacyCode, mode)
      const epoch = b.i64.extendI32U(b.stateLoad(Access.i32, EngineState.codeEpoch))
      const legacy = b.i64.extendI32U(b.i32.or(key, b.const32(2)))
      b.stateStore(
        Access.u64,
        EngineState.jumpKey,
        b.i64.or(b.i64.shl(legacy, b.const64(48)), b.i64.shl(epoch, b.const64(32))),
      )
    },
  )
})

const flushTranslations = procedure('flushTranslations', { parameters: [i32] }, (b, all) => {
  count(b, 'tlb-flushes')
  forEachEntry(b, (entry) => {
    b.if(b.i32.or(all!, b.i32.eqz(b.hostLoad(Access.i32, entry, TlbField.flags))), () => invalidate(b, entry))
  })
  b.call(flushJumps)
})

const flushPage = procedure('flushPage', { parameters: [i64] }, (b, linear) => {
  for (const offset of TLB_OFFSETS)
    invalidate(b, tlbEntry(b, b.i32.add(b.stateBase(), b.const32(offset)), linear!))
  b.call(flushJumps)
})

/** Takes the write tags away: of the page at a host address, or of all pages (0). */
export const dropWriteTags: Procedure = procedure('dropWriteTags', { parameters: [i32] }, (b, host) => {
  forEachEntry(b, (entry) => {
    const tag = b.hostLoad(Access.u64, entry, TlbField.write)
    b.if(b.i64.ne(tag, b.const64(INVALID)), () => {
      const at = b.i32.add(b.i32.wrapI64(tag), b.hostLoad(Access.i32, entry, TlbField.addend))
      b.if(b.i32.or(b.i32.eqz(host!), b.i32.eq(at, host!)), () =>
        b.hostStore(Access.u64, entry, b.const64(INVALID), TlbField.write),
      )
    })
  })
})

const physicalLoad = procedure('physicalLoad', { parameters: [i64], result: i64 }, (b, physical) => {
  const host = b.call(hostAddress, physical!)
  b.if(b.i32.eqz(host), () => b.return(b.const64(-1)))
  b.return(b.hostLoad(Access.u64, host))
})

const physicalCompareExchange = procedure(
  'physicalCompareExchange',
  { parameters: [i64, i64, i64], result: i64 },
  (b, physical, expected, replacement) => {
    const host = b.call(hostAddress, physical!)
    b.if(b.i32.eqz(host), () => b.return(expected!))
    b.if(b.i32.eqz(b.i64.eqz(b.hostLoad(Access.u8, pageFlagAddress(b, host)))), () =>
      b.call(noticeWrite, b.i32.shrU(b.i32.sub(host, b.const32(RAM_OFFSET)), b.const32(12))),
    )
    b.return(b.call(atomicCompareExchange, host, b.const32(8), expected!, replacement!))
  },
)

/** Atomic compare-exchange of engine or guest memory, naturally aligned. (host address, bytes, expected, replacement) -> found. Written in WebAssembly. */
export const atomicCompareExchange: Procedure = {
  name: 'atomicCompareExchange',
  parameters: [i32, i32, i64, i64],
  result: i64,
  mayFault: false,
  body: undefined,
}

/** How this engine supplies what the semantics asks of it. */
export const translationSupplies: ReadonlyMap<Procedure, Procedure> = new Map([
  [engine.flushTranslations, flushTranslations],
  [engine.flushPage, flushPage],
  [engine.modeChanged, chooseTables],
  [engine.physicalLoad, physicalLoad],
  [engine.physicalCompareExchange, physicalCompareExchange],
])
