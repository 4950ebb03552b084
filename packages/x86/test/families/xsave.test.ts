import { describe, expect, test } from 'vitest'
import { State, Vector } from '../../src/state-layout.ts'
import { LongMode } from './long-mode.ts'

const AREA = 0x1_0000

/** A vCPU with XSAVE on, XCR0 = 7, and state that can be told apart everywhere. */
class Xsave extends LongMode {
  constructor(osxsave = true) {
    super()
    const { state } = this.evaluator
    state.setBigUint64(State.cr4, osxsave ? 0x4_0620n : 0x620n, true)
    state.setBigUint64(State.xcr0, 7n, true)
    this.set({ rsi: AREA })
    state.setInt32(State.fcw, 0x27f, true)
    state.setInt32(State.fsw, 0x1820, true)
    state.setInt32(State.ftw, 0x18, true)
    state.setInt32(State.mxcsr, 0x1fa0, true)
    for (let i = 0; i < 8; i++) {
      state.setBigUint64(State.x87 + 16 * i, BigInt(0x100 + i), true)
      state.setUint16(State.x87 + 16 * i + 8, 0x4000 + i, true)
    }
    for (let i = 0; i < 16; i++)
      for (let part = 0; part < 4; part++)
        state.setBigUint64(State.ymm + 32 * i + 8 * part, BigInt(0x1000 * (part + 1) + i), true)
  }
  image(): string {
    const { state } = this.evaluator
    const at = (offset: number, length: number): Buffer =>
      Buffer.from(state.buffer, state.byteOffset + offset, length)
    return [at(State.fcw, 12), at(State.mxcsr, 4), at(State.x87, 128), at(State.ymm, 512)]
      .map((part) => part.toString('hex'))
      .join(' ')
  }
  clear(): void {
    const { state } = this.evaluator
    for (let at = State.x87; at < State.ymm + 512; at += 8) state.setBigUint64(at, 0x5555n, true)
    state.setInt32(State.fsw, 0, true)
    state.setInt32(State.ftw, 0, true)
    state.setInt32(State.mxcsr, 0x1f80, true)
  }
  mask(mask: number): void {
    this.set({ rax: mask, rdx: 0 })
  }
  get vector(): number {
    return this.evaluator.state.getInt32(State.faultVector, true)
  }
  word(at: number): bigint {
    return this.memory.getBigUint64(AREA + at, true)
  }
}

describe('FXSAVE', () => {
  test('default: the image is in stack order, and comes back', () => {
    const m = new Xsave()
    const before = m.image()
    expect(m.run('48 0F AE 06')).toBe(true)
    expect(m.word(0)).toBe(0x0000_0018_1820_027fn)
    expect(m.word(24)).toBe(0xffff_0000_1fa0n)
    // TOP is 3.
    expect([m.word(32), m.word(40), m.word(32 + 16 * 5)]).toEqual([0x103n, 0x4003n, 0x100n])
    expect([m.word(160), m.word(168 + 16 * 15)]).toEqual([0x1000n, 0x200fn])
    const upper = m.evaluator.state.getBigUint64(State.ymm + 16, true)
    m.clear()
    expect(m.run('48 0F AE 0E')).toBe(true)
    expect(m.image().slice(0, 290)).toBe(before.slice(0, 290))
    expect(m.evaluator.state.getBigUint64(State.ymm + 16, true)).not.toBe(upper)
  })

  test('error: misaligned, or MXCSR bits that do not exist', () => {
    const m = new Xsave()
    m.set({ rsi: AREA + 8 })
    expect(m.run('0F AE 06')).toBe(false)
    expect(m.vector).toBe(Vector.gp)
    m.set({ rsi: AREA })
    m.memory.setUint32(AREA + 24, 0x1_0000, true)
    const before = m.image()
    expect(m.run('0F AE 0E')).toBe(false)
    expect(m.vector).toBe(Vector.gp)
    expect(m.image()).toBe(before)
  })
})

