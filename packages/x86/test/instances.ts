/** Instances of a form for tests: a few choices of operands, encoded. */
import { type EncodeOperand, encodeForm, operandShapes } from '../src/isa/encoder.ts'
import { encodingOf } from '../src/isa/encoding.ts'
import type { Form } from '../src/isa/form.ts'

export interface Instance {
  readonly operands: readonly EncodeOperand[]
  readonly bytes: Uint8Array
}

const memories = [
  { base: 0 },
  { base: 4, displacement: 8 },
  { base: 13, index: 12, scale: 3, displacement: -300 },
  { index: 9, scale: 2, displacement: 0x1234 },
  { ripRelative: true, displacement: -0x40 },
  { base: 5, index: 1, segment: 4, addressBits: 32 },
  { displacement: 0x7fff_0000 },
  { base: 12, displacement: 127, segment: 5 },
] as const

/** For forms that 64-bit mode does not have. */
const memories32 = [
  { base: 0 },
  { base: 4, displacement: 8 },
  { base: 5, index: 6, scale: 3, displacement: -300 },
  { index: 1, scale: 2, displacement: 0x1234 },
  { base: 3, index: 6, displacement: -0x40, addressBits: 16 },
  { base: 5, index: 1, segment: 4 },
  { displacement: 0x7fff_0000 },
  { base: 5, displacement: 5, segment: 0, addressBits: 16 },
] as const

/** Kind of code that the instances of a form are for. */
export const modeOf = (form: Form): 64 | 32 => (form.options.mode === 'no64' ? 32 : 64)

/** Registers and memory in turn, low and high numbers, immediates positive and negative. */
export function instancesOf(form: Form): Instance[] {
  const instances: Instance[] = []
  const shapes = operandShapes(form)
  for (let variant = 0; variant < 16; variant++) {
    const operands = shapes.map((shape, index): EncodeOperand => {
      if (shape.role === 'implicit') return undefined
      if (shape.role === 'relative') return BigInt(variant * 5 - 20)
      if (shape.role === 'immediate') {
        const signed = encodingOf(form).immediates.some(
          (immediate) => immediate.operand === index && immediate.signed,
        )
        return signed && variant & 2 ? BigInt(-1 - variant) : BigInt(variant * 7 + 1)
      }
      if (shape.role === 'moffs') return { displacement: 0x1122_3344_5566_7788n + BigInt(variant) }
      const long = modeOf(form) === 64
      if (shape.memory && (variant & 1 || !shape.register))
        return (long ? memories : memories32)[variant >> 1]!
      const number =
        (variant * 3 + index * 5) % Math.min(shape.registerCount, long ? 16 : shape.bits === 8 ? 4 : 8)
      if (shape.register === 'control') return [0, 2, 3, 4, 8][variant % (long ? 5 : 4)]!
      if (shape.register === 'segment') return index === 0 && number === 1 ? 3 : number
      return number
    })
    // XCHG with the accumulator itself is NOP.
    if (encodingOf(form).opcode === 0x90 && shapes.length === 2 && Number(operands[1]) === 0) continue
    instances.push({ operands, bytes: encodeForm(form, operands) })
  }
  return instances
}
