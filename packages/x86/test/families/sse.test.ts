import { describe, expect, test } from 'vitest'
import { updateFpuAvailability } from '../../src/families/fpu-guard.ts'
import { Flag, State, Vector } from '../../src/state-layout.ts'
import { LongMode } from './long-mode.ts'

const { cf, pf, zf, of, sf } = Flag
const MEMORY = 0x1_0000

/** A vCPU whose XMM registers can be seen as hexadecimal, high lane first. */
class Sse extends LongMode {
  constructor() {
    super()
    this.evaluator.state.setInt32(State.mxcsr, 0x1f80, true)
  }
  setXmm(index: number, hex: string): void {
    const digits = hex.replaceAll(' ', '').padStart(32, '0')
    for (let byte = 0; byte < 16; byte++)
      this.evaluator.state.setUint8(
        State.ymm + 32 * index + byte,
        Number.parseInt(digits.slice(30 - 2 * byte, 32 - 2 * byte), 16),
      )
  }
  xmm(index: number): string {
    const bytes = Array.from({ length: 16 }, (_, byte) =>
      this.evaluator.state.getUint8(State.ymm + 32 * index + 15 - byte),
    )
    return bytes
      .map((byte) => byte.toString(16).padStart(2, '0'))
      .join('')
      .replace(/^0+(?=.)/, '')
  }
  /** Executes on XMM0 and XMM1 and gives XMM0. */
  on(hex: string, x: string, y: string, registers = {}): string {
    this.setXmm(0, x)
    this.setXmm(1, y)
    expect(this.run(hex, registers)).toBe(true)
    return this.xmm(0)
  }
  get mxcsr(): number {
    return this.evaluator.state.getInt32(State.mxcsr, true)
  }
  set mxcsr(value: number) {
    this.evaluator.state.setInt32(State.mxcsr, value, true)
  }
  get vector(): number {
    return this.evaluator.state.getInt32(State.faultVector, true)
  }
}
const ones = 'f'.repeat(32)

describe('SSE availability', () => {
  test('behaviour: CR0.EM and a clear CR4.OSFXSR give #UD, CR0.TS #NM, whatever else is wrong', () => {
    const m = new Sse()
    const { state, machine } = m.evaluator
    const outcome = (cr0: bigint, cr4: bigint): number => {
      state.setBigUint64(State.cr0, cr0, true)
      state.setBigUint64(State.cr4, cr4, true)
      machine.call(updateFpuAvailability)
      state.setInt32(State.faultVector, -1, true)
      // movaps xmm0, [rsi + 1] is misaligned as well.
      return m.run('0F 28 46 01', { rsi: MEMORY }) ? -1 : m.vector
    }
    expect(outcome(0x8001_0011n, 0x620n)).toBe(Vector.gp)
    expect(outcome(0x8001_0019n, 0x620n)).toBe(Vector.nm)
    expect(outcome(0x8001_0015n, 0x620n)).toBe(Vector.ud)
    expect(outcome(0x8001_001dn, 0x620n)).toBe(Vector.ud)
    expect(outcome(0x8001_0011n, 0x420n)).toBe(Vector.ud)
    state.setBigUint64(State.cr0, 0x8001_0019n, true)
    machine.call(updateFpuAvailability)
    expect(m.run('D9 E8')).toBe(false)
    expect(m.vector).toBe(Vector.nm)
  })
})

describe('SSE moves', () => {
  test('behaviour: scalars from memory clear the rest, between registers they do not', () => {
    const m = new Sse()
    m.memory.setBigUint64(MEMORY, 0x1122_3344_5566_7788n, true)
    expect(m.on('F2 0F 10 06', ones, ones, { rsi: MEMORY })).toBe('1122334455667788')
    expect(m.on('F3 0F 10 06', ones, ones)).toBe('55667788')
    expect(m.on('F3 0F 10 C1', ones, '1')).toBe(`${'f'.repeat(24)}00000001`)
    expect(m.on('F3 0F 7E C1', ones, 'aaaa 0000000000000005')).toBe('5')
    expect(m.on('66 0F 16 06', '1', '0')).toBe('11223344556677880000000000000001')
    expect(m.on('0F 12 C1', '0', '9 0000000000000008')).toBe('9')
  })

  test('behaviour: MASKMOVDQU stores selected bytes only, at 32-bit addresses with 67', () => {
    const m = new Sse()
    m.on('67 66 0F F7 C1', '0f0e0d0c0b0a09080706050403020100', '80008000000000ff0000000000007f80', {
      rdi: 0xdead_0001_0000n,
    })
    expect(m.bytes(MEMORY, 16)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 13, 0, 15])
  })
})

