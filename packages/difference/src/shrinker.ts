/**
 * Makes a differing case small: everything of its start state that the difference does not need becomes plain, so that
 * what is left tells where to look.
 */
import { unexplained } from './comparison.ts'
import type { Case, Engine } from './engine.ts'
import { Fxsave, MachineImage } from './machine-image.ts'

type Change = (image: MachineImage) => void

const MEMORY_STEP = 16

/** All that can be made plain, coarse steps first. */
function changes(): Change[] {
  const list: Change[] = [
    (image) => image.memory.fill(0),
    (image) => image.fxsave.fill(0, Fxsave.xmm, Fxsave.xmm + 256),
    (image) => image.fxsave.fill(0, Fxsave.st, Fxsave.st + 128),
    (image) => image.fxsaveView.setUint32(Fxsave.mxcsr, 0x1f80, true),
    (image) => image.fxsaveView.setUint16(Fxsave.fcw, 0x37f, true),
    (image) => image.fxsaveView.setUint16(Fxsave.fsw, 0, true),
    (image) => image.fxsaveView.setUint8(Fxsave.ftw, 0xff),
    (image) => {
      image.rflags = 0x202
    },
  ]
  for (let register = 0; register < 16; register++) {
    list.push((image) => image.setGpr(register, 0n))
    list.push((image) => image.setGpr(register, image.gpr(register) & 0xffn))
    list.push((image) => image.setGpr(register, image.gpr(register) & 0xffff_ffffn))
  }
  for (let register = 0; register < 16; register++) {
    const at = Fxsave.xmm + 16 * register
    list.push((image) => image.fxsave.fill(0, at, at + 16))
    list.push((image) => image.fxsave.fill(0, at + 8, at + 16))
    for (let lane = 0; lane < 4; lane++)
      list.push((image) => image.fxsave.fill(0, at + 4 * lane, at + 4 * lane + 4))
  }
  for (let register = 0; register < 8; register++) {
    const at = Fxsave.st + 16 * register
    list.push((image) => image.fxsave.fill(0, at, at + 16))
    list.push((image) => {
      image.fxsaveView.setBigUint64(at, 1n << 63n, true)
      image.fxsaveView.setUint16(at + 8, 0x3fff, true)
    })
  }
  const { length } = new MachineImage().memory
  for (let at = 0; at < length; at += MEMORY_STEP)
    list.push((image) => image.memory.fill(0, at, at + MEMORY_STEP))
  for (const flag of [0x1, 0x4, 0x10, 0x40, 0x80, 0x400, 0x800])
    list.push((image) => {
      image.rflags &= ~flag
    })
  return list
}

/** The smallest case found that `oracle` and `engine` still end differently. */
export function shrink(one: Case, oracle: Engine, engine: Engine): Case {
  const differing = (candidates: readonly Case[]): boolean[] => {
    const expected = oracle.run(candidates)
    const actual = engine.run(candidates)
    return candidates.map(
      (candidate, index) => unexplained(candidate, expected[index]!, actual[index]!).length > 0,
    )
  }
  let smallest = one
  // What keeps the difference alone is tried together, then one by one: two rounds reach what depends on other changes.
  for (let round = 0; round < 2; round++) {
    const tried = changes().map((change) => ({ change, candidate: changed(smallest, change) }))
    const useful = tried.filter(({ candidate }) => !same(candidate.start, smallest.start))
    const keep = differing(useful.map(({ candidate }) => candidate))
    for (const { change } of useful.filter((_, index) => keep[index])) {
      const candidate = changed(smallest, change)
      if (!same(candidate.start, smallest.start) && differing([candidate])[0]) smallest = candidate
    }
  }
  return smallest
}

function changed(one: Case, change: Change): Case {
  const start = one.start.clone()
  change(start)
  return { ...one, start }
}

function same(left: MachineImage, right: MachineImage): boolean {
  return left.bytes.every((byte, index) => byte === right.bytes[index])
}
