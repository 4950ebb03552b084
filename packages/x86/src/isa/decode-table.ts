/**
 * Decoding tables: for each opcode, mandatory prefix, part of ModRM and operand size the form that it means.
 *
 * One table per CPU mode. `slots[map << 8 | opcode]` names a run of cells and how it is indexed: by nothing more, by
 * (mod = 11, ModRM.reg), or by (ModRM.reg in memory, whole ModRM byte in registers). A cell is found at
 * `(class * subcells + sub) * 3 + size`, where class is the mandatory prefix (none, 66, F3, F2) and size the effective
 * operand size. Where several forms fit a cell, the one that demands most wins; where none demands the size of the
 * cell, the form of the nearest size is taken, as processors do (`IN EAX, DX` with REX.W). About 700 slots.
 */
import { type Encoding, encodingOf, FormError, SizeBit } from './encoding.ts'
import type { Feature, Form, OperandKind } from './form.ts'
import { segmentNumber } from './operands.ts'

/** How a slot's cells are indexed: the low two bits of an entry of `slots`. */
export const SlotKind = { opcode: 0, any: 1, digit: 2, modrm: 3 } as const
/** Cells per prefix class and operand size, by SlotKind. */
export const subcells: readonly number[] = [1, 1, 16, 72]
/** The slot of 90 with REX.B, which is XCHG and not NOP. */
export const XCHG_SLOT: number = 4 << 8
/** VEX maps come after: 0F, 0F 38, 0F 3A with L = 0 at `(VEX_MAPS + map) << 8`, with L = 1 three maps further. */
export const VEX_MAPS = 4
const SLOTS = (VEX_MAPS + 7) << 8

/** What the decoder must know of a form: bits of `FormTable.flags`. */
export const FormFlag = {
  modrm: 1,
  /** ModRM.mod is ignored: always registers. */
  registersOnly: 2,
  lock: 4,
  string: 8,
  moffs: 0x10,
  immediate: 0x20,
  default64: 0x40,
  /** Some operand is a register that the encoding names, or an implicit one. */
  registers: 0x80,
  /** VEX.vvvv is an operand. */
  vvvv: 0x100,
} as const

/** How the number of a register operand is found: values of `FormTable.operands`. From `implicit` on it is a constant. */
export const RegisterCode = {
  none: 0,
  rm: 1,
  reg: 2,
  opcode: 3,
  rm8: 4,
  reg8: 5,
  opcode8: 6,
  rmLow: 7,
  regLow: 8,
  segment: 9,
  control: 10,
  debug: 11,
  vvvv: 12,
  implicit: 32,
} as const

/** Two forms that claim the same encoding without a condition that tells them apart. */
export interface Conflict {
  readonly first: Form
  readonly second: Form
}

/** Facts of forms in flat arrays, indexed by the form's number. */
export class FormTable {
  readonly forms: readonly Form[]
  readonly encodings: readonly Encoding[]
  readonly flags: Uint16Array
  /** Four `RegisterCode`s per form. */
  readonly operands: Uint8Array
  /** First immediate: bytes, 0x10 if sign-extended, 0x20 truncated to 32, 0x40 to 16, 0x80 to 8 bits. */
  readonly immediate: Uint8Array
  /** Bytes of the second immediate. */
  readonly immediate2: Uint8Array
  /** Bytes of the relative displacement. */
  readonly relative: Uint8Array
  /** Demanded address size, or 0. */
  readonly addressBits: Uint8Array

  constructor(forms: readonly Form[]) {
    const count = forms.length
    this.forms = forms
    this.encodings = forms.map(encodingOf)
    this.flags = new Uint16Array(count)
    this.operands = new Uint8Array(count * 4)
    this.immediate = new Uint8Array(count)
    this.immediate2 = new Uint8Array(count)
    this.relative = new Uint8Array(count)
    this.addressBits = new Uint8Array(count)
    for (let index = 0; index < count; index++) this.#fill(index)
  }

