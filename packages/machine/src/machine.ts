/**
 * A virtual machine: a board with a vCPU of some backend, in a life cycle. The composition root; everything that it is
 * made of is handed in.
 *
 * The machine lives in one thread and shares it: it runs in slices of about 1.5 ms and gives the event loop its turn in
 * between. What a guest does wrong ends the guest (`ended`), never the host.
 */
import { type Log, type SavedSection, type StateValue, silentLog, TrapframeError } from '@trapframe/core'
import type { Backend, TimeSource, Vcpu, VcpuState, Vm } from '@trapframe/cpu'
import type { TimerEvent } from '@trapframe/devices'
import { createGuestMemory, type GuestMemory } from '@trapframe/memory'
import type { Board, BuiltBoard } from './board/board.ts'
import type { BootPlan, BootSource } from './boot-source.ts'
import type { BytePort } from './byte-port.ts'
import { DeviceClock } from './device-clock.ts'
import { GuestClock } from './guest-clock.ts'
import { type GuestEnd, reportGuest } from './guest-end.ts'
import { LifeCycle, type LifeCycleState } from './life-cycle.ts'
import { createMachineDebugger, type MachineDebugger } from './machine-debugger.ts'
import { MachineError } from './machine-error.ts'
import type { MachineHost } from './machine-host.ts'
import { clearRam, fitsRam, hashRam, loadRam, type RamRun, saveRam } from './ram-image.ts'
import { startState } from './start-state.ts'
import { StateHash } from './state-hash.ts'
import { SliceEnd, VcpuDriver } from './vcpu-driver.ts'

/** What a machine is made of. */
export interface MachineOptions {
  /** What executes the guest. */
  readonly backend: Backend
  /** What the machine consists of. */
  readonly board: Board
  /** What it starts. */
  readonly boot: BootSource
  /** Time and event loop of the thread: `javascriptHost()` fits Node and browsers. */
  readonly host: MachineHost
  /** What the guest sends on its first serial port. */
  readonly console?: (bytes: Uint8Array) => void
  /**
   * `real`: the guest's time is the host's, without the pauses. `virtual`: one instruction takes one nanosecond and
   * idle time passes at once, so a run without input repeats exactly. Default: `real`.
   */
  readonly time?: 'real' | 'virtual'
  /** What a reset by the guest does; a function is asked each time. Default: `reboot`. */
  readonly onReset?: ResetPolicy | (() => ResetPolicy)
  /** Guest RAM in memory that threads can share (SharedArrayBuffer), where the host has it. Default: false. */
  readonly sharedMemory?: boolean
  /** Date at which virtual time begins, in milliseconds since 1970. Default: 2024-01-01. */
  readonly virtualStartMs?: number
  /** Default: silence. */
  readonly log?: Log
}

/** What a guest's reset does: start again, or end the guest. */
export type ResetPolicy = 'reboot' | 'end'

/** A whole machine, saved. Plain data, apart from RAM's size about as large as the RAM in use. */
export interface MachineState {
  readonly version: 1
  /** Name of the board. */
  readonly board: string
  readonly ramBytes: number
  /** What is not zero. */
  readonly ram: readonly RamRun[]
  readonly vcpus: readonly VcpuState[]
  /** State of the devices. */
  readonly sections: readonly SavedSection[]
}

/** Counters by component. */
export type MachineMetrics = Readonly<Record<string, Readonly<Record<string, number>>>>

/** A virtual machine. Made by `createMachine`, in state `created`. */
export interface Machine {
  /** Where it is in its life. */
  readonly state: LifeCycleState
  /** How the guest ended; undefined while it has not. */
  readonly end: GuestEnd | undefined
  /** Resolves when the guest has ended. Never rejects. */
  readonly ended: Promise<GuestEnd>
  /** The first serial port. */
  readonly console: BytePort
  /** All byte ports of the board, by name. */
  readonly ports: Readonly<Record<string, BytePort>>
  /** Guest RAM. Whoever writes it while the guest runs does what a device with DMA does. */
  readonly memory: GuestMemory
  /** One so far. To be used only while the machine is at rest. */
  readonly vcpus: readonly Vcpu[]
  /** Guest time now, in nanoseconds since the machine was made. */
  readonly guestTimeNs: number
  /** Stops, steps, registers; what a gdb stub needs. */
  readonly debug: MachineDebugger

