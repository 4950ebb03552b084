/**
 * The emulated x86-64 vCPU: a WebAssembly engine that is generated, at build time, from the rows and semantics of
 * `@trapframe/x86`. It runs wherever WebAssembly does, counts instructions exactly and repeats bit for bit in virtual time.
 *
 * @example
 * What it can do, before anything is made:
 * ```ts
 * import { emulated } from '@trapframe/backend-emulated'
 *
 * const { capabilities } = emulated()
 * console.log(capabilities.name, capabilities.instructionCounting) // emulated true
 * console.log(capabilities.maxRamBytes / 2 ** 20) // 3584
 * ```
 *
 * @packageDocumentation
 */
export { type EmulatedOptions, emulated, type JitMode } from './backend.ts'
export { BackendError } from './backend-error.ts'
