/**
 * PUSH, POP, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE. The operand size is 64 bits in 64-bit mode, or 16 with a 66 prefix;
 * elsewhere 16 or 32. POP of segment registers is in the system families.
 *
 * Order is what matters here. The pushed value is read before RSP moves (PUSH RSP stores the old RSP), the address of
 * POP's memory operand is computed with RSP already moved, and RSP is written only after every access succeeded.
 */
import type { Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { ARITHMETIC_FLAGS, Flag, Segment, State } from '../state-layout.ts'
import { writeFlags } from '../system/flags.ts'
import { segmentedConstant } from '../system/segmentation.ts'
import { stackMask } from '../system/stack.ts'
import { popLegacyFlags, pushedLegacyFlags } from '../system/virtual-flags.ts'
import {
  afterPop,
  Gpr,
  push,
  readGpr,
  stackLoad,
  stackStore,
  top,
  writeGpr,
  writeStackPointer,
} from './registers.ts'
import { accessOf, type Bits, opcodeRegister } from './sizes.ts'

const plain: FormOptions = { user: true }
const hot: FormOptions = { user: true, hot: true }
const no64: FormOptions = { user: true, mode: 'no64' }
/** Options of a form with an operand of `bits` that no operand tells: 64 bits there are only in 64-bit mode, 32 elsewhere. */
const sized = (bits: Bits, options: FormOptions): FormOptions =>
  bits === 16 ? options : { ...options, mode: bits === 64 ? 'only64' : 'no64' }
/** Stack operand sizes, of all modes. */
const sizes: readonly Bits[] = [16, 32, 64]
const explicit = (bits: Bits): string => (bits === 64 ? '' : `o${bits} `)
const hotIf64 = (bits: Bits): FormOptions => sized(bits, bits === 64 ? hot : plain)

const pushOperand =
  (bits: Bits): Body =>
  (b, o) =>
    push(b, o.read(0), bits)

const popRegister =
  (bits: Bits): Body =>
  (b, o) => {
    const value = top(b, bits)
    writeStackPointer(b, afterPop(b, bits / 8))
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
    writeStackPointer(b, after)
    const address = o.address()
    writeGpr(b, Gpr.rsp, before)
    b.guestStore(accessOf(bits), address, value)
    writeStackPointer(b, after)
  }

const pushf =
  (bits: Bits): Body =>
  (b) => {
    if (b.mode === 'legacy') {
      push(b, b.call(pushedLegacyFlags, b.const32(bits / 8)), bits)
      return
    }
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
    if (b.mode === 'legacy') {
      b.call(popLegacyFlags, value, b.const32(bits / 8))
      writeStackPointer(b, afterPop(b, bits / 8))
      b.resync(b.nextRip())
      return
    }
    const privilege = b.stateLoad(Access.i32, State.cpl)
    const iopl = b.i32.and(
      b.i32.shrU(b.i32.wrapI64(b.stateLoad(Access.u64, State.rflags)), b.const32(12)),
      b.const32(3),
    )
    const inner = b.select(b.i32.leU(privilege, iopl), b.const64(Flag.if), b.const64(0))
    const supervisor = b.select(b.i32.eqz(privilege), b.const64(Flag.if | Flag.iopl), inner)
    const allowed = b.truncate(bits, b.i64.or(supervisor, b.const64(ALWAYS)))
    writeStackPointer(b, afterPop(b, bits / 8))
    b.call(writeFlags, value, allowed)
    b.resync(b.nextRip())
  }

/** Frame of `imm16` bytes; with nesting levels (imm8 mod 32), the enclosing frames' pointers are copied. */
const enter =
  (bits: Bits): Body =>
  (b, o) => {
    const bytes = b.const64(bits / 8)
    const sizeBytes = o.read(0)
    const level = b.local(1, b.i32.and(b.i32.wrapI64(o.read(1)), b.const32(31)))
    const rbp = readGpr(b, Gpr.rbp)
    const frame = b.i64.sub(readGpr(b, Gpr.rsp), bytes)
    stackStore(b, frame, rbp, bits)
    const stack = b.local(2, frame)
    b.if(b.get(level), () => {
      const link = b.local(2, rbp)
      const store = (value: Value): void => {
        const below = b.i64.sub(b.get(stack), bytes)
        stackStore(b, below, value, bits)
        b.set(stack, below)
      }
      b.block((done) =>
        b.loop((again) => {
          b.set(level, b.i32.sub(b.get(level), b.const32(1)))
          b.brIf(b.i32.eqz(b.get(level)), done)
          b.set(link, b.i64.sub(b.get(link), bytes))
          store(stackLoad(b, b.get(link), bits))
          b.br(again)
        }),
      )
      store(frame)
    })
    const final = b.i64.sub(b.get(stack), sizeBytes)
    // The CPU checks that the new top of the stack can be written.
    if (b.mode === 'long') b.guestRef(accessOf(bits), final)
    else
      b.guestRef(
        accessOf(bits),
        b.i64.add(segmentedConstant(b, Segment.ss), b.i64.and(final, b.call(stackMask))),
      )
    writeStackPointer(b, final)
    writeGpr(b, Gpr.rbp, frame, bits)
  }

const leave =
  (bits: Bits): Body =>
  (b) => {
    const frame = readGpr(b, Gpr.rbp)
    const saved = stackLoad(b, frame, bits)
    writeStackPointer(b, b.i64.add(frame, b.const64(bits / 8)))
    writeGpr(b, Gpr.rbp, saved, bits)
  }

const GENERAL = 8
/** PUSHA: all eight registers, with the ESP from before. */
const pushAll =
  (bits: Bits): Body =>
  (b) => {
    const start = readGpr(b, Gpr.rsp)
    const below = (count: number): Value => b.i64.sub(start, b.const64((count * bits) / 8))
    for (let register = 0; register < GENERAL; register++)
      stackStore(b, below(register + 1), readGpr(b, register), bits)
    writeStackPointer(b, below(GENERAL))
  }
/** POPA: as PUSHA left them, but ESP. */
const popAll =
  (bits: Bits): Body =>
  (b) => {
    const start = readGpr(b, Gpr.rsp)
    const above = (count: number): Value => b.i64.add(start, b.const64((count * bits) / 8))
    const values = Array.from({ length: GENERAL }, (_, index) => stackLoad(b, above(index), bits))
    values.forEach((value, index) => {
      const register = GENERAL - 1 - index
      if (register !== Gpr.rsp) writeGpr(b, register, value, bits)
    })
    writeStackPointer(b, above(GENERAL))
  }

const old = [
  ['ES', 0x06],
  ['CS', 0x0e],
  ['SS', 0x16],
  ['DS', 0x1e],
] as const

export const stackForms: readonly Form[] = [
  ...sizes.flatMap((bits) => [
    form(`PUSH r${bits}`, `50${opcodeRegister(bits)}`, pushOperand(bits), hotIf64(bits)),
    form(`PUSH r/m${bits}`, 'FF /6', pushOperand(bits), hotIf64(bits)),
    form(`POP r${bits}`, `58${opcodeRegister(bits)}`, popRegister(bits), hotIf64(bits)),
    form(`POP r/m${bits}`, '8F /0', popOperand(bits), sized(bits, plain)),
    form('PUSH imm8s', `${explicit(bits)}6A ib`, pushOperand(bits), hotIf64(bits)),
    form('PUSH FS', `${explicit(bits)}0F A0`, pushOperand(bits), sized(bits, plain)),
    form('PUSH GS', `${explicit(bits)}0F A8`, pushOperand(bits), sized(bits, plain)),
    form(
      ['PUSHF', 'PUSHFD', 'PUSHFQ'][sizes.indexOf(bits)]!,
      `${explicit(bits)}9C`,
      pushf(bits),
      hotIf64(bits),
    ),
    form(
      ['POPF', 'POPFD', 'POPFQ'][sizes.indexOf(bits)]!,
      `${explicit(bits)}9D`,
      popf(bits),
      sized(bits, { ends: true }),
    ),
    form('ENTER imm16, imm8', `${explicit(bits)}C8 iw ib`, enter(bits), sized(bits, plain)),
    form('LEAVE', `${explicit(bits)}C9`, leave(bits), hotIf64(bits)),
  ]),
  form('PUSH imm32s', '68 id', pushOperand(64), { ...hot, mode: 'only64' }),
  form('PUSH imm32', 'o32 68 id', pushOperand(32), no64),
  form('PUSH imm16', 'o16 68 iw', pushOperand(16), plain),
  ...([16, 32] as const).flatMap((bits) => [
    ...old.map(([segment, opcode]) =>
      form(
        `PUSH ${segment}`,
        `o${bits} ${opcode.toString(16).toUpperCase().padStart(2, '0')}`,
        pushOperand(bits),
        no64,
      ),
    ),
    form(bits === 16 ? 'PUSHA' : 'PUSHAD', `o${bits} 60`, pushAll(bits), no64),
    form(bits === 16 ? 'POPA' : 'POPAD', `o${bits} 61`, popAll(bits), no64),
  ]),
]
