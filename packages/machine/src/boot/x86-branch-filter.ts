/**
 * The x86 BCJ filter of xz, backwards: absolute CALL and JMP targets become relative again.
 *
 * Packing turns the 32-bit displacement of E8 and E9 into an absolute address, where its top byte is 00 or FF, so that
 * calls of one function look alike. Bytes that look like an opcode but lie within the displacement of another one need
 * care: `pending` has a bit for each of the last three positions that held such an opcode byte.
 */

/** How many of the displacement's low bytes an earlier opcode byte may have touched, by `pending`. */
const TOUCHED_BYTES = Uint8Array.of(0, 1, 2, 2, 3, 3, 3, 3)
/** Whether a displacement is converted at all, by `pending`. */
const CONVERTED = [true, true, true, false, true, false, false, false] as const

/**
 * Undoes the filter in place.
 *
 * @param bytes - a whole block: the filter begins anew with each
 * @param startOffset - address that the filter gave to the block's first byte
 */
export function undoX86Branches(bytes: Uint8Array, startOffset: number): void {
  const end = bytes.length - 4
  let lastOpcode = -5
  let pending = 0
  for (let at = 0; at < end; at++) {
    if ((bytes[at]! & 0xfe) !== 0xe8) continue
    const distance = at - lastOpcode
    lastOpcode = at
    if (distance > 3) {
      pending = 0
    } else {
      pending = (pending << (distance - 1)) & 7
      if (pending !== 0) {
        const touched = bytes[at + 4 - TOUCHED_BYTES[pending]!]!
        if (!CONVERTED[pending] || touched === 0 || touched === 0xff) {
          pending = (pending << 1) | 1
          continue
        }
      }
    }
    const top = bytes[at + 4]!
    if (top !== 0 && top !== 0xff) {
      pending = (pending << 1) | 1
      continue
    }
    const next = (startOffset + at + 5) | 0
    let value = bytes[at + 1]! | (bytes[at + 2]! << 8) | (bytes[at + 3]! << 16) | (top << 24)
    for (;;) {
      const relative = (value - next) | 0
      if (pending === 0) {
        value = relative
        break
      }
      const shift = TOUCHED_BYTES[pending]! * 8
      const byte = (relative >>> (24 - shift)) & 0xff
      if (byte !== 0 && byte !== 0xff) {
        value = relative
        break
      }
      value = relative ^ (2 ** (32 - shift) - 1)
    }
    bytes[at + 1] = value
    bytes[at + 2] = value >>> 8
    bytes[at + 3] = value >>> 16
    bytes[at + 4] = value & 0x01000000 ? 0xff : 0
    at += 4
    // The opcode's own displacement has been skipped; distances count from the opcode.
  }
}
