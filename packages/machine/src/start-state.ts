/**
 * The vCPU state in which a boot plan begins: the reset state of the vCPU, with what the boot protocol prescribes.
 */
import type { SegmentState, VcpuState } from '@trapframe/cpu'
import type { InitialState } from './boot/initial-state.ts'

const EFER = 0xc000_0080
/** IA32_MTRR_DEF_TYPE as firmware leaves it: enabled, write-back. Kernels give up the PAT where MTRRs are off. */
const MTRR_DEF_TYPE = 0x2ff
const MTRR_ENABLED_WRITE_BACK = 0x806n

/** Access rights, as `SegmentState` has them. */
const CODE_64 = 0xa09b
const CODE_32 = 0xc09b
const DATA = 0xc093
const TSS_64_BUSY = 0x008b
const UNUSABLE = 0x1_0000
const FLAT_LIMIT = 0xffff_ffff
const TSS_LIMIT = 0x67

/** RBX, RSP and RSI in the order of `VcpuState.gpr`. */
const RBX = 3
const RSP = 4
const RSI = 6

/** Applies `initial` to `reset`, the state of a vCPU that has just been created or reset. */
export function startState(reset: VcpuState, initial: InitialState): VcpuState {
  const gpr: bigint[] = Array.from({ length: 16 }, () => 0n)
  if (initial.mode === 'long64') {
    gpr[RSP] = BigInt(initial.rsp)
    gpr[RSI] = BigInt(initial.rsi)
  } else {
    gpr[RBX] = BigInt(initial.rbx)
  }
  const { cs, ds, tr } = initial.selectors
  const flat = (selector: number, attributes: number): SegmentState => ({
    selector,
    base: 0n,
    limit: FLAT_LIMIT,
    attributes,
  })
  const unusable: SegmentState = { selector: 0, base: 0n, limit: 0, attributes: UNUSABLE }
  const data = flat(ds, DATA)
  const long = initial.mode === 'long64'
  return {
    ...reset,
    gpr,
    rip: BigInt(initial.rip),
    rflags: BigInt(initial.rflags),
    segments: [
      data,
      flat(cs, long ? CODE_64 : CODE_32),
      data,
      data,
      unusable,
      unusable,
      unusable,
      { selector: tr, base: 0n, limit: TSS_LIMIT, attributes: TSS_64_BUSY },
    ],
    gdtr: { base: BigInt(initial.gdt.base), limit: initial.gdt.limit },
    idtr: { base: 0n, limit: 0 },
    cr0: BigInt(initial.cr0),
    cr2: 0n,
    cr3: long ? BigInt(initial.cr3) : 0n,
    cr4: BigInt(initial.cr4),
    cr8: 0,
    msrs: withMsr(withMsr(reset.msrs, EFER, BigInt(initial.efer)), MTRR_DEF_TYPE, MTRR_ENABLED_WRITE_BACK),
  }
}

function withMsr(msrs: VcpuState['msrs'], index: number, value: bigint): VcpuState['msrs'] {
  return [...msrs.filter(([other]) => other !== index), [index, value] as const]
}
