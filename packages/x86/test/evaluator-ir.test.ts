import { describe, expect, test } from 'vitest'
import { readArithmeticFlags, writeArithmeticFlags } from '../src/evaluator/arithmetic-flags.ts'
import { GuestMemory, physicalAccess } from '../src/evaluator/guest-memory.ts'
import { allocateEngineMemory, IrMachine } from '../src/evaluator/ir-machine.ts'
import { Condition } from '../src/ir/builder.ts'
import { Access, Type } from '../src/ir/op.ts'
import { external, procedure } from '../src/ir/procedure.ts'
import { ARITHMETIC_FLAGS, Fault, Flag, State, Vector } from '../src/state-layout.ts'
import { ExitReason } from '../src/system/exit-reason.ts'

const { i32, i64 } = Type
const echo = external('echo', { parameters: [i64], result: i64 })
function machine(): IrMachine {
  return new IrMachine(
    allocateEngineMemory(0x10000),
    (of) => new GuestMemory(of),
    (of) => new Map([...physicalAccess(of), [echo, (value) => value]]),
  )
}
const gpr = (of: IrMachine, index: number): bigint => of.state.getBigUint64(State.gpr + 8 * index, true)

/** Identity-maps the first 64 KiB with 4 KiB pages (user, writable) by tables at 0x1000, but for what `change` says. */
function paging(of: IrMachine, change: Record<number, bigint> = {}): void {
  const ram = new DataView(of.ram.buffer, of.ram.byteOffset)
  ram.setBigUint64(0x1000, 0x2007n, true)
  ram.setBigUint64(0x2000, 0x3007n, true)
  ram.setBigUint64(0x3000, 0x4007n, true)
  for (let page = 0; page < 16; page++)
    ram.setBigUint64(0x4000 + 8 * page, change[page] ?? BigInt(page << 12) | 7n, true)
  of.state.setBigUint64(State.cr0, 0x8001_0001n, true)
  of.state.setBigUint64(State.cr3, 0x1000n, true)
  of.state.setBigUint64(State.cr4, 0x20n, true)
  of.state.setBigUint64(State.efer, 0xd00n, true)
}

