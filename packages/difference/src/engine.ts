/**
 * What runs cases: an evaluator, a vCPU of any backend, or the CPU of the host. All of them get the same start states
 * and answer with the state at the first exception; a case that reaches its end meets an INT3.
 */
import type { Form } from '@trapframe/x86'
import type { MachineImage } from './machine-image.ts'

/** One start state with the code that is to be run from it. */
export interface Case {
  /** Registers, memory and code to begin with. */
  readonly start: MachineImage
  /** What it tests: the text of a form, or what the program is about. */
  readonly label: string
  /** The form of its only instruction. */
  readonly form?: Form
  /** Bytes of memory whose value says nothing: linear address and size. */
  readonly ignoredMemory?: readonly (readonly [address: bigint, sizeBytes: number])[]
  /** Arithmetic flags that the manual leaves undefined at the end. */
  readonly undefinedFlags?: number
}

/** Something that runs cases. */
export interface Engine {
  /** For reports. */
  readonly name: string
  /** Why it cannot run here, or undefined. */
  readonly unavailable?: string | undefined
  /** The state in which each case ended: registers, memory, and `vector`, `errorCode`, `faultAddress`. */
  run(cases: readonly Case[]): readonly MachineImage[]
}
