// Cases for instructions of the system, which no host runs for us: the evaluator and another vCPU execute them in
// ring 0 and ring 3 under the system of monitor.ts, and everything is compared: exits, the saved state, all memory.
import { ExitReason, type SegmentState, type Vcpu, type VcpuState } from '@trapframe/cpu'
import type { GuestMemory } from '@trapframe/memory'
import type { Form } from '@trapframe/x86'
import { savedMsrs } from '../../backends/emulated/src/state-transfer.ts'
import { memoryOffset } from '../src/address.ts'
import type { Case } from '../src/engine.ts'
import { stackOffset } from '../src/fxsave-image.ts'
import { CODE_BASE, FS_BASE, Fxsave, GS_BASE, memoryRegions, WINDOW_MIDDLE } from '../src/machine-image.ts'
import {
  GDT_BASE,
  IDT_BASE,
  monitorMemory,
  PAGE_TABLES,
  physicalAddress,
  Selector,
  SYSTEM_BASE,
  TSS_BASE,
  TSS_LIMIT,
} from '../src/monitor.ts'
import type { Random } from '../src/random.ts'
import { integerValue } from '../src/values.ts'

/** Besides those of the monitor: a second TSS and an LDT, 16 bytes each, and segments that are wrong somehow. */
const AVAILABLE_TSS = 0x50
const LDT = 0x60
const NOT_PRESENT = 0x70
const READ_ONLY = 0x78
const CONFORMING = 0x80
const GDT_LIMIT = 0x87
const selectors = [
  0,
  3,
  0x10,
  0x13,
  0x18,
  0x1b,
  0x28,
  Selector.userStack,
  Selector.userCode,
  Selector.tss,
  AVAILABLE_TSS,
  LDT,
  NOT_PRESENT,
  READ_ONLY,
  CONFORMING,
  0x83,
  0x88,
  0x3c,
  0xffff,
]
const msrs = [
  ...savedMsrs.map(([index]) => index),
  0x10,
  0x1b,
  0x6e0,
  0xfe,
  0x10a,
  0xc000_0100,
  0xc000_0101,
  0x12345,
  0xc001_0000,
]

export interface SystemCase {
  readonly case: Case
  readonly supervisor: boolean
  /** Changes of the start state that a user program cannot make. */
  readonly change: (state: VcpuState) => VcpuState
}

/** RAM of a system case: that of the monitor with more descriptors. */
export function systemMemory(): Uint8Array {
  const bytes = monitorMemory()
  const view = new DataView(bytes.buffer)
  const gdt = Number(GDT_BASE - SYSTEM_BASE)
  const quad = (at: number, value: bigint): void => view.setBigUint64(gdt + at, value, true)
  const part = (value: bigint, low: bigint, bits: number): bigint => BigInt.asUintN(bits, value >> low)
  const base = TSS_BASE + 0x800n
  const address = (part(base, 0n, 24) << 16n) | (part(base, 24n, 8) << 56n)
  quad(AVAILABLE_TSS, 0x8900_0000_0067n | address)
  quad(AVAILABLE_TSS + 8, base >> 32n)
  quad(LDT, 0x8200_0000_000fn | address)
  quad(LDT + 8, base >> 32n)
  quad(NOT_PRESENT, 0x00cf_1300_0000_ffffn)
  quad(READ_ONLY, 0x00cf_9100_0000_ffffn)
  quad(CONFORMING, 0x00af_9f00_0000_ffffn)
  return bytes
}

