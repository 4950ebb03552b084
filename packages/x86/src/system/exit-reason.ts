/**
 * Why the execution of a vCPU comes back to its driver: the numbers that semantics and engine leave in
 * `State.exitReason`. They are those of the vCPU contract (`ExitReason` of @trapframe/cpu), which this package cannot
 * import; the emulated backend, which sees both, compares them in a test.
 */
export const ExitReason = {
  budget: 0,
  kicked: 1,
  halted: 2,
  pioRead: 3,
  pioWrite: 4,
  mmioRead: 5,
  mmioWrite: 6,
  msrRead: 7,
  msrWrite: 8,
  interruptWindow: 9,
  shutdown: 10,
  debug: 11,
  unsupported: 12,
} as const
export type ExitReason = (typeof ExitReason)[keyof typeof ExitReason]
