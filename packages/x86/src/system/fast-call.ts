/**
 * SYSCALL, SYSRET, SYSENTER, SYSEXIT and SWAPGS (SDM volume 2). The segments they load are fixed; no
 * descriptor is read. The procedures leave the new RIP in `State.rip`; bodies end with `resync`.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import {
  ARITHMETIC_FLAGS,
  Flag,
  Segment,
  SegmentField,
  State,
  segmentOffset,
  Vector,
} from '../state-layout.ts'
import { anyBit, bitField32, notCanonical } from './bit-field.ts'
import { Efer } from './control-bits.ts'
import { FixedAttributes, requireSupervisor, storeFixedSegment } from './descriptor.ts'
import { modeChanged } from './engine.ts'
import { readFlags, STORED_FLAGS, writeFlags } from './flags.ts'
import { inLongMode, protectionEnabled } from './mode.ts'

const { i32, i64 } = Type
const gpr = (number: number): number => State.gpr + 8 * number
const RCX = gpr(1)
const RDX = gpr(2)
const RSP = gpr(4)
const R11 = gpr(11)

function requireSyscallEnabled(b: Builder): void {
  const enabled = anyBit(b, b.stateLoad(Access.u64, State.efer), Efer.sce)
  b.if(b.i32.eqz(enabled), () => b.raise(Vector.ud))
}

function requireCanonical(b: Builder, address: Value): void {
  b.if(notCanonical(b, address), () => b.raise(Vector.gp, b.const32(0)))
}

function setPrivilege(b: Builder, privilege: number): void {
  b.stateStore(Access.i32, State.cpl, b.const32(privilege))
  b.call(modeChanged)
}

/** SYSCALL. (RIP of the next instruction) */
export const syscall: Procedure = procedure(
  'syscall',
  { parameters: [i64], mayFault: true },
  (b, nextRip) => {
    requireSyscallEnabled(b)
    const flags = b.call(readFlags)
    b.stateStore(Access.u64, RCX, nextRip!)
    b.stateStore(Access.u64, R11, flags)
    b.call(writeFlags, b.const64(0), b.stateLoad(Access.u64, State.sfmask))
    const selector = bitField32(b, b.stateLoad(Access.u64, State.star), 32, 16)
    const code = b.i32.and(selector, b.const32(0xfffc))
    storeFixedSegment(b, Segment.cs, code, FixedAttributes.kernelCode64)
    storeFixedSegment(b, Segment.ss, b.i32.add(code, b.const32(8)), FixedAttributes.kernelData)
    b.stateStore(Access.u64, State.rip, b.stateLoad(Access.u64, State.lstar))
    setPrivilege(b, 0)
    b.return()
  },
)

/** SYSRET. (i32: 1 with REX.W, to 64-bit code; 0 to compatibility mode) */
export const systemReturn: Procedure = procedure(
  'systemReturn',
  { parameters: [i32], mayFault: true },
  (b, long) => {
    requireSyscallEnabled(b)
    requireSupervisor(b)
    const target = b.stateLoad(Access.u64, RCX)
    b.if(b.i32.and(long!, notCanonical(b, target)), () => b.raise(Vector.gp, b.const32(0)))
    b.call(writeFlags, b.stateLoad(Access.u64, R11), b.const64(ARITHMETIC_FLAGS | STORED_FLAGS))
    const selector = bitField32(b, b.stateLoad(Access.u64, State.star), 48, 16)
    const user = b.const32(3)
    b.if(
      long!,
      () => {
        const code = b.i32.or(b.i32.add(selector, b.const32(16)), user)
        storeFixedSegment(b, Segment.cs, code, FixedAttributes.userCode64)
      },
      () => {
        storeFixedSegment(b, Segment.cs, b.i32.or(selector, user), FixedAttributes.userCode32)
      },
    )
    const stack = b.i32.or(b.i32.add(selector, b.const32(8)), user)
    storeFixedSegment(b, Segment.ss, stack, FixedAttributes.userData)
    b.stateStore(Access.u64, State.rip, b.select(long!, target, b.truncate(32, target)))
    setPrivilege(b, 3)
    b.return()
  },
)

/** SYSENTER. () */
export const sysenter: Procedure = procedure('sysenter', { mayFault: true }, (b) => {
  b.if(b.i32.eqz(protectionEnabled(b)), () => b.raise(Vector.gp, b.const32(0)))
  const code = b.i32.and(b.i32.wrapI64(b.stateLoad(Access.u64, State.sysenterCs)), b.const32(0xfffc))
  b.if(b.i32.eqz(code), () => b.raise(Vector.gp, b.const32(0)))
  const flags = b.stateLoad(Access.u64, State.rflags)
  b.stateStore(Access.u64, State.rflags, b.i64.and(flags, b.const64(~(Flag.if | Flag.vm))))
  b.if(
    inLongMode(b),
    () => storeFixedSegment(b, Segment.cs, code, FixedAttributes.kernelCode64),
    () => storeFixedSegment(b, Segment.cs, code, FixedAttributes.kernelCode32),
  )
  storeFixedSegment(b, Segment.ss, b.i32.add(code, b.const32(8)), FixedAttributes.kernelData)
  b.stateStore(Access.u64, RSP, b.stateLoad(Access.u64, State.sysenterEsp))
  b.stateStore(Access.u64, State.rip, b.stateLoad(Access.u64, State.sysenterEip))
  setPrivilege(b, 0)
  b.return()
})

/** SYSEXIT. (i32: 1 with REX.W) */
export const sysexit: Procedure = procedure('sysexit', { parameters: [i32], mayFault: true }, (b, long) => {
  const base = b.i32.wrapI64(b.stateLoad(Access.u64, State.sysenterCs))
  const enabled = b.i32.and(protectionEnabled(b), b.i32.ne(b.i32.and(base, b.const32(0xfffc)), b.const32(0)))
  b.if(b.i32.eqz(enabled), () => b.raise(Vector.gp, b.const32(0)))
  requireSupervisor(b)
  const target = b.stateLoad(Access.u64, RDX)
  const stack = b.stateLoad(Access.u64, RCX)
  b.if(long!, () => {
    requireCanonical(b, target)
    requireCanonical(b, stack)
  })
  b.if(
    long!,
    () => {
      const code = b.i32.or(b.i32.add(base, b.const32(32)), b.const32(3))
      storeFixedSegment(b, Segment.cs, code, FixedAttributes.userCode64)
      storeFixedSegment(b, Segment.ss, b.i32.add(code, b.const32(8)), FixedAttributes.userData)
      b.stateStore(Access.u64, RSP, stack)
      b.stateStore(Access.u64, State.rip, target)
    },
    () => {
      const code = b.i32.or(b.i32.add(base, b.const32(16)), b.const32(3))
      storeFixedSegment(b, Segment.cs, code, FixedAttributes.userCode32)
      storeFixedSegment(b, Segment.ss, b.i32.add(code, b.const32(8)), FixedAttributes.userData)
      b.stateStore(Access.u64, RSP, b.truncate(32, stack))
      b.stateStore(Access.u64, State.rip, b.truncate(32, target))
    },
  )
  setPrivilege(b, 3)
  b.return()
})

/** SWAPGS. () */
export const swapGs: Procedure = procedure('swapGs', { mayFault: true }, (b) => {
  requireSupervisor(b)
  const gsBase = segmentOffset(Segment.gs, SegmentField.base)
  const outer = b.stateLoad(Access.u64, gsBase)
  b.stateStore(Access.u64, gsBase, b.stateLoad(Access.u64, State.kernelGsBase))
  b.stateStore(Access.u64, State.kernelGsBase, outer)
  b.return()
})