/** What makes a case of a system instruction meaningful. */
export function systemCase(one: Case, form: Form, random: Random): SystemCase {
  const start = one.start.clone()
  const supervisor = !random.once(3)
  let change: SystemCase['change'] = (state) => state
  const selector = (): bigint => BigInt(random.once(8) ? random.below(0x1_0000) : random.pick(selectors))
  const write = (address: bigint, value: bigint, sizeBytes: number): void => {
    const offset = memoryOffset(address, sizeBytes)
    if (offset === undefined) return
    for (let byte = 0; byte < sizeBytes; byte++)
      start.memory[offset + byte] = Number((value >> BigInt(8 * byte)) & 0xffn)
  }
  const codeAddress = (): bigint =>
    random.once(8) ? integerValue(random, 64) : CODE_BASE + BigInt(random.below(0xff0))
  const { mnemonic, operands, encoding } = form
  const registers = (set: (register: number) => void): void => {
    for (let register = 0; register < 16; register++) if (register !== 4) set(register)
  }
  const image = 0x8005_0033n
  if (operands.includes('CR')) {
    registers((register) => {
      const base = random.pick([image, 0x5_06a0n, BigInt(PAGE_TABLES), BigInt(random.below(16))])
      start.setGpr(
        register,
        base ^ (random.once(4) ? 0n : 1n << BigInt(random.below(random.once(4) ? 64 : 24))),
      )
    })
  } else if (operands.includes('DR')) {
    registers((register) => {
      start.setGpr(register, integerValue(random, random.once(3) ? 64 : 32))
    })
  } else if (/^(RD|WR)MSR$/.test(mnemonic)) {
    start.setGpr(1, BigInt(random.pick(msrs)))
    const value = random.once(2)
      ? integerValue(random, 64)
      : random.pick([
          0n,
          1n,
          6n,
          0xd01n,
          0x900n,
          0x0007_0406_0007_0406n,
          0xc06n,
          0x33_0010_0000_0000n,
          CODE_BASE,
        ])
    start.setGpr(0, value & 0xffff_ffffn)
    start.setGpr(2, value >> 32n)
  } else if (/^(MOV|LLDT|LTR|VERR|VERW|LAR|LSL|POP|L[FGS]S)$/.test(mnemonic)) {
    registers((register) => {
      // Registers that hold addresses keep them.
      if (start.gpr(register) >> 16n === 0n || random.once(2))
        start.setGpr(register, (start.gpr(register) & ~0xffffn) | selector())
    })
    write(start.gpr(4), selector(), 8)
    for (let at = 0; at < 256; at += 2) write(WINDOW_MIDDLE - 128n + BigInt(at), selector(), 2)
  } else if (/^(IRET|RETF)/.test(mnemonic)) {
    const bytes = /Q$/.test(mnemonic) ? 8 : encoding.includes('o16') || /W$/.test(mnemonic) ? 2 : 4
    const [cs, ss] = random.once(2)
      ? [selector(), selector()]
      : random.pick([
          [0x10n, 0x18n],
          [0x33n, 0x2bn],
          [0x10n, 0n],
          [0x83n, 0x2bn],
        ])
    const slots = mnemonic.startsWith('IRET')
      ? [codeAddress(), cs!, BigInt(random.u32() & 0x24_7ed5), WINDOW_MIDDLE, ss!]
      : [codeAddress(), cs!, WINDOW_MIDDLE, ss!]
    start.setGpr(4, WINDOW_MIDDLE - 128n)
    slots.forEach((value, index) => {
      write(start.gpr(4) + BigInt(index * bytes), BigInt.asUintN(8 * bytes, value), bytes)
    })
  } else if (/^(SYSCALL|SYSRET|SYSENTER|SYSEXIT)/.test(mnemonic)) {
    start.setGpr(1, codeAddress())
    start.setGpr(11, BigInt(random.u32() & 0x24_7fd5))
    start.setGpr(2, codeAddress())
    const values = new Map<number, bigint>([
      [0xc000_0081, random.once(4) ? integerValue(random, 64) : 0x0023_0010_0000_0000n],
      [0xc000_0082, codeAddress() & 0x7fff_ffff_ffffn],
      [0xc000_0084, BigInt(random.u32() & 0x4_7700)],
      [0x174, BigInt(random.pick([0, 0x10, 0x13]))],
      [0x175, WINDOW_MIDDLE],
      [0x176, codeAddress() & 0x7fff_ffff_ffffn],
    ])
    const efer = random.once(8) ? 0xd00n : 0xd01n
    values.set(0xc000_0080, efer)
    change = (state) => ({
      ...state,
      msrs: [...state.msrs.filter(([index]) => !values.has(index)), ...values],
    })
  } else if (/^(INT|INTO|INT3|INT1)$/.test(mnemonic)) {
    if (random.once(2)) start.setGpr(4, WINDOW_MIDDLE)
  } else if (/^L[GI]DT$/.test(mnemonic)) {
    for (let at = 0; at < 256; at += 16) {
      write(WINDOW_MIDDLE - 128n + BigInt(at), BigInt(random.pick([0x87, 0xfff, 0xffff, 0])), 2)
      write(WINDOW_MIDDLE - 126n + BigInt(at), random.pick([GDT_BASE, IDT_BASE, integerValue(random, 64)]), 8)
    }
  } else if (/^(JMP|CALL)$/.test(mnemonic)) {
    const bytes = operands[0] === 'm16:16' ? 2 : operands[0] === 'm16:32' ? 4 : 8
    for (let at = 0; at < 256; at += 16) {
      write(WINDOW_MIDDLE - 128n + BigInt(at), BigInt.asUintN(8 * bytes, codeAddress()), bytes)
      write(WINDOW_MIDDLE - 128n + BigInt(at + bytes), selector(), 2)
    }
  } else if (mnemonic === 'CPUID') {
    start.setGpr(
      0,
      BigInt(
        random.once(4)
          ? random.u32()
          : random.pick([
              0, 1, 2, 4, 6, 7, 0xb, 0xd, 0x15, 0x16, 0x8000_0000, 0x8000_0001, 0x8000_0008, 0x4000_0000,
            ]),
      ),
    )
    start.setGpr(1, BigInt(random.below(4)))
  }
  return { case: { ...one, start }, supervisor, change }
}

