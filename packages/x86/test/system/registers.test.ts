import { describe, expect, test } from 'vitest'
import { readArithmeticFlags } from '../../src/evaluator/arithmetic-flags.ts'
import type { EvaluatorCpuidEntry } from '../../src/evaluator/evaluator.ts'
import { Flag, Segment, SegmentField, State, segmentOffset, Vector } from '../../src/state-layout.ts'
import { ExitReason } from '../../src/system/exit-reason.ts'
import { ARCH_CAPABILITIES } from '../../src/system/msr.ts'
import { type LongMode, longMode, Place, Selector } from './long-mode.ts'

const handler = (vector: number): bigint => BigInt(Place.handlers + 16 * vector)
const entry = (
  leaf: number,
  eax: number,
  ebx: number,
  ecx: number,
  edx: number,
  subleaf?: number,
): EvaluatorCpuidEntry => ({
  leaf,
  ...(subleaf !== undefined && { subleaf }),
  eax: eax >>> 0,
  ebx: ebx >>> 0,
  ecx: ecx >>> 0,
  edx: edx >>> 0,
})
/** FSGSBASE, SMEP, SMAP; UMIP; SPEC_CTRL, ARCH_CAPABILITIES; XSAVE; NX. */
const features: readonly EvaluatorCpuidEntry[] = [
  entry(0, 0x16, 1, 2, 3),
  entry(1, 0x806f8, 0, 1 << 26, 0),
  entry(4, 0x11, 0, 0, 0, 0),
  entry(4, 0x22, 0, 0, 0, 1),
  entry(7, 0, (1 << 0) | (1 << 7) | (1 << 20), 1 << 2, (1 << 26) | (1 << 29), 0),
  entry(0xb, 0, 1, 0x100, 7, 0),
  entry(0xd, 7, 0, 832, 0, 0),
  entry(0x16, 1000, 1001, 1002, 0),
  entry(0x4000_0000, 0x4000_0010, 4, 5, 6),
  entry(0x8000_0000, 0x8000_0008, 0, 0, 0),
  entry(0x8000_0001, 0, 0, 0, 1 << 20),
]
const msrCode = { read: [0x0f, 0x32], write: [0x0f, 0x30] }

/** Executes one instruction; the vector and error code that it raised, if any. */
function execute(m: LongMode, ...bytes: number[]): { vector: number; code: bigint } | undefined {
  m.setU64(State.rip, Place.code)
  const before = m.gpr(4)
  m.code(...bytes)
  expect(m.run()).toBe('next')
  const rip = Number(m.u64(State.rip))
  if (rip < Place.handlers || rip >= Place.handlers + 0x300) return undefined
  const vector = (rip - Place.handlers) / 16
  const code = [8, 10, 11, 12, 13, 14].includes(vector) ? m.stack(1)[0]! : 0n
  m.setGpr(4, before)
  return { vector, code }
}
const gp = (code = 0): { vector: number; code: bigint } => ({ vector: Vector.gp, code: BigInt(code) })
const ud = { vector: Vector.ud, code: 0n }

