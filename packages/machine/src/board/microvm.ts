/**
 * The microvm board: a PC without firmware, PCI or graphics, as small as a stock 64-bit Linux takes it. Interrupt
 * controllers, timers, two serial ports and the switches of the platform; ACPI tables, and an MP table for systems that
 * have no ACPI.
 *
 * | what | where | interrupt |
 * |---|---|---|
 * | PIC pair | 0x20, 0xa0, 0x4d0 | |
 * | PIT | 0x40, 0x61 | ISA 0, IOAPIC pin 2 |
 * | i8042 | 0x60, 0x64, 0x92 | ISA 1 |
 * | RTC | 0x70 | ISA 8 |
 * | debug console | 0xe9 | |
 * | debug exit | 0xf4 | |
 * | COM2, COM1 | 0x2f8, 0x3f8 | ISA 3, ISA 4 |
 * | ACPI power management | 0x600 | ISA 9 (SCI, level) |
 * | reset control | 0xcf9 | |
 * | IOAPIC | 0xfec00000 | |
 * | LAPIC | 0xfee00000 | |
 */
import type { WallClock } from '@trapframe/core'
import {
  type CpuProfile,
  cpuidFor,
  defaultCpuProfile,
  type ExitRecord,
  PHYSICAL_ADDRESS_BITS,
} from '@trapframe/cpu'
import {
  ACPI_PM_BASE,
  ACPI_PM_CONTROL,
  ACPI_PM_EVENT,
  ACPI_PM_TIMER,
  ACPI_S5_TYPE,
  attachDevice,
  createAcpiPm,
  createApicBus,
  createDebugConsole,
  createDebugExit,
  createEventQueue,
  createI8042,
  createInterruptRouter,
  createIoapic,
  createIoBus,
  createLapic,
  createPic,
  createPit,
  createResetControl,
  createRtc,
  createUart,
  type Device,
  type EventQueue,
  type InterruptRouter,
  type IoBus,
  type IrqLine,
  type Lapic,
  type MachineControl,
  RESET_CONTROL_PORT,
  RESET_CONTROL_VALUE,
  type Uart,
} from '@trapframe/devices'
import type { GuestMemory } from '@trapframe/memory'
import { type DsdtOptions, dsdt } from '../acpi/dsdt.ts'
import { acpiTables } from '../acpi/tables.ts'
import { type BytePortEnd, createBytePort } from '../byte-port.ts'
import { MachineError } from '../machine-error.ts'
import { mpTable } from '../mp-table.ts'
import type { Board, BoardHost, BuiltBoard, Processor } from './board.ts'
import { MemoryMap, memoryMap } from './memory-map.ts'

/** What can be chosen of a microvm board. */
export interface MicrovmOptions {
  /** Guest RAM: a multiple of 1 MiB. Default: 256 MiB. */
  readonly memoryBytes?: number
  /** CPU profile or its name. Default: `defaultCpuProfile`. */
  readonly cpu?: CpuProfile | string
  /** Default: 1, and more are an error of the machine so far. */
  readonly vcpus?: number
  /** Debug exit port at 0xf4. Default: true. */
  readonly debugExit?: boolean
  /** x2APIC mode. Default: false; guests without interrupt remapping do not use it. */
  readonly x2apic?: boolean
  /** TSC-deadline timer. Default: false; the LAPIC timer counts at the same frequency. */
  readonly tscDeadline?: boolean
  /**
   * Makes devices beside the board's own, each time the board is built. They are reset, saved and loaded with it. The
   * guest is not told of them: no table names their ports and windows, which must be free.
   */
  readonly devices?: (slots: DeviceSlots) => readonly Device[]
}

/** What a device can be connected to. */
export interface DeviceSlots {
  /** Timers, in guest time. */
  readonly events: EventQueue
  readonly memory: GuestMemory
  /** What a device may ask of the machine. */
  readonly control: MachineControl
  /** Date and time as the guest is to see them. */
  readonly wallClock: WallClock
  /** ISA interrupt `irq`, 0 to 15, at PIC and IOAPIC; edge-triggered. 5 to 7, 10 and 11 are free. */
  irq(irq: number): IrqLine
}

