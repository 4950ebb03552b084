import { expect, test } from 'vitest'
import { Fault, State, Vector, WalkFlag } from '../../src/state-layout.ts'
import { PHYSICAL_ADDRESS_BITS, pageWalk, WalkAccess } from '../../src/system/page-walk.ts'
import { type LongMode, longMode, Place } from './long-mode.ts'

const LINEAR = 0x12_3456_7abcn
const NX = 1n << 63n
const CR0_WP = 0x1_0000n
const CR4_SMEP = 0x10_0000n
const CR4_SMAP = 0x20_0000n
const AC = 0x4_0000n
/** Tables of their own, which map LINEAR to PAGE. */
const tables = { pml4: 0x2_0000, pdpt: 0x2_1000, pd: 0x2_2000, pt: 0x2_3000 }
const PAGE = 0xab_c000n
const index = (level: number): number => Number((LINEAR >> BigInt(12 + 9 * (level - 1))) & 0x1ffn) * 8
const places = {
  4: tables.pml4 + index(4),
  3: tables.pdpt + index(3),
  2: tables.pd + index(2),
  1: tables.pt + index(1),
} as const

function machine(): LongMode {
  const m = longMode()
  m.setU64(State.cr3, tables.pml4)
  m.memory.setBigUint64(places[4], BigInt(tables.pdpt) | 7n, true)
  m.memory.setBigUint64(places[3], BigInt(tables.pd) | 7n, true)
  m.memory.setBigUint64(places[2], BigInt(tables.pt) | 7n, true)
  m.memory.setBigUint64(places[1], PAGE | 7n, true)
  return m
}
type Outcome = { physical: bigint; flags: number } | { vector: number; code: number; cr2: bigint }
function walk(m: LongMode, access: number, linear = LINEAR): Outcome {
  m.setI32(State.fault, Fault.none)
  const end = m.evaluator.machine.call(pageWalk, linear, access)
  if (end.kind === 'return') return { physical: end.value as bigint, flags: m.i32(State.walkFlags) }
  m.setI32(State.fault, Fault.none)
  return { vector: m.i32(State.faultVector), code: m.i32(State.faultErrorCode), cr2: m.u64(State.cr2) }
}
const entry = (m: LongMode, level: 1 | 2 | 3 | 4): bigint => m.memory.getBigUint64(places[level], true)
const setEntry = (m: LongMode, level: 1 | 2 | 3 | 4, value: bigint): void =>
  m.memory.setBigUint64(places[level], value, true)

test('default: a page of 4 KiB, 2 MiB, 1 GiB', () => {
  const m = machine()
  expect(walk(m, 0)).toEqual({ physical: PAGE | 0xabcn, flags: WalkFlag.user | WalkFlag.executable })
  setEntry(m, 2, 0x4060_0000n | 0x87n)
  expect(walk(m, 0)).toMatchObject({ physical: 0x4060_0000n | (LINEAR & 0x1f_ffffn) })
  // Bit 12 of a large page is its PAT bit.
  setEntry(m, 2, 0x4060_1000n | 0x87n)
  expect(walk(m, 0)).toMatchObject({ physical: 0x4060_0000n | (LINEAR & 0x1f_ffffn) })
  setEntry(m, 3, 0x8000_0000n | 0x87n)
  expect(walk(m, 0)).toMatchObject({ physical: 0x8000_0000n | (LINEAR & 0x3fff_ffffn) })
})

test('behaviour: accessed and dirty flags', () => {
  const m = machine()
  walk(m, 0)
  expect([4, 3, 2, 1].map((level) => entry(m, level as 1) & 0x60n)).toEqual([0x20n, 0x20n, 0x20n, 0x20n])
  expect(walk(m, WalkAccess.write)).toMatchObject({
    flags: WalkFlag.writable | WalkFlag.user | WalkFlag.executable,
  })
  expect([4, 3, 2, 1].map((level) => entry(m, level as 1) & 0x60n)).toEqual([0x20n, 0x20n, 0x20n, 0x60n])
  // A dirty page is writable also when it is read.
  expect(walk(m, 0)).toMatchObject({ flags: WalkFlag.writable | WalkFlag.user | WalkFlag.executable })
  // An access that is refused leaves the page's own flags.
  setEntry(m, 1, PAGE | 5n)
  expect(walk(m, WalkAccess.write | WalkAccess.user)).toMatchObject({ vector: Vector.pf, code: 7 })
  expect(entry(m, 1)).toBe(PAGE | 5n)
})

test('behaviour: global only with CR4.PGE', () => {
  const m = machine()
  setEntry(m, 1, PAGE | 0x107n)
  expect(walk(m, 0)).toMatchObject({ flags: WalkFlag.user | WalkFlag.executable | WalkFlag.global })
  m.setU64(State.cr4, 0x620)
  expect(walk(m, 0)).toMatchObject({ flags: WalkFlag.user | WalkFlag.executable })
})

