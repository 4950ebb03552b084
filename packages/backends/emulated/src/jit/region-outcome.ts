/** What a region's function answers to the main loop. State.rip says where to go on. */
export const RegionOutcome = {
  continue: 0,
  /** A fault is pending. */
  fault: 1,
  /** Events, mode and privilege are to be looked at again. */
  resync: 2,
} as const
