/**
 * The decoder: bytes in, one flat reused record out. No allocation per instruction; about 0.1 us in V8.
 *
 * Prefix rules (SDM volume 2, chapter 2): the last of F2 and F3 counts and beats 66 as a mandatory prefix; REX counts
 * only directly before the opcode; in 64-bit mode ES, CS, SS and DS overrides mean nothing; 66 does nothing to near
 * branches in 64-bit mode (Intel). Repeat prefixes are reported for string forms only. LOCK is #UD unless the form
 * takes it and its ModRM operand is memory.
 *
 * VEX is decoded in 64-bit mode only.
 *
 * Not here: privilege, CPUID features beyond the set given at creation, faults of fetching.
 */
import {
  DecodeTable,
  FormFlag,
  FormTable,
  RegisterCode,
  SlotKind,
  subcells,
  VEX_MAPS,
  XCHG_SLOT,
} from './decode-table.ts'
import type { Feature, Form } from './form.ts'

/** What `decode` answers instead of a length. */
export const DecodeFailure = {
  /** No such instruction: #UD. */
  invalid: 0,
  /** The bytes end before the instruction does. */
  incomplete: -1,
  /** More than 15 bytes: #GP(0). */
  tooLong: -2,
} as const

/** Values of `Decoded.repeat`. */
export const Repeat = { none: 0, rep: 1, repne: 2 } as const

/** Register numbers 16 to 19 of an 8-bit operand: AH, CH, DH, BH. */
export const HIGH_BYTE = 16

/** An instruction, decoded. One record is used again and again. */
export class Decoded {
  /** Index of the form in `Decoder.forms`. */
  form = 0
  /** Length in bytes. */
  length = 0
  /** 1: the ModRM operand is memory. */
  memory = 0
  /**
   * Register number of each operand, also of those that the form names (AL is 0, DX 2, FS 4); -1 where the operand is
   * not a register. 8-bit registers 16 to 19 are AH, CH, DH, BH. Stale, like immediates, where the form has none.
   */
  readonly registers: Int8Array = new Int8Array(4)
  /** General register, or -1. */
  base = -1
  /** General register, or -1. */
  index = -1
  /** 0 to 3: the index is shifted left by this. */
  scale = 0
  /** 1: the address is displacement + RIP of the next instruction. */
  ripRelative = 0
  /** Signed; the low half of a moffs address. */
  displacement = 0
  /** The high half: sign of `displacement`, or of a moffs64 address its upper 32 bits. */
  displacementHigh = 0
  /** Segment of the memory operand, override or default: DS, or SS with RSP or RBP as base. */
  segment = 3
  /** Segment override that counts, or -1. For implicit addresses (string instructions, XLAT). */
  segmentOverride = -1
  /** 16, 32 or 64. */
  addressBits = 64
  /** Effective operand size: 16, 32 or 64. */
  operandBits = 32
  /** 1: LOCK prefix. */
  lock = 0
  /** `Repeat`; `none` for all but string forms. */
  repeat = 0
  /** Immediate, extended as the form says, cut to the first operand's width, zero-extended to 64 bits: two int32 halves. */
  immediateLow = 0
  immediateHigh = 0
  /** Second immediate, zero-extended (ENTER's imm8, a far pointer's selector). */
  immediate2 = 0
  /** Displacement of rel8, rel16, rel32, sign-extended: the target is the next RIP plus this. */
  relative = 0
}

/** Finds the form of an instruction. Made by `createDecoder`; holds no state between calls. */
export interface Decoder {
  readonly forms: readonly Form[]
  /**
   * Decodes the instruction at `offset`.
   * @param available - bytes that may be looked at, from `offset`
   * @returns its length in bytes (`out` is filled), or a `DecodeFailure`
   */
  decode(bytes: Uint8Array, offset: number, available: number, mode: 64 | 32 | 16, out: Decoded): number
}

/**
 * Makes a decoder of forms. @param options - `features`: forms of other CPUID features are invalid; absent: all forms
 * @throws FormError when a row does not follow the notation
 */
export function createDecoder(
  forms: readonly Form[],
  options: { readonly features?: ReadonlySet<Feature> } = {},
): Decoder {
  return new TableDecoder(forms, options.features)
}

const MAX_LENGTH = 15
/** Most bytes that `decode` may look at: 15 prefix and opcode bytes, ModRM, SIB, displacement, immediates. */
const WINDOW = 32

const Prefix = { none: 0, rex: 1, operand: 2, address: 3, lock: 4, repne: 5, rep: 6, segment: 8 } as const

