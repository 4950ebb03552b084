/**
 * MOV to and from control and debug registers, LMSW, CLTS (SDM volume 2, MOV; volume 3, 2.5 and 17.2).
 *
 * Which CR4 bits may be set follows from CPUID, so that guest and semantics never disagree about a feature.
 *
 * CR0.PG with EFER.LME enters IA-32e mode, from a code segment that is not 64-bit code; clearing it leaves that mode, out
 * of compatibility mode only (SDM volume 3, 10.8.5).
 */

import { updateFpuAvailability } from '../families/fpu-guard.ts'
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { Segment, State, Vector } from '../state-layout.ts'
import { anyBit, bit } from './bit-field.ts'
import { Cr0, Cr4, Efer } from './control-bits.ts'
import { CpuidEntry, hasCpuidBit } from './cpuid.ts'
import { requireSupervisor } from './descriptor.ts'
import { flushTranslations, modeChanged, physicalLoad } from './engine.ts'
import { Attribute, attributesOf, in64BitMode, inLongMode } from './mode.ts'
import { PHYSICAL_ADDRESS_BITS } from './page-walk.ts'

const { i32, i64 } = Type

const gp = (b: Builder): void => b.raise(Vector.gp, b.const32(0))

const CR0_WRITABLE = Cr0.pe | Cr0.mp | Cr0.em | Cr0.ts | Cr0.ne | Cr0.wp | Cr0.am | Cr0.nw | Cr0.cd | Cr0.pg
/** CR4 bits that every profile has. */
const CR4_BASE =
  Cr4.tsd | Cr4.de | Cr4.pse | Cr4.pae | Cr4.mce | Cr4.pge | Cr4.pce | Cr4.osfxsr | Cr4.osxmmexcpt
/** CR4 bits that need a CPUID bit: CR4 bit, leaf, register, bit number. */
const cr4Features: readonly (readonly [mask: number, leaf: number, field: number, bit: number])[] = [
  [Cr4.vme | Cr4.pvi, 1, CpuidEntry.edx, 1],
  [Cr4.umip, 7, CpuidEntry.ecx, 2],
  [Cr4.la57, 7, CpuidEntry.ecx, 16],
  [Cr4.fsgsbase, 7, CpuidEntry.ebx, 0],
  [Cr4.osxsave, 1, CpuidEntry.ecx, 26],
  [Cr4.smep, 7, CpuidEntry.ebx, 7],
  [Cr4.smap, 7, CpuidEntry.ebx, 20],
]

/** #GP(0) if a page-directory pointer of PAE paging has reserved bits set. (CR3) */
const checkPointers: Procedure = procedure(
  'checkPointers',
  { parameters: [i64], mayFault: true },
  (b, cr3) => {
    const table = b.i64.and(cr3!, b.const64(0xffff_ffe0))
    const reserved = ~((1n << BigInt(PHYSICAL_ADDRESS_BITS)) - 1n) | 0x1e6n
    for (let index = 0; index < 4; index++) {
      const pointer = b.call(physicalLoad, b.i64.add(table, b.const64(8 * index)))
      b.if(b.i32.and(anyBit(b, pointer, 1), anyBit(b, pointer, reserved)), () => gp(b))
    }
    b.return()
  },
)

/** Sets CR0 with its checks. (value) */
export const writeCr0: Procedure = procedure(
  'writeCr0',
  { parameters: [i64], mayFault: true },
  (b, value) => {
    const old = b.stateLoad(Access.u64, State.cr0)
    const cr4 = b.stateLoad(Access.u64, State.cr4)
    const efer = b.stateLoad(Access.u64, State.efer)
    b.if(b.i64.ne(b.i64.shrU(value!, b.const64(32)), b.const64(0)), () => gp(b))
    const has = (mask: number): Value => anyBit(b, value!, mask >>> 0)
    b.if(b.i32.and(has(Cr0.pg), b.i32.eqz(has(Cr0.pe))), () => gp(b))
    b.if(b.i32.and(has(Cr0.nw), b.i32.eqz(has(Cr0.cd))), () => gp(b))
    const next = b.i64.or(b.i64.and(value!, b.const64(CR0_WRITABLE >>> 0)), b.const64(Cr0.et))
    const change = b.i64.xor(old, next)
    const code = attributesOf(b, Segment.cs)
    b.if(anyBit(b, change, Cr0.pg >>> 0), () => {
      b.if(
        has(Cr0.pg),
        () =>
          b.if(
            anyBit(b, efer, Efer.lme),
            () => {
              const wide = bit(b, attributesOf(b, Segment.tr), 3)
              const ready = b.i32.and(anyBit(b, cr4, Cr4.pae), wide)
              b.if(b.i32.or(b.i32.eqz(ready), anyBit(b, code, Attribute.long)), () => gp(b))
              b.stateStore(Access.u64, State.efer, b.i64.or(efer, b.const64(Efer.lma)))
            },
            () =>
              b.if(anyBit(b, cr4, Cr4.pae), () => b.call(checkPointers, b.stateLoad(Access.u64, State.cr3))),
          ),
        () => {
          b.if(in64BitMode(b), () => gp(b))
          b.if(anyBit(b, cr4, Cr4.pcide), () => gp(b))
          b.stateStore(Access.u64, State.efer, b.i64.and(efer, b.const64(~Efer.lma)))
        },
      )
    })
    b.stateStore(Access.u64, State.cr0, next)
    b.if(anyBit(b, change, (Cr0.wp | Cr0.pg) >>> 0), () => {
      b.call(flushTranslations, b.const32(1))
    })
    b.call(updateFpuAvailability)
    b.call(modeChanged)
    b.return()
  },
)

