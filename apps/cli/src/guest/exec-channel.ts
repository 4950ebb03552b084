/**
 * The host's end of the exec channel: runs commands in the guest over a serial port, with standard input, output, error
 * and status kept apart and unchanged. The protocol is described in guests/initramfs/exec-agent, its other end.
 *
 * Pure logic: bytes in, bytes out. Output is handed on as it arrives, also in the middle of a frame. Input is sent as the
 * guest takes it; `writeInput` tells when the caller should hold back.
 */
import { GuestError } from './guest-error.ts'

/** Input in one frame at most. */
const INPUT_FRAME_BYTES = 16_384
/** Input on its way at most: what the guest's receive buffer surely holds. */
const INPUT_WINDOW_BYTES = 32_768
const MAX_HEADER_BYTES = 16
/** A command is one argument of a process, which Linux limits to 128 KiB. */
const MAX_COMMAND_BYTES = 131_071
const GREETING = '\ntrapframe-exec '

/** What happens on the channel. */
export interface ExecChannelEvents {
  /** Bytes for the serial port. */
  send(bytes: Uint8Array): void
  /** The guest is ready for its first command. */
  ready?(): void
  stdout(bytes: Uint8Array): void
  stderr(bytes: Uint8Array): void
  /** The command ended; all of its output has been handed on before. */
  exit(status: number): void
  /** All input that was written is on its way; more may be written. */
  drain?(): void
}

/** The host's end of the channel. */
export interface ExecChannel {
  /** Whether the guest has greeted. */
  readonly ready: boolean
  /** Takes bytes from the serial port. Throws GuestError `guest/exec-protocol`. */
  receive(bytes: Uint8Array): void
  /** Runs a command with `sh -c`, when the guest is ready. One at a time: the next one after `exit`. */
  run(command: string): void
  /** Standard input of the command. Returns false when input waits for the guest: write on after `drain`. */
  writeInput(bytes: Uint8Array): boolean
  /** End of standard input. */
  endInput(): void
  /** Has the guest switch itself off. */
  powerOff(): void
}

/** Makes the host's end. */
export function createExecChannel(events: ExecChannelEvents): ExecChannel {
  const encoder = new TextEncoder()
  let ready = false
  let greeting = '\n'
  let header = ''
  let dataLetter = ''
  let dataBytes = 0
  /** Frames that wait for the greeting. */
  let waiting: Uint8Array[] = []
  let running = false
  let input: Uint8Array[] = []
  let inputEnded = false
  let inputEndSent = false
  /** Counts on from one command to the next: input that a command left unread is acknowledged after its end. */
  let onTheirWay = 0

  return {
    get ready(): boolean {
      return ready
    },
    receive,
    run(command: string): void {
      const text = encoder.encode(command)
      if (running) throw new GuestError('guest/exec-protocol', 'a command is running already')
      if (text.length === 0 || text.length > MAX_COMMAND_BYTES || text.includes(0)) {
        throw new GuestError(
          'guest/exec-protocol',
          `a command of ${text.length} bytes, or with a NUL in it, cannot be run`,
        )
      }
      running = true
      input = []
      inputEnded = false
      inputEndSent = false
      send(frame('C', text))
    },
    writeInput(bytes: Uint8Array): boolean {
      if (!running || inputEnded) return true // the command has ended: as with a closed pipe, nobody reads
      if (bytes.length > 0) input.push(new Uint8Array(bytes)) // a Buffer's slice is no copy
      sendInput()
      return input.length === 0
    },
    endInput(): void {
      if (!running) return
      inputEnded = true
      sendInput()
    },
    powerOff(): void {
      send(frame('Q', new Uint8Array(0)))
    },
  }

  function frame(letter: string, data: Uint8Array): Uint8Array {
    const head = encoder.encode(`${letter} ${data.length}\n`)
    const bytes = new Uint8Array(head.length + data.length)
    bytes.set(head)
    bytes.set(data, head.length)
    return bytes
  }

  function send(bytes: Uint8Array): void {
    if (ready) events.send(bytes)
    else waiting.push(bytes)
  }

  function sendInput(): void {
    if (!ready) return
    while (input.length > 0 && onTheirWay < INPUT_WINDOW_BYTES) {
      const first = input[0]!
      const size = Math.min(first.length, INPUT_FRAME_BYTES, INPUT_WINDOW_BYTES - onTheirWay)
      onTheirWay += size
      if (size === first.length) input.shift()
      else input[0] = first.subarray(size)
      events.send(frame('I', first.subarray(0, size)))
    }
    if (inputEnded && !inputEndSent && input.length === 0) {
      inputEndSent = true
      events.send(frame('E', new Uint8Array(0)))
    }
  }

  function receive(bytes: Uint8Array): void {
    let at = 0
    while (at < bytes.length) {
      if (!ready) {
        at = readGreeting(bytes, at)
      } else if (dataBytes > 0) {
        const piece = bytes.subarray(at, at + dataBytes)
        dataBytes -= piece.length
        at += piece.length
        if (dataLetter === 'O') events.stdout(piece)
        else events.stderr(piece)
      } else {
        const byte = bytes[at++]!
        if (byte !== 0x0a) {
          header += String.fromCharCode(byte)
          if (header.length > MAX_HEADER_BYTES) throw unknownFrame(header)
        } else {
          const text = header
          header = ''
          readHeader(text)
        }
      }
    }
  }

  /** Looks for the greeting in the noise of the guest's start; returns the position behind what was read. */
  function readGreeting(bytes: Uint8Array, start: number): number {
    for (let at = start; at < bytes.length; at++) {
      const char = String.fromCharCode(bytes[at]!)
      if (greeting.length < GREETING.length) {
        // The greeting begins with its only line feed, so a mismatch restarts at most one character in.
        if (char === GREETING[greeting.length]) greeting += char
        else greeting = char === '\n' ? '\n' : ''
      } else if (char !== '\n') {
        greeting += char
        if (greeting.length > GREETING.length + MAX_HEADER_BYTES) greeting = ''
      } else {
        const version = greeting.slice(GREETING.length)
        if (!/^\d+$/.test(version)) {
          greeting = '\n'
          continue
        }
        if (version !== '1') {
          throw new GuestError(
            'guest/exec-protocol',
            `the guest speaks version ${version} of the exec channel, not 1`,
          )
        }
        ready = true
        for (const bytes of waiting) events.send(bytes)
        waiting = []
        sendInput()
        events.ready?.()
        return at + 1
      }
    }
    return bytes.length
  }

  function readHeader(text: string): void {
    const match = /^([ORAX]) +(\d{1,9})$/.exec(text)
    if (match === null) throw unknownFrame(text)
    const [, letter, digits] = match
    const value = Number(digits)
    if (letter === 'O' || letter === 'R') {
      dataLetter = letter
      dataBytes = value
    } else if (letter === 'A') {
      onTheirWay -= value
      if (onTheirWay < 0)
        throw new GuestError('guest/exec-protocol', 'the guest took more input than was sent')
      const waited = input.length > 0
      sendInput()
      if (waited && input.length === 0) events.drain?.()
    } else {
      const waited = input.length > 0
      running = false
      input = []
      if (waited) events.drain?.()
      events.exit(value)
    }
  }
}

function unknownFrame(header: string): GuestError {
  return new GuestError('guest/exec-protocol', `unknown frame ${JSON.stringify(header)} on the exec channel`)
}
