/**
 * What the page and the machine's worker say to each other around the control protocol of @trapframe/machine, which has
 * a port of its own: making the machine, how far that is, what its console tells, and how much output was shown.
 */
import type { ConsoleMark } from '@trapframe/cli/src/console-watch.ts'
import type { WireError } from '@trapframe/machine'

/** A file of the guest: an address to fetch it from, or its contents. */
export type BootFile = string | Blob

/** What a machine is to be made of. */
export interface MachineRequest {
  readonly kernel: BootFile
  readonly initrd: BootFile | undefined
  readonly commandLine: string
  readonly memoryBytes: number
}

export type ToWorker =
  /** The first message; there is one machine in a worker. */
  | { readonly kind: 'create'; readonly request: MachineRequest; readonly control: MessagePort }
  /** Output of the guest that the page has dealt with. */
  | { readonly kind: 'shown'; readonly bytes: number }

/** How much of a file has arrived. */
export interface FileProgress {
  readonly file: 'kernel' | 'initrd'
  readonly doneBytes: number
  /** Undefined while nobody knows. */
  readonly totalBytes: number | undefined
}

export type FromWorker =
  | { readonly kind: 'progress'; readonly progress: FileProgress }
  /** The machine is there and served at the control port. */
  | { readonly kind: 'created'; readonly sharedMemory: boolean }
  | { readonly kind: 'refused'; readonly error: WireError }
  | { readonly kind: 'mark'; readonly mark: ConsoleMark }
