/**
 * The bus between IOAPICs, message-signalled interrupts and local APICs: who is addressed, lowest-priority
 * arbitration, and the EOI broadcast back to the IOAPICs (SDM volume 3, 11.6 and 11.8.5).
 */

/** Delivery modes as redirection entries, ICR and MSI data encode them. */
export const DeliveryMode = {
  fixed: 0,
  lowestPriority: 1,
  smi: 2,
  nmi: 4,
  init: 5,
  startup: 6,
  extInt: 7,
} as const

/** Addresses every local APIC. 8-bit senders widen their 0xff to it in physical mode. */
export const BROADCAST = 0xffff_ffff

/** A local APIC, seen from the bus. */
export interface ApicTarget {
  /** Whether `destination` addresses this APIC. */
  matches(destination: number, logical: boolean): boolean
  /** Priority class for lowest-priority delivery: the smaller wins. */
  readonly arbitrationPriority: number
  /** Takes a message; answers false when it is not accepted (switched off). */
  accept(mode: number, vector: number, level: boolean): boolean
}

/** An IOAPIC, seen from the bus. */
export interface EoiTarget {
  /** A level-triggered `vector` was served. */
  endOfInterrupt(vector: number): void
}

/** Carries interrupt messages. Made by `createApicBus`; controllers attach themselves. */
export interface ApicBus {
  /** Adds a local APIC. */
  attachLocal(target: ApicTarget): void
  /** Adds an IOAPIC. */
  attachIo(target: EoiTarget): void
  /**
   * Sends a message. Answers whether somebody accepted it.
   * @param level - level-triggered: the EOI is broadcast
   * @param except - not sent to this one ("all excluding self")
   */
  send(
    mode: number,
    vector: number,
    level: boolean,
    destination: number,
    logical: boolean,
    except?: ApicTarget,
  ): boolean
  /** EOI of a level-triggered vector. */
  broadcastEoi(vector: number): void
}

/** A bus with nothing attached. */
export function createApicBus(): ApicBus {
  const locals: ApicTarget[] = []
  const ios: EoiTarget[] = []
  // Among equals the one after the last winner is taken, so that interrupts spread.
  let lastWinner = 0

  function arbitrate(vector: number, level: boolean, destination: number, logical: boolean): boolean {
    let winner = -1
    for (let n = 1; n <= locals.length; n++) {
      const at = (lastWinner + n) % locals.length
      const target = locals[at]!
      if (!target.matches(destination, logical)) continue
      if (winner < 0 || target.arbitrationPriority < locals[winner]!.arbitrationPriority) winner = at
    }
    if (winner < 0) return false
    lastWinner = winner
    return locals[winner]!.accept(DeliveryMode.fixed, vector, level)
  }

  return {
    attachLocal(target) {
      locals.push(target)
    },
    attachIo(target) {
      ios.push(target)
    },
    send(mode, vector, level, destination, logical, except) {
      if (mode === DeliveryMode.lowestPriority) return arbitrate(vector, level, destination, logical)
      let accepted = false
      for (let n = 0; n < locals.length; n++) {
        const target = locals[n]!
        if (target === except || !target.matches(destination, logical)) continue
        if (target.accept(mode, vector, level)) accepted = true
      }
      return accepted
    },
    broadcastEoi(vector) {
      for (let n = 0; n < ios.length; n++) ios[n]!.endOfInterrupt(vector)
    },
  }
}
