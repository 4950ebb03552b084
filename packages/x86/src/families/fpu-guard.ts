/**
 * May SSE, x87 and MMX instructions run now? Control-register bits answer (SDM volume 3, sections 2.5, 13.1 and
 * volume 2, tables 2-21 and following), condensed into one word of state per unit, so that an instruction pays one
 * load and one test. Whoever changes CR0 or CR4 calls `updateFpuAvailability`.
 */
import type { Builder } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import type { Body } from '../isa/form.ts'
import { State, Vector } from '../state-layout.ts'

const CR0_MP = 2
const CR0_EM = 4
const CR0_TS = 8
const CR4_OSFXSR = 0x200
/** Error summary: an unmasked x87 exception is pending. */
export const FSW_ES = 0x80

/** Derives `sseUnavailable` and `fpuUnavailable` from CR0 and CR4. To be called after either changed, and after state was loaded. */
export const updateFpuAvailability: Procedure = procedure('updateFpuAvailability', {}, (b) => {
  const cr0 = b.i32.wrapI64(b.stateLoad(Access.u64, State.cr0))
  const cr4 = b.i32.wrapI64(b.stateLoad(Access.u64, State.cr4))
  const emulated = b.i32.and(cr0, b.const32(CR0_EM))
  const switched = b.i32.and(cr0, b.const32(CR0_TS))
  const nm = b.const32(Vector.nm)
  const zero = b.const32(0)
  const unusable = b.i32.or(emulated, b.i32.eqz(b.i32.and(cr4, b.const32(CR4_OSFXSR))))
  b.stateStore(
    Access.i32,
    State.sseUnavailable,
    b.select(unusable, b.const32(Vector.ud), b.select(switched, nm, zero)),
  )
  b.stateStore(Access.i32, State.fpuUnavailable, b.select(b.i32.or(emulated, switched), nm, zero))
})

const raiseSseUnavailable = procedure('raiseSseUnavailable', { mayFault: true }, (b) => {
  b.if(b.i32.eq(b.stateLoad(Access.i32, State.sseUnavailable), b.const32(Vector.nm)), () =>
    b.raise(Vector.nm),
  )
  b.raise(Vector.ud)
})

/** #UD or #NM unless SSE instructions can be executed. First thing in a body: it precedes every other fault. */
export function requireSse(b: Builder): void {
  b.if(b.stateLoad(Access.i32, State.sseUnavailable), () => {
    b.call(raiseSseUnavailable)
  })
}

/** A body that is guarded by `requireSse`. */
export function sse(body: Body): Body {
  return (b, o) => {
    requireSse(b)
    body(b, o)
  }
}

const checkFpu = procedure('checkFpu', { mayFault: true }, (b) => {
  b.if(b.stateLoad(Access.i32, State.fpuUnavailable), () => b.raise(Vector.nm))
})

const checkFpuAndPending = procedure('checkFpuAndPending', { mayFault: true }, (b) => {
  b.if(b.stateLoad(Access.i32, State.fpuUnavailable), () => b.raise(Vector.nm))
  b.if(b.i32.and(b.stateLoad(Access.i32, State.fsw), b.const32(FSW_ES)), () => b.raise(Vector.mf))
})

const checkMmx = procedure('checkMmx', { mayFault: true }, (b) => {
  b.if(b.i32.wrapI64(b.i64.and(b.stateLoad(Access.u64, State.cr0), b.const64(CR0_EM))), () =>
    b.raise(Vector.ud),
  )
  b.if(b.stateLoad(Access.i32, State.fpuUnavailable), () => b.raise(Vector.nm))
  b.if(b.i32.and(b.stateLoad(Access.i32, State.fsw), b.const32(FSW_ES)), () => b.raise(Vector.mf))
})

/** #NM unless x87 instructions can be executed; a pending exception does not matter (FNxxx). */
export function requireFpu(b: Builder): void {
  b.call(checkFpu)
}

/** As `requireFpu`, then #MF for a pending unmasked exception (waiting instructions). */
export function requireFpuWait(b: Builder): void {
  b.call(checkFpuAndPending)
}

/** What MMX instructions check: #UD, #NM, #MF. */
export function requireMmx(b: Builder): void {
  b.call(checkMmx)
}

/** FWAIT: EM does not matter, TS only with MP. */
export const waitForFpu: Procedure = procedure('waitForFpu', { mayFault: true }, (b) => {
  const cr0 = b.i32.and(b.i32.wrapI64(b.stateLoad(Access.u64, State.cr0)), b.const32(CR0_MP | CR0_TS))
  b.if(b.i32.eq(cr0, b.const32(CR0_MP | CR0_TS)), () => b.raise(Vector.nm))
  b.if(b.i32.and(b.stateLoad(Access.i32, State.fsw), b.const32(FSW_ES)), () => b.raise(Vector.mf))
})
