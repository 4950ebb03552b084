import { testDevice } from '../src/conformance/index.ts'
import {
  createAcpiPm,
  createApicBus,
  createDebugConsole,
  createDebugExit,
  createI8042,
  createIoapic,
  createIrqLine,
  createLapic,
  createPic,
  createPit,
  createResetControl,
  createRtc,
  createUart,
  noIrq,
} from '../src/index.ts'

const tsc = { nsAt: (value: number) => value }

testDevice({
  name: 'PIC 8259A',
  create: () => {
    const pic = createPic({ output: noIrq })
    return { device: pic }
  },
})
testDevice({ name: 'IOAPIC', create: () => ({ device: createIoapic({ bus: createApicBus() }) }) })
for (const virtualWire of [false, true])
  testDevice({
    name: `LAPIC${virtualWire ? ' in virtual wire mode' : ''}`,
    create: (queue) => {
      const host = { interruptPending() {}, nmi() {}, smi() {}, init() {}, startup() {} }
      const lapic = createLapic({ apicId: 3, queue, bus: createApicBus(), host, tsc, virtualWire })
      return { device: lapic, ranges: [lapic.page] }
    },
  })
testDevice({
  name: 'LAPIC in x2APIC mode',
  create: (queue) => {
    const host = { interruptPending() {}, nmi() {}, smi() {}, init() {}, startup() {} }
    const lapic = createLapic({ apicId: 3, queue, bus: createApicBus(), host, tsc })
    lapic.writeMsr(0x1b, 0xfee0_0c00, 0)
    const msr = { value: 0, valueHigh: 0 }
    // MSRs by offset, 0xff standing for IA32_TSC_DEADLINE; #GP reads as zero.
    const index = (offset: number): number => (offset === 0xff ? 0x6e0 : 0x800 + offset)
    const registers = {
      base: 0,
      size: 0x100,
      access: 'answered',
      read: (offset: number, size: number) =>
        lapic.readMsr(index(offset), msr) ? (msr.value & (0xffff_ffff >>> (32 - 8 * size))) >>> 0 : 0,
      write: (offset: number, _size: number, value: number) => {
        lapic.writeMsr(index(offset), value, value & 1)
      },
    } as const
    return { device: lapic, ranges: [registers] }
  },
  // A reset leaves x2APIC mode.
  resetsCompletely: false,
})
testDevice({ name: 'PIT 8254', create: (queue) => ({ device: createPit({ queue, irq: noIrq }) }) })
testDevice({
  name: 'UART 16550A',
  create: (queue) => {
    const irq = createIrqLine(() => {})
    return { device: createUart({ id: 'com1', base: 0x3f8, irq, queue, host: { transmit() {} } }) }
  },
})

const control = { powerOff() {}, reset() {}, debugExit() {} }
testDevice({
  name: 'RTC MC146818',
  create: (queue) => ({
    device: createRtc({
      queue,
      irq: noIrq,
      wallClock: { nowMs: () => 1_700_000_000_250 },
      lowBytes: 2 ** 30,
    }),
  }),
  // Time and contents have a battery.
  resetsCompletely: false,
})
for (const keyboard of [false, true])
  testDevice({
    name: `i8042${keyboard ? ' with a keyboard' : ''}`,
    create: () => ({ device: createI8042({ irq: noIrq, control, keyboard }) }),
  })
testDevice({ name: 'ACPI PM', create: (queue) => ({ device: createAcpiPm({ queue, sci: noIrq, control }) }) })
testDevice({ name: 'reset control', create: () => ({ device: createResetControl({ control }) }) })
testDevice({ name: 'debug exit', create: () => ({ device: createDebugExit({ control }) }) })
testDevice({
  name: 'debug console',
  create: () => ({ device: createDebugConsole({ transmit() {} }) }),
})
