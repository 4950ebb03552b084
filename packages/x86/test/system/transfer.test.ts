import { describe, expect, test } from 'vitest'
import { readArithmeticFlags } from '../../src/evaluator/arithmetic-flags.ts'
import { Flag, Segment, SegmentField, State, segmentOffset, Vector } from '../../src/state-layout.ts'
import { type LongMode, longMode, Place, Selector } from './long-mode.ts'

const IRETQ = [0x48, 0xcf]
const handler = (vector: number): bigint => BigInt(Place.handlers + 16 * vector)
const rflags = (m: LongMode): bigint => m.u64(State.rflags) | BigInt(readArithmeticFlags(m.evaluator.state))
/** Puts words on the stack, the first one at RSP. */
function push(m: LongMode, ...words: (bigint | number)[]): void {
  m.setGpr(4, Place.stack - 8 * words.length)
  words.forEach((word, index) =>
    m.memory.setBigUint64(Place.stack - 8 * (words.length - index), BigInt(word), true),
  )
}
const attributes = (m: LongMode, segment: number): number =>
  m.evaluator.state.getUint16(segmentOffset(segment, SegmentField.attributes), true)

describe('IRET', () => {
  test('default: to ring 3, with every flag', () => {
    const m = longMode()
    m.code(...IRETQ)
    const flags = 0x0024_7dd7 & ~Flag.nt & ~0x28
    push(m, 0x40_0000, Selector.userCode, flags, 0x7fff_0000, Selector.userData)
    m.run()
    expect(m.u64(State.rip)).toBe(0x40_0000n)
    expect(m.gpr(4)).toBe(0x7fff_0000n)
    expect(rflags(m)).toBe(BigInt(flags))
    expect([m.selector(Segment.cs), m.selector(Segment.ss), m.i32(State.cpl)]).toEqual([
      Selector.userCode,
      Selector.userData,
      3,
    ])
    expect([attributes(m, Segment.cs), attributes(m, Segment.ss)]).toEqual([0xa0fb, 0xc0f3])
  })

  test('behaviour: at CPL 3 neither IOPL nor IF change', () => {
    const m = longMode()
    m.user()
    m.code(...IRETQ)
    push(m, Place.code, Selector.userCode, 0x3202 | Flag.ac, Place.stack, Selector.userData)
    m.run()
    expect(rflags(m)).toBe(BigInt(2 | Flag.ac))
  })

  test('behaviour: same privilege with a null SS; data segments of an inner level become null', () => {
    const m = longMode()
    m.code(...IRETQ)
    push(m, 0x8100, 8, 2, 0x1_1000, 0)
    m.run()
    expect([m.u64(State.rip), m.gpr(4), BigInt(m.selector(Segment.ss))]).toEqual([0x8100n, 0x1_1000n, 0n])
    m.evaluator.state.setUint16(segmentOffset(Segment.ds, SegmentField.selector), Selector.kernelData, true)
    m.evaluator.state.setUint16(segmentOffset(Segment.ds, SegmentField.attributes), 0xc093, true)
    m.evaluator.state.setUint16(segmentOffset(Segment.fs, SegmentField.selector), Selector.userData, true)
    m.evaluator.state.setUint16(segmentOffset(Segment.fs, SegmentField.attributes), 0xc0f3, true)
    m.code(...IRETQ)
    push(m, 0x8000, Selector.userCode, 2, 0x1_1000, Selector.userData)
    m.run()
    expect([m.selector(Segment.ds), m.selector(Segment.fs)]).toEqual([0, Selector.userData])
  })

  test.each<readonly [string, readonly number[], number, number]>([
    ['a null CS', [0x8000, 0, 2, Place.stack, 0x10], Vector.gp, 0],
    [
      'an RPL that is not the DPL',
      [0x8000, Selector.userCode & ~3, 2, Place.stack, Selector.userData],
      Vector.gp,
      0x28,
    ],
    ['a data segment as CS', [0x8000, 0x10, 2, Place.stack, 0x10], Vector.gp, 0x10],
    ['CS beyond the GDT', [0x8000, 0x80, 2, Place.stack, 0x10], Vector.gp, 0x80],
    ['CS of an LDT that is not there', [0x8000, 0x0c, 2, Place.stack, 0x10], Vector.gp, 0x0c],
    ['a null SS for ring 3', [0x8000, Selector.userCode, 2, Place.stack, 3], Vector.gp, 0],
    ['an SS of another level', [0x8000, Selector.userCode, 2, Place.stack, 0x10], Vector.gp, 0x10],
    ['a code segment as SS', [0x8000, 8, 2, Place.stack, 8], Vector.gp, 8],
    ['RIP that is not canonical', [0x8000_0000_0000, 8, 2, Place.stack, 0x10], Vector.gp, 0],
  ])('error: %s', (_, frame, vector, code) => {
    const m = longMode()
    m.code(...IRETQ)
    push(m, ...frame)
    m.run()
    expect(m.u64(State.rip)).toBe(handler(vector))
    expect(m.stack(2)).toEqual([BigInt(code), BigInt(Place.code)])
    expect([m.i32(State.cpl), m.selector(Segment.cs)]).toEqual([0, 8])
  })

  test('error: NT set; and an inner level', () => {
    const m = longMode()
    m.setU64(State.rflags, 2 | Flag.nt)
    m.code(...IRETQ)
    push(m, 0x8000, 8, 2, Place.stack, 0x10)
    m.run()
    expect(m.u64(State.rip)).toBe(handler(Vector.gp))
    const user = longMode()
    user.user()
    user.code(...IRETQ)
    push(user, 0x8000, 8, 2, Place.stack, 0x10)
    user.run()
    expect(user.stack(1)).toEqual([8n])
  })
})

