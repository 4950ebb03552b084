/**
 * Dispatch of ports or of MMIO addresses to the ranges of devices: sorted ranges, binary search, the last hit first.
 *
 * What a range does not take whole is split: an access wider than the range's `width`, one that spans ranges, and
 * 8-byte MMIO (low half first). Where nothing answers, reads give all ones and writes are dropped, as on a PC's bus.
 * No access allocates or throws.
 */
import type { Device, IoRange } from './device.ts'
import { DeviceError, hex } from './device-error.ts'

/** The part of a vCPU's exit record that a bus works on. */
export interface BusAccess {
  /** Port or guest-physical address. */
  readonly address: number
  /** 1, 2, 4 or 8. */
  readonly sizeBytes: number
  /** Low 32 bits of the value, unsigned. */
  value: number
  /** High 32 bits of an 8-byte value, unsigned. */
  valueHigh: number
}

/** A bus of ports or of memory addresses. Made by `createIoBus`. */
export interface IoBus {
  /** For messages: `port` or `memory`. */
  readonly name: string
  /** @throws DeviceError `device/range` for an empty range, `device/overlap` for one that overlaps another */
  add(range: IoRange, owner: string): void
  /** Takes a range out; one that is not there is no error. */
  remove(range: IoRange): void
  /** The range that holds an address. */
  find(address: number): IoRange | undefined
  /** Reads 1, 2 or 4 bytes. */
  read(address: number, size: number): number
  /** Writes 1, 2 or 4 bytes. */
  write(address: number, size: number, value: number): void
  /** Answers a read exit: fills `value` and `valueHigh`. */
  readAccess(access: BusAccess): void
  /** Performs a write exit. */
  writeAccess(access: BusAccess): void
  /** Accesses that no range answered. */
  readonly unclaimed: number
}

/** A bus of addresses below `limit`: 0x10000 for ports, 2^52 for memory. */
export function createIoBus(name: string, limit: number): IoBus {
  return new SortedIoBus(name, limit)
}

/** Puts the ranges of a device on the buses. */
export function attachDevice(device: Device, pio: IoBus, mmio: IoBus): void {
  for (const range of device.pio ?? []) pio.add(range, device.id)
  for (const range of device.mmio ?? []) mmio.add(range, device.id)
}

class SortedIoBus implements IoBus {
  readonly name: string
  unclaimed = 0
  readonly #limit: number
  readonly #ranges: IoRange[] = []
  readonly #owners: string[] = []
  #last: IoRange | undefined

  constructor(name: string, limit: number) {
    this.name = name
    this.#limit = limit
  }

  add(range: IoRange, owner: string): void {
    const { base, size } = range
    if (!Number.isSafeInteger(base) || !Number.isSafeInteger(size) || base < 0 || size <= 0)
      throw new DeviceError('device/range', `${owner}: ${size} bytes at ${this.name} ${hex(base)}`)
    if (base + size > this.#limit)
      throw new DeviceError(
        'device/range',
        `${owner}: ${this.name} ${hex(base + size - 1)} is beyond the bus`,
      )
    const at = this.#search(base)
    const before = this.#ranges[at - 1]
    const after = this.#ranges[at]
    const other =
      before !== undefined && before.base + before.size > base
        ? at - 1
        : after !== undefined && base + size > after.base
          ? at
          : -1
    if (other >= 0)
      throw new DeviceError(
        'device/overlap',
        `${owner}: ${size} bytes at ${this.name} ${hex(base)} overlap ${this.#owners[other]} at ${hex(this.#ranges[other]!.base)}`,
      )
    this.#ranges.splice(at, 0, range)
    this.#owners.splice(at, 0, owner)
  }

  remove(range: IoRange): void {
    const at = this.#ranges.indexOf(range)
    if (at < 0) return
    this.#ranges.splice(at, 1)
    this.#owners.splice(at, 1)
    this.#last = undefined
  }

  find(address: number): IoRange | undefined {
    const last = this.#last
    if (last !== undefined && address >= last.base && address - last.base < last.size) return last
    const range = this.#ranges[this.#search(address) - 1]
    if (range === undefined || address - range.base >= range.size) return undefined
    this.#last = range
    return range
  }

  read(address: number, size: number): number {
    const range = this.find(address)
    if (range !== undefined) {
      const offset = address - range.base
      if (offset + size <= range.size && size <= (range.width ?? 4)) return range.read(offset, size) >>> 0
    }
    let value = 0
    for (let done = 0; done < size; ) {
      const step = this.#step(address, done, size)
      const piece = step > 0 ? this.find(address + done)! : undefined
      const part = piece === undefined ? 0xff : piece.read(address + done - piece.base, step)
      value |= part << (8 * done)
      done += step > 0 ? step : 1
    }
    if (range === undefined) this.unclaimed++
    return value >>> 0
  }

  write(address: number, size: number, value: number): void {
    const range = this.find(address)
    if (range !== undefined) {
      const offset = address - range.base
      if (offset + size <= range.size && size <= (range.width ?? 4)) {
        range.write(offset, size, value)
        return
      }
    } else this.unclaimed++
    for (let done = 0; done < size; ) {
      const step = this.#step(address, done, size)
      if (step > 0) {
        const piece = this.find(address + done)!
        const part = value >>> (8 * done)
        piece.write(address + done - piece.base, step, step === 4 ? part : part & ((1 << (8 * step)) - 1))
      }
      done += step > 0 ? step : 1
    }
  }

  readAccess(access: BusAccess): void {
    if (access.sizeBytes === 8) {
      access.value = this.read(access.address, 4)
      access.valueHigh = this.read(access.address + 4, 4)
    } else {
      access.value = this.read(access.address, access.sizeBytes)
      access.valueHigh = 0
    }
  }

  writeAccess(access: BusAccess): void {
    if (access.sizeBytes === 8) {
      this.write(access.address, 4, access.value)
      this.write(access.address + 4, 4, access.valueHigh)
    } else this.write(access.address, access.sizeBytes, access.value)
  }

  /** How many bytes of an access the range at `address + done` takes at once; 0 when nothing answers there. */
  #step(address: number, done: number, size: number): number {
    const at = address + done
    const range = this.find(at)
    if (range === undefined || (range.exact === true && done > 0)) return 0
    const room = range.size - (at - range.base)
    let step = range.width ?? 4
    while (step > size - done || step > room || (at & (step - 1)) !== 0) step >>= 1
    return step
  }

  /** Index of the first range whose base is above `address`. */
  #search(address: number): number {
    const ranges = this.#ranges
    let low = 0
    let high = ranges.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (ranges[middle]!.base <= address) low = middle + 1
      else high = middle
    }
    return low
  }
}
