/**
 * Data movement among general registers and memory (SDM volume 2: MOV MOVZX MOVSX MOVSXD MOVBE LEA XCHG XADD CMPXCHG
 * BSWAP CMOVcc SETcc, CBW and CWD with their wider relatives, XLAT, LAHF and SAHF). Segment, control and debug
 * registers are loaded elsewhere; CMPXCHG8B and 16B are in compare-exchange.ts.
 *
 * Where silicon differs from the manual's pseudocode, silicon is followed: a CMPXCHG of registers that fails leaves the
 * destination, upper half too, alone; BSWAP of 16 bits gives zero.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { ARITHMETIC_FLAGS, Flag, Segment } from '../state-layout.ts'
import { AH, Gpr, readGpr, writeGpr } from './registers.ts'
import {
  accumulator,
  type Bits,
  conditionNames,
  everySize,
  hex,
  immediateBytes,
  immediateKind,
  opcodeRegister,
  operandSize,
  rexW,
  wordSizes,
} from './sizes.ts'

const plain: FormOptions = { user: true }
const hot: FormOptions = { user: true, hot: true }
const hotIf = (condition: boolean): FormOptions => (condition ? hot : plain)

const mov: Body = (_b, o) => o.write(0, o.read(1))
const movSigned: Body = (_b, o) => o.write(0, o.readSigned(1))
const lea: Body = (_b, o) => o.write(0, o.effectiveAddress())

const movForms = (bits: Bits): Form[] => {
  const wide = bits === 8 ? 0 : 1
  const w = rexW(bits)
  return [
    form(`MOV r/m${bits}, r${bits}`, `${w}${hex(0x88 + wide)} /r`, mov, hot),
    form(`MOV r${bits}, r/m${bits}`, `${w}${hex(0x8a + wide)} /r`, mov, hot),
    form(
      `MOV r/m${bits}, ${immediateKind(bits)}`,
      `${w}${hex(0xc6 + wide)} /0 ${immediateBytes(bits)}`,
      mov,
      hot,
    ),
    form(
      `MOV r${bits}, imm${bits}`,
      `${w}${hex(0xb0 + wide * 8)}${opcodeRegister(bits)} ${bits === 64 ? 'io' : immediateBytes(bits)}`,
      mov,
      hotIf(bits !== 16),
    ),
    form(`MOV ${accumulator(bits)}, moffs${bits}`, `${w}${hex(0xa0 + wide)}`, mov, plain),
    form(`MOV moffs${bits}, ${accumulator(bits)}`, `${w}${hex(0xa2 + wide)}`, mov, plain),
  ]
}

/** Reads both before it writes; with memory always atomic. */
const xchg: Body = (_b, o) => {
  const register = o.read(1)
  if (o.isMemory(0))
    o.modifyMemory(
      o.bits(0),
      o.address(),
      () => register,
      (old) => o.write(1, old),
      true,
    )
  else {
    const old = o.read(0)
    o.write(0, register)
    o.write(1, old)
  }
}

const xadd: Body = (b, o) => {
  const bits = o.bits(0)
  const y = o.read(1)
  if (o.isMemory(0)) {
    o.modify(
      0,
      (x) => b.i64.add(x, y),
      (x, result) => {
        o.write(1, x)
        b.flagsAdd(bits, x, y, result)
      },
    )
    return
  }
  // The source is written first: XADD of a register with itself leaves the sum.
  const x = o.read(0)
  const result = b.truncate(bits, b.i64.add(x, y))
  o.write(1, x)
  o.write(0, result)
  b.flagsAdd(bits, x, y, result)
}

const cmpxchg: Body = (b, o) => {
  const bits = o.bits(0)
  const replacement = o.read(1)
  const expected = readGpr(b, Gpr.rax, bits)
  const flags = (found: Value): void =>
    b.flagsSub(bits, expected, found, b.truncate(bits, b.i64.sub(expected, found)))
  if (o.isMemory(0)) {
    // Memory is written back whatever the comparison says.
    o.modify(
      0,
      (found) => b.select(b.i64.eq(found, expected), replacement, found),
      (found) => {
        b.if(b.i64.ne(found, expected), () => writeGpr(b, Gpr.rax, found, bits))
        flags(found)
      },
    )
    return
  }
  const found = o.read(0)
  b.if(
    b.i64.eq(found, expected),
    () => o.write(0, replacement),
    () => writeGpr(b, Gpr.rax, found, bits),
  )
  flags(found)
}

/** Reverses the low `bits / 8` bytes of a value that has no others. */
export function byteSwap(b: Builder, bits: number, value: Value): Value {
  const swapPairs = (x: Value, distance: number, mask: bigint): Value =>
    b.i64.or(
      b.i64.shl(b.i64.and(x, b.const64(mask)), b.const64(distance)),
      b.i64.and(b.i64.shrU(x, b.const64(distance)), b.const64(mask)),
    )
  const bytes = swapPairs(value, 8, bits === 64 ? 0x00ff_00ff_00ff_00ffn : bits === 32 ? 0x00ff_00ffn : 0xffn)
  if (bits === 16) return bytes
  const words = swapPairs(bytes, 16, bits === 64 ? 0x0000_ffff_0000_ffffn : 0xffffn)
  return bits === 32 ? words : b.i64.rotl(words, b.const64(32))
}
const bswap: Body = (b, o) => {
  const bits = o.bits(0)
  o.write(0, bits === 16 ? b.const64(0) : byteSwap(b, bits, o.read(0)))
}
const movbe: Body = (b, o) => o.write(0, byteSwap(b, o.bits(0), o.read(1)))

