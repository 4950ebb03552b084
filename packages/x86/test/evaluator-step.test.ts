import { describe, expect, test } from 'vitest'
import { readArithmeticFlags } from '../src/evaluator/arithmetic-flags.ts'
import { createEvaluator, type Evaluator } from '../src/evaluator/evaluator.ts'
import { arithmeticForms } from '../src/families/arithmetic.ts'
import { moveForms } from '../src/families/move.ts'
import { Flag, Segment, SegmentField, State, segmentOffset, Vector } from '../src/state-layout.ts'
import { ExitReason } from '../src/system/exit-reason.ts'

const forms = [...arithmeticForms, ...moveForms]

/** 64-bit mode at CPL 0: pages below 2 MiB map to themselves, code at 0x8000, IDT at 0x6000 with every handler at 0x9000. */
function longMode(code: readonly number[]): Evaluator {
  const evaluator = createEvaluator({ ramBytes: 0x20_0000, forms })
  const { state, ram } = evaluator
  const memory = new DataView(ram.buffer, ram.byteOffset)
  memory.setBigUint64(0x1000, 0x2007n, true)
  memory.setBigUint64(0x2000, 0x3007n, true)
  memory.setBigUint64(0x3000, 0x87n, true)
  state.setBigUint64(State.cr0, 0x8001_0011n, true)
  state.setBigUint64(State.cr3, 0x1000n, true)
  state.setBigUint64(State.cr4, 0x20n, true)
  state.setBigUint64(State.efer, 0xd00n, true)
  state.setBigUint64(State.rflags, 2n, true)
  // GDT: null, 64-bit code.
  memory.setBigUint64(0x5008, 0x00af_9b00_0000_ffffn, true)
  state.setBigUint64(State.gdtrBase, 0x5000n, true)
  state.setUint32(State.gdtrLimit, 15, true)
  state.setUint16(segmentOffset(Segment.cs, SegmentField.selector), 8, true)
  state.setUint16(segmentOffset(Segment.cs, SegmentField.attributes), 0xa09b, true)
  for (let vector = 0; vector < 32; vector++)
    memory.setBigUint64(0x6000 + 16 * vector, 0x0000_8e00_0008_9000n, true)
  state.setBigUint64(State.idtrBase, 0x6000n, true)
  state.setUint32(State.idtrLimit, 0xfff, true)
  state.setBigUint64(State.gpr + 8 * 4, 0x1_0000n, true)
  state.setBigUint64(State.rip, 0x8000n, true)
  ram.set(code, 0x8000)
  return evaluator
}
const gpr = (of: Evaluator, index: number): bigint => of.state.getBigUint64(State.gpr + 8 * index, true)
const rip = (of: Evaluator): bigint => of.state.getBigUint64(State.rip, true)

