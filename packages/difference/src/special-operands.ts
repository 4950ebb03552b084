/**
 * What forms use without naming it, and operands whose values must be chosen to be worth testing: pointers of string
 * instructions, dividends that do not overflow, comparisons that succeed, images that can be loaded.
 */
import type { EncodeOperand, EncodeOptions, Form } from '@trapframe/x86'
import { memoryOffset, targetAddress } from './address.ts'
import { CODE_BASE, FS_BASE, GS_BASE, type MachineImage, WINDOW_MIDDLE } from './machine-image.ts'
import type { Random } from './random.ts'
import { integerValue } from './values.ts'

const RAX = 0
const RCX = 1
const RDX = 2
const RBX = 3
const RSP = 4
const RBP = 5
const RSI = 6
const RDI = 7

type IgnoredMemory = readonly (readonly [address: bigint, sizeBytes: number])[]

export interface Special {
  /** Registers that addresses must not be made of. */
  readonly reserved: ReadonlySet<number>
  readonly options: EncodeOptions
  readonly alignment?: number
  /** Value of immediate `index`, where a random one is no use. */
  immediate?(index: number): bigint | undefined
  /** Where the memory operand lies, if not anywhere. */
  target?(sizeBytes: number): bigint | undefined
  /** Last changes, once the operands are known. */
  finish?(operands: readonly EncodeOperand[], target: bigint | undefined): IgnoredMemory | undefined
}

/** Bytes of a memory operand whose kind tells no width. */
export function sizeWithoutWidth(form: Form): number {
  const { mnemonic, encoding } = form
  const short = encoding.startsWith('o16')
  if (/^FX/.test(mnemonic)) return 512
  if (/^X(SAVE|RSTOR)/.test(mnemonic)) return 576
  if (/^FN?(ST|LD)ENV$/.test(mnemonic)) return short ? 14 : 28
  if (/^F(N?SAVE|RSTOR)$/.test(mnemonic)) return short ? 94 : 108
  return 16
}

/** Bits of the operand that a form works on. */
function operandBits(form: Form): number {
  const kind = form.operands[0] ?? ''
  const digits = /\d+/.exec(kind)
  if (digits) return Number(digits[0])
  const tail = form.mnemonic.at(-1)
  return tail === 'B' ? 8 : tail === 'W' ? 16 : tail === 'D' ? 32 : 64
}