describe('SYSCALL and SYSRET', () => {
  function enabled(): LongMode {
    const m = longMode()
    m.setU64(State.star, (BigInt(Selector.userCode32) << 48n) | (8n << 32n))
    m.setU64(State.lstar, 0x8100)
    m.setU64(State.sfmask, Flag.if | Flag.tf | Flag.ac | Flag.zf)
    return m
  }

  test('default: there and back', () => {
    const m = enabled()
    m.user()
    m.code(0x0f, 0x05)
    m.setU64(State.rflags, 2 | Flag.if | Flag.ac | Flag.df)
    // ZF set: the result is zero.
    m.setU64(State.flagsResult, 0)
    m.run()
    expect([m.u64(State.rip), m.gpr(1)]).toEqual([0x8100n, BigInt(Place.code + 2)])
    expect(m.gpr(11)).toBe(BigInt(2 | Flag.if | Flag.ac | Flag.df | Flag.zf | Flag.pf))
    expect(rflags(m)).toBe(BigInt(2 | Flag.df | Flag.pf))
    expect([m.selector(Segment.cs), m.selector(Segment.ss), m.i32(State.cpl)]).toEqual([8, 0x10, 0])
    expect([attributes(m, Segment.cs), attributes(m, Segment.ss)]).toEqual([0xa09b, 0xc093])
    expect(m.gpr(4)).toBe(BigInt(Place.stack))
    m.code(0x48, 0x0f, 0x07)
    m.run()
    expect(m.u64(State.rip)).toBe(BigInt(Place.code + 2))
    expect(rflags(m)).toBe(BigInt(2 | Flag.if | Flag.ac | Flag.df | Flag.zf | Flag.pf))
    expect([m.selector(Segment.cs), m.selector(Segment.ss), m.i32(State.cpl)]).toEqual([
      Selector.userCode,
      Selector.userData,
      3,
    ])
  })

  test('error: without EFER.SCE, at CPL 3, to an address that is not canonical', () => {
    const off = enabled()
    off.setU64(State.efer, 0xd00)
    off.code(0x0f, 0x05)
    off.run()
    expect(off.u64(State.rip)).toBe(handler(Vector.ud))
    const user = enabled()
    user.user()
    user.code(0x48, 0x0f, 0x07)
    user.run()
    expect(user.u64(State.rip)).toBe(handler(Vector.gp))
    const wild = enabled()
    wild.code(0x48, 0x0f, 0x07)
    wild.setGpr(1, 0x8000_0000_0000n)
    wild.run()
    expect([wild.u64(State.rip), wild.i32(State.cpl)]).toEqual([handler(Vector.gp), 0])
  })

  test('behaviour: SWAPGS', () => {
    const m = longMode()
    const base = segmentOffset(Segment.gs, SegmentField.base)
    m.setU64(base, 0x1111)
    m.setU64(State.kernelGsBase, 0x2222)
    m.code(0x0f, 0x01, 0xf8)
    m.run()
    expect([m.u64(base), m.u64(State.kernelGsBase)]).toEqual([0x2222n, 0x1111n])
    m.user()
    m.code(0x0f, 0x01, 0xf8)
    m.run()
    expect(m.u64(State.rip)).toBe(handler(Vector.gp))
  })
})

