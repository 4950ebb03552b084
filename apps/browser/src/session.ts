/**
 * What the page does with machines: one at a time, made, started, saved, replaced. Keeps the view that the page draws;
 * every change makes a new one.
 */
import { TrapframeError } from '@trapframe/core'
import { formatReport, type LifeCycleState, type MachineMetrics, type WireEnd } from '@trapframe/machine'
import type { ConsoleTerminal } from './console-terminal.ts'
import { DEFAULT_CHOICE, type GuestChoice, machineRequest, titleOf } from './guest-choice.ts'
import { fileToMachine, machineToFile } from './machine-file-jobs.ts'
import { type OfferedGuest, offeredGuest } from './offered-guest.ts'
import { createSpeedMeter, type Speed, STANDING } from './speed-meter.ts'
import { createWorkerMachine, type WorkerMachine } from './worker-machine.ts'
import type { FileProgress } from './worker-protocol.ts'

/** What the page shows. */
export interface SessionView {
  /** `empty`: there is no machine yet; `loading`: its files are on their way. */
  readonly phase: LifeCycleState | 'empty' | 'loading'
  readonly progress: readonly FileProgress[]
  /** What is going on beside it, such as "Saving". */
  readonly task: string | undefined
  readonly notice: Notice | undefined
  readonly speed: Speed
  readonly counters: MachineMetrics
  readonly offer: OfferedGuest | undefined
  readonly choice: GuestChoice
  readonly title: string
  /** Whether guest RAM is memory that threads can share. */
  readonly sharedMemory: boolean
  /** From the page's wish to boot until the guest's shell; undefined before. */
  readonly shellMs: number | undefined
}

export interface Notice {
  readonly tone: 'info' | 'error'
  readonly text: string
}

export interface Session {
  readonly view: SessionView
  onChange(listener: (view: SessionView) => void): () => void
  /** Asks the server what it offers, and boots that. */
  open(): Promise<void>
  /** Boots anew: what is chosen now, or something else. */
  boot(choice?: GuestChoice): Promise<void>
  /** Runs what is paused, pauses what runs, boots what has ended. */
  toggle(): Promise<void>
  reset(): Promise<void>
  /** The whole machine as a file. The guest goes on as soon as its memory is copied. */
  save(): Promise<void>
  restore(file: Blob): Promise<void>
  say(notice: Notice | undefined): void
}

const READING_MS = 500
const PANIC = "The guest's kernel panicked."
const ENDS: Readonly<Partial<Record<WireEnd['kind'], string>>> = {
  'power-off': 'The guest switched itself off.',
  stopped: 'The guest was stopped.',
  // The worker lets a guest reset itself, unless it does so in a panic.
  reset: PANIC,
  'triple-fault': 'The guest ended by a triple fault.',
  halted: 'The guest halted for good.',
  failed: 'The machine failed.',
}
/** Files before the first byte of them has come. */
const EXPECTED: readonly FileProgress[] = (['kernel', 'initrd'] as const).map((file) => ({
  file,
  doneBytes: 0,
  totalBytes: undefined,
}))
const MIB = 2 ** 20

/** @param deliver - gives a file to the user */
export function createSession(
  terminal: ConsoleTerminal,
  deliver: (file: Blob, name: string) => void,
): Session {
  return new PageSession(terminal, deliver)
}

class PageSession implements Session {
  view: SessionView = {
    phase: 'empty',
    progress: [],
    task: undefined,
    notice: undefined,
    speed: STANDING,
    counters: {},
    offer: undefined,
    choice: DEFAULT_CHOICE,
    title: '',
    sharedMemory: globalThis.crossOriginIsolated,
    shellMs: undefined,
  }
  readonly #terminal: ConsoleTerminal
  readonly #deliver: (file: Blob, name: string) => void
  readonly #listeners = new Set<(view: SessionView) => void>()
  #machine: WorkerMachine | undefined
  /** Of the loading under way. */
  #loading = new AbortController()
  #meter = createSpeedMeter()

