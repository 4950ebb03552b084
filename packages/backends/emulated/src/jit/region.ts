/**
 * Regions: the code that is reachable by direct branches from one address without leaving its page, as basic blocks.
 * Code that crosses the page, or that would make the region too large, is left to the interpreter: edges to it leave.
 */
import { Decoded, type Decoder, type Form } from '@trapframe/x86'

/** How an instruction goes on. */
export const Flow = {
  /** With the next instruction. */
  next: 0,
  /** With the next one or at the direct target. */
  conditional: 1,
  /** At the direct target. */
  direct: 2,
  /** Somewhere else, or nobody knows before it is executed. */
  leaves: 3,
} as const

export interface RegionInstruction {
  /** Offset in the page. */
  readonly start: number
  readonly length: number
  readonly form: number
  readonly flow: number
  /** Offset of the direct target relative to the page; may lie outside of it. */
  readonly target: number
}

/** A basic block. Offsets are relative to the page; a successor that is not a block of the region is left to the interpreter. */
export interface RegionBlock {
  readonly start: number
  readonly instructions: readonly RegionInstruction[]
  /** Offset behind the last instruction. */
  readonly end: number
  /** Number of the block at the direct target, or -1. */
  taken: number
  /** Number of the block that follows, or -1. */
  next: number
}

export interface Region {
  /** Host address of the page. */
  readonly page: number
  /** Blocks; the first one is where the region is entered. */
  readonly blocks: readonly RegionBlock[]
  readonly instructionCount: number
}

/** Largest region, in instructions: what may run between two looks at the budget. */
export const MAX_REGION_INSTRUCTIONS = 400
const PAGE_BYTES = 4096

/** Flow of each form, by its row. */
export function formFlow(form: Form): number {
  const direct = form.operands.some((kind) => kind.startsWith('rel'))
  if (direct) return form.mnemonic === 'JMP' || form.mnemonic === 'CALL' ? Flow.direct : Flow.conditional
  // String instructions end blocks because they may come back to themselves; else they go on.
  if (form.options.string) return Flow.next
  return form.options.ends ? Flow.leaves : Flow.next
}

/** The region entered at host address `host`, or undefined where not even its first instruction can be taken in. */
export function discoverRegion(
  decoder: Decoder,
  flows: Uint8Array,
  bytes: Uint8Array,
  host: number,
): Region | undefined {
  const page = host & -PAGE_BYTES
  const decoded = new Decoded()
  const found = new Map<number, RegionInstruction>()
  const leaders = new Set<number>([host - page])
  const work = [host - page]
  while (work.length > 0 && found.size < MAX_REGION_INSTRUCTIONS) {
    let offset = work.shift()!
    while (!found.has(offset) && found.size < MAX_REGION_INSTRUCTIONS) {
      const length = decoder.decode(bytes, page + offset, PAGE_BYTES - offset, 64, decoded)
      if (length <= 0 || offset + length > PAGE_BYTES) break
      // A repeated string instruction may use up the budget: what follows is looked at anew.
      const flow = decoded.repeat !== 0 ? Flow.leaves : flows[decoded.form]!
      const next = offset + length
      const target = next + decoded.relative
      found.set(offset, { start: offset, length, form: decoded.form, flow, target })
      if (flow === Flow.conditional || flow === Flow.direct) {
        if (target >= 0 && target < PAGE_BYTES) {
          leaders.add(target)
          work.push(target)
        }
        if (flow === Flow.conditional) leaders.add(next)
      }
      if (flow === Flow.direct || flow === Flow.leaves) break
      offset = next
    }
  }
  if (!found.has(host - page)) return undefined
  const blocks: RegionBlock[] = []
  const numbers = new Map<number, number>()
  for (const start of leaders) {
    if (!found.has(start)) continue
    const instructions: RegionInstruction[] = []
    let offset = start
    for (;;) {
      const instruction = found.get(offset)
      if (!instruction) break
      instructions.push(instruction)
      offset += instruction.length
      if (instruction.flow !== Flow.next || leaders.has(offset)) break
    }
    numbers.set(start, blocks.length)
    blocks.push({ start, instructions, end: offset, taken: -1, next: -1 })
  }
  for (const block of blocks) {
    const last = block.instructions.at(-1)!
    if (last.flow === Flow.conditional || last.flow === Flow.direct)
      block.taken = numbers.get(last.target) ?? -1
    if (last.flow === Flow.conditional || last.flow === Flow.next) block.next = numbers.get(block.end) ?? -1
  }
  return { page, blocks, instructionCount: found.size }
}
