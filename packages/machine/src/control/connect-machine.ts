/** A machine in another thread: the same control, asynchronous, over a port. */
import { TrapframeError } from '@trapframe/core'
import type { BytePort } from '../byte-port.ts'
import type { LifeCycleState } from '../life-cycle.ts'
import type { MachineMetrics, MachineState } from '../machine.ts'
import { MachineError } from '../machine-error.ts'
import { type ControlPort, listen } from './control-port.ts'
import {
  type FromMachine,
  type Hello,
  isMessage,
  type Method,
  PROTOCOL_VERSION,
  type WireEnd,
} from './protocol.ts'

/** See `Machine`; what fails there rejects here, with the same code. */
export interface RemoteMachine {
  /** The last state that was told. */
  readonly state: LifeCycleState
  /** How the guest ended; undefined while it has not, as far as is known. */
  readonly end: WireEnd | undefined
  /** Resolves when the guest has ended. Never rejects. */
  readonly ended: Promise<WireEnd>
  /** The first serial port. `waitingBytes` counts what was sent and not yet reported as taken. */
  readonly console: BytePort
  /** All byte ports of the board, by name. */
  readonly ports: Readonly<Record<string, BytePort>>
  /** See `Machine.start`. */
  start(): Promise<void>
  /** See `Machine.pause`: resolves when the machine is at rest. */
  pause(): Promise<void>
  /** See `Machine.pauseAt`; resolves when it is arranged, not when it happens. */
  pauseAt(guestTimeNs: number): Promise<void>
  /** See `Machine.stop`. */
  stop(): Promise<void>
  /** See `Machine.reset`. */
  reset(): Promise<void>
  /** See `Machine.close`. */
  close(): Promise<void>
  /** See `Machine.save`. RAM is moved over, not copied again. */
  save(): Promise<MachineState>
  /** See `Machine.restore`. */
  restore(state: MachineState): Promise<void>
  /** See `Machine.hash`. */
  hash(): Promise<string>
  /** See `Machine.metrics`. */
  metrics(): Promise<MachineMetrics>
  /** Calls `listener` at every change of state. Answers the removal. */
  onStateChange(listener: (state: LifeCycleState) => void): () => void
  /** Calls `listener` after each reset, with how many there were. Answers the removal. */
  onReset(listener: (count: number) => void): () => void
  /** Leaves the port alone from now on; requests under way are rejected. The machine goes on. */
  disconnect(): void
}

/**
 * Connects to a machine that is served at the other end of `port`. Waits until it answers.
 *
 * @throws MachineError `machine/control` when the other end speaks another version
 */
export async function connectMachine(port: ControlPort): Promise<RemoteMachine> {
  const pending = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>()
  const stateListeners = new Set<(state: LifeCycleState) => void>()
  const resetListeners = new Set<(count: number) => void>()
  const ports = new Map<string, RemotePort>()
  let state: LifeCycleState = 'created'
  let end: WireEnd | undefined
  let resolveEnded: (end: WireEnd) => void = () => {}
  const ended = new Promise<WireEnd>((resolve) => {
    resolveEnded = resolve
  })
  let nextId = 1
  let connected = true

  function request<T>(method: Method, argument?: unknown): Promise<T> {
    if (!connected) return Promise.reject(new MachineError('machine/control', `${method}: disconnected`))
    const id = nextId++
    return new Promise((resolve, reject) => {
      pending.set(id, { resolve: resolve as (result: unknown) => void, reject })
      port.postMessage({ kind: 'request', id, method, argument })
    })
  }

  function portOf(name: string): RemotePort {
    let found = ports.get(name)
    if (!found) {
      found = createRemotePort((bytes) => {
        if (connected) port.postMessage({ kind: 'input', port: name, bytes })
      })
      ports.set(name, found)
    }
    return found
  }

  const stopListening = listen(port, (message) => {
    if (!isMessage<FromMachine>(message)) return
    switch (message.kind) {
      case 'reply':
        pending.get(message.id)?.resolve(message.result)
        pending.delete(message.id)
        break
      case 'refusal':
        pending.get(message.id)?.reject(new TrapframeError(message.error.code, message.error.message))
        pending.delete(message.id)
        break
      case 'state':
        state = message.state
        for (const listener of stateListeners) listener(state)
        break
      case 'reset':
        for (const listener of resetListeners) listener(message.count)
        break
      case 'output':
        portOf(message.port).deliver(message.bytes)
        break
      case 'drained':
        portOf(message.port).drained()
        break
      case 'ended':
        end = message.end
        resolveEnded(end)
    }
  })

  const hello = await request<Hello>('hello')
  if (hello.version !== PROTOCOL_VERSION) {
    stopListening()
    throw new MachineError(
      'machine/control',
      `the machine speaks version ${hello.version} of the control protocol, not ${PROTOCOL_VERSION}`,
    )
  }
  state = hello.state
  if (hello.end) {
    end = hello.end
    resolveEnded(end)
  }
  const named = Object.fromEntries(hello.ports.map((name) => [name, portOf(name)]))
  return {
    get state() {
      return state
    },
    get end() {
      return end
    },
    ended,
    console: named.com1 ?? portOf(hello.ports[0] ?? 'com1'),
    ports: named,
    start: () => request('start'),
    pause: () => request('pause'),
    pauseAt: (guestTimeNs) => request('pauseAt', guestTimeNs),
    stop: () => request('stop'),
    reset: () => request('reset'),
    close: () => request('close'),
    save: () => request('save'),
    restore: (saved) => request('restore', saved),
    hash: () => request('hash'),
    metrics: () => request('metrics'),
    onStateChange(listener) {
      stateListeners.add(listener)
      return () => stateListeners.delete(listener)
    },
    onReset(listener) {
      resetListeners.add(listener)
      return () => resetListeners.delete(listener)
    },
    disconnect() {
      connected = false
      stopListening()
      for (const { reject } of pending.values()) reject(new MachineError('machine/control', 'disconnected'))
      pending.clear()
    },
  }
}

interface RemotePort extends BytePort {
  deliver(bytes: Uint8Array): void
  drained(): void
}

function createRemotePort(send: (bytes: Uint8Array) => void): RemotePort {
  const outputListeners = new Set<(bytes: Uint8Array) => void>()
  const drainListeners = new Set<() => void>()
  let waitingBytes = 0
  return {
    get waitingBytes() {
      return waitingBytes
    },
    onOutput(listener) {
      outputListeners.add(listener)
      return () => outputListeners.delete(listener)
    },
    onDrain(listener) {
      drainListeners.add(listener)
      return () => drainListeners.delete(listener)
    },
    send(bytes) {
      if (bytes.length === 0) return
      waitingBytes += bytes.length
      send(bytes)
    },
    deliver(bytes) {
      for (const listener of outputListeners) listener(bytes)
    },
    drained() {
      // The machine's queue was empty; what crossed this news on its way is counted as taken too.
      waitingBytes = 0
      for (const listener of drainListeners) listener()
    },
  }
}