  constructor(terminal: ConsoleTerminal, deliver: (file: Blob, name: string) => void) {
    this.#terminal = terminal
    this.#deliver = deliver
    terminal.onInput((bytes) => this.#machine?.remote.console.send(bytes))
    setInterval(() => void this.#readCounters(), READING_MS)
  }

  onChange(listener: (view: SessionView) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async open(): Promise<void> {
    this.#change({ offer: await offeredGuest() })
    if (this.view.offer) return this.boot()
    this.say({ tone: 'info', text: 'This server offers no guest: drop a kernel here, or a saved machine.' })
  }

  async boot(choice: GuestChoice = this.view.choice): Promise<void> {
    const startMs = performance.now()
    this.#release()
    this.#terminal.clear()
    const { signal } = this.#loading
    this.#change({
      phase: 'loading',
      progress: EXPECTED.slice(0, choice.initrd === 'none' ? 1 : 2),
      notice: undefined,
      choice,
      title: titleOf(choice, this.view.offer),
      shellMs: undefined,
      speed: STANDING,
      counters: {},
    })
    try {
      const machine = await this.#create(choice, signal, () => {
        this.#change({ shellMs: performance.now() - startMs })
      })
      this.#adopt(machine)
      await machine.remote.start()
      this.#terminal.focus()
    } catch (error) {
      if (!signal.aborted) this.#change({ phase: 'failed', notice: noticeOf(error) })
    }
  }

  toggle(): Promise<void> {
    return this.#attempt(async () => {
      const remote = this.#machine?.remote
      switch (this.view.phase) {
        case 'running':
          return remote?.pause()
        case 'paused':
          return remote?.start()
        case 'empty':
        case 'stopped':
        case 'failed':
          return this.boot()
      }
    })
  }

  reset(): Promise<void> {
    return this.#attempt(async () => {
      const { phase } = this.view
      if (phase !== 'running' && phase !== 'paused') return this.boot()
      this.#change({ notice: undefined, shellMs: undefined })
      await this.#machine!.remote.reset()
      if (phase === 'paused') await this.#machine!.remote.start()
    })
  }

  save(): Promise<void> {
    return this.#task('Saving', async () => {
      const { remote } = this.#machine!
      const running = remote.state === 'running'
      if (running) await remote.pause()
      // What the guest printed before it came to rest was sent before; the terminal draws it later.
      await new Promise<void>((resolve) => this.#terminal.write('', resolve))
      const terminal = this.#terminal.snapshot()
      const state = await remote.save()
      if (running) await remote.start()
      const { title } = this.view
      const file = await machineToFile({ state, terminal, title })
      this.#deliver(file, fileName(title))
      this.say({ tone: 'info', text: `Saved: ${Math.ceil(file.size / MIB)} MiB.` })
    })
  }

  restore(file: Blob): Promise<void> {
    return this.#task('Restoring', async () => {
      const before = this.#machine
      const running = before?.remote.state === 'running'
      if (running) await before.remote.pause()
      let machine: WorkerMachine | undefined
      try {
        const saved = await fileToMachine(file)
        const choice = { ...this.view.choice, memoryMib: saved.state.ramBytes / MIB }
        machine = await this.#create(choice, this.#loading.signal, () => {})
        await machine.remote.restore(saved.state)
        this.#release()
        this.#terminal.clear()
        this.#terminal.write(saved.terminal)
        this.#change({ choice, title: saved.title, notice: undefined, shellMs: undefined })
      } catch (error) {
        machine?.terminate()
        if (running) await before.remote.start()
        throw error
      }
      this.#adopt(machine)
      await machine.remote.start()
      this.#terminal.focus()
    })
  }

  say(notice: Notice | undefined): void {
    this.#change({ notice })
  }

  async #create(choice: GuestChoice, signal: AbortSignal, shell: () => void): Promise<WorkerMachine> {
    const request = machineRequest(choice, this.view.offer, this.#terminal)
    if (!request) throw new TrapframeError('browser/no-kernel', 'There is no kernel: choose or drop one.')
    const machine: WorkerMachine = await createWorkerMachine({
      request,
      signal,
      progress: (one) => {
        const { progress } = this.view
        this.#change({ progress: progress.map((file) => (file.file === one.file ? one : file)) })
      },
      mark: (mark) => {
        if (mark === 'shell' && this.#machine === machine) shell()
        if (mark === 'panic' && this.#machine === machine) this.say({ tone: 'error', text: PANIC })
      },
      failed: (error) => {
        if (this.#machine !== machine) return
        this.#release()
        this.#change({ phase: 'failed', notice: noticeOf(error) })
      },
    })
    return machine
  }

  /** Makes a machine the one that the page shows. */
  #adopt(machine: WorkerMachine): void {
    const { remote } = machine
    this.#machine = machine
    this.#meter = createSpeedMeter()
    this.#change({ phase: remote.state, sharedMemory: machine.sharedMemory, speed: STANDING })
    for (const port of Object.values(remote.ports))
      port.onOutput((bytes) => {
        const shown = (): void => machine.shown(bytes.length)
        if (port === remote.console) this.#terminal.write(bytes, shown)
        else shown()
      })
    remote.onStateChange((phase) => {
      this.#change({ phase })
      void this.#readCounters()
    })
    remote.onReset(() => this.#terminal.clear())
    void remote.ended.then((end) => this.#describe(end))
  }

  /** Ends the machine, or the loading of one. */
  #release(): void {
    this.#loading.abort()
    this.#loading = new AbortController()
    this.#machine?.terminate()
    this.#machine = undefined
  }

  #describe(end: WireEnd): void {
    if ('report' in end) {
      const report = formatReport(end.report).replaceAll('\n', '\r\n')
      this.#terminal.write(`\r\n\x1b[0;31m${report}\x1b[0m\r\n`)
    }
    const text = ENDS[end.kind] ?? `The guest cannot go on: ${end.kind}.`
    const tone = end.kind === 'power-off' || end.kind === 'stopped' ? 'info' : 'error'
    const why = end.kind === 'failed' ? ` ${end.error.message}` : ''
    this.say({ tone, text: text + why })
  }

  async #readCounters(): Promise<void> {
    const machine = this.#machine
    const { phase } = this.view
    if (!machine || phase === 'stopped' || phase === 'failed') return
    const counters = await machine.remote.metrics().catch(() => undefined)
    if (!counters || this.#machine !== machine) return
    const speed = this.#meter.read(counters, performance.now())
    const stands = this.view.phase === 'paused'
    this.#change({ counters, speed: stands ? { ...speed, mips: 0, exitsPerSecond: 0 } : speed })
  }

  async #task(name: string, work: () => Promise<void>): Promise<void> {
    if (this.view.task !== undefined) return
    this.#change({ task: name, notice: undefined })
    await this.#attempt(work)
    this.#change({ task: undefined })
  }

  async #attempt(work: () => Promise<void> | undefined): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.say(noticeOf(error))
    }
  }

  #change(change: Partial<SessionView>): void {
    this.view = { ...this.view, ...change }
    for (const listener of this.#listeners) listener(this.view)
  }
}

function noticeOf(error: unknown): Notice {
  return { tone: 'error', text: error instanceof Error ? error.message : String(error) }
}

function fileName(title: string): string {
  const when = new Date().toISOString().slice(0, 16).replaceAll(/[-:]/g, '').replace('T', '-')
  return `${title.replaceAll(/[^\w.-]+/g, '-')}-${when}.trapframe`
}
