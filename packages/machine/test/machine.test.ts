import { describe, expect, test } from 'vitest'
import type { GuestEnd } from '../src/guest-end.ts'
import { formatReport } from '../src/guest-end.ts'
import { createMachine, type Machine, type MachineOptions } from '../src/machine.ts'
import type { MachineError } from '../src/machine-error.ts'
import { type FakeBackend, type FakeOp, type FakeProgram, fakeBackend } from './fake-backend.ts'
import { MIB, TestHost, testBoard, testBoot } from './test-board.ts'

interface Setup {
  readonly machine: Machine
  readonly backend: FakeBackend
  readonly host: TestHost
  readonly board: ReturnType<typeof testBoard>
  readonly output: () => string
}

async function setUp(
  program: FakeProgram | readonly FakeOp[],
  options: Partial<MachineOptions> = {},
): Promise<Setup> {
  const backend = fakeBackend('ops' in program ? program : { ops: program })
  const host = new TestHost()
  host.work = () => backend.vcpus[0]?.instructionsRetired ?? 0
  const board = testBoard()
  let text = ''
  const machine = await createMachine({
    backend,
    board,
    boot: testBoot,
    host,
    console: (bytes) => {
      text += new TextDecoder().decode(bytes)
    },
    ...options,
  })
  return { machine, backend, host, board, output: () => text }
}

const run = async (
  program: FakeProgram | readonly FakeOp[],
  options: Partial<MachineOptions> = {},
): Promise<Setup & { end: GuestEnd }> => {
  const setup = await setUp(program, options)
  setup.machine.start()
  return { ...setup, end: await setup.machine.ended }
}
const print = (text: string): FakeOp[] =>
  [...text].map((char) => ['out', 0x3f8, 1, char.charCodeAt(0)] as const)
const POWER_OFF: FakeOp = ['out', 0x604, 1, 0]
const turns = async (count: number): Promise<void> => {
  for (let n = 0; n < count; n++) await new Promise((resolve) => setImmediate(resolve))
}
const codeOf = (action: () => unknown): string | undefined => {
  try {
    action()
    return undefined
  } catch (error) {
    return (error as MachineError).code
  }
}

describe('ends', () => {
  test('default: prints and powers off', async () => {
    const { end, machine, output } = await run([...print('hello'), POWER_OFF])
    expect(end).toEqual({ kind: 'power-off' })
    expect(output()).toBe('hello')
    expect(machine.state).toBe('stopped')
    expect(machine.end).toBe(end)
  })

  test('behaviour: debug exit with its value', async () => {
    expect((await run([['out', 0xf4, 1, 0x2a]])).end).toEqual({ kind: 'debug-exit', value: 0x2a })
  })

  test('behaviour: triple fault, with a report', async () => {
    const { end } = await run([['set', 0x1234], ['out', 0x3f8, 1, 0x41], ['triple']])
    expect(end).toMatchObject({ kind: 'triple-fault', report: { codeAddress: 2, state: { rip: 2n } } })
    const text = formatReport((end as Extract<GuestEnd, { report: unknown }>).report)
    expect(text).toContain('guest ended: triple fault at rip 0000000000000002')
    expect(text).toContain('rax 0000000000001234')
    expect(text).toContain('last exit: shutdown')
    expect(text).toMatch(/code: 00( 00){15}/)
  })

  test('behaviour: HLT with interrupts off, although a timer ticks', async () => {
    const { end } = await run([['out', 0x40, 4, 1000], ['cli'], ['hlt']])
    expect(end).toMatchObject({ kind: 'halted', report: { lastExit: { reason: 2 } } })
  })

  test('behaviour: an NMI wakes where interrupts are off', async () => {
    const { end, backend } = await run({
      ops: [['cli'], ['out', 0x61, 1, 0], ['hlt'], ['out', 0xf4, 1, 1], ['out', 0xf4, 1, 2]],
      handlers: { 2: 4 },
    })
    expect(end).toEqual({ kind: 'debug-exit', value: 2 })
    expect(backend.vcpus[0]!.taken.map(({ vector }) => vector)).toEqual([2])
  })

  test('behaviour: unsupported instruction, and a fetch where there is no memory', async () => {
    expect((await run([['undefined']])).end.kind).toBe('unsupported-instruction')
    expect((await run([['jump', 5 * MIB]])).end).toMatchObject({
      kind: 'fetch-outside-memory',
      report: { code: new Uint8Array(0) },
    })
    expect((await run([['jump', 0x2000_0000]])).end).toMatchObject({ report: { codeAddress: undefined } })
  })

  test('behaviour: stop ends a guest that spins', async () => {
    const { machine, host } = await setUp([['jump', 0]])
    machine.start()
    await turns(5)
    expect(host.yields).toBeGreaterThan(2)
    machine.stop()
    expect(await machine.ended).toEqual({ kind: 'stopped' })
    machine.stop()
    machine.close()
  })

  test('error: a defect of the backend fails the machine and is reported, not thrown', async () => {
    const { machine, backend } = await setUp([['nop'], ['jump', 0]])
    backend.vcpus[0]!.onRun = () => {
      throw new WebAssembly.RuntimeError('unreachable')
    }
    machine.start()
    expect(await machine.ended).toMatchObject({ kind: 'failed', error: { message: 'unreachable' } })
    expect(machine.state).toBe('failed')
    machine.close()
    expect(backend.closed).toBe(1)
  })
})

