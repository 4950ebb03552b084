import { requireVersion, type StateSection } from '@trapframe/core'
import { type Device, StateReader } from '@trapframe/devices'
import { expect, test } from 'vitest'
import { type DeviceSlots, microvm } from '../src/board/microvm.ts'
import { createMachine, type Machine } from '../src/machine.ts'
import { type FakeOp, fakeBackend } from './fake-backend.ts'
import { TestHost, testBoot } from './test-board.ts'

type LatchState = { readonly value: number }

/** Keeps a byte, and asserts its interrupt while the byte is not zero. */
function latch(slots: DeviceSlots, base: number): Device {
  let value = 0
  const irq = slots.irq(5)
  const state: StateSection<LatchState> = {
    name: 'latch',
    version: 1,
    save: () => ({ value }),
    load(saved, version) {
      requireVersion(state, version)
      value = new StateReader('latch', saved).u8('value')
      irq.set(value !== 0)
    },
  }
  const write = (_offset: number, _size: number, written: number): void => {
    value = written & 0xff
    irq.set(value !== 0)
  }
  return {
    id: 'latch',
    pio: [{ base, size: 1, access: 'answered', read: () => value, write }],
    state,
    reset: () => write(0, 1, 0),
  }
}

async function setUp(ops: readonly FakeOp[], base = 0x510): Promise<Machine> {
  const backend = fakeBackend({ ops })
  const host = new TestHost()
  host.work = () => backend.vcpus[0]?.instructionsRetired ?? 0
  const board = microvm({ memoryBytes: 2 ** 22, devices: (slots) => [latch(slots, base)] })
  return createMachine({ backend, board, boot: testBoot, host, time: 'virtual' })
}

test('default: a device of the application answers the guest', async () => {
  const machine = await setUp([
    ['out', 0x510, 1, 42],
    ['in', 0x510, 1],
    ['out-acc', 0xf4],
  ])
  machine.start()
  expect(await machine.ended).toEqual({ kind: 'debug-exit', value: 42 })
})

test('behaviour: it is saved, loaded and reset with the board', async () => {
  const first = await setUp([
    ['out', 0x510, 1, 42],
    ['jump', 1],
  ])
  const reset = first.hash()
  first.pauseAt(100)
  const paused = new Promise<void>((resolve) => {
    first.onStateChange((state) => {
      if (state === 'paused') resolve()
    })
  })
  first.start()
  await paused
  const saved = first.save()
  expect(saved.sections.find(({ owner }) => owner === 'latch')?.state).toEqual({ value: 42 })
  const second = await setUp([])
  second.restore(saved)
  expect(second.hash()).toBe(first.hash())
  expect(second.hash()).not.toBe(reset)
  second.reset()
  expect(second.save().sections.find(({ owner }) => owner === 'latch')?.state).toEqual({ value: 0 })
})

test("error: a range on one of the board's", async () => {
  await expect(setUp([], 0x3f8)).rejects.toMatchObject({ code: 'device/overlap' })
})
