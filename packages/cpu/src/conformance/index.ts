/**
 * The conformance kit of the vCPU contract: whoever writes a backend runs `vcpuConformance` in a vitest file. It depends
 * on the contract and on vitest, never on a backend.
 *
 * @packageDocumentation
 */
import type { GuestMemory } from '@trapframe/memory'
import { describe, expect, test } from 'vitest'
import { type Backend, ExitReason, type Vcpu } from '../contract.ts'
import type { CpuidLeaf } from '../cpuid.ts'
import { BareGuest, bareState, prepareBareGuest, setGate } from './bare-guest.ts'

export { BareGuest, bareState, prepareBareGuest, setGate } from './bare-guest.ts'

/** A backend to be tested, and what its test guests need. */
export interface VcpuConformanceOptions {
  /** What is tested. */
  readonly backend: Backend
  /** Machine code of assembly text (Intel syntax, one statement a line) for address `origin`; `assemble` of @trapframe/x86 serves. */
  readonly assemble: (source: string, origin: number) => Uint8Array
  /** RAM of a test guest; `createGuestMemory` of @trapframe/memory serves. */
  readonly createMemory: (options: { ramBytes: number }) => GuestMemory
  /** What CPUID answers in the test guests. */
  readonly cpuid?: readonly CpuidLeaf[]
  /** Size of guest RAM in bytes; default: `BareGuest.ramBytes`. */
  readonly ramBytes?: number
}

/** A vCPU at the first instruction of a program. */
interface Bench {
  readonly memory: GuestMemory
  readonly vcpu: Vcpu
  /** General register by its number in encoding order. */
  gpr(index: number): bigint
}

const PLENTY = 1_000_000
const [RAX, RCX, RDX, RBX] = [0, 1, 2, 3] as const

