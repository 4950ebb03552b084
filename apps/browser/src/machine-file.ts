/**
 * A saved machine as a file.
 *
 * | bytes | what |
 * |---|---|
 * | 0-7 | 89 54 46 4d 0d 0a 1a 0a: "TFM", between bytes that a transfer as text would change |
 * | 8-11 | version of the format |
 * | 12-15 | CRC-32 of the body |
 * | 16-23 | length of the body |
 * | 24- | the body by gzip |
 *
 * The body: length of a JSON text in four bytes, the text, and the byte strings that it refers to. All numbers are
 * little-endian. The JSON is the machine's state with `{"$bigint": "…"}`, `{"$number": "Infinity"}` and
 * `{"$bytes": [offset, length]}` for what JSON has no word for.
 *
 * Files are hostile input: a length is believed only as far as bytes have come, and what the state says is for
 * `Machine.restore` to check.
 */
import { TrapframeError } from '@trapframe/core'
import type { MachineState } from '@trapframe/machine'
import { crc32 } from './crc32.ts'

/** What is in a file. */
export interface SavedMachine {
  readonly state: MachineState
  /** What the terminal showed, as text with escape sequences. */
  readonly terminal: string
  /** What the guest is, for people. */
  readonly title: string
}

export type MachineFileErrorCode =
  | 'browser/not-a-machine'
  | 'browser/machine-version'
  | 'browser/machine-damaged'

export class MachineFileError extends TrapframeError {
  declare readonly code: MachineFileErrorCode

  constructor(code: MachineFileErrorCode, message: string, options?: { cause?: unknown }) {
    super(code, message, options)
  }
}

const MAGIC = Uint8Array.of(0x89, 0x54, 0x46, 0x4d, 0x0d, 0x0a, 0x1a, 0x0a)
const VERSION = 1
const HEADER_BYTES = 24
/** RAM of the largest machine, and plenty for the rest. */
const MAX_BODY_BYTES = 4 * 2 ** 30
/** Deeper than any state; a file's nesting must not use up the stack. */
const MAX_DEPTH = 64

/** Whether a file begins like a saved machine. */
export function isMachineFile(start: Uint8Array): boolean {
  return MAGIC.every((byte, index) => start[index] === byte)
}

/** Writes a file. Takes a second or more, most of it in the host's gzip. */
export async function packMachine(saved: SavedMachine): Promise<Blob> {
  const strings: Uint8Array<ArrayBuffer>[] = []
  let stringBytes = 0
  const text = new TextEncoder().encode(
    JSON.stringify(
      plain(saved, (bytes) => {
        const offset = stringBytes
        strings.push(bytes as Uint8Array<ArrayBuffer>)
        stringBytes += bytes.length
        return [offset, bytes.length]
      }),
    ),
  )
  const parts = [new Uint8Array(Uint32Array.of(text.length).buffer), text, ...strings]
  let checksum = 0
  for (const part of parts) checksum = crc32(part, checksum)
  const header = new Uint8Array(HEADER_BYTES)
  header.set(MAGIC)
  const view = new DataView(header.buffer)
  view.setUint32(8, VERSION, true)
  view.setUint32(12, checksum, true)
  view.setBigUint64(16, BigInt(parts.reduce((sum, part) => sum + part.length, 0)), true)
  const packed = new Blob(parts).stream().pipeThrough(new CompressionStream('gzip'))
  return new Blob([header, await new Response(packed).blob()], { type: 'application/octet-stream' })
}

