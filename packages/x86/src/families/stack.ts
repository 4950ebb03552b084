/**
 * PUSH, POP, PUSHF, POPF, ENTER, LEAVE of 64-bit mode: the operand size is 64 bits, or 16 with a 66 prefix. POP of FS
 * and GS loads a segment register and is in the system families.
 *
 * Order is what matters here. The pushed value is read before RSP moves (PUSH RSP stores the old RSP), the address of
 * POP's memory operand is computed with RSP already moved, and RSP is written only after every access succeeded.
 */
import type { Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { ARITHMETIC_FLAGS, Flag, State } from '../state-layout.ts'
import { writeFlags } from '../system/flags.ts'
import { afterPop, Gpr, push, readGpr, top, writeGpr } from './registers.ts'
import { type Bits, opcodeRegister } from './sizes.ts'

const plain: FormOptions = { user: true }
const hot: FormOptions = { user: true, hot: true }
/** Stack operand sizes of 64-bit mode. */
const sizes: readonly Bits[] = [16, 64]
const o16 = (bits: Bits): string => (bits === 16 ? 'o16 ' : '')
const hotIf64 = (bits: Bits): FormOptions => (bits === 64 ? hot : plain)

const pushOperand =
  (bits: Bits): Body =>
  (b, o) =>
    push(b, o.read(0), bits)

const popRegister =
  (bits: Bits): Body =>
  (b, o) => {
    const value = top(b, bits)
    writeGpr(b, Gpr.rsp, afterPop(b, bits / 8))
    o.write(0, value)
  }
const popOperand =
  (bits: Bits): Body =>
  (b, o) => {
    if (!o.isMemory(0)) {
      popRegister(bits)(b, o)
      return
    }
    const value = top(b, bits)
    const before = readGpr(b, Gpr.rsp)
    const after = afterPop(b, bits / 8)
    // RSP moves for the computation of the address only: the store may still fault.
    writeGpr(b, Gpr.rsp, after)
    const address = o.address()
    writeGpr(b, Gpr.rsp, before)
    b.guestStore(bits === 64 ? Access.u64 : Access.u16, address, value)
    writeGpr(b, Gpr.rsp, after)
  }

const pushf =
  (bits: Bits): Body =>
  (b) => {
    // RF and VM are pushed as 0.
    const others = b.i64.and(b.stateLoad(Access.u64, State.rflags), b.const64(~(Flag.rf | Flag.vm)))
    push(b, b.i64.or(others, b.i64.extendI32U(b.flags())), bits)
  }

const ALWAYS = ARITHMETIC_FLAGS | Flag.tf | Flag.df | Flag.nt | Flag.ac | Flag.id
/** CPL 0 changes everything but VIF and VIP, CPL up to IOPL everything but IOPL, others not IF either. */
const popf =
  (bits: Bits): Body =>
  (b) => {
    const value = top(b, bits)
    const privilege = b.stateLoad(Access.i32, State.cpl)
    const iopl = b.i32.and(
      b.i32.shrU(b.i32.wrapI64(b.stateLoad(Access.u64, State.rflags)), b.const32(12)),
      b.const32(3),
    )
    const inner = b.select(b.i32.leU(privilege, iopl), b.const64(Flag.if), b.const64(0))
    const supervisor = b.select(b.i32.eqz(privilege), b.const64(Flag.if | Flag.iopl), inner)
    const allowed = b.truncate(bits, b.i64.or(supervisor, b.const64(ALWAYS)))
    writeGpr(b, Gpr.rsp, afterPop(b, bits / 8))
    b.call(writeFlags, value, allowed)
    b.resync(b.nextRip())
  }

/** Frame of `imm16` bytes; with nesting levels (imm8 mod 32), the enclosing frames' pointers are copied. */
const enter =
  (bits: Bits): Body =>
  (b, o) => {
    const access = bits === 64 ? Access.u64 : Access.u16
    const bytes = b.const64(bits / 8)
    const sizeBytes = o.read(0)
    const level = b.local(1, b.i32.and(b.i32.wrapI64(o.read(1)), b.const32(31)))
    const rbp = readGpr(b, Gpr.rbp)
    const frame = b.i64.sub(readGpr(b, Gpr.rsp), bytes)
    b.guestStore(access, frame, rbp)
    const stack = b.local(2, frame)
    b.if(b.get(level), () => {
      const link = b.local(2, rbp)
      const store = (value: Value): void => {
        const below = b.i64.sub(b.get(stack), bytes)
        b.guestStore(access, below, value)
        b.set(stack, below)
      }
      b.block((done) =>
        b.loop((again) => {
          b.set(level, b.i32.sub(b.get(level), b.const32(1)))
          b.brIf(b.i32.eqz(b.get(level)), done)
          b.set(link, b.i64.sub(b.get(link), bytes))
          store(b.guestLoad(access, b.get(link)))
          b.br(again)
        }),
      )
      store(frame)
    })
    const final = b.i64.sub(b.get(stack), sizeBytes)
    // The CPU checks that the new top of the stack can be written.
    b.guestRef(access, final)
    writeGpr(b, Gpr.rsp, final)
    writeGpr(b, Gpr.rbp, frame, bits)
  }

const leave =
  (bits: Bits): Body =>
  (b) => {
    const frame = readGpr(b, Gpr.rbp)
    const saved = b.guestLoad(bits === 64 ? Access.u64 : Access.u16, frame)
    writeGpr(b, Gpr.rsp, b.i64.add(frame, b.const64(bits / 8)))
    writeGpr(b, Gpr.rbp, saved, bits)
  }

export const stackForms: readonly Form[] = [
  ...sizes.flatMap((bits) => [
    form(`PUSH r${bits}`, `50${opcodeRegister(bits)}`, pushOperand(bits), hotIf64(bits)),
    form(`PUSH r/m${bits}`, 'FF /6', pushOperand(bits), hotIf64(bits)),
    form(`POP r${bits}`, `58${opcodeRegister(bits)}`, popRegister(bits), hotIf64(bits)),
    form(`POP r/m${bits}`, '8F /0', popOperand(bits), plain),
    form('PUSH imm8s', `${o16(bits)}6A ib`, pushOperand(bits), hotIf64(bits)),
    form('PUSH FS', `${o16(bits)}0F A0`, pushOperand(bits), plain),
    form('PUSH GS', `${o16(bits)}0F A8`, pushOperand(bits), plain),
    form(bits === 64 ? 'PUSHFQ' : 'PUSHF', `${o16(bits)}9C`, pushf(bits), hotIf64(bits)),
    form(bits === 64 ? 'POPFQ' : 'POPF', `${o16(bits)}9D`, popf(bits), { ends: true }),
    form('ENTER imm16, imm8', `${o16(bits)}C8 iw ib`, enter(bits), plain),
    form('LEAVE', `${o16(bits)}C9`, leave(bits), hotIf64(bits)),
  ]),
  form('PUSH imm32s', '68 id', pushOperand(64), hot),
  form('PUSH imm16', 'o16 68 iw', pushOperand(16), plain),
]