describe('exits', () => {
  test('behaviour: ports, device memory, MSRs and their refusal', async () => {
    const { end, backend } = await run([
      ['mmio-write', 0xfed0_0000, 4, 77],
      ['mmio-read', 0xfed0_0000, 4],
      ['out-acc', 0x3f8],
      ['rdmsr', 0x1b],
      ['wrmsr', 0x1b, 1],
      ['rdmsr', 0x999],
      ['wrmsr', 0x999, 1],
      ['in', 0x9999, 2],
      ['out-acc', 0xf4],
    ])
    expect(end).toEqual({ kind: 'debug-exit', value: 0xffff })
    expect(backend.vcpus[0]!.faults).toBe(2)
  })

  test('behaviour: interrupts wait for STI, by way of the window', async () => {
    const { end, backend } = await run({
      ops: [
        ['cli'],
        ['out', 0x40, 4, 0],
        ...Array<FakeOp>(10).fill(['nop']),
        ['sti'],
        ['nop'],
        ['nop'],
        POWER_OFF,
        ['iret'],
      ],
      handlers: { 32: 16 },
    })
    expect(end.kind).toBe('power-off')
    // STI is the 13th instruction: the interrupt comes right behind it.
    expect(backend.vcpus[0]!.taken).toEqual([{ vector: 0x20, at: 13 }])
  })

  test('behaviour: task priority holds interrupts back until the guest lowers it', async () => {
    const { end, backend, board } = await run({
      ops: [
        ['cr8', 2],
        ['sti'],
        ['out', 0x40, 4, 0],
        ['nop'],
        ['nop'],
        ['cr8', 1],
        ['in', 0x61, 1],
        ['nop'],
        POWER_OFF,
        ['iret'],
      ],
      handlers: { 32: 9 },
    })
    expect(end.kind).toBe('power-off')
    expect(board.processor().taskPriority).toBe(1)
    expect(backend.vcpus[0]!.taken.map(({ vector }) => vector)).toEqual([0x20])
    expect(backend.vcpus[0]!.taken[0]!.at).toBeGreaterThanOrEqual(6)
  })
})

