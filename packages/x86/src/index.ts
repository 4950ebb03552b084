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
export * as engine from './system/engine.ts'
export { ExitReason } from './system/exit-reason.ts'
export { deliverException, deliverInterrupt, EventKind, singleStepTrap } from './system/deliver.ts'
export { deviceRead, deviceWrite } from './system/exit.ts'
export { pageWalk, PHYSICAL_ADDRESS_BITS, WalkAccess } from './system/page-walk.ts'
export * as system from './system/procedures.ts'
export { bindDecoded } from './isa/bound-operands.ts'
export { conditionHolds, readArithmeticFlags, writeArithmeticFlags } from './evaluator/arithmetic-flags.ts'
export { createEvaluator, Evaluator, type EvaluatorCpuidEntry, type EvaluatorOptions, type StepResult } from './evaluator/evaluator.ts'
export { EvaluatorError } from './evaluator/value.ts'
