/**
 * The stack of the running program, in every mode: RSP alone in 64-bit mode, SS:ESP or SS:SP by SS.B elsewhere. Bodies of
 * 64-bit mode use RSP directly (families/registers.ts); everything else comes here.
 *
 * Stack pointers are passed as i64 of any value and cut to the stack's address size when used.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { Segment, State } from '../state-layout.ts'
import { anyBit } from './bit-field.ts'
import { Attribute, attributesOf, in64BitMode } from './mode.ts'
import { segmentedConstant } from './segmentation.ts'

const { i32, i64 } = Type
const RSP = State.gpr + 4 * 8

export const stackPointer = (b: Builder): Value => b.stateLoad(Access.u64, RSP)

/** Mask of the stack's address size. () -> i64 */
export const stackMask: Procedure = procedure('stackMask', { result: i64 }, (b) => {
  b.if(in64BitMode(b), () => b.return(b.const64(-1)))
  b.return(
    b.select(
      anyBit(b, attributesOf(b, Segment.ss), Attribute.big),
      b.const64(0xffff_ffff),
      b.const64(0xffff),
    ),
  )
})

/** Address for guest accesses at a stack pointer. (pointer) -> i64 */
export const stackAddress: Procedure = procedure(
  'stackAddress',
  { parameters: [i64], result: i64 },
  (b, pointer) => {
    b.if(in64BitMode(b), () => b.return(pointer!))
    b.return(b.i64.add(segmentedConstant(b, Segment.ss), b.i64.and(pointer!, b.call(stackMask))))
  },
)

/** Loads `bytes` (i32: 2, 4 or 8) at a stack pointer. (pointer, bytes) -> i64 */
export const loadStack: Procedure = procedure(
  'loadStack',
  { parameters: [i64, i32], result: i64, mayFault: true },
  (b, pointer, bytes) => {
    const address = b.call(stackAddress, pointer!)
    b.if(b.i32.eq(bytes!, b.const32(8)), () => b.return(b.guestLoad(Access.u64, address)))
    b.if(b.i32.eq(bytes!, b.const32(4)), () => b.return(b.guestLoad(Access.u32, address)))
    b.return(b.guestLoad(Access.u16, address))
  },
)

/** Stores `bytes` (i32: 2, 4 or 8) at a stack pointer. (pointer, bytes, value) */
export const storeStack: Procedure = procedure(
  'storeStack',
  { parameters: [i64, i32, i64], mayFault: true },
  (b, pointer, bytes, value) => {
    const address = b.call(stackAddress, pointer!)
    b.if(
      b.i32.eq(bytes!, b.const32(8)),
      () => b.guestStore(Access.u64, address, value!),
      () =>
        b.if(
          b.i32.eq(bytes!, b.const32(4)),
          () => b.guestStore(Access.u32, address, value!),
          () => b.guestStore(Access.u16, address, value!),
        ),
    )
    b.return()
  },
)

/** Sets the stack pointer: RSP, ESP, or SP alone on a stack of 16 bits. (pointer) */
export const setStackPointer: Procedure = procedure(
  'setStackPointer',
  { parameters: [i64] },
  (b, pointer) => {
    const mask = b.call(stackMask)
    b.if(
      b.i64.eq(mask, b.const64(0xffff)),
      () => b.stateStore(Access.u16, RSP, pointer!),
      () => b.stateStore(Access.u64, RSP, b.i64.and(pointer!, mask)),
    )
    b.return()
  },
)
