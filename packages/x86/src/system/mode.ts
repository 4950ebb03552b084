/**
 * Which mode the CPU is in (SDM volume 3, 2.2), asked at run time: for procedures, which are compiled once. Bodies of
 * instructions know it when they are built (`Builder.mode`).
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { Flag, Segment, SegmentField, State, segmentOffset } from '../state-layout.ts'
import { anyBit } from './bit-field.ts'
import { Cr0, Efer } from './control-bits.ts'

/** Attribute bits as `State.segments` keeps them. */
export const Attribute = {
  writable: 2,
  expandDown: 4,
  code: 8,
  segment: 0x10,
  present: 0x80,
  long: 0x2000,
  big: 0x4000,
} as const

export const rflagsOf = (b: Builder): Value => b.stateLoad(Access.u64, State.rflags)
export const attributesOf = (b: Builder, segment: number): Value =>
  b.stateLoad(Access.u16, segmentOffset(segment, SegmentField.attributes))

/** i32: IA-32e mode, 64-bit or compatibility. */
export function inLongMode(b: Builder): Value {
  return anyBit(b, b.stateLoad(Access.u64, State.efer), Efer.lma)
}

/** i32: 64-bit mode. */
export function in64BitMode(b: Builder): Value {
  return b.i32.and(inLongMode(b), anyBit(b, attributesOf(b, Segment.cs), Attribute.long))
}

/** i32: virtual-8086 mode. */
export function inVirtual8086(b: Builder): Value {
  return anyBit(b, rflagsOf(b), Flag.vm)
}

/** i32: CR0.PE, virtual-8086 mode included. */
export function protectionEnabled(b: Builder): Value {
  return anyBit(b, b.stateLoad(Access.u64, State.cr0), Cr0.pe)
}

/** i32: selectors name descriptors: neither real nor virtual-8086 mode. */
export function usesDescriptors(b: Builder): Value {
  return b.i32.and(protectionEnabled(b), b.i32.eqz(inVirtual8086(b)))
}