describe('time', () => {
  const fiveTicks: FakeProgram = {
    ops: [
      ['set', 0xffff_fffb],
      ['sti'],
      ['out', 0x40, 4, 5_000_000],
      ['hlt'],
      ['jump-if-zero', 6],
      ['jump', 3],
      POWER_OFF,
      ['out', 0x40, 4, 5_000_000],
      ['add', 1],
      ['iret'],
    ],
    handlers: { 32: 7 },
  }

  test('behaviour: a halted guest sleeps until its timer, in real time', async () => {
    const { end, host, machine } = await run(fiveTicks)
    expect(end.kind).toBe('power-off')
    expect(host.sleeps.length).toBe(5)
    for (const sleep of host.sleeps) expect(sleep).toBeGreaterThan(4_900_000)
    expect(machine.metrics()['vcpu-0']).toMatchObject({ 'exits-halted': 5, 'interrupts-injected': 5 })
  })

  test('behaviour: idle time passes at once in virtual time, and deadlines are met exactly', async () => {
    const { host, backend, machine } = await run(fiveTicks, { time: 'virtual' })
    expect(host.sleeps).toEqual([])
    // Instructions executed at each wake-up: 4 before the first, then OUT, ADD, IRET, 2 jumps and HLT.
    expect(backend.vcpus[0]!.taken.map(({ at }) => at)).toEqual([4, 10, 16, 22, 28])
    expect(machine.guestTimeNs).toBeGreaterThan(25_000_000)
    expect(machine.guestTimeNs).toBeLessThan(25_001_000)
  })

  test('behaviour: a deadline in the middle of work interrupts exactly there, however slices fall', async () => {
    const program: FakeProgram = {
      ops: [['sti'], ['out', 0x40, 4, 100_000], ['jump', 2], POWER_OFF],
      handlers: { 32: 3 },
    }
    const counts = new Set<number>()
    for (const stepNs of [10, 1000, 50_000, 700_000]) {
      const backend = fakeBackend(program)
      const machine = await createMachine({
        backend,
        board: testBoard(),
        boot: testBoot,
        host: new TestHost(stepNs),
        time: 'virtual',
      })
      machine.start()
      await machine.ended
      counts.add(backend.vcpus[0]!.taken[0]!.at)
    }
    expect([...counts]).toEqual([100_001])
  })

  test('behaviour: console input wakes a guest that sleeps without a timer', async () => {
    const { machine, host, output } = await setUp({
      ops: [
        ['sti'],
        ['hlt'],
        ['jump', 1],
        ['in', 0x3f8, 1],
        ['out-acc', 0x3f8],
        ['jump-if-zero', 8],
        ['jump', 3],
        ['nop'],
        POWER_OFF,
      ],
      handlers: { 36: 3 },
    })
    machine.start()
    await turns(3)
    expect(host.sleeps).toEqual([Infinity])
    machine.console.send(new TextEncoder().encode('ping'))
    expect(machine.console.waitingBytes).toBe(0)
    expect((await machine.ended).kind).toBe('power-off')
    expect(output()).toBe('ping\0')
  })

  test('behaviour: yields at least every 2 ms, whatever the guest does', async () => {
    const { machine, host } = await setUp([
      ['in', 0x61, 1],
      ['jump', 0],
    ])
    machine.start()
    await turns(20)
    machine.stop()
    await machine.ended
    expect(host.clock.nowNs() / host.yields).toBeLessThan(2_000_000)
  })

  test('behaviour: the guest does not see the time of a pause', async () => {
    const { machine, host } = await setUp([['jump', 0]])
    machine.start()
    await turns(2)
    await machine.pause()
    const before = machine.guestTimeNs
    host.time += 3_600_000_000_000
    expect(machine.guestTimeNs).toBe(before)
    machine.start()
    expect(machine.guestTimeNs - before).toBeLessThan(1_000_000)
    machine.stop()
  })
})