const DEFAULT_MEMORY_BYTES = 256 * 2 ** 20
/** TSC and LAPIC timer count nanoseconds: conversions are exact, and virtual time is one tick an instruction. */
const TSC_HZ = 1e9
const LAPIC_HZ = 1e9
const IOAPIC_ID = 0
/** Where each ISA interrupt arrives: the PIT's at pin 2, since pin 0 is the PIC's on a PC. */
const PIT_PIN = 2
const SCI = 9
const COM_PORTS = [
  { id: 'com1', base: 0x3f8, irq: 4 },
  { id: 'com2', base: 0x2f8, irq: 3 },
] as const
const DEBUG_CONSOLE = 'debug-console'

/**
 * The microvm board.
 *
 * @throws CpuProfileError for a profile that does not exist, MachineError `machine/option` for a number of vCPUs; from
 * `createMachine` DeviceError `device/overlap` where a device of `devices` lies on another's range
 */
export function microvm(options: MicrovmOptions = {}): Board {
  const {
    memoryBytes = DEFAULT_MEMORY_BYTES,
    cpu = defaultCpuProfile,
    vcpus = 1,
    debugExit = true,
    x2apic = false,
    tscDeadline = false,
    devices = () => [],
  } = options
  if (!Number.isInteger(vcpus) || vcpus < 1 || vcpus > 255)
    throw new MachineError('machine/option', `${vcpus} vCPUs: a board has 1 to 255`)
  const cpuid = cpuidFor(cpu, {
    vcpuId: 0,
    vcpuCount: vcpus,
    tscHz: TSC_HZ,
    apicHz: LAPIC_HZ,
    hypervisor: true,
    x2apic,
    tscDeadline,
  })
  return {
    name: 'microvm',
    ramBytes: memoryBytes,
    vcpus,
    tscHz: TSC_HZ,
    cpuid,
    build: (host) => build(host, { vcpus, debugExit, x2apic, tscDeadline, cpuid, devices }),
  }
}

interface Parameters {
  readonly vcpus: number
  readonly debugExit: boolean
  readonly x2apic: boolean
  readonly tscDeadline: boolean
  readonly cpuid: Board['cpuid']
  readonly devices: (slots: DeviceSlots) => readonly Device[]
}

