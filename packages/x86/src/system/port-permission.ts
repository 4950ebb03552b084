/**
 * Whether IN, OUT, INS and OUTS may touch a port: IOPL, or the I/O permission bitmap of the task-state segment
 * (SDM volume 1, 19.5).
 */
import { Privilege } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { Segment, SegmentField, State, segmentOffset, Vector } from '../state-layout.ts'
import { bit, bitField32 } from './bit-field.ts'
import { baseOf, currentPrivilege } from './descriptor.ts'
import { attributesOf, inVirtual8086 } from './mode.ts'

const { i32 } = Type
/** Offset in the TSS of the bitmap's own offset. */
const TSS_BITMAP = 0x66

/** #GP(0) unless the program may access `sizeBytes` ports from `port`. (port, sizeBytes) */
export const requirePort: Procedure = procedure(
  'requirePort',
  { parameters: [i32, i32], mayFault: true },
  (b, port, sizeBytes) => {
    const iopl = bitField32(b, b.stateLoad(Access.u64, State.rflags), 12, 2)
    // Virtual-8086 mode looks at the bitmap whatever IOPL is. Only a TSS of 32 or 64 bits has one.
    b.if(b.i32.and(b.i32.leU(currentPrivilege(b), iopl), b.i32.eqz(inVirtual8086(b))), () => b.return())
    const gp = (): void => b.raise(Vector.gp, b.const32(0))
    b.if(b.i32.eqz(bit(b, attributesOf(b, Segment.tr), 3)), gp)
    const base = baseOf(b, Segment.tr)
    const limit = b.stateLoad(Access.i32, segmentOffset(Segment.tr, SegmentField.limit))
    b.if(b.i32.gtU(b.const32(TSS_BITMAP + 1), limit), gp)
    const start = b.i32.wrapI64(
      b.guestLoad(Access.u16, b.i64.add(base, b.const64(TSS_BITMAP)), Privilege.supervisor),
    )
    // Two bytes are read always, so that an access may straddle: the bitmap ends with a byte of ones.
    const at = b.i32.add(start, b.i32.shrU(port!, b.const32(3)))
    b.if(b.i32.geU(at, limit), gp)
    const bits = b.i32.wrapI64(
      b.guestLoad(Access.u16, b.i64.add(base, b.i64.extendI32U(at)), Privilege.supervisor),
    )
    const wanted = b.i32.sub(b.i32.shl(b.const32(1), sizeBytes!), b.const32(1))
    const denied = b.i32.and(b.i32.shrU(bits, b.i32.and(port!, b.const32(7))), wanted)
    b.if(denied, gp)
    b.return()
  },
)