describe('life cycle', () => {
  test('default: start, pause, start, stop, with every state told', async () => {
    const { machine } = await setUp([['jump', 0]])
    const states: string[] = []
    machine.onStateChange((state) => states.push(state))
    machine.start()
    await turns(2)
    await machine.pause()
    expect(machine.state).toBe('paused')
    machine.start()
    await turns(2)
    machine.stop()
    await machine.ended
    expect(states).toEqual(['running', 'pausing', 'paused', 'running', 'stopped'])
  })

  test('behaviour: a pause in the middle of an access completes the instruction first', async () => {
    const { machine, backend } = await setUp([
      ['in', 0x61, 1],
      ['in', 0x61, 1],
      ['jump', 0],
    ])
    for (let n = 0; n < 20; n++) {
      machine.start()
      await turns(1)
      await machine.pause()
      expect(() => backend.vcpus[0]!.save()).not.toThrow()
    }
    machine.stop()
  })

  test('behaviour: pauseAt rests at an exact time in virtual time', async () => {
    const { machine } = await setUp([['jump', 0]], { time: 'virtual' })
    const paused = new Promise<void>((resolve) => {
      machine.onStateChange((state) => {
        if (state === 'paused') resolve()
      })
    })
    machine.pauseAt(123_457)
    machine.start()
    await paused
    expect(machine.guestTimeNs).toBe(123_457)
    machine.stop()
  })

  test('behaviour: whoever starts the machine from the news of its pause gets it running', async () => {
    const { machine } = await setUp([['jump', 0]], { time: 'virtual' })
    let pauses = 0
    machine.onStateChange((state) => {
      if (state !== 'paused') return
      pauses++
      if (pauses === 5) machine.stop()
      else {
        machine.pauseAt(machine.guestTimeNs + 1000)
        machine.start()
      }
    })
    machine.pauseAt(1000)
    machine.start()
    expect((await machine.ended).kind).toBe('stopped')
    expect(machine.guestTimeNs).toBe(5000)
  })

  test('error: what the state does not allow', async () => {
    const { machine } = await setUp([['jump', 0]])
    await expect(async () => machine.pause()).rejects.toThrow(/cannot pause a machine that is created/)
    machine.start()
    expect(codeOf(() => machine.start())).toBe('machine/state')
    expect(codeOf(() => machine.save())).toBe('machine/state')
    expect(codeOf(() => machine.hash())).toBe('machine/state')
    machine.stop()
    expect(codeOf(() => machine.start())).toBe('machine/state')
    expect(codeOf(() => machine.reset())).toBe('machine/state')
  })

  test('error: what the backend cannot do', async () => {
    const make = (change: Partial<MachineOptions>): Promise<string> =>
      setUp([['nop']], change).then(
        () => 'made',
        (error: MachineError) => `${error.code}: ${error.message}`,
      )
    expect(await make({ board: testBoard({ vcpus: 2 }) })).toContain('machine/capability: 2 vCPUs')
    expect(
      await make({ backend: fakeBackend({ ops: [] }, { instructionCounting: false }), time: 'virtual' }),
    ).toContain('virtual time')
    expect(await make({ board: testBoard({ ramBytes: 2 ** 31 }) })).toContain(
      'machine/capability: backend fake takes at most',
    )
    expect(await make({ board: testBoard({ ramBytes: 12345 }) })).toContain('memory/size')
    expect(await make({ sharedMemory: true })).toBe('machine/capability: backend fake has no shared memory')
  })

  test('behaviour: memory is shared between threads only when asked for', async () => {
    const backend = fakeBackend({ ops: [] }, { sharedMemory: true })
    expect((await setUp([], { backend })).machine.memory.shared).toBe(false)
    const { memory } = (await setUp([], { backend, sharedMemory: true })).machine
    expect(memory.memory.buffer).toBeInstanceOf(SharedArrayBuffer)
  })

  test('error: a boot plan that fails leaves nothing open', async () => {
    const backend = fakeBackend({ ops: [] })
    const boot = {
      plan: () => {
        throw new Error('no kernel')
      },
    }
    await expect(createMachine({ backend, board: testBoard(), boot, host: new TestHost() })).rejects.toThrow(
      'no kernel',
    )
    expect(backend.closed).toBe(1)
  })
})

