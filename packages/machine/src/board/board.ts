/**
 * What a board is to the machine that drives it: buses, timers, devices, the interrupt controller of each vCPU, and
 * what firmware would tell an operating system. A board decides all of it; the machine knows none of the devices.
 */
import type { Clock, Log, WallClock } from '@trapframe/core'
import type { CpuidLeaf, ExitRecord } from '@trapframe/cpu'
import type { Device, EventQueue, IoBus, MachineControl } from '@trapframe/devices'
import type { GuestMemory } from '@trapframe/memory'
import type { E820Entry } from '../boot/boot-params.ts'
import type { BootSegment } from '../boot/load-linux.ts'
import type { BytePort } from '../byte-port.ts'

/** A board to be built: its size and what its processors are. */
export interface Board {
  /** Saved with a machine; a state fits boards of this name only. */
  readonly name: string
  /** Guest RAM. */
  readonly ramBytes: number
  readonly vcpus: number
  /** Frequency of the time stamp counters. */
  readonly tscHz: number
  /** What CPUID answers. */
  readonly cpuid: readonly CpuidLeaf[]
  /** Puts everything in its place, for one machine. @throws TrapframeError when parts do not fit together */
  build(host: BoardHost): BuiltBoard
}

/** What a board gets. */
export interface BoardHost {
  /** Guest RAM, `ramBytes` of it. */
  readonly memory: GuestMemory
  /** Guest time. */
  readonly clock: Clock
  /** Date and time as the guest is to see them. */
  readonly wallClock: WallClock
  /** The guest's time stamp counter now. */
  timeStamp(): bigint
  /** What the guest asks of the machine. */
  readonly control: MachineControl
  /** Something may have become pending from outside a vCPU's `run`: a sleeping machine wakes up. */
  wake(): void
  /** For what a user should hear of. */
  readonly log: Log
}

/** A board with everything in its place. */
export interface BuiltBoard {
  /** Answers port accesses. */
  readonly pio: IoBus
  /** Answers memory accesses where there is no RAM, behind `Processor`. */
  readonly mmio: IoBus
  /** Timers of all devices. */
  readonly events: EventQueue
  /** All devices, in the order in which they are reset, saved and loaded. */
  readonly devices: readonly Device[]
  /** Interrupt controllers and model-specific registers, by vCPU. */
  readonly processors: readonly Processor[]
  /** Byte streams between guest and host, such as `com1`. */
  readonly ports: Readonly<Record<string, BytePort>>
  /** E820, for the boot source. */
  readonly memoryMap: readonly E820Entry[]
  /** Guest-physical address of the ACPI root pointer. */
  readonly rsdpAddress: number | undefined
  /** Tables to be placed before the guest starts. */
  readonly tables: readonly BootSegment[]
  /** Hands collected output on. Called between slices. */
  flush(): void
}

/** What answers a vCPU beside the buses. */
export interface Processor {
  /** Vector of the interrupt that the vCPU is to take now, or -1. */
  pending(): number
  /** The vCPU takes it: answers the vector. */
  acknowledge(): number
  /** Whether an NMI arrived since the last call. */
  takeNmi(): boolean
  /** Task priority as CR8 has it, 0 to 15. */
  taskPriority: number
  /** MMIO; the vCPU's own windows come before the bus. */
  readMmio(exit: ExitRecord): void
  /** See `readMmio`. */
  writeMmio(exit: ExitRecord): void
  /** Answers the exit, or sets its `fault`. */
  readMsr(exit: ExitRecord): void
  /** Takes the write, or sets the exit's `fault`. */
  writeMsr(exit: ExitRecord): void
  /** The vCPU's time stamp counter was set by a load or a reset. */
  timeStampChanged(): void
}