describe('control registers', () => {
  const movTo = (number: number) => [0x0f, 0x22, 0xc0 | (number << 3)]
  const movFrom = (number: number) => [0x0f, 0x20, 0xc0 | (number << 3)]
  test.each<readonly [string, number, bigint, boolean]>([
    ['CR0 without WP', 0, 0x8004_0033n, true],
    ['CR0 without PG', 0, 0x5_0033n, false],
    ['CR0 without PE', 0, 0x8005_0032n, false],
    ['CR0 with NW alone', 0, 0xa005_0033n, false],
    ['CR0 with NW and CD', 0, 0xe005_0033n, true],
    ['CR0 above 32 bits', 0, 0x1_8005_0033n, false],
    ['CR3 at 46 bits', 3, 1n << 46n, false],
    ['CR4 without PAE', 4, 0x680n, false],
    ['CR4 with SMEP, SMAP, FSGSBASE, OSXSAVE, UMIP', 4, 0x35_0ea0n, true],
    ['CR4 with PCIDE', 4, 0x2_06a0n, false],
    ['CR4 with VME', 4, 0x6a1n, false],
    ['CR4 with LA57', 4, 0x16a0n, false],
    ['CR8', 8, 15n, true],
    ['CR8 of 16', 8, 16n, false],
    ['CR2', 2, 0xffff_ffff_ffff_fff0n, true],
  ])('behaviour: %s', (_, number, value, allowed) => {
    const m = longMode(features)
    m.setGpr(0, value)
    const rex = number === 8 ? [0x44] : []
    const result = execute(m, ...rex, ...movTo(number & 7))
    if (!allowed) {
      expect(result).toEqual(gp())
      return
    }
    expect(result).toBeUndefined()
    // SMAP would hide the code's page: a user page.
    m.setU64(State.cr4, 0x6a0)
    m.setGpr(0, 0)
    execute(m, ...rex, ...movFrom(number & 7))
    expect(m.gpr(0)).toBe(number === 4 ? 0x6a0n : value)
  })

  test('behaviour: a CR4 bit needs its CPUID bit', () => {
    const m = longMode()
    m.setGpr(0, 0x1_06a0)
    expect(execute(m, ...movTo(4))).toEqual(gp())
  })

  test('error: CR1, CR5; at CPL 3', () => {
    const m = longMode(features)
    expect(execute(m, ...movTo(1))).toEqual(ud)
    expect(execute(m, ...movFrom(5))).toEqual(ud)
    m.user()
    expect(execute(m, ...movFrom(0))).toEqual(gp())
  })

  test('behaviour: TS and EM decide about SSE and x87; CLTS, LMSW, SMSW', () => {
    const m = longMode(features)
    m.setGpr(0, 0x8005_003b)
    execute(m, ...movTo(0))
    expect([m.i32(State.sseUnavailable), m.i32(State.fpuUnavailable)]).toEqual([Vector.nm, Vector.nm])
    execute(m, 0x0f, 0x06)
    expect([m.i32(State.sseUnavailable), m.i32(State.fpuUnavailable)]).toEqual([0, 0])
    m.setGpr(0, 0xe)
    execute(m, 0x0f, 0x01, 0xf0)
    expect(m.u64(State.cr0)).toBe(0x8005_003fn)
    execute(m, 0x48, 0x0f, 0x01, 0xe0)
    expect(m.gpr(0)).toBe(0x8005_003fn)
  })

  test('behaviour: debug registers', () => {
    const m = longMode(features)
    const to = (number: number) => [0x0f, 0x23, 0xc0 | (number << 3)]
    const from = (number: number) => [0x0f, 0x21, 0xc0 | (number << 3)]
    m.setGpr(0, 0xffff_ffff)
    execute(m, ...to(6))
    execute(m, ...from(4))
    expect(m.gpr(0)).toBe(0xffff_efffn)
    m.setGpr(0, 0x2000)
    execute(m, ...to(7))
    expect(execute(m, ...from(0))).toEqual({ vector: Vector.db, code: 0n })
    expect(m.u64(State.dr + 32) & 0x2000n).toBe(0x2000n)
    // Delivery has switched general detection off.
    m.setU64(State.cr4, 0x6a8)
    expect(execute(m, ...from(4))).toEqual(ud)
    m.setGpr(0, 1n << 32n)
    expect(execute(m, ...to(7))).toEqual(gp())
  })
})

