import { readArithmeticFlags, writeArithmeticFlags } from '../../src/evaluator/arithmetic-flags.ts'
import { createEvaluator, type Evaluator } from '../../src/evaluator/evaluator.ts'
import { Segment, SegmentField, State, segmentOffset } from '../../src/state-layout.ts'

const names = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
] as const
export type RegisterName = (typeof names)[number]
export type Registers = Partial<Record<RegisterName, bigint | number>>

export const CODE = 0x8000n
/** Where every exception handler is: a fault leaves RIP here. */
export const HANDLER = 0x9000n
/** Not mapped. */
export const NOWHERE = 0x20_0000n

/** A vCPU in 64-bit mode at CPL 0, whose pages below 2 MiB map to themselves one by one, with helpers to look at it. */
export class LongMode {
  readonly evaluator: Evaluator
  readonly memory: DataView

  constructor() {
    this.evaluator = createEvaluator({ ramBytes: 0x20_0000 })
    const { state, ram } = this.evaluator
    this.memory = new DataView(ram.buffer, ram.byteOffset, ram.length)
    const { memory } = this
    memory.setBigUint64(0x1000, 0x2007n, true)
    memory.setBigUint64(0x2000, 0x3007n, true)
    memory.setBigUint64(0x3000, 0x4007n, true)
    for (let page = 0n; page < 512n; page++) this.map(page << 12n, (page << 12n) | 7n)
    state.setBigUint64(State.cr0, 0x8001_0011n, true)
    state.setBigUint64(State.cr3, 0x1000n, true)
    state.setBigUint64(State.cr4, 0x620n, true)
    state.setBigUint64(State.efer, 0xd00n, true)
    state.setBigUint64(State.rflags, 2n, true)
    memory.setBigUint64(0x5008, 0x00af_9b00_0000_ffffn, true)
    state.setBigUint64(State.gdtrBase, 0x5000n, true)
    state.setUint32(State.gdtrLimit, 15, true)
    state.setUint16(segmentOffset(Segment.cs, SegmentField.selector), 8, true)
    state.setUint16(segmentOffset(Segment.cs, SegmentField.attributes), 0xa09b, true)
    for (let vector = 0; vector < 32; vector++)
      memory.setBigUint64(0x6000 + 16 * vector, 0x0000_8e00_0008_0000n | HANDLER, true)
    state.setBigUint64(State.idtrBase, 0x6000n, true)
    state.setUint32(State.idtrLimit, 0xfff, true)
    state.setBigInt64(State.budget, 1n << 40n, true)
    this.set({ rsp: 0x1_8000 })
  }

  map(linear: bigint, entry: bigint): void {
    this.memory.setBigUint64(0x4000 + Number(linear >> 12n) * 8, entry, true)
  }
  set(registers: Registers): void {
    for (const [name, value] of Object.entries(registers))
      this.evaluator.state.setBigUint64(
        State.gpr + 8 * names.indexOf(name as RegisterName),
        BigInt.asUintN(64, BigInt(value)),
        true,
      )
  }
  get(name: RegisterName): bigint {
    return this.evaluator.state.getBigUint64(State.gpr + 8 * names.indexOf(name), true)
  }
  get rip(): bigint {
    return this.evaluator.state.getBigUint64(State.rip, true)
  }
  get flags(): number {
    return readArithmeticFlags(this.evaluator.state)
  }
  set flags(flags: number) {
    writeArithmeticFlags(this.evaluator.state, flags)
  }
  bytes(at: number, length: number): number[] {
    return [...this.evaluator.ram.subarray(at, at + length)]
  }

  /** Executes one instruction at CODE. @returns false if it faulted */
  run(hex: string, registers: Registers = {}, flags?: number): boolean {
    this.set(registers)
    if (flags !== undefined) this.flags = flags
    this.evaluator.ram.set(
      hex.split(' ').map((byte) => Number.parseInt(byte, 16)),
      Number(CODE),
    )
    this.evaluator.state.setBigUint64(State.rip, CODE, true)
    const result = this.evaluator.step()
    if (result !== 'next') throw new Error(`${hex}: exit ${result}`)
    return this.rip !== HANDLER
  }
}
