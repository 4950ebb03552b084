/** Errors of the boot loaders: what is wrong with the kernel, the initrd or the memory they are to be placed in. */
import { TrapframeError } from '@trapframe/core'

/** Stable names of what can go wrong while boot files are read and placed. */
export type BootErrorCode =
  /** Neither a bzImage nor an ELF file. */
  | 'boot/not-a-kernel'
  /** The file ends before what its header announces. */
  | 'boot/truncated'
  /** An ELF file for 32-bit machines. */
  | 'boot/elf-32-bit'
  /** An ELF file for another machine, byte order or of another type. */
  | 'boot/elf-wrong-machine'
  /** Header fields that contradict each other or the file. */
  | 'boot/malformed'
  /** A kernel that can be entered in 16- or 32-bit mode only. */
  | 'boot/no-64-bit-entry'
  /** An ELF kernel without the PVH note, where PVH was asked for. */
  | 'boot/no-pvh-entry'
  /** The kernel proper is packed with a method that no codec handles. */
  | 'boot/unsupported-compression'
  /** Compressed data that do not decode. */
  | 'boot/corrupt-data'
  /** Unpacked data would be larger than the caller allows. */
  | 'boot/too-large'
  /** The kernel does not fit into the guest's memory. */
  | 'boot/kernel-does-not-fit'
  /** The initrd does not fit into the guest's memory. */
  | 'boot/initrd-does-not-fit'
  /** Memory below 1 MiB that the loader needs for its tables is not RAM, or the map has too many entries. */
  | 'boot/bad-memory-map'
  /** The command line is longer than the kernel takes, or holds a NUL. */
  | 'boot/bad-command-line'
  /** A file name or a size that a cpio archive cannot hold, or an archive that cannot be read. */
  | 'boot/bad-archive'

/** A boot file cannot be used. `code` says why; the message holds the offending value. */
export class BootError extends TrapframeError {
  declare readonly code: BootErrorCode

  constructor(code: BootErrorCode, message: string, options?: { cause?: unknown }) {
    super(code, message, options)
  }
}
