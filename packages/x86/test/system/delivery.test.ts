import { describe, expect, test } from 'vitest'
import { Flag, Segment, State, Vector } from '../../src/state-layout.ts'
import { ExitReason } from '../../src/system/exit-reason.ts'
import { type LongMode, longMode, Place, Selector } from './long-mode.ts'

const UD2 = [0x0f, 0x0b]
const handler = (vector: number): bigint => BigInt(Place.handlers + 16 * vector)
/** A gate whose use is `vector`'s failure. */
function breakGate(m: LongMode, at: number, failure: 'np' | 'gp' | 'ss' | 'pf'): void {
  if (failure === 'np') m.gate(at, { present: false })
  if (failure === 'gp') m.gate(at, { type: 5 })
  if (failure === 'ss') {
    m.memory.setBigUint64(Place.tss + 36 + 8, 0x8000_0000_0000n, true)
    m.gate(at, { ist: 2 })
  }
  if (failure === 'pf') {
    m.memory.setBigUint64(Place.tss + 36 + 16, 0x7fff_0000_0000n, true)
    m.gate(at, { ist: 3 })
  }
}

describe('64-bit delivery', () => {
  test('default: a fault at CPL 0 pushes SS, RSP, RFLAGS with RF, CS and RIP on a stack that is aligned', () => {
    const m = longMode()
    m.setGpr(4, Place.stack + 9)
    m.setU64(State.rflags, 2 | Flag.if | Flag.df)
    m.code(...UD2)
    expect(m.run()).toBe('next')
    expect(m.u64(State.rip)).toBe(handler(Vector.ud))
    expect(m.gpr(4)).toBe(BigInt(Place.stack - 40))
    expect(m.stack(5)).toEqual([
      BigInt(Place.code),
      8n,
      BigInt(2 | Flag.if | Flag.df | Flag.rf),
      BigInt(Place.stack + 9),
      0x10n,
    ])
    // An interrupt gate clears IF; DF stays.
    expect(m.u64(State.rflags)).toBe(BigInt(2 | Flag.df))
    expect(m.selector(Segment.ss)).toBe(0x10)
  })

  test('behaviour: an error code takes a word more; a trap gate leaves IF', () => {
    const m = longMode()
    m.gate(Vector.gp, { type: 0xf })
    m.setU64(State.rflags, 2 | Flag.if)
    m.code(0x0f, 0x00, 0xd8) // ltr ax, with a null selector
    m.setGpr(0, 0)
    m.run()
    expect(m.u64(State.rip)).toBe(handler(Vector.gp))
    expect(m.gpr(4)).toBe(BigInt(Place.stack - 48))
    expect(m.stack(2)).toEqual([0n, BigInt(Place.code)])
    expect(m.u64(State.rflags)).toBe(BigInt(2 | Flag.if))
  })

  test('behaviour: from CPL 3 the stack is RSP0, SS null, and the CPL 0', () => {
    const m = longMode()
    m.user()
    m.code(...UD2)
    m.run()
    expect(m.gpr(4)).toBe(BigInt(Place.rsp0 - 40))
    expect(m.stack(5)).toEqual([
      BigInt(Place.code),
      BigInt(Selector.userCode),
      BigInt(2 | Flag.rf),
      BigInt(Place.stack),
      BigInt(Selector.userData),
    ])
    expect([m.selector(Segment.cs), m.selector(Segment.ss), m.i32(State.cpl)]).toEqual([8, 0, 0])
  })

  test('behaviour: IST without a change of privilege', () => {
    const m = longMode()
    m.gate(Vector.ud, { ist: 1 })
    m.code(...UD2)
    m.run()
    expect(m.gpr(4)).toBe(BigInt(Place.ist1 - 40))
    expect(m.selector(Segment.ss)).toBe(0x10)
  })

  test.each<readonly [string, (m: LongMode) => void, number, number]>([
    ['beyond the IDT', (m) => m.setI32(State.idtrLimit, 16 * 6 + 14), Vector.gp, 6 * 8 + 3],
    ['a gate that is not present', (m) => breakGate(m, 6, 'np'), Vector.np, 6 * 8 + 3],
    ['a task gate', (m) => breakGate(m, 6, 'gp'), Vector.gp, 6 * 8 + 3],
    ['a null selector', (m) => m.gate(6, { selector: 0 }), Vector.gp, 1],
    ['a selector beyond the GDT', (m) => m.gate(6, { selector: 0x48 }), Vector.gp, 0x49],
    ['a data segment', (m) => m.gate(6, { selector: Selector.kernelData }), Vector.gp, 0x11],
    ['an outer code segment', (m) => m.gate(6, { selector: Selector.userCode & ~3 }), Vector.gp, 0x29],
    [
      'a compatibility-mode segment',
      (m) => m.memory.setBigUint64(Place.gdt + 8, 0x00cf_9b00_0000_ffffn, true),
      Vector.gp,
      9,
    ],
    [
      'a code segment that is not present',
      (m) => m.memory.setBigUint64(Place.gdt + 8, 0x00af_1b00_0000_ffffn, true),
      Vector.np,
      9,
    ],
    ['a handler that is not canonical', (m) => m.gate(6, { offset: 0x8000_0000_0000n }), Vector.gp, 1],
    ['a stack that is not canonical', (m) => breakGate(m, 6, 'ss'), Vector.ss, 1],
  ])('behaviour: %s', (_, prepare, vector, code) => {
    const m = longMode()
    // #GP, #NP and #SS go through a conforming segment that is always there.
    m.memory.setBigUint64(Place.gdt + 0x38, 0x00af_9f00_0000_ffffn, true)
    for (const other of [Vector.gp, Vector.np, Vector.ss]) m.gate(other, { selector: 0x38 })
    prepare(m)
    if (m.i32(State.idtrLimit) < 16 * 14) {
      // The handlers themselves must be within the limit: the vector is moved above them.
      m.setI32(State.idtrLimit, 16 * 0x20 - 1)
      m.gate(0x1f, {})
      m.setI32(State.pendingInterrupt, 0x20)
      expect(m.run()).toBe('next')
      expect(m.i32(State.pendingInterrupt)).toBe(-1)
      expect(m.stack(2)).toEqual([BigInt(0x20 * 8 + 3), BigInt(Place.code)])
      return
    }
    m.code(...UD2)
    expect(m.run()).toBe('next')
    expect(m.u64(State.rip)).toBe(handler(vector))
    expect(m.stack(2)).toEqual([BigInt(code), BigInt(Place.code)])
  })

  // SDM volume 3, table 6-5. First exception: benign (#UD), contributory (#GP by a bad LTR), page fault.
  test.each<readonly [string, string, number]>([
    ['ud', 'np', Vector.np],
    ['ud', 'pf', Vector.pf],
    ['gp', 'np', Vector.df],
    ['gp', 'ss', Vector.df],
    ['gp', 'pf', Vector.pf],
    ['pf', 'np', Vector.df],
    ['pf', 'gp', Vector.df],
    ['pf', 'pf', Vector.df],
  ])('behaviour: #%s, and its delivery meets #%s', (first, second, delivered) => {
    const m = longMode()
    const at = { ud: Vector.ud, gp: Vector.gp, pf: Vector.pf }[first]!
    const code = { ud: UD2, gp: [0x0f, 0x00, 0xd8], pf: [0x48, 0x8b, 0x03] }[first]!
    breakGate(m, at, second as 'np')
    if (second === 'pf' && first !== 'pf') m.gate(Vector.pf, {})
    m.setGpr(0, 0)
    m.setGpr(3, 0x7fff_1234_5678n)
    m.code(...code)
    expect(m.run()).toBe('next')
    expect(m.u64(State.rip)).toBe(handler(delivered))
    expect(m.stack(2)[1]).toBe(BigInt(Place.code))
    if (delivered === Vector.df) expect(m.stack(1)).toEqual([0n])
    if (delivered === Vector.pf) expect(m.u64(State.cr2)).toBe(0x7fff_0000_0000n - 8n)
  })

  test('behaviour: a fault in the delivery of #DF is a shutdown, with the state of before', () => {
    const m = longMode()
    breakGate(m, Vector.gp, 'np')
    breakGate(m, Vector.df, 'np')
    m.code(0x0f, 0x00, 0xd8)
    m.setGpr(0, 0)
    expect(m.run()).toBe(ExitReason.shutdown)
    expect(m.u64(State.rip)).toBe(BigInt(Place.code))
    expect(m.gpr(4)).toBe(BigInt(Place.stack))
  })
})