function build(host: BoardHost, parameters: Parameters): BuiltBoard {
  const { memory, control } = host
  const pio = createIoBus('port', 0x1_0000)
  const mmio = createIoBus('memory', 2 ** 52)
  const events = createEventQueue(host.clock)
  const apicBus = createApicBus()

  const processors = Array.from({ length: parameters.vcpus }, (_, apicId) => {
    const processor = new MicrovmProcessor(mmio, () => host.wake())
    processor.lapic = createLapic({
      apicId,
      queue: events,
      bus: apicBus,
      host: processor,
      tsc: { nsAt: (tsc) => events.nowNs() + tsc - Number(host.timeStamp()) },
      timerHz: LAPIC_HZ,
      x2apic: parameters.x2apic,
      tscDeadline: parameters.tscDeadline,
      physicalAddressBits: PHYSICAL_ADDRESS_BITS,
      virtualWire: apicId === 0,
    })
    return processor
  })
  const lapics = processors.map((processor) => processor.lapic)
  const pic = createPic({ output: lapics[0]!.lint0 })
  lapics[0]!.connectExtInt(pic)
  const ioapic = createIoapic({ bus: apicBus, apicId: IOAPIC_ID, base: MemoryMap.ioapic })
  const router = createInterruptRouter({ pic, ioapic, isaPin: (irq) => (irq === 0 ? PIT_PIN : irq) })

  const serial = COM_PORTS.map(({ id, base, irq }) => serialPort(id, base, irq, events, router))
  const debugPort = createBytePort(() => {})
  const debugConsole = createDebugConsole({ transmit: (bytes) => debugPort.deliver(bytes) })
  const devices: Device[] = [
    ...lapics,
    ioapic,
    pic,
    createPit({ queue: events, irq: router.isa(0) }),
    createRtc({
      queue: events,
      irq: router.isa(8),
      wallClock: host.wallClock,
      lowBytes: memory.lowBytes,
      highBytes: memory.highBytes,
    }),
    createI8042({ irq: router.isa(1), control }),
    ...serial.map(({ uart }) => uart),
    createAcpiPm({ queue: events, sci: router.isa(SCI), control, base: ACPI_PM_BASE }),
    createResetControl({ control }),
    ...(parameters.debugExit ? [createDebugExit({ control })] : []),
    debugConsole,
    ...parameters.devices({
      events,
      memory,
      control,
      wallClock: host.wallClock,
      irq: (irq) => router.isa(irq),
    }),
  ]
  for (const device of devices) attachDevice(device, pio, mmio)

  const apicIds = lapics.map(({ apicId }) => apicId)
  const acpi = acpiTables(MemoryMap.acpiTables, {
    apicIds,
    lapicAddress: MemoryMap.lapic,
    ioapic: { id: IOAPIC_ID, address: MemoryMap.ioapic, gsiBase: 0 },
    overrides: [
      { irq: 0, gsi: PIT_PIN, polarity: 'bus', trigger: 'bus' },
      { irq: SCI, gsi: SCI, polarity: 'active-high', trigger: 'level' },
    ],
    sciIrq: SCI,
    pm: {
      event: ACPI_PM_BASE + ACPI_PM_EVENT,
      control: ACPI_PM_BASE + ACPI_PM_CONTROL,
      timer: ACPI_PM_BASE + ACPI_PM_TIMER,
    },
    reset: { port: RESET_CONTROL_PORT, value: RESET_CONTROL_VALUE },
    // A controller without a keyboard: nothing to be found there but the reset, for which nobody asks the tables.
    i8042: false,
    dsdt: dsdt({ processors: parameters.vcpus, sleepTypeS5: ACPI_S5_TYPE, devices: ACPI_DEVICES }),
  })
  const { eax: cpuSignature = 0, edx: cpuFeatures = 0 } =
    parameters.cpuid.find(({ leaf }) => leaf === 1) ?? {}
  const mp = mpTable(MemoryMap.mpTable, {
    apicIds,
    cpuSignature,
    cpuFeatures,
    lapicAddress: MemoryMap.lapic,
    ioapic: { id: IOAPIC_ID, address: MemoryMap.ioapic },
    interrupts: ISA_INTERRUPTS.map((irq) => ({
      irq,
      pin: irq === 0 ? PIT_PIN : irq,
      level: irq === SCI,
    })),
  })
  const table = (name: string, guestPhysical: number, bytes: Uint8Array) => ({
    name,
    guestPhysical,
    bytes,
    sizeBytes: bytes.length,
  })
  return {
    pio,
    mmio,
    events,
    devices,
    processors,
    ports: {
      ...Object.fromEntries(serial.map(({ uart, port }) => [uart.id, port])),
      [DEBUG_CONSOLE]: debugPort,
    },
    memoryMap: memoryMap(memory),
    rsdpAddress: acpi.rsdpAddress,
    tables: [
      table('ACPI tables', MemoryMap.acpiTables, acpi.bytes),
      table('MP table', MemoryMap.mpTable, mp),
    ],
    flush() {
      for (const { uart } of serial) uart.flush()
      debugConsole.flush()
    },
  }
}

/** All but 2, which is the cascade of the PICs. */
const ISA_INTERRUPTS = Array.from({ length: 16 }, (_, irq) => irq).filter((irq) => irq !== 2)

