/**
 * Guest accesses behind a call: what the inlined TLB lookup does not serve, and all of procedures and rare forms. Misses, accesses that cross a page, devices, and pages
 * that want notice of writes. Values on such ways pass through the scratch bytes of the state.
 */
import {
  Access,
  type Builder,
  engine,
  Privilege,
  type Procedure,
  procedure,
  State,
  system,
  Type,
  type Value,
} from '@trapframe/x86'
import { EngineState, TlbField } from './layout.ts'
import { atomicCompareExchange, count, DEVICE, tlbEntry, translate } from './translation.ts'

const {
  WalkAccess,
  deviceRead,
  deviceWrite,
  isSegmented,
  segmentCoversPage,
  segmentLinear,
  segmentLinearUnchecked,
} = system

const { i32, i64 } = Type

function scratch(b: Builder): Value {
  return b.i32.add(b.stateBase(), b.const32(EngineState.scratch))
}

/** Bytes of the access that lie in its first page; at least `bytes` when it does not cross. */
function bytesToPageEnd(b: Builder, linear: Value): Value {
  return b.i32.sub(b.const32(4096), b.i32.wrapI64(b.i64.and(linear, b.const64(0xfff))))
}

/** Access size `bytes` (i32) as a switch: `body` is emitted for each size that is possible. */
function forSize(b: Builder, bytes: Value, body: (access: Access, size: number) => void): void {
  for (const [access, size] of [
    [Access.u8, 1],
    [Access.u16, 2],
    [Access.u32, 4],
    [Access.u64, 8],
  ] as const)
    b.if(b.i32.eq(bytes, b.const32(size)), () => body(access, size))
}

/** Copies up to `bytes` between the scratch bytes (from `at`) and one page: RAM or device. */
function transferPart(
  b: Builder,
  direction: 'read' | 'write',
  host: Value,
  physical: Value,
  at: Value,
  bytes: Value,
): void {
  b.if(
    b.i32.eq(host, b.const32(DEVICE)),
    () => {
      count(b, 'device-accesses')
      const done = b.local(i32, b.const32(0))
      b.loop((next) => {
        const place = b.i32.add(b.i32.add(scratch(b), at), b.get(done))
        const address = b.i64.add(physical, b.i64.extendI32U(b.get(done)))
        // 16 bytes go as two accesses of 8; a part of a crossing access goes by bytes.
        const left = b.i32.sub(bytes, b.get(done))
        const size = b.local(i32, b.const32(1))
        b.if(b.i32.and(b.i32.eqz(b.i32.and(left, b.const32(7))), b.i32.ne(left, b.const32(0))), () =>
          b.set(size, b.const32(8)),
        )
        b.if(b.i32.eq(bytes, b.const32(4)), () => b.set(size, b.const32(4)))
        b.if(b.i32.eq(bytes, b.const32(2)), () => b.set(size, b.const32(2)))
        if (direction === 'read') {
          const value = b.call(deviceRead, address, b.get(size))
          forSize(b, b.get(size), (access) => b.hostStore(access, place, value))
        } else {
          const value = b.local(i64, b.const64(0))
          forSize(b, b.get(size), (access) => b.set(value, b.hostLoad(access, place)))
          b.call(deviceWrite, address, b.get(size), b.get(value))
        }
        b.set(done, b.i32.add(b.get(done), b.get(size)))
        b.brIf(b.i32.ltU(b.get(done), bytes), next)
      })
    },
    () => {
      const place = b.i32.add(scratch(b), at)
      if (direction === 'read') b.hostCopy(place, host, bytes)
      else b.hostCopy(host, place, bytes)
    },
  )
}

/**
 * An access of `bytes` at `linear` through scratch, in one or two pages. Both pages are translated, in order, before
 * anything is transferred.
 */
