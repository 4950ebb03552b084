import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import { afterEach, describe, expect, test } from 'vitest'
import { connectMachine, type RemoteMachine } from '../../src/control/connect-machine.ts'
import { serveMachine } from '../../src/control/serve-machine.ts'
import { createMachine, type Machine, type MachineOptions } from '../../src/machine.ts'
import { type FakeOp, type FakeProgram, fakeBackend } from '../fake-backend.ts'
import { TestHost, testBoard, testBoot } from '../test-board.ts'

const ports: MessagePort[] = []
afterEach(() => {
  for (const port of ports.splice(0)) port.close()
})

async function setUp(
  program: FakeProgram | readonly FakeOp[],
  options: Partial<MachineOptions> = {},
): Promise<{ machine: Machine; remote: RemoteMachine; end: () => void; far: MessagePort }> {
  const backend = fakeBackend('ops' in program ? program : { ops: program })
  const host = new TestHost()
  host.work = () => backend.vcpus[0]?.instructionsRetired ?? 0
  const machine = await createMachine({ backend, board: testBoard(), boot: testBoot, host, ...options })
  const { port1, port2 } = new MessageChannel()
  ports.push(port1, port2)
  const end = serveMachine(machine, port1)
  const remote = await connectMachine(port2)
  return { machine, remote, end, far: port2 }
}
const spin: readonly FakeOp[] = [['jump', 0]]
const code = (promise: Promise<unknown>): Promise<string | undefined> =>
  promise.then(
    () => undefined,
    (error: { code: string }) => error.code,
  )

describe('control over a message port', () => {
  test('default: start, console output, end', async () => {
    const { remote } = await setUp([
      ['out', 0x3f8, 1, 0x68],
      ['out', 0x3f8, 1, 0x69],
      ['out', 0xf4, 1, 3],
    ])
    let text = ''
    remote.console.onOutput((bytes) => {
      text += new TextDecoder().decode(bytes)
    })
    const states: string[] = []
    remote.onStateChange((state) => states.push(state))
    await remote.start()
    expect(await remote.ended).toEqual({ kind: 'debug-exit', value: 3 })
    expect(text).toBe('hi')
    expect(states).toEqual(['running', 'stopped'])
    expect(remote.state).toBe('stopped')
  })

  test('behaviour: pause, metrics, hash, save, and restore into another machine', async () => {
    const program: readonly FakeOp[] = [
      ['add', 1],
      ['store', 0x20_0000],
      ['jump', 0],
    ]
    const first = await setUp(program, { time: 'virtual' })
    await first.remote.pauseAt(1000)
    const paused = new Promise<void>((resolve) => {
      first.remote.onStateChange((state) => {
        if (state === 'paused') resolve()
      })
    })
    await first.remote.start()
    await paused
    expect((await first.remote.metrics())['vcpu-0']!['instructions-retired']).toBe(1000)
    const saved = await first.remote.save()
    const second = await setUp(program, { time: 'virtual' })
    await second.remote.restore(saved)
    expect(await second.remote.hash()).toBe(await first.remote.hash())
    await second.remote.start()
    await second.remote.pause()
    expect(second.remote.state).toBe('paused')
    await second.remote.stop()
    await first.remote.close()
  })

  test('behaviour: console input, and news when it was taken', async () => {
    const { remote } = await setUp({
      ops: [['sti'], ['hlt'], ['jump', 1], ['in', 0x3f8, 1], ['out-acc', 0xf4]],
      handlers: { 36: 3 },
    })
    await remote.start()
    const drained = new Promise<void>((resolve) => remote.console.onDrain(resolve))
    remote.console.send(Uint8Array.of(42))
    expect(remote.console.waitingBytes).toBe(1)
    await drained
    expect(remote.console.waitingBytes).toBe(0)
    expect(await remote.ended).toEqual({ kind: 'debug-exit', value: 42 })
  })

  test('behaviour: resets are told; a connection that comes late knows how it ended', async () => {
    const { machine, remote } = await setUp([['out', 0x64, 1, 0xfe]])
    const third = new Promise<void>((resolve) => {
      remote.onReset((count) => {
        if (count === 3) resolve()
      })
    })
    await remote.start()
    await third
    await remote.stop()
    const { port1, port2 } = new MessageChannel()
    ports.push(port1, port2)
    serveMachine(machine, port1)
    const late = await connectMachine(port2)
    expect([late.state, late.end]).toEqual(['stopped', { kind: 'stopped' }])
    expect(await late.ended).toEqual({ kind: 'stopped' })
  })

  test('error: refusals carry code and message; unknown messages and methods do no harm', async () => {
    const { remote, far, machine } = await setUp(spin)
    expect(await code(remote.pause())).toBe('machine/state')
    expect(await code(remote.restore({} as never))).toBe('machine/saved-state')
    for (const message of [
      null,
      7,
      'x',
      {},
      { kind: 'nonsense' },
      { kind: 'input', port: 'none', bytes: new Uint8Array(1) },
    ])
      far.postMessage(message)
    far.postMessage({ kind: 'request', id: 99, method: '__proto__', argument: undefined })
    expect(await remote.metrics()).toHaveProperty('machine')
    expect(machine.state).toBe('created')
  })

  test('error: a machine that failed tells why', async () => {
    const { machine, remote } = await setUp(spin)
    ;(machine.vcpus[0] as unknown as { onRun: () => void }).onRun = () => {
      throw new Error('broken')
    }
    await remote.start()
    expect(await remote.ended).toEqual({
      kind: 'failed',
      error: { code: 'machine/defect', message: 'broken' },
    })
  })

  test('error: disconnected, requests are rejected and the machine goes on', async () => {
    const { machine, remote, end } = await setUp(spin)
    await remote.start()
    const asked = remote.hash()
    remote.disconnect()
    expect(await code(asked)).toBe('machine/control')
    expect(await code(remote.stop())).toBe('machine/control')
    expect(machine.state).toBe('running')
    end()
    machine.stop()
  })

  test('behaviour: the port of a worker, which listens in the other style', async () => {
    const worker = new Worker(
      `const { parentPort } = require('node:worker_threads')
       parentPort.on('message', ({ id, method }) => parentPort.postMessage(
         { kind: 'reply', id, result: method === 'hello' ? { version: 1, state: 'paused', ports: ['com1'] } : 'answer' }))`,
      { eval: true },
    )
    const remote = await connectMachine(worker)
    expect(remote.state).toBe('paused')
    expect(await remote.hash()).toBe('answer')
    remote.disconnect()
    await worker.terminate()
  })
})