  /** Runs, or goes on after a pause. @throws MachineError `machine/state` */
  start(): void
  /** Comes to rest between two instructions. @throws MachineError `machine/state` unless running */
  pause(): Promise<void>
  /**
   * Comes to rest when the guest's time is `guestTimeNs`; in virtual time exactly then. A later call replaces the
   * earlier one, Infinity takes it back.
   */
  pauseAt(guestTimeNs: number): void
  /** Ends the guest. Does nothing when it has ended. */
  stop(): void
  /** Resets vCPU and devices and loads the boot files again, as a guest's reset does. */
  reset(): void
  /** Stops, and frees what the backend holds. The machine cannot be used any more. */
  close(): void

  /** The whole state. @throws MachineError `machine/state` while it runs */
  save(): MachineState
  /** Replaces the whole state. @throws MachineError `machine/saved-state`, StateError; the machine is then unchanged */
  restore(state: MachineState): void
  /** A hash of the whole state. @throws MachineError `machine/state` while it runs */
  hash(): string
  /** Counters of machine, backend, vCPUs and devices, as they are now. */
  metrics(): MachineMetrics

  /** Calls `listener` at every change of state. Answers the removal. */
  onStateChange(listener: (state: LifeCycleState) => void): () => void
  /** Calls `listener` after each reset, with how many there were. Answers the removal. */
  onReset(listener: (count: number) => void): () => void
}

const DEFAULT_VIRTUAL_START_MS = Date.UTC(2024, 0, 1)
const TIME_STAMP_COUNTER = 0x10
/** A deadline nearer than this is waited for in turns of the event loop: timers are good to a millisecond only. */
const SPIN_NS = 500_000

/**
 * Makes a machine, with the boot files in place, in state `created`.
 *
 * @throws MachineError `machine/capability`, MemoryError, BootError and what the backend throws; nothing is left over
 */
export async function createMachine(options: MachineOptions): Promise<Machine> {
  const { backend, board, boot, host, time = 'real', sharedMemory = false, log = silentLog } = options
  const { capabilities } = backend
  const lacks = (what: string): MachineError =>
    new MachineError('machine/capability', `backend ${capabilities.name} ${what}`)
  if (board.vcpus !== 1)
    throw new MachineError('machine/capability', `${board.vcpus} vCPUs: machines have one so far`)
  if (board.vcpus > capabilities.maxVcpus) throw lacks(`has at most ${capabilities.maxVcpus} vCPUs`)
  if (time === 'virtual' && !capabilities.instructionCounting)
    throw lacks('does not count instructions, which virtual time needs')
  if (sharedMemory && !capabilities.sharedMemory) throw lacks('has no shared memory')
  if (board.ramBytes > capabilities.maxRamBytes)
    throw lacks(`takes at most ${capabilities.maxRamBytes} bytes of RAM, not ${board.ramBytes}`)

  const memory = createGuestMemory({ ramBytes: board.ramBytes, shared: sharedMemory })
  const guestClock = new GuestClock(host.clock)
  const timeSource: TimeSource = time === 'real' ? { kind: 'real', clock: guestClock } : { kind: 'virtual' }
  const vm = await backend.createVm({ memory, cpuid: board.cpuid, time: timeSource, tscHz: board.tscHz })
  try {
    return new BoardMachine({ ...options, log }, memory, guestClock, vm, boot)
  } catch (error) {
    vm.close()
    throw error
  }
}

type Request =
  | { readonly kind: 'power-off' | 'reset' | 'host-reset' }
  | { readonly kind: 'debug-exit'; readonly value: number }

class BoardMachine implements Machine {
  readonly memory: GuestMemory
  readonly vcpus: readonly Vcpu[]
  readonly ended: Promise<GuestEnd>
  readonly debug: MachineDebugger
  end: GuestEnd | undefined
  readonly #host: MachineHost
  readonly #boardName: string
  readonly #board: BuiltBoard
  readonly #vm: Vm
  readonly #vcpu: Vcpu
  readonly #driver: VcpuDriver
  readonly #plan: BootPlan
  readonly #resetState: VcpuState
  readonly #guestClock: GuestClock
  readonly #resetPolicy: () => ResetPolicy
  readonly #log: Log
  readonly #virtual: boolean
  readonly #cycle = new LifeCycle()
  readonly #resetListeners = new Set<(count: number) => void>()
  #resolveEnded: (end: GuestEnd) => void = () => {}
  /** What the guest asked for in the middle of an instruction, or the host between slices. */
  #request: Request | undefined
  #pauseDue = false
  readonly #pauseEvent: TimerEvent
  /** Something arrived since the last slice began. */
  #woken = false
  /** Ends the sleep under way. */
  #wake: (() => void) | undefined
  #looping = false
  #pauseWaiters: (() => void)[] = []
  #resets = 0
  #sleeps = 0
  #closed = false