function prefixKinds(mode64: boolean): Uint8Array {
  const kinds = new Uint8Array(256)
  if (mode64) kinds.fill(Prefix.rex, 0x40, 0x50)
  kinds[0x66] = Prefix.operand
  kinds[0x67] = Prefix.address
  kinds[0xf0] = Prefix.lock
  kinds[0xf2] = Prefix.repne
  kinds[0xf3] = Prefix.rep
  ;[0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65].forEach((byte, segment) => {
    kinds[byte] = Prefix.segment + segment
  })
  return kinds
}
const prefixKinds64 = prefixKinds(true)
const prefixKinds32 = prefixKinds(false)

/** 16-bit addressing: base and index by ModRM.rm (BX+SI, BX+DI, BP+SI, BP+DI, SI, DI, BP, BX). */
const base16 = [3, 3, 5, 5, 6, 7, 5, 3]
const index16 = [6, 7, 6, 7, -1, -1, -1, -1]

class TableDecoder implements Decoder {
  readonly forms: readonly Form[]
  readonly #table: FormTable
  readonly #features: ReadonlySet<Feature> | undefined
  readonly #table64: DecodeTable
  #table32: DecodeTable | undefined
  readonly #window = new Uint8Array(WINDOW)

  constructor(forms: readonly Form[], features: ReadonlySet<Feature> | undefined) {
    this.forms = forms
    this.#features = features
    this.#table = new FormTable(forms)
    this.#table64 = new DecodeTable(this.#table, 64, features)
  }

