/**
 * What semantics needs from the engine that executes it, beyond the IR's operations. Each engine (interpreter and JIT,
 * evaluator) supplies these procedures; none of them calls JavaScript but `timeStamp` with a real clock.
 */

import { Type } from '../ir/op.ts'
import { external, type Procedure } from '../ir/procedure.ts'

const { i32, i64 } = Type

/** The time source in TSC ticks, before `State.tscOffset` is added. */
export const timeStamp: Procedure = external('timeStamp', { result: i64 })

/** Loads 8 bytes of guest-physical memory; all ones where there is none. (address, 8-byte aligned) */
export const physicalLoad: Procedure = external('physicalLoad', { parameters: [i64], result: i64 })

/** Atomic compare-exchange of 8 aligned bytes of guest-physical memory, for accessed and dirty bits. (address, expected, replacement) -> found */
export const physicalCompareExchange: Procedure = external('physicalCompareExchange', {
  parameters: [i64, i64, i64],
  result: i64,
})

/** Forgets cached translations: 0 all but global pages, 1 all. Called after CR3, CR4, EFER, CR0 changed. */
export const flushTranslations: Procedure = external('flushTranslations', { parameters: [i32] })

/** Forgets the cached translations of one linear page (INVLPG), global ones too. */
export const flushPage: Procedure = external('flushPage', { parameters: [i64] })

/** CPL, CS (L, D, base, limit), VM, CR0, CR4 or EFER changed: the engine chooses its tables anew. The TLB is not flushed by this. */
export const modeChanged: Procedure = external('modeChanged', {})

/**
 * Where plain RAM for a linear address lies, as an absolute i32 address (`hostLoad`) that is valid to the end
 * of the address's 4 KiB page until anything else of the guest's memory is accessed; or 0 where there is none: not
 * mapped, not permitted at the current privilege, a device, a page under watch. Never faults, never exits. (address)
 */
export const spanForRead: Procedure = external('spanForRead', { parameters: [i64], result: i32 })

/**
 * As `spanForRead` for bytes that will be written. The page has been marked dirty; pages with decoded or translated
 * code give 0. A span for reading that was asked for before stays valid.
 */
export const spanForWrite: Procedure = external('spanForWrite', { parameters: [i64], result: i32 })
