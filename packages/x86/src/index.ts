/**
 * The x86-64 instruction set as data: one row per form, decoder, encoder, assembler and disassembler made from the
 * rows, semantics over a small intermediate representation (IR), and the reference evaluator.
 *
 * @packageDocumentation
 */
export * from './state-layout.ts'
export * from './ir/op.ts'
export { Builder, Condition, IrError, type Label, type Local, Privilege, ProcedureTable, type Value } from './ir/builder.ts'
export { Code } from './ir/code.ts'
export { external, type Procedure, procedure } from './ir/procedure.ts'
export { type Body, type Feature, type Form, form, type FormOptions, type OperandKind } from './isa/form.ts'
export { type Binding, operandBits, Operands } from './isa/operands.ts'
export { createDecoder, Decoded, DecodeFailure, type Decoder, HIGH_BYTE, Repeat } from './isa/decoder.ts'
export { type Encoding, encodingOf, FormError, type Immediate, type Role } from './isa/encoding.ts'
export { forms } from './isa/forms.ts'
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
export { disassemble, disassembleAll, type Disassembled, type DisassembleOptions, formatDecoded, registerName } from './isa/disassembler.ts'
export { assemble, type Assembled, type AssembledElf, assembleElf, type AssembleOptions } from './assembler/assemble.ts'
export { AssemblerError } from './assembler/error.ts'
export type { Section } from './assembler/layout.ts'
export * as engine from './system/engine.ts'
export * as system from './system/procedures.ts'
export { bindDecoded } from './isa/bound-operands.ts'
export { conditionHolds, readArithmeticFlags, writeArithmeticFlags } from './evaluator/arithmetic-flags.ts'
export { createEvaluator, Evaluator, type EvaluatorCpuidEntry, type EvaluatorOptions, type StepResult } from './evaluator/evaluator.ts'
export { EvaluatorError } from './evaluator/value.ts'