describe('XSAVE', () => {
  test('default: all components there and back', () => {
    const m = new Xsave()
    const before = m.image()
    m.mask(-1)
    expect(m.run('48 0F AE 26')).toBe(true)
    expect(m.word(512)).toBe(7n)
    expect([m.word(576), m.word(584 + 16 * 15)]).toEqual([0x3000n, 0x400fn])
    m.clear()
    expect(m.run('48 0F AE 2E')).toBe(true)
    expect(m.image()).toBe(before)
  })

  test('behaviour: only what is asked for is written, XSTATE_BV keeps the other bits', () => {
    const m = new Xsave()
    m.memory.setBigUint64(AREA + 512, 5n, true)
    m.mask(2)
    m.run('0F AE 26')
    expect([m.word(512), m.word(0), m.word(160), m.word(576)]).toEqual([7n, 0n, 0x1000n, 0n])
  })

  test('behaviour: components in their initial state are not marked, and XSAVEOPT does not write them', () => {
    const m = new Xsave()
    for (let i = 0; i < 16; i++)
      for (let part = 2; part < 4; part++)
        m.evaluator.state.setBigUint64(State.ymm + 32 * i + 8 * part, 0n, true)
    m.memory.setBigUint64(AREA + 576, 0x77n, true)
    m.mask(7)
    m.run('0F AE 36')
    expect([m.word(512), m.word(576), m.word(160)]).toEqual([3n, 0x77n, 0x1000n])
    m.run('0F AE 26')
    expect([m.word(512), m.word(576)]).toEqual([3n, 0n])
  })

  test('behaviour: XRSTOR initialises what XSTATE_BV lacks and leaves what is not asked for', () => {
    const m = new Xsave()
    const { state } = m.evaluator
    m.memory.setUint32(AREA + 24, 0x1f80, true)
    m.mask(3)
    expect(m.run('0F AE 2E')).toBe(true)
    expect([
      state.getInt32(State.fcw, true),
      state.getInt32(State.ftw, true),
      state.getInt32(State.mxcsr, true),
    ]).toEqual([0x37f, 0, 0x1f80])
    expect(state.getBigUint64(State.x87, true)).toBe(0n)
    expect(state.getBigUint64(State.ymm, true)).toBe(0n)
    expect(state.getBigUint64(State.ymm + 16, true)).toBe(0x3000n)
  })

  test('error: bad headers, misalignment, CR4.OSXSAVE clear, CR0.TS set', () => {
    const m = new Xsave()
    m.mask(7)
    for (const [at, value] of [
      [512, 8n],
      [520, 1n << 63n],
      [528, 1n],
    ] as const) {
      m.memory.setBigUint64(AREA + at, value, true)
      expect(m.run('0F AE 2E')).toBe(false)
      expect(m.vector).toBe(Vector.gp)
      m.memory.setBigUint64(AREA + at, 0n, true)
    }
    m.set({ rsi: AREA + 16 })
    expect(m.run('0F AE 26')).toBe(false)
    expect(m.vector).toBe(Vector.gp)
    const off = new Xsave(false)
    expect(off.run('0F AE 26')).toBe(false)
    expect(off.vector).toBe(Vector.ud)
    m.evaluator.state.setBigUint64(State.cr0, 0x8001_0019n, true)
    expect(m.run('0F AE 26')).toBe(false)
    expect(m.vector).toBe(Vector.nm)
  })

  test('behaviour: XSETBV checks the value, XGETBV reads it', () => {
    const m = new Xsave()
    const { state } = m.evaluator
    // CPUID announces x87, SSE and AVX state.
    state.setInt32(State.cpuidCount, 1, true)
    ;[0xd, 0, 7, 0, 0, 0, 1].forEach((word, index) => state.setInt32(State.cpuid + 4 * index, word, true))
    for (const value of [0, 2, 5, 0xf]) {
      m.set({ rcx: 0, rax: value, rdx: 0 })
      expect(m.run('0F 01 D1'), `XCR0 = ${value}`).toBe(false)
      expect(m.vector).toBe(Vector.gp)
    }
    m.set({ rcx: 0, rax: 3, rdx: 0 })
    expect(m.run('0F 01 D1')).toBe(true)
    m.set({ rax: -1, rdx: -1 })
    expect(m.run('0F 01 D0')).toBe(true)
    expect([m.get('rax'), m.get('rdx')]).toEqual([3n, 0n])
  })
})
