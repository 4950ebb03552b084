/**
 * A gdb remote stub: one debugger, one vCPU. Bytes in, bytes out; who carries them (TCP, a message port) is the caller's.
 *
 * GDB manual, appendix E.2 to E.5 (packets, stop replies, queries). All-stop mode with one thread, number 1. Addresses
 * are linear and go through the page tables of the moment. Breakpoints (`Z0`, `Z1`) are the vCPU's own: nothing is
 * written into guest memory. Unknown packets get the empty answer, which gdb takes for "not supported".
 */
import type { VcpuState } from '@trapframe/cpu'
import { encodePacket, fromHex, MAX_PACKET_BYTES, PacketReader, toHex } from './packet.ts'
import { REGISTERS, readRegister, targetDescription, writeRegister } from './registers.ts'

/** Why the guest stopped. */
export type GdbStop =
  | { readonly kind: 'breakpoint' | 'step' | 'interrupt' | 'fault' }
  /** The guest is gone; `status` is shown as the exit status of the "process". */
  | { readonly kind: 'exited'; readonly status: number }

/** What is debugged. All but `interrupt` and `setBreakpoints` is called only while the guest is stopped. */
export interface GdbTarget {
  /** Whether the guest runs. */
  readonly running: boolean
  /** Lets the guest run; `onStop` of the stub's owner tells when it stopped. */
  resume(): void
  /** Executes one instruction. */
  step(): GdbStop
  /** Asks a running guest to stop. */
  interrupt(): void
  /** All registers, those gdb does not know included. */
  readRegisters(): VcpuState
  /** @throws when the architecture does not allow a value */
  writeRegisters(state: VcpuState): void
  /** Bytes from a linear address on: as many as are there, up to `length`. */
  readMemory(linear: bigint, length: number): Uint8Array
  /** False when not all of it could be written; then nothing was. */
  writeMemory(linear: bigint, bytes: Uint8Array): boolean
  /** Replaces all breakpoints, linear addresses. Also called while the guest runs. */
  setBreakpoints(addresses: readonly bigint[]): void
  /** Ends the guest (gdb's `kill`). */
  kill(): void
}

/** The stub's end towards the debugger's connection and the guest. */
export interface GdbStub {
  /** Bytes from the debugger. Never throws. */
  receive(bytes: Uint8Array): void
  /** The guest stopped; to be called for every stop after `resume`. */
  stopped(stop: GdbStop): void
  /** The debugger is gone: breakpoints are taken away and the guest goes on. */
  close(): void
}

const MASK_64 = (1n << 64n) - 1n
const ERROR_ARGUMENT = 'E16'
const ERROR_ADDRESS = 'E0e'

/**
 * Makes a stub for a debugger that has just connected.
 * @param send - carries bytes to the debugger
 */
