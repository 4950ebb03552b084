// What `--stats` proves: a guest's system calls, page faults and TLB misses need no JavaScript.
import { afterEach, describe, expect, test } from 'vitest'
import { debianGuest } from './command.ts'
import { type DebianMachine, debianMachine } from './debian-machine.ts'

const found = await debianGuest()
const { reason } = found
const READS_AND_WRITES = 'dd if=/dev/zero of=/dev/null bs=1 count=150000 2>/dev/null'

let guest: DebianMachine | undefined
afterEach(() => {
  guest?.machine.close()
  guest = undefined
})

interface Counts {
  /** Ways from the guest into JavaScript: exits, and calls from the engine. */
  entries: number
  systemCalls: number
  pageFaults: number
  tlbMisses: number
}
function counts({ machine }: DebianMachine): Counts {
  const vcpu = machine.metrics()['vcpu-0']!
  const ways = Object.entries(vcpu).filter(([name]) => /^(exits|calls)-/.test(name))
  expect(ways.length).toBeGreaterThan(10)
  return {
    entries: ways.reduce((sum, [, value]) => sum + value, 0),
    systemCalls: vcpu['system-calls']!,
    pageFaults: vcpu['page-faults']!,
    tlbMisses: vcpu['tlb-misses']!,
  }
}

describe.skipIf(reason !== '')(`ways into JavaScript${reason}`, () => {
  let loads = 0
  const during = async (line: string): Promise<Counts> => {
    const before = counts(guest!)
    loads++
    guest!.machine.console.send(new TextEncoder().encode(`${line}; echo over-$((${loads}))-\n`))
    await guest!.runUntil(`over-${loads}-`)
    const after = counts(guest!)
    const names = Object.keys(after) as (keyof Counts)[]
    return Object.fromEntries(names.map((name) => [name, after[name] - before[name]])) as unknown as Counts
  }
  const boot = async (time: 'real' | 'virtual'): Promise<(line: string) => Promise<Counts>> => {
    if (!('guest' in found)) throw new Error(reason)
    guest = await debianMachine(found.guest, { time, commandLine: 'quiet' })
    await guest.runUntil('trapframe:~# ')
    loads = 0
    return during
  }

  test('default: system calls, forks and page faults, in virtual time', { timeout: 600_000 }, async () => {
    const during = await boot('virtual')
    const calls = await during(READS_AND_WRITES)
    console.log('150,000 reads and writes:', JSON.stringify(calls))
    expect(calls.systemCalls).toBeGreaterThan(300_000)
    expect(calls.entries).toBeLessThan(calls.systemCalls / 5)

    const forks = await during('for i in $(seq 300); do /bin/true; done')
    console.log('300 forks and execs:', JSON.stringify(forks))
    expect(forks.pageFaults).toBeGreaterThan(10_000)
    expect(forks.tlbMisses).toBeGreaterThan(200_000)
    expect(forks.entries).toBeLessThan(forks.tlbMisses / 4)

    // Each page of a large buffer is written once. The second time, the code for it has been decoded.
    const touch = 'dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null'
    await during(touch)
    const faults = await during(touch)
    console.log('64 MiB written once:', JSON.stringify(faults))
    expect(faults.pageFaults).toBeGreaterThan(10_000)
    expect(faults.entries).toBeLessThan(faults.pageFaults * 0.75)
  })

  test('behaviour: system calls in real time, each of which reads the time stamp counter', {
    timeout: 600_000,
  }, async () => {
    const during = await boot('real')
    const calls = await during(READS_AND_WRITES)
    console.log('150,000 reads and writes in real time:', JSON.stringify(calls))
    expect(calls.systemCalls).toBeGreaterThan(300_000)
    // What is left goes with the time that the host takes: timers and slices.
    expect(calls.entries).toBeLessThan(calls.systemCalls / 2)
  })
})
