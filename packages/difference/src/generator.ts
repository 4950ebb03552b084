/**
 * Cases for a form: each way in which its operands can be given, with boundary and random values, memory operands at
 * and across the boundaries of the window. Instances whose encoding means another form are left out.
 */
import {
  createDecoder,
  Decoded,
  type Decoder,
  EncodeError,
  type EncodeOperand,
  type EncodeOptions,
  encodeForm,
  encodingOf,
  type Form,
  type MemoryOperand,
  operandShapes,
} from '@trapframe/x86'
import { addressOperand, legacyAddressOperand, targetAddress } from './address.ts'
import type { Case } from './engine.ts'
import { CODE_BASE, type CodeBits, type MachineImage, WINDOW_MIDDLE } from './machine-image.ts'
import { Random } from './random.ts'
import { prepareImplicit, sizeWithoutWidth } from './special-operands.ts'
import { randomState, type StateUse } from './start-state.ts'
import { integerValue } from './values.ts'

const RSP = 4
/** Tries, beyond two for each case that is wanted, before a form is given up as one that cannot be encoded. */
const MAX_TRIES = 40

export interface GeneratorOptions {
  /** What MXCSR holds where instructions compute: see `StateUse`. Default `any`. */
  readonly mxcsr?: 'sticky' | 'any'
  /** Kind of code. Default 64. */
  readonly mode?: CodeBits
}

/** Makes cases; the same for the same seed. */
export class CaseGenerator {
  readonly forms: readonly Form[]
  readonly #options: GeneratorOptions
  readonly #decoder: Decoder
  readonly #decoded = new Decoded()

  constructor(forms: readonly Form[], options: GeneratorOptions = {}) {
    this.forms = forms
    this.#options = options
    this.#decoder = createDecoder(forms)
  }

  /** `count` cases of the form with number `index`; fewer, or none, where its encodings mean other forms. */
  cases(index: number, count: number, seed: number): Case[] {
    const form = this.forms[index]!
    const random = new Random(Math.imul(seed, 0x9e37_79b1) ^ hash(form.text + form.encoding))
    const cases: Case[] = []
    for (let tries = 0; cases.length < count && tries < 2 * count + MAX_TRIES; tries++) {
      const made = this.#tryCase(index, form, random, tries)
      if (made) cases.push(made)
    }
    return cases
  }

  #tryCase(index: number, form: Form, random: Random, round: number): Case | undefined {
    try {
      const { mxcsr = 'any', mode = 64 } = this.#options
      const made = generateCase(form, random, round, mxcsr, mode)
      const { code } = made.start
      const length = this.#decoder.decode(code, 0, code.length, mode, this.#decoded)
      return length === code.length && this.#decoded.form === index ? made : undefined
    } catch (error) {
      if (error instanceof EncodeError) return undefined
      throw error
    }
  }
}

function hash(text: string): number {
  let value = 0x811c_9dc5
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x0100_0193)
  return value
}