export function createGdbStub(target: GdbTarget, send: (bytes: Uint8Array) => void): GdbStub {
  const breakpoints = new Set<bigint>()
  const decoder = new TextDecoder()
  const encoder = new TextEncoder()
  let acknowledge = true
  let last: Uint8Array | undefined
  let lastStop: GdbStop = { kind: 'interrupt' }
  let detached = false

  const reader = new PacketReader({
    packet(data) {
      if (acknowledge) send(Uint8Array.of(0x2b))
      handle(data)
    },
    interrupt() {
      if (target.running) target.interrupt()
    },
    damaged() {
      if (acknowledge) send(Uint8Array.of(0x2d))
    },
    resend() {
      if (last !== undefined) send(last)
    },
  })

  return {
    receive: (bytes) => reader.receive(bytes),
    stopped(stop) {
      lastStop = stop
      if (!detached) reply(stopReply(stop))
    },
    close() {
      detach()
    },
  }

  function reply(text: string | Uint8Array): void {
    last = encodePacket(typeof text === 'string' ? encoder.encode(text) : text)
    send(last)
  }

  function handle(data: Uint8Array): void {
    // While the guest runs, a debugger in all-stop mode sends nothing but an interrupt.
    if (target.running) return
    let answer: string | undefined
    try {
      answer = command(data)
    } catch {
      answer = ERROR_ARGUMENT
    }
    if (answer !== undefined) reply(answer)
  }

  /** The answer, or undefined when there is none (yet). */
  function command(data: Uint8Array): string | undefined {
    const text = decoder.decode(data)
    const rest = text.slice(1)
    switch (text[0]) {
      case '?':
        return stopReply(lastStop)
      case 'g':
        return REGISTERS.map((register) => toHex(readRegister(register, state()))).join('')
      case 'G':
        return writeAll(rest)
      case 'p':
        return readOne(rest)
      case 'P':
        return writeOne(rest)
      case 'm':
        return readMemory(rest)
      case 'M':
        return writeMemory(rest.slice(0, rest.indexOf(':')), fromHex(rest.slice(rest.indexOf(':') + 1)))
      case 'X': {
        const colon = data.indexOf(0x3a)
        return writeMemory(decoder.decode(data.subarray(1, colon)), data.subarray(colon + 1))
      }
      case 'Z':
        return breakpoint(rest, true)
      case 'z':
        return breakpoint(rest, false)
      case 'c':
        return goOn(rest)
      case 's':
        return step(rest)
      case 'C':
        return goOn(rest.split(';')[1] ?? '')
      case 'S':
        return step(rest.split(';')[1] ?? '')
      case 'D':
        detach()
        return 'OK'
      case 'k':
        detached = true
        target.kill()
        return undefined
      case 'H':
      case 'T':
        return 'OK'
      case 'q':
      case 'Q':
        return query(text)
      case 'v':
        return verbose(text)
      default:
        return ''
    }
  }

  function query(text: string): string {
    if (text.startsWith('qSupported'))
      return `PacketSize=${MAX_PACKET_BYTES.toString(16)};qXfer:features:read+;swbreak+;hwbreak+;vContSupported+;QStartNoAckMode+`
    if (text === 'QStartNoAckMode') {
      acknowledge = false
      return 'OK'
    }
    if (text.startsWith('qXfer:features:read:target.xml:')) return part(targetDescription(), text)
    if (text.startsWith('qXfer:')) return 'E00'
    if (text === 'qC') return 'QC1'
    if (text === 'qfThreadInfo') return 'm1'
    if (text === 'qsThreadInfo') return 'l'
    if (text.startsWith('qThreadExtraInfo')) return toHex(encoder.encode('vCPU 0'))
    if (text.startsWith('qAttached')) return '1'
    if (text === 'qSymbol::') return 'OK'
    return ''
  }

  /** A part of a document, by the `offset,length` at the request's end. */
  function part(document: string, text: string): string {
    const [offset, length] = numbers(text.slice(text.lastIndexOf(':') + 1))
    if (offset === undefined || length === undefined) return ERROR_ARGUMENT
    const piece = document.slice(Number(offset), Number(offset + length))
    return (Number(offset + length) >= document.length ? 'l' : 'm') + piece
  }

  function verbose(text: string): string | undefined {
    if (text === 'vCont?') return 'vCont;c;C;s;S'
    if (text.startsWith('vKill')) {
      detached = true
      target.kill()
      return 'OK'
    }
    if (!text.startsWith('vCont;')) return ''
    const action = text[6]
    if (action === 's' || action === 'S') return step('')
    if (action === 'c' || action === 'C') return goOn('')
    return ERROR_ARGUMENT
  }

  function goOn(address: string): undefined {
    setRip(address)
    target.resume()
    return undefined
  }

  function step(address: string): string {
    setRip(address)
    lastStop = target.step()
    return stopReply(lastStop)
  }

  function setRip(address: string): void {
    const [rip] = numbers(address)
    if (rip !== undefined) target.writeRegisters({ ...state(), rip })
  }

  function state(): VcpuState {
    return target.readRegisters()
  }

  function readOne(text: string): string {
    const register = REGISTERS[Number(numbers(text)[0] ?? -1)]
    return register === undefined ? ERROR_ARGUMENT : toHex(readRegister(register, state()))
  }

  function writeOne(text: string): string {
    const [number, value] = text.split('=')
    const register = REGISTERS[Number(numbers(number ?? '')[0] ?? -1)]
    const bytes = fromHex(value ?? '')
    if (register === undefined || bytes === undefined || bytes.length !== register.bits / 8)
      return ERROR_ARGUMENT
    target.writeRegisters(writeRegister(register, state(), bytes))
    return 'OK'
  }

  function writeAll(text: string): string {
    const bytes = fromHex(text)
    if (bytes === undefined) return ERROR_ARGUMENT
    let changed = state()
    let at = 0
    for (const register of REGISTERS) {
      const end = at + register.bits / 8
      if (end > bytes.length) break
      changed = writeRegister(register, changed, bytes.subarray(at, end))
      at = end
    }
    target.writeRegisters(changed)
    return 'OK'
  }

  function readMemory(text: string): string {
    const [address, length] = numbers(text)
    if (address === undefined || length === undefined) return ERROR_ARGUMENT
    if (length === 0n) return ''
    const bytes = target.readMemory(address & MASK_64, Math.min(Number(length), MAX_PACKET_BYTES / 2))
    return bytes.length === 0 ? ERROR_ADDRESS : toHex(bytes)
  }

  function writeMemory(text: string, bytes: Uint8Array | undefined): string {
    const [address, length] = numbers(text)
    if (address === undefined || bytes === undefined || length !== BigInt(bytes.length)) return ERROR_ARGUMENT
    if (bytes.length === 0) return 'OK'
    return target.writeMemory(address & MASK_64, bytes) ? 'OK' : ERROR_ADDRESS
  }

  function breakpoint(text: string, insert: boolean): string {
    if (text[0] !== '0' && text[0] !== '1') return '' // watchpoints
    const [address] = numbers(text.slice(2))
    if (address === undefined) return ERROR_ARGUMENT
    if (insert) breakpoints.add(address & MASK_64)
    else breakpoints.delete(address & MASK_64)
    target.setBreakpoints([...breakpoints])
    return 'OK'
  }

  function detach(): void {
    if (detached) return
    detached = true
    breakpoints.clear()
    target.setBreakpoints([])
    if (!target.running && lastStop.kind !== 'exited') target.resume()
  }
}

/** Hexadecimal numbers separated by commas. */
function numbers(text: string): (bigint | undefined)[] {
  return text.split(',').map((part) => (/^[0-9a-fA-F]{1,16}$/.test(part) ? BigInt(`0x${part}`) : undefined))
}

/** Signals are Linux's: 2 SIGINT, 5 SIGTRAP, 11 SIGSEGV. */
function stopReply(stop: GdbStop): string {
  switch (stop.kind) {
    case 'exited':
      return `W${(stop.status & 0xff).toString(16).padStart(2, '0')}`
    case 'breakpoint':
      return 'T05swbreak:;thread:1;'
    case 'step':
      return 'T05thread:1;'
    case 'interrupt':
      return 'T02thread:1;'
    case 'fault':
      return 'T0bthread:1;'
  }
}
