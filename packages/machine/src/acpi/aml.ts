/**
 * ACPI Machine Language, as far as a description of fixed hardware needs it: named constants, strings, packages,
 * devices, scopes and resource templates. Terms are byte arrays, composed by functions.
 *
 * ACPI 6.4, sections 20.2 (AML grammar) and 6.4 (resource data types). No methods, no operation regions: nothing here is
 * executed by the guest, so nothing can go wrong in its interpreter.
 */

/** Encoded AML: one or more terms. */
export type Aml = Uint8Array

const ZERO_OP = 0x00
const ONE_OP = 0x01
const NAME_OP = 0x08
const BYTE_PREFIX = 0x0a
const WORD_PREFIX = 0x0b
const DWORD_PREFIX = 0x0c
const STRING_PREFIX = 0x0d
const QWORD_PREFIX = 0x0e
const SCOPE_OP = 0x10
const BUFFER_OP = 0x11
const PACKAGE_OP = 0x12
const DUAL_NAME_PREFIX = 0x2e
const MULTI_NAME_PREFIX = 0x2f
const EXT_OP = 0x5b
const DEVICE_OP = 0x82

/** Puts terms one behind the other. */
export function concat(...terms: readonly Uint8Array[]): Aml {
  const bytes = new Uint8Array(terms.reduce((sum, term) => sum + term.length, 0))
  let at = 0
  for (const term of terms) {
    bytes.set(term, at)
    at += term.length
  }
  return bytes
}

/** An integer constant in its shortest form. `value` is an unsigned 64-bit integer. */
export function integer(value: number | bigint): Aml {
  const big = BigInt(value)
  if (big < 0n || big >= 1n << 64n) throw new RangeError(`AML integer ${value} has no 64-bit form`)
  if (big === 0n) return Uint8Array.of(ZERO_OP)
  if (big === 1n) return Uint8Array.of(ONE_OP)
  if (big < 1n << 8n) return Uint8Array.of(BYTE_PREFIX, Number(big))
  const [prefix, sizeBytes] =
    big < 1n << 16n ? [WORD_PREFIX, 2] : big < 1n << 32n ? [DWORD_PREFIX, 4] : [QWORD_PREFIX, 8]
  const bytes = new Uint8Array(1 + sizeBytes)
  bytes[0] = prefix
  for (let n = 0; n < sizeBytes; n++) bytes[1 + n] = Number((big >> BigInt(8 * n)) & 0xffn)
  return bytes
}

/** A string constant of ASCII characters. */
export function string(text: string): Aml {
  if (!/^[\x20-\x7e]*$/.test(text)) throw new RangeError(`AML string "${text}" is not ASCII`)
  return concat(Uint8Array.of(STRING_PREFIX), new TextEncoder().encode(text), Uint8Array.of(0))
}

/**
 * The compressed form of a seven-character PNP id such as `PNP0501`: three letters of five bits each, four hexadecimal
 * digits, stored big endian in a DWORD (ACPI 19.3.4, EISAID).
 */
export function eisaId(id: string): Aml {
  if (!/^[A-Z]{3}[0-9A-F]{4}$/.test(id)) throw new RangeError(`"${id}" is no PNP id`)
  const letter = (n: number): number => id.charCodeAt(n) - 0x40
  const vendor = (letter(0) << 10) | (letter(1) << 5) | letter(2)
  const product = Number.parseInt(id.slice(3), 16)
  return Uint8Array.of(DWORD_PREFIX, vendor >> 8, vendor & 0xff, product >> 8, product & 0xff)
}

/** A name path such as `_HID`, `\_SB_` or `\_SB_.COM1`; segments have exactly four characters. */
export function namePath(path: string): Aml {
  const root = path.startsWith('\\')
  const segments = path.slice(root ? 1 : 0).split('.')
  for (const segment of segments)
    if (!/^[A-Z_][A-Z0-9_]{3}$/.test(segment)) throw new RangeError(`"${path}" is no AML name path`)
  const prefix =
    segments.length === 1
      ? []
      : segments.length === 2
        ? [DUAL_NAME_PREFIX]
        : [MULTI_NAME_PREFIX, segments.length]
  return concat(
    Uint8Array.from(root ? [0x5c, ...prefix] : prefix),
    ...segments.map((segment) => new TextEncoder().encode(segment)),
  )
}

/** `Name (path, value)`. */
export function name(path: string, value: Aml): Aml {
  return concat(Uint8Array.of(NAME_OP), namePath(path), value)
}

/** `Scope (path) { … }`. */
export function scope(path: string, ...terms: readonly Aml[]): Aml {
  return withLength(Uint8Array.of(SCOPE_OP), concat(namePath(path), ...terms))
}

/** `Device (path) { … }`. */
export function device(path: string, ...terms: readonly Aml[]): Aml {
  return withLength(Uint8Array.of(EXT_OP, DEVICE_OP), concat(namePath(path), ...terms))
}

/** `Package () { … }` of at most 255 elements. */
export function packageOf(...elements: readonly Aml[]): Aml {
  if (elements.length > 255) throw new RangeError(`AML package of ${elements.length} elements`)
  return withLength(Uint8Array.of(PACKAGE_OP), concat(Uint8Array.of(elements.length), ...elements))
}

/** `Buffer () { … }`. */
export function buffer(bytes: Uint8Array): Aml {
  return withLength(Uint8Array.of(BUFFER_OP), concat(integer(bytes.length), bytes))
}

/** Resource descriptors as a `ResourceTemplate`: with end tag, in a buffer. The checksum 0 means "not checked". */
export function resourceTemplate(...descriptors: readonly Uint8Array[]): Aml {
  return buffer(concat(...descriptors, Uint8Array.of(0x79, 0)))
}

/** I/O ports `base` to `base + length - 1`, all 16 address bits decoded (6.4.2.5). */
export function ioPorts(base: number, length: number): Uint8Array {
  return Uint8Array.of(0x47, 1, base & 0xff, base >> 8, base & 0xff, base >> 8, 1, length)
}

/** An ISA interrupt: edge-triggered, active high, not shared (6.4.2.1, the two-byte form). */
export function irq(number: number): Uint8Array {
  const mask = 1 << number
  return Uint8Array.of(0x22, mask & 0xff, mask >> 8)
}

/** A fixed range of memory addresses (6.4.3.4). */
export function memory32(base: number, sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(12)
  const view = new DataView(bytes.buffer)
  bytes[0] = 0x86
  view.setUint16(1, 9, true)
  bytes[3] = 1 // read and write
  view.setUint32(4, base, true)
  view.setUint32(8, sizeBytes, true)
  return bytes
}

/** `op`, the package length of itself and what follows, and the contents (20.2.4). */
function withLength(op: Uint8Array, contents: Uint8Array): Aml {
  for (let lengthBytes = 1; lengthBytes <= 4; lengthBytes++) {
    const total = contents.length + lengthBytes
    if (lengthBytes === 1) {
      if (total < 1 << 6) return concat(op, Uint8Array.of(total), contents)
      continue
    }
    if (total >= 1 << (4 + 8 * (lengthBytes - 1))) continue
    const length = new Uint8Array(lengthBytes)
    length[0] = ((lengthBytes - 1) << 6) | (total & 0xf)
    for (let n = 1; n < lengthBytes; n++) length[n] = (total >> (4 + 8 * (n - 1))) & 0xff
    return concat(op, length, contents)
  }
  throw new RangeError(`AML package of ${contents.length} bytes`)
}