function transfer(
  b: Builder,
  direction: 'read' | 'write',
  linear: Value,
  bytes: Value,
  access: Value,
  supervisor: Value,
): void {
  const inFirst = bytesToPageEnd(b, linear)
  const first = b.call(translate, linear, access, supervisor)
  const firstPhysical = b.stateLoad(Access.u64, EngineState.physical)
  b.if(
    b.i32.geU(inFirst, bytes),
    () => transferPart(b, direction, first, firstPhysical, b.const32(0), bytes),
    () => {
      // Linear addresses of 32 bits wrap. The CPU's own accesses have 64 bits in IA-32e mode.
      const legacy = b.i32.and(
        b.stateLoad(Access.i32, EngineState.codeMode),
        b.i32.sub(supervisor, b.const32(1)),
      )
      const mask = b.select(legacy, b.const64(0xffff_ffff), b.const64(-1))
      const next = b.i64.and(b.i64.add(linear, b.i64.extendI32U(inFirst)), mask)
      const second = b.call(translate, next, access, supervisor)
      const secondPhysical = b.stateLoad(Access.u64, EngineState.physical)
      transferPart(b, direction, first, firstPhysical, b.const32(0), inFirst)
      transferPart(b, direction, second, secondPhysical, inFirst, b.i32.sub(bytes, inFirst))
    },
  )
}

/** Goes on with the host address of an access that the TLB allows. */
function onHit(
  b: Builder,
  tag: number,
  linear: Value,
  bytes: Value,
  supervisor: Value,
  then: (host: Value) => void,
): void {
  const table = b.select(
    supervisor,
    b.stateLoad(Access.i32, EngineState.tlbSupervisor),
    b.stateLoad(Access.i32, EngineState.tlb),
  )
  const entry = tlbEntry(b, table, linear)
  const last = b.i64.add(linear, b.i64.extendI32U(b.i32.sub(bytes, b.const32(1))))
  b.if(b.i64.eq(b.hostLoad(Access.u64, entry, tag), b.i64.and(last, b.const64(-4096))), () =>
    then(b.i32.add(b.i32.wrapI64(linear), b.hostLoad(Access.i32, entry, TlbField.addend))),
  )
}

/** Outside 64-bit mode an address that missed may be a segmented one: `then` goes on with the linear one. */
function onSegmented(b: Builder, address: Value, then: () => void): void {
  const legacy = b.i32.ne(b.stateLoad(Access.i32, EngineState.codeMode), b.const32(0))
  b.if(b.i32.and(legacy, isSegmented(b, address)), then)
}

/** Host address to read from, RAM or scratch, or 0 with a fault pending. (linear, bytes, 1: implicit supervisor) */
export const read: Procedure = procedure(
  'read',
  { parameters: [i64, i32, i32], result: i32, mayFault: true },
  (b, linear, bytes, supervisor) => {
    onHit(b, TlbField.read, linear!, bytes!, supervisor!, (host) => b.return(host))
    onSegmented(b, linear!, () =>
      b.return(b.call(read, b.call(segmentLinear, linear!, bytes!, b.const32(0)), bytes!, supervisor!)),
    )
    b.if(b.i32.geU(bytesToPageEnd(b, linear!), bytes!), () => {
      const host = b.call(translate, linear!, b.const32(0), supervisor!)
      b.if(b.i32.ne(host, b.const32(DEVICE)), () => b.return(host))
      transferPart(b, 'read', host, b.stateLoad(Access.u64, EngineState.physical), b.const32(0), bytes!)
      b.return(scratch(b))
    })
    transfer(b, 'read', linear!, bytes!, b.const32(0), supervisor!)
    b.return(scratch(b))
  },
)

/** Writes the scratch bytes. (linear, bytes, 1: implicit supervisor) -> 1, or 0 with a fault pending */
export const write: Procedure = procedure(
  'write',
  { parameters: [i64, i32, i32], result: i32, mayFault: true },
  (b, linear, bytes, supervisor) => {
    onHit(b, TlbField.write, linear!, bytes!, supervisor!, (host) => {
      forSize(b, bytes!, (access) => {
        b.hostStore(access, host, b.hostLoad(access, scratch(b)))
        b.return(b.const32(1))
      })
      b.hostStore(Access.v128, host, b.hostLoad(Access.v128, scratch(b)))
      b.return(b.const32(1))
    })
    onSegmented(b, linear!, () =>
      b.return(b.call(write, b.call(segmentLinear, linear!, bytes!, b.const32(1)), bytes!, supervisor!)),
    )
    transfer(b, 'write', linear!, bytes!, b.const32(WalkAccess.write), supervisor!)
    b.return(b.const32(1))
  },
)

