/** Memory operands: where they point and how they say so. */
import type { MemoryOperand } from '@trapframe/x86'
import {
  FS_BASE,
  GS_BASE,
  type MachineImage,
  memoryRegions,
  WINDOW_BASE,
  WINDOW_END,
  WINDOW_MIDDLE,
  WINDOW_READ_ONLY,
} from './machine-image.ts'
import type { Random } from './random.ts'
import { integerValue } from './values.ts'

const FS = 4
const GS = 5
const RSP = 4

/** Where an operand of `sizeBytes` bytes lies: mostly in writable memory, sometimes across one of the boundaries. */
export function targetAddress(random: Random, sizeBytes: number, alignment: number): bigint {
  const aligned = (address: bigint): bigint => address - (address % BigInt(alignment))
  const size = BigInt(sizeBytes)
  const before = BigInt(random.below(sizeBytes + 1))
  const choice = random.below(20)
  // What is large must not reach memory that is not watched.
  switch (sizeBytes > 64 && (choice === 2 || choice === 3 || choice === 6) ? 19 : choice) {
    case 0:
    case 1:
      return WINDOW_MIDDLE - before
    case 2:
      return aligned(WINDOW_READ_ONLY - before)
    case 3:
      return WINDOW_READ_ONLY - 64n + BigInt(random.below(Math.max(1, 128 - sizeBytes)))
    case 4:
      return WINDOW_END - before
    case 5:
      return WINDOW_BASE - before
    case 6:
      return random.once(2) ? unmappedAddress(random) : aligned(WINDOW_END - size)
    default: {
      const address = WINDOW_MIDDLE - 512n + BigInt(random.below(Math.max(1, 1024 - sizeBytes)))
      return random.once(4) ? address : aligned(address)
    }
  }
}

function unmappedAddress(random: Random): bigint {
  return random.pick([
    0n,
    0x1000_1000n,
    0x1000_5ff8n,
    0x7fff_ffff_0000n,
    0x8000_0000_0000n,
    0xffff_7fff_ffff_fff8n,
    0xffff_8000_0000_0000n,
    0x1234_5678_9abc_def0n,
  ])
}

/** Chooses a way to address `target` and sets the registers for it. @param reserved - registers that must keep their values */
export function addressOperand(
  random: Random,
  state: MachineImage,
  target: bigint,
  reserved: ReadonlySet<number>,
): MemoryOperand {
  const free = [...Array(16).keys()].filter((register) => !reserved.has(register))
  let segment = random.once(8) ? random.pick([FS, GS]) : undefined
  // CPUs check the effective address as well as the linear one for being canonical: both are, or both are not.
  if (segment !== undefined && target >= 1n << 47n) segment = undefined
  const linear = BigInt.asUintN(64, target - (segment === FS ? FS_BASE : segment === GS ? GS_BASE : 0n))
  const override = segment === undefined ? {} : { segment }
  const narrow = random.once(8) && linear < 1n << 32n
  const size = narrow ? { addressBits: 32 as const } : {}
  const fits = BigInt.asIntN(32, linear) === BigInt.asIntN(64, linear)
  switch (random.below(8)) {
    case 0:
      if (fits) return { displacement: BigInt.asIntN(32, linear), ...override, ...size }
      break
    case 1: {
      // The caller knows how long the instruction is and corrects the displacement.
      const distance = linear - state.rip
      if (segment === undefined && BigInt.asIntN(31, distance) === distance)
        return { ripRelative: true, ...size }
      break
    }
  }
  const displacement = BigInt(random.pick([0, 0, random.below(256) - 128, random.u32() | 0]))
  const wideDisplacement = random.once(8)
  const base = random.pick(free)
  const rest = linear - displacement
  const set = (register: number, value: bigint): void =>
    state.setGpr(register, narrow ? (BigInt(random.u32()) << 32n) | BigInt.asUintN(32, value) : value)
  const common = { base, displacement, wideDisplacement, ...override, ...size }
  const indices = free.filter((register) => register !== RSP && register !== base)
  if (random.once(2) || indices.length === 0) {
    set(base, rest)
    return common
  }
  const index = random.pick(indices)
  const scale = random.below(4)
  const offset = random.once(2) ? BigInt(random.below(64) - 32) : integerValue(random, 64)
  state.setGpr(index, offset)
  set(base, rest - (state.gpr(index) << BigInt(scale)))
  return { ...common, index, scale }
}

/** Registers that addresses of 16 bits are made of, as base and index; -1: none. */
const pairs16: readonly (readonly [base: number, index: number])[] = [
  [-1, -1],
  [3, -1],
  [5, -1],
  [6, -1],
  [7, -1],
  [3, 6],
  [3, 7],
  [5, 6],
  [5, 7],
]

/** As `addressOperand`, in code of 32 or 16 bits. The target lies in the segments. */
export function legacyAddressOperand(
  random: Random,
  state: MachineImage,
  target: bigint,
  reserved: ReadonlySet<number>,
): MemoryOperand {
  const offset = target - state.segmentBase
  // ES, CS (which cannot be written), SS, DS; FS and GS hold null selectors.
  const override = random.once(8) ? { segment: random.below(random.once(4) ? 6 : 4) } : {}
  const displacement = BigInt(random.pick([0, 0, random.below(256) - 128, random.below(0x1_0000) - 0x8000]))
  const garbage = (bits: number): bigint =>
    (BigInt(random.u32()) << 32n) | (bits === 16 ? BigInt(random.below(0x1_0000)) << 16n : 0n)
  if (state.mode === 16 && !random.once(3)) {
    const usable = pairs16.filter((pair) => !pair.some((register) => reserved.has(register)))
    const [base, index] = random.pick(usable)
    if (base < 0) return { displacement: BigInt.asUintN(16, offset), ...override }
    let rest = offset - displacement
    if (index >= 0) {
      state.setGpr(index, garbage(16) | BigInt(random.below(0x1_0000)))
      rest -= state.gpr(index)
    }
    state.setGpr(base, garbage(16) | BigInt.asUintN(16, rest))
    return { base, ...(index < 0 ? {} : { index }), displacement, ...override }
  }
  const common = { addressBits: 32 as const, ...override }
  const free = [...Array(8).keys()].filter((register) => !reserved.has(register))
  if (random.once(6) || free.length === 0) return { displacement: BigInt.asIntN(32, offset), ...common }
  const base = random.pick(free)
  const indices = free.filter((register) => register !== RSP && register !== base)
  const wideDisplacement = random.once(8)
  if (random.once(2) || indices.length === 0) {
    state.setGpr(base, garbage(32) | BigInt.asUintN(32, offset - displacement))
    return { base, displacement, wideDisplacement, ...common }
  }
  const index = random.pick(indices)
  const scale = random.below(4)
  state.setGpr(index, random.once(2) ? BigInt(random.below(64)) : integerValue(random, 32))
  state.setGpr(
    base,
    garbage(32) | BigInt.asUintN(32, offset - displacement - (state.gpr(index) << BigInt(scale))),
  )
  return { base, index, scale, displacement, wideDisplacement, ...common }
}

/** Position of a linear address in `MachineImage.memory`, or undefined. */
export function memoryOffset(address: bigint, sizeBytes: number): number | undefined {
  for (const region of memoryRegions) {
    const at = Number(address - region.address)
    if (at >= 0 && at + sizeBytes <= region.sizeBytes) return region.offset + at
  }
  return undefined
}
