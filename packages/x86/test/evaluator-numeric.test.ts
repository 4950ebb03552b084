import { describe, expect, test } from 'vitest'
import { scalarOperations } from '../src/evaluator/scalar-operations.ts'
import type { Scalar } from '../src/evaluator/value.ts'
import { vectorOperations } from '../src/evaluator/vector-operations.ts'
import { numericRows, Type } from '../src/ir/op.ts'

// One module per operation: `run` loads the operands from memory (16 bytes apart from 16 on), executes the operation
// and stores the result at 0. Through memory, because JavaScript does not keep the bits of a NaN.
const load: Record<number, number[]> = {
  [Type.i32]: [0x28, 0, 0],
  [Type.i64]: [0x29, 0, 0],
  [Type.f32]: [0x2a, 0, 0],
  [Type.f64]: [0x2b, 0, 0],
  [Type.v128]: [0xfd, 0, 0, 0],
}
const store: Record<number, number[]> = {
  [Type.i32]: [0x36, 0, 0],
  [Type.i64]: [0x37, 0, 0],
  [Type.f32]: [0x38, 0, 0],
  [Type.f64]: [0x39, 0, 0],
  [Type.v128]: [0xfd, 11, 0, 0],
}
const leb = (value: number): number[] => (value < 0x80 ? [value] : [(value & 0x7f) | 0x80, value >> 7])
const opcodeBytes = (opcode: number): number[] =>
  opcode >= 0x240 ? [0xfc, opcode - 0x240] : opcode >= 0x100 ? [0xfd, ...leb(opcode - 0x100)] : [opcode]

function compile(
  opcode: number,
  operands: readonly Type[],
  result: Type,
): { view: DataView; run: () => void } {
  const body = [0, 0x41, 0]
  operands.forEach((type, index) => body.push(0x41, 16 * (index + 1), ...load[type]!))
  body.push(...opcodeBytes(opcode), ...store[result]!, 0x0b)
  const section = (id: number, bytes: number[]): number[] => [id, ...leb(bytes.length), ...bytes]
  const bytes = Uint8Array.from([
    0,
    0x61,
    0x73,
    0x6d,
    1,
    0,
    0,
    0,
    ...section(1, [1, 0x60, 0, 0]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, 1]),
    ...section(7, [2, 1, 0x6d, 2, 0, 1, 0x72, 0, 0]),
    ...section(10, [1, ...leb(body.length), ...body]),
  ])
  const { m, r } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports
  return { view: new DataView((m as WebAssembly.Memory).buffer), run: r as () => void }
}

let seed = 1
const random32 = (): number => {
  seed = Math.imul(seed ^ (seed >>> 15), 0x2c1b3c6d) + 0x9e3779b9
  return (seed ^ (seed >>> 13) ^ (seed << 7)) | 0
}
const pick = <T>(list: readonly T[]): T => list[(random32() >>> 0) % list.length]!
const corners32 = [
  0,
  1,
  2,
  -1,
  -2,
  31,
  32,
  127,
  128,
  255,
  0x7fff,
  0x8000,
  0xffff,
  0x7fff_ffff,
  -0x8000_0000,
  0x80ff_7f01 | 0,
]
const float32Corners = [
  0, 0x8000_0000, 1, 0x8000_0001, 0x7f_ffff, 0x80_0000, 0x3f80_0000, 0xbf80_0000, 0x3f00_0000, 0x3fc0_0000,
  0x4020_0000, 0xbf00_0000, 0x4b00_0000, 0x4b7f_ffff, 0x4f00_0000, 0xcf00_0000, 0x4eff_ffff, 0x5f00_0000,
  0xdf00_0000, 0x7f7f_ffff, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffc0_0000, 0x7f80_0001, 0x7fc1_2345,
].map((bits) => bits | 0)
const float64Corners = [
  0n,
  1n << 63n,
  1n,
  0xf_ffff_ffff_ffffn,
  0x3ff0n << 48n,
  0xbff0n << 48n,
  0x3fe0n << 48n,
  0x3ff8n << 48n,
  0x4004n << 48n,
  0xbfe0n << 48n,
  0x3fdf_ffff_ffff_ffffn,
  0x4330n << 48n,
  0x433f_ffff_ffff_ffffn,
  0x41dfffffffc00000n,
  0x41e0n << 48n,
  0xc1e0n << 48n,
  0xc1e0_0000_0020_0000n,
  0x43e0n << 48n,
  0xc3e0n << 48n,
  0x43f0n << 48n,
  0x7fefffffffffffffn,
  0x7ff0n << 48n,
  0xfff0n << 48n,
  0x7ff8n << 48n,
  0x7ff0_0000_0000_0001n,
  0x47efffffe0000000n,
  0x47effffff0000000n,
  0x36a0n << 48n,
  0x3690n << 48n,
  0x380fffffc0000000n,
  0x3ff0_0000_1000_0000n,
  0x3ff0_0000_1000_0001n,
]
const random64 = (): bigint => (BigInt(random32() >>> 0) << 32n) | BigInt(random32() >>> 0)

