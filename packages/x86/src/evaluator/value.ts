/**
 * Values as the evaluator carries them. Integers are canonical: an i32 is a signed number, an i64 an unsigned bigint.
 * Floating-point values are their bits (f32 as i32, f64 as i64), so that moves keep every NaN; a v128 is 16 bytes that
 * nobody writes to once it exists.
 */
import { TrapframeError } from '@trapframe/core'

export type Scalar = number | bigint | Uint8Array

/** The evaluator, or IR that it was given, is wrong: never something that a guest did. */
export class EvaluatorError extends TrapframeError {
  /** @param message - what is wrong */
  constructor(message: string) {
    super('x86/evaluator', message)
  }
}

const buffer = new DataView(new ArrayBuffer(8))

/** Number that the bits of an f32 stand for. */
export function f32Value(bits: number): number {
  buffer.setInt32(0, bits)
  return buffer.getFloat32(0)
}

/**
 * Bits of an f32, rounded from a number. Every NaN becomes the positive canonical one: WebAssembly lets an engine
 * choose, so semantics that depend on the choice differ here from an engine on x86 and are found out.
 */
export function f32Bits(value: number): number {
  if (Number.isNaN(value)) return 0x7fc0_0000
  buffer.setFloat32(0, value)
  return buffer.getInt32(0)
}

export function f64Value(bits: bigint): number {
  buffer.setBigUint64(0, bits)
  return buffer.getFloat64(0)
}

export function f64Bits(value: number): bigint {
  if (Number.isNaN(value)) return 0x7ff8_0000_0000_0000n
  buffer.setFloat64(0, value)
  return buffer.getBigUint64(0)
}

/** Nearest integer, ties to even, keeping the sign of zero. */
export function roundTiesToEven(value: number): number {
  if (!Number.isFinite(value) || Math.abs(value) >= 2 ** 52) return value
  const down = Math.floor(value)
  const rest = value - down
  const rounded = rest < 0.5 ? down : rest > 0.5 ? down + 1 : down % 2 === 0 ? down : down + 1
  return rounded === 0 && (value < 0 || Object.is(value, -0)) ? -0 : rounded
}

/** An integer as the nearest f32; by way of f64 it would be rounded twice. */
export function integerToF32(value: bigint): number {
  let magnitude = value < 0n ? -value : value
  // The low 11 bits of a 64-bit integer cannot matter to a 24-bit significand but as "something is there".
  if (magnitude >> 53n !== 0n) magnitude = ((magnitude >> 11n) << 11n) | (magnitude & 0x7ffn ? 0x800n : 0n)
  const rounded = Math.fround(Number(magnitude))
  return value < 0n ? -rounded : rounded
}

/** Truncates towards zero, saturating; NaN gives 0. */
export function truncateSaturated32(value: number): number {
  if (Number.isNaN(value)) return 0
  return Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(value))) | 0
}

export function truncateSaturated64(value: number): bigint {
  if (Number.isNaN(value)) return 0n
  if (value >= 2 ** 63) return 0x7fff_ffff_ffff_ffffn
  if (value <= -(2 ** 63)) return 0x8000_0000_0000_0000n
  return BigInt.asUintN(64, BigInt(Math.trunc(value)))
}
