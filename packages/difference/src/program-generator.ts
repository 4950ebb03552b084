/**
 * Random programs: a few instructions one after another, with forward branches over some of them. They compare what
 * single instructions cannot: flags that one instruction makes and another uses, registers that pass from one to the
 * next, and how an engine puts instructions together. Memory operands are absolute or relative to RIP, so that no
 * register has to keep an address.
 */
import {
  createDecoder,
  Decoded,
  type Decoder,
  EncodeError,
  type EncodeOperand,
  encodeForm,
  encodingOf,
  type Form,
  type MemoryOperand,
  operandShapes,
} from '@trapframe/x86'
import type { Case } from './engine.ts'
import { explanations } from './explanation.ts'
import { CODE_BASE, MAX_CODE_BYTES, WINDOW_MIDDLE } from './machine-image.ts'
import { Random } from './random.ts'
import { randomState } from './start-state.ts'
import { isTestable } from './testable.ts'
import { integerValue } from './values.ts'

const AF = 0x10
const RSP = 4
/** Uses of AF, which logic leaves undefined; and forms that use registers or memory in ways of their own. */
const unsuited =
  /^(LAHF|PUSHFQ?|POPFQ?|ENTER|LEAVE|XLATB|MASKMOV.*|I?DIV|J.*|CALL|RET|LOOP.*|UD.|FX.*|X(SAVE|RSTOR).*|F?N?STENV|FLDENV|F?N?SAVE|FRSTOR|FLDCW|LDMXCSR|CMPXCHG(8|16)B|BT[SRC]?)$/

/** What programs may contain. */
export interface ProgramOptions {
  /** What MXCSR holds; see `GeneratorOptions`. Default: `any`. */
  readonly mxcsr?: 'sticky' | 'any'
}

/** Makes programs; the same for the same seed. */
export class ProgramGenerator {
  readonly #forms: readonly Form[]
  readonly #branches: readonly Form[]
  readonly #decoder: Decoder
  readonly #decoded = new Decoded()
  readonly #all: readonly Form[]
  readonly #options: ProgramOptions

  /** @param features - forms of other features are not used */
  constructor(forms: readonly Form[], features?: ReadonlySet<string>, options: ProgramOptions = {}) {
    const known = forms.filter(
      (form) => isTestable(form) && (!features || features.has(form.options.feature ?? 'base')),
    )
    const differing = (form: Form): boolean =>
      explanations.some(({ mnemonics }) => mnemonics?.test(form.mnemonic))
    this.#all = forms
    this.#forms = known.filter(
      (form) =>
        !unsuited.test(form.mnemonic) &&
        !form.options.string &&
        ((form.options.undefinedFlags ?? 0) & ~AF) === 0 &&
        !differing(form),
    )
    this.#branches = known.filter((form) => /^J[A-Z]+ rel8$/.test(form.text))
    this.#decoder = createDecoder(forms)
    this.#options = options
  }

  /** `count` programs as cases. */
  programs(count: number, seed: number): Case[] {
    const random = new Random(seed)
    return Array.from({ length: count }, () => this.#program(random))
  }

  #program(random: Random): Case {
    const start = randomState(random, {
      x87: true,
      vector: true,
      direction: false,
      mxcsr: this.#options.mxcsr ?? 'any',
    })
    start.setGpr(RSP, WINDOW_MIDDLE - 64n + BigInt(16 * random.below(8)))
    start.rip = CODE_BASE + 0x100n + BigInt(random.below(0xd00))
    const bytes: number[] = []
    let undefinedFlags = 0
    const length = 2 + random.below(9)
    for (let made = 0; made < length; ) {
      const form = random.pick(this.#forms)
      const instruction = this.#instruction(form, random, start.rip + BigInt(bytes.length))
      if (!instruction) continue
      const branch = random.once(5)
        ? encodeForm(random.pick(this.#branches), [BigInt(instruction.length)])
        : []
      if (branch.length > 0) {
        // Encoded again behind the branch: it may be relative to RIP.
        const moved = this.#instruction(form, random, start.rip + BigInt(bytes.length + branch.length))
        if (!moved || moved.length !== instruction.length) continue
        if (bytes.length + branch.length + moved.length > MAX_CODE_BYTES) break
        bytes.push(...branch, ...moved)
      } else {
        if (bytes.length + instruction.length > MAX_CODE_BYTES) break
        bytes.push(...instruction)
      }
      undefinedFlags |= form.options.undefinedFlags ?? 0
      made++
    }
    start.code = Uint8Array.from(bytes)
    return { start, label: 'program', ...(undefinedFlags ? { undefinedFlags } : {}) }
  }

  /** One instruction at `rip`, or undefined when these operands do not encode it. */
  #instruction(form: Form, random: Random, rip: bigint): Uint8Array | undefined {
    const encoding = encodingOf(form)
    let relative: { place: number; target: bigint; operand: MemoryOperand } | undefined
    const operands: EncodeOperand[] = operandShapes(form).map((shape, index) => {
      if (shape.role === 'immediate') {
        const immediate = encoding.immediates.find((one) => one.operand === index)!
        const bits = immediate.bytes * 8
        const value = integerValue(random, bits)
        return immediate.signed ? BigInt.asIntN(bits, value) : value
      }
      if (shape.role === 'implicit') return undefined
      const mustBeMemory = shape.memory && !shape.register
      if (shape.memory && encoding.mod !== 'register' && (mustBeMemory || random.once(2))) {
        const sizeBytes = Math.max(1, shape.memoryBits / 8)
        // Aligned, so that vectors do not fault; near the middle, so that what one stores another loads.
        const target =
          WINDOW_MIDDLE - 64n + BigInt(16 * random.below(8) + (sizeBytes < 16 ? random.below(16) : 0))
        if (shape.role === 'moffs') return { displacement: target }
        if (random.once(2)) return { displacement: target }
        const operand: MemoryOperand = { ripRelative: true }
        relative = { place: index, target, operand }
        return operand
      }
      const register = random.below(shape.registerCount)
      return shape.register === 'general' && register === RSP ? 0 : register
    })
    try {
      let bytes = encodeForm(form, operands)
      if (relative) {
        operands[relative.place] = {
          ripRelative: true,
          displacement: relative.target - rip - BigInt(bytes.length),
        }
        bytes = encodeForm(form, operands)
      }
      const length = this.#decoder.decode(bytes, 0, bytes.length, 64, this.#decoded)
      return length === bytes.length && this.#all[this.#decoded.form] === form ? bytes : undefined
    } catch (error) {
      if (error instanceof EncodeError) return undefined
      throw error
    }
  }
}