describe('default', () => {
  test('behaviour: locals, loops and branches', () => {
    const m = machine()
    const program = m.build('sum', (b) => {
      const sum = b.local(i64, b.const64(0))
      const index = b.local(i64, b.const64(10))
      b.block((out) => {
        b.loop((again) => {
          b.set(sum, b.i64.add(b.get(sum), b.get(index)))
          b.set(index, b.i64.sub(b.get(index), b.const64(1)))
          b.brIf(b.i64.eqz(b.get(index)), out)
          b.br(again)
        })
      })
      b.if(
        b.i64.eq(b.get(sum), b.const64(55)),
        () => b.stateStore(Access.u64, State.gpr, b.get(sum)),
        () => b.branch(),
      )
      b.stateStore(Access.u8, State.gpr + 8, b.const64(0x1ff))
    })
    expect(m.run(program)).toEqual({ kind: 'next' })
    expect(gpr(m, 0)).toBe(55n)
    expect(gpr(m, 1)).toBe(0xffn)
  })

  test('behaviour: procedures, results, externals', () => {
    const m = machine()
    const fibonacci = procedure('fibonacci', { parameters: [i64], result: i64 }, (b, n) => {
      b.if(b.i64.ltU(n!, b.const64(2)), () => b.return(n))
      b.return(
        b.i64.add(
          b.call(fibonacci, b.i64.sub(n!, b.const64(1))),
          b.call(fibonacci, b.i64.sub(b.call(echo, n!), b.const64(2))),
        ),
      )
    })
    expect(m.call(fibonacci, 15n)).toEqual({ kind: 'return', value: 610n })
  })

  test('behaviour: every combination of flags is kept', () => {
    const m = machine()
    for (let flags = 0; flags < 0x1000; flags++) {
      if (flags & ~ARITHMETIC_FLAGS) continue
      writeArithmeticFlags(m.state, flags)
      expect(readArithmeticFlags(m.state)).toBe(flags)
    }
  })

  test('behaviour: flags of additions and subtractions, with carry, at every width', () => {
    const m = machine()
    const values = [
      0n,
      1n,
      0xfn,
      0x10n,
      0x7fn,
      0x80n,
      0xffn,
      0x7fffn,
      0x8000n,
      0xffffn,
      (1n << 31n) - 1n,
      1n << 31n,
      (1n << 63n) - 1n,
      1n << 63n,
      (1n << 64n) - 1n,
    ]
    for (const bits of [8, 16, 32, 64])
      for (const left of values)
        for (const right of values)
          for (const carry of [0n, 1n])
            for (const subtract of [false, true]) {
              const cut = (value: bigint): bigint => BigInt.asUintN(bits, value)
              const [x, y] = [cut(left), cut(right)]
              const exact = subtract ? x - y - carry : x + y + carry
              const signed = (value: bigint): bigint => BigInt.asIntN(bits, value)
              const exactSigned = subtract ? signed(x) - signed(y) - carry : signed(x) + signed(y) + carry
              const nibble = subtract ? (x & 15n) - (y & 15n) - carry : (x & 15n) + (y & 15n) + carry
              const result = cut(exact)
              let expected = 0
              if (exact !== result) expected |= Flag.cf
              if (exactSigned !== signed(result)) expected |= Flag.of
              if (nibble < 0n || nibble > 15n) expected |= Flag.af
              if (result === 0n) expected |= Flag.zf
              if (signed(result) < 0n) expected |= Flag.sf
              if ((result & 0xffn).toString(2).replaceAll('0', '').length % 2 === 0) expected |= Flag.pf
              m.run(
                m.build('flags', (b) => {
                  const operands = [b.const64(x), b.const64(y), b.const64(result)] as const
                  if (subtract) b.flagsSub(bits, ...operands)
                  else b.flagsAdd(bits, ...operands)
                }),
              )
              expect(readArithmeticFlags(m.state), `${bits} ${x} ${y} ${carry} ${subtract}`).toBe(expected)
            }
  }, 120_000)

  test('behaviour: INC keeps CF, logic clears it, flagsSet touches its mask only', () => {
    const m = machine()
    writeArithmeticFlags(m.state, Flag.cf)
    m.run(
      m.build('inc', (b) =>
        b.flagsAdd(8, b.const64(0x7f), b.const64(1), b.const64(0x80), { keepCarry: true }),
      ),
    )
    expect(readArithmeticFlags(m.state)).toBe(Flag.cf | Flag.of | Flag.sf | Flag.af)
    m.run(m.build('set', (b) => b.flagsSet(Flag.zf | Flag.cf, b.const32(Flag.zf | Flag.pf))))
    expect(readArithmeticFlags(m.state)).toBe(Flag.of | Flag.sf | Flag.af | Flag.zf)
    m.run(
      m.build('conditions', (b) => {
        for (const code of Object.values(Condition))
          b.stateStore(Access.i32, State.gpr + 4 * code, b.condition(code))
      }),
    )
    expect(Array.from({ length: 16 }, (_, code) => m.state.getInt32(State.gpr + 4 * code, true))).toEqual([
      1, 0, 0, 1, 1, 0, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0,
    ])
    m.run(m.build('logic', (b) => b.flagsLogic(32, b.const64(0))))
    expect(readArithmeticFlags(m.state)).toBe(Flag.zf | Flag.pf)
  })
})