const writeCr3: Procedure = procedure('writeCr3', { parameters: [i64], mayFault: true }, (b, value) => {
  const beyond = b.i64.shrU(value!, b.const64(PHYSICAL_ADDRESS_BITS))
  b.if(b.i64.ne(beyond, b.const64(0)), () => gp(b))
  const paging = anyBit(b, b.stateLoad(Access.u64, State.cr0), Cr0.pg >>> 0)
  const extended = anyBit(b, b.stateLoad(Access.u64, State.cr4), Cr4.pae)
  b.if(b.i32.and(b.i32.and(paging, extended), b.i32.eqz(inLongMode(b))), () => b.call(checkPointers, value!))
  b.stateStore(Access.u64, State.cr3, value!)
  b.call(flushTranslations, b.const32(0))
  b.return()
})

const writeCr4: Procedure = procedure('writeCr4', { parameters: [i64], mayFault: true }, (b, value) => {
  const allowed = b.local(i64, b.const64(CR4_BASE))
  for (const [mask, leaf, field, bitNumber] of cr4Features) {
    b.if(hasCpuidBit(b, leaf, field, bitNumber), () => {
      b.set(allowed, b.i64.or(b.get(allowed), b.const64(mask)))
    })
  }
  const reserved = b.i64.and(value!, b.i64.xor(b.get(allowed), b.const64(-1)))
  b.if(b.i64.ne(reserved, b.const64(0)), () => gp(b))
  const old = b.stateLoad(Access.u64, State.cr4)
  const change = b.i64.xor(old, value!)
  const long = inLongMode(b)
  b.if(b.i32.and(long, b.i32.eqz(anyBit(b, value!, Cr4.pae))), () => gp(b))
  b.if(b.i32.and(long, anyBit(b, change, Cr4.la57)), () => gp(b))
  const paging = anyBit(b, b.stateLoad(Access.u64, State.cr0), Cr0.pg >>> 0)
  const starts = b.i32.and(anyBit(b, change, Cr4.pae), anyBit(b, value!, Cr4.pae))
  b.if(b.i32.and(starts, paging), () => b.call(checkPointers, b.stateLoad(Access.u64, State.cr3)))
  b.stateStore(Access.u64, State.cr4, value!)
  b.if(anyBit(b, change, Cr4.pse | Cr4.pae | Cr4.pge | Cr4.smep | Cr4.smap), () => {
    b.call(flushTranslations, b.const32(1))
  })
  b.call(updateFpuAvailability)
  b.call(modeChanged)
  b.return()
})

/** MOV from CRn. (number) -> i64 */
export const readControl: Procedure = procedure(
  'readControl',
  { parameters: [i32], result: i64, mayFault: true },
  (b, number) => {
    for (const [index, offset] of [
      [0, State.cr0],
      [2, State.cr2],
      [3, State.cr3],
      [4, State.cr4],
      [8, State.cr8],
    ] as const) {
      b.if(b.i32.eq(number!, b.const32(index)), () => {
        requireSupervisor(b)
        b.return(b.stateLoad(Access.u64, offset))
      })
    }
    b.raise(Vector.ud)
  },
)

/** MOV to CRn. (number, value). The body ends with `resync`. */
export const writeControl: Procedure = procedure(
  'writeControl',
  { parameters: [i32, i64], mayFault: true },
  (b, number, value) => {
    const on = (index: number, then: () => void): void =>
      b.if(b.i32.eq(number!, b.const32(index)), () => {
        requireSupervisor(b)
        then()
        b.return()
      })
    on(0, () => b.call(writeCr0, value!))
    on(2, () => b.stateStore(Access.u64, State.cr2, value!))
    on(3, () => b.call(writeCr3, value!))
    on(4, () => b.call(writeCr4, value!))
    on(8, () => {
      b.if(b.i64.gtU(value!, b.const64(15)), () => gp(b))
      b.stateStore(Access.u64, State.cr8, value!)
    })
    b.raise(Vector.ud)
  },
)

/** LMSW: the low four bits of CR0; PE is never cleared. (value) */
export const loadMachineStatus: Procedure = procedure(
  'loadMachineStatus',
  { parameters: [i64], mayFault: true },
  (b, value) => {
    requireSupervisor(b)
    const cr0 = b.stateLoad(Access.u64, State.cr0)
    const kept = b.i64.and(cr0, b.const64(~0xe))
    b.call(writeCr0, b.i64.or(kept, b.i64.and(value!, b.const64(0xf))))
    b.return()
  },
)