describe('interrupts', () => {
  test('default: an external interrupt wakes a halted CPU; the frame has the next instruction', () => {
    const m = longMode()
    m.code(0xf4, 0x90) // hlt; nop
    expect(m.run(2)).toBe(ExitReason.halted)
    m.setI32(State.pendingInterrupt, 0x20)
    expect(m.run()).toBe('next')
    expect([m.i32(State.halted), m.i32(State.pendingInterrupt)]).toEqual([0, -1])
    expect(m.stack(3)).toEqual([BigInt(Place.code + 1), 8n, 2n])
  })

  test('behaviour: an NMI blocks further ones until IRET', () => {
    const m = longMode()
    m.setI32(State.nmiPending, 1)
    m.run()
    expect(m.u64(State.rip)).toBe(handler(2))
    expect([m.i32(State.nmiPending), m.i32(State.nmiBlocked)]).toEqual([0, 1])
    m.code(0x48, 0xcf)
    m.setI32(State.nmiPending, 1)
    m.run()
    expect(m.u64(State.rip)).toBe(BigInt(Place.code))
    expect([m.i32(State.nmiPending), m.i32(State.nmiBlocked)]).toEqual([1, 0])
  })

  test('behaviour: INT n checks the DPL of its gate, without EXT in the error code', () => {
    const m = longMode()
    m.gate(0x21, { dpl: 3 })
    m.user()
    m.code(0xcd, 0x21)
    m.run()
    expect(m.u64(State.rip)).toBe(handler(0x21))
    expect(m.stack(1)).toEqual([BigInt(Place.code + 2)])
    const refused = longMode()
    refused.user()
    refused.code(0xcd, 0x21)
    refused.run()
    expect(refused.u64(State.rip)).toBe(handler(Vector.gp))
    expect(refused.stack(2)).toEqual([BigInt(0x21 * 8 + 2), BigInt(Place.code)])
  })

  test('behaviour: INT3 is checked, INT1 is not', () => {
    const m = longMode()
    m.user()
    m.code(0xcc)
    m.run()
    expect(m.stack(2)).toEqual([BigInt(3 * 8 + 2), BigInt(Place.code)])
    const trap = longMode()
    trap.user()
    trap.code(0xf1)
    trap.run()
    expect(trap.u64(State.rip)).toBe(handler(1))
    expect(trap.stack(1)).toEqual([BigInt(Place.code + 1)])
  })

  test('behaviour: TF traps after the instruction, with DR6.BS', () => {
    const m = longMode()
    m.setU64(State.rflags, 2 | Flag.tf)
    m.setU64(State.dr + 32, 0xffff_0ff0)
    m.code(0x90)
    m.run()
    expect(m.u64(State.rip)).toBe(handler(1))
    expect(m.stack(3)).toEqual([BigInt(Place.code + 1), 8n, BigInt(2 | Flag.tf)])
    expect(m.u64(State.dr + 32)).toBe(0xffff_4ff0n)
    expect(m.u64(State.rflags)).toBe(2n)
  })

  test('behaviour: STI shadows one instruction, and only where IF was clear', () => {
    const m = longMode()
    m.code(0xfb, 0xfb)
    m.run()
    expect(m.i32(State.interruptShadow)).toBe(1)
    m.run()
    expect(m.i32(State.interruptShadow)).toBe(0)
    const user = longMode()
    user.user()
    user.code(0xfb)
    user.run()
    expect(user.u64(State.rip)).toBe(handler(Vector.gp))
  })
})