describe('model-specific registers', () => {
  const read = (m: LongMode, index: number) => {
    m.setGpr(1, index)
    return execute(m, ...msrCode.read) ?? (m.gpr(2) << 32n) | m.gpr(0)
  }
  const write = (m: LongMode, index: number, value: bigint) => {
    m.setGpr(1, index)
    m.setGpr(0, value & 0xffff_ffffn)
    m.setGpr(2, value >> 32n)
    return execute(m, ...msrCode.write)
  }
  test.each<readonly [string, number, bigint, boolean]>([
    ['LSTAR', 0xc000_0082, 0xffff_8000_0000_0000n, true],
    ['LSTAR that is not canonical', 0xc000_0082, 0x8000_0000_0000n, false],
    ['FS base', 0xc000_0100, 0x7fff_ffff_ffffn, true],
    ['GS base', 0xc000_0101, 0xffff_ffff_8000_0000n, true],
    ['PAT', 0x277, 0x0001_0405_0607_0100n, true],
    ['PAT with type 2', 0x277, 2n, false],
    ['MTRR default type', 0x2ff, 0xc06n, true],
    ['MTRR default type 3', 0x2ff, 3n, false],
    ['variable MTRR mask', 0x201, 0x3fff_8000_0800n, true],
    ['variable MTRR mask above 46 bits', 0x201, 0x4000_0000_0800n, false],
    ['fixed MTRR', 0x250, 0x0606_0606_0606_0606n, true],
    ['EFER with NXE', 0xc000_0080, 0xd01n, true],
    ['EFER without LME', 0xc000_0080, 0xc01n, false],
    ['EFER with SVME', 0xc000_0080, 0x1d01n, false],
    ['SPEC_CTRL', 0x48, 5n, true],
    ['SPEC_CTRL with reserved bits', 0x48, 8n, false],
    ['TSC_AUX', 0xc000_0103, 0xffff_ffffn, true],
    ['TSC_AUX above 32 bits', 0xc000_0103, 1n << 32n, false],
    ['ARCH_CAPABILITIES', 0x10a, 0n, false],
  ])('behaviour: WRMSR of %s', (_, index, value, allowed) => {
    const m = longMode(features)
    expect(write(m, index, value)).toEqual(allowed ? undefined : gp())
    if (allowed) expect(read(m, index)).toBe(value)
  })

  test('behaviour: constants; registers that need a CPUID bit', () => {
    const m = longMode(features)
    expect(read(m, 0x10a)).toBe(ARCH_CAPABILITIES)
    expect(read(m, 0x49)).toEqual(gp())
    expect(write(m, 0x49, 1n)).toBeUndefined()
    expect(read(m, 0xfe)).toBe(0x508n)
    expect(read(longMode(), 0x10a)).toEqual(gp())
    m.user()
    expect(read(m, 0x10)).toEqual(gp())
  })

  test('behaviour: the TSC, its offset and TSC_ADJUST move together', () => {
    const m = longMode(features)
    write(m, 0x10, 0x5000n)
    const adjust = m.u64(State.tscAdjust)
    expect(adjust).toBe(m.u64(State.tscOffset))
    const now = read(m, 0x10) as bigint
    expect(now).toBeGreaterThanOrEqual(0x5000n)
    write(m, 0x3b, adjust + 0x1_0000n)
    expect((read(m, 0x10) as bigint) - now).toBeGreaterThanOrEqual(0x1_0000n)
    execute(m, 0x0f, 0x31)
    expect(m.gpr(0)).toBeGreaterThan(0x1_5000n)
    m.setU64(State.tscAux, 7)
    execute(m, 0x0f, 0x01, 0xf9)
    expect(m.gpr(1)).toBe(7n)
    m.setU64(State.cr4, 0x6a4)
    m.user()
    expect(execute(m, 0x0f, 0x31)).toEqual(gp())
  })

  test('behaviour: other registers are asked of the driver, who answers or refuses', () => {
    const m = longMode(features)
    m.setGpr(1, 0x1b)
    m.code(...msrCode.read)
    expect(m.run()).toBe(ExitReason.msrRead)
    expect([m.u64(State.exitAddress), m.u64(State.rip)]).toEqual([0x1bn, BigInt(Place.code)])
    m.setU64(State.replay, 0x1_fee0_0900n)
    m.setI32(State.replayCount, 1)
    expect(m.run()).toBe('next')
    expect([m.gpr(2), m.gpr(0)]).toEqual([1n, 0xfee0_0900n])
    m.setGpr(1, 0x1234)
    m.setGpr(2, 0xa)
    m.setGpr(0, 0xb)
    m.code(...msrCode.write)
    expect(m.run()).toBe(ExitReason.msrWrite)
    expect(m.u64(State.exitValue)).toBe(0xa_0000_000bn)
    m.setI32(State.replayCount, 1)
    m.setI32(State.exitFault, 1)
    expect(m.run()).toBe('next')
    expect(m.u64(State.rip)).toBe(handler(Vector.gp))
  })
})

