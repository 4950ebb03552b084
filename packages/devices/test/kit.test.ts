import { testDevice } from '../src/conformance/index.ts'
import {
  createApicBus,
  createIoapic,
  createIrqLine,
  createLapic,
  createPic,
  createPit,
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
testDevice({ name: 'PIT 8254', create: (queue) => ({ device: createPit({ queue, irq: noIrq }) }) })
testDevice({
  name: 'UART 16550A',
  create: (queue) => {
    const irq = createIrqLine(() => {})
    return { device: createUart({ id: 'com1', base: 0x3f8, irq, queue, host: { transmit() {} } }) }
  },
})
