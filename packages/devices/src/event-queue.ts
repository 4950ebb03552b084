/**
 * Timers of the devices, in guest time. The driver asks for the earliest deadline, lets the guest run up to it at the
 * most, and then runs what is due.
 *
 * A binary heap of event objects that devices make once; scheduling moves them and allocates nothing. Events of one
 * deadline run in the order in which they were created, so a run repeats exactly, also after a load.
 *
 * Deadlines are not saved here: each device saves its own, relative to now.
 */
import type { Clock } from '@trapframe/core'

/** A timer of a device. Made by `EventQueue.createEvent`. */
export interface TimerEvent {
  /** For traces and messages. */
  readonly name: string
  /** When it is due, or Infinity when it is not scheduled. */
  readonly deadlineNs: number
}

/** The timers of a machine, and its guest time. Made by `createEventQueue`. */
export interface EventQueue extends Clock {
  /** Makes an event. `run` is called with the time at which it should have run. */
  createEvent(name: string, run: (deadlineNs: number) => void): TimerEvent
  /** Schedules or moves an event. A deadline in the past is due at once. */
  schedule(event: TimerEvent, deadlineNs: number): void
  /** Takes an event out; one that is not scheduled stays as it is. */
  cancel(event: TimerEvent): void
  /** The earliest deadline, or Infinity. */
  earliestNs(): number
  /** Runs every event with a deadline up to `nowNs`, earliest first; also those that become due meanwhile. */
  runDue(nowNs: number): number
}

/** An event queue on the guest's clock. */
export function createEventQueue(clock: Clock): EventQueue {
  return new HeapEventQueue(clock)
}

class HeapEvent implements TimerEvent {
  readonly name: string
  readonly order: number
  readonly run: (deadlineNs: number) => void
  deadlineNs = Infinity
  /** Place in the heap, -1 when not scheduled. */
  place = -1

  constructor(name: string, order: number, run: (deadlineNs: number) => void) {
    this.name = name
    this.order = order
    this.run = run
  }
}

class HeapEventQueue implements EventQueue {
  readonly #clock: Clock
  readonly #heap: HeapEvent[] = []
  #created = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  nowNs(): number {
    return this.#clock.nowNs()
  }

  createEvent(name: string, run: (deadlineNs: number) => void): TimerEvent {
    return new HeapEvent(name, this.#created++, run)
  }

  schedule(event: TimerEvent, deadlineNs: number): void {
    const moved = event as HeapEvent
    moved.deadlineNs = deadlineNs
    if (moved.place < 0) {
      moved.place = this.#heap.length
      this.#heap.push(moved)
      this.#up(moved.place)
    } else {
      this.#up(moved.place)
      this.#down(moved.place)
    }
  }

  cancel(event: TimerEvent): void {
    const removed = event as HeapEvent
    const place = removed.place
    if (place < 0) return
    removed.place = -1
    removed.deadlineNs = Infinity
    const last = this.#heap.pop()!
    if (last === removed) return
    this.#heap[place] = last
    last.place = place
    this.#up(place)
    this.#down(last.place)
  }

  earliestNs(): number {
    const heap = this.#heap
    return heap.length > 0 ? heap[0]!.deadlineNs : Infinity
  }

  runDue(nowNs: number): number {
    const heap = this.#heap
    let count = 0
    while (heap.length > 0) {
      const event = heap[0]!
      const deadlineNs = event.deadlineNs
      if (!(deadlineNs <= nowNs)) break
      this.cancel(event)
      event.run(deadlineNs)
      count++
    }
    return count
  }

  #up(from: number): void {
    const heap = this.#heap
    const event = heap[from]!
    let place = from
    while (place > 0) {
      const above = (place - 1) >>> 1
      const other = heap[above]!
      if (!before(event, other)) break
      heap[place] = other
      other.place = place
      place = above
    }
    heap[place] = event
    event.place = place
  }

  #down(from: number): void {
    const heap = this.#heap
    const event = heap[from]!
    let place = from
    for (;;) {
      let below = 2 * place + 1
      if (below >= heap.length) break
      if (below + 1 < heap.length && before(heap[below + 1]!, heap[below]!)) below++
      const other = heap[below]!
      if (!before(other, event)) break
      heap[place] = other
      other.place = place
      place = below
    }
    heap[place] = event
    event.place = place
  }
}

function before(a: HeapEvent, b: HeapEvent): boolean {
  return a.deadlineNs < b.deadlineNs || (a.deadlineNs === b.deadlineNs && a.order < b.order)
}
