/**
 * Transfers of control that change privilege, mode or the interrupt flag: INT, IRET, far JMP, CALL and RET, SYSCALL,
 * SYSRET, SYSENTER, SYSEXIT, SWAPGS, CLI, STI, HLT.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { Flag, State, Vector } from '../state-layout.ts'
import { deliverInterrupt, EventKind } from '../system/deliver.ts'
import { requireSupervisor } from '../system/descriptor.ts'
import { farReturn, interruptReturn } from '../system/far-return.ts'
import { farTransfer } from '../system/far-transfer.ts'
import { swapGs, syscall, sysenter, sysexit, systemReturn } from '../system/fast-call.ts'
import { clearInterrupts, setInterrupts } from '../system/virtual-flags.ts'
import { accessOf, type Bits, operandSize, wordSizes } from './sizes.ts'

const ends: FormOptions = { ends: true }
const only64: FormOptions = { ends: true, mode: 'only64' }
const no64: FormOptions = { ends: true, mode: 'no64' }

/** Goes on where a procedure has put RIP. */
const proceed = (b: Builder): void => b.resync(b.stateLoad(Access.u64, State.rip))

const interrupt = (b: Builder, vector: Value, kind: number): void => {
  // The frame has the RIP of the next instruction; the engine puts it back should delivery fault.
  b.stateStore(Access.u64, State.rip, b.nextRip())
  b.call(deliverInterrupt, vector, b.const32(kind))
  proceed(b)
}
const int: Body = (b, o) => interrupt(b, b.i32.wrapI64(o.read(0)), EventKind.numbered)
const int3: Body = (b) => interrupt(b, b.const32(Vector.bp), EventKind.software)
/** INTO: INT 4 if OF is set. */
const into: Body = (b) => b.if(b.flag(Flag.of), () => interrupt(b, b.const32(Vector.of), EventKind.software))
const int1: Body = (b) => interrupt(b, b.const32(Vector.db), EventKind.privileged)

const iret =
  (bits: Bits): Body =>
  (b) => {
    // A task switch saves it.
    b.stateStore(Access.u64, State.rip, b.nextRip())
    b.call(interruptReturn, b.const32(bits / 8))
    proceed(b)
  }

const retf =
  (bits: Bits): Body =>
  (b, o) => {
    b.call(farReturn, b.const32(bits / 8), o.count > 0 ? o.read(0) : b.const64(0))
    proceed(b)
  }

/** Offset (i64) and selector (i32) of a far pointer in memory. */
function farPointer(b: Builder, address: Value, bits: Bits): { offset: Value; selector: Value } {
  const offset = b.guestLoad(accessOf(bits), address)
  const selector = b.i32.wrapI64(b.guestLoad(Access.u16, b.i64.add(address, b.const64(bits / 8))))
  return { offset, selector }
}
const transfer = (b: Builder, selector: Value, offset: Value, bits: Bits, calls: number): void => {
  b.call(farTransfer, selector, offset, b.const32(bits / 8), b.const32(calls), b.nextRip())
  proceed(b)
}
/** JMP (0) or CALL (1) through a far pointer in memory. */
const transferIndirect =
  (bits: Bits, calls: number): Body =>
  (b, o) => {
    const { offset, selector } = farPointer(b, o.address(), bits)
    transfer(b, selector, offset, bits, calls)
  }
const transferDirect =
  (bits: Bits, calls: number): Body =>
  (b, o) =>
    transfer(b, b.i32.wrapI64(o.farSelector()), o.read(0), bits, calls)

const cli: Body = (b) => {
  b.call(clearInterrupts)
}
const sti: Body = (b) => {
  b.call(setInterrupts)
  b.resync(b.nextRip())
}
const hlt: Body = (b) => {
  requireSupervisor(b)
  b.stateStore(Access.i32, State.halted, b.const32(1))
  b.resync(b.nextRip())
}

export const systemTransferForms: readonly Form[] = [
  form('INT imm8', 'CD ib', int, ends),
  form('INT3', 'CC', int3, ends),
  form('INT1', 'F1', int1, ends),
  form('INTO', 'CE', into, no64),
  ...([16, 32] as const).flatMap((bits) => [
    form(`JMP ptr16:${bits}`, `EA ${bits === 16 ? 'cd' : 'cp'}`, transferDirect(bits, 0), no64),
    form(`CALL ptr16:${bits}`, `9A ${bits === 16 ? 'cd' : 'cp'}`, transferDirect(bits, 1), no64),
  ]),
  ...wordSizes.map((bits, index) =>
    form(['IRET', 'IRETD', 'IRETQ'][index]!, `${operandSize(bits)}CF`, iret(bits), ends),
  ),
  ...wordSizes.flatMap((bits, index) => [
    form(['RETFW', 'RETF', 'RETFQ'][index]!, `${operandSize(bits)}CB`, retf(bits), ends),
    form(`${['RETFW', 'RETF', 'RETFQ'][index]} imm16`, `${operandSize(bits)}CA iw`, retf(bits), ends),
    form(`JMP m16:${bits}`, `${bits === 64 ? 'REX.W + ' : ''}FF /5`, transferIndirect(bits, 0), ends),
    form(`CALL m16:${bits}`, `${bits === 64 ? 'REX.W + ' : ''}FF /3`, transferIndirect(bits, 1), ends),
  ]),
  form(
    'SYSCALL',
    '0F 05',
    (b) => {
      b.call(syscall, b.nextRip())
      proceed(b)
    },
    only64,
  ),
  form(
    'SYSRET',
    '0F 07',
    (b) => {
      b.call(systemReturn, b.const32(0))
      proceed(b)
    },
    only64,
  ),
  form(
    'SYSRETQ',
    'REX.W + 0F 07',
    (b) => {
      b.call(systemReturn, b.const32(1))
      proceed(b)
    },
    only64,
  ),
  form(
    'SYSENTER',
    '0F 34',
    (b) => {
      b.call(sysenter)
      proceed(b)
    },
    { ...ends, feature: 'sysenter' },
  ),
  form(
    'SYSEXIT',
    '0F 35',
    (b) => {
      b.call(sysexit, b.const32(0))
      proceed(b)
    },
    { ...ends, feature: 'sysenter' },
  ),
  form(
    'SYSEXITQ',
    'REX.W + 0F 35',
    (b) => {
      b.call(sysexit, b.const32(1))
      proceed(b)
    },
    { ...ends, feature: 'sysenter' },
  ),
  form(
    'SWAPGS',
    '0F 01 F8',
    (b) => {
      b.call(swapGs)
    },
    { mode: 'only64' },
  ),
  form('CLI', 'FA', cli),
  form('STI', 'FB', sti, ends),
  form('HLT', 'F4', hlt, ends),
]
