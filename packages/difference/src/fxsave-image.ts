/**
 * The FXSAVE image against the registers as CPUs number them: the image holds the x87 registers by their place on the
 * stack, states hold them by their physical number.
 */
import { Fxsave } from './machine-image.ts'

/** Offset of physical register `number` in an image. */
export function stackOffset(view: DataView, number: number): number {
  const top = (view.getUint16(Fxsave.fsw, true) >> 11) & 7
  return Fxsave.st + 16 * ((number - top) & 7)
}

/**
 * The full tag word of an image: 0 valid, 1 zero, 2 special, 3 empty, two bits for each physical register. An image
 * has only whether a register is empty; the rest follows from its contents.
 */
export function fullTagWord(view: DataView): number {
  const abridged = view.getUint8(Fxsave.ftw)
  let tags = 0
  for (let register = 0; register < 8; register++) {
    let tag = 3
    if ((abridged >> register) & 1) {
      const offset = stackOffset(view, register)
      const significand = view.getBigUint64(offset, true)
      const exponent = view.getUint16(offset + 8, true) & 0x7fff
      if (exponent === 0 && significand === 0n) tag = 1
      else tag = exponent === 0 || exponent === 0x7fff || significand >> 63n === 0n ? 2 : 0
    }
    tags |= tag << (2 * register)
  }
  return tags
}

/** The abridged tag byte of a full tag word. */
export function abridgedTags(full: number): number {
  let tags = 0
  for (let register = 0; register < 8; register++)
    if (((full >> (2 * register)) & 3) !== 3) tags |= 1 << register
  return tags
}
