// Virtual time: a boot repeats bit for bit, and may be saved and loaded into another machine anywhere on the way.
//
// TRAPFRAME_TEST_SAVES: the long form; as many saves at random counts of a boot to the shell. Without it, a few saves in
// the first instructions of the kernel.
import { deserialize, serialize } from 'node:v8'
import { afterEach, describe, expect, test } from 'vitest'
import { debianGuest } from './command.ts'
import { type DebianMachine, debianMachine } from './debian-machine.ts'

const found = await debianGuest()
const { reason } = found
const SAVES = process.env.TRAPFRAME_TEST_SAVES
const saves = Number(SAVES ?? 3)
const END_NS = SAVES === undefined ? 250_000_000 : 1_800_000_000
const SEED = Number(process.env.TRAPFRAME_TEST_SEED ?? 1)
const MINUTE_MS = 60_000

const open: DebianMachine[] = []
afterEach(() => {
  for (const { machine } of open.splice(0)) machine.close()
})
async function make(): Promise<DebianMachine> {
  if (!('guest' in found)) throw new Error(reason)
  const made = await debianMachine(found.guest, { time: 'virtual' })
  open.push(made)
  return made
}
function close(made: DebianMachine): void {
  made.machine.close()
  open.splice(open.indexOf(made), 1)
}

/** Guest times, ascending. */
function randomTimes(count: number): number[] {
  let state = SEED
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
  return Array.from({ length: count }, () => Math.floor(next() * (END_NS - 1)) + 1).sort((a, b) => a - b)
}

/** A new machine with the state of another one, by way of bytes. */
async function copy(from: DebianMachine): Promise<DebianMachine> {
  const bytes = serialize(from.machine.save())
  const to = await make()
  to.machine.restore(deserialize(bytes))
  return to
}

describe.skipIf(reason !== '')(`a boot in virtual time${reason}`, () => {
  test(`default: ${END_NS / 1e6} million instructions twice; ${saves} times saved on the way`, {
    timeout: (10 + saves) * MINUTE_MS,
  }, async () => {
    const times = randomTimes(saves)
    const first = await make()
    await first.runTo(END_NS)
    expect(first.machine.guestTimeNs).toBe(END_NS)
    const hash = first.machine.hash()
    const output = first.output()
    expect(output).toMatch(SAVES === undefined ? /Linux version/ : /trapframe: shell\r\n.*trapframe:~# /s)
    close(first)

    // The second one stops at every time, and another machine goes on from there.
    const second = await make()
    const differing: number[] = []
    for (const time of times) {
      await second.runTo(time)
      expect(second.machine.guestTimeNs).toBe(time)
      const other = await copy(second)
      expect(other.machine.hash()).toBe(second.machine.hash())
      await other.runTo(END_NS)
      if (other.machine.hash() !== hash || second.output() + other.output() !== output) differing.push(time)
      close(other)
    }
    await second.runTo(END_NS)
    expect(differing).toEqual([])
    expect(second.machine.hash()).toBe(hash)
    expect(second.output()).toBe(output)
  })

  test('behaviour: from machine to machine', { timeout: 20 * MINUTE_MS }, async () => {
    const undisturbed = await make()
    await undisturbed.runTo(END_NS)
    let current = await make()
    for (const time of randomTimes(10)) {
      await current.runTo(time)
      const next = await copy(current)
      close(current)
      current = next
    }
    await current.runTo(END_NS)
    expect(current.machine.hash()).toBe(undisturbed.machine.hash())
  })
})
