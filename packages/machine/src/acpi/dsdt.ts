/**
 * The DSDT of boards without PCI: fixed ISA devices, processors, and the way to power off.
 *
 * Linux finds serial ports by PNP0501, reserves what PNP0C02 names, and turns the machine off by writing the `_S5`
 * value to PM1 control. ACPI 6.4, sections 6 (devices) and 7.4.2 (`_S5`).
 */
import {
  type Aml,
  concat,
  device,
  eisaId,
  integer,
  ioPorts,
  irq,
  memory32,
  name,
  packageOf,
  resourceTemplate,
  scope,
  string,
} from './aml.ts'

/** A device with fixed resources. */
export interface FixedDevice {
  /** Four characters, such as `COM1`. */
  readonly name: string
  /** PNP id, such as `PNP0501`. */
  readonly hid: string
  readonly uid?: number
  /** Ports: first and count. */
  readonly ports?: readonly (readonly [base: number, length: number])[]
  readonly memory?: readonly (readonly [base: number, sizeBytes: number])[]
  readonly irq?: number
}

export interface DsdtOptions {
  readonly processors: number
  readonly devices: readonly FixedDevice[]
  /** Value of SLP_TYP that powers the machine off. */
  readonly sleepTypeS5: number
}

/** The definition block's contents, without the table header. */
export function dsdt(options: DsdtOptions): Aml {
  const processors = Array.from({ length: options.processors }, (_, uid) =>
    device(
      `C${uid.toString(16).toUpperCase().padStart(3, '0')}`,
      name('_HID', string('ACPI0007')),
      name('_UID', integer(uid)),
    ),
  )
  return concat(
    scope('\\_SB_', ...processors, ...options.devices.map(fixedDevice)),
    name('\\_S5_', packageOf(integer(options.sleepTypeS5), integer(0), integer(0), integer(0))),
  )
}

function fixedDevice(fixed: FixedDevice): Aml {
  const { ports = [], memory = [] } = fixed
  return device(
    fixed.name,
    name('_HID', eisaId(fixed.hid)),
    ...(fixed.uid === undefined ? [] : [name('_UID', integer(fixed.uid))]),
    name('_STA', integer(0xf)),
    name(
      '_CRS',
      resourceTemplate(
        ...ports.map(([base, length]) => ioPorts(base, length)),
        ...memory.map(([base, sizeBytes]) => memory32(base, sizeBytes)),
        ...(fixed.irq === undefined ? [] : [irq(fixed.irq)]),
      ),
    ),
  )
}
