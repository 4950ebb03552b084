/**
 * Operands of a decoded instruction, known while its IR is built: registers are constant offsets, addresses are sums of
 * what the instruction names and nothing else. Evaluator and JIT use this; the interpreter, whose operands are in a
 * record at run time, has a binding of its own.
 */
import { type Builder, IrError, type Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { Segment, SegmentField, State, segmentOffset } from '../state-layout.ts'
import { segmentedConstant } from '../system/segmentation.ts'
import { type Decoded, HIGH_BYTE, Repeat } from './decoder.ts'
import { isVectorKind, takesMemory } from './encoding.ts'
import type { Form } from './form.ts'
import type { Binding } from './operands.ts'

/**
 * The binding of one decoded instruction. The record must stay as it is while the IR is built.
 * @param mode - that of the CPU; addresses are segmented outside 64-bit mode
 */
export function bindDecoded(b: Builder, form: Form, decoded: Decoded, mode: 64 | 32 | 16): Binding {
  const addressBits = decoded.addressBits as 16 | 32 | 64
  const base = (segment: number): Value => {
    if (mode !== 64) return segmentedConstant(b, segment)
    return segment < Segment.fs
      ? b.const64(0)
      : b.stateLoad(Access.u64, segmentOffset(segment, SegmentField.base))
  }
  const firstImmediate = form.operands.findIndex((kind) => kind.startsWith('imm') || kind.startsWith('ptr'))

  const registerNumber = (index: number): number => {
    const number = decoded.registers[index]!
    if (number < 0) throw new IrError(`${form.text}: operand ${index} is no register`)
    return number
  }
  const general = (number: number): Value => b.stateLoad(Access.u64, State.gpr + 8 * number)
  const effectiveAddress = (distance?: Value): Value => {
    let displacement = (BigInt(decoded.displacementHigh) << 32n) | BigInt(decoded.displacement >>> 0)
    let address: Value | undefined
    const add = (value: Value): void => {
      address = address === undefined ? value : b.i64.add(address, value)
    }
    if (decoded.ripRelative) add(b.nextRip())
    if (decoded.base >= 0) add(general(decoded.base))
    if (decoded.index >= 0) add(b.i64.shl(general(decoded.index), b.const64(decoded.scale)))
    if (address === undefined) displacement = BigInt.asUintN(addressBits, displacement)
    add(b.const64(displacement))
    if (distance !== undefined) add(distance)
    return b.truncate(addressBits, address!)
  }

  return {
    isMemory: (index) => decoded.memory === 1 && decoded.registers[index]! < 0 && mayBeMemory(form, index),
    register: (index) => {
      const kind = form.operands[index]!
      const number = registerNumber(index)
      if (kind.startsWith('mm')) return { offset: State.x87 + 16 * number }
      if (isVectorKind(kind)) return { offset: State.ymm + 32 * number }
      if (number >= HIGH_BYTE) return { offset: State.gpr + 8 * (number - HIGH_BYTE) + 1 }
      return { offset: State.gpr + 8 * number }
    },
    number: (index) => b.const32(registerNumber(index)),
    effectiveAddress,
    linearAddress: (distance) => b.i64.add(effectiveAddress(distance), base(decoded.segment)),
    immediate: (index) =>
      index === firstImmediate
        ? b.const64((BigInt(decoded.immediateHigh) << 32n) | BigInt(decoded.immediateLow >>> 0))
        : b.const64(decoded.immediate2),
    secondImmediate: () => b.const64(decoded.immediate2),
    segmentBase: (segment) =>
      base(decoded.segmentOverride >= 0 && segment !== Segment.es ? decoded.segmentOverride : segment),
    target: () => b.i64.add(b.nextRip(), b.const64(decoded.relative)),
    addressBits,
    lock: decoded.lock === 1,
    repeat: decoded.repeat === Repeat.rep ? 'rep' : decoded.repeat === Repeat.repne ? 'repne' : 'none',
  }
}

function mayBeMemory(form: Form, index: number): boolean {
  const kind = form.operands[index]!
  return takesMemory(kind) || kind.startsWith('moffs')
}
