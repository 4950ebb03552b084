/**
 * A machine's console as text: write lines, wait for what the guest prints. For programs and tests that hold a
 * conversation with a guest; whoever connects a terminal takes the bytes of `Machine.console`.
 */
import type { BytePort } from './byte-port.ts'
import { MachineError } from './machine-error.ts'

/** A conversation over a console. */
export interface TextConsole {
  /** Sends text. A terminal's line ends with `\n`. */
  write(text: string): void
  /**
   * Waits until the guest prints `end`, and answers all it printed since the last call, up to and with `end`. Calls
   * are served in their order.
   *
   * @throws MachineError `machine/ended` (rejects) when the guest ended first
   */
  readUntil(end: string): Promise<string>
}

/** What a conversation needs of a machine: `Machine` and `RemoteMachine` have it. */
export interface ConsoleOwner {
  /** The first serial port. */
  readonly console: BytePort
  /** Resolves when the guest has ended. */
  readonly ended: Promise<{ readonly kind: string }>
}

/** Printed text that nobody has read, in UTF-16 units. Older text is dropped: a guest may print for ever. */
const MAX_UNREAD = 2 ** 20
/** As much of the last output is in the message of an error. */
const SHOWN = 120

/** Listens to the console of `machine` from now on. Output is decoded as UTF-8. */
export function textConsole(machine: ConsoleOwner): TextConsole {
  const encoder = new TextEncoder()
  const decoder = new TextDecoder()
  const readers: { end: string; resolve(text: string): void; reject(error: MachineError): void }[] = []
  let unread = ''
  /** Where to look for the end that the first reader waits for: what lies before has been looked at. */
  let from = 0
  let endedBy: string | undefined

  function serve(): void {
    for (let reader = readers[0]; reader !== undefined; reader = readers[0]) {
      const at = unread.indexOf(reader.end, from)
      if (at < 0) {
        from = Math.max(unread.length - reader.end.length + 1, 0)
        if (endedBy === undefined) return
        readers.shift()
        reader.reject(
          new MachineError(
            'machine/ended',
            `the guest ended (${endedBy}) before it printed ${JSON.stringify(reader.end)}; the last that it printed is ${JSON.stringify(unread.slice(-SHOWN))}`,
          ),
        )
      } else {
        readers.shift()
        const length = at + reader.end.length
        const text = unread.slice(0, length)
        unread = unread.slice(length)
        reader.resolve(text)
      }
      from = 0
    }
  }

  machine.console.onOutput((bytes) => {
    unread += decoder.decode(bytes, { stream: true })
    if (unread.length > MAX_UNREAD) {
      from = Math.max(from - (unread.length - MAX_UNREAD), 0)
      unread = unread.slice(-MAX_UNREAD)
    }
    serve()
  })
  void machine.ended.then(({ kind }) => {
    endedBy = kind
    serve()
  })
  return {
    write: (text) => machine.console.send(encoder.encode(text)),
    readUntil: (end) =>
      new Promise((resolve, reject) => {
        readers.push({ end, resolve, reject })
        serve()
      }),
  }
}
