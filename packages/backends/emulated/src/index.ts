/**
 * The emulated x86-64 vCPU backend.
 *
 * @packageDocumentation
 */
export { emulated, type EmulatedOptions } from './backend.ts'
export { BackendError } from './backend-error.ts'