/** Host address to read and write: RAM, or scratch filled with the present bytes. (linear, bytes, 1: implicit supervisor) */
export const reference: Procedure = procedure(
  'reference',
  { parameters: [i64, i32, i32], result: i32, mayFault: true },
  (b, linear, bytes, supervisor) => {
    onHit(b, TlbField.write, linear!, bytes!, supervisor!, (host) => b.return(host))
    onSegmented(b, linear!, () =>
      b.return(b.call(reference, b.call(segmentLinear, linear!, bytes!, b.const32(1)), bytes!, supervisor!)),
    )
    b.if(b.i32.geU(bytesToPageEnd(b, linear!), bytes!), () => {
      const host = b.call(translate, linear!, b.const32(WalkAccess.write), supervisor!)
      b.if(b.i32.ne(host, b.const32(DEVICE)), () => b.return(host))
    })
    transfer(b, 'read', linear!, bytes!, b.const32(WalkAccess.write), supervisor!)
    b.return(scratch(b))
  },
)

/**
 * Compare-exchange at a reference: atomic where it is naturally aligned RAM. Misaligned ones are atomic only towards
 * this thread. (reference, linear, bytes, expected, replacement) -> found
 */
export const compareExchange: Procedure = procedure(
  'compareExchange',
  { parameters: [i32, i64, i32, i64, i64], result: i64, mayFault: true },
  (b, place, linear, bytes, expected, replacement) => {
    const isScratch = b.i32.eq(place!, scratch(b))
    b.if(b.i32.eqz(b.i32.or(isScratch, b.i32.and(place!, b.i32.sub(bytes!, b.const32(1))))), () =>
      b.return(b.call(atomicCompareExchange, place!, bytes!, expected!, replacement!)),
    )
    const found = b.local(i64)
    forSize(b, bytes!, (access) => b.set(found, b.hostLoad(access, place!)))
    b.if(b.i64.eq(b.get(found), expected!), () => {
      forSize(b, bytes!, (access) => b.hostStore(access, place!, replacement!))
      b.if(isScratch, () => b.call(write, linear!, bytes!, b.const32(Privilege.current)))
    })
    b.return(b.get(found))
  },
)

/** Host address of plain RAM, or 0, for bulk string operations: no fault, no device, nobody to tell. */
function span(external: Procedure, tag: number, access: number): Procedure {
  return procedure(external.name, { parameters: [i64], result: i32 }, (b, linear) => {
    const host = b.local(i32, b.const32(0))
    onHit(b, tag, linear!, b.const32(1), b.const32(0), (hit) => b.return(hit))
    onSegmented(b, linear!, () => {
      b.if(b.i32.eqz(b.call(segmentCoversPage, linear!, b.const32(access ? 1 : 0))), () =>
        b.return(b.const32(0)),
      )
      b.return(b.call(external, b.call(segmentLinearUnchecked, linear!)))
    })
    const cr2 = b.stateLoad(Access.u64, State.cr2)
    b.attempt(() => b.set(host, b.call(translate, linear!, b.const32(access), b.const32(0))))
    b.if(b.takeFault(), () => {
      b.stateStore(Access.u64, State.cr2, cr2)
      b.return(b.const32(0))
    })
    b.return(b.select(b.i32.eq(b.get(host), b.const32(DEVICE)), b.const32(0), b.get(host)))
  })
}

/** How this engine supplies the spans that string instructions ask for. */
export const spanSupplies: ReadonlyMap<Procedure, Procedure> = new Map([
  [engine.spanForRead, span(engine.spanForRead, TlbField.read, 0)],
  [engine.spanForWrite, span(engine.spanForWrite, TlbField.write, WalkAccess.write)],
])