describe('SSE arithmetic', () => {
  test('behaviour: NaNs: the first operand, else the second, quieted; else the negative default', () => {
    const m = new Sse()
    expect(m.on('F2 0F 58 C1', '7ff0000000000001', 'fff8000000000002')).toBe('7ff8000000000001')
    expect(m.on('F2 0F 58 C1', '3ff0000000000000', 'fff0000000000002')).toBe('fff8000000000002')
    expect(m.on('F2 0F 5C C1', '7ff0000000000000', '7ff0000000000000')).toBe('fff8000000000000')
    expect(m.on('F3 0F 51 C1', '0', 'bf800000')).toBe('ffc00000')
    // MULPS: lanes 3 to 0: 0 * infinity, 2 * 3, x NaN, y NaN
    expect(
      m.on('0F 59 C1', '00000000 40000000 7f800001 3f800000', '7f800000 40400000 7fc00003 ff800004'),
    ).toBe('ffc0000040c000007fc00001ffc00004')
  })

  test('behaviour: MIN and MAX give the second operand for NaNs and for zeros', () => {
    const m = new Sse()
    expect(m.on('F2 0F 5D C1', '0', '8000000000000000')).toBe('8000000000000000')
    expect(m.on('F2 0F 5F C1', '8000000000000000', '0')).toBe('0')
    expect(
      m.on('0F 5D C1', '7fc00001 3f800000 bf800000 00000000', '3f800000 7f800002 3f800000 80000000'),
    ).toBe('3f8000007f800002bf80000080000000')
  })

  test('behaviour: RCPSS and RSQRTSS are within 1.5 * 2^-12, and know zeros and infinities', () => {
    const m = new Sse()
    const value = (bits: string): number =>
      new DataView(Uint32Array.of(Number.parseInt(bits, 16)).buffer).getFloat32(0, true)
    expect(value(m.on('F3 0F 53 C1', '0', '40490fdb')) * Math.PI).toBeCloseTo(1, 3)
    expect(value(m.on('F3 0F 52 C1', '0', '40490fdb')) ** 2 * Math.PI).toBeCloseTo(1, 3)
    expect(m.on('F3 0F 53 C1', '0', '80000000')).toBe('ff800000')
    expect(m.on('F3 0F 53 C1', '0', '00000001')).toBe('7f800000')
    expect(m.on('F3 0F 52 C1', '0', 'bf800000')).toBe('ffc00000')
    expect(m.on('F3 0F 52 C1', '0', '7f800000')).toBe('0')
  })
})

describe('SSE comparisons', () => {
  test('behaviour: COMISD sets ZF, PF and CF and clears the rest', () => {
    const m = new Sse()
    const flags = (x: string, y: string): number => {
      m.setXmm(0, x)
      m.setXmm(1, y)
      m.run('66 0F 2F C1', {}, of | sf)
      return m.flags
    }
    const one = '3ff0000000000000'
    expect(flags(one, '0')).toBe(0)
    expect(flags('0', one)).toBe(cf)
    expect(flags('0', '8000000000000000')).toBe(zf)
    expect(flags(one, '7ff8000000000000')).toBe(zf | pf | cf)
  })

  test('behaviour: CMPPS has eight predicates, bits above are ignored', () => {
    const m = new Sse()
    // Lanes 3 to 0: less, equal, greater, unordered.
    const x = '3f800000 40000000 40400000 7fc00000'
    const y = '40000000 40000000 40000000 40000000'
    const lanes = (imm: number): string =>
      m
        .on(`0F C2 C1 ${imm.toString(16)}`, x, y)
        .padStart(32, '0')
        .replaceAll('f'.repeat(8), '1')
        .replaceAll('0'.repeat(8), '0')
    expect([0, 1, 2, 3, 4, 5, 6, 7].map(lanes)).toEqual([
      '0100',
      '1000',
      '1100',
      '0001',
      '1011',
      '0111',
      '0011',
      '1110',
    ])
    expect(lanes(0xf9)).toBe('1000')
  })
})