export function prepareImplicit(form: Form, random: Random, state: MachineImage): Special {
  const { mnemonic, operands } = form
  const reserved = new Set<number>()
  const pointer = (register: number, sizeBytes: number): bigint => {
    reserved.add(register)
    const address = targetAddress(random, sizeBytes, sizeBytes & -sizeBytes)
    state.setGpr(register, address - state.segmentBase)
    return address
  }

  if (form.options.string) return stringOperands(form, random, state)
  switch (mnemonic) {
    case 'DIV':
    case 'IDIV':
      reserved.add(RAX).add(RDX)
      return {
        reserved,
        options: {},
        finish: (given, target) => dividend(form, random, state, given, target),
      }
    case 'XLATB': {
      const narrow = state.mode === 64 && random.once(4)
      const target = pointer(RBX, 1) - state.segmentBase
      const segment =
        state.mode === 64 && target < 1n << 47n && random.once(4) ? random.pick([4, 5]) : undefined
      const address = target - (segment === 4 ? FS_BASE : segment === 5 ? GS_BASE : 0n)
      const low = address - (state.gpr(RAX) & 0xffn)
      state.setGpr(
        RBX,
        narrow && address < 1n << 32n ? BigInt.asUintN(32, low) | (BigInt(random.u32()) << 32n) : low,
      )
      return {
        reserved,
        options: {
          ...(segment === undefined ? {} : { segment }),
          ...(narrow && address < 1n << 32n ? { addressBits: 32 as const } : {}),
        },
      }
    }
    case 'MASKMOVQ':
    case 'MASKMOVDQU':
      pointer(RDI, mnemonic === 'MASKMOVQ' ? 8 : 16)
      return { reserved, options: {} }
    case 'LEAVE':
      pointer(RBP, 8)
      return { reserved, options: {} }
    case 'ENTER':
      pointer(RBP, 8)
      return {
        reserved,
        options: {},
        immediate: (index) =>
          index === 0
            ? BigInt(random.below(64))
            : BigInt(random.once(4) ? random.below(256) : random.below(5)),
      }
    case 'BT':
    case 'BTS':
    case 'BTR':
    case 'BTC':
      if (operands[1]!.startsWith('r')) return bitOffset(form, random, state)
      break
    case 'CMPXCHG':
    case 'CMPXCHG8B':
    case 'CMPXCHG16B':
      reserved.add(RAX).add(RDX)
      return {
        reserved,
        options: {},
        ...(mnemonic === 'CMPXCHG16B' ? { alignment: 16 } : {}),
        finish: (given, target) => expectedValue(form, random, state, given, target),
      }
    case 'LOOP':
    case 'LOOPE':
    case 'LOOPNE':
    case 'JRCXZ': {
      // A loop that goes round few times, or for ever as far as any engine waits: a count of 16 bits is neither.
      const other = random.once(4)
      const addressBits = state.mode === 64 ? (other ? 32 : 64) : (state.mode === 32) === other ? 16 : 32
      // A count of zero goes round 65536 times.
      const atLeast = addressBits === 16 && mnemonic !== 'JRCXZ' ? 1 : 0
      const endless = addressBits !== 16 && random.once(2)
      const few =
        BigInt(atLeast + random.below(3)) | (random.once(3) ? 1n << BigInt(addressBits % 64 || 32) : 0n)
      state.setGpr(RCX, endless ? BigInt.asUintN(64, -1n - BigInt(random.below(4))) : few)
      return { reserved, options: other ? { addressBits } : {} }
    }
    case 'JMP':
    case 'CALL':
      if (operands[0]!.startsWith('r/m'))
        return {
          reserved: new Set([RSP]),
          options: {},
          finish: (given, target) => codePointer(random, state, given, target),
        }
      break
    case 'RET':
      return {
        reserved,
        options: {},
        finish: () => {
          if (!random.once(6)) write(state, state.gpr(RSP) + state.segmentBase, codeAddress(random, state), 8)
          return undefined
        },
      }
    case 'POPF':
    case 'POPFD':
    case 'POPFQ':
      return {
        reserved,
        options: {},
        finish: () => {
          // Neither TF nor AC, which would end the case elsewhere; IOPL and IF do not change in user mode.
          write(state, state.gpr(RSP) + state.segmentBase, BigInt(random.u32()) & ~0x4_0100n, 8)
          return undefined
        },
      }
    case 'LDMXCSR':
      return { reserved, options: {}, finish: (_, target) => loadable(random, state, target, 0) }
    case 'FXSAVE':
    case 'FXSAVE64':
    case 'FXRSTOR':
    case 'FXRSTOR64':
      return {
        reserved,
        options: {},
        target: () => (random.once(6) ? undefined : WINDOW_MIDDLE - 512n + BigInt(16 * random.below(33))),
        finish: (_, target) => {
          if (mnemonic.startsWith('FXR')) return loadable(random, state, target, 24)
          return target === undefined ? undefined : pointersOfImage(target)
        },
      }
    case 'XSAVE':
    case 'XSAVE64':
    case 'XSAVEOPT':
    case 'XSAVEOPT64':
    case 'XRSTOR':
    case 'XRSTOR64':
      return extendedState(form, random, state)
    case 'FNSTENV':
    case 'FNSAVE':
      return {
        reserved,
        options: {},
        finish: (_, target) => (target === undefined ? undefined : pointersOfEnvironment(form, target)),
      }
  }
  return { reserved, options: {} }
}

/** Stores into the image's memory; out of sight, nothing happens. */
function write(state: MachineImage, address: bigint, value: bigint, sizeBytes: number): void {
  const offset = memoryOffset(address, sizeBytes)
  if (offset === undefined) return
  for (let byte = 0; byte < sizeBytes; byte++)
    state.memory[offset + byte] = Number((value >> BigInt(8 * byte)) & 0xffn)
}

function read(state: MachineImage, address: bigint, sizeBytes: number): bigint | undefined {
  const offset = memoryOffset(address, sizeBytes)
  if (offset === undefined) return undefined
  let value = 0n
  for (let byte = sizeBytes - 1; byte >= 0; byte--)
    value = (value << 8n) | BigInt(state.memory[offset + byte]!)
  return value
}

function codeAddress(random: Random, state: MachineImage): bigint {
  return CODE_BASE - state.segmentBase + BigInt(random.below(0xff0))
}

