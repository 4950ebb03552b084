/**
 * Constant folding while IR is built: what is known when an instruction is translated (register numbers, immediates,
 * sizes) disappears from the code. Integer operations only; division and floating point are left alone.
 */
import type { Builder, Value } from './builder.ts'
import { Op, Type } from './op.ts'

const i32Binary: Record<number, (x: number, y: number) => number> = {
  70: (x, y) => +(x === y),
  71: (x, y) => +(x !== y),
  72: (x, y) => +(x < y),
  73: (x, y) => +(x >>> 0 < y >>> 0),
  106: (x, y) => x + y,
  107: (x, y) => x - y,
  108: Math.imul,
  113: (x, y) => x & y,
  114: (x, y) => x | y,
  115: (x, y) => x ^ y,
  116: (x, y) => x << (y & 31),
  117: (x, y) => x >> (y & 31),
  118: (x, y) => x >>> (y & 31),
}

const u64 = (x: bigint): bigint => BigInt.asUintN(64, x)
const i64Binary: Record<number, (x: bigint, y: bigint) => bigint> = {
  124: (x, y) => x + y,
  125: (x, y) => x - y,
  126: (x, y) => x * y,
  131: (x, y) => x & y,
  132: (x, y) => x | y,
  133: (x, y) => x ^ y,
  134: (x, y) => x << (y & 63n),
  135: (x, y) => x >> (y & 63n),
  136: (x, y) => u64(x) >> (y & 63n),
}
const i64Compare: Record<number, (x: bigint, y: bigint) => boolean> = {
  81: (x, y) => x === y,
  82: (x, y) => x !== y,
  83: (x, y) => x < y,
  84: (x, y) => u64(x) < u64(y),
}
/** x op 0 = x. */
const zeroIsNeutral = new Set([
  0x6a, 0x6b, 0x72, 0x73, 0x74, 0x75, 0x76, 0x7c, 0x7d, 0x84, 0x85, 0x86, 0x87, 0x88,
])

/** The value of an operation whose operands are known, or `x` where the operation changes nothing, or undefined. */
export function foldNumeric(b: Builder, opcode: number, x: Value, y: Value | undefined): Value | undefined {
  const { op } = b.code
  if (y === undefined) {
    if (op[x] !== Op.constant) return undefined
    const value = b.constantOf(x)!
    if (opcode === 0x45 || opcode === 0x50) return b.const32(value === 0n ? 1 : 0)
    if (opcode === 0xa7) return b.const32(Number(BigInt.asIntN(32, value)))
    if (opcode === 0xac) return b.const64(value)
    if (opcode === 0xad) return b.const64(BigInt.asUintN(32, value))
    if (opcode === 0xc2) return b.const64(BigInt.asIntN(8, value))
    if (opcode === 0xc3) return b.const64(BigInt.asIntN(16, value))
    if (opcode === 0xc4) return b.const64(BigInt.asIntN(32, value))
    return undefined
  }
  if (op[y] !== Op.constant) return undefined
  const right = b.constantOf(y)!
  if (right === 0n && zeroIsNeutral.has(opcode)) return x
  if (right === -1n && (opcode === 0x71 || opcode === 0x83)) return x
  if (op[x] !== Op.constant) return undefined
  const left = b.constantOf(x)!
  if (b.typeOf(x) === Type.i32) {
    const fold = i32Binary[opcode]
    return fold && b.const32(fold(Number(left), Number(right)))
  }
  const compare = i64Compare[opcode]
  if (compare) return b.const32(compare(left, right) ? 1 : 0)
  const fold = i64Binary[opcode]
  return fold && b.const64(fold(left, right))
}
