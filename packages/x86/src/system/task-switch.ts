/**
 * Hardware task switches (SDM volume 3, 8.3), outside IA-32e mode: by JMP or CALL to a task-state segment or task gate, by
 * an interrupt through a task gate, by IRET with NT set. Task-state segments of 32 and of 16 bits.
 *
 * The outgoing state is saved and the incoming one loaded first; what faults then (a selector of the new task) faults in
 * the new task, as on hardware, with the switch committed.
 */

import { updateFpuAvailability } from '../families/fpu-guard.ts'
import { type Builder, type Local, Privilege, type Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { ARITHMETIC_FLAGS, Flag, Segment, State, Vector } from '../state-layout.ts'
import { anyBit, bit, bitField32 } from './bit-field.ts'
import { Cr0 } from './control-bits.ts'
import { deliverException } from './deliver.ts'
import {
  baseOf,
  clearBusy,
  DescriptorBit,
  descriptorAddress,
  descriptorBase,
  descriptorLimit,
  descriptorPrivilege,
  isCode,
  isNull,
  isWritableData,
  markAccessed,
  markBusy,
  readDescriptor,
  selectorIndex,
  selectorOf,
  storeNullSegment,
  storeRealSegment,
  storeSegment,
} from './descriptor.ts'
import { flushTranslations, modeChanged } from './engine.ts'
import { readFlags, STORED_FLAGS, writeFlags } from './flags.ts'
import { attributesOf, rflagsOf } from './mode.ts'

const { i32, i64 } = Type

/** How a task is switched to. */
export const TaskSwitch = { jump: 0, call: 1, return: 2, gate: 3 } as const

/** Offsets in a task-state segment. `segments` are ES, CS, SS, DS and, with 32 bits, FS, GS. */
const Task32 = {
  cr3: 0x1c,
  eip: 0x20,
  flags: 0x24,
  registers: 0x28,
  segments: 0x48,
  ldt: 0x60,
  trap: 0x64,
  limit: 0x67,
}
const Task16 = { ip: 0x0e, flags: 0x10, registers: 0x12, segments: 0x22, ldt: 0x2a, limit: 0x2b }
const segmentOrder = [Segment.es, Segment.cs, Segment.ss, Segment.ds, Segment.fs, Segment.gs] as const

const at = (b: Builder, base: Value, offset: number): Value => b.i64.add(base, b.const64(offset))
const load = (b: Builder, access: Access, base: Value, offset: number): Value =>
  b.guestLoad(access, at(b, base, offset), Privilege.supervisor)
const store = (b: Builder, access: Access, base: Value, offset: number, value: Value): void =>
  b.guestStore(access, at(b, base, offset), value, Privilege.supervisor)
const gpr = (index: number): number => State.gpr + 8 * index

/** Saves the running task in its TSS. (EIP, EFLAGS) */
const saveTask: Procedure = procedure(
  'saveTask',
  { parameters: [i64, i64], mayFault: true },
  (b, eip, flags) => {
    const base = baseOf(b, Segment.tr)
    b.if(
      bit(b, attributesOf(b, Segment.tr), 3),
      () => {
        // Faults of the last bytes come before anything is written.
        b.guestRef(Access.u16, at(b, base, Task32.segments + 4 * 5), Privilege.supervisor)
        store(b, Access.u32, base, Task32.eip, eip!)
        store(b, Access.u32, base, Task32.flags, flags!)
        for (let index = 0; index < 8; index++)
          store(b, Access.u32, base, Task32.registers + 4 * index, b.stateLoad(Access.u64, gpr(index)))
        segmentOrder.forEach((segment, index) =>
          store(b, Access.u16, base, Task32.segments + 4 * index, b.i64.extendI32U(selectorOf(b, segment))),
        )
      },
      () => {
        b.guestRef(Access.u16, at(b, base, Task16.segments + 2 * 3), Privilege.supervisor)
        store(b, Access.u16, base, Task16.ip, eip!)
        store(b, Access.u16, base, Task16.flags, flags!)
        for (let index = 0; index < 8; index++)
          store(b, Access.u16, base, Task16.registers + 2 * index, b.stateLoad(Access.u64, gpr(index)))
        for (let index = 0; index < 4; index++)
          store(
            b,
            Access.u16,
            base,
            Task16.segments + 2 * index,
            b.i64.extendI32U(selectorOf(b, segmentOrder[index]!)),
          )
      },
    )
    b.return()
  },
)

/** Loads one data segment or SS of the new task. (segment, selector) */
const loadTaskSegment: Procedure = procedure(
  'loadTaskSegment',
  { parameters: [i32, i32], mayFault: true },
  (b, segment, selector) => {
    const error = selectorIndex(b, selector!)
    const ts = (): void => b.raise(Vector.ts, error)
    const isStack = b.i32.eq(segment!, b.const32(Segment.ss))
    const cpl = b.stateLoad(Access.i32, State.cpl)
    b.if(isNull(b, selector!), () => {
      b.if(isStack, ts)
      b.return()
    })
    const address = b.call(descriptorAddress, selector!)
    b.if(b.i64.eq(address, b.const64(-1)), ts)
    const descriptor = b.guestLoad(Access.u64, address, Privilege.supervisor)
    const dpl = descriptorPrivilege(b, descriptor)
    const rpl = b.i32.and(selector!, b.const32(3))
    const present = bit(b, descriptor, DescriptorBit.present)
    b.if(
      isStack,
      () => {
        const level = b.i32.and(b.i32.eq(rpl, cpl), b.i32.eq(dpl, cpl))
        b.if(b.i32.eqz(b.i32.and(level, isWritableData(b, descriptor))), ts)
        b.if(b.i32.eqz(present), () => b.raise(Vector.ss, error))
      },
      () => {
        const code = isCode(b, descriptor)
        const readable = b.i32.and(
          bit(b, descriptor, DescriptorBit.segment),
          b.i32.or(b.i32.eqz(code), bit(b, descriptor, DescriptorBit.writable)),
        )
        const anyLevel = b.i32.and(code, bit(b, descriptor, DescriptorBit.conforming))
        const visible = b.i32.and(b.i32.leU(rpl, dpl), b.i32.leU(cpl, dpl))
        b.if(b.i32.eqz(b.i32.and(readable, b.i32.or(anyLevel, visible))), ts)
        b.if(b.i32.eqz(present), () => b.raise(Vector.np, error))
      },
    )
    markAccessed(b, selector!, descriptor)
    b.call(storeSegment, segment!, selector!, descriptor)
    b.return()
  },
)

/** Descriptors of the new task, whose selectors are in the segment registers already. (LDT selector) */
const loadTaskDescriptors: Procedure = procedure(
  'loadTaskDescriptors',
  { parameters: [i32], mayFault: true },
  (b, ldt) => {
    b.if(b.i32.eqz(isNull(b, ldt!)), () => {
      const error = selectorIndex(b, ldt!)
      const ts = (): void => b.raise(Vector.ts, error)
      b.if(b.i32.and(ldt!, b.const32(4)), ts)
      const address = b.call(descriptorAddress, ldt!)
      b.if(b.i64.eq(address, b.const64(-1)), ts)
      const descriptor = b.guestLoad(Access.u64, address, Privilege.supervisor)
      b.if(b.i32.ne(bitField32(b, descriptor, DescriptorBit.accessed, 5), b.const32(2)), ts)
      b.if(b.i32.eqz(bit(b, descriptor, DescriptorBit.present)), ts)
      b.call(storeSegment, b.const32(Segment.ldtr), ldt!, descriptor)
    })
    b.if(anyBit(b, rflagsOf(b), Flag.vm), () => {
      for (const segment of segmentOrder) b.call(storeRealSegment, b.const32(segment), selectorOf(b, segment))
      b.call(modeChanged)
      b.return()
    })
    const selector = selectorOf(b, Segment.cs)
    const error = selectorIndex(b, selector)
    const ts = (): void => b.raise(Vector.ts, error)
    b.if(isNull(b, selector), ts)
    const address = b.call(descriptorAddress, selector)
    b.if(b.i64.eq(address, b.const64(-1)), ts)
    const code = b.guestLoad(Access.u64, address, Privilege.supervisor)
    const rpl = b.i32.and(selector, b.const32(3))
    const dpl = descriptorPrivilege(b, code)
    const level = b.select(bit(b, code, DescriptorBit.conforming), b.i32.leU(dpl, rpl), b.i32.eq(dpl, rpl))
    b.if(b.i32.eqz(b.i32.and(isCode(b, code), level)), ts)
    b.if(b.i32.eqz(bit(b, code, DescriptorBit.present)), () => b.raise(Vector.np, error))
    for (const segment of [Segment.ss, Segment.ds, Segment.es, Segment.fs, Segment.gs])
      b.call(loadTaskSegment, b.const32(segment), selectorOf(b, segment))
    markAccessed(b, selector, code)
    b.call(storeSegment, b.const32(Segment.cs), selector, code)
    b.call(modeChanged)
    b.if(b.i64.gtU(b.stateLoad(Access.u64, State.rip), descriptorLimit(b, code)), () =>
      b.raise(Vector.gp, b.const32(0)),
    )
    b.return()
  },
)

/**
 * Switches to a task. (TSS selector, TaskSwitch, EIP that the outgoing task goes on at, 1: EXT in error codes). The new
 * EIP is in `State.rip`.
 */
export const switchTask: Procedure = procedure(
  'switchTask',
  { parameters: [i32, i32, i64, i32], mayFault: true },
  (b, selector, kind, eip, external) => {
    const is = (value: number): Value => b.i32.eq(kind!, b.const32(value))
    const error = b.i32.or(selectorIndex(b, selector!), external!)
    const wrong = (): void =>
      b.if(
        is(TaskSwitch.jump),
        () => b.raise(Vector.gp, error),
        () =>
          b.if(
            is(TaskSwitch.call),
            () => b.raise(Vector.gp, error),
            () => b.raise(Vector.ts, error),
          ),
      )
    b.if(b.i32.or(isNull(b, selector!), b.i32.and(selector!, b.const32(4))), wrong)
    const descriptor = b.call(readDescriptor, selector!, error)
    const returns = is(TaskSwitch.return)
    // Available to switch to, busy to return to; of 16 or 32 bits.
    const type = b.i32.and(bitField32(b, descriptor, DescriptorBit.accessed, 5), b.const32(0b1_0111))
    b.if(b.i32.ne(type, b.select(returns, b.const32(3), b.const32(1))), wrong)
    b.if(b.i32.eqz(bit(b, descriptor, DescriptorBit.present)), () => b.raise(Vector.np, error))
    const wide = bit(b, descriptor, 43)
    const leastLimit = b.select(wide, b.const64(Task32.limit), b.const64(Task16.limit))
    b.if(b.i64.ltU(descriptorLimit(b, descriptor), leastLimit), () => b.raise(Vector.ts, error))

    // The new state, all of it, before anything changes.
    const base = descriptorBase(b, descriptor)
    const locals = (count: number): Local[] => Array.from({ length: count }, () => b.local(i64))
    const registers = locals(8)
    const segments = locals(6)
    const newEip = b.local(i64)
    const newFlags = b.local(i64)
    const ldt = b.local(i64)
    const cr3 = b.local(i64)
    const trap = b.local(i64)
    b.if(
      wide,
      () => {
        b.set(newEip, load(b, Access.u32, base, Task32.eip))
        b.set(newFlags, load(b, Access.u32, base, Task32.flags))
        registers.forEach((local, index) =>
          b.set(local, load(b, Access.u32, base, Task32.registers + 4 * index)),
        )
        segments.forEach((local, index) =>
          b.set(local, load(b, Access.u16, base, Task32.segments + 4 * index)),
        )
        b.set(ldt, load(b, Access.u16, base, Task32.ldt))
        b.set(cr3, load(b, Access.u32, base, Task32.cr3))
        b.set(trap, b.i64.and(load(b, Access.u16, base, Task32.trap), b.const64(1)))
      },
      () => {
        b.set(newEip, load(b, Access.u16, base, Task16.ip))
        b.set(newFlags, load(b, Access.u16, base, Task16.flags))
        // The upper halves of registers are undefined after a switch to a task of 16 bits; here they are ones.
        registers.forEach((local, index) =>
          b.set(
            local,
            b.i64.or(load(b, Access.u16, base, Task16.registers + 2 * index), b.const64(0xffff_0000)),
          ),
        )
        for (let index = 0; index < 4; index++)
          b.set(segments[index]!, load(b, Access.u16, base, Task16.segments + 2 * index))
        b.set(ldt, load(b, Access.u16, base, Task16.ldt))
      },
    )
    const oldSelector = selectorOf(b, Segment.tr)
    const nests = b.i32.geU(kind!, b.const32(TaskSwitch.gate))
    const nested = b.i32.or(nests, is(TaskSwitch.call))
    const flags = b.call(readFlags)
    b.call(saveTask, eip!, b.select(returns, b.i64.and(flags, b.const64(~Flag.nt)), flags))
    b.if(b.i32.eqz(nested), () => b.call(clearBusy, oldSelector))
    b.if(nested, () => {
      store(b, Access.u16, base, 0, b.i64.extendI32U(oldSelector))
      b.set(newFlags, b.i64.or(b.get(newFlags), b.const64(Flag.nt)))
    })
    b.if(b.i32.eqz(returns), () => markBusy(b, selector!))

    // Committed.
    const busy = b.const64(1n << BigInt(DescriptorBit.writable))
    b.call(storeSegment, b.const32(Segment.tr), selector!, b.i64.or(descriptor, busy))
    const cr0 = b.stateLoad(Access.u64, State.cr0)
    b.stateStore(Access.u64, State.cr0, b.i64.or(cr0, b.const64(Cr0.ts)))
    b.call(updateFpuAvailability)
    b.if(b.i32.and(wide, anyBit(b, cr0, Cr0.pg)), () => {
      b.stateStore(Access.u64, State.cr3, b.get(cr3))
      b.call(flushTranslations, b.const32(0))
    })
    registers.forEach((local, index) => b.stateStore(Access.u64, gpr(index), b.get(local)))
    b.stateStore(Access.u64, State.rip, b.get(newEip))
    b.call(writeFlags, b.get(newFlags), b.const64(ARITHMETIC_FLAGS | STORED_FLAGS))
    const others = b.i64.and(rflagsOf(b), b.const64(~Flag.vm))
    const virtual = b.i64.and(b.get(newFlags), b.const64(Flag.vm))
    b.stateStore(Access.u64, State.rflags, b.i64.or(others, virtual))
    segmentOrder.forEach((segment, index) =>
      b.call(storeNullSegment, b.const32(segment), b.i32.wrapI64(b.get(segments[index]!)), b.const32(0)),
    )
    b.call(storeNullSegment, b.const32(Segment.ldtr), b.i32.wrapI64(b.get(ldt)), b.const32(0))
    const level = b.i32.and(b.i32.wrapI64(b.get(segments[1]!)), b.const32(3))
    b.stateStore(Access.i32, State.cpl, b.select(b.i64.eqz(virtual), level, b.const32(3)))
    b.call(modeChanged)
    const dr7 = b.stateLoad(Access.u64, State.dr + 5 * 8)
    // Local breakpoints end with the task.
    b.stateStore(Access.u64, State.dr + 5 * 8, b.i64.and(dr7, b.const64(~0x155)))
    b.stateStore(Access.i32, State.taskTrap, b.i32.wrapI64(b.get(trap)))
    b.attempt(() => b.call(loadTaskDescriptors, b.i32.wrapI64(b.get(ldt))))
    // In the new task: its EIP is where the fault happened.
    b.if(b.takeFault(), () => b.call(deliverException))
    b.return()
  },
)
