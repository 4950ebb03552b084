/**
 * The device contract, buses, interrupt lines, and the classic PC devices.
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
