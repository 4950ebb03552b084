/**
 * Near transfers of control (SDM volume 2: JMP Jcc CALL RET LOOP JRCXZ). Far transfers, SYSCALL and interrupts are
 * system instructions.
 *
 * A target that is not canonical, or outside the limit of CS, faults in the branch, before anything changes. In 64-bit
 * mode a 66 prefix is ignored, as on Intel's CPUs; elsewhere an operand size of 16 bits cuts the target to IP.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { procedure } from '../ir/procedure.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import type { Operands } from '../isa/operands.ts'
import { Flag, Segment, SegmentField, State, segmentOffset, Vector } from '../state-layout.ts'
import { anyBit, notCanonical } from '../system/bit-field.ts'
import { Cr4 } from '../system/control-bits.ts'
import { afterPop, Gpr, push, readGpr, top, writeGpr, writeStackPointer } from './registers.ts'
import { type Bits, conditionNames, hex } from './sizes.ts'

const ends: FormOptions = { ends: true }
const hot: FormOptions = { ends: true, hot: true }
const counted: FormOptions = { ends: true, addressSized: true }
const no64 = (options: FormOptions = ends): FormOptions => ({ ...options, mode: 'no64' })

/** #GP(0) unless an address is canonical in the 57 bits of 5-level paging, or in 48. */
const checkWideTarget = procedure(
  'checkWideTarget',
  { parameters: [Type.i64], mayFault: true },
  (b, target) => {
    const fiveLevels = anyBit(b, b.stateLoad(Access.u64, State.cr4), Cr4.la57)
    b.if(b.i32.or(b.i32.eqz(fiveLevels), notCanonical(b, target!, 57)), () =>
      b.raise(Vector.gp, b.const32(0)),
    )
  },
)
function checkTarget(b: Builder, target: Value): Value {
  b.if(notCanonical(b, target), () => {
    b.call(checkWideTarget, target)
  })
  return target
}

/** The target cut to the operand size outside 64-bit mode; #GP(0) beyond the limit of CS. */
function checkNarrow(b: Builder, bits: Bits, target: Value): Value {
  const narrow = b.truncate(bits, target)
  const limit = b.stateLoad(Access.u32, segmentOffset(Segment.cs, SegmentField.limit))
  b.if(b.i64.gtU(narrow, limit), () => b.raise(Vector.gp, b.const32(0)))
  return narrow
}
const checkAny = (b: Builder, bits: Bits, target: Value): Value =>
  b.mode === 'legacy' ? checkNarrow(b, bits, target) : checkTarget(b, target)

/** Takes the direct branch, after what `before` does once nothing can fault in it. */
function takeBranch(b: Builder, o: Operands, bits: Bits, before: () => void = () => {}): void {
  if (b.mode === 'long') {
    before()
    b.branch()
    return
  }
  const target = o.target()
  const narrow = checkNarrow(b, bits, target)
  before()
  // A target that wraps round is none that engines can link to.
  b.if(b.i64.eq(narrow, target), () => b.branch())
  b.jump(narrow)
}

const jmp =
  (bits: Bits): Body =>
  (b, o) =>
    takeBranch(b, o, bits)
const jmpIndirect =
  (bits: Bits): Body =>
  (b, o) =>
    b.jump(checkAny(b, bits, o.read(0)))
const jcc =
  (code: number, bits: Bits): Body =>
  (b, o) =>
    b.if(b.condition(code), () => takeBranch(b, o, bits))

const call =
  (bits: Bits): Body =>
  (b, o) =>
    takeBranch(b, o, bits, () => push(b, b.nextRip(), bits))
/** The target is read first: a memory operand may be relative to RSP, or lie where the return address goes. */
const callIndirect =
  (bits: Bits): Body =>
  (b, o) => {
    const target = checkAny(b, bits, o.read(0))
    push(b, b.nextRip(), bits)
    b.jump(target)
  }
