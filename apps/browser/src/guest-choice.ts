/** What the user wants to boot. */
import type { OfferedGuest } from './offered-guest.ts'
import type { MachineRequest } from './worker-protocol.ts'

export interface GuestChoice {
  /** Undefined: the offered one. */
  readonly kernel: File | undefined
  /** Undefined: the offered one. */
  readonly initrd: File | 'none' | undefined
  readonly memoryMib: number
  /** More for the kernel's command line. */
  readonly append: string
}

export const DEFAULT_CHOICE: GuestChoice = {
  kernel: undefined,
  initrd: undefined,
  memoryMib: 256,
  append: '',
}

const COMMAND_LINE = 'console=ttyS0,115200 panic=-1'
const MIB = 2 ** 20

/** The choice as a request; undefined when there is no kernel. */
export function machineRequest(
  choice: GuestChoice,
  offer: OfferedGuest | undefined,
  screen: { readonly rows: number; readonly columns: number },
): MachineRequest | undefined {
  const kernel = choice.kernel ?? offer?.kernel
  if (kernel === undefined) return undefined
  const initrd = choice.initrd === 'none' ? undefined : (choice.initrd ?? offer?.initrd)
  const words = [COMMAND_LINE]
  // A serial line cannot tell the size of the terminal; our own /init takes it from here.
  if (typeof initrd === 'string') words.push(`trapframe.size=${screen.rows}x${screen.columns}`)
  if (choice.append !== '') words.push(choice.append)
  return { kernel, initrd, commandLine: words.join(' '), memoryBytes: choice.memoryMib * MIB }
}

/** What is booted, for people. */
export function titleOf(choice: GuestChoice, offer: OfferedGuest | undefined): string {
  return choice.kernel?.name ?? offer?.title ?? 'no kernel'
}
