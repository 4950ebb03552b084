/** The machine's end of a control port. */
import { TrapframeError } from '@trapframe/core'
import type { GuestEnd } from '../guest-end.ts'
import type { Machine, MachineState } from '../machine.ts'
import { MachineError } from '../machine-error.ts'
import { type ControlPort, listen } from './control-port.ts'
import {
  type FromMachine,
  type Hello,
  isMessage,
  type Method,
  PROTOCOL_VERSION,
  type ToMachine,
  type WireEnd,
  type WireError,
} from './protocol.ts'

/**
 * Lets the other side of `port` control the machine. Several ports may be served at a time.
 *
 * @returns ends the service; the machine goes on
 */
export function serveMachine(machine: Machine, port: ControlPort): () => void {
  const post = (message: FromMachine, transfer?: ArrayBuffer[]): void => port.postMessage(message, transfer)
  const methods: Record<Method, (argument: unknown) => unknown> = {
    hello: (): Hello => ({
      version: PROTOCOL_VERSION,
      state: machine.state,
      ports: Object.keys(machine.ports),
      end: machine.end && wireEnd(machine.end),
    }),
    start: () => machine.start(),
    pause: () => machine.pause(),
    pauseAt: (argument) => machine.pauseAt(argument as number),
    stop: () => machine.stop(),
    reset: () => machine.reset(),
    close: () => machine.close(),
    save: () => machine.save(),
    restore: (argument) => machine.restore(argument as MachineState),
    hash: () => machine.hash(),
    metrics: () => machine.metrics(),
  }

  async function answer(id: number, method: Method, argument: unknown): Promise<void> {
    try {
      if (!Object.hasOwn(methods, method))
        throw new MachineError('machine/control', `the machine knows no method ${String(method)}`)
      const result = await methods[method](argument)
      // RAM was copied for the save already: it is given away rather than copied again.
      const transfer =
        method === 'save'
          ? (result as MachineState).ram.map(({ bytes }) => bytes.buffer as ArrayBuffer)
          : undefined
      post({ kind: 'reply', id, result }, transfer)
    } catch (error) {
      post({ kind: 'refusal', id, error: wireError(error) })
    }
  }

  const removers = [
    listen(port, (message) => {
      if (!isMessage<ToMachine>(message)) return
      if (message.kind === 'request') void answer(message.id, message.method, message.argument)
      else if (message.kind === 'input') machine.ports[message.port]?.send(message.bytes)
    }),
    machine.onStateChange((state) => post({ kind: 'state', state })),
    machine.onReset((count) => post({ kind: 'reset', count })),
  ]
  for (const [name, bytePort] of Object.entries(machine.ports)) {
    removers.push(bytePort.onOutput((bytes) => post({ kind: 'output', port: name, bytes })))
    removers.push(bytePort.onDrain(() => post({ kind: 'drained', port: name })))
  }
  let served = true
  void machine.ended.then((end) => {
    if (served) post({ kind: 'ended', end: wireEnd(end) })
  })
  return () => {
    served = false
    for (const remove of removers) remove()
  }
}

function wireEnd(end: GuestEnd): WireEnd {
  return end.kind === 'failed' ? { kind: 'failed', error: wireError(end.error) } : end
}

function wireError(error: unknown): WireError {
  return {
    code: error instanceof TrapframeError ? error.code : 'machine/defect',
    message: error instanceof Error ? error.message : String(error),
  }
}
