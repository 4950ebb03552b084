/** What a machine starts: a plan of what lies where in memory, and the vCPU's first state. */

import type { E820Entry } from './boot/boot-params.ts'
import { parseBzImage } from './boot/bzimage.ts'
import { extractVmlinux, type KernelCodec } from './boot/decompress.ts'
import type { InitialState } from './boot/initial-state.ts'
import { type BootSegment, type LinuxEntry, planLinuxBoot } from './boot/load-linux.ts'
import { isElf } from './boot/vmlinux.ts'

/** Where a guest begins. */
export interface BootPlan {
  /** What lies in memory at the start. */
  readonly segments: readonly BootSegment[]
  /** Where the vCPU begins, and in which mode. */
  readonly state: InitialState
}

/** Makes the plan, when the board is known. */
export interface BootSource {
  /** Reads the files and decides on addresses; writes nothing. @throws BootError */
  plan(hardware: { memoryMap: readonly E820Entry[]; rsdpAddress: number | undefined }): BootPlan
}

/** A Linux kernel, or another that starts like one. */
export interface LinuxOptions {
  /** A bzImage, or an ELF kernel. */
  readonly kernel: Uint8Array
  /** Initial RAM disk, passed on as it is. */
  readonly initrd?: Uint8Array
  /** Default: the serial console, reboot at once after a panic. */
  readonly commandLine?: string
  /**
   * With a bzImage: take the kernel proper out on the host, so that the guest need not unpack itself. Default: false.
   * It takes the host about a second, so whoever starts a kernel often keeps the result of `extractVmlinux`.
   */
  readonly extract?: boolean
  /** With an ELF kernel: the bzImage that it came from, whose set-up header the kernel is to see. */
  readonly bzImage?: Uint8Array
  /** The way in. Default: the 64-bit entry. `pvh` begins in 32-bit protected mode, which not every backend has. */
  readonly entry?: LinuxEntry
  /** Decompression methods for `extract`. */
  readonly codecs?: readonly KernelCodec[]
}

/** The command line that a kernel gets when nobody gives another. */
export const DEFAULT_COMMAND_LINE = 'console=ttyS0 panic=-1'

/**
 * Boots a kernel by the Linux/x86 boot protocol.
 *
 * @throws BootError (from `plan`) when the files cannot be used or do not fit
 */
export function linux(options: LinuxOptions): BootSource {
  const { kernel, initrd, commandLine = DEFAULT_COMMAND_LINE, extract = false, codecs } = options
  return {
    plan({ memoryMap, rsdpAddress }) {
      const unpack = extract && !isElf(kernel)
      const proper = unpack ? extractVmlinux(parseBzImage(kernel), codecs && { codecs }) : kernel
      const bzImage = unpack ? kernel : options.bzImage
      return planLinuxBoot({
        kernel: proper,
        ...(bzImage && { bzImage }),
        ...(initrd && { initrd }),
        commandLine,
        memoryMap,
        ...(rsdpAddress !== undefined && { rsdpAddress }),
        ...(options.entry && { entry: options.entry }),
      })
    },
  }
}
