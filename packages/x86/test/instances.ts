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
      if (shape.memory && (variant & 1 || !shape.register)) return memories[variant >> 1]!
      const number = (variant * 3 + index * 5) % shape.registerCount
      if (shape.register === 'control') return [0, 2, 3, 4, 8][variant % 5]!
      if (shape.register === 'segment') return index === 0 && number === 1 ? 3 : number
      return number
    })
    // XCHG with the accumulator itself is NOP.
    if (encodingOf(form).opcode === 0x90 && shapes.length === 2 && Number(operands[1]) === 0) continue
    instances.push({ operands, bytes: encodeForm(form, operands) })
  }
  return instances
}