describe('reset', () => {
  /** Writes to RAM and a device register, then resets; prints R each time. */
  const resetting: readonly FakeOp[] = [
    ...print('R'),
    ['set', 0x55],
    ['store', 0x20_0000],
    ['mmio-write', 0xfed0_0000, 4, 9],
    ['store', 0x10_0000],
    ['out', 0x64, 1, 0xfe],
  ]

  test('behaviour: memory, devices and vCPU begin anew, a hundred times without growth', async () => {
    const { machine, output } = await setUp(resetting)
    let resets = 0
    const seen: unknown[] = []
    machine.onReset((count) => {
      resets = count
      seen.push([
        machine.memory.readU32(0x20_0000),
        machine.memory.readU8(0x10_0000),
        machine.metrics()['test-device'],
      ])
      if (count === 100) machine.stop()
    })
    machine.start()
    await machine.ended
    expect(resets).toBe(100)
    expect(new Set(seen.map((entry) => JSON.stringify(entry)))).toEqual(
      new Set([JSON.stringify([0, 0xaa, { register: 0 }])]),
    )
    expect(output()).toBe('R'.repeat(100))
  })

  test('behaviour: ends the guest where that is wanted', async () => {
    const { end } = await run(resetting, { onReset: 'end' })
    expect(end).toEqual({ kind: 'reset' })
  })

  test('behaviour: reset by the host, running or not', async () => {
    const { machine, backend } = await setUp(
      [
        ['set', 7],
        ['store', 0x20_0000],
        ['jump', 2],
      ],
      { onReset: 'end' },
    )
    machine.start()
    await turns(2)
    expect(machine.memory.readU32(0x20_0000)).toBe(7)
    const reset = new Promise((resolve) => machine.onReset(resolve))
    machine.reset()
    await reset
    expect(machine.state).toBe('running')
    await machine.pause()
    machine.memory.writeU32(0x30_0000, 1)
    machine.reset()
    expect(machine.memory.readU32(0x30_0000)).toBe(0)
    expect(backend.vcpus[0]!.pc).toBe(0)
    machine.stop()
  })
})

describe('saved state', () => {
  const busy: FakeProgram = {
    ops: [
      ['sti'],
      ['out', 0x40, 4, 7777],
      ['add', 3],
      ['store', 0x20_0000],
      ['mmio-write', 0xfed0_0000, 4, 5],
      ['hlt'],
      ['jump', 2],
      ['out', 0x40, 4, 7777],
      ['iret'],
    ],
    handlers: { 32: 7 },
  }
  const runTo = async (machine: Machine, timeNs: number): Promise<void> => {
    const rest = new Promise<void>((resolve) => {
      const remove = machine.onStateChange((state) => {
        if (state !== 'paused') return
        remove()
        resolve()
      })
    })
    machine.pauseAt(timeNs)
    machine.start()
    await rest
  }

  test('behaviour: two runs in virtual time end with the same hash', async () => {
    const hashes: string[] = []
    for (let n = 0; n < 2; n++) {
      const { machine } = await setUp(busy, { time: 'virtual' })
      await runTo(machine, 1_000_000)
      hashes.push(machine.hash())
    }
    expect(hashes[0]).toBe(hashes[1])
    const { machine } = await setUp(busy, { time: 'virtual' })
    await runTo(machine, 1_000_001)
    expect(machine.hash()).not.toBe(hashes[0])
  })

  test('behaviour: saved anywhere and loaded into a new machine, the rest of the run is the same', async () => {
    const undisturbed = await setUp(busy, { time: 'virtual' })
    await runTo(undisturbed.machine, 200_000)
    const hash = undisturbed.machine.hash()
    for (const at of [1, 2, 3, 777, 7780, 7781, 7782, 50_000, 123_456]) {
      const first = await setUp(busy, { time: 'virtual' })
      await runTo(first.machine, at)
      const state = structuredClone(first.machine.save())
      const second = await setUp(busy, { time: 'virtual' })
      second.machine.restore(state)
      expect(second.machine.hash()).toBe(first.machine.hash())
      await runTo(second.machine, 200_000)
      expect(second.machine.hash(), `saved at ${at}`).toBe(hash)
    }
  })

  test('error: a state that does not fit is refused, and the machine stays as it was', async () => {
    const { machine } = await setUp(busy, { time: 'virtual' })
    await runTo(machine, 10_000)
    const good = machine.save()
    await runTo(machine, 20_000)
    const hash = machine.hash()
    const refused = (change: object): string | undefined =>
      codeOf(() => machine.restore({ ...good, ...change } as never))
    expect(refused({ version: 2 })).toBe('machine/saved-state')
    expect(refused({ board: 'other' })).toBe('machine/saved-state')
    expect(refused({ ramBytes: 8 * MIB })).toBe('machine/saved-state')
    expect(refused({ vcpus: [] })).toBe('machine/saved-state')
    expect(refused({ sections: [] })).toBe('machine/saved-state')
    expect(refused({ sections: [...good.sections, { ...good.sections[0]!, owner: 'ghost' }] })).toBe(
      'machine/saved-state',
    )
    expect(refused({ ram: [{ base: 4 * MIB - 1, bytes: new Uint8Array(2) }] })).toBe('machine/saved-state')
    expect(() => machine.restore({ ...good, vcpus: [{ ...good.vcpus[0]!, rip: 2n ** 40n }] })).toThrow(
      RangeError,
    )
    expect(() =>
      machine.restore({
        ...good,
        sections: [{ ...good.sections[0]!, state: { register: 'x', waiting: [] } }],
      }),
    ).toThrow(RangeError)
    expect(machine.hash()).toBe(hash)
    machine.restore(good)
    await runTo(machine, 20_000)
    expect(machine.hash()).toBe(hash)
  })
})

