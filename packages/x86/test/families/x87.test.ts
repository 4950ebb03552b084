import { describe, expect, test } from 'vitest'
import { Flag, State, Vector } from '../../src/state-layout.ts'
import { LongMode } from './long-mode.ts'

const MEMORY = 0x1_0000
/** Round to nearest, 64 bits, all masked. */
const FCW = 0x37f
const IE = 1
const DE = 2
const ZE = 4
const OE = 8
const UE = 0x10
const PE = 0x20
const SF = 0x40
const C1 = 0x200

class X87 extends LongMode {
  constructor(fcw = FCW) {
    super()
    this.evaluator.state.setInt32(State.fcw, fcw, true)
    this.set({ rsi: MEMORY })
  }
  get fsw(): number {
    return this.evaluator.state.getInt32(State.fsw, true)
  }
  /** ST(i) as `exponent:significand`, or undefined when empty. */
  st(i: number): string | undefined {
    const { state } = this.evaluator
    const number = (((this.fsw >> 11) & 7) + i) & 7
    if (!((state.getInt32(State.ftw, true) >> number) & 1)) return undefined
    const at = State.x87 + 16 * number
    return `${state.getUint16(at + 8, true).toString(16)}:${state.getBigUint64(at, true).toString(16).padStart(16, '0')}`
  }
  push(value: string): void {
    const [exponent, significand] = value.split(':') as [string, string]
    this.memory.setBigUint64(MEMORY, BigInt(`0x${significand}`), true)
    this.memory.setUint16(MEMORY + 8, Number.parseInt(exponent, 16), true)
    this.all('DB 2E')
  }
  all(...instructions: string[]): void {
    for (const hex of instructions) if (!this.run(hex)) throw new Error(`${hex} faults`)
  }
}

const ONE = '3fff:8000000000000000'
const THREE = '4000:c000000000000000'
const INFINITY = '7fff:8000000000000000'
const INDEFINITE = 'ffff:c000000000000000'
const LARGEST = '7ffe:ffffffffffffffff'

/** ST(0) after an instruction on ST(0) = x and ST(1) = y, with the exceptions. */
function on(hex: string, x: string, y = ONE, fcw = FCW): [string | undefined, number] {
  const m = new X87(fcw)
  m.push(y)
  m.push(x)
  m.all(hex)
  return [m.st(0), m.fsw & 0x27f]
}
const FADD = 'D8 C1'
const FSUB = 'D8 E1'
const FMUL = 'D8 C9'
const FDIV = 'D8 F1'
const FSQRT = 'D9 FA'

