/**
 * Every instruction form that is implemented. A family of instructions is one file in `../families` that exports its
 * rows; to add a family, add its file here.
 */
import type { Form } from './form.ts'

export const forms: readonly Form[] = []