  #fill(index: number): void {
    const form = this.forms[index]!
    const encoding = this.encodings[index]!
    let flags = 0
    if (encoding.modrm) flags |= FormFlag.modrm
    if (encoding.mod === 'ignored') flags |= FormFlag.registersOnly
    if (form.options.lock) flags |= FormFlag.lock
    if (form.options.string) flags |= FormFlag.string
    if (encoding.moffs) flags |= FormFlag.moffs
    if (encoding.default64) flags |= FormFlag.default64
    if (form.operands.length > 4) throw new FormError(form, 'more than four operands')
    form.operands.forEach((kind, operand) => {
      const code = registerCode(kind, encoding.roles[operand]!)
      this.operands[index * 4 + operand] = code
      if (code !== RegisterCode.none) flags |= FormFlag.registers
    })
    const [first, second] = encoding.immediates
    if (first) {
      flags |= FormFlag.immediate
      const truncate =
        first.truncateBits === 32
          ? 0x20
          : first.truncateBits === 16
            ? 0x40
            : first.truncateBits === 8
              ? 0x80
              : 0
      this.immediate[index] = first.bytes | (first.signed ? 0x10 : 0) | truncate
    }
    if (second) this.immediate2[index] = second.bytes
    this.relative[index] = encoding.relativeBytes
    this.addressBits[index] = encoding.addressBits
    if (encoding.vex && encoding.vex.vvvv >= 0) flags |= FormFlag.vvvv
    this.flags[index] = flags
  }
}

function registerCode(kind: OperandKind, role: Encoding['roles'][number]): number {
  switch (kind) {
    case 'CR':
      return RegisterCode.control
    case 'DR':
      return RegisterCode.debug
    case 'Sreg':
      return RegisterCode.segment
    case 'AL':
    case 'AX':
    case 'EAX':
    case 'RAX':
    case 'ST(0)':
      return RegisterCode.implicit
    case 'CL':
      return RegisterCode.implicit + 1
    case 'DX':
      return RegisterCode.implicit + 2
    case 'ES':
    case 'CS':
    case 'SS':
    case 'DS':
    case 'FS':
    case 'GS':
      return RegisterCode.implicit + segmentNumber(kind)
  }
  if (role === 'vvvv') return RegisterCode.vvvv
  const low = kind === 'ST(i)' || kind === 'mm' || kind.startsWith('mm/')
  const byte = kind === 'r8' || kind === 'r/m8'
  if (role === 'rm') return low ? RegisterCode.rmLow : byte ? RegisterCode.rm8 : RegisterCode.rm
  if (role === 'reg') return low ? RegisterCode.regLow : byte ? RegisterCode.reg8 : RegisterCode.reg
  if (role === 'opcode') return byte ? RegisterCode.opcode8 : RegisterCode.opcode
  return RegisterCode.none
}

/** The opcode tables of one mode. */
export class DecodeTable {
  /** By `map << 8 | opcode`: first cell << 2 | SlotKind, or -1. */
  readonly slots: Int32Array = new Int32Array(SLOTS).fill(-1)
  /** Form numbers, -1 for none. */
  readonly cells: Int16Array
  /** A form to try when the address size is not that which this form demands, or -1. */
  readonly otherwise: Int16Array
  readonly conflicts: readonly Conflict[]

  /**
   * @param mode - 64, or 32 for both 32 and 16 bits
   * @param features - forms of other features are left out; absent: every form is in
   */
  constructor(table: FormTable, mode: 64 | 32, features?: ReadonlySet<Feature>) {
    const { forms, encodings } = table
    const conflicts = new Map<string, Conflict>()
    this.otherwise = new Int16Array(forms.length).fill(-1)

    // How each slot is indexed.
    const kinds = new Int8Array(SLOTS).fill(-1)
    const chosen: number[] = []
    for (let index = 0; index < forms.length; index++) {
      const { options } = forms[index]!
      const encoding = encodings[index]!
      if (features && !features.has(options.feature ?? 'base')) continue
      if (options.mode === (mode === 64 ? 'no64' : 'only64')) continue
      if (mode !== 64 && (encoding.w || encoding.default64)) continue
      chosen.push(index)
      const kind = slotKind(encoding)
      for (const place of placesOf(encoding)) {
        const known = kinds[place]!
        if (known >= 0 && (known === SlotKind.opcode) !== (kind === SlotKind.opcode))
          throw new FormError(forms[index]!, 'another form of this opcode has ModRM, or has none')
        kinds[place] = Math.max(known, kind)
      }
    }
    let size = 0
    for (let slot = 0; slot < kinds.length; slot++) {
      if (kinds[slot]! < 0) continue
      this.slots[slot] = (size << 2) | kinds[slot]!
      size += subcells[kinds[slot]!]! * 12
    }
    this.cells = new Int16Array(size).fill(-1)
    const scores = new Int16Array(size)

    const put = (cell: number, index: number, score: number): void => {
      const other = this.cells[cell]!
      if (other < 0 || score > scores[cell]!) {
        if (other >= 0 && encodings[index]!.addressBits !== 0 && other !== index) this.#chain(index, other)
        this.cells[cell] = index
        scores[cell] = score
      } else if (other !== index && encodings[other]!.addressBits !== encodings[index]!.addressBits) {
        if (encodings[other]!.addressBits !== 0) this.#chain(other, index)
      } else if (score === scores[cell] && score >= DIRECT)
        conflicts.set(`${other} ${index}`, { first: forms[other]!, second: forms[index]! })
    }
    for (const index of chosen) {
      const encoding = encodings[index]!
      for (const place of placesOf(encoding)) {
        fillSlot(this.slots[place]!, encoding, index, put)
      }
    }
    this.conflicts = [...conflicts.values()]
  }

