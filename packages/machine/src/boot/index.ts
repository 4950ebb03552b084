/** Boot files: reading kernels, unpacking them, packing an initramfs, planning the start of a guest. */
export { BootError, type BootErrorCode } from './boot-error.ts'
export { type BootParamsOptions, bootParams, E820_TYPE, type E820Entry, pvhStartInfo } from './boot-params.ts'
export { type BzImage, isBzImage, parseBzImage } from './bzimage.ts'
export { type CpioEntry, packCpio, unpackCpio } from './cpio.ts'
export { builtinCodecs, type ExtractOptions, extractVmlinux, type KernelCodec } from './decompress.ts'
export type { InitialState, Long64State, Protected32State } from './initial-state.ts'
export {
  type BootSegment,
  type LinuxBootOptions,
  type LinuxBootPlan,
  type LinuxEntry,
  LOW_MEMORY,
  planLinuxBoot,
} from './load-linux.ts'
export { isElf, parseVmlinux, type Vmlinux, type VmlinuxSegment } from './vmlinux.ts'
export { decompressXz, xzBlocks } from './xz.ts'