describe('SSE conversions', () => {
  test('behaviour: what does not fit gives the integer indefinite and sets the invalid flag', () => {
    const m = new Sse()
    const convert = (hex: string, y: string): bigint => {
      m.mxcsr = 0x1f80
      m.on(hex, '0', y)
      return m.get('rax')
    }
    expect(convert('F2 0F 2C C1', 'c1dfffffffc00000')).toBe(0x8000_0001n)
    expect(m.mxcsr & 1).toBe(0)
    expect(convert('F2 0F 2C C1', 'c1e00000001fffff')).toBe(0x8000_0000n)
    expect(m.mxcsr & 1).toBe(0)
    expect(convert('F2 0F 2C C1', '41e0000000000000')).toBe(0x8000_0000n)
    expect(m.mxcsr & 1).toBe(1)
    expect(convert('F2 48 0F 2C C1', '7ff8000000000000')).toBe(1n << 63n)
    expect(m.mxcsr & 1).toBe(1)
    expect(convert('F2 48 0F 2C C1', 'c3e0000000000000')).toBe(1n << 63n)
    expect(m.mxcsr & 1).toBe(0)
  })

  test('behaviour: conversions to integers round as MXCSR says, truncating ones do not', () => {
    const m = new Sse()
    const results = [0, 1, 2, 3].map((rc) => {
      m.mxcsr = 0x1f80 | (rc << 13)
      return m.on('66 0F 5B C1', '0', '3fc00000 bfc00000 40200000 c0200000').padStart(32, '0')
    })
    expect(results).toEqual([
      '00000002fffffffe00000002fffffffe',
      '00000001fffffffe00000002fffffffd',
      '00000002ffffffff00000003fffffffe',
      '00000001ffffffff00000002fffffffe',
    ])
    m.mxcsr = 0x5f80
    m.on('F3 0F 2C C1', '0', '3fc00000')
    expect(m.get('rax')).toBe(1n)
  })

  test('behaviour: NaNs keep sign and payload between the formats', () => {
    const m = new Sse()
    expect(m.on('F2 0F 5A C1', '0', 'fff4000020000000')).toBe('ffe00001')
    expect(m.on('F3 0F 5A C1', '0', '7f800001')).toBe('7ff8000020000000')
    expect(m.on('66 0F 5A C1', ones, '7ff0000000000001 3ff0000000000000')).toBe('7fc000003f800000')
  })
})

describe('SSE integers and shuffles', () => {
  test('behaviour: shift counts at or above the lane width', () => {
    const m = new Sse()
    expect(m.on('66 0F F1 C1', ones, '10')).toBe('0')
    expect(m.on('66 0F E1 C1', '8000 7fff', 'ffffffffffffffff')).toBe('ffff0000')
    expect(m.on('66 0F 73 D8 0F', `12${'0'.repeat(30)}`, '0')).toBe('12')
    expect(m.on('66 0F 73 F8 10', ones, '0')).toBe('0')
  })

  test('behaviour: shuffles by immediates', () => {
    const m = new Sse()
    const x = '33333333222222221111111100000000'
    const y = '77777777666666665555555544444444'
    expect(m.on('66 0F 70 C1 1B', '0', x).padStart(32, '0')).toBe('00000000111111112222222233333333')
    expect(m.on('0F C6 C1 4E', x, y)).toBe('55555555444444443333333322222222')
    expect(m.on('F2 0F 70 C1 1B', '0', '0004000300020001')).toBe('1000200030004')
    expect(
      m.on('66 0F 3A 0F C1 04', '0f0e0d0c0b0a09080706050403020100', '1f1e1d1c1b1a19181716151413121110'),
    ).toBe('30201001f1e1d1c1b1a191817161514')
  })

  test('behaviour: multiplications at their extremes', () => {
    const m = new Sse()
    expect(m.on('66 0F F5 C1', '8000800080008000', '8000800080008000')).toBe('8000000080000000')
    expect(m.on('66 0F 38 0B C1', '8000 4000', '8000 4000')).toBe('80002000')
    expect(m.on('66 0F 38 04 C1', 'ffffffff', '7f7f8080')).toBe('7fff8000')
    expect(
      m.on('66 0F F6 C1', 'ff00ff00ff00ff00 0102030405060708', '00ff00ff00ff00ff 0807060504030201'),
    ).toBe('7f80000000000000020')
  })

  test('behaviour: PCMPISTRI finds a substring, PCMPESTRM masks ranges', () => {
    const m = new Sse()
    const text = (of: string): string =>
      [...of]
        .reverse()
        .map((c) => c.charCodeAt(0).toString(16))
        .join('')
    m.on('66 0F 3A 63 C1 0C', text('cd'), text('abacdcd'))
    expect(m.get('rcx')).toBe(3n)
    expect(m.flags).toBe(cf | zf | sf)
    m.on('66 0F 3A 63 C1 0C', text('x'), text('abacdcdabacdcdab'))
    expect(m.get('rcx')).toBe(16n)
    expect(m.flags).toBe(sf)
    // Ranges a-b and x-z over four valid characters.
    m.on('66 0F 3A 60 C1 04', text('abxz'), text('ymaa'), { rax: -4, rdx: 3 })
    expect(m.xmm(0)).toBe('5')
  })
})

describe('MMX', () => {
  test('behaviour: an MMX instruction makes all x87 registers valid and writes ones above the significand', () => {
    const m = new Sse()
    const { state } = m.evaluator
    state.setInt32(State.fsw, 0x3900, true)
    m.run('0F 6E D8', { rax: 0x1_8000_7fffn })
    m.run('0F FD DB')
    expect(state.getBigUint64(State.x87 + 48, true)).toBe(0xfffen)
    expect(state.getUint16(State.x87 + 56, true)).toBe(0xffff)
    expect(state.getInt32(State.fsw, true)).toBe(0x100)
    expect(state.getInt32(State.ftw, true)).toBe(0xff)
    m.run('0F 77')
    expect(state.getInt32(State.ftw, true)).toBe(0)
  })
})
