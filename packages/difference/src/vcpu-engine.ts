/**
 * A vCPU of any backend as an engine: each case runs in ring 3 under the system of monitor.ts and ends at the HLT of
 * an exception handler.
 */
import { ExitReason, type SegmentState, type Vcpu, type VcpuState } from '@trapframe/cpu'
import type { GuestMemory } from '@trapframe/memory'
import type { Case, Engine } from './engine.ts'
import { abridgedTags, fullTagWord, stackOffset } from './fxsave-image.ts'
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

/** Instructions after which a case is said not to end. */
const INSTRUCTION_LIMIT = 10_000
const EFER = 0xc000_0080
const INT3 = 0xcc

/** A vCPU with the memory of its VM, which nobody else uses. */
export interface VcpuUnderTest {
  readonly name: string
  /** At least ENGINE_RAM_BYTES, all of which is overwritten. */
  readonly memory: GuestMemory
  readonly vcpu: Vcpu
  /**
   * Called with the guest-physical address of a case's first instruction once it has been executed, and before the
   * case runs: a chance to translate the code.
   */
  readonly prepare?: ((guestPhysical: number) => void) | undefined
}

/** RAM that a VM needs at least. */
export const ENGINE_RAM_BYTES: number = MONITOR_RAM_BYTES

/** A vCPU as an engine. */
export function vcpuEngine({ name, memory, vcpu, prepare }: VcpuUnderTest): Engine {
  let fresh: VcpuState | undefined
  return {
    name,
    run: (cases) =>
      cases.map((one) => {
        if (!fresh) {
          memory.write(0, monitorMemory())
          fresh = vcpu.save()
        }
        return runCase(memory, vcpu, fresh, one, prepare)
      }),
  }
}

function runCase(
  memory: GuestMemory,
  vcpu: Vcpu,
  fresh: VcpuState,
  { start }: Case,
  prepare: VcpuUnderTest['prepare'],
): MachineImage {
  const code = physicalAddress(CODE_BASE)
  const offset = start.codeOffset
  memory.fill(code, 0x1000, INT3)
  memory.write(code + offset, start.code.subarray(0, 0x1000 - offset))
  const begin = (): void => {
    memory.fill(physicalAddress(WINDOW_BASE), 0x3000, 0)
    for (const { address, sizeBytes, offset } of memoryRegions)
      memory.write(physicalAddress(address), start.memory.subarray(offset, offset + sizeBytes))
    vcpu.load(startState(fresh, start))
  }
  begin()
  if (prepare) {
    vcpu.run(INSTRUCTION_LIMIT)
    prepare(code + offset)
    begin()
  }
  const reason = vcpu.run(INSTRUCTION_LIMIT)

  const state = vcpu.save()
  const end = start.clone()
  const vector = handlerVector(state.rip)
  if (reason !== ExitReason.halted || vector === undefined) {
    end.vector = reason === ExitReason.budget ? NoVector.timeout : NoVector.unsupported
    return end
  }
  const frame = Number(state.gpr[4]! - SYSTEM_BASE)
  const first = hasErrorCode(vector) ? frame + 8 : frame
  state.gpr.forEach((value, register) => {
    end.setGpr(register, value)
  })
  end.setGpr(4, memory.readU64(first + 24))
  end.rip = memory.readU64(first)
  end.rflags = Number(memory.readU64(first + 16))
  end.vector = vector
  end.errorCode = hasErrorCode(vector) ? memory.readU32(frame) | 0 : 0
  end.faultAddress = vector === 14 ? state.cr2 : 0n
  storeFpu(state, end)
  for (const { address, sizeBytes, offset } of memoryRegions)
    end.memory.set(memory.read(physicalAddress(address), sizeBytes), offset)
  return end
}

function startState(fresh: VcpuState, start: MachineImage): VcpuState {
  const segment = (selector: number, base: bigint, limit: number, attributes: number): SegmentState => ({
    selector,
    base,
    limit,
    attributes,
  })
  const none = 0x1_0000
  return {
    ...fresh,
    gpr: Array.from({ length: 16 }, (_, register) => start.gpr(register)),
    rip: start.rip,
    rflags: BigInt(start.rflags),
    segments: [
      ...userSegments(start).map((one) => (one.attributes === 0 ? { ...one, attributes: none } : one)),
      segment(0, 0n, 0, none),
      segment(Selector.tss, TSS_BASE, TSS_LIMIT, 0x8b),
    ],
    gdtr: { base: GDT_BASE, limit: GDT_LIMIT },
    idtr: { base: IDT_BASE, limit: 0xfff },
    cr0: 0x8005_0033n,
    cr2: 0n,
    cr3: BigInt(PAGE_TABLES),
    cr4: 0x5_06a0n,
    msrs: [...fresh.msrs.filter(([index]) => index !== EFER), [EFER, 0xd01n]],
    fpu: loadFpu(fresh, start),
    events: {
      pendingInterrupt: -1,
      nmiPending: false,
      nmiBlocked: false,
      interruptShadow: false,
      halted: false,
    },
  }
}

function loadFpu(fresh: VcpuState, start: MachineImage): VcpuState['fpu'] {
  const view = start.fxsaveView
  const registers = new Uint8Array(80)
  for (let register = 0; register < 8; register++) {
    const offset = stackOffset(view, register)
    registers.set(start.fxsave.subarray(offset, offset + 10), 10 * register)
  }
  const ymm = new Uint8Array(512)
  for (let register = 0; register < 16; register++)
    ymm.set(start.fxsave.subarray(Fxsave.xmm + 16 * register, Fxsave.xmm + 16 * register + 16), 32 * register)
  return {
    ...fresh.fpu,
    fcw: view.getUint16(Fxsave.fcw, true),
    fsw: view.getUint16(Fxsave.fsw, true),
    ftw: fullTagWord(view),
    fop: 0,
    fip: 0n,
    fdp: 0n,
    registers,
    mxcsr: view.getUint32(Fxsave.mxcsr, true),
    ymm,
    xcr0: 3n,
  }
}

function storeFpu({ fpu }: VcpuState, end: MachineImage): void {
  const view = end.fxsaveView
  view.setUint16(Fxsave.fcw, fpu.fcw, true)
  view.setUint16(Fxsave.fsw, fpu.fsw, true)
  view.setUint8(Fxsave.ftw, abridgedTags(fpu.ftw))
  view.setUint32(Fxsave.mxcsr, fpu.mxcsr, true)
  for (let register = 0; register < 8; register++)
    end.fxsave.set(fpu.registers.subarray(10 * register, 10 * register + 10), stackOffset(view, register))
  for (let register = 0; register < 16; register++)
    end.fxsave.set(fpu.ymm.subarray(32 * register, 32 * register + 16), Fxsave.xmm + 16 * register)
}