export interface SystemOutcome {
  readonly exits: readonly string[]
  readonly state: VcpuState
}

const INSTRUCTION_LIMIT = 100
const EXIT_LIMIT = 110

/** Runs a case on one vCPU, answering its exits with what follows from the question. */
export function runSystemCase(
  memory: GuestMemory,
  vcpu: Vcpu,
  fresh: VcpuState,
  { case: { start }, supervisor, change }: SystemCase,
  ram: Uint8Array,
): SystemOutcome {
  memory.write(0, ram)
  const code = physicalAddress(CODE_BASE)
  const offset = Number(start.rip - CODE_BASE)
  memory.write(code + offset, start.code.subarray(0, 0x1000 - offset))
  for (const { address, sizeBytes, offset: at } of memoryRegions)
    memory.write(physicalAddress(address), start.memory.subarray(at, at + sizeBytes))
  const segment = (selector: number, base: bigint, limit: number, attributes: number): SegmentState => ({
    selector,
    base,
    limit,
    attributes,
  })
  const none = 0x1_0000
  const registers = new Uint8Array(80)
  for (let register = 0; register < 8; register++) {
    const from = stackOffset(start.fxsaveView, register)
    registers.set(start.fxsave.subarray(from, from + 10), 10 * register)
  }
  const ymm = new Uint8Array(512)
  for (let register = 0; register < 16; register++)
    ymm.set(start.fxsave.subarray(Fxsave.xmm + 16 * register, Fxsave.xmm + 16 * register + 16), 32 * register)
  vcpu.load(
    change({
      ...fresh,
      gpr: Array.from({ length: 16 }, (_, register) => start.gpr(register)),
      rip: start.rip,
      rflags: BigInt(start.rflags),
      segments: [
        segment(0, 0n, 0, none),
        supervisor
          ? segment(Selector.kernelCode, 0n, 0xffff_ffff, 0xa09b)
          : segment(Selector.userCode, 0n, 0xffff_ffff, 0xa0fb),
        supervisor
          ? segment(0x18, 0n, 0xffff_ffff, 0xc093)
          : segment(Selector.userStack, 0n, 0xffff_ffff, 0xc0f3),
        segment(0, 0n, 0, none),
        segment(0, FS_BASE, 0, none),
        segment(0, GS_BASE, 0, none),
        segment(0, 0n, 0, none),
        segment(Selector.tss, TSS_BASE, TSS_LIMIT, 0x8b),
      ],
      gdtr: { base: GDT_BASE, limit: GDT_LIMIT },
      idtr: { base: IDT_BASE, limit: 0xfff },
      cr0: 0x8005_0033n,
      cr2: 0n,
      cr3: BigInt(PAGE_TABLES),
      cr4: 0x5_06a0n,
      msrs: [...fresh.msrs.filter(([index]) => index !== 0xc000_0080), [0xc000_0080, 0xd01n]],
      fpu: { ...fresh.fpu, fcw: 0x37f, fsw: 0, ftw: 0xffff, registers, ymm, mxcsr: 0x1f80, xcr0: 3n },
      instructionsRetired: 0,
    }),
  )
  const exits: string[] = []
  for (let count = 0; count < EXIT_LIMIT; count++) {
    const reason = vcpu.run(INSTRUCTION_LIMIT - vcpu.instructionsRetired)
    const { exit } = vcpu
    const isAccess = reason >= ExitReason.pioRead && reason <= ExitReason.msrWrite
    exits.push(
      isAccess
        ? `${reason} ${exit.address} ${exit.sizeBytes} ${exit.value} ${exit.valueHigh} @${vcpu.instructionsRetired}`
        : `${reason}`,
    )
    if (!isAccess) break
    const answer = Math.imul(exit.address ^ (count << 8), 0x9e37_79b1) >>> 0
    exit.value = exit.sizeBytes === 1 ? answer & 0xff : exit.sizeBytes === 2 ? answer & 0xffff : answer
    exit.valueHigh = exit.sizeBytes === 8 ? answer >>> 3 : 0
    exit.fault = (reason === ExitReason.msrRead || reason === ExitReason.msrWrite) && (answer & 0x400) !== 0
  }
  return { exits, state: vcpu.save() }
}

/** What two outcomes differ in: paths of fields with both values. */
export function outcomeDifferences(left: unknown, right: unknown, path = ''): string[] {
  if (typeof left === 'object' && left !== null && typeof right === 'object' && right !== null) {
    const keys = new Set([...Object.keys(left), ...Object.keys(right)])
    return [...keys].flatMap((key) =>
      outcomeDifferences(
        (left as Record<string, unknown>)[key],
        (right as Record<string, unknown>)[key],
        `${path}.${key}`,
      ),
    )
  }
  const text = (value: unknown): string =>
    typeof value === 'bigint' || typeof value === 'number' ? `0x${value.toString(16)}` : String(value)
  return left === right ? [] : [`${path} ${text(left)}, not ${text(right)}`]
}