/** The source is read, and a 32-bit destination cleared above, whatever the condition. */
const cmov =
  (code: number): Body =>
  (b, o) => {
    const source = o.read(1)
    o.write(0, b.select(b.condition(code), source, o.read(0)))
  }
const setcc =
  (code: number): Body =>
  (b, o) =>
    o.write(0, b.i64.extendI32U(b.condition(code)))

/** CBW, CWDE, CDQE: the accumulator's lower half, sign-extended. */
const extendAccumulator =
  (bits: Bits): Body =>
  (b) =>
    writeGpr(b, Gpr.rax, b.signExtend(bits / 2, readGpr(b, Gpr.rax)), bits)
/** CWD, CDQ, CQO: the accumulator's sign in every bit of xDX. */
const signToDx =
  (bits: Bits): Body =>
  (b) =>
    writeGpr(b, Gpr.rdx, b.i64.shrS(b.signExtend(bits, readGpr(b, Gpr.rax)), b.const64(63)), bits)

const xlat: Body = (b, o) => {
  const offset = b.truncate(o.addressBits, b.i64.add(readGpr(b, Gpr.rbx), readGpr(b, Gpr.rax, 8)))
  writeGpr(b, Gpr.rax, b.guestLoad(Access.u8, b.i64.add(o.segmentBase(Segment.ds), offset)), 8)
}

/** AH holds SF ZF AF PF CF, and bit 1 set. */
const lahf: Body = (b) => b.stateStore(Access.u8, AH, b.i64.extendI32U(b.i32.or(b.flags(), b.const32(2))))
const sahf: Body = (b) => b.flagsSet(ARITHMETIC_FLAGS & ~Flag.of, b.i32.wrapI64(b.stateLoad(Access.u8, AH)))

export const moveForms: readonly Form[] = [
  ...everySize.flatMap(movForms),
  form('MOV r/m16, Sreg', '8C /r', mov, plain),
  form('MOV r32/m16, Sreg', '8C /r', mov, plain),
  form('MOV r64/m16, Sreg', 'REX.W + 8C /r', mov, plain),

  ...wordSizes.map((bits) => form(`MOVZX r${bits}, r/m8`, `${rexW(bits)}0F B6 /r`, mov, hotIf(bits !== 16))),
  ...wordSizes.map((bits) => form(`MOVZX r${bits}, r/m16`, `${rexW(bits)}0F B7 /r`, mov, hotIf(bits === 32))),
  ...wordSizes.map((bits) =>
    form(`MOVSX r${bits}, r/m8`, `${rexW(bits)}0F BE /r`, movSigned, hotIf(bits !== 16)),
  ),
  ...wordSizes.map((bits) =>
    form(`MOVSX r${bits}, r/m16`, `${rexW(bits)}0F BF /r`, movSigned, hotIf(bits !== 16)),
  ),
  form('MOVSXD r16, r/m16', '63 /r', mov, { ...plain, mode: 'only64' }),
  form('MOVSXD r32, r/m32', '63 /r', mov, { ...plain, mode: 'only64' }),
  form('MOVSXD r64, r/m32', 'REX.W + 63 /r', movSigned, { ...hot, mode: 'only64' }),
  ...wordSizes.flatMap((bits) => [
    form(`MOVBE r${bits}, m${bits}`, `NFx ${rexW(bits)}0F 38 F0 /r`, movbe, { ...plain, feature: 'movbe' }),
    form(`MOVBE m${bits}, r${bits}`, `NFx ${rexW(bits)}0F 38 F1 /r`, movbe, { ...plain, feature: 'movbe' }),
    form(`LEA r${bits}, m`, `${rexW(bits)}8D /r`, lea, hotIf(bits !== 16)),
    form(`BSWAP r${bits}`, `${rexW(bits)}0F C8${opcodeRegister(bits)}`, bswap, hotIf(bits !== 16)),
    form(`XCHG ${accumulator(bits)}, r${bits}`, `${rexW(bits)}90${opcodeRegister(bits)}`, xchg, plain),
  ]),

  ...everySize.flatMap((bits) => {
    const wide = bits === 8 ? 0 : 1
    const operands = `r/m${bits}, r${bits}`
    return [
      form(`XCHG ${operands}`, `${rexW(bits)}${hex(0x86 + wide)} /r`, xchg, { ...plain, lock: true }),
      form(`XADD ${operands}`, `${rexW(bits)}0F ${hex(0xc0 + wide)} /r`, xadd, { ...plain, lock: true }),
      form(`CMPXCHG ${operands}`, `${rexW(bits)}0F ${hex(0xb0 + wide)} /r`, cmpxchg, {
        ...plain,
        lock: true,
      }),
    ]
  }),

  ...conditionNames.flatMap((condition, code) => [
    ...wordSizes.map((bits) =>
      form(`CMOV${condition} r${bits}, r/m${bits}`, `${rexW(bits)}0F ${hex(0x40 + code)} /r`, cmov(code), {
        ...hotIf(bits !== 16),
        feature: 'cmov',
      }),
    ),
    form(`SET${condition} r/m8`, `0F ${hex(0x90 + code)} /r`, setcc(code), hot),
  ]),

  ...wordSizes.flatMap((bits, index) => [
    form(
      ['CBW', 'CWDE', 'CDQE'][index]!,
      `${operandSize(bits)}98`,
      extendAccumulator(bits),
      hotIf(bits !== 16),
    ),
    form(['CWD', 'CDQ', 'CQO'][index]!, `${operandSize(bits)}99`, signToDx(bits), hotIf(bits !== 16)),
  ]),
  form('XLATB', 'D7', xlat, { ...plain, addressSized: true }),
  form('LAHF', '9F', lahf, { ...plain, feature: 'lahf' }),
  form('SAHF', '9E', sahf, { ...plain, feature: 'lahf' }),
]