describe('SYSENTER and SYSEXIT', () => {
  test('default: there and back, to segments that follow from one selector', () => {
    const m = longMode()
    m.setU64(State.sysenterCs, 8)
    m.setU64(State.sysenterEsp, 0x1_2000)
    m.setU64(State.sysenterEip, 0x8100)
    m.user()
    m.setU64(State.rflags, 2 | Flag.if)
    m.code(0x0f, 0x34)
    m.run()
    expect([m.u64(State.rip), m.gpr(4), m.u64(State.rflags)]).toEqual([0x8100n, 0x1_2000n, 2n])
    expect([m.selector(Segment.cs), m.selector(Segment.ss), m.i32(State.cpl)]).toEqual([8, 0x10, 0])
    m.setGpr(1, 0x1_1000)
    m.setGpr(2, 0x8200)
    m.code(0x48, 0x0f, 0x35)
    m.run()
    expect([m.u64(State.rip), m.gpr(4)]).toEqual([0x8200n, 0x1_1000n])
    expect([m.selector(Segment.cs), m.selector(Segment.ss), m.i32(State.cpl)]).toEqual([0x2b, 0x33, 3])
    m.setU64(State.sysenterCs, 0)
    m.code(0x0f, 0x34)
    m.run()
    expect(m.u64(State.rip)).toBe(handler(Vector.gp))
  })
})

describe('far transfers', () => {
  test('default: RETFQ, CALL and JMP to a 64-bit segment', () => {
    const m = longMode()
    m.code(0x48, 0xcb)
    push(m, 0x8100, 8)
    m.run()
    expect([m.u64(State.rip), m.gpr(4)]).toEqual([0x8100n, BigInt(Place.stack)])
    m.memory.setBigUint64(0x1_8000, 0x8200n, true)
    m.memory.setUint16(0x1_8008, 8, true)
    m.setGpr(0, 0x1_8000)
    m.code(0x48, 0xff, 0x18) // call m16:64 [rax]
    m.run()
    expect(m.u64(State.rip)).toBe(0x8200n)
    expect(m.stack(2)).toEqual([0x8103n, 8n])
    m.code(0x48, 0xff, 0x28) // jmp m16:64 [rax]
    m.run()
    expect(m.u64(State.rip)).toBe(0x8200n)
    m.code(0x48, 0xca, 0x10, 0x00) // retfq 16
    m.run()
    expect([m.u64(State.rip), m.gpr(4)]).toEqual([0x8103n, BigInt(Place.stack + 16)])
  })

  test('behaviour: RETF to an outer level takes the stack from above the parameters', () => {
    const m = longMode()
    m.code(0x48, 0xca, 0x08, 0x00)
    push(m, 0x8100, Selector.userCode, 0xdead, 0x1_4000, Selector.userData)
    m.run()
    expect([m.u64(State.rip), m.gpr(4), BigInt(m.i32(State.cpl))]).toEqual([0x8100n, 0x1_4008n, 3n])
  })
})
