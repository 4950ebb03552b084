/**
 * PUSHF, POPF, CLI and STI where privilege and the extensions for virtual interrupts have a say: virtual-8086 mode with
 * VME, and CPL 3 with PVI (SDM volume 2; volume 3, 21.3, 21.4). IF is then VIF.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { ARITHMETIC_FLAGS, Flag, State, Vector } from '../state-layout.ts'
import { anyBit, bitField32 } from './bit-field.ts'
import { Cr4 } from './control-bits.ts'
import { currentPrivilege } from './descriptor.ts'
import { readFlags, writeFlags } from './flags.ts'
import { inVirtual8086, protectionEnabled, rflagsOf } from './mode.ts'

const { i32, i64 } = Type
const gp = (b: Builder): void => b.raise(Vector.gp, b.const32(0))
const cr4Has = (b: Builder, mask: number): Value => anyBit(b, b.stateLoad(Access.u64, State.cr4), mask)
const iopl = (b: Builder): Value => bitField32(b, rflagsOf(b), 12, 2)
/** VIF is ten bits above IF. */
const VIF_SHIFT = 10

/** i32: virtual-8086 mode below IOPL 3, with VME and 16 bits of operand; #GP(0) below IOPL 3 without. @param bytes - i32 */
function virtualised(b: Builder, bytes: Value): Value {
  const restricted = b.i32.and(inVirtual8086(b), b.i32.ltU(iopl(b), b.const32(3)))
  const extended = b.i32.and(cr4Has(b, Cr4.vme), b.i32.eq(bytes, b.const32(2)))
  b.if(b.i32.and(restricted, b.i32.eqz(extended)), () => gp(b))
  return restricted
}

/** What PUSHF stores outside 64-bit mode. (operand bytes) -> i64 */
export const pushedLegacyFlags: Procedure = procedure(
  'pushedLegacyFlags',
  { parameters: [i32], result: i64, mayFault: true },
  (b, bytes) => {
    const flags = b.i64.and(b.call(readFlags), b.const64(~(Flag.rf | Flag.vm)))
    b.if(virtualised(b, bytes!), () => {
      const interrupts = b.i64.and(b.i64.shrU(flags, b.const64(VIF_SHIFT)), b.const64(Flag.if))
      b.return(b.i64.or(b.i64.or(b.i64.and(flags, b.const64(~Flag.if)), interrupts), b.const64(Flag.iopl)))
    })
    b.return(flags)
  },
)

/** POPF outside 64-bit mode. (value, operand bytes) */
export const popLegacyFlags: Procedure = procedure(
  'popLegacyFlags',
  { parameters: [i64, i32], mayFault: true },
  (b, value, bytes) => {
    const always = ARITHMETIC_FLAGS | Flag.tf | Flag.df | Flag.nt
    b.if(virtualised(b, bytes!), () => {
      const wanted = anyBit(b, value!, Flag.if)
      const pending = b.i32.and(wanted, anyBit(b, rflagsOf(b), Flag.vip))
      b.if(b.i32.or(pending, anyBit(b, value!, Flag.tf)), () => gp(b))
      const interrupts = b.i64.shl(b.i64.and(value!, b.const64(Flag.if)), b.const64(VIF_SHIFT))
      b.call(writeFlags, b.i64.or(value!, interrupts), b.const64(always | Flag.vif))
      b.return()
    })
    const cpl = currentPrivilege(b)
    const virtual = inVirtual8086(b)
    const wide = b.select(b.i32.eq(bytes!, b.const32(4)), b.const64(Flag.ac | Flag.id), b.const64(0))
    // In virtual-8086 mode IOPL is 3 here, and stays.
    const interrupts = b.select(b.i32.leU(cpl, iopl(b)), b.const64(Flag.if), b.const64(0))
    const level = b.select(b.i32.or(cpl, virtual), b.const64(0), b.const64(Flag.iopl))
    b.call(writeFlags, value!, b.i64.or(b.i64.or(wide, interrupts), b.i64.or(level, b.const64(always))))
    b.return()
  },
)

/** What CLI and STI change: IF or VIF, as an i64 mask; #GP(0) when neither is the program's. () -> i64 */
const interruptFlag: Procedure = procedure('interruptFlag', { result: i64, mayFault: true }, (b) => {
  b.if(b.i32.or(b.i32.leU(currentPrivilege(b), iopl(b)), b.i32.eqz(protectionEnabled(b))), () =>
    b.return(b.const64(Flag.if)),
  )
  // Below IOPL. Virtual-8086 mode is at CPL 3.
  const protectedUser = b.i32.eq(currentPrivilege(b), b.const32(3))
  const virtual = b.select(inVirtual8086(b), cr4Has(b, Cr4.vme), b.i32.and(protectedUser, cr4Has(b, Cr4.pvi)))
  b.if(b.i32.eqz(virtual), () => gp(b))
  b.return(b.const64(Flag.vif))
})

/** CLI. () */
export const clearInterrupts: Procedure = procedure('clearInterrupts', { mayFault: true }, (b) => {
  const mask = b.call(interruptFlag)
  b.stateStore(Access.u64, State.rflags, b.i64.and(rflagsOf(b), b.i64.xor(mask, b.const64(-1))))
  b.return()
})

/** STI; the body ends with `resync`. () */
export const setInterrupts: Procedure = procedure('setInterrupts', { mayFault: true }, (b) => {
  const mask = b.call(interruptFlag)
  const before = rflagsOf(b)
  const virtual = anyBit(b, mask, Flag.vif)
  b.if(b.i32.and(virtual, anyBit(b, before, Flag.vip)), () => gp(b))
  b.stateStore(Access.u64, State.rflags, b.i64.or(before, mask))
  b.if(b.i64.eqz(b.i64.and(b.i64.or(before, b.const64(Flag.vif)), mask)), () =>
    b.stateStore(Access.i32, State.interruptShadow, b.const32(1)),
  )
  b.return()
})
