/** A random start state: what a case needs of it is set afterwards. */
import { Fxsave, MachineImage, WINDOW_MIDDLE } from './machine-image.ts'
import type { Random } from './random.ts'
import { doubleBits, extendedValue, integerValue, singleBits } from './values.ts'

const ARITHMETIC_BITS = [0x1, 0x4, 0x10, 0x40, 0x80, 0x800]

/** Which parts of the state matter to what is tested; the others get plain values. */
export interface StateUse {
  readonly x87: boolean
  readonly vector: boolean
  /** DF may be set. */
  readonly direction: boolean
  /**
   * `sticky`: MXCSR says round to nearest, no flushing, all masked, all flags set already. `any`: anything.
   */
  readonly mxcsr: 'sticky' | 'any'
}

export function randomState(random: Random, use: StateUse): MachineImage {
  const image = new MachineImage()
  for (let register = 0; register < 16; register++) image.setGpr(register, integerValue(random, 64))
  // Most of the stack lies in the middle of the window, aligned as programs have it.
  image.setGpr(
    4,
    WINDOW_MIDDLE - 256n + BigInt(16 * random.below(24) + (random.once(4) ? random.below(16) : 0)),
  )
  let rflags = 0x202
  for (const bit of ARITHMETIC_BITS) if (random.once(2)) rflags |= bit
  if (use.direction && random.once(4)) rflags |= 0x400
  image.rflags = rflags

  const { fxsaveView: view, memory } = image
  view.setUint16(Fxsave.fcw, 0x37f, true)
  view.setUint32(Fxsave.mxcsr, 0x1f80, true)
  if (use.x87) randomX87(random, image)
  if (use.vector) {
    for (let register = 0; register < 16; register++) randomLanes(random, view, Fxsave.xmm + 16 * register)
    if (use.mxcsr === 'sticky') view.setUint32(Fxsave.mxcsr, 0x1fbf, true)
    else if (random.once(2)) {
      // Rounding, flush to zero, denormals are zeros, sticky flags; now and then an exception is not masked.
      let mxcsr = 0x1f80 | (random.below(4) << 13) | random.below(64)
      if (random.once(4)) mxcsr |= 0x8000
      if (random.once(4)) mxcsr |= 0x40
      if (random.once(6)) mxcsr &= ~(0x80 << random.below(6))
      view.setUint32(Fxsave.mxcsr, mxcsr, true)
    }
  }
  const words = new DataView(memory.buffer, memory.byteOffset, memory.length)
  const lanes = use.vector || use.x87
  for (let offset = 0; offset < memory.length; offset += 16) {
    if (lanes && random.once(2)) randomLanes(random, words, offset)
    else
      for (let half = 0; half < 16; half += 8)
        words.setBigUint64(offset + half, integerValue(random, 64), true)
  }
  return image
}

/** 16 bytes as f32, f64 or integer lanes. */
export function randomLanes(random: Random, view: DataView, offset: number): void {
  switch (random.below(4)) {
    case 0:
      for (let lane = 0; lane < 4; lane++) view.setUint32(offset + 4 * lane, singleBits(random), true)
      break
    case 1:
      for (let lane = 0; lane < 2; lane++) view.setBigUint64(offset + 8 * lane, doubleBits(random), true)
      break
    case 2: {
      const bits = random.pick([8, 16, 32, 64])
      for (let at = 0; at < 128; at += bits) {
        const value = integerValue(random, bits)
        for (let byte = 0; byte < bits / 8; byte++)
          view.setUint8(offset + at / 8 + byte, Number((value >> BigInt(8 * byte)) & 0xffn))
      }
      break
    }
    default:
      for (let lane = 0; lane < 4; lane++) view.setUint32(offset + 4 * lane, random.u32(), true)
  }
}

function randomX87(random: Random, image: MachineImage): void {
  const view = image.fxsaveView
  let control = 0x37f
  if (random.once(2)) control = 0x7f | (random.pick([0, 2, 3, 3]) << 8) | (random.below(4) << 10)
  if (random.once(6)) control &= ~(1 << random.below(6))
  let status = random.below(8) << 11
  if (random.once(2)) status |= random.below(8) << 8
  if (random.once(2)) status |= random.below(2) << 14
  if (random.once(4)) status |= random.below(128)
  // ES and B follow from pending exceptions that are not masked: mostly there are none.
  if (status & ~control & 0x3f) {
    if (random.once(4)) status |= 0x8080
    else status &= ~(~control & 0x3f)
  }
  view.setUint16(Fxsave.fcw, control, true)
  view.setUint16(Fxsave.fsw, status, true)
  // Mostly full, so that few cases are stack underflows.
  let tags = 0xff
  if (random.once(2))
    for (let register = 0; register < 8; register++) if (random.once(5)) tags &= ~(1 << register)
  view.setUint8(Fxsave.ftw, tags)
  for (let register = 0; register < 8; register++) {
    const { significand, exponent } = extendedValue(random)
    view.setBigUint64(Fxsave.st + 16 * register, significand, true)
    view.setUint16(Fxsave.st + 16 * register + 8, exponent, true)
  }
}