describe('80-bit arithmetic', () => {
  test('default: 1 / 3, with the direction of rounding in C1', () => {
    expect(on(FDIV, ONE, THREE)).toEqual(['3ffd:aaaaaaaaaaaaaaab', PE | C1])
    expect(on(FDIV, ONE, THREE, 0xf7f)).toEqual(['3ffd:aaaaaaaaaaaaaaaa', PE])
    expect(on(FDIV, ONE, THREE, 0xb7f)).toEqual(['3ffd:aaaaaaaaaaaaaaab', PE | C1])
    expect(on(FDIV, ONE, `c000:${THREE.slice(5)}`, 0x77f)).toEqual(['bffd:aaaaaaaaaaaaaaab', PE | C1])
  })

  test('behaviour: precision control shortens the significand, not the exponent', () => {
    expect(on(FDIV, ONE, THREE, 0x27f)).toEqual(['3ffd:aaaaaaaaaaaaa800', PE])
    expect(on(FDIV, ONE, THREE, 0x07f)).toEqual(['3ffd:aaaaab0000000000', PE | C1])
  })

  test('behaviour: infinities, zeros, NaNs', () => {
    expect(on(FSUB, INFINITY, INFINITY)).toEqual([INDEFINITE, IE])
    expect(on(FDIV, ONE, '8000:0000000000000000')).toEqual(['ffff:8000000000000000', ZE])
    expect(on(FMUL, '0:0', INFINITY)).toEqual([INDEFINITE, IE])
    expect(on(FADD, '7fff:8000000000000001', 'ffff:c000000000000002')).toEqual(['ffff:c000000000000002', IE])
    expect(on(FADD, '7fff:c000000000000003', 'ffff:c000000000000002')).toEqual(['7fff:c000000000000003', 0])
    // Without its integer bit a number is not one.
    expect(on(FADD, '3fff:4000000000000000')).toEqual([INDEFINITE, IE])
    expect(on(FSUB, ONE, ONE, 0x77f)).toEqual(['8000:0000000000000000', 0])
  })

  test('behaviour: overflow, underflow, denormals', () => {
    expect(on(FADD, LARGEST, LARGEST)).toEqual([INFINITY, OE | PE | C1])
    expect(on(FADD, LARGEST, LARGEST, 0xf7f)).toEqual([LARGEST, OE | PE])
    expect(on(FMUL, '1:8000000000000001', '3ffe:8000000000000000')).toEqual(['0:4000000000000000', UE | PE])
    expect(on(FMUL, '1:8000000000000000', '3ffe:8000000000000000')).toEqual(['0:4000000000000000', 0])
    expect(on(FADD, '0:0000000000000001', '0:7fffffffffffffff')).toEqual(['1:8000000000000000', DE])
    // Rounded to 53 bits it is no longer tiny.
    expect(on(FMUL, '1:ffffffffffffffff', '3ffe:8000000000000000', 0x27f)).toEqual([
      '1:8000000000000000',
      PE | C1,
    ])
    // Unmasked overflow moves the exponent into range.
    expect(on(FADD, LARGEST, LARGEST, 0x377)).toEqual(['1fff:ffffffffffffffff', OE])
  })

  test('behaviour: square roots', () => {
    expect(on(FSQRT, '4000:8000000000000000')).toEqual(['3fff:b504f333f9de6484', PE])
    expect(on(FSQRT, '4001:9000000000000000')).toEqual(['4000:87c3b666fb66cb63', PE])
    expect(on(FSQRT, 'bfff:8000000000000000')).toEqual([INDEFINITE, IE])
    expect(on(FSQRT, '8000:0000000000000000')).toEqual(['8000:0000000000000000', 0])
    expect(on(FSQRT, '0:0000000000000002')).toEqual(['1fe1:8000000000000000', DE])
  })

  test('behaviour: FPREM tells the quotient, and that it is not done', () => {
    // 17 by 5: remainder 2, quotient 3. FPREM1 gives the same, 18 by 5 differs: -2, quotient 4.
    expect(on('D9 F8', '4003:8800000000000000', '4001:a000000000000000')).toEqual([
      '4000:8000000000000000',
      C1,
    ])
    expect(on('D9 F5', '4003:9000000000000000', '4001:a000000000000000')).toEqual([
      'c000:8000000000000000',
      0,
    ])
    const m = new X87()
    m.push(THREE)
    m.push('4063:8000000000000001')
    m.all('D9 F8')
    expect(m.fsw & 0x400).toBe(0x400)
    m.all('D9 F8', 'D9 F8')
    expect(m.fsw & 0x400).toBe(0)
  })

  test('behaviour: FSCALE, FRNDINT, FXTRACT', () => {
    expect(on('D9 FD', THREE, 'c000:a000000000000000')).toEqual(['3ffe:c000000000000000', 0])
    expect(on('D9 FC', '4000:a000000000000000')).toEqual(['4000:8000000000000000', PE])
    expect(on('D9 FC', '4000:a000000000000000', ONE, 0xb7f)).toEqual(['4000:c000000000000000', PE | C1])
    const m = new X87()
    m.push('bffe:c000000000000000')
    m.all('D9 F4')
    expect([m.st(0), m.st(1)]).toEqual(['bfff:c000000000000000', 'bfff:8000000000000000'])
  })
})