describe('default', () => {
  test('behaviour: registers, immediates, addresses, flags', () => {
    // mov eax, 0x12345678; mov [rax*2 - 0x2468acf0 + 0x10008], eax would be long: simple steps instead.
    const e = longMode([
      0xb8,
      0x78,
      0x56,
      0x34,
      0x12, // mov eax, 0x12345678
      0x89,
      0x44,
      0x24,
      0xf8, // mov [rsp - 8], eax
      0x02,
      0x64,
      0x24,
      0xf9, // add ah, [rsp - 7]
      0x48,
      0x8b,
      0x0d,
      0xf0,
      0xff,
      0xff,
      0xff, // mov rcx, [rip - 16] (the start of the code, plus 4)
      0x48,
      0x83,
      0xe8,
      0xff, // sub rax, -1
    ])
    for (let i = 0; i < 5; i++) expect(e.step()).toBe('next')
    expect(gpr(e, 0)).toBe(0x1234_ac79n)
    expect(gpr(e, 1)).toBe(new DataView(e.ram.buffer, e.ram.byteOffset).getBigUint64(0x8014 - 16, true))
    expect(readArithmeticFlags(e.state)).toBe(Flag.cf | Flag.af)
    expect(rip(e)).toBe(0x8018n)
    expect(e.instructionsRetired).toBe(5n)
  })

  test('behaviour: a fault is delivered with the RIP of its instruction', () => {
    const e = longMode([0x48, 0x8b, 0x03]) // mov rax, [rbx]
    e.state.setBigUint64(State.gpr + 8 * 3, 0x7fff_ffff_f000n, true)
    expect(e.step()).toBe('next')
    expect(rip(e)).toBe(0x9000n)
    expect(e.state.getBigUint64(State.cr2, true)).toBe(0x7fff_ffff_f000n)
    const frame = new DataView(e.ram.buffer, e.ram.byteOffset + Number(gpr(e, 4)))
    expect(frame.getBigUint64(0, true)).toBe(0n)
    expect(frame.getBigUint64(8, true)).toBe(0x8000n)
    expect(e.instructionsRetired).toBe(0n)
  })

  test('behaviour: an invalid opcode is #UD, a missing handler a shutdown', () => {
    const e = longMode([0x0f, 0x0b])
    expect(e.step()).toBe('next')
    expect(rip(e)).toBe(0x9000n)
    const broken = longMode([0x0f, 0x0b])
    broken.state.setUint32(State.idtrLimit, 0, true)
    expect(broken.step()).toBe(ExitReason.shutdown)
    expect(rip(broken)).toBe(0x8000n)
  })

  test('behaviour: an instruction across a page boundary, and one outside RAM', () => {
    const e = longMode([])
    e.ram.set([0xb8, 1, 2, 3, 4], 0x8ffe)
    e.state.setBigUint64(State.rip, 0x8ffen, true)
    expect(e.step()).toBe('next')
    expect(gpr(e, 0)).toBe(0x0403_0201n)
    const outside = longMode([])
    new DataView(outside.ram.buffer, outside.ram.byteOffset).setBigUint64(0x3008, 0xc000_0087n, true)
    outside.state.setBigUint64(State.rip, 0x20_0000n, true)
    expect(outside.step()).toBe(ExitReason.unsupported)
  })

  test('behaviour: device memory exits, and the answered instruction completes', () => {
    const e = longMode([0x01, 0x03]) // add [rbx], eax
    new DataView(e.ram.buffer, e.ram.byteOffset).setBigUint64(0x3008, 0xfee0_0087n, true)
    e.state.setBigUint64(State.gpr + 8 * 3, 0x20_0010n, true)
    e.state.setBigUint64(State.gpr, 5n, true)
    expect(e.step()).toBe(ExitReason.mmioRead)
    expect(e.state.getBigUint64(State.exitAddress, true)).toBe(0xfee0_0010n)
    e.state.setBigUint64(State.replay, 0xffff_fffen, true)
    e.state.setInt32(State.replayCount, 1, true)
    expect(e.step()).toBe(ExitReason.mmioWrite)
    expect(e.state.getBigUint64(State.exitValue, true)).toBe(3n)
    expect(readArithmeticFlags(e.state)).toBe(Flag.zf | Flag.pf)
    e.state.setInt32(State.replayCount, 2, true)
    expect(e.step()).toBe('next')
    expect(readArithmeticFlags(e.state) & Flag.cf).toBe(Flag.cf)
    expect(e.state.getInt32(State.replayCount, true)).toBe(0)
  })

  test('behaviour: interrupts, NMIs and the shadow', () => {
    const e = longMode([0x90, 0x90])
    e.state.setInt32(State.pendingInterrupt, Vector.gp, true)
    e.state.setInt32(State.halted, 1, true)
    expect(e.step()).toBe('next')
    expect([
      rip(e),
      e.state.getInt32(State.halted, true),
      e.state.getInt32(State.pendingInterrupt, true),
    ]).toEqual([0x9000n, 0, -1])
    const window = longMode([0xb0, 1, 0xb0, 2])
    window.state.setInt32(State.windowWanted, 1, true)
    window.state.setInt32(State.interruptShadow, 1, true)
    window.state.setBigUint64(State.rflags, 0x202n, true)
    expect(window.step()).toBe('next')
    expect(window.step()).toBe(ExitReason.interruptWindow)
  })
})