describe('guest memory', () => {
  test('behaviour: an access that crosses pages takes the fault of its first bad page and writes nothing', () => {
    const m = machine()
    paging(m, { 9: 0n })
    m.state.setInt32(State.cpl, 3, true)
    const store = m.build('store', (b) => b.guestStore(Access.u64, b.const64(0x8ffd), b.const64(-1)))
    expect(m.run(store).kind).toBe('fault')
    expect(m.state.getInt32(State.faultVector, true)).toBe(Vector.pf)
    expect(m.state.getInt32(State.faultErrorCode, true)).toBe(6)
    expect(m.state.getBigUint64(State.cr2, true)).toBe(0x9000n)
    expect([...m.ram.subarray(0x8ffd, 0x9000)]).toEqual([0, 0, 0])
    m.state.setInt32(State.fault, Fault.none, true)
    const load = m.build('load', (b) =>
      b.stateStore(Access.u64, State.gpr, b.guestLoad(Access.u32, b.const64(0x7ffe))),
    )
    m.ram.set([1, 2, 3, 4], 0x7ffe)
    expect(m.run(load).kind).toBe('next')
    expect(gpr(m, 0)).toBe(0x04030201n)
  })

  test('behaviour: references in a page, across pages, compare and exchange', () => {
    const m = machine()
    paging(m)
    for (const address of [0x8100, 0x8ffe]) {
      m.ram.set([5, 0, 0, 0], address)
      const program = m.build('exchange', (b) => {
        const linear = b.const64(address)
        const reference = b.guestRef(Access.u32, linear)
        b.stateStore(
          Access.u64,
          State.gpr,
          b.refCompareExchange(Access.u32, reference, b.const64(5), b.const64(0x01020304), linear),
        )
        b.stateStore(
          Access.u64,
          State.gpr + 8,
          b.refCompareExchange(Access.u32, reference, b.const64(5), b.const64(9), linear),
        )
      })
      expect(m.run(program).kind).toBe('next')
      expect([gpr(m, 0), gpr(m, 1)]).toEqual([5n, 0x01020304n])
      expect([...m.ram.subarray(address, address + 4)]).toEqual([4, 3, 2, 1])
    }
  })

  test('behaviour: where there is no RAM the driver answers, and the instruction is executed again', () => {
    const m = machine()
    const program = m.build('read and write', (b) => {
      const value = b.guestLoad(Access.u32, b.const64(0xfee0_0000))
      b.guestStore(Access.u16, b.const64(0xfee0_0010), value)
      b.stateStore(Access.u64, State.gpr, value)
    })
    expect(m.run(program).kind).toBe('fault')
    expect(m.state.getInt32(State.exitReason, true)).toBe(ExitReason.mmioRead)
    expect(m.state.getBigUint64(State.exitAddress, true)).toBe(0xfee0_0000n)
    const answer = (position: number, value: bigint): void => {
      m.state.setBigUint64(State.replay + 8 * position, value, true)
      m.state.setInt32(State.replayCount, position + 1, true)
      m.state.setInt32(State.replayPosition, 0, true)
      m.state.setInt32(State.fault, Fault.none, true)
    }
    answer(0, 0x1234_5678n)
    expect(m.run(program).kind).toBe('fault')
    expect(m.state.getInt32(State.exitReason, true)).toBe(ExitReason.mmioWrite)
    expect(m.state.getBigUint64(State.exitValue, true)).toBe(0x5678n)
    expect(m.state.getInt32(State.exitSizeBytes, true)).toBe(2)
    answer(1, 0n)
    expect(m.run(program).kind).toBe('next')
    expect(gpr(m, 0)).toBe(0x1234_5678n)
  })

  test('behaviour: a fault inside an attempt is taken there', () => {
    const m = machine()
    const program = m.build('attempt', (b) => {
      b.attempt(() => {
        b.raise(Vector.gp, b.const32(8))
        b.stateStore(Access.u64, State.gpr, b.const64(1))
      })
      b.if(b.takeFault(), () => b.stateStore(Access.u64, State.gpr + 8, b.const64(2)))
    })
    expect(m.run(program).kind).toBe('next')
    expect([gpr(m, 0), gpr(m, 1)]).toEqual([0n, 2n])
    expect(m.state.getInt32(State.faultErrorCode, true)).toBe(8)
  })
})

describe('error: what compiled code would do wrong silently', () => {
  test('a value outside its region', () => {
    const m = machine()
    expect(() =>
      m.build('bad', (b) => {
        let inside: ReturnType<typeof b.const32> | undefined
        b.block(() => {
          inside = b.const32(1)
        })
        b.brIf(inside!, 0 as never)
      }),
    ).toThrow('outside its region')
  })

  test('a local that is read before it is set, division by zero, a procedure without faults that faults', () => {
    const m = machine()
    expect(() => m.run(m.build('unset', (b) => b.set(b.local(i32), b.get(b.local(i32)))))).toThrow(
      'before it is set',
    )
    expect(() =>
      m.run(m.build('divide', (b) => b.i32.divU(b.const32(1), b.stateLoad(Access.i32, State.gpr)))),
    ).toThrow('would trap')
    const faulting = procedure('faulting', {}, (b) => b.raise(Vector.ud))
    expect(() => m.call(faulting)).toThrow('declared without faults')
  })
})
