/**
 * The flat view of an address space: sorted ranges that do not overlap, computed from overlapping regions and their
 * priorities. Lookup is a binary search without allocation.
 */
import { MemoryError } from './memory-error.ts'
import type { ConcreteRegion, Region } from './region.ts'

/** One range of the flat view. */
export interface FlatRange {
  /** Guest-physical address. */
  readonly base: number
  readonly sizeBytes: number
  /** What answers here, behind all aliases. */
  readonly region: ConcreteRegion
  /** Where in the region the range begins. */
  readonly offset: number
}

/** Deepest chain of aliases; a longer one is taken for a cycle. */
const MAX_ALIAS_DEPTH = 16

/** Computes the flat view of `regions`, given in the order of mapping. */
export function flatten(regions: readonly Region[]): FlatRange[] {
  const edges = new Set<number>()
  for (const region of regions) edges.add(region.base).add(region.base + region.sizeBytes)
  const sorted = [...edges].sort((a, b) => a - b)
  const ranges: FlatRange[] = []
  for (let n = 0; n + 1 < sorted.length; n++) {
    const base = sorted[n]!
    const end = sorted[n + 1]!
    const region = topmost(regions, base)
    if (region) addResolved(ranges, region, base - region.base, base, end - base)
  }
  return ranges
}

/** The range that holds `address`, or undefined. */
export function findRange(ranges: readonly FlatRange[], address: number): FlatRange | undefined {
  let low = 0
  let high = ranges.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (ranges[middle]!.base <= address) low = middle + 1
    else high = middle
  }
  const range = ranges[low - 1]
  return range !== undefined && address - range.base < range.sizeBytes ? range : undefined
}

function topmost(regions: readonly Region[], address: number): Region | undefined {
  let best: Region | undefined
  for (const region of regions) {
    if (address < region.base || address - region.base >= region.sizeBytes) continue
    if (!best || (region.priority ?? 0) >= (best.priority ?? 0)) best = region
  }
  return best
}

function addResolved(
  ranges: FlatRange[],
  from: Region,
  fromOffset: number,
  base: number,
  size: number,
): void {
  let region = from
  let offset = fromOffset
  for (let depth = 0; region.kind === 'alias'; depth++) {
    if (depth === MAX_ALIAS_DEPTH)
      throw new MemoryError('memory/alias', `alias ${from.name} does not end in a region`)
    offset += region.targetOffset
    region = region.target
  }
  const last = ranges.at(-1)
  if (
    last !== undefined &&
    last.region === region &&
    last.base + last.sizeBytes === base &&
    last.offset + last.sizeBytes === offset
  ) {
    ranges[ranges.length - 1] = { ...last, sizeBytes: last.sizeBytes + size }
  } else {
    ranges.push({ base, sizeBytes: size, region, offset })
  }
}