/** What parts of the state a form uses. */
function stateUse(form: Form, mxcsr: 'sticky' | 'any'): StateUse {
  const kinds = form.operands.join(' ')
  const x87 = /\bmm|ST\(/.test(kinds) || /^F(?!ENCE)|^XSAVE|^XRSTOR|^EMMS|MASKMOVQ/.test(form.mnemonic)
  const manages = /MXCSR|^FX|^XSAVE|^XRSTOR/.test(form.mnemonic)
  return {
    x87,
    vector: /xmm/.test(kinds) || manages,
    direction: form.options.string === true,
    mxcsr: manages ? 'any' : mxcsr,
  }
}

/** One case. @param round - even: register operands where there is a choice, odd: memory */
function generateCase(
  form: Form,
  random: Random,
  round: number,
  mxcsr: 'sticky' | 'any',
  mode: CodeBits,
): Case {
  const start = randomState(random, stateUse(form, mxcsr))
  start.mode = mode
  const code = CODE_BASE - start.segmentBase
  start.setGpr(RSP, start.gpr(RSP) - start.segmentBase)
  start.rip = code + 0x100n + BigInt(random.below(0xd00))
  const shapes = operandShapes(form)
  const encoding = encodingOf(form)
  const special = prepareImplicit(form, random, start)
  const options: { -readonly [K in keyof EncodeOptions]: EncodeOptions[K] } = { ...special.options, mode }
  const address = mode === 64 ? addressOperand : legacyAddressOperand

  let memory: { operand: MemoryOperand; target: bigint; sizeBytes: number } | undefined
  const operands: EncodeOperand[] = shapes.map((shape, index) => {
    if (shape.role === 'immediate') {
      const immediate = encoding.immediates.find((one) => one.operand === index)!
      const bits = immediate.bytes * 8
      const value = special.immediate?.(index) ?? integerValue(random, bits)
      return immediate.signed ? BigInt.asIntN(bits, value) : value
    }
    if (shape.role === 'relative') return relativeTarget(random, shape.bits)
    if (shape.role === 'implicit') return undefined
    const mustBeMemory = shape.memory && !shape.register
    if (shape.memory && encoding.mod !== 'register' && (mustBeMemory || (round & 1) === 1)) {
      const sizeBytes = shape.memoryBits > 0 ? shape.memoryBits / 8 : sizeWithoutWidth(form)
      const alignment = special.alignment ?? naturalAlignment(sizeBytes)
      const target = inSegment(
        start,
        special.target?.(sizeBytes) ?? targetAddress(random, sizeBytes, alignment),
      )
      const operand: MemoryOperand =
        shape.role === 'moffs'
          ? { displacement: target - start.segmentBase }
          : address(random, start, target, special.reserved)
      memory = { operand, target, sizeBytes }
      return operand
    }
    const bytes = shape.bits === 8 && shape.register === 'general'
    if (bytes && random.once(4)) return 16 + random.below(4)
    return random.below(mode === 64 ? shape.registerCount : Math.min(bytes ? 4 : 8, shape.registerCount))
  })

  if (memory && form.options.lock && shapes[0]!.memory && random.once(3)) options.lock = true
  const encode = (): Uint8Array => encodeForm(form, operands, options)
  if (memory?.operand.ripRelative) {
    const place = operands.indexOf(memory.operand)
    const length = encode().length
    operands[place] = { ...memory.operand, displacement: memory.target - start.rip - BigInt(length) }
  }
  start.code = encode()
  if (random.once(32) && start.code.length > 1) {
    // The end of the instruction lies in the page behind, which is not there.
    start.rip = code + 0x1000n - BigInt(1 + random.below(start.code.length - 1))
  }
  const ignoredMemory = special.finish?.(operands, memory?.target)
  if (mode !== 64)
    for (let register = 0; register < 8; register++)
      start.setGpr(register, BigInt.asUintN(32, start.gpr(register)))
  return {
    start,
    label: form.text,
    form,
    ...(ignoredMemory ? { ignoredMemory } : {}),
    ...(form.options.undefinedFlags ? { undefinedFlags: form.options.undefinedFlags } : {}),
  }
}

/** A target that the segments reach. */
function inSegment(start: MachineImage, target: bigint): bigint {
  if (start.mode === 64) return target
  const limit = start.mode === 16 ? 0xffffn : 0xffff_ffffn
  const offset = target - start.segmentBase
  return offset >= 0n && offset <= limit ? target : WINDOW_MIDDLE
}

/** Accesses up to 16 bytes are aligned as compilers align them in most cases; larger ones as instructions ask for. */
function naturalAlignment(sizeBytes: number): number {
  return sizeBytes >= 16 ? 16 : sizeBytes & -sizeBytes || 1
}

/** Branches stay near: the page of code is full of INT3. Some leave it. */
function relativeTarget(random: Random, bits: number): bigint {
  if (bits === 8) return BigInt(random.below(256) - 128)
  return random.once(8) ? BigInt(random.u32() | 0) : BigInt(random.below(0x200) - 0x100)
}
