/**
 * Accesses that the driver answers: device memory, ports, and model-specific registers that the vCPU does not own.
 *
 * The instruction asks; without an answer it is abandoned by an exit, the driver performs the access, and the
 * instruction is executed again from its start. Its accesses then find their answers in `State.replay`, in order
 * (`replayPosition` counts those taken, `replayCount` those there are; both are zero when an instruction starts for the
 * first time). Writes have an answer too, whose value says nothing.
 *
 * A driver that refuses an MSR access sets `State.exitFault` beside the answer: an instruction makes at most one MSR
 * access, and it is its last, so one flag is enough. The engine clears it together with `replayCount`.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { State, Vector } from '../state-layout.ts'
import { ExitReason } from './exit-reason.ts'

const { i32, i64 } = Type

/**
 * The answer (i64) of the next access, or an exit that asks for it.
 * @param address - i64: guest-physical address, port, or register number
 * @param sizeBytes - i32
 * @param value - i64: what is written
 */
function ask(b: Builder, reason: ExitReason, address: Value, sizeBytes: Value, value?: Value): Value {
  const position = b.stateLoad(Access.i32, State.replayPosition)
  b.if(b.i32.geU(position, b.stateLoad(Access.i32, State.replayCount)), () => {
    b.stateStore(Access.u64, State.exitAddress, address)
    b.stateStore(Access.i32, State.exitSizeBytes, sizeBytes)
    b.stateStore(Access.u64, State.exitValue, value ?? b.const64(0))
    b.exit(reason)
  })
  b.stateStore(Access.i32, State.replayPosition, b.i32.add(position, b.const32(1)))
  return b.stateLoad(Access.u64, State.replay, b.i32.shl(position, b.const32(3)))
}

/** #GP(0) if the driver refused the MSR access. */
function refused(b: Builder): void {
  b.if(b.stateLoad(Access.i32, State.exitFault), () => b.raise(Vector.gp, b.const32(0)))
}

/** Cuts an i64 to `sizeBytes` (i32: 1, 2, 4 or 8). */
function cut(b: Builder, value: Value, sizeBytes: Value): Value {
  const unused = b.i64.extendI32U(b.i32.sub(b.const32(64), b.i32.shl(sizeBytes, b.const32(3))))
  return b.i64.shrU(b.i64.shl(value, unused), unused)
}

/** Reads device memory. (guest-physical address, bytes: 1, 2, 4 or 8) -> value, zero-extended */
export const deviceRead: Procedure = procedure(
  'deviceRead',
  { parameters: [i64, i32], result: i64, mayFault: true },
  (b, address, sizeBytes) => {
    b.return(cut(b, ask(b, ExitReason.mmioRead, address!, sizeBytes!), sizeBytes!))
  },
)

/** Writes device memory. (guest-physical address, bytes, value) */
export const deviceWrite: Procedure = procedure(
  'deviceWrite',
  { parameters: [i64, i32, i64], mayFault: true },
  (b, address, sizeBytes, value) => {
    ask(b, ExitReason.mmioWrite, address!, sizeBytes!, cut(b, value!, sizeBytes!))
    b.return()
  },
)

/** Reads a port; permission has been checked. (port, bytes: 1, 2 or 4) -> value, zero-extended */
export const portRead: Procedure = procedure(
  'portRead',
  { parameters: [i32, i32], result: i64, mayFault: true },
  (b, port, sizeBytes) => {
    b.return(cut(b, ask(b, ExitReason.pioRead, b.i64.extendI32U(port!), sizeBytes!), sizeBytes!))
  },
)

/** Writes a port; permission has been checked. (port, bytes, value) */
export const portWrite: Procedure = procedure(
  'portWrite',
  { parameters: [i32, i32, i64], mayFault: true },
  (b, port, sizeBytes, value) => {
    ask(b, ExitReason.pioWrite, b.i64.extendI32U(port!), sizeBytes!, cut(b, value!, sizeBytes!))
    b.return()
  },
)

/** Asks the driver for an MSR. (index) -> value */
export const foreignMsrRead: Procedure = procedure(
  'foreignMsrRead',
  { parameters: [i32], result: i64, mayFault: true },
  (b, index) => {
    const answer = ask(b, ExitReason.msrRead, b.i64.extendI32U(index!), b.const32(8))
    refused(b)
    b.return(answer)
  },
)

/** Hands a write of an MSR to the driver. (index, value) */
export const foreignMsrWrite: Procedure = procedure(
  'foreignMsrWrite',
  { parameters: [i32, i64], mayFault: true },
  (b, index, value) => {
    ask(b, ExitReason.msrWrite, b.i64.extendI32U(index!), b.const32(8), value!)
    refused(b)
    b.return()
  },
)