/** CLTS. () */
export const clearTaskSwitched: Procedure = procedure('clearTaskSwitched', { mayFault: true }, (b) => {
  requireSupervisor(b)
  const cr0 = b.stateLoad(Access.u64, State.cr0)
  b.stateStore(Access.u64, State.cr0, b.i64.and(cr0, b.const64(~Cr0.ts)))
  b.call(updateFpuAvailability)
  b.return()
})

// Debug registers. DR4 and DR5 are DR6 and DR7 unless CR4.DE is set.

/** Reserved bits of DR6 that read as one: 4 to 11 and 16 to 31 (no RTM, no bus lock). */
export const DR6_FIXED = 0xffff_0ff0
/** Bit 10 of DR7 reads as one. */
export const DR7_FIXED = 0x400
const DR7_GD = 0x2000
const DR6_BD = 0x2000

/** Where a debug register is kept, after the checks: byte offset from `State.dr`. (number) -> i32 */
const debugOffset: Procedure = procedure(
  'debugOffset',
  { parameters: [i32], result: i32, mayFault: true },
  (b, number) => {
    const slot = b.local(i32, number!)
    b.if(b.i32.gtU(number!, b.const32(7)), () => b.raise(Vector.ud))
    b.if(b.i32.geU(number!, b.const32(4)), () => {
      const alias = b.i32.ltU(number!, b.const32(6))
      const extensions = anyBit(b, b.stateLoad(Access.u64, State.cr4), Cr4.de)
      b.if(b.i32.and(alias, extensions), () => b.raise(Vector.ud))
      b.set(slot, b.i32.or(b.i32.and(number!, b.const32(1)), b.const32(4)))
    })
    requireSupervisor(b)
    b.if(anyBit(b, b.stateLoad(Access.u64, State.dr + 5 * 8), DR7_GD), () => {
      const dr6 = b.stateLoad(Access.u64, State.dr + 4 * 8)
      b.stateStore(Access.u64, State.dr + 4 * 8, b.i64.or(dr6, b.const64(DR6_BD)))
      b.raise(Vector.db)
    })
    b.return(b.i32.shl(b.get(slot), b.const32(3)))
  },
)

/** MOV from DRn. (number) -> i64 */
export const readDebug: Procedure = procedure(
  'readDebug',
  { parameters: [i32], result: i64, mayFault: true },
  (b, number) => {
    b.return(b.stateLoad(Access.u64, State.dr, b.call(debugOffset, number!)))
  },
)

/** MOV to DRn. (number, value) */
export const writeDebug: Procedure = procedure(
  'writeDebug',
  { parameters: [i32, i64], mayFault: true },
  (b, number, value) => {
    const offset = b.call(debugOffset, number!)
    const stored = b.local(i64, value!)
    b.if(b.i32.geU(offset, b.const32(32)), () => {
      b.if(b.i64.ne(b.i64.shrU(value!, b.const64(32)), b.const64(0)), () => gp(b))
      const dr6 = b.i64.or(b.i64.and(value!, b.const64(0xe00f)), b.const64(DR6_FIXED))
      const dr7 = b.i64.or(b.i64.and(value!, b.const64(0xffff_2bff)), b.const64(DR7_FIXED))
      b.set(stored, b.select(b.i32.eq(offset, b.const32(32)), dr6, dr7))
    })
    b.stateStore(Access.u64, State.dr, b.get(stored), offset)
    b.return()
  },
)

/** EFER, for WRMSR. (value) */
export const writeEfer: Procedure = procedure(
  'writeEfer',
  { parameters: [i64], mayFault: true },
  (b, value) => {
    const old = b.stateLoad(Access.u64, State.efer)
    const noExecute = hasCpuidBit(b, 0x8000_0001 | 0, CpuidEntry.edx, 20)
    const allowed = b.select(
      noExecute,
      b.const64(Efer.sce | Efer.lme | Efer.lma | Efer.nxe),
      b.const64(Efer.sce | Efer.lme | Efer.lma),
    )
    b.if(b.i64.ne(b.i64.and(value!, b.i64.xor(allowed, b.const64(-1))), b.const64(0)), () => gp(b))
    const change = b.i64.xor(old, value!)
    // With paging on, LME cannot change.
    const paging = anyBit(b, b.stateLoad(Access.u64, State.cr0), Cr0.pg)
    b.if(b.i32.and(paging, anyBit(b, change, Efer.lme)), () => gp(b))
    const next = b.i64.xor(old, b.i64.and(change, b.const64(~Efer.lma)))
    b.stateStore(Access.u64, State.efer, next)
    b.if(anyBit(b, change, Efer.nxe), () => {
      b.call(flushTranslations, b.const32(1))
    })
    b.call(modeChanged)
    b.return()
  },
)
