/**
 * The page walk: linear to guest-physical address by the guest's page tables (SDM volume 3, chapter 5: 32-bit, PAE,
 * 4-level and 5-level paging, and none; access rights 5.6, exceptions 5.7, accessed and dirty flags 5.8). Called when the engine's TLB misses.
 *
 * Accessed and dirty flags are set by compare-exchange, so that vCPUs on other threads and the guest's own atomic
 * updates are never lost; an entry that changed underneath starts the walk anew. Upper levels get their accessed flag
 * as they are passed, the last one only when the access is allowed.
 *
 * The four page-directory pointers of PAE paging are read from memory at each walk; processors keep them in registers
 * from the last write to CR3.
 *
 * Not done: protection keys, PCIDs, memory types (PCD, PWT, PAT are ignored).
 */
import type { Builder, Label, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { State, Vector, WalkFlag } from '../state-layout.ts'
import { anyBit, bit, notCanonical } from './bit-field.ts'
import { Cr0, Cr4, Efer } from './control-bits.ts'
import { physicalCompareExchange, physicalLoad } from './engine.ts'

const { i32, i64 } = Type

/** Width of guest-physical addresses; CPUID leaf 0x80000008 must say the same. */
export const PHYSICAL_ADDRESS_BITS = 46

/** What a page walk is asked for. Neither write nor fetch: a read. */
export const WalkAccess = {
  write: 1,
  fetch: 2,
  /** A user-mode access: made at CPL 3, and not implicitly to a system structure. */
  user: 4,
  /**
   * An access of the CPU itself to a system structure (GDT, IDT, TSS): EFLAGS.AC does not lift SMAP. Implied at CPL 3
   * where `user` is missing.
   */
  implicit: 8,
} as const

/** Bits of a #PF error code. */
const PageFault = { present: 1, write: 2, user: 4, reserved: 8, fetch: 16 } as const
/** Bits of a page-table entry. */
const Entry = {
  present: 1,
  writable: 2,
  user: 4,
  accessed: 0x20,
  dirty: 0x40,
  large: 0x80,
  global: 0x100,
} as const
const NO_EXECUTE = 1n << 63n
const ADDRESS = ((1n << BigInt(PHYSICAL_ADDRESS_BITS)) - 1n) & ~0xfffn
/** Bits 51 down to the width of a physical address. */
const RESERVED = ((1n << 52n) - 1n) & ~((1n << BigInt(PHYSICAL_ADDRESS_BITS)) - 1n)
/** With PAE paging bits 62 to 52 are reserved, too; IA-32e paging ignores them. */
const RESERVED_PAE = 0x7ff0_0000_0000_0000n

/** An entry of 32 bits, in the 8 bytes that `physicalLoad` gives. (address, 4-byte aligned) -> i64 */
const loadNarrow: Procedure = procedure('loadNarrow', { parameters: [i64], result: i64 }, (b, address) => {
  const both = b.call(physicalLoad, b.i64.and(address!, b.const64(-8)))
  const shift = b.i64.shl(b.i64.and(address!, b.const64(4)), b.const64(3))
  b.return(b.i64.and(b.i64.shrU(both, shift), b.const64(0xffff_ffff)))
})

/** Compare-exchange of an entry of 32 bits. (address, expected, replacement) -> found */
const exchangeNarrow: Procedure = procedure(
  'exchangeNarrow',
  { parameters: [i64, i64, i64], result: i64 },
  (b, address, expected, replacement) => {
    const whole = b.i64.and(address!, b.const64(-8))
    const shift = b.i64.shl(b.i64.and(address!, b.const64(4)), b.const64(3))
    const mask = b.i64.shl(b.const64(0xffff_ffff), shift)
    const both = b.call(physicalLoad, whole)
    const others = b.i64.and(both, b.i64.xor(mask, b.const64(-1)))
    const seen = b.call(
      physicalCompareExchange,
      whole,
      b.i64.or(others, b.i64.shl(expected!, shift)),
      b.i64.or(others, b.i64.shl(replacement!, shift)),
    )
    b.return(b.i64.and(b.i64.shrU(seen, shift), b.const64(0xffff_ffff)))
  },
)

/** Translates. (linear address, WalkAccess bits) -> guest-physical address; leaves WalkFlag bits in `State.walkFlags`. */
export const pageWalk: Procedure = procedure(
  'pageWalk',
  { parameters: [i64, i32], result: i64, mayFault: true },
  (b, linear, access) => {
    const cr0 = b.stateLoad(Access.u64, State.cr0)
    const cr4 = b.stateLoad(Access.u64, State.cr4)
    const efer = b.stateLoad(Access.u64, State.efer)
    b.if(b.i64.eqz(b.i64.and(cr0, b.const64(Cr0.pg))), () => {
      b.stateStore(
        Access.i32,
        State.walkFlags,
        b.const32(WalkFlag.writable | WalkFlag.user | WalkFlag.executable),
      )
      b.return(linear!)
    })
    const long = anyBit(b, efer, Efer.lma)
    const physicalExtension = anyBit(b, cr4, Cr4.pae)
    const narrow = b.i32.eqz(b.i32.or(long, physicalExtension))
    const fiveLevels = b.i32.and(long, anyBit(b, cr4, Cr4.la57))
    const outside = b.select(fiveLevels, notCanonical(b, linear!, 57), notCanonical(b, linear!, 48))
    b.if(b.i32.and(long, outside), () => b.raise(Vector.gp, b.const32(0)))
    const noExecute = b.i32.and(physicalExtension, anyBit(b, efer, Efer.nxe))
    const reserved = b.i64.or(
      b.select(noExecute, b.const64(RESERVED), b.const64(RESERVED | NO_EXECUTE)),
      b.select(long, b.const64(0), b.const64(RESERVED_PAE)),
    )
    const isWrite = b.i32.and(access!, b.const32(WalkAccess.write))
    const isFetch = b.i32.and(access!, b.const32(WalkAccess.fetch))
    const isUser = b.i32.and(access!, b.const32(WalkAccess.user))

    /** #PF with what the access itself says beside `flags`. */
    const fault = (flags: number): void => {
      const told = b.select(
        b.i32.or(noExecute, anyBit(b, cr4, Cr4.smep)),
        b.i32.shl(isFetch, b.const32(3)),
        b.const32(0),
      )
      const code = b.i32.or(b.i32.or(b.i32.shl(isWrite, b.const32(1)), isUser), told)
      b.stateStore(Access.u64, State.cr2, linear!)
      b.raise(Vector.pf, b.i32.or(code, b.const32(flags)))
    }

    const entry = b.local(i64)
    const entryAddress = b.local(i64)
    const table = b.local(i64)
    /** Rights: bits of every entry ANDed (R/W and U/S), XD ORed by keeping its complement. */
    const rights = b.local(i64)
    const offsetMask = b.local(i64)
    /** Of the last entry: the page's address, rights of its offset bits not yet cleared. */
    const frame = b.local(i64)
    const exchange = (address: Value, expected: Value, replacement: Value): Value => {
      const seen = b.local(i64)
      b.if(
        narrow,
        () => b.set(seen, b.call(exchangeNarrow, address, expected, replacement)),
        () => b.set(seen, b.call(physicalCompareExchange, address, expected, replacement)),
      )
      return b.get(seen)
    }

    b.loop((again) => {
      b.set(table, b.i64.and(b.stateLoad(Access.u64, State.cr3), b.const64(ADDRESS)))
      b.set(rights, b.const64(-1))
      b.set(offsetMask, b.const64(0xfff))
      b.block((found) => {
        const level = (number: number): void => walkLevel(b, number, again, found)
        b.if(narrow, () => {
          narrowLevel(b, 2, again, found)
          narrowLevel(b, 1, again, found)
          b.br(found)
        })
        b.if(fiveLevels, () => level(5))
        b.if(
          long,
          () => {
            level(4)
            level(3)
          },
          pointerLevel,
        )
        for (const number of [2, 1]) level(number)
        b.set(frame, b.i64.and(b.get(entry), b.const64(ADDRESS)))
      })

      const last = b.get(entry)
      const allowed = b.get(rights)
      const userPage = bit(b, allowed, 2)
      const writablePage = bit(b, allowed, 1)
      const executablePage = bit(b, allowed, 63)
      const supervisor = b.i32.eqz(isUser)
      // What this privilege may do with the page.
      const lifted = b.i32.and(
        bit(b, b.stateLoad(Access.u64, State.rflags), 18),
        b.i32.eqz(
          b.i32.or(
            b.i32.and(access!, b.const32(WalkAccess.implicit)),
            b.i32.eq(b.stateLoad(Access.i32, State.cpl), b.const32(3)),
          ),
        ),
      )
      const smap = b.i32.and(anyBit(b, cr4, Cr4.smap), b.i32.eqz(lifted))
      const smep = anyBit(b, cr4, Cr4.smep)
      const mayRead = b.select(isUser, userPage, b.i32.eqz(b.i32.and(userPage, smap)))
      const mayWrite = b.i32.and(
        mayRead,
        b.i32.or(writablePage, b.i32.and(supervisor, b.i32.eqz(anyBit(b, cr0, Cr0.wp)))),
      )
      const mayFetch = b.i32.and(
        executablePage,
        b.select(isUser, userPage, b.i32.eqz(b.i32.and(userPage, smep))),
      )
      b.if(b.i32.eqz(b.select(isFetch, mayFetch, b.select(isWrite, mayWrite, mayRead))), () =>
        fault(PageFault.present),
      )

      const wanted = b.i64.or(
        last,
        b.select(isWrite, b.const64(Entry.accessed | Entry.dirty), b.const64(Entry.accessed)),
      )
      b.if(b.i64.ne(wanted, last), () => {
        b.brIf(b.i64.ne(exchange(b.get(entryAddress), last, wanted), last), again)
      })

      const dirty = bit(b, wanted, 6)
      const flags = [
        b.select(b.i32.and(mayWrite, dirty), b.const32(WalkFlag.writable), b.const32(0)),
        b.select(userPage, b.const32(WalkFlag.user), b.const32(0)),
        b.select(
          b.i32.and(bit(b, last, 8), anyBit(b, cr4, Cr4.pge)),
          b.const32(WalkFlag.global),
          b.const32(0),
        ),
        b.select(mayFetch, b.const32(WalkFlag.executable), b.const32(0)),
      ].reduce((x, y) => b.i32.or(x, y))
      b.stateStore(Access.i32, State.walkFlags, flags)
      const inside = b.get(offsetMask)
      b.return(
        b.i64.or(b.i64.and(b.get(frame), b.i64.xor(inside, b.const64(-1))), b.i64.and(linear!, inside)),
      )
    })

    /** The page-directory pointer of PAE paging: one of four, without rights and accessed bit. */
    function pointerLevel(): void {
      const pointers = b.i64.and(b.stateLoad(Access.u64, State.cr3), b.const64(0xffff_ffe0))
      const address = b.i64.or(pointers, b.i64.and(b.i64.shrU(linear!, b.const64(27)), b.const64(0x18)))
      const value = b.call(physicalLoad, address)
      b.if(b.i64.eqz(b.i64.and(value, b.const64(Entry.present))), () => fault(0))
      b.set(table, b.i64.and(value, b.const64(ADDRESS)))
    }

    /** A level of 32-bit paging; pages of 4 MiB have address bits 39 to 32 in bits 20 to 13 (PSE-36). */
    function narrowLevel(b: Builder, level: 1 | 2, again: Label, found: Label): void {
      const directory = b.i64.and(b.get(table), b.const64(0xffff_f000))
      const index = b.i64.and(b.i64.shrU(linear!, b.const64(level === 2 ? 20 : 10)), b.const64(0xffc))
      const address = b.i64.or(directory, index)
      const value = b.call(loadNarrow, address)
      b.set(entry, value)
      b.set(entryAddress, address)
      b.if(b.i64.eqz(b.i64.and(value, b.const64(Entry.present))), () => fault(0))
      b.set(rights, b.i64.and(b.get(rights), b.i64.or(value, b.const64(NO_EXECUTE))))
      if (level === 1) {
        b.set(frame, b.i64.and(value, b.const64(0xffff_f000)))
        return
      }
      b.if(b.i32.and(anyBit(b, cr4, Cr4.pse), anyBit(b, value, Entry.large)), () => {
        b.if(anyBit(b, value, 0x20_0000), () => fault(PageFault.present | PageFault.reserved))
        const high = b.i64.shl(b.i64.and(value, b.const64(0x1f_e000)), b.const64(19))
        b.set(frame, b.i64.or(b.i64.and(value, b.const64(0xffc0_0000)), high))
        b.set(offsetMask, b.const64(0x3f_ffff))
        b.br(found)
      })
      b.if(b.i64.eqz(b.i64.and(value, b.const64(Entry.accessed))), () => {
        const seen = b.call(exchangeNarrow, address, value, b.i64.or(value, b.const64(Entry.accessed)))
        b.brIf(b.i64.ne(seen, value), again)
      })
      b.set(table, value)
    }

    function walkLevel(b: Builder, level: number, again: Label, found: Label): void {
      const shift = 12 + 9 * (level - 1)
      const address: Value = b.i64.or(
        b.get(table),
        b.i64.and(b.i64.shrU(linear!, b.const64(shift - 3)), b.const64(0xff8)),
      )
      const value = b.call(physicalLoad, address)
      b.set(entry, value)
      b.set(entryAddress, address)
      b.if(b.i64.eqz(b.i64.and(value, b.const64(Entry.present))), () => fault(0))
      const always = level >= 4 ? b.i64.or(reserved, b.const64(Entry.large)) : reserved
      const misfit = b.i64.ne(b.i64.and(value, always), b.const64(0))
      b.if(misfit, () => fault(PageFault.present | PageFault.reserved))
      b.set(rights, b.i64.and(b.get(rights), b.i64.xor(value, b.const64(NO_EXECUTE))))
      if (level === 1) return
      if (level <= 3)
        b.if(anyBit(b, value, Entry.large), () => {
          // The address field starts at the page's own size; bit 12 is the PAT bit.
          const inside = (1n << BigInt(shift)) - 1n
          b.if(anyBit(b, value, inside & ~0x1fffn), () => fault(PageFault.present | PageFault.reserved))
          b.set(offsetMask, b.const64(inside))
          b.set(frame, b.i64.and(value, b.const64(ADDRESS)))
          b.br(found)
        })
      b.if(b.i64.eqz(b.i64.and(value, b.const64(Entry.accessed))), () => {
        const seen = b.call(
          physicalCompareExchange,
          address,
          value,
          b.i64.or(value, b.const64(Entry.accessed)),
        )
        b.brIf(b.i64.ne(seen, value), again)
      })
      b.set(table, b.i64.and(value, b.const64(ADDRESS)))
    }
  },
)
