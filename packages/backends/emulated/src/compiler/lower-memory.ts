/** Lowering of guest accesses: the inlined TLB lookup, and the calls behind it (engine/memory-access.ts). */
import { type Access, accessBytes, type Code, Type } from '@trapframe/x86'
import { EngineState, TLB_ENTRIES, TLB_ENTRY_BYTES, TlbField } from '../engine/layout.ts'
import type { ByteWriter } from '../wasm/byte-writer.ts'
import { Wasm, WasmType } from '../wasm/opcode.ts'
import type { LoweringHost } from './lowering-host.ts'
import { emitStore, type LoweringTarget } from './lowering-target.ts'

export class MemoryLowering {
  readonly #code: Code
  readonly #t: LoweringTarget
  readonly #w: ByteWriter
  readonly #host: LoweringHost

  constructor(code: Code, target: LoweringTarget, host: LoweringHost) {
    this.#code = code
    this.#t = target
    this.#w = target.w
    this.#host = host
  }

  /** Leaves on the stack whether the TLB entry (its address goes into `entry`) does not allow the access: i32. */
  #lookup(address: number, bytes: number, tag: number, supervisor: boolean, entry: number): void {
    const w = this.#w
    // (linear + size - 1) & ~0xfff: an access that crosses its page meets the tag of the wrong page and misses.
    this.#host.value(address)
    if (bytes > 1)
      w.u8(Wasm.i64Const)
        .s64(bytes - 1, 0)
        .u8(Wasm.i64Add)
    w.u8(Wasm.i64Const).s64(-4096, -1).u8(Wasm.i64And)
    this.#host.value(address)
    w.u8(Wasm.i64Const).s64(7, 0).u8(Wasm.i64ShrU).u8(Wasm.i32WrapI64)
    w.u8(Wasm.i32Const)
      .s32((TLB_ENTRIES - 1) * TLB_ENTRY_BYTES)
      .u8(Wasm.i32And)
    if (supervisor || !this.#t.cache?.tlb())
      w.u8(Wasm.localGet)
        .u32(this.#t.stateLocal)
        .u8(Wasm.i32Load)
        .u32(2)
        .u32(supervisor ? EngineState.tlbSupervisor : EngineState.tlb)
    w.u8(Wasm.i32Add).u8(Wasm.localTee).u32(entry)
    w.u8(Wasm.i64Load).u32(3).u32(tag).u8(Wasm.i64Ne)
  }

  /** The host address of a guest access, on the stack. */
  pointer(i: number, tag: number, slow: 'read' | 'reference'): void {
    const { aux, a } = this.#code
    const w = this.#w
    const bytes = accessBytes[aux[i]! & 15]!
    const supervisor = aux[i]! >> 4 !== 0
    const pointer = this.#t.pool.take(Type.i32)
    const callSlow = (): void => {
      w.u8(Wasm.localGet).u32(this.#t.stateLocal)
      this.#host.value(a[i]!)
      w.u8(Wasm.i32Const)
        .s32(bytes)
        .u8(Wasm.i32Const)
        .s32(supervisor ? 1 : 0)
      w.u8(Wasm.call).u32(this.#t.engineFunction(slow))
      w.u8(Wasm.localTee).u32(pointer).u8(Wasm.i32Eqz)
    }
    if (this.#t.inlineMemory) {
      const entry = this.#t.pool.take(Type.i32)
      this.#lookup(a[i]!, bytes, tag, supervisor, entry)
      this.#t.unlikely()
      w.u8(Wasm.if).u8(WasmType.empty)
      this.#host.enter()
      callSlow()
      this.#host.faultIf()
      if (slow === 'reference') this.#t.cache?.afterSlowStore()
      w.u8(Wasm.else)
      this.#host.value(a[i]!)
      w.u8(Wasm.i32WrapI64)
        .u8(Wasm.localGet)
        .u32(entry)
        .u8(Wasm.i32Load)
        .u32(2)
        .u32(TlbField.addend)
        .u8(Wasm.i32Add)
      w.u8(Wasm.localSet).u32(pointer)
      this.#host.leave()
      w.u8(Wasm.end)
      this.#t.pool.give(Type.i32, entry)
    } else {
      callSlow()
      this.#host.faultIf()
      if (slow === 'reference') this.#t.cache?.afterSlowStore()
    }
    w.u8(Wasm.localGet).u32(pointer)
    this.#t.pool.give(Type.i32, pointer)
  }

  store(i: number): void {
    const { aux, a, b } = this.#code
    const w = this.#w
    const access = (aux[i]! & 15) as Access
    const bytes = accessBytes[access]!
    const supervisor = aux[i]! >> 4 !== 0
    const slow = (): void => {
      w.u8(Wasm.localGet).u32(this.#t.stateLocal)
      this.#host.value(b[i]!)
      emitStore(w, access, EngineState.scratch)
      this.#writeSlow(a[i]!, bytes, supervisor)
    }
    if (!this.#t.inlineMemory) {
      slow()
      return
    }
    const entry = this.#t.pool.take(Type.i32)
    this.#lookup(a[i]!, bytes, TlbField.write, supervisor, entry)
    this.#t.unlikely()
    w.u8(Wasm.if).u8(WasmType.empty)
    this.#host.enter()
    slow()
    w.u8(Wasm.else)
    this.#host.value(a[i]!)
    w.u8(Wasm.i32WrapI64)
      .u8(Wasm.localGet)
      .u32(entry)
      .u8(Wasm.i32Load)
      .u32(2)
      .u32(TlbField.addend)
      .u8(Wasm.i32Add)
    this.#host.value(b[i]!)
    emitStore(w, access, 0)
    this.#host.leave()
    w.u8(Wasm.end)
    this.#t.pool.give(Type.i32, entry)
  }

  /** Writes the scratch bytes to guest memory; leaves by the fault edge. */
  #writeSlow(address: number, bytes: number, supervisor: boolean): void {
    const w = this.#w
    w.u8(Wasm.localGet).u32(this.#t.stateLocal)
    this.#host.value(address)
    w.u8(Wasm.i32Const)
      .s32(bytes)
      .u8(Wasm.i32Const)
      .s32(supervisor ? 1 : 0)
    w.u8(Wasm.call).u32(this.#t.engineFunction('write')).u8(Wasm.i32Eqz)
    this.#host.faultIf()
    this.#t.cache?.afterSlowStore()
  }

  /** A reference below guest RAM is the scratch buffer: what was stored there goes on to its place. */
  refStore(i: number): void {
    const { aux, a, b, c } = this.#code
    const w = this.#w
    const access = aux[i]! as Access
    this.#host.value(a[i]!)
    this.#host.value(b[i]!)
    emitStore(w, access, 0)
    this.#host.value(a[i]!)
    w.u8(Wasm.localGet)
      .u32(this.#t.stateLocal)
      .u8(Wasm.i32Const)
      .s32(EngineState.scratch)
      .u8(Wasm.i32Add)
      .u8(Wasm.i32Eq)
    this.#t.unlikely()
    w.u8(Wasm.if).u8(WasmType.empty)
    this.#host.enter()
    this.#writeSlow(c[i]!, accessBytes[access]!, false)
    this.#host.leave()
    w.u8(Wasm.end)
  }
}
