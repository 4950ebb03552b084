/** Fields of descriptors, control registers and page-table entries as IR. */
import type { Builder, Value } from '../ir/builder.ts'

/** Bits `low` to `low + count - 1` of an i64, moved down, as i64. */
export function bitField(b: Builder, value: Value, low: number, count: number): Value {
  return b.i64.and(b.i64.shrU(value, b.const64(low)), b.const64((1n << BigInt(count)) - 1n))
}

/** As `bitField`, as i32. For fields of up to 32 bits. */
export function bitField32(b: Builder, value: Value, low: number, count: number): Value {
  return b.i32.wrapI64(bitField(b, value, low, count))
}

/** One bit of an i64 as i32 0 or 1. */
export function bit(b: Builder, value: Value, index: number): Value {
  return bitField32(b, value, index, 1)
}

/** i32: whether an i64 has any of the bits of `mask`. */
export function anyBit(b: Builder, value: Value, mask: bigint | number): Value {
  return b.i64.ne(b.i64.and(value, b.const64(mask)), b.const64(0))
}

/** i32: whether an i64 is not a canonical address with `width` address bits (48, or 57 with CR4.LA57). */
export function notCanonical(b: Builder, address: Value, width: 48 | 57 = 48): Value {
  const unused = b.const64(64 - width)
  return b.i64.ne(b.i64.shrS(b.i64.shl(address, unused), unused), address)
}