const ret =
  (bits: Bits): Body =>
  (b, o) => {
    const target = checkAny(b, bits, top(b, bits))
    const popped = afterPop(b, bits / 8)
    writeStackPointer(b, o.count > 0 ? b.i64.add(popped, o.read(0)) : popped)
    b.jump(target)
  }

/** Counts RCX (by the address size) down and branches while it is not zero, and `also` holds. */
const loop =
  (also?: (b: Builder) => Value) =>
  (bits: Bits): Body =>
  (b, o) => {
    const size = o.addressBits
    const count = b.truncate(size, b.i64.sub(readGpr(b, Gpr.rcx, size), b.const64(1)))
    const nonzero = b.i64.ne(count, b.const64(0))
    const more = also ? b.i32.and(nonzero, also(b)) : nonzero
    if (b.mode === 'legacy') {
      b.if(more, () => takeBranch(b, o, bits, () => writeGpr(b, Gpr.rcx, count, size)))
      writeGpr(b, Gpr.rcx, count, size)
      return
    }
    writeGpr(b, Gpr.rcx, count, size)
    b.if(more, () => b.branch())
  }
const jrcxz =
  (bits: Bits): Body =>
  (b, o) =>
    b.if(b.i64.eqz(readGpr(b, Gpr.rcx, o.addressBits)), () => takeBranch(b, o, bits))

/** A short branch: the same opcode in every mode; outside 64-bit mode an operand size of 16 bits cuts the target. */
const short = (text: string, encoding: string, body: (bits: Bits) => Body, options: FormOptions): Form[] => [
  form(text, encoding, body(32), options),
  form(text, `o16 ${encoding}`, body(16), no64(options.addressSized ? counted : ends)),
]
/** A near branch with a displacement of the operand size, always 32 bits in 64-bit mode. */
const near = (name: string, opcode: string, body: (bits: Bits) => Body): Form[] => [
  form(
    `${name} rel32`,
    `${opcode} cd`,
    body(name === 'CALL' ? 64 : 32),
    name === 'CALL' ? { ...hot, mode: 'only64' } : hot,
  ),
  ...(name === 'CALL' ? [form(`${name} rel32`, `o32 ${opcode} cd`, body(32), no64())] : []),
  form(`${name} rel16`, `${opcode} cw`, body(16), no64()),
]

export const controlForms: readonly Form[] = [
  ...short('JMP rel8', 'EB cb', jmp, hot),
  ...near('JMP', 'E9', jmp),
  form('JMP r/m64', 'FF /4', jmpIndirect(64), hot),
  ...conditionNames.flatMap((condition, code) => [
    ...short(`J${condition} rel8`, `${hex(0x70 + code)} cb`, (bits) => jcc(code, bits), hot),
    ...near(`J${condition}`, `0F ${hex(0x80 + code)}`, (bits) => jcc(code, bits)),
  ]),
  ...near('CALL', 'E8', call),
  form('CALL r/m64', 'FF /2', callIndirect(64), hot),
  form('RET', 'C3', ret(64), { ...hot, mode: 'only64' }),
  form('RET imm16', 'C2 iw', ret(64), { ...ends, mode: 'only64' }),
  ...([16, 32] as const).flatMap((bits) => [
    form(`JMP r/m${bits}`, 'FF /4', jmpIndirect(bits), no64()),
    form(`CALL r/m${bits}`, 'FF /2', callIndirect(bits), no64()),
    form('RET', `o${bits} C3`, ret(bits), no64()),
    form('RET imm16', `o${bits} C2 iw`, ret(bits), no64()),
  ]),
  ...short(
    'LOOPNE rel8',
    'E0 cb',
    loop((b) => b.i32.eqz(b.flag(Flag.zf))),
    counted,
  ),
  ...short(
    'LOOPE rel8',
    'E1 cb',
    loop((b) => b.flag(Flag.zf)),
    counted,
  ),
  ...short('LOOP rel8', 'E2 cb', loop(), counted),
  ...short('JRCXZ rel8', 'E3 cb', jrcxz, counted),
]
