/**
 * Guest memory: RAM blocks, address spaces, page flags and dirty tracking.
 *
 * @packageDocumentation
 */
export * from './address.ts'
export * from './layout.ts'