const ACPI_DEVICES: DsdtOptions['devices'] = [
  {
    name: 'PIC_',
    hid: 'PNP0000',
    ports: [
      [0x20, 2],
      [0xa0, 2],
      [0x4d0, 2],
    ],
    irq: 2,
  },
  { name: 'TIMR', hid: 'PNP0100', ports: [[0x40, 4]], irq: 0 },
  { name: 'RTC_', hid: 'PNP0B00', ports: [[0x70, 2]], irq: 8 },
  { name: 'COM1', hid: 'PNP0501', uid: 1, ports: [[0x3f8, 8]], irq: 4 },
  { name: 'COM2', hid: 'PNP0501', uid: 2, ports: [[0x2f8, 8]], irq: 3 },
  {
    name: 'MBRD',
    hid: 'PNP0C02',
    ports: [
      [0xe9, 1],
      [0xf4, 4],
      [ACPI_PM_BASE, 16],
      [RESET_CONTROL_PORT, 1],
    ],
    memory: [
      [MemoryMap.ioapic, 0x1000],
      [MemoryMap.lapic, 0x1000],
    ],
  },
]

/** A 16550 with a byte port at its far end. */
function serialPort(
  id: string,
  base: number,
  irq: number,
  queue: EventQueue,
  router: InterruptRouter,
): { uart: Uart; port: BytePortEnd } {
  const offer = (): void => port.offer((bytes) => uart.receive(bytes))
  const port = createBytePort(offer)
  const uart = createUart({
    id,
    base,
    irq: router.isa(irq),
    queue,
    // Bytes for a port that nobody has opened wait here: Linux empties the FIFO when it opens the port, and raises RTS.
    rtsFlowControl: true,
    host: { transmit: (bytes) => port.deliver(bytes), receiveReady: offer },
  })
  return { uart, port }
}

/** A local APIC, and behind it the bus. */
class MicrovmProcessor implements Processor {
  lapic!: Lapic
  readonly #mmio: IoBus
  readonly #wake: () => void
  #nmi = false

  constructor(mmio: IoBus, wake: () => void) {
    this.#mmio = mmio
    this.#wake = wake
  }

  interruptPending(): void {
    this.#wake()
  }
  nmi(): void {
    this.#nmi = true
    this.#wake()
  }
  /** Nothing of this board is managed by SMM. */
  smi(): void {}
  /** With one processor nobody but itself could send these; a kernel does not. */
  init(): void {}
  startup(): void {}

  pending(): number {
    return this.lapic.pending()
  }
  acknowledge(): number {
    return this.lapic.acknowledge()
  }
  takeNmi(): boolean {
    const nmi = this.#nmi
    this.#nmi = false
    return nmi
  }
  get taskPriority(): number {
    return this.lapic.taskPriority >> 4
  }
  set taskPriority(value: number) {
    if (value !== this.taskPriority) this.lapic.taskPriority = value << 4
  }

  readMmio(exit: ExitRecord): void {
    const { page } = this.lapic
    const offset = exit.address - page.base
    if (offset >= 0 && offset < page.size && exit.sizeBytes <= 4 && this.lapic.pageEnabled) {
      exit.value = page.read(offset, exit.sizeBytes) >>> 0
      exit.valueHigh = 0
    } else this.#mmio.readAccess(exit)
  }
  writeMmio(exit: ExitRecord): void {
    const { page } = this.lapic
    const offset = exit.address - page.base
    if (offset >= 0 && offset < page.size && exit.sizeBytes <= 4 && this.lapic.pageEnabled)
      page.write(offset, exit.sizeBytes, exit.value)
    else this.#mmio.writeAccess(exit)
  }
  readMsr(exit: ExitRecord): void {
    if (!this.lapic.ownsMsr(exit.address) || !this.lapic.readMsr(exit.address, exit)) exit.fault = true
  }
  writeMsr(exit: ExitRecord): void {
    if (!this.lapic.ownsMsr(exit.address) || !this.lapic.writeMsr(exit.address, exit.value, exit.valueHigh))
      exit.fault = true
  }
  timeStampChanged(): void {
    this.lapic.rearm()
  }
}
