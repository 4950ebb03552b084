import { describe, expect, test } from 'vitest'
import { Flag, State } from '../../src/state-layout.ts'
import { ExitReason } from '../../src/system/exit-reason.ts'
import { CODE, LongMode, type Registers } from './long-mode.ts'

const A = 0x1_0000
const B = 0x2_0000
const { df, zf, cf } = Flag

/** Executes the instruction until it moves on. @returns executions, and iterations charged */
function complete(m: LongMode, hex: string, registers: Registers): { executions: number; charged: bigint } {
  const { state } = m.evaluator
  state.setBigInt64(State.budget, 1n << 40n, true)
  m.run(hex, registers)
  let executions = 1
  while (m.rip === CODE) {
    if (executions++ > 10_000) throw new Error(`${hex} does not end`)
    if (m.evaluator.step() !== 'next') throw new Error(`${hex} exits`)
  }
  return { executions, charged: (1n << 40n) - state.getBigInt64(State.budget, true) }
}
function direction(m: LongMode, down: boolean): void {
  m.evaluator.state.setBigUint64(State.rflags, BigInt(2 | (down ? df : 0)), true)
}
const registers = (m: LongMode): bigint[] => [m.get('rcx'), m.get('rsi'), m.get('rdi')]
function fill(m: LongMode, at: number, length: number): void {
  for (let i = 0; i < length; i++) m.memory.setUint8(at + i, (i * 7 + (i >> 8)) & 0xff)
}

