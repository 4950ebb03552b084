/**
 * The x86 instruction set as data: one row per form, and made from the rows a decoder, encoder, assembler and disassembler,
 * semantics over a small intermediate representation (IR), and the reference evaluator.
 *
 * @example
 * Text to bytes and back:
 * ```ts
 * import { assemble, disassembleAll } from '@trapframe/x86'
 *
 * const { bytes, symbols } = assemble(`
 * start:  mov   ecx, 10
 * again:  add   rax, rcx
 *         loop  again
 *         ret`, { origin: 0x1000 })
 * console.log(symbols.get('again')!.toString(16)) // 1005
 * for (const line of disassembleAll(bytes, { address: 0x1000n })) console.log(line)
 * // 00001000: b9 0a 00 00 00                 mov ecx, 0xa
 * // 00001005: 48 01 c8                       add rax, rcx
 * // 00001008: e2 fb                          loop 0x1005
 * // 0000100a: c3                             ret
 * ```
 *
 * @packageDocumentation
 */

export {
  type Assembled,
  type AssembledElf,
  type AssembleOptions,
  assemble,
  assembleElf,
} from './assembler/assemble.ts'
export { AssemblerError } from './assembler/error.ts'
export type { Section } from './assembler/layout.ts'
export { conditionHolds, readArithmeticFlags, writeArithmeticFlags } from './evaluator/arithmetic-flags.ts'
export {
  createEvaluator,
  Evaluator,
  type EvaluatorCpuidEntry,
  type EvaluatorOptions,
  type EvaluatorRam,
  type StepResult,
} from './evaluator/evaluator.ts'
export { ENGINE_STATE_BYTES, type EngineMemory } from './evaluator/ir-machine.ts'
export { EvaluatorError } from './evaluator/value.ts'
export {
  Builder,
  Condition,
  IrError,
  type Label,
  type Local,
  Privilege,
  ProcedureTable,
  type Value,
} from './ir/builder.ts'
export { Code } from './ir/code.ts'
export * from './ir/op.ts'
export { external, type Procedure, procedure } from './ir/procedure.ts'
export { bindDecoded } from './isa/bound-operands.ts'
export { createDecoder, Decoded, DecodeFailure, type Decoder, HIGH_BYTE, Repeat } from './isa/decoder.ts'
export {
  type Disassembled,
  type DisassembleOptions,
  disassemble,
  disassembleAll,
  formatDecoded,
  registerName,
} from './isa/disassembler.ts'
export {
  EncodeError,
  type EncodeOperand,
  type EncodeOptions,
  encodeForm,
  type MemoryOperand,
  type OperandShape,
  operandShapes,
  type RegisterClass,
} from './isa/encoder.ts'
export { type Encoding, encodingOf, FormError, type Immediate, type Role } from './isa/encoding.ts'
export { type Body, type Feature, type Form, type FormOptions, form, type OperandKind } from './isa/form.ts'
export { forms } from './isa/forms.ts'
export { type Binding, Operands, operandBits } from './isa/operands.ts'
export * from './state-layout.ts'
export * as engine from './system/engine.ts'
export * as system from './system/procedures.ts'