  constructor(
    options: MachineOptions & { readonly log: Log },
    memory: GuestMemory,
    guestClock: GuestClock,
    vm: Vm,
    boot: BootSource,
  ) {
    const { board, host, time = 'real', log } = options
    this.memory = memory
    this.#host = host
    this.#boardName = board.name
    this.#vm = vm
    this.#guestClock = guestClock
    const { onReset = 'reboot' } = options
    this.#resetPolicy = typeof onReset === 'function' ? onReset : () => onReset
    this.#log = log
    this.#virtual = time === 'virtual'
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve
    })
    const vcpu = vm.createVcpu(0)
    this.#vcpu = vcpu
    this.vcpus = [vcpu]
    this.#resetState = vcpu.save()
    const deviceClock = new DeviceClock(vcpu)
    const startMs = options.virtualStartMs ?? DEFAULT_VIRTUAL_START_MS
    const wallClock = time === 'real' ? host.wallClock : { nowMs: () => startMs + vcpu.nowNs() / 1e6 }
    this.#board = board.build({
      memory,
      clock: deviceClock,
      wallClock,
      timeStamp: () => timeStamp(vcpu),
      control: {
        powerOff: () => {
          this.#request ??= { kind: 'power-off' }
        },
        reset: () => {
          this.#request ??= { kind: 'reset' }
        },
        debugExit: (value) => {
          this.#request ??= { kind: 'debug-exit', value }
        },
      },
      wake: () => this.#attend(),
      log,
    })
    const { memoryMap, rsdpAddress } = this.#board
    this.#plan = boot.plan({ memoryMap, rsdpAddress })
    this.#driver = new VcpuDriver({
      vcpu,
      board: this.#board,
      processor: this.#board.processors[0]!,
      deviceClock,
      hostClock: host.clock,
      virtualTime: time === 'virtual',
      stopRequested: () => this.#request !== undefined || this.#pauseDue || this.#cycle.state !== 'running',
    })
    this.#pauseEvent = this.#board.events.createEvent('pause', () => {
      this.#pauseDue = true
    })
    if (options.console) this.console.onOutput(options.console)
    this.debug = createMachineDebugger({
      machine: this,
      step: () => this.#step(),
      attend: () => this.#driver.attend(),
    })
    this.#placeBootFiles()
  }

  get state(): LifeCycleState {
    return this.#cycle.state
  }

  get guestTimeNs(): number {
    return this.#vcpu.nowNs()
  }

  get ports(): Readonly<Record<string, BytePort>> {
    return this.#board.ports
  }

  get console(): BytePort {
    return this.#board.ports.com1 ?? Object.values(this.#board.ports)[0]!
  }

  start(): void {
    this.#cycle.require('start', 'created', 'paused')
    this.#guestClock.start()
    this.#cycle.move('start')
    if (!this.#looping) void this.#loop()
  }

  pause(): Promise<void> {
    this.#cycle.move('pause')
    this.#wake?.()
    return new Promise((resolve) => {
      this.#pauseWaiters.push(resolve)
    })
  }

  pauseAt(guestTimeNs: number): void {
    const { events } = this.#board
    if (guestTimeNs === Infinity) events.cancel(this.#pauseEvent)
    else events.schedule(this.#pauseEvent, guestTimeNs)
    this.#wake?.()
  }

  stop(): void {
    if (this.end === undefined) this.#finish({ kind: 'stopped' })
  }

  reset(): void {
    if (this.end !== undefined)
      throw new MachineError('machine/state', `cannot reset a machine that is ${this.state}`)
    if (this.state === 'running' || this.state === 'pausing') {
      this.#request ??= { kind: 'host-reset' }
      this.#wake?.()
    } else this.#reboot()
  }

  close(): void {
    this.stop()
    if (this.#closed) return
    this.#closed = true
    // A listener may have called this in the middle of a slice: then the end of the loop frees.
    if (!this.#looping) this.#vm.close()
  }

  save(): MachineState {
    this.#requireRest('save')
    return {
      version: 1,
      board: this.#boardName,
      ramBytes: this.memory.ramBytes,
      ram: saveRam(this.memory),
      vcpus: this.vcpus.map((vcpu) => vcpu.save()),
      sections: this.#saveSections(),
    }
  }

  restore(state: MachineState): void {
    this.#requireRest('restore')
    if (this.end !== undefined)
      throw new MachineError('machine/state', `cannot restore a machine that is ${this.state}`)
    this.#checkSaved(state)
    const before = {
      vcpu: this.#vcpu.save(),
      sections: this.#saveSections(),
    }
    try {
      // Before the devices, which save times relative to now: virtual time is a part of the vCPU.
      this.#vcpu.load(state.vcpus[0]!)
      this.#loadSections(state.sections)
    } catch (error) {
      this.#vcpu.load(before.vcpu)
      this.#loadSections(before.sections)
      throw error
    }
    loadRam(this.memory, state.ram)
    this.#request = undefined
    this.#restarted()
  }

  hash(): string {
    this.#requireRest('hash')
    const hash = new StateHash()
    hashRam(this.memory, hash)
    for (const vcpu of this.vcpus) hash.value(vcpu.save() as unknown as StateValue)
    for (const { owner, name, version, state } of this.#saveSections())
      hash.value([owner, name, version, state])
    return hash.digest()
  }

  metrics(): MachineMetrics {
    const metrics: Record<string, Readonly<Record<string, number>>> = {
      machine: { resets: this.#resets, sleeps: this.#sleeps, 'guest-time-ns': this.#vcpu.nowNs() },
      vm: this.#vm.metrics.read(),
      'vcpu-0': { ...this.#driver.metrics(), ...this.#vcpu.metrics.read() },
    }
    for (const device of this.#board.devices) if (device.metrics) metrics[device.id] = device.metrics.read()
    metrics.buses = {
      'unclaimed-pio': this.#board.pio.unclaimed,
      'unclaimed-mmio': this.#board.mmio.unclaimed,
    }
    return metrics
  }

  onStateChange(listener: (state: LifeCycleState) => void): () => void {
    return this.#cycle.onChange(listener)
  }

  onReset(listener: (count: number) => void): () => void {
    this.#resetListeners.add(listener)
    return () => this.#resetListeners.delete(listener)
  }

  /** Runs slices until the machine is at rest or has ended. */
  async #loop(): Promise<void> {
    this.#looping = true
    await undefined // whoever called `start` goes first
    try {
      while (this.state === 'running' || this.state === 'pausing') {
        if (this.state === 'pausing') this.#rest('pause')
        else await this.#slice()
      }
    } catch (error) {
      this.#fail(error)
    }
    this.#looping = false
    if (this.#closed) this.#vm.close()
    const waiters = this.#pauseWaiters
    this.#pauseWaiters = []
    for (const resolve of waiters) resolve()
  }

  /** One slice, and what is to be done after it. */
  async #slice(): Promise<void> {
    this.#woken = false
    const end = this.#driver.slice()
    this.#board.flush()
    if (this.end !== undefined) return
    switch (end) {
      case SliceEnd.idle:
        return this.#sleep()
      case SliceEnd.request:
        // The pause may be of the same moment as what the guest asked for: that comes first.
        if (this.#request !== undefined) this.#answerRequest()
        else if (this.#pauseDue) this.#rest('pause')
        // A guest that resets in a circle must not keep the thread.
        return this.#host.yieldToHost()
      case SliceEnd.yield:
        return this.#host.yieldToHost()
      case SliceEnd.breakpoint:
      case SliceEnd.step:
        return this.#rest('breakpoint')
      default:
        this.#endWithReport(end)
    }
  }

  /** Waits until the next timer is due or something arrives from outside. */
  async #sleep(): Promise<void> {
    if (this.#woken || this.state !== 'running' || this.#request !== undefined) return
    const delayNs = this.#driver.wakeAtNs - this.#vcpu.nowNs()
    if (delayNs <= SPIN_NS) return this.#host.yieldToHost()
    this.#sleeps++
    await new Promise<void>((resolve) => {
      const cancel = this.#host.startTimer(delayNs, () => {
        this.#wake = undefined
        resolve()
      })
      this.#wake = () => {
        this.#wake = undefined
        cancel()
        resolve()
      }
    })
  }

  /** Something happened outside of a slice, or was asked for inside one. */
  #attend(): void {
    this.#driver.attend()
    this.#woken = true
    this.#wake?.()
  }

  #answerRequest(): void {
    const request = this.#request
    this.#request = undefined
    if (request === undefined) return
    if (request.kind === 'host-reset' || (request.kind === 'reset' && this.#resetPolicy() === 'reboot'))
      this.#reboot()
    else this.#finish(request as GuestEnd)
  }

  /** Power-on state, in place: no memory grows by it. */
  #reboot(): void {
    for (const device of this.#board.devices) device.reset?.()
    clearRam(this.memory)
    this.#placeBootFiles()
    this.#resets++
    for (const listener of this.#resetListeners) listener(this.#resets)
  }

  #placeBootFiles(): void {
    for (const { guestPhysical, bytes } of [...this.#board.tables, ...this.#plan.segments])
      this.memory.write(guestPhysical, bytes)
    const state = startState(this.#resetState, this.#plan.state)
    // Virtual time is made of these two, and never goes back.
    const { instructionsRetired } = this.#vcpu
    const skippedNs = this.#virtual ? this.#vcpu.nowNs() - instructionsRetired : 0
    this.#vcpu.load({ ...state, instructionsRetired, skippedNs })
    this.#request = undefined
    this.#restarted()
  }

  #restarted(): void {
    for (const processor of this.#board.processors) processor.timeStampChanged()
    this.#driver.restarted()
  }

  #step(): SliceEnd {
    this.#cycle.require('step', 'created', 'paused')
    this.#guestClock.start()
    const end = this.#driver.step()
    this.#guestClock.stop()
    this.#board.flush()
    if (this.#request !== undefined) this.#answerRequest()
    else if (end === SliceEnd.shutdown || end === SliceEnd.unsupported) this.#endWithReport(end)
    return end
  }

  /** Comes to rest from `running` or `pausing`. */
  #rest(why: 'pause' | 'breakpoint'): void {
    this.#guestClock.stop()
    this.#pauseDue = false
    this.debug.stopReason = why
    this.#cycle.move('paused')
  }

  #endWithReport(end: SliceEnd): void {
    const kind =
      end === SliceEnd.shutdown
        ? 'triple-fault'
        : end === SliceEnd.halted
          ? 'halted'
          : 'unsupported-instruction'
    const report = reportGuest(kind, this.#vcpu, this.memory, this.#driver.lastExit)
    this.#finish({ kind: report.kind, report })
  }

  #finish(end: GuestEnd): void {
    if (this.end !== undefined) return
    this.end = end
    this.#guestClock.stop()
    this.#cycle.move(end.kind === 'failed' ? 'fail' : 'stop')
    this.#wake?.()
    this.#resolveEnded(end)
  }

  #fail(error: unknown): void {
    this.#log.warn(
      `machine failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    )
    this.#finish({ kind: 'failed', error })
  }

  #requireRest(what: string): void {
    this.#cycle.require(what, 'created', 'paused', 'stopped')
    if (this.#closed) throw new MachineError('machine/state', `cannot ${what} a machine that is closed`)
  }

  #saveSections(): SavedSection[] {
    const sections: SavedSection[] = []
    for (const { id, state } of this.#board.devices)
      if (state) sections.push({ owner: id, name: state.name, version: state.version, state: state.save() })
    return sections
  }

  #loadSections(sections: readonly SavedSection[]): void {
    for (const device of this.#board.devices) {
      if (!device.state) continue
      const saved = sections.find(({ owner, name }) => owner === device.id && name === device.state!.name)!
      device.state.load(saved.state, saved.version)
    }
  }

  #checkSaved(state: MachineState): void {
    const unfit = (why: string): MachineError => new MachineError('machine/saved-state', why)
    if (state.version !== 1) throw unfit(`version ${state.version} of a saved machine is not known`)
    if (state.board !== this.#boardName) throw unfit(`saved on board ${state.board}, not ${this.#boardName}`)
    if (state.ramBytes !== this.memory.ramBytes)
      throw unfit(`saved with ${state.ramBytes} bytes of RAM, not ${this.memory.ramBytes}`)
    if (state.vcpus.length !== this.vcpus.length) throw unfit(`saved with ${state.vcpus.length} vCPUs`)
    if (!fitsRam(this.memory, state.ram)) throw unfit('saved RAM lies outside of RAM')
    const wanted = this.#board.devices.flatMap(({ id, state }) => (state ? [`${id}/${state.name}`] : []))
    const given = new Set(state.sections.map(({ owner, name }) => `${owner}/${name}`))
    const missing = wanted.filter((key) => !given.has(key))
    if (missing.length > 0) throw unfit(`sections are missing: ${missing.join(', ')}`)
    if (given.size !== wanted.length || state.sections.length !== wanted.length)
      throw unfit(
        `sections of devices that are not there: ${[...given].filter((key) => !wanted.includes(key)).join(', ')}`,
      )
  }
}

/** The guest's time stamp counter now. Through a save: rare, since only the TSC-deadline timer asks. */
function timeStamp(vcpu: Vcpu): bigint {
  const found = vcpu.save().msrs.find(([index]) => index === TIME_STAMP_COUNTER)
  if (found === undefined)
    throw new TrapframeError('machine/time-stamp', 'the vCPU saves no time stamp counter')
  return found[1]
}