function operand(type: Type): Scalar {
  const corner = random32() & 1
  switch (type) {
    case Type.i32:
      return corner ? pick(corners32) : random32()
    case Type.i64:
      return corner
        ? BigInt.asUintN(64, BigInt(pick(corners32)) << pick([0n, 0n, 20n, 32n, 33n]))
        : random64() >> pick([0n, 0n, 10n, 40n])
    case Type.f32:
      return corner ? pick(float32Corners) : random32()
    case Type.f64:
      return corner ? pick(float64Corners) : random64()
    default: {
      const lanes = new Uint8Array(16)
      const view = new DataView(lanes.buffer)
      const kind = (random32() >>> 0) % 4
      for (let i = 0; i < 4; i++)
        view.setInt32(
          4 * i,
          kind === 0 ? pick(corners32) : kind === 1 ? pick(float32Corners) : random32(),
          true,
        )
      if (kind === 2) for (let i = 0; i < 2; i++) view.setBigUint64(8 * i, pick(float64Corners), true)
      return lanes
    }
  }
}

function put(view: DataView, at: number, type: Type, value: Scalar): void {
  if (type === Type.v128) new Uint8Array(view.buffer).set(value as Uint8Array, at)
  else if (type === Type.i64 || type === Type.f64) view.setBigUint64(at, value as bigint, true)
  else view.setInt32(at, value as number, true)
}
const hex = (value: Scalar): string =>
  value instanceof Uint8Array
    ? Buffer.from(value).toString('hex')
    : typeof value === 'bigint'
      ? value.toString(16)
      : (value >>> 0).toString(16)

const isNan32 = (bits: number): boolean => (bits & 0x7fff_ffff) > 0x7f80_0000
const isNan64 = (bits: bigint): boolean => (bits & ~(1n << 63n)) > 0x7ff0n << 48n
/** NaN made the same: WebAssembly leaves sign and payload open where an operation computes. */
function canonical(name: string, result: Type, value: Scalar): Scalar {
  const moves = /abs|neg|copysign|reinterpret|pmin|pmax/.test(name)
  if (moves) return value
  if (result === Type.f32) return isNan32(value as number) ? 0x7fc0_0000 : value
  if (result === Type.f64) return isNan64(value as bigint) ? 0x7ff8n << 48n : value
  if (result !== Type.v128 || !/^f(32x4|64x2)\.(?!(eq|ne|lt|gt|le|ge|splat)$)/.test(name)) return value
  const copy = (value as Uint8Array).slice()
  const view = new DataView(copy.buffer)
  if (name.startsWith('f32x4'))
    for (let i = 0; i < 16; i += 4) {
      if (isNan32(view.getInt32(i, true))) view.setInt32(i, 0x7fc0_0000, true)
    }
  else
    for (let i = 0; i < 16; i += 8) {
      if (isNan64(view.getBigUint64(i, true))) view.setBigUint64(i, 0x7ff8n << 48n, true)
    }
  return copy
}

describe('behaviour: the evaluator computes what WebAssembly computes', () => {
  test.each(numericRows.map((row) => [row[0], row] as const))('%s', (name, [, opcode, operands, result]) => {
    const { view, run } = compile(opcode, operands, result)
    const operation = (opcode >= 0x100 && opcode < 0x240 ? vectorOperations : scalarOperations)[opcode]!
    expect(operation, `opcode ${opcode}`).toBeDefined()
    for (let round = 0; round < 600; round++) {
      const values = operands.map(operand)
      values.forEach((value, index) => put(view, 16 * (index + 1), operands[index]!, value))
      let trapped = false
      try {
        run()
      } catch {
        trapped = true
      }
      if (trapped) {
        expect(() => operation(values[0]!, values[1]!, values[2]!), values.map(hex).join(' ')).toThrow(
          'WebAssembly would trap',
        )
        continue
      }
      const expected: Scalar =
        result === Type.v128
          ? new Uint8Array(view.buffer.slice(0, 16))
          : result === Type.i64 || result === Type.f64
            ? view.getBigUint64(0, true)
            : view.getInt32(0, true)
      const actual = operation(values[0]!, values[1]!, values[2]!)
      if (hex(canonical(name, result, actual)) !== hex(canonical(name, result, expected)))
        expect.fail(
          `${name}(${values.map(hex).join(', ')}) = ${hex(actual)}, WebAssembly says ${hex(expected)}`,
        )
    }
  })
})