  #chain(index: number, next: number): void {
    let last = index
    while (this.otherwise[last]! >= 0) {
      if (this.otherwise[last] === next) return
      last = this.otherwise[last]!
    }
    if (last !== next) this.otherwise[last] = next
  }
}

/** How much of ModRM tells this encoding from others. */
function slotKind({ modrm, rmDigit, digit, mod }: Encoding): number {
  if (!modrm) return SlotKind.opcode
  if (rmDigit >= 0) return SlotKind.modrm
  return digit >= 0 || mod === 'memory' || mod === 'register' ? SlotKind.digit : SlotKind.any
}

/** The slots of an encoding. */
function placesOf(encoding: Encoding): number[] {
  const { map, opcode, vex } = encoding
  if (vex) {
    const narrow = ((VEX_MAPS + map) << 8) | opcode
    const wide = narrow + (3 << 8)
    return vex.vectorBits === 'any' ? [narrow, wide] : [vex.vectorBits === 128 ? narrow : wide]
  }
  const first = (map << 8) | opcode
  if (!encoding.opcodeRegister) return [first]
  return Array.from({ length: 8 }, (_, register) =>
    first + register === 0x90 ? XCHG_SLOT : first + register,
  )
}

/** Scores at and above this are of forms that fit their cell; below are forms of another operand size. */
const DIRECT = 1000

const prefixClass: Readonly<Record<string, number>> = { NP: 0, '66': 1, F3: 2, F2: 3 }

/** Offers a form to every cell of a slot that it may fill. */
function fillSlot(
  entry: number,
  encoding: Encoding,
  index: number,
  put: (cell: number, index: number, score: number) => void,
): void {
  const kind = entry & 3
  const base = entry >> 2
  const count = subcells[kind]!
  const { prefix, digit, rmDigit, mod, sizes } = encoding
  const onlyClass = prefixClass[prefix]
  const prefixRank = onlyClass !== undefined ? 2 : prefix === 'NFx' ? 1 : 0
  const modRank = rmDigit >= 0 ? 4 : (digit >= 0 ? 2 : 0) + (mod === 'any' ? 0 : 1)
  const rank = prefixRank * 100 + modRank * 10 + (encoding.addressBits !== 0 ? 5 : 0)
  const scores = [0, 1, 2].map((size) => {
    if (sizes === 0) return DIRECT + rank + 1
    if ((sizes >> size) & 1) return DIRECT + rank + 2
    const nearness = sizeNearness(encoding, size)
    return nearness > 0 ? rank + nearness : 0
  })
  for (let sub = 0; sub < count; sub++) {
    if (kind >= SlotKind.digit) {
      const register = sub >= 8
      const reg = kind === SlotKind.digit || !register ? sub & 7 : ((sub - 8) >> 3) & 7
      if (digit >= 0 && reg !== digit) continue
      if (mod === 'register' && !register) continue
      if (mod === 'memory' && register) continue
      if (rmDigit >= 0 && ((sub - 8) & 7) !== rmDigit) continue
    }
    for (let prefixes = 0; prefixes < 4; prefixes++) {
      if (onlyClass !== undefined ? prefixes !== onlyClass : prefix === 'NFx' && prefixes >= 2) continue
      const cell = base + (prefixes * count + sub) * 3
      for (let size = 0; size < 3; size++) if (scores[size]! > 0) put(cell + size, index, scores[size]!)
    }
  }
}

/** How well a form stands in for a size that it does not demand: 0 not at all. */
function sizeNearness(encoding: Encoding, size: number): number {
  if (encoding.w || encoding.vex || encoding.explicitSize === 16) return 0
  const { sizes } = encoding
  if (size === 2) return sizes & SizeBit.bits32 ? 2 : 1
  if (encoding.explicitSize === 32) return 0
  if (size === 1) return sizes & SizeBit.bits16 ? 2 : 1
  return sizes & SizeBit.bits32 ? 2 : 1
}