describe('CPUID', () => {
  const cpuid = (m: LongMode, leaf: number, subleaf = 0): number[] => {
    m.setGpr(0, leaf >>> 0)
    m.setGpr(1, subleaf)
    execute(m, 0x0f, 0xa2)
    return [0, 3, 1, 2].map((index) => Number(m.gpr(index)))
  }
  test('default: leaves, subleaves, and what lies outside', () => {
    const m = longMode(features)
    expect(cpuid(m, 0)).toEqual([0x16, 1, 2, 3])
    expect(cpuid(m, 4, 1)).toEqual([0x22, 0, 0, 0])
    expect(cpuid(m, 4, 2)).toEqual([0, 0, 0, 0])
    expect(cpuid(m, 5)).toEqual([0, 0, 0, 0])
    expect(cpuid(m, 0xb, 9)).toEqual([0, 0, 9, 7])
    const last = [1000, 1001, 1002, 0]
    expect(cpuid(m, 0x17)).toEqual(last)
    expect(cpuid(m, 0x8000_0009)).toEqual(last)
    expect(cpuid(m, 0x4000_0100)).toEqual(last)
    expect(cpuid(m, 0xc000_0000)).toEqual(last)
    expect(cpuid(m, 0x4000_0000)).toEqual([0x4000_0010, 4, 5, 6])
  })
  test('behaviour: OSXSAVE follows CR4, sizes follow XCR0', () => {
    const m = longMode(features)
    expect(cpuid(m, 1)[2]).toBe(1 << 26)
    m.setU64(State.cr4, 0x4_06a0)
    expect(cpuid(m, 1)[2]).toBe(3 << 26)
    m.setU64(State.xcr0, 3)
    expect(cpuid(m, 0xd)[1]).toBe(576)
    m.setU64(State.xcr0, 7)
    expect(cpuid(m, 0xd)[1]).toBe(832)
  })
})

