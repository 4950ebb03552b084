/**
 * Bit tests, scans and counts (SDM volume 2: BT BTS BTR BTC, BSF BSR TZCNT LZCNT POPCNT), CRC32, and additions that
 * carry through one flag only (ADCX ADOX).
 *
 * Flags that the manual leaves undefined: BT and its relatives change CF alone; the scans set SF and PF by their
 * source, and the counts by their result, and clear the others. A scan of 0 leaves its destination, upper half too, as
 * it was, as AMD documents and Intel CPUs do.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import type { Operands } from '../isa/operands.ts'
import { ARITHMETIC_FLAGS, Flag } from '../state-layout.ts'
import { accessOf, type Bits, hex, rexW, wordSizes } from './sizes.ts'

const { i32, i64 } = Type
const plain: FormOptions = { user: true }

/** New value of an operand from the old one and a mask with the tested bit set; absent: BT. */
type Change = (b: Builder, old: Value, mask: Value) => Value

/**
 * Linear address of the word that a register offset selects in a bit string: the offset is signed, and any number of
 * words away from the operand.
 */
function bitStringAddress(b: Builder, o: Operands, bits: number, offset: Value): Value {
  const word = b.i64.shrS(b.signExtend(bits, offset), b.const64(Math.log2(bits)))
  const distance = b.i64.shl(word, b.const64(Math.log2(bits / 8)))
  return o.address(distance)
}

const bitTest =
  (change?: Change): Body =>
  (b, o) => {
    const bits = o.bits(0)
    const offset = o.read(1)
    const index = b.i64.and(offset, b.const64(bits - 1))
    const mask = b.i64.shl(b.const64(1), index)
    const flags = (old: Value): void =>
      b.flagsSet(Flag.cf, b.i32.and(b.i32.wrapI64(b.i64.shrU(old, index)), b.const32(1)))
    const compute = (old: Value): Value => change!(b, old, mask)
    if (o.isMemory(0) && o.kind(1) !== 'imm8') {
      const address = bitStringAddress(b, o, bits, offset)
      if (change) o.modifyMemory(bits, address, compute, flags)
      else flags(b.guestLoad(accessOf(bits), address))
    } else if (change) o.modify(0, compute, flags)
    else flags(o.read(0))
  }

const bitTests: readonly { name: string; digit: number; change?: Change }[] = [
  { name: 'BT', digit: 4 },
  { name: 'BTS', digit: 5, change: (b, old, mask) => b.i64.or(old, mask) },
  { name: 'BTR', digit: 6, change: (b, old, mask) => b.i64.and(old, b.i64.xor(mask, b.const64(-1))) },
  { name: 'BTC', digit: 7, change: (b, old, mask) => b.i64.xor(old, mask) },
]
const bitTestForms = ({ name, digit, change }: (typeof bitTests)[number]): Form[] =>
  wordSizes.flatMap((bits: Bits) => {
    const options: FormOptions = {
      user: true,
      lock: change !== undefined,
      undefinedFlags: Flag.of | Flag.sf | Flag.af | Flag.pf,
    }
    const hot = bits !== 16 && !change
    return [
      form(
        `${name} r/m${bits}, r${bits}`,
        `${rexW(bits)}0F ${hex(0x83 + digit * 8)} /r`,
        bitTest(change),
        options,
      ),
      form(`${name} r/m${bits}, imm8`, `${rexW(bits)}0F BA /${digit} ib`, bitTest(change), {
        ...options,
        hot,
      }),
    ]
  })

/** BSF and BSR. */
const scan =
  (position: (b: Builder, source: Value) => Value): Body =>
  (b, o) => {
    const source = o.read(1)
    b.if(b.i64.ne(source, b.const64(0)), () => o.write(0, position(b, source)))
    b.flagsLogic(o.bits(0), source)
  }
const lowest = (b: Builder, source: Value): Value => b.i64.ctz(source)
const highest = (b: Builder, source: Value): Value => b.i64.sub(b.const64(63), b.i64.clz(source))

/** TZCNT and LZCNT: the operand's size, and CF, for a source of 0. */
const countZeros =
  (count: (b: Builder, bits: number, source: Value) => Value): Body =>
  (b, o) => {
    const bits = o.bits(0)
    const source = o.read(1)
    const result = count(b, bits, source)
    o.write(0, result)
    b.flagsLogic(bits, result)
    b.flagsSet(Flag.cf, b.i64.eqz(source))
  }
const trailing = (b: Builder, bits: number, source: Value): Value =>
  b.i64.ctz(bits === 64 ? source : b.i64.or(source, b.const64(1n << BigInt(bits))))
const leading = (b: Builder, bits: number, source: Value): Value =>
  b.i64.sub(b.i64.clz(source), b.const64(64 - bits))

