/**
 * The shape of a region's control flow: reverse postorder, dominators, loop headers and merge points. From it follows
 * structured code (N. Ramsey, "Beyond Relooper", 2022): a block's code is placed inside the block that dominates it.
 */
import type { RegionBlock } from './region.ts'

export interface ControlFlow {
  /** Block numbers in reverse postorder; unreachable ones are missing. */
  readonly order: readonly number[]
  /** Place of each block in `order`, or -1. */
  readonly place: Int32Array
  /** Blocks whose immediate dominator is the given one, and which are merge points: later in the order first. */
  readonly merges: readonly (readonly number[])[]
  /** Whether a backward edge enters the block from one that it dominates. */
  readonly isLoop: Uint8Array
  readonly isMerge: Uint8Array
  /** Whether `a` dominates `b`. */
  dominates(a: number, b: number): boolean
}

export function analyse(blocks: readonly RegionBlock[]): ControlFlow {
  const count = blocks.length
  const successors = (block: number): number[] => {
    const { taken, next } = blocks[block]!
    return [taken, next].filter((successor) => successor >= 0)
  }
  // Postorder without recursion.
  const seen = new Uint8Array(count)
  const postorder: number[] = []
  const stack: { block: number; rest: number[] }[] = [{ block: 0, rest: successors(0) }]
  seen[0] = 1
  while (stack.length > 0) {
    const top = stack.at(-1)!
    const successor = top.rest.pop()
    if (successor === undefined) {
      postorder.push(top.block)
      stack.pop()
    } else if (seen[successor] === 0) {
      seen[successor] = 1
      stack.push({ block: successor, rest: successors(successor) })
    }
  }
  const order = postorder.reverse()
  const place = new Int32Array(count).fill(-1)
  order.forEach((block, index) => {
    place[block] = index
  })
  const predecessors: number[][] = blocks.map(() => [])
  for (const block of order) for (const successor of successors(block)) predecessors[successor]!.push(block)

  // Immediate dominators (Cooper, Harvey and Kennedy), over places in the order.
  const idom = new Int32Array(order.length).fill(-1)
  idom[0] = 0
  for (let changed = true; changed; ) {
    changed = false
    for (let i = 1; i < order.length; i++) {
      let dominator = -1
      for (const predecessor of predecessors[order[i]!]!) {
        let p = place[predecessor]!
        if (idom[p] === -1) continue
        if (dominator === -1) {
          dominator = p
          continue
        }
        while (p !== dominator) {
          while (p > dominator) p = idom[p]!
          while (dominator > p) dominator = idom[dominator]!
        }
      }
      if (dominator !== idom[i]) {
        idom[i] = dominator
        changed = true
      }
    }
  }
  const dominates = (a: number, b: number): boolean => {
    const wanted = place[a]!
    let at = place[b]!
    while (at > wanted) at = idom[at]!
    return at === wanted
  }

  const isLoop = new Uint8Array(count)
  const isMerge = new Uint8Array(count)
  for (const block of order) {
    let forward = 0
    for (const predecessor of predecessors[block]!) {
      if (place[predecessor]! < place[block]!) forward++
      else if (dominates(block, predecessor)) isLoop[block] = 1
    }
    if (forward > 1) isMerge[block] = 1
  }
  const merges: number[][] = blocks.map(() => [])
  for (let i = order.length - 1; i > 0; i--) if (isMerge[order[i]!]) merges[order[idom[i]!]!]!.push(order[i]!)
  return { order, place, merges, isLoop, isMerge, dominates }
}
