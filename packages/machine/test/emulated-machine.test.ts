import { emulated } from '@trapframe/backend-emulated'
import { assembleElf } from '@trapframe/x86'
import { describe, expect, test } from 'vitest'
import { microvm } from '../src/board/microvm.ts'
import { linux } from '../src/boot-source.ts'
import { createMachine, type Machine, type MachineOptions } from '../src/machine.ts'
import { javascriptHost } from '../src/machine-host.ts'

/**
 * A guest that does a little of everything: its LAPIC timer interrupts it every 20 microseconds, it halts now and then,
 * writes memory in a pattern that depends on the time stamp counter, polls the PIT, prints a letter every 64 ticks.
 */
const TICKING = `
  start:
    lea rsp, [rip + stack_top]
    lea rax, [rip + handler]            ; IDT entry 0x40
    lea rdi, [rip + idt + 0x400]
    mov word ptr [rdi], ax
    mov word ptr [rdi + 2], 0x10
    mov word ptr [rdi + 4], 0x8e00
    shr rax, 16
    mov word ptr [rdi + 6], ax
    lidt [rip + idtr]
    mov rbx, 0xfee00000
    mov dword ptr [rbx + 0xf0], 0x1ff
    mov dword ptr [rbx + 0x3e0], 0xb    ; divide by 1
    mov dword ptr [rbx + 0x320], 0x20040
    mov dword ptr [rbx + 0x380], 20000
    mov rcx, 0
    mov rsi, 0x200000
    sti
  again:
    rdtsc
    add rcx, rax
    mov rax, rcx
    and rax, 0xffff8
    add qword ptr [rsi + rax], rcx
    in al, 0x40
    add rcx, rax
    test rcx, 0x700
    jnz again
    hlt
    jmp again
  handler:
    push rax
    push rdx
    inc r15
    test r15, 63
    jnz 1f
    mov dx, 0x3f8
    mov al, 0x2e
    out dx, al
  1: mov dword ptr [rbx + 0xb0], 0
    pop rdx
    pop rax
    iretq
  .align 16
  idtr: .word 0xfff
    .quad idt
  .data
  .align 4096
  idt: .space 4096
  .space 4096
  stack_top:
`
const kernel = assembleElf(TICKING, { origin: 0x10_0000 }).bytes

const make = (options: Partial<MachineOptions> = {}): Promise<Machine> =>
  createMachine({
    backend: emulated(),
    board: microvm({ memoryBytes: 4 * 2 ** 20 }),
    boot: linux({ kernel }),
    host: javascriptHost(),
    ...options,
  })
const runTo = async (machine: Machine, timeNs: number): Promise<void> => {
  const rest = new Promise<void>((resolve) => {
    const remove = machine.onStateChange((state) => {
      if (state === 'running' || state === 'pausing') return
      remove()
      resolve()
    })
  })
  machine.pauseAt(timeNs)
  machine.start()
  await rest
  expect(machine.end).toBeUndefined()
  expect(machine.guestTimeNs).toBe(timeNs)
}
/** A sequence that repeats, in place of random numbers. */
const points = (count: number, below: number): number[] =>
  Array.from({ length: count }, (_, n) => 1 + ((n * 2_654_435_761) % below)).sort((a, b) => a - b)

const END = 20_000_000

describe('virtual time on the emulated CPU', () => {
  test('behaviour: two runs with the same input end alike', async () => {
    const hashes: string[] = []
    const outputs: string[] = []
    for (let n = 0; n < 2; n++) {
      const machine = await make({ time: 'virtual' })
      let text = ''
      machine.console.onOutput((bytes) => {
        text += new TextDecoder().decode(bytes)
      })
      await runTo(machine, END)
      hashes.push(machine.hash())
      outputs.push(text)
      const { 'vcpu-0': vcpu, 'lapic-0': lapic } = machine.metrics()
      expect(lapic!['timer-expiries']).toBe(Math.floor(END / 20_000) - 1)
      expect(vcpu!['exits-halted']).toBeGreaterThan(100)
      machine.close()
    }
    expect(hashes[1]).toBe(hashes[0])
    expect(outputs).toEqual(['.'.repeat(15), '.'.repeat(15)])
  })

  test('behaviour: saved at 100 moments and loaded into new machines, the end is that of the undisturbed run', async () => {
    const undisturbed = await make({ time: 'virtual' })
    await runTo(undisturbed, END)
    const hash = undisturbed.hash()
    undisturbed.close()
    const first = await make({ time: 'virtual' })
    for (const at of points(100, END)) {
      await runTo(first, at)
      const saved = first.save()
      const second = await make({ time: 'virtual' })
      second.restore(saved)
      expect(second.hash()).toBe(first.hash())
      await runTo(second, END)
      expect(second.hash(), `saved at ${at} ns`).toBe(hash)
      second.close()
    }
    await runTo(first, END)
    expect(first.hash()).toBe(hash)
    first.close()
  })

  test('behaviour: a reset is a new start, whatever the guest did before', async () => {
    const machine = await make({ time: 'virtual' })
    await runTo(machine, 1_234_567)
    const fresh = await make({ time: 'virtual' })
    machine.reset()
    expect(machine.save().ram).toEqual(fresh.save().ram)
    const states = [machine, fresh].map((one) => ({
      ...one.save().vcpus[0]!,
      instructionsRetired: 0,
      skippedNs: 0,
    }))
    // The counter of time stamps begins at zero again.
    expect(states[0]).toEqual(states[1])
    machine.close()
    fresh.close()
  })
})

describe('real time on the emulated CPU', () => {
  test('behaviour: ticks arrive while it works and while it sleeps, and the thread is shared', async () => {
    const machine = await make()
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    machine.start()
    await new Promise((resolve) => setTimeout(resolve, 300))
    await machine.pause()
    clearInterval(timer)
    const { 'lapic-0': lapic, machine: own } = machine.metrics()
    expect(lapic!['timer-expiries']).toBeGreaterThan(10)
    expect(own!['guest-time-ns']).toBeGreaterThan(0)
    expect(turns).toBeGreaterThan(10)
    machine.close()
  })
})
