/** The reference evaluator of @trapframe/x86 as an engine. */
import {
  createEvaluator,
  type Evaluator,
  readArithmeticFlags,
  Segment,
  SegmentField,
  State,
  segmentOffset,
  writeArithmeticFlags,
} from '@trapframe/x86'
import type { Case, Engine } from './engine.ts'
import { stackOffset } from './fxsave-image.ts'
import {
  CODE_BASE,
  Fxsave,
  type MachineImage,
  memoryRegions,
  NoVector,
  WINDOW_BASE,
} from './machine-image.ts'
import {
  GDT_BASE,
  GDT_LIMIT,
  handlerVector,
  hasErrorCode,
  IDT_BASE,
  MONITOR_RAM_BYTES,
  monitorMemory,
  PAGE_TABLES,
  physicalAddress,
  Selector,
  SYSTEM_BASE,
  TSS_BASE,
  TSS_LIMIT,
  userSegments,
} from './monitor.ts'

/** Steps after which a case is said not to end. */
const STEP_LIMIT = 10_000
const INT3 = 0xcc
const ARITHMETIC = 0x8d5

/** The reference evaluator as an engine. @param options - `forms`: what it knows; default: all that is implemented */
export function evaluatorEngine(
  options: { readonly forms?: Parameters<typeof createEvaluator>[0]['forms'] } = {},
): Engine {
  let evaluator: Evaluator | undefined
  return {
    name: 'evaluator',
    run: (cases) =>
      cases.map((one) => {
        evaluator ??= prepare(
          createEvaluator({
            ramBytes: MONITOR_RAM_BYTES,
            ...(options.forms ? { forms: options.forms } : {}),
          }),
        )
        return runCase(evaluator, one)
      }),
  }
}

function prepare(evaluator: Evaluator): Evaluator {
  const { state, ram } = evaluator
  ram.set(monitorMemory())
  const quad = (offset: number, value: number | bigint): void =>
    state.setBigUint64(offset, BigInt(value), true)
  quad(State.cr0, 0x8005_0033)
  quad(State.cr3, PAGE_TABLES)
  quad(State.cr4, 0x5_06a0)
  quad(State.efer, 0xd01)
  quad(State.xcr0, 3)
  quad(State.gdtrBase, GDT_BASE)
  state.setUint32(State.gdtrLimit, GDT_LIMIT, true)
  quad(State.idtrBase, IDT_BASE)
  state.setUint32(State.idtrLimit, 0xfff, true)
  setSegment(state, Segment.tr, Selector.tss, TSS_BASE, TSS_LIMIT, 0x8b)
  evaluator.controlsChanged()
  return evaluator
}

function setSegment(
  state: DataView,
  segment: number,
  selector: number,
  base: bigint,
  limit: number,
  attributes: number,
): void {
  state.setBigUint64(segmentOffset(segment, SegmentField.base), base, true)
  state.setUint32(segmentOffset(segment, SegmentField.limit), limit, true)
  state.setUint16(segmentOffset(segment, SegmentField.selector), selector, true)
  state.setUint16(segmentOffset(segment, SegmentField.attributes), attributes, true)
}

function runCase(evaluator: Evaluator, { start }: Case): MachineImage {
  const { state, ram } = evaluator
  const code = physicalAddress(CODE_BASE)
  const offset = start.codeOffset
  const { segmentBase } = start
  ram.fill(INT3, code, code + 0x1000)
  ram.set(start.code.subarray(0, 0x1000 - offset), code + offset)
  const window = physicalAddress(WINDOW_BASE)
  ram.fill(0, window, window + 0x3000)
  for (const { address, sizeBytes, offset } of memoryRegions)
    ram.set(start.memory.subarray(offset, offset + sizeBytes), physicalAddress(address))

  for (let register = 0; register < 16; register++)
    state.setBigUint64(State.gpr + 8 * register, start.gpr(register), true)
  state.setBigUint64(State.rip, start.rip, true)
  writeArithmeticFlags(state, start.rflags)
  state.setBigUint64(State.rflags, BigInt(start.rflags & ~ARITHMETIC), true)
  userSegments(start).forEach(({ selector, base, limit, attributes }, segment) => {
    setSegment(state, segment, selector, base, limit, attributes)
  })
  state.setInt32(State.cpl, 3, true)
  state.setInt32(State.halted, 0, true)
  state.setInt32(State.interruptShadow, 0, true)
  state.setInt32(State.replayCount, 0, true)
  state.setBigUint64(State.cr2, 0n, true)
  state.setBigInt64(State.budget, BigInt(STEP_LIMIT), true)
  loadFxsave(state, start.fxsaveView, start.fxsave)

  const end = start.clone()
  end.vector = NoVector.timeout
  for (let steps = 0; steps < STEP_LIMIT; steps++) {
    const rip = state.getBigUint64(State.rip, true)
    if (((rip + segmentBase) & ~0xfffn) === CODE_BASE && ram[code + Number(rip & 0xfffn)] === INT3) {
      end.vector = 3
      end.errorCode = 0
      store(evaluator, end, rip + 1n, registerOf(state, 4))
      return end
    }
    const result = evaluator.step()
    if (state.getInt32(State.cpl, true) === 0) {
      storeException(evaluator, end)
      return end
    }
    if (result !== 'next') {
      end.vector = NoVector.unsupported
      return end
    }
  }
  return end
}

