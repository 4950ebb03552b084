/** The system procedures and numbers that engines, evaluator and state transfer use by name. */

export { Cr0, Cr4, Efer } from './control-bits.ts'
export {
  DR6_FIXED,
  DR7_FIXED,
  readControl,
  readDebug,
  writeControl,
  writeDebug,
} from './control-registers.ts'
export { CPUID_SUBLEAF_COUNTS, CpuidEntry, cpuid } from './cpuid.ts'
export { deliverException, deliverInterrupt, EventKind, singleStepTrap } from './deliver.ts'
export { loadSegment } from './descriptor.ts'
export { deviceRead, deviceWrite, foreignMsrRead, foreignMsrWrite, portRead, portWrite } from './exit.ts'
export { ExitReason } from './exit-reason.ts'
export { farReturn, interruptReturn } from './far-return.ts'
export { farTransfer } from './far-transfer.ts'
export { swapGs, syscall, sysenter, sysexit, systemReturn } from './fast-call.ts'
export { readFlags, STORED_FLAGS, writeFlags } from './flags.ts'
export {
  ARCH_CAPABILITIES,
  fixedMtrrs,
  MISC_ENABLE_RESET,
  ownMsrs,
  PAT_RESET,
  readMsr,
  writeMsr,
} from './msr.ts'
export { PHYSICAL_ADDRESS_BITS, pageWalk, WalkAccess } from './page-walk.ts'
export { requirePort } from './port-permission.ts'
export {
  isSegmented,
  segmentCoversPage,
  segmentedBase,
  segmentedConstant,
  segmentLinear,
  segmentLinearUnchecked,
} from './segmentation.ts'