describe('segments', () => {
  test('behaviour: MOV to segment registers', () => {
    const m = longMode()
    const mov = (segment: number, selector: number) => {
      m.setGpr(0, selector)
      return execute(m, 0x8e, 0xc0 | (segment << 3))
    }
    expect(mov(Segment.ds, Selector.userData)).toBeUndefined()
    expect(m.selector(Segment.ds)).toBe(Selector.userData)
    expect(mov(Segment.gs, 0)).toBeUndefined()
    expect(mov(Segment.cs, 8)).toEqual(ud)
    expect(mov(6, 8)).toEqual(ud)
    expect(mov(Segment.ds, 0x48)).toEqual(gp(0x48))
    expect(mov(Segment.ds, Selector.tss)).toEqual(gp(Selector.tss))
    expect(mov(Segment.ss, Selector.userData)).toEqual(gp(Selector.userData & ~3))
    expect(mov(Segment.ss, 8)).toEqual(gp(8))
    expect(mov(Segment.ss, 0)).toBeUndefined()
    expect(m.i32(State.interruptShadow)).toBe(1)
    expect(mov(Segment.ss, 0x10)).toBeUndefined()
    m.memory.setBigUint64(Place.gdt + 0x38, (0x12cf_1234_5678_ffffn & ~(1n << 47n)) | (0x13n << 40n), true)
    expect(mov(Segment.fs, 0x38)).toEqual({ vector: Vector.np, code: 0x38n })
    m.memory.setBigUint64(Place.gdt + 0x38, 0x12cf_f234_5678_ffffn, true)
    expect(mov(Segment.fs, 0x38)).toBeUndefined()
    expect(m.u64(segmentOffset(Segment.fs, SegmentField.base))).toBe(0x1234_5678n)
    // The accessed bit is set in memory.
    expect(m.memory.getUint8(Place.gdt + 0x3d)).toBe(0xf3)
    m.user()
    expect(mov(Segment.ds, 0x10)).toEqual(gp(0x10))
    m.user()
    expect(mov(Segment.ss, 0)).toEqual(gp())
  })

  test('behaviour: LTR marks the TSS busy; a busy one is refused; LLDT', () => {
    const m = longMode()
    m.setGpr(0, Selector.tss)
    m.memory.setBigUint64(Place.gdt + Selector.tss + 8, 0xffff_8000n, true)
    expect(execute(m, 0x0f, 0x00, 0xd8)).toBeUndefined()
    expect(m.memory.getUint8(Place.gdt + Selector.tss + 5)).toBe(0x8b)
    expect(m.u64(segmentOffset(Segment.tr, SegmentField.base))).toBe(0xffff_8000_0000_7000n)
    m.setU64(segmentOffset(Segment.tr, SegmentField.base), Place.tss)
    expect(execute(m, 0x0f, 0x00, 0xd8)).toEqual(gp(Selector.tss))
    expect(execute(m, 0x0f, 0x00, 0xd0)).toEqual(gp(Selector.tss))
    m.memory.setBigUint64(Place.gdt + Selector.tss, 0x0000_8200_8000_0fffn, true)
    m.memory.setBigUint64(Place.gdt + Selector.tss + 8, 0n, true)
    expect(execute(m, 0x0f, 0x00, 0xd0)).toBeUndefined()
    // A selector with TI now finds its descriptor in the LDT.
    m.memory.setBigUint64(0x8000 + 8, 0x00cf_9300_0000_ffffn, true)
    m.setU64(segmentOffset(Segment.ldtr, SegmentField.base), 0x1_8000)
    m.memory.setBigUint64(0x1_8008, 0x00cf_9300_0000_ffffn, true)
    m.setGpr(0, 0x0c)
    expect(execute(m, 0x8e, 0xd8)).toBeUndefined()
  })

  test('behaviour: LAR, LSL, VERR, VERW', () => {
    const m = longMode()
    const zf = (): boolean => (readArithmeticFlags(m.evaluator.state) & Flag.zf) !== 0
    m.setGpr(0, Selector.kernelCode)
    execute(m, 0x0f, 0x02, 0xd8)
    expect([zf(), m.gpr(3)]).toEqual([true, 0xa0_9b00n])
    execute(m, 0x0f, 0x03, 0xd8)
    expect([zf(), m.gpr(3)]).toEqual([true, 0xffff_ffffn])
    execute(m, 0x0f, 0x00, 0xe0)
    expect(zf()).toBe(true)
    execute(m, 0x0f, 0x00, 0xe8)
    expect(zf()).toBe(false)
    m.setGpr(0, Selector.kernelData)
    execute(m, 0x0f, 0x00, 0xe8)
    expect(zf()).toBe(true)
    m.setGpr(0, Selector.tss)
    execute(m, 0x0f, 0x03, 0xd8)
    expect([zf(), m.gpr(3)]).toEqual([true, 0x67n])
    execute(m, 0x0f, 0x00, 0xe0)
    expect(zf()).toBe(false)
    m.setGpr(0, 0)
    m.setGpr(3, 0x1111)
    execute(m, 0x0f, 0x02, 0xd8)
    expect([zf(), m.gpr(3)]).toEqual([false, 0x1111n])
    m.user()
    m.setGpr(0, Selector.kernelData)
    execute(m, 0x0f, 0x02, 0xd8)
    expect(zf()).toBe(false)
  })

  test('behaviour: FS and GS bases, tables, UMIP', () => {
    const m = longMode(features)
    const wrfsbase = [0xf3, 0x48, 0x0f, 0xae, 0xd0]
    m.setGpr(0, 0x1234_5678_9abcn)
    expect(execute(m, ...wrfsbase)).toEqual(ud)
    m.setU64(State.cr4, 0x1_06a0)
    expect(execute(m, ...wrfsbase)).toBeUndefined()
    m.setGpr(0, 0)
    execute(m, 0xf3, 0x48, 0x0f, 0xae, 0xc0)
    expect(m.gpr(0)).toBe(0x1234_5678_9abcn)
    execute(m, 0xf3, 0x0f, 0xae, 0xc0)
    expect(m.gpr(0)).toBe(0x5678_9abcn)
    m.setGpr(0, 0x1_8000)
    execute(m, 0x0f, 0x01, 0x00)
    expect([m.memory.getUint16(0x1_8000, true), m.memory.getBigUint64(0x1_8002, true)]).toEqual([
      0x3f,
      BigInt(Place.gdt),
    ])
    m.memory.setUint16(0x1_8000, 0x2f, true)
    expect(execute(m, 0x0f, 0x01, 0x10)).toBeUndefined()
    expect(m.i32(State.gdtrLimit)).toBe(0x2f)
    m.memory.setBigUint64(0x1_8002, 0x8000_0000_0000n, true)
    expect(execute(m, 0x0f, 0x01, 0x18)).toEqual(gp())
    m.setU64(State.cr4, 0xea0)
    m.user()
    expect(execute(m, 0x0f, 0x01, 0x08)).toEqual(gp())
  })
})