/** Value of a general operand that is a register or memory, of `bits` bits. */
function operandValue(
  state: MachineImage,
  operand: EncodeOperand,
  target: bigint | undefined,
  bits: number,
): bigint | undefined {
  if (typeof operand === 'object') return target === undefined ? undefined : read(state, target, bits / 8)
  if (typeof operand !== 'number') return undefined
  const value = operand >= 16 ? state.gpr(operand - 16) >> 8n : state.gpr(operand)
  return BigInt.asUintN(bits, value)
}

function stringOperands(form: Form, random: Random, state: MachineImage): Special {
  const bits = operandBits(form)
  const compares = /^(CMPS|SCAS)/.test(form.mnemonic)
  const repeat = random.pick<'rep' | 'repne' | undefined>([undefined, 'rep', 'repne'])
  const narrow = state.mode !== 32 && random.once(4)
  const segment = state.mode === 64 && random.once(4) ? random.pick([4, 5]) : undefined
  const count = random.once(4) ? 0 : random.below(random.once(3) ? 60 : 8)
  const sizeBytes = bits / 8
  const addressBits = narrow ? 32 : state.mode
  const set = (register: number, value: bigint): void =>
    state.setGpr(
      register,
      BigInt.asUintN(addressBits, value) | BigInt.asUintN(64, random.u64() << BigInt(addressBits)),
    )
  // Somewhere in the middle as a rule: the run then ends inside the window, or crosses a page.
  const place = (base: bigint): bigint => {
    const target = random.once(4)
      ? targetAddress(random, sizeBytes, 1)
      : WINDOW_MIDDLE - 128n + BigInt(random.below(256))
    return (target < 1n << 32n && target >= state.segmentBase ? target : WINDOW_MIDDLE) - base
  }
  const source = place(segment === 4 ? FS_BASE : segment === 5 ? GS_BASE : state.segmentBase)
  const destination = random.once(4) ? source + BigInt(random.below(33) - 16) : place(state.segmentBase)
  set(RSI, BigInt.asUintN(64, source))
  set(RDI, destination)
  set(RCX, BigInt(count))
  if (compares && random.once(2)) {
    // Equal elements, so that a comparison goes on for a while.
    const value = random.below(256)
    const centre = memoryOffset(WINDOW_MIDDLE - 256n, 512)!
    state.memory.fill(value, centre, centre + 512)
    state.memory[centre + random.below(512)] = random.below(256)
    if (random.once(2)) state.setGpr(RAX, BigInt(value) * 0x0101_0101_0101_0101n)
  }
  return {
    reserved: new Set(),
    options: {
      ...(repeat ? { repeat } : {}),
      ...(segment === undefined ? {} : { segment }),
      ...(narrow ? { addressBits: 32 as const } : {}),
    },
  }
}

/** A dividend whose quotient fits, in most cases. */
function dividend(
  form: Form,
  random: Random,
  state: MachineImage,
  given: readonly EncodeOperand[],
  target: bigint | undefined,
): undefined {
  const bits = operandBits(form)
  const divisor = operandValue(state, given[0], target, bits)
  if (divisor === undefined || divisor === 0n || random.once(8)) return undefined
  const signed = form.mnemonic === 'IDIV'
  const by = signed ? BigInt.asIntN(bits, divisor) : divisor
  const magnitude = by < 0n ? -by : by
  const remainder = integerValue(random, bits) % magnitude
  const quotient = signed ? BigInt.asIntN(bits, integerValue(random, bits)) : integerValue(random, bits)
  const value = quotient * by + (signed && quotient * by < 0n ? -remainder : remainder)
  const low = BigInt.asUintN(bits, value)
  const high = BigInt.asUintN(bits, value >> BigInt(bits))
  if (bits === 8) state.setGpr(RAX, (state.gpr(RAX) & ~0xffffn) | (high << 8n) | low)
  else {
    const mask = (1n << BigInt(bits)) - 1n
    state.setGpr(RAX, (state.gpr(RAX) & ~mask) | low)
    state.setGpr(RDX, (state.gpr(RDX) & ~mask) | high)
  }
  return undefined
}