const popcnt: Body = (b, o) => {
  const source = o.read(1)
  o.write(0, b.i64.popcnt(source))
  b.flagsSet(ARITHMETIC_FLAGS, b.i32.shl(b.i64.eqz(source), b.const32(6)))
}

/** CRC-32C (polynomial 1EDC6F41, reflected) of `bits` bits. (crc xor data, bits) -> crc in the low 32 bits */
const crc32c: Procedure = procedure('crc32c', { parameters: [i64, i32], result: i64 }, (b, data, bits) => {
  const rest = b.local(i64, data!)
  const left = b.local(i32, bits!)
  const polynomial = b.const64(0x82f6_3b78)
  b.loop((again) => {
    let value = b.get(rest)
    for (let step = 0; step < 8; step++) {
      const mask = b.i64.sub(b.const64(0), b.i64.and(value, b.const64(1)))
      value = b.i64.xor(b.i64.shrU(value, b.const64(1)), b.i64.and(mask, polynomial))
    }
    b.set(rest, value)
    b.set(left, b.i32.sub(b.get(left), b.const32(8)))
    b.brIf(b.get(left), again)
  })
  b.return(b.get(rest))
})
const crc32: Body = (b, o) => {
  const data = o.read(1)
  const crc = b.truncate(32, o.read(0))
  o.write(0, b.truncate(32, b.call(crc32c, b.i64.xor(crc, data), b.const32(o.bits(1)))))
}

/** Adds with carry in and out through one flag; the others stay. */
const addThrough =
  (flag: number, position: number): Body =>
  (b, o) => {
    const bits = o.bits(0)
    const y = o.read(1)
    const x = o.read(0)
    const sum = b.i64.add(b.i64.add(x, y), b.i64.extendI32U(b.flag(flag)))
    const carries = b.i64.or(b.i64.and(x, y), b.i64.and(b.i64.or(x, y), b.i64.xor(sum, b.const64(-1))))
    o.write(0, sum)
    const carry = b.i32.and(b.i32.wrapI64(b.i64.shrU(carries, b.const64(bits - 1))), b.const32(1))
    b.flagsSet(flag, b.i32.shl(carry, b.const32(position)))
  }

const scanned: FormOptions = { user: true, undefinedFlags: Flag.cf | Flag.of | Flag.sf | Flag.af | Flag.pf }
const counted: FormOptions = { user: true, undefinedFlags: Flag.of | Flag.sf | Flag.af | Flag.pf }
const prefixed = (prefix: string, bits: Bits): string => (bits === 64 ? `${prefix} REX.W ` : `${prefix} `)

export const bitForms: readonly Form[] = [
  ...bitTests.flatMap(bitTestForms),
  ...wordSizes.flatMap((bits) => {
    const operands = `r${bits}, r/m${bits}`
    const f3 = prefixed('F3', bits)
    const hot = bits !== 16
    return [
      form(`BSF ${operands}`, `${rexW(bits)}0F BC /r`, scan(lowest), { ...scanned, hot }),
      form(`BSR ${operands}`, `${rexW(bits)}0F BD /r`, scan(highest), { ...scanned, hot }),
      form(`TZCNT ${operands}`, `${f3}0F BC /r`, countZeros(trailing), { ...counted, hot, feature: 'bmi1' }),
      form(`LZCNT ${operands}`, `${f3}0F BD /r`, countZeros(leading), { ...counted, feature: 'lzcnt' }),
      form(`POPCNT ${operands}`, `${f3}0F B8 /r`, popcnt, { ...plain, feature: 'popcnt' }),
    ]
  }),
  form('CRC32 r32, r/m8', 'F2 0F 38 F0 /r', crc32, { ...plain, feature: 'sse4.2' }),
  form('CRC32 r64, r/m8', 'F2 REX.W 0F 38 F0 /r', crc32, { ...plain, feature: 'sse4.2' }),
  form('CRC32 r32, r/m16', 'F2 0F 38 F1 /r', crc32, { ...plain, feature: 'sse4.2' }),
  form('CRC32 r32, r/m32', 'F2 0F 38 F1 /r', crc32, { ...plain, feature: 'sse4.2' }),
  form('CRC32 r64, r/m64', 'F2 REX.W 0F 38 F1 /r', crc32, { ...plain, feature: 'sse4.2' }),
  ...([32, 64] as const).flatMap((bits) => [
    form(`ADCX r${bits}, r/m${bits}`, `${prefixed('66', bits)}0F 38 F6 /r`, addThrough(Flag.cf, 0), {
      ...plain,
      feature: 'adx',
    }),
    form(`ADOX r${bits}, r/m${bits}`, `${prefixed('F3', bits)}0F 38 F6 /r`, addThrough(Flag.of, 11), {
      ...plain,
      feature: 'adx',
    }),
  ]),
]
