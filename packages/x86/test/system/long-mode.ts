/** A small long-mode machine in the evaluator, for tests of system semantics. */
import { writeArithmeticFlags } from '../../src/evaluator/arithmetic-flags.ts'
import { createEvaluator, type Evaluator, type EvaluatorCpuidEntry } from '../../src/evaluator/evaluator.ts'
import { Segment, SegmentField, State, segmentOffset } from '../../src/state-layout.ts'

/** Physical places; the first 2 MiB map to themselves, user pages included. */
export const Place = {
  pml4: 0x1000,
  pdpt: 0x2000,
  pd: 0x3000,
  gdt: 0x5000,
  idt: 0x6000,
  tss: 0x7000,
  code: 0x8000,
  /** Handler of vector n is at handlers + 16 n. */
  handlers: 0x9000,
  stack: 0x1_0000,
  rsp0: 0x1_2000,
  ist1: 0x1_4000,
} as const

/** Selectors in the order that SYSCALL and SYSRET ask for. */
export const Selector = {
  kernelCode: 0x08,
  kernelData: 0x10,
  userCode32: 0x1b,
  userData: 0x23,
  userCode: 0x2b,
  tss: 0x30,
} as const

export interface LongMode {
  readonly evaluator: Evaluator
  readonly memory: DataView
  u64(offset: number): bigint
  setU64(offset: number, value: bigint | number): void
  i32(offset: number): number
  setI32(offset: number, value: number): void
  gpr(index: number): bigint
  setGpr(index: number, value: bigint | number): void
  /** Code at RIP. */
  code(...bytes: number[]): void
  selector(segment: number): number
  /** `count` steps; the last result. */
  run(count?: number): ReturnType<Evaluator['step']>
  /** Words of the stack from RSP up. */
  stack(count: number): bigint[]
  gate(
    vector: number,
    options: {
      type?: number
      dpl?: number
      ist?: number
      present?: boolean
      selector?: number
      offset?: bigint
    },
  ): void
  /** Puts the CPU into ring 3. */
  user(): void
}

export function longMode(cpuid: readonly EvaluatorCpuidEntry[] = []): LongMode {
  const evaluator = createEvaluator({ ramBytes: 0x20_0000, cpuid })
  const { state, ram } = evaluator
  const memory = new DataView(ram.buffer, ram.byteOffset, ram.length)
  const setU64 = (offset: number, value: bigint | number): void =>
    state.setBigUint64(offset, BigInt.asUintN(64, BigInt(value)), true)
  const setI32 = (offset: number, value: number): void => state.setInt32(offset, value, true)
  const segment = (index: number, selector: number, attributes: number): void => {
    state.setUint16(segmentOffset(index, SegmentField.selector), selector, true)
    state.setUint16(segmentOffset(index, SegmentField.attributes), attributes, true)
    state.setUint32(segmentOffset(index, SegmentField.limit), 0xffff_ffff, true)
  }
  memory.setBigUint64(Place.pml4, BigInt(Place.pdpt) | 7n, true)
  memory.setBigUint64(Place.pdpt, BigInt(Place.pd) | 7n, true)
  memory.setBigUint64(Place.pd, 0x87n, true)
  setU64(State.cr0, 0x8005_0033)
  setU64(State.cr3, Place.pml4)
  setU64(State.cr4, 0x6a0)
  setU64(State.efer, 0xd01)
  setU64(State.rflags, 2)
  writeArithmeticFlags(state, 0)
  const descriptors = [
    0n,
    0x00af_9b00_0000_ffffn,
    0x00cf_9300_0000_ffffn,
    0x00cf_fb00_0000_ffffn,
    0x00cf_f300_0000_ffffn,
    0x00af_fb00_0000_ffffn,
  ]
  descriptors.forEach((descriptor, index) => memory.setBigUint64(Place.gdt + 8 * index, descriptor, true))
  memory.setBigUint64(Place.gdt + Selector.tss, 0x0000_8900_7000_0067n, true)
  setU64(State.gdtrBase, Place.gdt)
  setI32(State.gdtrLimit, 0x3f)
  setU64(State.idtrBase, Place.idt)
  setI32(State.idtrLimit, 0xfff)
  segment(Segment.cs, Selector.kernelCode, 0xa09b)
  segment(Segment.ss, Selector.kernelData, 0xc093)
  segment(Segment.tr, Selector.tss, 0x8b)
  state.setUint32(segmentOffset(Segment.tr, SegmentField.limit), 0x67, true)
  setU64(segmentOffset(Segment.tr, SegmentField.base), Place.tss)
  memory.setBigUint64(Place.tss + 4, BigInt(Place.rsp0), true)
  memory.setBigUint64(Place.tss + 36, BigInt(Place.ist1), true)
  memory.setUint16(Place.tss + 0x66, 0x68, true)
  const self: LongMode = {
    evaluator,
    memory,
    u64: (offset) => state.getBigUint64(offset, true),
    setU64,
    i32: (offset) => state.getInt32(offset, true),
    setI32,
    gpr: (index) => state.getBigUint64(State.gpr + 8 * index, true),
    setGpr: (index, value) => setU64(State.gpr + 8 * index, value),
    code: (...bytes) => ram.set(bytes, Number(state.getBigUint64(State.rip, true))),
    selector: (index) => state.getUint16(segmentOffset(index, SegmentField.selector), true),
    run(count = 1) {
      let result: ReturnType<Evaluator['step']> = 'next'
      for (let index = 0; index < count; index++) result = evaluator.step()
      return result
    },
    stack: (count) =>
      Array.from({ length: count }, (_, index) => memory.getBigUint64(Number(self.gpr(4)) + 8 * index, true)),
    gate(
      vector,
      {
        type = 0xe,
        dpl = 0,
        ist = 0,
        present = true,
        selector = Selector.kernelCode,
        offset = BigInt(Place.handlers + 16 * vector),
      },
    ) {
      const low =
        (offset & 0xffffn) |
        (BigInt(selector) << 16n) |
        (BigInt(ist) << 32n) |
        (BigInt(type | (dpl << 5) | (present ? 0x80 : 0)) << 40n) |
        (((offset >> 16n) & 0xffffn) << 48n)
      memory.setBigUint64(Place.idt + 16 * vector, low, true)
      memory.setBigUint64(Place.idt + 16 * vector + 8, offset >> 32n, true)
    },
    user() {
      segment(Segment.cs, Selector.userCode, 0xa0fb)
      segment(Segment.ss, Selector.userData, 0xc0f3)
      setI32(State.cpl, 3)
    },
  }
  for (let vector = 0; vector < 48; vector++) self.gate(vector, {})
  setU64(State.rip, Place.code)
  self.setGpr(4, Place.stack)
  return self
}
