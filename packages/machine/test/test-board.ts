/**
 * A board with as little on it as a machine needs: a timer (port 0x40: nanoseconds until vector 0x20), a serial port
 * (0x3f8, vector 0x24 when input waits), power off (0x604), reset (0x64), debug exit (0xf4), NMI (0x61).
 */
import type { StateValue } from '@trapframe/core'
import type { ExitRecord } from '@trapframe/cpu'
import { attachDevice, createEventQueue, createIoBus, type Device, type IoRange } from '@trapframe/devices'
import type { Board, BoardHost, BuiltBoard, Processor } from '../src/board/board.ts'
import { long64State } from '../src/boot/initial-state.ts'
import type { BootSource } from '../src/boot-source.ts'
import { createBytePort } from '../src/byte-port.ts'
import type { MachineHost } from '../src/machine-host.ts'

export const MIB = 2 ** 20

export class TestProcessor implements Processor {
  taskPriority = 0
  readonly waiting = new Set<number>()
  nmi = false
  timeStampChanges = 0
  readonly #mmio: { value: number }
  constructor(mmio: { value: number }) {
    this.#mmio = mmio
  }
  pending(): number {
    const vector = Math.max(-1, ...this.waiting)
    return vector >> 4 > this.taskPriority ? vector : -1
  }
  acknowledge(): number {
    const vector = this.pending()
    this.waiting.delete(vector)
    return vector
  }
  takeNmi(): boolean {
    const nmi = this.nmi
    this.nmi = false
    return nmi
  }
  readMmio(exit: ExitRecord): void {
    exit.value = this.#mmio.value
  }
  writeMmio(exit: ExitRecord): void {
    this.#mmio.value = exit.value
  }
  readMsr(exit: ExitRecord): void {
    if (exit.address === 0x1b) exit.value = 0xfee0_0900
    else exit.fault = true
  }
  writeMsr(exit: ExitRecord): void {
    if (exit.address !== 0x1b) exit.fault = true
  }
  timeStampChanged(): void {
    this.timeStampChanges++
  }
}

export function testBoard(change: Partial<Board> = {}): Board & { processor(): TestProcessor } {
  let processor: TestProcessor
  return {
    name: 'test',
    ramBytes: 4 * MIB,
    vcpus: 1,
    tscHz: 1e9,
    cpuid: [],
    processor: () => processor,
    build(host: BoardHost): BuiltBoard {
      const pio = createIoBus('port', 0x1_0000)
      const mmio = createIoBus('memory', 2 ** 52)
      const events = createEventQueue(host.clock)
      const register = { value: 0 }
      processor = new TestProcessor(register)
      const timer = events.createEvent('timer', () => processor.waiting.add(0x20))
      let sent: number[] = []
      const received: number[] = []
      const com1 = createBytePort(() => {
        com1.offer((bytes) => {
          const taken = Math.min(bytes.length, 16 - received.length)
          received.push(...bytes.subarray(0, taken))
          return taken
        })
        processor.waiting.add(0x24)
        host.wake()
      })
      const port = (base: number, write: (value: number) => void, read: () => number = () => 0): IoRange => ({
        base,
        size: base === 0x40 ? 4 : 1,
        access: 'answered',
        read,
        write: (_offset, _size, value) => write(value),
      })
      const device: Device = {
        id: 'test-device',
        pio: [
          port(0x40, (value) => events.schedule(timer, events.nowNs() + value)),
          port(
            0x3f8,
            (value) => sent.push(value),
            () => received.shift() ?? 0,
          ),
          port(0x604, () => host.control.powerOff()),
          port(0x64, () => host.control.reset()),
          port(0xf4, (value) => host.control.debugExit(value)),
          port(0x61, () => {
            processor.nmi = true
          }),
        ],
        state: {
          name: 'test',
          version: 1,
          save: () => ({
            timerInNs: timer.deadlineNs === Infinity ? null : timer.deadlineNs - events.nowNs(),
            register: register.value,
            waiting: [...processor.waiting],
          }),
          load(state: StateValue) {
            const {
              timerInNs,
              register: value,
              waiting,
            } = state as never as {
              timerInNs: number | null
              register: number
              waiting: number[]
            }
            if (typeof value !== 'number') throw new RangeError('register')
            register.value = value
            processor.waiting.clear()
            for (const vector of waiting) processor.waiting.add(vector)
            if (timerInNs === null) events.cancel(timer)
            else events.schedule(timer, events.nowNs() + timerInNs)
          },
        },
        metrics: { read: () => ({ register: register.value }) },
        reset() {
          register.value = 0
          processor.waiting.clear()
          events.cancel(timer)
        },
      }
      attachDevice(device, pio, mmio)
      return {
        pio,
        mmio,
        events,
        devices: [device],
        processors: [processor],
        ports: { com1 },
        memoryMap: [],
        rsdpAddress: undefined,
        tables: [{ name: 'table', guestPhysical: 0xe_0000, bytes: Uint8Array.of(1, 2, 3), sizeBytes: 3 }],
        flush() {
          if (sent.length > 0) com1.deliver(Uint8Array.from(sent))
          sent = []
        },
      }
    },
    ...change,
  }
}

/** Enters at 1 MiB, where the fake vCPU has its program. */
export const testBoot: BootSource = {
  plan: () => ({
    segments: [{ name: 'mark', guestPhysical: 0x10_0000, bytes: Uint8Array.of(0xaa), sizeBytes: 1 }],
    state: long64State({ rip: 0x10_0000, rsi: 0, rsp: 0, pageTables: 0x9000, gdt: 0x500 }),
  }),
}

/**
 * A host whose clock follows the instructions that were executed (10 ns each), its own readings and the sleeps: what a
 * test sees does not depend on the speed of the machine that runs it.
 */
export class TestHost implements MachineHost {
  time = 0
  yields = 0
  readonly sleeps: number[] = []
  /** Instructions executed so far. */
  work: () => number = () => 0
  readonly stepNs: number
  readonly clock = {
    nowNs: (): number => {
      this.time += this.stepNs
      return this.time + this.work() * 10
    },
  }
  readonly wallClock = { nowMs: (): number => 0 }
  /** @param stepNs - added at each reading of the clock */
  constructor(stepNs = 1000) {
    this.stepNs = stepNs
  }
  yieldToHost(): Promise<void> {
    this.yields++
    return new Promise((resolve) => setImmediate(resolve))
  }
  startTimer(delayNs: number, callback: () => void): () => void {
    this.sleeps.push(delayNs)
    if (delayNs === Infinity) return () => {}
    const timer = setImmediate(() => {
      this.time += delayNs
      callback()
    })
    return () => clearImmediate(timer)
  }
}