/** CMPXCHG and relatives: in half of the cases what is expected is there. */
function expectedValue(
  form: Form,
  random: Random,
  state: MachineImage,
  given: readonly EncodeOperand[],
  target: bigint | undefined,
): undefined {
  if (random.once(2)) return undefined
  if (form.mnemonic === 'CMPXCHG') {
    const bits = operandBits(form)
    const value = operandValue(state, given[0], target, bits)
    if (value !== undefined) state.setGpr(RAX, (state.gpr(RAX) & ~((1n << BigInt(bits)) - 1n)) | value)
    return undefined
  }
  const half = form.mnemonic === 'CMPXCHG8B' ? 4 : 8
  const low = target === undefined ? undefined : read(state, target, half)
  const high = target === undefined ? undefined : read(state, target + BigInt(half), half)
  if (low !== undefined) state.setGpr(RAX, low)
  if (high !== undefined) state.setGpr(RDX, high)
  return undefined
}

/** A bit offset in a register reaches beyond the operand, but not out of the window. */
function bitOffset(form: Form, random: Random, state: MachineImage): Special {
  const bits = operandBits(form)
  // Every register may become the offset: all hold small numbers but those that the address is made of.
  for (let register = 0; register < 16; register++) {
    if (register === RSP) continue
    const offset = BigInt(random.below(2048) - 1024)
    state.setGpr(
      register,
      (integerValue(random, 64) & ~((1n << BigInt(bits)) - 1n)) | BigInt.asUintN(bits, offset),
    )
  }
  return {
    reserved: new Set(),
    options: {},
    target: () => (random.once(8) ? undefined : WINDOW_MIDDLE - 160n + BigInt(random.below(320))),
  }
}

/** The operand of an indirect branch points into the code. */
function codePointer(
  random: Random,
  state: MachineImage,
  given: readonly EncodeOperand[],
  target: bigint | undefined,
): undefined {
  if (random.once(8)) return undefined
  const address = codeAddress(random, state)
  const operand = given[0]
  if (typeof operand === 'number' && operand !== RSP) state.setGpr(operand, address)
  else if (target !== undefined) write(state, target, address, 8)
  return undefined
}

/** A value for MXCSR that can be loaded, in most cases. */
function loadable(
  random: Random,
  state: MachineImage,
  target: bigint | undefined,
  offset: number,
): undefined {
  if (target === undefined) return undefined
  const at = target + BigInt(offset)
  // MXCSR.MM (bit 17) is reserved on Intel CPUs only.
  const value = random.once(4) ? (read(state, at, 4) ?? 0n) & ~0x2_0000n : BigInt(random.u32() & 0xffff)
  write(state, at, value, 4)
  return undefined
}

/** FOP, FIP, FDP and MXCSR_MASK of an FXSAVE image belong to the model of CPU. */
function pointersOfImage(target: bigint): IgnoredMemory {
  return [
    [target + 6n, 18],
    [target + 28n, 4],
    // Bytes 464 to 511 are for software, and bytes behind the registers are reserved.
  ]
}

function pointersOfEnvironment(form: Form, target: bigint): IgnoredMemory {
  return form.encoding.startsWith('o16') ? [[target + 6n, 8]] : [[target + 12n, 16]]
}

function extendedState(form: Form, random: Random, state: MachineImage): Special {
  // x87 and SSE only: other components are not modelled, and every host has others.
  state.setGpr(RAX, BigInt(random.below(4)))
  state.setGpr(RDX, 0n)
  const restores = form.mnemonic.startsWith('XR')
  return {
    reserved: new Set([RAX, RDX]),
    options: {},
    alignment: 64,
    target: () => (random.once(8) ? undefined : WINDOW_MIDDLE - 512n + BigInt(64 * random.below(8))),
    finish: (_, target) => {
      if (target === undefined) return undefined
      const header = target + 512n
      for (let at = 0n; at < 64n; at += 8n) write(state, header + at, 0n, 8)
      if (restores) {
        write(state, header, BigInt(random.below(4)), 8)
        // Bits that no CPU has, and reserved bytes.
        const misfit = random.below(8)
        if (misfit === 0) write(state, header, 1n << 62n, 8)
        else if (misfit === 1)
          // Not bit 63 of XCOMP_BV: some CPUs have the compacted form.
          write(state, header + 8n * BigInt(1 + random.below(2)), integerValue(random, 63), 8)
        // Whether MXCSR is checked when the SSE component is absent differs between vendors.
        write(state, target + 24n, BigInt(random.u32() & 0xffff), 4)
        return undefined
      }
      // Which components are in their initial state is for the CPU to find out.
      return [...pointersOfImage(target), [header, 1]]
    },
  }
}