/** Reads a file. @throws MachineFileError */
export async function unpackMachine(file: Blob): Promise<SavedMachine> {
  const header = new Uint8Array(await file.slice(0, HEADER_BYTES).arrayBuffer())
  if (!isMachineFile(header))
    throw new MachineFileError('browser/not-a-machine', 'the file is no saved machine')
  if (header.length < HEADER_BYTES) throw damaged(`it ends after ${header.length} bytes`)
  const view = new DataView(header.buffer)
  const version = view.getUint32(8, true)
  if (version !== VERSION)
    throw new MachineFileError(
      'browser/machine-version',
      `the saved machine has version ${version} of the format; this page reads version ${VERSION}`,
    )
  const bodyBytes = Number(view.getBigUint64(16, true))
  if (bodyBytes > MAX_BODY_BYTES) throw damaged(`it claims ${bodyBytes} bytes`)
  const body = await gunzip(file.slice(HEADER_BYTES), bodyBytes)
  const checksum = crc32(body)
  const expected = view.getUint32(12, true)
  if (checksum !== expected)
    throw damaged(`its checksum is ${checksum.toString(16)}, not ${expected.toString(16)}`)
  try {
    const textBytes = new DataView(body.buffer, body.byteOffset, body.length).getUint32(0, true)
    if (4 + textBytes > body.length) throw damaged('its text is longer than itself')
    const strings = body.subarray(4 + textBytes)
    const saved = rich(JSON.parse(new TextDecoder().decode(body.subarray(4, 4 + textBytes))), strings, 0)
    return checked(saved as Partial<SavedMachine> | null)
  } catch (cause) {
    if (cause instanceof MachineFileError) throw cause
    throw damaged(`it cannot be read: ${String(cause)}`, cause)
  }
}

function damaged(why: string, cause?: unknown): MachineFileError {
  return new MachineFileError('browser/machine-damaged', `the saved machine is damaged: ${why}`, { cause })
}

async function gunzip(packed: Blob, expectedBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array<ArrayBuffer>[] = []
  let doneBytes = 0
  const reader = packed.stream().pipeThrough(new DecompressionStream('gzip')).getReader()
  for (;;) {
    const { done, value } = await reader.read().catch((cause) => {
      throw damaged(`it cannot be unpacked: ${String(cause)}`, cause)
    })
    if (done) break
    doneBytes += value.length
    if (doneBytes > expectedBytes) {
      void reader.cancel()
      throw damaged(`it unpacks to more than the ${expectedBytes} bytes that it claims`)
    }
    pieces.push(value as Uint8Array<ArrayBuffer>)
  }
  if (doneBytes < expectedBytes) throw damaged(`it ends after ${doneBytes} of ${expectedBytes} bytes`)
  return new Uint8Array(await new Blob(pieces).arrayBuffer())
}

/** The value in words of JSON. @param put - stores a byte string, answers its place */
function plain(value: unknown, put: (bytes: Uint8Array) => [offset: number, length: number]): unknown {
  if (typeof value === 'bigint') return { $bigint: value.toString() }
  if (typeof value === 'number') return Number.isFinite(value) ? value : { $number: String(value) }
  if (value instanceof Uint8Array) return { $bytes: put(value) }
  if (Array.isArray(value)) return value.map((element) => plain(element, put))
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, plain(member, put)]))
  return value
}

/** The reverse of `plain`. Byte strings are copied, so that each can be given to another thread. */
function rich(value: unknown, strings: Uint8Array, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (depth > MAX_DEPTH) throw damaged(`it is nested more than ${MAX_DEPTH} deep`)
  if (Array.isArray(value)) return value.map((element) => rich(element, strings, depth + 1))
  const { $bigint, $number, $bytes } = value as Record<string, unknown>
  if (typeof $bigint === 'string') return BigInt($bigint)
  if (typeof $number === 'string') return Number($number)
  if (Array.isArray($bytes)) {
    const [offset, length] = $bytes as number[]
    if (!(Number.isInteger(offset) && Number.isInteger(length) && offset! >= 0 && length! >= 0))
      throw damaged('a byte string has no place')
    if (offset! + length! > strings.length) throw damaged('a byte string lies outside of it')
    return strings.slice(offset!, offset! + length!)
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key, rich(member, strings, depth + 1)]),
  )
}

/** As far as this page relies on it; the rest is the machine's to check. */
function checked(saved: Partial<SavedMachine> | null): SavedMachine {
  const { state, terminal, title } = saved ?? {}
  const isState =
    typeof state === 'object' &&
    typeof state.ramBytes === 'number' &&
    Array.isArray(state.ram) &&
    state.ram.every((run) => run?.bytes instanceof Uint8Array) &&
    Array.isArray(state.vcpus) &&
    Array.isArray(state.sections)
  if (!isState || typeof terminal !== 'string' || typeof title !== 'string')
    throw damaged('parts are missing')
  return { state, terminal, title }
}
