/**
 * The emulated x86-64 vCPU backend.
 *
 * @packageDocumentation
 */
export { type EmulatedOptions, emulated, type JitMode } from './backend.ts'
export { BackendError } from './backend-error.ts'