describe('string instructions', () => {
  test('default: REP MOVSQ by pages, one iteration one instruction', () => {
    const m = new LongMode()
    fill(m, A, 0x3000)
    const { executions, charged } = complete(m, 'F3 48 A5', { rcx: 0x600, rsi: A, rdi: B })
    expect(charged).toBe(0x600n)
    expect(executions).toBe(3)
    expect(registers(m)).toEqual([0n, BigInt(A + 0x3000), BigInt(B + 0x3000)])
    expect(m.bytes(B, 0x3000)).toEqual(m.bytes(A, 0x3000))
  })

  test('behaviour: without a prefix; RCX of 0 does nothing and counts once', () => {
    const m = new LongMode()
    fill(m, A, 8)
    m.run('66 A5', { rsi: A, rdi: B, rcx: 0 })
    expect(registers(m)).toEqual([0n, BigInt(A + 2), BigInt(B + 2)])
    expect(m.bytes(B, 3)).toEqual([0, 7, 0])
    expect(complete(m, 'F3 A4', { rcx: 0, rsi: -1n, rdi: -1n })).toEqual({ executions: 1, charged: 1n })
  })

  test('behaviour: copies that overlap repeat what they wrote, in either direction', () => {
    for (const down of [false, true])
      for (const [bytes, code] of [
        [1, 'F3 A4'],
        [4, 'F3 A5'],
        [8, 'F3 48 A5'],
      ] as const)
        for (const distance of [-4099, -9, -1, 0, 1, 3, 8, 100, 4099]) {
          const m = new LongMode()
          direction(m, down)
          fill(m, A, 0x4000)
          const count = 700
          const step = down ? -bytes : bytes
          const start = down ? A + 0x2ff3 : A + 0x1003
          const expected = Uint8Array.from(m.bytes(A, 0x4000))
          for (let i = 0; i < count; i++) {
            const from = start - A + i * step
            expected.copyWithin(from + distance, from, from + bytes)
          }
          const { charged } = complete(m, code, { rcx: count, rsi: start, rdi: start + distance })
          const name = `${code} distance ${distance} ${down ? 'down' : 'up'}`
          expect(
            m.bytes(A, 0x4000).every((byte, at) => byte === expected[at]),
            name,
          ).toBe(true)
          expect(registers(m), name).toEqual([
            0n,
            BigInt(start + count * step),
            BigInt(start + distance + count * step),
          ])
          expect(charged, name).toBe(BigInt(count))
        }
  })

  test('behaviour: REP STOS with patterns, across pages, both ways', () => {
    const m = new LongMode()
    complete(m, 'F3 AB', { rcx: 0x800, rdi: A + 2, rax: 0x0403_0201 })
    expect(m.bytes(A, 11)).toEqual([0, 0, 1, 2, 3, 4, 1, 2, 3, 4, 1])
    expect(m.bytes(A + 0x1ffe, 6)).toEqual([1, 2, 3, 4, 0, 0])
    complete(m, 'F3 48 AB', { rcx: 0x200, rdi: A, rax: 0x5555_5555_5555_5555n })
    expect(m.bytes(A + 0xffe, 4)).toEqual([0x55, 0x55, 3, 4])
    direction(m, true)
    complete(m, 'F3 AA', { rcx: 3, rdi: B + 1, rax: 9 })
    expect([m.bytes(B - 2, 5), m.get('rdi')]).toEqual([[0, 9, 9, 9, 0], BigInt(B - 2)])
  })

  test('behaviour: REPE CMPSB and REPNE SCASB stop behind the element that decides', () => {
    const m = new LongMode()
    fill(m, A, 0x1800)
    fill(m, B, 0x1800)
    m.memory.setUint8(B + 0x1234, 0xff)
    complete(m, 'F3 A6', { rcx: 0x1800, rsi: A, rdi: B })
    expect(registers(m)).toEqual([BigInt(0x1800 - 0x1235), BigInt(A + 0x1235), BigInt(B + 0x1235)])
    expect(m.flags & (zf | cf)).toBe(cf)
    complete(m, 'F3 A6', { rcx: 0x100, rsi: A, rdi: B })
    expect([m.get('rcx'), m.flags & zf]).toEqual([0n, zf])
    m.memory.setUint8(A + 0x1100, 0xee)
    const found = m.bytes(A, 0x1800).indexOf(0xee)
    const { charged } = complete(m, 'F2 AE', { rcx: -1n, rdi: A, rax: 0xee })
    expect([m.get('rdi'), m.flags & zf, charged]).toEqual([BigInt(A + found + 1), zf, BigInt(found + 1)])
    complete(m, 'F3 48 AF', { rcx: 5, rdi: B, rax: 1 })
    expect([m.get('rcx'), m.get('rdi')]).toEqual([4n, BigInt(B + 8)])
  })

  test('behaviour: REP LODS leaves the last element; flags of the first comparison without a prefix', () => {
    const m = new LongMode()
    fill(m, A, 0x20)
    complete(m, 'F3 AC', { rcx: 5, rsi: A, rax: 0x1100 })
    expect([m.get('rax'), m.get('rsi')]).toEqual([0x111cn, BigInt(A + 5)])
    m.run('A6', { rsi: A + 1, rdi: A, rcx: 77 })
    expect([m.get('rcx'), m.flags & (zf | cf)]).toEqual([77n, 0])
  })

  test('behaviour: 32-bit addresses wrap and clear upper halves, but not where ECX is 0', () => {
    const m = new LongMode()
    fill(m, A, 16)
    const high = 0x7777_0000_0000n
    complete(m, '67 F3 A4', { rcx: high + 3n, rsi: high + BigInt(A), rdi: high + BigInt(B) })
    expect(registers(m)).toEqual([0n, BigInt(A + 3), BigInt(B + 3)])
    complete(m, '67 F3 A4', { rcx: high, rsi: high, rdi: high })
    expect(registers(m)).toEqual([high, high, high])
  })

  test('behaviour: the budget stops after exactly that many iterations', () => {
    const m = new LongMode()
    const { state } = m.evaluator
    for (const [budget, done] of [
      [1n, 1n],
      [7n, 7n],
      [0x2000n, 0x100n],
    ] as const) {
      state.setBigInt64(State.budget, budget, true)
      m.run('F3 AA', { rcx: 0x100, rdi: A, rax: 1 })
      expect([0x100n - m.get('rcx'), state.getBigInt64(State.budget, true)]).toEqual([done, budget - done])
      expect(m.rip).toBe(done === 0x100n ? CODE + 2n : CODE)
    }
  })

  test('behaviour: a single step is one iteration', () => {
    const m = new LongMode()
    m.evaluator.state.setInt32(State.debugStep, 1, true)
    m.run('F3 AA', { rcx: 0x100, rdi: A, rax: 1 })
    expect([m.get('rcx'), m.rip]).toEqual([0xffn, CODE])
  })

  test('error: a fault in the middle leaves what was done before it', () => {
    const m = new LongMode()
    m.map(0x1_1000n, 0n)
    expect(m.run('F3 AA', { rcx: 0x100, rdi: 0x1_0fff, rax: 1 })).toBe(true)
    expect([m.get('rcx'), m.get('rdi'), m.rip]).toEqual([0xffn, 0x1_1000n, CODE])
    expect(m.evaluator.step()).toBe('next')
    expect(m.evaluator.state.getBigUint64(State.cr2, true)).toBe(0x1_1000n)
    expect([m.get('rcx'), m.get('rdi')]).toEqual([0xffn, 0x1_1000n])
    expect(m.memory.getBigUint64(Number(m.get('rsp')) + 8, true)).toBe(CODE)
  })

  test('behaviour: a device takes one iteration at a time, each with its own exits', () => {
    const m = new LongMode()
    const { state } = m.evaluator
    m.map(0x1_1000n, 0xfee0_0007n)
    fill(m, A, 16)
    m.run('F3 A5', { rcx: 2, rsi: 0x1_0ffc, rdi: 0x1_0ff8 })
    expect(registers(m)).toEqual([1n, 0x1_1000n, 0x1_0ffcn])
    expect(m.evaluator.step()).toBe(ExitReason.mmioRead)
    expect(registers(m)).toEqual([1n, 0x1_1000n, 0x1_0ffcn])
    state.setBigUint64(State.replay, 0x1234_5678n, true)
    state.setInt32(State.replayCount, 1, true)
    expect(m.evaluator.step()).toBe('next')
    expect([m.get('rcx'), m.rip, m.memory.getUint32(0x1_0ffc, true)]).toEqual([0n, CODE + 2n, 0x1234_5678])
  })

  test('behaviour: elements across a page boundary', () => {
    for (const down of [false, true]) {
      const m = new LongMode()
      direction(m, down)
      fill(m, A, 0x2000)
      const start = down ? A + 0x100d : A + 0xff5
      complete(m, 'F3 48 A5', { rcx: 4, rsi: start, rdi: B })
      const low = down ? start - 24 : start
      expect(m.bytes(down ? B - 24 : B, 32)).toEqual(m.bytes(low, 32))
    }
  })
})