describe('ports', () => {
  /** Answers the access that is waited for. */
  const answer = (m: LongMode, value: number): ReturnType<LongMode['run']> => {
    const count = m.i32(State.replayCount)
    m.setU64(State.replay + 8 * count, value)
    m.setI32(State.replayCount, count + 1)
    return m.run()
  }
  test('default: IN and OUT', () => {
    const m = longMode()
    m.setGpr(2, 0xabcd_03f8)
    m.setGpr(0, 0x1122_3344_5566_7788n)
    m.code(0xec)
    expect(m.run()).toBe(ExitReason.pioRead)
    expect([m.u64(State.exitAddress), m.i32(State.exitSizeBytes)]).toEqual([0x3f8n, 1])
    expect(answer(m, 0x41)).toBe('next')
    expect(m.gpr(0)).toBe(0x1122_3344_5566_7741n)
    m.code(0xef)
    expect(m.run()).toBe(ExitReason.pioWrite)
    expect([m.i32(State.exitSizeBytes), m.u64(State.exitValue)]).toEqual([4, 0x5566_7741n])
    expect(answer(m, 0)).toBe('next')
    m.code(0xe5, 0x60) // in eax, 0x60
    expect(m.run()).toBe(ExitReason.pioRead)
    expect(answer(m, 0xffff_ffff)).toBe('next')
    expect(m.gpr(0)).toBe(0xffff_ffffn)
  })

  test('behaviour: REP INSW and REP OUTSB, one iteration per execution', () => {
    const m = longMode()
    m.setGpr(2, 0x1f0)
    m.setGpr(1, 2)
    m.setGpr(7, 0x1_8000)
    m.code(0xf3, 0x66, 0x6d)
    expect(m.run()).toBe(ExitReason.pioRead)
    expect(answer(m, 0x1234)).toBe('next')
    expect([m.gpr(1), m.gpr(7), m.u64(State.rip)]).toEqual([1n, 0x1_8002n, BigInt(Place.code)])
    expect(m.run()).toBe(ExitReason.pioRead)
    expect(answer(m, 0x5678)).toBe('next')
    expect([m.gpr(1), m.u64(State.rip)]).toEqual([0n, BigInt(Place.code + 3)])
    expect(m.memory.getUint32(0x1_8000, true)).toBe(0x5678_1234)
    m.setGpr(6, 0x1_8003)
    m.setGpr(1, 1)
    m.setU64(State.rflags, 2 | Flag.df)
    m.code(0xf3, 0x6e)
    expect(m.run()).toBe(ExitReason.pioWrite)
    expect(m.u64(State.exitValue)).toBe(0x56n)
    answer(m, 0)
    expect([m.gpr(6), m.gpr(1)]).toEqual([0x1_8002n, 0n])
    m.code(0xf3, 0x6e)
    expect(m.run()).toBe('next')
    expect(m.gpr(6)).toBe(0x1_8002n)
  })

  test('behaviour: the I/O bitmap at CPL 3', () => {
    const m = longMode()
    m.evaluator.state.setUint32(segmentOffset(Segment.tr, SegmentField.limit), 0x68 + 0x80, true)
    for (let byte = 0; byte <= 0x80; byte++) m.memory.setUint8(Place.tss + 0x68 + byte, 0xff)
    // Ports 0x3f to 0x41 are allowed.
    m.memory.setUint8(Place.tss + 0x68 + 7, 0x7f)
    m.memory.setUint8(Place.tss + 0x68 + 8, 0xfc)
    const outcome = (port: number, opcode: number): string => {
      m.user()
      m.setU64(State.rip, Place.code)
      m.setU64(State.rflags, 2)
      m.setGpr(2, port)
      m.setGpr(4, Place.stack)
      m.code(...(opcode === 0x66 ? [0x66, 0xed] : [opcode]))
      return m.run() === 'next' ? `fault ${(Number(m.u64(State.rip)) - Place.handlers) / 16}` : 'exit'
    }
    expect(outcome(0x3f, 0xec)).toBe('exit')
    expect(outcome(0x3e, 0xec)).toBe('fault 13')
    expect(outcome(0x3f, 0x66)).toBe('exit')
    expect(outcome(0x40, 0xed)).toBe('fault 13')
    expect(outcome(0x3ff, 0xec)).toBe('fault 13')
    expect(outcome(0x1000, 0xec)).toBe('fault 13')
    m.user()
    m.setU64(State.rip, Place.code)
    m.setU64(State.rflags, 2 | Flag.iopl)
    m.setGpr(2, 0x3e)
    m.code(0xec)
    expect(m.run()).toBe(ExitReason.pioRead)
  })
})