describe('debugger', () => {
  test('behaviour: steps without interrupts, breakpoints, registers and memory', async () => {
    const { machine, backend } = await setUp({
      ops: [['sti'], ['out', 0x40, 4, 0], ['nop'], ['in', 0x61, 1], ['set', 5], ['jump', 2], ['iret']],
      handlers: { 32: 6 },
    })
    const { debug } = machine
    const positions: bigint[] = []
    for (let n = 0; n < 5; n++) {
      expect(debug.step()).toEqual({ kind: 'step' })
      positions.push(debug.readRegisters().rip)
    }
    expect(positions).toEqual([1n, 2n, 3n, 4n, 5n])
    expect(backend.vcpus[0]!.taken).toEqual([])
    const stops: unknown[] = []
    const stopped = (): Promise<void> =>
      new Promise((resolve) => {
        const remove = debug.onStop((stop) => {
          stops.push(stop)
          remove()
          resolve()
        })
      })
    debug.setBreakpoints([4n])
    let wait = stopped()
    debug.resume()
    await wait
    expect(debug.readRegisters().rip).toBe(4n)
    debug.setBreakpoints([])
    wait = stopped()
    debug.resume()
    await turns(1)
    expect(debug.running).toBe(true)
    debug.interrupt()
    await wait
    expect(stops).toEqual([{ kind: 'breakpoint' }, { kind: 'interrupt' }])
    expect(debug.writeMemory(0x20_0ffen, Uint8Array.of(1, 2, 3, 4))).toBe(true)
    expect(debug.readMemory(0x20_0fffn, 3)).toEqual(Uint8Array.of(2, 3, 4))
    expect(debug.readMemory(BigInt(4 * MIB - 2), 8)).toHaveLength(2)
    expect(debug.readMemory(BigInt(4 * MIB - 4096), 8192)).toHaveLength(4096)
    expect(debug.writeMemory(BigInt(4 * MIB - 2), new Uint8Array(4))).toBe(false)
    debug.writeRegisters({ ...debug.readRegisters(), rip: 2n })
    expect(debug.readRegisters().rip).toBe(2n)
    debug.kill()
    expect(machine.state).toBe('stopped')
  })

  test('behaviour: a guest that faulted can still be looked at', async () => {
    const { machine } = await setUp([['set', 3], ['triple']])
    const stops: unknown[] = []
    machine.debug.onStop((stop) => stops.push(stop))
    machine.debug.resume()
    await machine.ended
    expect(stops).toEqual([{ kind: 'fault' }])
    expect(machine.debug.readRegisters().rip).toBe(1n)
    expect(machine.debug.step()).toEqual({ kind: 'fault' })
    const other = await setUp([['out', 0xf4, 1, 9]])
    expect(other.machine.debug.step()).toEqual({ kind: 'exited', status: 9 })
  })
})
