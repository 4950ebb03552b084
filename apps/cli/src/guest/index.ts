/** The guest of this command: getting it, packing it, talking to it. */
export {
  cachedDebianGuest,
  type DebianGuest,
  type DebianGuestOptions,
  type GuestProgress,
  prepareDebianGuest,
  readGuestModules,
} from './debian-guest.ts'
export { createExecChannel, type ExecChannel, type ExecChannelEvents } from './exec-channel.ts'
export { GuestError, type GuestErrorCode } from './guest-error.ts'
export { hostCodecs } from './host-codecs.ts'
export { buildInitramfs, type GuestFile, type InitramfsOptions, readGuestSources } from './initramfs.ts'