describe('x87 stack', () => {
  test('behaviour: underflow and overflow give the indefinite', () => {
    const m = new X87()
    m.all('D8 C1')
    expect([m.st(0), m.fsw & 0x27f]).toEqual([INDEFINITE, IE | SF])
    for (let i = 0; i < 8; i++) m.all('D9 E8')
    expect([m.st(0), m.fsw & 0x27f]).toEqual([INDEFINITE, IE | SF | C1])
  })

  test('behaviour: an unmasked exception keeps the operands, #MF comes with the next waiting instruction', () => {
    const m = new X87(0x37e)
    m.push(ONE)
    m.push('7fff:8000000000000001')
    m.all('DE C1')
    expect([m.st(0), m.st(1), m.fsw & 0x80ff]).toEqual(['7fff:8000000000000001', ONE, 0x8081])
    m.all('DF E0')
    expect(Number(m.get('rax')) & 0x80ff).toBe(0x8081)
    expect(m.run('9B')).toBe(false)
    expect(m.evaluator.state.getInt32(State.faultVector, true)).toBe(Vector.mf)
    m.all('DB E2')
    expect(m.run('9B')).toBe(true)
  })

  test('behaviour: FISTP rounds, and what does not fit is the indefinite', () => {
    const m = new X87()
    const store = (value: string, hex: string): bigint => {
      m.push(value)
      m.all('DB E2', hex)
      return m.memory.getBigInt64(MEMORY, true)
    }
    expect(store('4000:a000000000000000', 'DF 3E')).toBe(2n)
    expect(store('c000:e000000000000000', 'DF 3E')).toBe(-4n)
    expect(store('c000:e000000000000000', 'DD 0E')).toBe(-3n)
    expect(store('c03e:8000000000000000', 'DF 3E')).toBe(-(1n << 63n))
    expect(m.fsw & 0x3f).toBe(0)
    expect(store('403e:8000000000000000', 'DF 3E')).toBe(-(1n << 63n))
    expect(m.fsw & 0x3f).toBe(IE)
    expect(BigInt.asIntN(16, store('400e:8000000000000000', 'DF 1E'))).toBe(-32768n)
  })

  test('behaviour: FST m64 rounds to a denormal double, FLD m64 raises #D for one', () => {
    const m = new X87()
    m.push('3bcc:8000000000000001')
    m.all('DD 1E')
    expect(m.memory.getBigUint64(MEMORY, true)).toBe(1n)
    expect(m.fsw & 0x3f).toBe(UE | PE)
    m.all('DB E2', 'DD 06')
    expect([m.st(0), m.fsw & 0x3f]).toEqual(['3bcd:8000000000000000', DE])
  })

  test('behaviour: FCOMI orders, FCMOV moves, FXAM classifies', () => {
    const { cf, pf, zf } = Flag
    const m = new X87()
    m.push(ONE)
    m.push(THREE)
    m.all('DB F1')
    expect(m.flags).toBe(0)
    m.all('DA C1')
    expect(m.st(0)).toBe(THREE)
    m.all('D9 C9', 'DB F1')
    expect(m.flags).toBe(cf)
    m.all('DA C1')
    expect(m.st(0)).toBe(THREE)
    m.all('DF F1')
    expect(m.flags).toBe(zf)
    m.push('7fff:c000000000000000')
    m.all('DB E9')
    expect([m.flags, m.fsw & 0x3f]).toEqual([zf | pf | cf, 0])
    m.all('D9 E5')
    expect(m.fsw & 0x4700).toBe(0x100)
    m.all('DD D8', 'DD D8', 'D9 E5')
    expect(m.fsw & 0x4500).toBe(0x4100)
  })

  test('behaviour: packed decimal goes there and back', () => {
    const m = new X87()
    m.memory.setBigUint64(MEMORY, 0x1234_5678_9012_3456n, true)
    m.memory.setUint16(MEMORY + 8, 0x8098, true)
    m.all('DF 26')
    expect(m.st(0)).toBe('c03a:d9e0ba4046cbac00')
    m.memory.setBigUint64(MEMORY, 0n, true)
    m.all('DF 36')
    expect(m.bytes(MEMORY, 10)).toEqual([0x56, 0x34, 0x12, 0x90, 0x78, 0x56, 0x34, 0x12, 0x98, 0x80])
  })

  test('behaviour: FNSTENV tells full tags and masks exceptions; FLDENV brings them back', () => {
    const m = new X87(0x340)
    m.push('0:0000000000000000')
    m.push(INFINITY)
    m.all('D9 36')
    const word = (at: number): number => m.memory.getUint16(MEMORY + at, true)
    expect([word(0), word(4), word(8)]).toEqual([0x340, 0x3000, 0x6fff])
    expect(m.evaluator.state.getInt32(State.fcw, true)).toBe(0x37f)
    m.all('DB E3', 'D9 26')
    expect([
      m.fsw,
      m.evaluator.state.getInt32(State.fcw, true),
      m.evaluator.state.getInt32(State.ftw, true),
    ]).toEqual([0x3000, 0x340, 0xc0])
  })

  test('error: a store that faults leaves the stack and the flags alone', () => {
    const m = new X87()
    m.push('3ffd:aaaaaaaaaaaaaaab')
    m.set({ rsi: 0x20_0000n })
    expect(m.run('DD 1E')).toBe(false)
    expect([m.st(0), m.fsw & 0x3f]).toEqual(['3ffd:aaaaaaaaaaaaaaab', 0])
  })
})
