/**
 * The device contract, buses, interrupt lines and timers, and the classic PC devices: PIC, IOAPIC, LAPIC, PIT, RTC, 16550,
 * i8042, ACPI power management, reset control, debug exit and debug console. Each saves and loads its state.
 * `@trapframe/devices/conformance` has the tests that every device passes.
 *
 * @example
 * A serial port on a bus, written by a guest's port accesses:
 * ```ts
 * import { attachDevice, createEventQueue, createIoBus, createUart, noIrq } from '@trapframe/devices'
 *
 * const queue = createEventQueue({ nowNs: () => 0 })
 * const pio = createIoBus('port', 0x1_0000)
 * const mmio = createIoBus('memory', 2 ** 52)
 * const uart = createUart({
 *   id: 'com1',
 *   base: 0x3f8,
 *   irq: noIrq,
 *   queue,
 *   host: { transmit: (bytes) => console.log(new TextDecoder().decode(bytes)) },
 * })
 * attachDevice(uart, pio, mmio)
 * for (const char of 'hello') pio.write(0x3f8, 1, char.charCodeAt(0))
 * uart.flush() // hello
 * console.log(pio.read(0x3fd, 1)) // 96
 * ```
 *
 * @packageDocumentation
 */
export type { Device, IoAccess, IoRange, MachineControl } from './device.ts'
export { DeviceError } from './device-error.ts'
export { createEventQueue, type EventQueue, type TimerEvent } from './event-queue.ts'
export {
  type ApicBus,
  type ApicTarget,
  createApicBus,
  DeliveryMode,
  type EoiTarget,
} from './interrupts/apic-bus.ts'
export {
  createInterruptRouter,
  type InterruptInputs,
  type InterruptRouter,
  type InterruptRouterOptions,
} from './interrupts/interrupt-router.ts'
export {
  createIoapic,
  IOAPIC_BASE,
  IOAPIC_PINS,
  type Ioapic,
  type IoapicOptions,
} from './interrupts/ioapic.ts'
export { createLapic, LAPIC_BASE, type Lapic, type LapicOptions, type MsrValue } from './interrupts/lapic.ts'
export type { ExtIntSource, LapicHost } from './interrupts/lapic-core.ts'
export type { TscClock } from './interrupts/lapic-timer.ts'
export { createPic, type Pic, type PicOptions } from './interrupts/pic.ts'
export { attachDevice, type BusAccess, createIoBus, type IoBus } from './io-bus.ts'
export { createIrqLine, type IrqLine, noIrq } from './irq-line.ts'
export {
  ACPI_PM_BASE,
  ACPI_PM_CONTROL,
  ACPI_PM_EVENT,
  ACPI_PM_TIMER,
  ACPI_S5_TYPE,
  type AcpiPm,
  type AcpiPmOptions,
  type AcpiPmState,
  createAcpiPm,
  PM_TIMER_HZ,
} from './platform/acpi-pm.ts'
export { createDebugConsole, type DebugConsole, type DebugConsoleOptions } from './platform/debug-console.ts'
export { createDebugExit, type DebugExitOptions } from './platform/debug-exit.ts'
export { createI8042, type I8042, type I8042Options, type I8042State } from './platform/i8042.ts'
export {
  createResetControl,
  RESET_CONTROL_PORT,
  RESET_CONTROL_VALUE,
  type ResetControl,
  type ResetControlState,
} from './platform/reset-control.ts'
export {
  createUart,
  type ModemLines,
  type SerialHost,
  type Uart,
  type UartOptions,
  type UartState,
} from './serial/uart-16550.ts'
export { StateReader } from './state-reader.ts'
export { createPit, type Pit, type PitOptions } from './timers/pit.ts'
export { createRtc, type Rtc, type RtcOptions, type RtcState } from './timers/rtc.ts'