const registerOf = (state: DataView, register: number): bigint =>
  state.getBigUint64(State.gpr + 8 * register, true)

/** The evaluator is at the first instruction of a handler: the interrupted state is in the frame. */
function storeException(evaluator: Evaluator, end: MachineImage): void {
  const { state, ram } = evaluator
  const vector = handlerVector(state.getBigUint64(State.rip, true))
  if (vector === undefined) {
    end.vector = NoVector.unsupported
    return
  }
  const frame = new DataView(ram.buffer, ram.byteOffset + Number(registerOf(state, 4) - SYSTEM_BASE))
  const first = hasErrorCode(vector) ? 8 : 0
  end.vector = vector
  end.errorCode = first ? frame.getInt32(0, true) : 0
  end.faultAddress = vector === 14 ? state.getBigUint64(State.cr2, true) : 0n
  store(evaluator, end, frame.getBigUint64(first, true), frame.getBigUint64(first + 24, true))
  end.rflags = Number(frame.getBigUint64(first + 16, true))
}

function store({ state, ram }: Evaluator, end: MachineImage, rip: bigint, rsp: bigint): void {
  for (let register = 0; register < 16; register++) end.setGpr(register, registerOf(state, register))
  end.setGpr(4, rsp)
  end.rip = rip
  end.rflags = Number(state.getBigUint64(State.rflags, true)) | readArithmeticFlags(state)
  storeFxsave(state, end.fxsaveView, end.fxsave)
  for (const { address, sizeBytes, offset } of memoryRegions) {
    const physical = physicalAddress(address)
    end.memory.set(ram.subarray(physical, physical + sizeBytes), offset)
  }
}

function loadFxsave(state: DataView, view: DataView, bytes: Uint8Array): void {
  state.setInt32(State.fcw, view.getUint16(Fxsave.fcw, true), true)
  state.setInt32(State.fsw, view.getUint16(Fxsave.fsw, true), true)
  state.setInt32(State.ftw, view.getUint8(Fxsave.ftw), true)
  state.setInt32(State.fop, view.getUint16(Fxsave.fop, true), true)
  state.setBigUint64(State.fip, view.getBigUint64(Fxsave.fip, true), true)
  state.setBigUint64(State.fdp, view.getBigUint64(Fxsave.fdp, true), true)
  state.setInt32(State.mxcsr, view.getInt32(Fxsave.mxcsr, true), true)
  const to = new Uint8Array(state.buffer, state.byteOffset)
  for (let register = 0; register < 8; register++) {
    const offset = stackOffset(view, register)
    to.set(bytes.subarray(offset, offset + 10), State.x87 + 16 * register)
  }
  for (let register = 0; register < 16; register++)
    to.set(
      bytes.subarray(Fxsave.xmm + 16 * register, Fxsave.xmm + 16 * register + 16),
      State.ymm + 32 * register,
    )
}

function storeFxsave(state: DataView, view: DataView, bytes: Uint8Array): void {
  view.setUint16(Fxsave.fcw, state.getInt32(State.fcw, true), true)
  view.setUint16(Fxsave.fsw, state.getInt32(State.fsw, true), true)
  view.setUint8(Fxsave.ftw, state.getInt32(State.ftw, true))
  view.setInt32(Fxsave.mxcsr, state.getInt32(State.mxcsr, true), true)
  const from = new Uint8Array(state.buffer, state.byteOffset)
  for (let register = 0; register < 8; register++)
    bytes.set(
      from.subarray(State.x87 + 16 * register, State.x87 + 16 * register + 10),
      stackOffset(view, register),
    )
  for (let register = 0; register < 16; register++)
    bytes.set(
      from.subarray(State.ymm + 32 * register, State.ymm + 32 * register + 16),
      Fxsave.xmm + 16 * register,
    )
}