  decode(bytes: Uint8Array, offset: number, available: number, mode: 64 | 32 | 16, out: Decoded): number {
    let source = bytes
    let start = offset
    if (offset + WINDOW > bytes.length) {
      source = this.#window.fill(0)
      source.set(bytes.subarray(offset, Math.min(bytes.length, offset + WINDOW)))
      start = 0
    }
    const mode64 = mode === 64
    const kinds = mode64 ? prefixKinds64 : prefixKinds32
    let position = start
    let rex = 0
    let operandPrefix = 0
    let addressPrefix = 0
    let lock = 0
    let repeat = 0
    let override = -1
    let byte = source[position++]!
    let kind = kinds[byte]!
    while (kind !== Prefix.none) {
      if (kind === Prefix.rex) rex = byte
      else {
        rex = 0
        if (kind === Prefix.operand) operandPrefix = 1
        else if (kind === Prefix.address) addressPrefix = 1
        else if (kind === Prefix.lock) lock = 1
        else if (kind === Prefix.rep) repeat = Repeat.rep
        else if (kind === Prefix.repne) repeat = Repeat.repne
        else if (!mode64 || kind >= Prefix.segment + 4) override = kind - Prefix.segment
      }
      if (position - start >= MAX_LENGTH)
        return available >= MAX_LENGTH ? DecodeFailure.tooLong : DecodeFailure.incomplete
      byte = source[position++]!
      kind = kinds[byte]!
    }

    // Opcode.
    let slot = byte
    if (byte === 0x0f) {
      byte = source[position++]!
      if (byte === 0x38 || byte === 0x3a) {
        slot = (byte === 0x38 ? 0x200 : 0x300) | source[position++]!
      } else slot = 0x100 | byte
    } else if (byte === 0x90 && (rex & 1) !== 0 && repeat !== Repeat.rep) slot = XCHG_SLOT
    const decodeTable = mode64 ? this.#table64 : this.#narrowTable()
    let entry = decodeTable.slots[slot]!
    let vex = -1
    if (entry < 0) {
      if ((byte !== 0xc4 && byte !== 0xc5) || slot > 0xff || !mode64)
        return refuse(position - start, available)
      // VEX: its fields stand in for REX and the mandatory prefix.
      if (rex !== 0 || operandPrefix !== 0 || repeat !== 0 || lock !== 0)
        return refuse(position - start, available)
      let payload = source[position++]!
      let map = 1
      rex = payload & 0x80 ? 0x40 : 0x44
      if (byte === 0xc4) {
        map = payload & 0x1f
        rex = 0x40 | ((~payload >> 5) & 7)
        payload = source[position++]!
        if (payload & 0x80) rex |= 8
        if (map < 1 || map > 3) return refuse(position - start, available)
      }
      vex = (~payload >> 3) & 15
      const pp = payload & 3
      if (pp === 1) operandPrefix = 1
      else if (pp !== 0) repeat = pp - 1
      slot = ((VEX_MAPS + map + (payload & 4 ? 3 : 0)) << 8) | source[position++]!
      entry = decodeTable.slots[slot]!
      if (entry < 0) return refuse(position - start, available)
    }

    // The form: by prefix class, ModRM and operand size.
    const wide = (rex & 8) !== 0
    const size = wide ? 2 : operandPrefix !== 0 && vex < 0 ? (mode === 16 ? 1 : 0) : mode === 16 ? 0 : 1
    const prefixClass = repeat !== 0 ? repeat + 1 : operandPrefix
    const slotKind = entry & 3
    let modrm = 0
    let sub = 0
    if (slotKind !== SlotKind.opcode) {
      modrm = source[position++]!
      if (slotKind !== SlotKind.any) {
        if (modrm < 0xc0) sub = (modrm >> 3) & 7
        else if (slotKind === SlotKind.digit) sub = 8 | ((modrm >> 3) & 7)
        else sub = 8 + (modrm & 0x3f)
      }
    }
    let form = decodeTable.cells[(entry >> 2) + (prefixClass * subcells[slotKind]! + sub) * 3 + size]!
    if (form < 0) return refuse(position - start, available)
    const table = this.#table
    const addressBits = mode64
      ? addressPrefix !== 0
        ? 32
        : 64
      : (mode === 32) === (addressPrefix === 0)
        ? 32
        : 16
    let demanded = table.addressBits[form]!
    while (demanded !== 0 && demanded !== addressBits) {
      form = decodeTable.otherwise[form]!
      if (form < 0) return refuse(position - start, available)
      demanded = table.addressBits[form]!
    }
    const flags = table.flags[form]!

    // ModRM: registers, or an address.
    let memory = 0
    let base = -1
    let index = -1
    let displacement = 0
    let displacementHigh = 0
    let segment = 3
    out.scale = 0
    out.ripRelative = 0
    if (slotKind !== SlotKind.opcode && modrm < 0xc0 && (flags & FormFlag.registersOnly) === 0) {
      memory = 1
      const mod = modrm >> 6
      const rm = modrm & 7
      if (addressBits === 16) {
        base = base16[rm]!
        index = index16[rm]!
        if (mod === 0 && rm === 6) {
          base = -1
          displacement = ((source[position]! | (source[position + 1]! << 8)) << 16) >> 16
          position += 2
        } else if (base === 5) segment = 2
        if (mod === 1) displacement = (source[position++]! << 24) >> 24
        else if (mod === 2) {
          displacement = ((source[position]! | (source[position + 1]! << 8)) << 16) >> 16
          position += 2
        }
      } else {
        let wideDisplacement = mod === 2
        if (rm === 4) {
          const sib = source[position++]!
          index = ((sib >> 3) & 7) | ((rex & 2) << 2)
          if (index === 4) index = -1
          else out.scale = sib >> 6
          base = sib & 7
          if (base === 5 && mod === 0) {
            base = -1
            wideDisplacement = true
          } else base |= (rex & 1) << 3
        } else if (rm === 5 && mod === 0) {
          wideDisplacement = true
          if (mode64) out.ripRelative = 1
        } else base = rm | ((rex & 1) << 3)
        if (base === 4 || base === 5) segment = 2
        if (wideDisplacement) {
          displacement =
            source[position]! |
            (source[position + 1]! << 8) |
            (source[position + 2]! << 16) |
            (source[position + 3]! << 24)
          position += 4
        } else if (mod === 1) displacement = (source[position++]! << 24) >> 24
      }
      displacementHigh = displacement >> 31
    }
    if (vex > 0 && (flags & FormFlag.vvvv) === 0) return refuse(position - start, available)
    if (lock !== 0 && ((flags & FormFlag.lock) === 0 || memory === 0))
      return refuse(position - start, available)

    // Register operands.
    if ((flags & FormFlag.registers) !== 0) {
      const codes = table.operands
      const registers = out.registers
      for (let operand = 0; operand < 4; operand++) {
        const code = codes[form * 4 + operand]!
        let register = -1
        if (code >= RegisterCode.implicit) register = code - RegisterCode.implicit
        else {
          switch (code) {
            case RegisterCode.none:
              break
            case RegisterCode.rm:
              if (memory === 0) register = (modrm & 7) | ((rex & 1) << 3)
              break
            case RegisterCode.reg:
              register = ((modrm >> 3) & 7) | ((rex & 4) << 1)
              break
            case RegisterCode.opcode:
              register = (slot & 7) | ((rex & 1) << 3)
              break
            case RegisterCode.rm8:
              if (memory === 0) {
                register = (modrm & 7) | ((rex & 1) << 3)
                if (rex === 0 && register >= 4) register += HIGH_BYTE - 4
              }
              break
            case RegisterCode.reg8:
              register = ((modrm >> 3) & 7) | ((rex & 4) << 1)
              if (rex === 0 && register >= 4) register += HIGH_BYTE - 4
              break
            case RegisterCode.opcode8:
              register = (slot & 7) | ((rex & 1) << 3)
              if (rex === 0 && register >= 4) register += HIGH_BYTE - 4
              break
            case RegisterCode.rmLow:
              if (memory === 0) register = modrm & 7
              break
            case RegisterCode.regLow:
              register = (modrm >> 3) & 7
              break
            case RegisterCode.segment:
              register = (modrm >> 3) & 7
              // No such segment; and CS cannot be loaded by MOV.
              if (register > 5 || (operand === 0 && register === 1))
                return refuse(position - start, available)
              break
            case RegisterCode.control:
              register = ((modrm >> 3) & 7) | ((rex & 4) << 1)
              if (register > 8 || ((1 << register) & 0x11d) === 0) return refuse(position - start, available)
              break
            case RegisterCode.debug:
              register = ((modrm >> 3) & 7) | ((rex & 4) << 1)
              if (register > 7) return refuse(position - start, available)
              break
            case RegisterCode.vvvv:
              register = vex
              break
          }
        }
        registers[operand] = register
      }
    }

    // Immediates, moffs, relative displacement.
    if ((flags & FormFlag.immediate) !== 0) {
      const how = table.immediate[form]!
      let low: number
      let high = 0
      switch (how & 15) {
        case 1:
          low = source[position++]!
          if ((how & 0x10) !== 0) low = (low << 24) >> 24
          break
        case 2:
          low = source[position]! | (source[position + 1]! << 8)
          if ((how & 0x10) !== 0) low = (low << 16) >> 16
          position += 2
          break
        default:
          low =
            source[position]! |
            (source[position + 1]! << 8) |
            (source[position + 2]! << 16) |
            (source[position + 3]! << 24)
          position += 4
          if ((how & 15) === 8) {
            high =
              source[position]! |
              (source[position + 1]! << 8) |
              (source[position + 2]! << 16) |
              (source[position + 3]! << 24)
            position += 4
          }
      }
      if ((how & 0x10) !== 0) high = low >> 31
      if ((how & 0xe0) !== 0) {
        high = 0
        if ((how & 0x40) !== 0) low &= 0xffff
        else if ((how & 0x80) !== 0) low &= 0xff
      }
      out.immediateLow = low
      out.immediateHigh = high
      const second = table.immediate2[form]!
      if (second !== 0) {
        out.immediate2 = source[position++]!
        if (second === 2) out.immediate2 |= source[position++]! << 8
      }
    }
    const relativeBytes = table.relative[form]!
    if (relativeBytes !== 0) {
      if (relativeBytes === 1) out.relative = (source[position]! << 24) >> 24
      else if (relativeBytes === 2)
        out.relative = ((source[position]! | (source[position + 1]! << 8)) << 16) >> 16
      else
        out.relative =
          source[position]! |
          (source[position + 1]! << 8) |
          (source[position + 2]! << 16) |
          (source[position + 3]! << 24)
      position += relativeBytes
    }
    if ((flags & FormFlag.moffs) !== 0) {
      memory = 1
      displacement = source[position]! | (source[position + 1]! << 8)
      if (addressBits !== 16) displacement |= (source[position + 2]! << 16) | (source[position + 3]! << 24)
      displacementHigh =
        addressBits === 64
          ? source[position + 4]! |
            (source[position + 5]! << 8) |
            (source[position + 6]! << 16) |
            (source[position + 7]! << 24)
          : 0
      position += addressBits >> 3
    }

    const length = position - start
    if (length > MAX_LENGTH) return available >= MAX_LENGTH ? DecodeFailure.tooLong : DecodeFailure.incomplete
    if (length > available) return DecodeFailure.incomplete
    out.form = form
    out.length = length
    out.memory = memory
    out.base = base
    out.index = index
    out.displacement = displacement
    out.displacementHigh = displacementHigh
    out.segment = override >= 0 ? override : segment
    out.segmentOverride = override
    out.addressBits = addressBits
    out.operandBits = size === 2 || (flags & FormFlag.default64) !== 0 ? 64 : size === 0 ? 16 : 32
    out.lock = lock
    out.repeat = (flags & FormFlag.string) !== 0 ? repeat : Repeat.none
    return length
  }

  #narrowTable(): DecodeTable {
    this.#table32 ??= new DecodeTable(this.#table, 32, this.#features)
    return this.#table32
  }
}

/** No such instruction, unless the bytes that tell so are not all there. */
function refuse(length: number, available: number): number {
  if (length > available) return DecodeFailure.incomplete
  return length > MAX_LENGTH ? DecodeFailure.tooLong : DecodeFailure.invalid
}