test.each([4, 3, 2, 1] as const)('behaviour: not present and reserved bits at level %i', (level) => {
  const m = machine()
  const good = entry(m, level)
  setEntry(m, level, good & ~1n)
  expect(walk(m, WalkAccess.user | WalkAccess.fetch)).toEqual({ vector: Vector.pf, code: 0x14, cr2: LINEAR })
  setEntry(m, level, 0n)
  expect(walk(m, WalkAccess.write)).toEqual({ vector: Vector.pf, code: 2, cr2: LINEAR })
  for (const bit of [PHYSICAL_ADDRESS_BITS, 51, ...(level === 4 ? [7] : [])]) {
    setEntry(m, level, good | (1n << BigInt(bit)))
    expect(walk(m, 0)).toEqual({ vector: Vector.pf, code: 9, cr2: LINEAR })
  }
  // Bits 52 to 62 are the kernel's.
  setEntry(m, level, good | (0x7ffn << 52n))
  expect(walk(m, 0)).toMatchObject({ physical: PAGE | 0xabcn })
  // Without NXE, bit 63 is reserved, and a fetch is told only with SMEP.
  setEntry(m, level, good | NX)
  expect(walk(m, WalkAccess.fetch)).toEqual({ vector: Vector.pf, code: 0x11, cr2: LINEAR })
  m.setU64(State.efer, 0x501)
  expect(walk(m, WalkAccess.fetch)).toEqual({ vector: Vector.pf, code: 9, cr2: LINEAR })
  m.setU64(State.cr4, 0x6a0n | CR4_SMEP)
  expect(walk(m, WalkAccess.fetch)).toEqual({ vector: Vector.pf, code: 0x19, cr2: LINEAR })
})

test('behaviour: address bits inside a large page are reserved', () => {
  const m = machine()
  setEntry(m, 2, 0x4060_2000n | 0x87n)
  expect(walk(m, 0)).toMatchObject({ vector: Vector.pf, code: 9 })
  setEntry(m, 2, BigInt(tables.pt) | 7n)
  setEntry(m, 3, 0x8020_0000n | 0x87n)
  expect(walk(m, 0)).toMatchObject({ vector: Vector.pf, code: 9 })
})

test('behaviour: every combination of rights, as SDM volume 3, 5.6.1 has them', () => {
  const m = machine()
  let cases = 0
  for (let bits = 0; bits < 1 << 11; bits++) {
    const on = (n: number): boolean => ((bits >> n) & 1) !== 0
    const [writable, user, noExecute, userMode, wp, smep, smap, ac] = [0, 1, 2, 3, 4, 5, 6, 7].map(
      on,
    ) as boolean[]
    const kind = (['read', 'write', 'fetch', 'implicit'] as const)[(bits >> 8) & 3]!
    // The restriction sits in the page table or above it.
    const level = on(10) ? 3 : 1
    if (kind === 'implicit' && userMode) continue
    m.setU64(State.cr0, 0x8000_0033n | (wp ? CR0_WP : 0n))
    m.setU64(State.cr4, 0x6a0n | (smep ? CR4_SMEP : 0n) | (smap ? CR4_SMAP : 0n))
    m.setU64(State.rflags, 2n | (ac ? AC : 0n))
    m.setI32(State.cpl, userMode ? 3 : 0)
    setEntry(m, 3, BigInt(tables.pd) | 7n)
    setEntry(m, 1, PAGE | 7n)
    setEntry(
      m,
      level,
      (entry(m, level) & ~6n) | (writable ? 2n : 0n) | (user ? 4n : 0n) | (noExecute ? NX : 0n),
    )
    const access =
      (userMode ? WalkAccess.user : 0) |
      (kind === 'write'
        ? WalkAccess.write
        : kind === 'fetch'
          ? WalkAccess.fetch
          : kind === 'implicit'
            ? WalkAccess.implicit
            : 0)
    let allowed: boolean
    if (userMode) {
      if (!user) allowed = false
      else if (kind === 'write') allowed = writable!
      else if (kind === 'fetch') allowed = !noExecute
      else allowed = true
    } else if (kind === 'fetch') {
      allowed = !noExecute && !(user && smep)
    } else {
      const data = !user || !smap || (ac! && kind !== 'implicit')
      allowed = data && (kind !== 'write' || writable! || !wp)
    }
    const outcome = walk(m, access)
    const code = 1 | (kind === 'write' ? 2 : 0) | (userMode ? 4 : 0) | (kind === 'fetch' ? 16 : 0)
    if (allowed) expect(outcome, `case ${bits}`).toMatchObject({ physical: PAGE | 0xabcn })
    else expect(outcome, `case ${bits}`).toEqual({ vector: Vector.pf, code, cr2: LINEAR })
    cases++
  }
  expect(cases).toBe(1792)
})

test('behaviour: addresses that are not canonical, and paging off', () => {
  const m = machine()
  expect(walk(m, 0, 0x8000_0000_0000n)).toMatchObject({ vector: Vector.gp, code: 0 })
  expect(walk(m, 0, 0xffff_7fff_ffff_ffffn)).toMatchObject({ vector: Vector.gp, code: 0 })
  m.setU64(State.cr0, 0x33)
  expect(walk(m, WalkAccess.write, 0x1234_5678n)).toMatchObject({ physical: 0x1234_5678n })
})

test('behaviour: five levels', () => {
  const m = machine()
  const top = 0x2_4000
  m.setU64(State.cr4, 0x6a0n | 0x1000n)
  m.setU64(State.cr3, top)
  const linear = LINEAR | (5n << 48n)
  m.memory.setBigUint64(top + 5 * 8, BigInt(tables.pml4) | 7n, true)
  expect(walk(m, 0, linear)).toMatchObject({ physical: PAGE | 0xabcn })
  expect(walk(m, 0, LINEAR)).toMatchObject({ vector: Vector.pf, code: 0 })
  expect(walk(m, 0, 1n << 56n)).toMatchObject({ vector: Vector.gp })
})

test('behaviour: tables outside RAM are a page fault', () => {
  const m = machine()
  setEntry(m, 4, 0x3f_0000_0000n | 7n)
  expect(walk(m, 0)).toMatchObject({ vector: Vector.pf, code: 9 })
  m.setU64(State.cr3, Place.pml4)
  expect(walk(m, 0, 0x1000n)).toMatchObject({ physical: 0x1000n })
})
