/**
 * Every instruction form that is implemented. A family of instructions is one file in `../families` that exports its
 * rows; to add a family, add its file here.
 */
import { arithmeticForms } from '../families/arithmetic.ts'
import { bcdForms } from '../families/bcd.ts'
import { bitForms } from '../families/bit.ts'
import { bitManipulationForms } from '../families/bit-manipulation.ts'
import { boundForms } from '../families/bound.ts'
import { compareExchangeForms } from '../families/compare-exchange.ts'
import { controlForms } from '../families/control.ts'
import { flagControlForms } from '../families/flag-control.ts'
import { fpuArithmeticForms } from '../families/fpu-arithmetic.ts'
import { fpuCompareForms } from '../families/fpu-compare.ts'
import { fpuEnvironmentForms } from '../families/fpu-environment.ts'
import { fpuLoadStoreForms } from '../families/fpu-load-store.ts'
import { mmxForms } from '../families/mmx.ts'
import { moveForms } from '../families/move.ts'
import { multiplyDivideForms } from '../families/multiply-divide.ts'
import { noOperationForms } from '../families/no-operation.ts'
import { shiftRotateForms } from '../families/shift-rotate.ts'
import { sseArithmeticForms } from '../families/sse-arithmetic.ts'
import { sseCompareForms } from '../families/sse-compare.ts'
import { sseConvertForms } from '../families/sse-convert.ts'
import { sseIntegerForms } from '../families/sse-integer.ts'
import { sseMoveForms } from '../families/sse-move.ts'
import { sseShuffleForms } from '../families/sse-shuffle.ts'
import { sseStringForms } from '../families/sse-string.ts'
import { sse4Forms } from '../families/sse4.ts'
import { stackForms } from '../families/stack.ts'
import { stringInstructionForms } from '../families/string.ts'
import { systemPortForms } from '../families/system-port.ts'
import { systemRegisterForms } from '../families/system-registers.ts'
import { systemSegmentForms } from '../families/system-segments.ts'
import { systemTransferForms } from '../families/system-transfer.ts'
import { xsaveForms } from '../families/xsave.ts'
import type { Form } from './form.ts'

/** Every form that is implemented. A form's place is its number. */
export const forms: readonly Form[] = [
  ...arithmeticForms,
  ...moveForms,
  ...compareExchangeForms,
  ...bitForms,
  ...bitManipulationForms,
  ...multiplyDivideForms,
  ...shiftRotateForms,
  ...stackForms,
  ...controlForms,
  ...bcdForms,
  ...boundForms,
  ...stringInstructionForms,
  ...flagControlForms,
  ...noOperationForms,
  ...fpuArithmeticForms,
  ...fpuCompareForms,
  ...fpuLoadStoreForms,
  ...fpuEnvironmentForms,
  ...mmxForms,
  ...sseArithmeticForms,
  ...sseCompareForms,
  ...sseConvertForms,
  ...sseIntegerForms,
  ...sseMoveForms,
  ...sseShuffleForms,
  ...sseStringForms,
  ...sse4Forms,
  ...xsaveForms,
  ...systemPortForms,
  ...systemRegisterForms,
  ...systemSegmentForms,
  ...systemTransferForms,
]