/** Declares the tests of one backend. What its capabilities lack is skipped, and counted by the runner. */
export function vcpuConformance(name: string, options: VcpuConformanceOptions): void {
  const { backend, assemble } = options
  const { capabilities } = backend

  async function bench(source: string): Promise<Bench> {
    const memory = options.createMemory({ ramBytes: options.ramBytes ?? BareGuest.ramBytes })
    prepareBareGuest(memory)
    memory.write(BareGuest.code, assemble(source, BareGuest.code))
    const vm = await backend.createVm({
      memory,
      cpuid: options.cpuid ?? [],
      time: capabilities.instructionCounting
        ? { kind: 'virtual' }
        : { kind: 'real', clock: { nowNs: () => 0 } },
      tscHz: 1_000_000_000,
    })
    const vcpu = vm.createVcpu(0)
    vcpu.load(bareState(vcpu.save()))
    return { memory, vcpu, gpr: (index) => vcpu.save().gpr[index]! }
  }

  /** Installs a handler: it moves `code` to R15 and halts. The frame is on the stack. */
  function haltOn(memory: GuestMemory, vector: number): void {
    const handler = 0x8_0000 + 0x100 * vector
    memory.write(handler, assemble(`mov r15d, ${vector}\nhlt`, handler))
    setGate(memory, vector, handler)
  }

  describe(`vCPU contract: ${name}`, () => {
    test('default: runs to HLT', async () => {
      const { vcpu, gpr } = await bench('mov eax, 5\nadd eax, 7\nhlt')
      expect(vcpu.run(PLENTY)).toBe(ExitReason.halted)
      expect(gpr(RAX)).toBe(12n)
      expect(vcpu.run(PLENTY), 'stays halted').toBe(ExitReason.halted)
    })

    test.skipIf(!capabilities.instructionCounting)(
      'behaviour: budgets are exact, however they cut a program',
      async () => {
        const source = 'mov ecx, 50\nagain:\nadd rax, rcx\npush rax\npop rbx\ndec ecx\njnz again\nhlt'
        const whole = await bench(source)
        expect(whole.vcpu.run(PLENTY)).toBe(ExitReason.halted)
        const total = whole.vcpu.instructionsRetired
        expect(total).toBe(1 + 50 * 5 + 1)
        for (const slice of [1, 2, 3, 7, 63, 64, 65, 100]) {
          const cut = await bench(source)
          let done = 0
          while (done < total - 1) {
            const budget = Math.min(slice, total - 1 - done)
            expect(cut.vcpu.run(budget)).toBe(ExitReason.budget)
            done += budget
            expect(cut.vcpu.instructionsRetired).toBe(done)
          }
          expect(cut.vcpu.run(1)).toBe(ExitReason.halted)
          expect(cut.vcpu.save().gpr).toEqual(whole.vcpu.save().gpr)
        }
      },
    )

    test.skipIf(!capabilities.instructionCounting)('behaviour: each iteration of REP counts', async () => {
      const { vcpu, gpr } = await bench(
        `mov ecx, 100\nmov edi, ${BareGuest.data}\nmov al, 0x5a\nrep stosb\nhlt`,
      )
      expect(vcpu.run(3 + 40)).toBe(ExitReason.budget)
      expect(gpr(RCX)).toBe(60n)
      expect(vcpu.run(PLENTY)).toBe(ExitReason.halted)
      expect(vcpu.instructionsRetired).toBe(3 + 100 + 1)
    })

    test('behaviour: port accesses exit with port, size and value, and take the answer', async () => {
      const { vcpu, gpr } = await bench('mov eax, 0x11223344\nmov dx, 0x1f0\nout dx, eax\nin ax, 0x60\nhlt')
      expect(vcpu.run(PLENTY)).toBe(ExitReason.pioWrite)
      expect(vcpu.exit).toMatchObject({ address: 0x1f0, sizeBytes: 4, value: 0x11223344 })
      expect(vcpu.run(PLENTY)).toBe(ExitReason.pioRead)
      expect(vcpu.exit).toMatchObject({ address: 0x60, sizeBytes: 2 })
      vcpu.exit.value = 0xbeef
      expect(vcpu.run(PLENTY)).toBe(ExitReason.halted)
      expect(gpr(RAX)).toBe(0x1122beefn)
    })

    test('behaviour: device memory of every size', async () => {
      const d = BareGuest.device
      const { vcpu, gpr } = await bench(
        `mov ebx, ${d}\nmov al, [rbx]\nmov cx, [rbx+2]\nmov edx, [rbx+4]\nmov rsi, [rbx+8]\nmov qword ptr [rbx+16], rsi\nhlt`,
      )
      const answers = [0x12, 0x3456, 0x789abcde, 0xdeadbeef]
      const sizes = [1, 2, 4, 8]
      for (let i = 0; i < 4; i++) {
        expect(vcpu.run(PLENTY)).toBe(ExitReason.mmioRead)
        expect(vcpu.exit).toMatchObject({ address: d + [0, 2, 4, 8][i]!, sizeBytes: sizes[i] })
        vcpu.exit.value = answers[i]!
        vcpu.exit.valueHigh = 0x0102_0304
      }
      expect(vcpu.run(PLENTY)).toBe(ExitReason.mmioWrite)
      expect(vcpu.exit).toMatchObject({
        address: d + 16,
        sizeBytes: 8,
        value: 0xdeadbeef,
        valueHigh: 0x0102_0304,
      })
      expect(vcpu.run(PLENTY)).toBe(ExitReason.halted)
      expect(gpr(RAX) & 0xffn).toBe(0x12n)
      expect(gpr(RCX) & 0xffffn).toBe(0x3456n)
      expect(gpr(RDX)).toBe(0x789abcden)
    })

    test('behaviour: an instruction that reads and writes a device makes both accesses once', async () => {
      const { vcpu, gpr } = await bench(
        `mov ebx, ${BareGuest.device}\nmov eax, 3\nadd [rbx], eax\npushfq\npop rcx\nhlt`,
      )
      expect(vcpu.run(PLENTY)).toBe(ExitReason.mmioRead)
      vcpu.exit.value = 0xffff_ffff
      expect(vcpu.run(PLENTY)).toBe(ExitReason.mmioWrite)
      expect(vcpu.exit).toMatchObject({ sizeBytes: 4, value: 2 })
      expect(vcpu.run(PLENTY)).toBe(ExitReason.halted)
      expect(gpr(RCX) & 1n, 'CF').toBe(1n)
    })

    test('behaviour: an MSR that the driver refuses is #GP(0)', async () => {
      const { memory, vcpu, gpr } = await bench('mov ecx, 0x802\nrdmsr\nhlt\nmov ecx, 0x899\nrdmsr\nhlt')
      haltOn(memory, 13)
      expect(vcpu.run(PLENTY)).toBe(ExitReason.msrRead)
      expect(vcpu.exit.address).toBe(0x802)
      vcpu.exit.value = 7
      vcpu.exit.valueHigh = 9
      expect(vcpu.run(PLENTY)).toBe(ExitReason.halted)
      expect([gpr(RAX), gpr(RDX)]).toEqual([7n, 9n])
      const state = vcpu.save()
      vcpu.load({ ...state, events: { ...state.events, halted: false } })
      expect(vcpu.run(PLENTY)).toBe(ExitReason.msrRead)
      vcpu.exit.fault = true
      expect(vcpu.run(PLENTY)).toBe(ExitReason.halted)
      expect(gpr(15)).toBe(13n)
    })

    test('behaviour: interrupts wait for IF, wake HLT and leave through the IDT', async () => {
      const { memory, vcpu, gpr } = await bench('cli\nnop\nnop\nsti\nnop\nhlt\nmov eax, 1\nhlt')
      const handler = 0x9_0000
      memory.write(handler, assemble('inc ebx\niretq', handler))
      setGate(memory, 0x30, handler)
      vcpu.requestInterruptWindow(true)
      expect(vcpu.interruptible).toBe(false)
      expect(vcpu.run(PLENTY)).toBe(ExitReason.interruptWindow)
      vcpu.requestInterruptWindow(false)
      expect(vcpu.interruptible).toBe(true)
      vcpu.injectInterrupt(0x30)
      expect(vcpu.interruptible, 'one at a time').toBe(false)
      expect(vcpu.run(PLENTY)).toBe(ExitReason.halted)
      expect(gpr(RBX)).toBe(1n)
      expect(gpr(RAX)).toBe(0n)
      vcpu.injectInterrupt(0x30)
      expect(vcpu.run(PLENTY)).toBe(ExitReason.halted)
      expect([gpr(RAX), gpr(RBX)]).toEqual([1n, 2n])
    })

    test('behaviour: a kick ends the run at once', async () => {
      const { vcpu } = await bench('again:\njmp again')
      vcpu.kick()
      expect(vcpu.run(PLENTY)).toBe(ExitReason.kicked)
      if (capabilities.instructionCounting) expect(vcpu.run(1000)).toBe(ExitReason.budget)
    })

    test('behaviour: #PF pushes its error code and sets CR2', async () => {
      const missing = 0x150_0000
      const { memory, vcpu, gpr } = await bench(`mov ebx, ${missing}\nmov [rbx+5], eax\nhlt`)
      const handler = 0x9_0000
      memory.write(handler, assemble('pop rax\nmov rcx, cr2\npop rdx\nhlt', handler))
      setGate(memory, 14, handler)
      expect(vcpu.run(PLENTY)).toBe(ExitReason.halted)
      expect(gpr(RAX), 'write to a page that is not present').toBe(2n)
      expect(gpr(RCX)).toBe(BigInt(missing + 5))
      expect(gpr(RDX), 'RIP of the faulting instruction').toBe(BigInt(BareGuest.code + 5))
    })

    test.each([
      ['#DE', 0, 'xor edx, edx\nxor ecx, ecx\ndiv ecx'],
      ['#UD', 6, 'ud2'],
      ['#GP', 13, 'mov rax, 0x8000000000000000\nmov rax, [rax]'],
      ['#BP', 3, 'int3'],
    ])('behaviour: %s is delivered', async (_, vector, source) => {
      const { memory, vcpu, gpr } = await bench(`${source}\nhlt`)
      haltOn(memory, vector)
      expect(vcpu.run(PLENTY)).toBe(ExitReason.halted)
      expect(gpr(15)).toBe(BigInt(vector))
    })

    test('error: a fault without an IDT is a shutdown', async () => {
      const { vcpu } = await bench(`lidt [rip+empty]\nud2\nempty:\n.word 0\n.quad 0`)
      expect(vcpu.run(PLENTY)).toBe(ExitReason.shutdown)
      expect(vcpu.save().rip).toBe(BigInt(BareGuest.code + 7))
    })

    test('error: fetching outside memory says so', async () => {
      const { vcpu } = await bench(`mov eax, ${BareGuest.device}\njmp rax`)
      expect(vcpu.run(PLENTY)).toBe(ExitReason.unsupported)
    })

    test('behaviour: code that changes itself, in the same block too', async () => {
      const { vcpu, gpr } = await bench('mov byte ptr [rip+patch+1], 9\npatch:\nmov eax, 1\nhlt')
      expect(vcpu.run(PLENTY)).toBe(ExitReason.halted)
      expect(gpr(RAX)).toBe(9n)
    })

    test('behaviour: an instruction that crosses a page, and a change of its second half', async () => {
      const source =
        'mov edx, 2\njmp cross\n.org 0xffd\ncross:\nmov eax, 0x11223344\ndec edx\njz done\nmov byte ptr [rip+cross+4], 0x55\njmp cross\ndone:\nhlt'
      const { vcpu, gpr } = await bench(source)
      expect(vcpu.run(PLENTY)).toBe(ExitReason.halted)
      expect(gpr(RAX)).toBe(0x55223344n)
    })

    test('behaviour: memory accesses across pages with different frames', async () => {
      const { memory, vcpu, gpr } = await bench(
        `mov ebx, ${BareGuest.data + 0x0ffd}\nmov rax, 0x1122334455667788\nmov [rbx], rax\nmov rcx, [rbx]\nadd qword ptr [rbx], 1\nmov rdx, [rbx]\nhlt`,
      )
      // The second page of the pair lies somewhere else.
      const frame = BareGuest.data + 0x8000
      memory.writeU64(BareGuest.table + 8 * ((BareGuest.data + 0x1000) >> 12), BigInt(frame) | 7n)
      expect(vcpu.run(PLENTY)).toBe(ExitReason.halted)
      expect(gpr(RCX)).toBe(0x1122334455667788n)
      expect(gpr(RDX)).toBe(0x1122334455667789n)
      expect(memory.readU8(frame)).toBe(0x55)
    })

    test('behaviour: state that is saved goes on in another vCPU', async () => {
      const source =
        'mov ecx, 1000\nagain:\nlea rax, [rax+rcx*2+1]\nror rax, 7\nxor rbx, rax\nadc rdx, rbx\ndec ecx\njnz again\nhlt'
      const whole = await bench(source)
      expect(whole.vcpu.run(PLENTY)).toBe(ExitReason.halted)
      const first = await bench(source)
      if (capabilities.instructionCounting) expect(first.vcpu.run(1234)).toBe(ExitReason.budget)
      const second = await bench(source)
      second.vcpu.load(structuredClone(first.vcpu.save()))
      expect(second.vcpu.save()).toEqual(first.vcpu.save())
      expect(second.vcpu.run(PLENTY)).toBe(ExitReason.halted)
      expect(second.vcpu.save()).toEqual(whole.vcpu.save())
    })

    test.skipIf(!capabilities.instructionCounting)(
      'behaviour: virtual time is the count of instructions',
      async () => {
        const { vcpu, gpr } = await bench('rdtsc\nmov ebx, eax\nnop\nnop\nnop\nrdtsc\nhlt')
        expect(vcpu.run(PLENTY)).toBe(ExitReason.halted)
        expect(gpr(RAX) - gpr(RBX)).toBe(5n)
        const before = vcpu.nowNs()
        vcpu.skipTimeNs(1000)
        expect(vcpu.nowNs() - before).toBe(1000)
      },
    )

    test.skipIf(!capabilities.singleStep)('behaviour: single steps and breakpoints', async () => {
      const { vcpu, gpr } = await bench('mov eax, 1\nmov ebx, 2\ncall sub\nhlt\nsub:\nmov ecx, 3\nret')
      vcpu.debug.singleStep = true
      expect(vcpu.run(PLENTY)).toBe(ExitReason.debug)
      expect([gpr(RAX), gpr(RBX)]).toEqual([1n, 0n])
      expect(vcpu.run(PLENTY)).toBe(ExitReason.debug)
      expect(vcpu.run(PLENTY)).toBe(ExitReason.debug)
      expect(vcpu.save().rip, 'into the call').toBe(BigInt(BareGuest.code + 16))
      vcpu.debug.singleStep = false
      vcpu.debug.setBreakpoints([BigInt(BareGuest.code + 21)])
      expect(vcpu.run(PLENTY)).toBe(ExitReason.debug)
      expect(vcpu.exit.value).toBe(1)
      expect(gpr(RCX)).toBe(3n)
      vcpu.debug.setBreakpoints([])
      expect(vcpu.run(PLENTY)).toBe(ExitReason.halted)
    })

    test.skipIf(!capabilities.dirtyLog)(
      'behaviour: writes of the guest reach every dirty client',
      async () => {
        const { memory, vcpu } = await bench(
          `mov ebx, ${BareGuest.data}\nmov [rbx], eax\nhlt\nmov [rbx+0x1000], eax\nmov [rbx], eax\nhlt`,
        )
        const client = memory.createDirtyClient('test')
        client.start()
        const bitmap = new Uint32Array((memory.pageCount >> 5) + 1)
        const dirty = (address: number): number => (bitmap[address >> 17]! >> ((address >> 12) & 31)) & 1
        expect(vcpu.run(PLENTY)).toBe(ExitReason.halted)
        client.harvest(bitmap)
        expect([dirty(BareGuest.data), dirty(BareGuest.data + 0x1000)]).toEqual([1, 0])
        const state = vcpu.save()
        vcpu.load({ ...state, events: { ...state.events, halted: false } })
        expect(vcpu.run(PLENTY)).toBe(ExitReason.halted)
        bitmap.fill(0)
        client.harvest(bitmap)
        expect([dirty(BareGuest.data), dirty(BareGuest.data + 0x1000)]).toEqual([1, 1])
      },
    )
  })
}
