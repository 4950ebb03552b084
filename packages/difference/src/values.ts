/** Operand values: a mixture of boundaries, near-boundaries and uniformly random bits. */
import type { Random } from './random.ts'

/** An integer of `bits` bits, zero-extended. */
export function integerValue(random: Random, bits: number): bigint {
  const width = BigInt(bits)
  const cut = (value: bigint): bigint => BigInt.asUintN(bits, value)
  switch (random.below(8)) {
    case 0:
      return random.pick([0n, 1n, 2n, cut(-1n), cut(-2n), 1n << (width - 1n), (1n << (width - 1n)) - 1n])
    case 1:
      // One bit, or all but one.
      return cut((1n << BigInt(random.below(bits))) ^ (random.once(2) ? -1n : 0n))
    case 2:
      // A run of ones.
      return cut(((1n << BigInt(random.below(bits))) - 1n) << BigInt(random.below(bits)))
    case 3:
      return BigInt(random.below(256))
    case 4:
      return cut(-BigInt(random.below(256)))
    case 5: {
      // Around a power of two that matters.
      const power = 1n << random.pick([7n, 8n, 15n, 16n, 31n, 32n, 47n, 63n])
      return cut(power + BigInt(random.below(5)) - 2n)
    }
    default:
      return cut(random.u64())
  }
}

const singles = [
  0, 0x8000_0000, 1, 0x8000_0001, 0x7f_ffff, 0x807f_ffff, 0x80_0000, 0x8080_0000, 0x80_0001, 0x3f80_0000,
  0xbf80_0000, 0x3f7f_ffff, 0x3f80_0001, 0x3f00_0000, 0xbf00_0000, 0x3fc0_0000, 0x4020_0000, 0x4040_0000,
  0x4b00_0000, 0x4b7f_ffff, 0x4b80_0000, 0x4eff_ffff, 0x4f00_0000, 0xcf00_0000, 0xcf00_0001, 0x5eff_ffff,
  0x5f00_0000, 0xdf00_0000, 0x7f7f_ffff, 0xff7f_ffff, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffc0_0000,
  0x7f80_0001, 0xff80_0001, 0x7fff_ffff, 0x7fbf_ffff, 0xffff_ffff,
]
/** Bits of an f32. */
export function singleBits(random: Random): number {
  switch (random.below(4)) {
    case 0:
      return random.pick(singles)
    case 1:
      // A moderate number, so that sums and products are not all overflow.
      return ((random.u32() & 0x807f_ffff) | ((120 + random.below(16)) << 23)) >>> 0
    case 2:
      // A small integer or a half.
      return new Uint32Array(new Float32Array([(random.below(2000) - 1000) / 2]).buffer)[0]!
    default:
      return random.u32()
  }
}

const doubles = [
  0n,
  1n << 63n,
  1n,
  (1n << 63n) | 1n,
  0xf_ffff_ffff_ffffn,
  0x10_0000_0000_0000n,
  0x8010_0000_0000_0000n,
  0x3ff0n << 48n,
  0xbff0n << 48n,
  0x3fef_ffff_ffff_ffffn,
  0x3ff0_0000_0000_0001n,
  0x3fe0n << 48n,
  0xbfe0n << 48n,
  0x3ff8n << 48n,
  0x4004n << 48n,
  0x4330n << 48n,
  0x433f_ffff_ffff_ffffn,
  0x41df_ffff_ffc0_0000n,
  0x41df_ffff_ffe0_0000n,
  0x41e0n << 48n,
  0xc1e0n << 48n,
  0xc1e0_0000_0010_0000n,
  0xc1e0_0000_0020_0000n,
  0x43df_ffff_ffff_ffffn,
  0x43e0n << 48n,
  0xc3e0n << 48n,
  0x7fef_ffff_ffff_ffffn,
  0xffef_ffff_ffff_ffffn,
  0x7ff0n << 48n,
  0xfff0n << 48n,
  0x7ff8n << 48n,
  0xfff8n << 48n,
  0x7ff0_0000_0000_0001n,
  0xfff0_0000_0000_0001n,
  0x7ff7_ffff_ffff_ffffn,
  0x47ef_ffff_e000_0000n,
  0x47ef_ffff_f000_0000n,
  0x47ef_ffff_efff_ffffn,
  0x36a0n << 48n,
  0x3690n << 48n,
  0x3690_0000_0000_0001n,
  0x380f_ffff_c000_0000n,
  0x380f_ffff_e000_0000n,
  0x3ff0_0000_1000_0000n,
  0x3ff0_0000_1000_0001n,
]
/** Bits of an f64. */
export function doubleBits(random: Random): bigint {
  switch (random.below(4)) {
    case 0:
      return random.pick(doubles)
    case 1:
      return (random.u64() & 0x800f_ffff_ffff_ffffn) | (BigInt(1016 + random.below(16)) << 52n)
    case 2:
      return new BigUint64Array(new Float64Array([(random.below(200000) - 100000) / 2]).buffer)[0]!
    default:
      return random.u64()
  }
}

/** An 80-bit value, mostly of forms that are no longer or never were supported less often. */
export function extendedValue(random: Random): { significand: bigint; exponent: number } {
  const integerBit = 1n << 63n
  const sign = random.below(2) << 15
  switch (random.below(12)) {
    case 0:
      return { significand: 0n, exponent: sign }
    case 1:
      return { significand: integerBit, exponent: sign | 0x3fff }
    case 2:
      return {
        significand: random.pick([
          integerBit,
          integerBit | (1n << 62n),
          integerBit | 1n,
          integerBit | (1n << 62n) | 5n,
          1n << 62n,
        ]),
        exponent: sign | 0x7fff,
      }
    case 3:
      // Denormal, or pseudo-denormal.
      return {
        significand: random.once(4)
          ? integerBit | random.u64()
          : random.u64() >> BigInt(1 + random.below(63)),
        exponent: sign,
      }
    case 4:
      // Around the limits of f32, f64 and integers.
      return {
        significand: integerBit | (random.once(2) ? ~0n & (integerBit - 1n) : random.u64() & 0xfffn),
        exponent:
          sign |
          (0x3fff +
            random.pick([
              -16382, -16381, -1075, -1074, -1023, -1022, -150, -149, -127, -126, -64, -1, 0, 14, 15, 30, 31,
              32, 62, 63, 64, 127, 128, 1023, 1024, 16382, 16383,
            ])),
      }
    case 5: {
      // A small integer.
      const value = BigInt(1 + random.below(1000))
      const bits = value.toString(2).length
      return { significand: value << BigInt(64 - bits), exponent: sign | (0x3ffe + bits) }
    }
    case 6:
      // No integer bit though the exponent asks for one: invalid.
      return random.once(4)
        ? { significand: random.u64() >> 1n, exponent: sign | random.below(0x8000) }
        : { significand: integerBit | random.u64(), exponent: sign | 0x3fff }
    case 7:
      return { significand: integerBit | random.u64(), exponent: sign | random.below(0x7fff) }
    default:
      return { significand: integerBit | random.u64(), exponent: sign | (0x3fff - 40 + random.below(80)) }
  }
}
