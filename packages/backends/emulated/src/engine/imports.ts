/**
 * What the engine's WebAssembly module imports from JavaScript. None of it is called on a TLB miss, a page fault, a
 * system call or an interrupt.
 */
import { external, type Procedure, Type } from '@trapframe/x86'

const { i32, f64 } = Type

/**
 * Decodes a block. (host address of its first byte; host address of the next linear page or 0; most instructions,
 * 0 for as many as a block holds) -> record, or 0: the first instruction goes on in the next page, whose address is needed.
 */
export const decodeBlock: Procedure = external('decodeBlock', { parameters: [i32, i32, i32], result: i32 })

/** A page of guest RAM is about to be written whose flags ask for notice. (page number) */
export const noticeWrite: Procedure = external('noticeWrite', { parameters: [i32] })

/** Nanoseconds of the machine's clock. */
export const nowNs: Procedure = external('nowNs', { result: f64 })

/** Forgets the block that begins with a record: its code is no longer where it was. */
export const dropBlock: Procedure = external('dropBlock', { parameters: [i32] })

export const importedProcedures: readonly Procedure[] = [decodeBlock, noticeWrite, nowNs, dropBlock]
