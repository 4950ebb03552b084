/**
 * Near transfers of control (SDM volume 2: JMP Jcc CALL RET LOOP JRCXZ). Far transfers, SYSCALL and interrupts are
 * system instructions.
 *
 * An indirect target that is not canonical faults in the branch, before anything changes. A 66 prefix is ignored, as on
 * Intel's CPUs.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { procedure } from '../ir/procedure.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import type { Operands } from '../isa/operands.ts'
import { Flag, State, Vector } from '../state-layout.ts'
import { anyBit, notCanonical } from '../system/bit-field.ts'
import { Cr4 } from '../system/control-bits.ts'
import { Gpr, push, readGpr, writeGpr } from './registers.ts'
import { conditionNames, hex } from './sizes.ts'

const ends: FormOptions = { ends: true }
const hot: FormOptions = { ends: true, hot: true }
const counted: FormOptions = { ends: true, addressSized: true }

const jmp: Body = (b) => b.branch()
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

const jmpIndirect: Body = (b, o) => b.jump(checkTarget(b, o.read(0)))
const jcc =
  (code: number): Body =>
  (b) =>
    b.if(b.condition(code), () => b.branch())

const call: Body = (b) => {
  push(b, b.nextRip())
  b.branch()
}
/** The target is read first: a memory operand may be relative to RSP, or lie where the return address goes. */
const callIndirect: Body = (b, o) => {
  const target = checkTarget(b, o.read(0))
  push(b, b.nextRip())
  b.jump(target)
}
const ret =
  (released: (o: Operands) => Value | undefined): Body =>
  (b, o) => {
    const stack = readGpr(b, Gpr.rsp)
    const target = checkTarget(b, b.guestLoad(Access.u64, stack))
    const popped = b.i64.add(stack, b.const64(8))
    const extra = released(o)
    writeGpr(b, Gpr.rsp, extra === undefined ? popped : b.i64.add(popped, extra))
    b.jump(target)
  }

/** Counts RCX (ECX with 32-bit addresses) down and branches while it is not zero, and `also` holds. */
const loop =
  (also?: (b: Builder) => Value): Body =>
  (b, o) => {
    const bits = o.addressBits
    const count = b.truncate(bits, b.i64.sub(readGpr(b, Gpr.rcx, bits), b.const64(1)))
    writeGpr(b, Gpr.rcx, count, bits)
    const more = b.i64.ne(count, b.const64(0))
    b.if(also ? b.i32.and(more, also(b)) : more, () => b.branch())
  }
const jrcxz: Body = (b, o) => b.if(b.i64.eqz(readGpr(b, Gpr.rcx, o.addressBits)), () => b.branch())

export const controlForms: readonly Form[] = [
  form('JMP rel8', 'EB cb', jmp, hot),
  form('JMP rel32', 'E9 cd', jmp, hot),
  form('JMP r/m64', 'FF /4', jmpIndirect, hot),
  ...conditionNames.flatMap((condition, code) => [
    form(`J${condition} rel8`, `${hex(0x70 + code)} cb`, jcc(code), hot),
    form(`J${condition} rel32`, `0F ${hex(0x80 + code)} cd`, jcc(code), hot),
  ]),
  form('CALL rel32', 'E8 cd', call, hot),
  form('CALL r/m64', 'FF /2', callIndirect, hot),
  form(
    'RET',
    'C3',
    ret(() => undefined),
    hot,
  ),
  form(
    'RET imm16',
    'C2 iw',
    ret((o) => o.read(0)),
    ends,
  ),
  form(
    'LOOPNE rel8',
    'E0 cb',
    loop((b) => b.i32.eqz(b.flag(Flag.zf))),
    counted,
  ),
  form(
    'LOOPE rel8',
    'E1 cb',
    loop((b) => b.flag(Flag.zf)),
    counted,
  ),
  form('LOOP rel8', 'E2 cb', loop(), counted),
  form('JRCXZ rel8', 'E3 cb', jrcxz, counted),
]
