/**
 * Guest memory as the evaluator's IR sees it: every access walks the page tables anew (there is no TLB), takes all its
 * faults before it touches anything, and goes to RAM or, where there is none, to the driver by the replay protocol.
 */
import type { Procedure } from '../ir/procedure.ts'
import { Fault, Segment, SegmentField, State, segmentOffset } from '../state-layout.ts'
import { physicalCompareExchange, physicalLoad } from '../system/engine.ts'
import { deviceRead, deviceWrite } from '../system/exit.ts'
import { pageWalk, WalkAccess } from '../system/page-walk.ts'
import { segmentCoversPage, segmentLinear } from '../system/segmentation.ts'
import type { External, IrMachine, LinearMemory } from './ir-machine.ts'

const PAGE_BYTES = 4096n

/** A part of an access that lies in one page. */
interface Piece {
  readonly physical: bigint
  /** First byte of the part within the access. */
  readonly first: number
  readonly bytes: number
}

export class GuestMemory implements LinearMemory {
  readonly #machine: IrMachine

  constructor(machine: IrMachine) {
    this.#machine = machine
  }

  load(linear: bigint, bytes: number, supervisor: boolean): Uint8Array | undefined {
    const pieces = this.#walk(linear, bytes, this.#access(supervisor))
    return pieces && this.#read(pieces, bytes)
  }

  store(linear: bigint, data: Uint8Array, supervisor: boolean): boolean {
    const pieces = this.#walk(linear, data.length, this.#access(supervisor) | WalkAccess.write)
    return pieces !== undefined && this.#write(pieces, data)
  }

  reference(linear: bigint, bytes: number, supervisor: boolean): { ram: number | undefined } | undefined {
    const pieces = this.#walk(linear, bytes, this.#access(supervisor) | WalkAccess.write)
    if (!pieces) return undefined
    const [only] = pieces
    return { ram: pieces.length === 1 && this.#isRam(only!) ? Number(only!.physical) : undefined }
  }

  /** Code from `linear` to the end of its page, at most `bytes`; undefined after a fault. `'outside'`: there is no RAM. */
  fetch(linear: bigint, bytes: number): Uint8Array | 'outside' | undefined {
    const cpl = this.#machine.state.getInt32(State.cpl, true)
    const inPage = Math.min(bytes, Number(PAGE_BYTES - (linear & (PAGE_BYTES - 1n))))
    const pieces = this.#walk(linear, inPage, WalkAccess.fetch | (cpl === 3 ? WalkAccess.user : 0))
    if (!pieces) return undefined
    return this.#isRam(pieces[0]!) ? this.#read(pieces, inPage) : 'outside'
  }

  /** Address of plain RAM for a linear address, 0 where there is none; without faults. See `spanForRead`. */
  span(linear: bigint, write: boolean): number {
    const { state } = this.#machine
    const kept = new Uint8Array(state.buffer, state.byteOffset + State.fault, 16).slice()
    const cr2 = state.getBigUint64(State.cr2, true)
    if (linear >> 62n === 1n && !this.#in64BitMode()) {
      if (this.#machine.call(segmentCoversPage, linear, write ? 1 : 0).value === 0) return 0
    }
    const pieces = this.#walk(linear, 1, this.#access(false) | (write ? WalkAccess.write : 0))
    if (!pieces) {
      new Uint8Array(state.buffer, state.byteOffset + State.fault, 16).set(kept)
      state.setInt32(State.fault, Fault.none, true)
      state.setBigUint64(State.cr2, cr2, true)
      return 0
    }
    return this.#isRam(pieces[0]!) ? this.#machine.ramAddress(Number(pieces[0]!.physical)) : 0
  }

  #access(supervisor: boolean): number {
    if (supervisor) return WalkAccess.implicit
    return this.#machine.state.getInt32(State.cpl, true) === 3 ? WalkAccess.user : 0
  }

  #walk(given: bigint, bytes: number, access: number): Piece[] | undefined {
    const pieces: Piece[] = []
    const segmented = given >> 62n === 1n && !this.#in64BitMode()
    let linear = given
    if (segmented) {
      const end = this.#machine.call(segmentLinear, given, bytes, access & WalkAccess.write ? 1 : 0)
      if (end.kind === 'fault') return undefined
      linear = end.value as bigint
    }
    for (let first = 0; first < bytes; ) {
      const address = BigInt.asUintN(segmented ? 32 : 64, linear + BigInt(first))
      const count = Math.min(bytes - first, Number(PAGE_BYTES - (address & (PAGE_BYTES - 1n))))
      const end = this.#machine.call(pageWalk, address, access)
      if (end.kind === 'fault') return undefined
      pieces.push({ physical: end.value as bigint, first, bytes: count })
      first += count
    }
    return pieces
  }

  #in64BitMode(): boolean {
    const { state } = this.#machine
    const code = state.getUint16(segmentOffset(Segment.cs, SegmentField.attributes), true)
    return (state.getBigUint64(State.efer, true) & 0x400n) !== 0n && (code & 0x2000) !== 0
  }

  #isRam(piece: Piece): boolean {
    return piece.physical + BigInt(piece.bytes) <= BigInt(this.#machine.ram.length)
  }

  #read(pieces: readonly Piece[], bytes: number): Uint8Array | undefined {
    const data = new Uint8Array(bytes)
    for (const piece of pieces) {
      if (this.#isRam(piece)) {
        const at = Number(piece.physical)
        data.set(this.#machine.ram.subarray(at, at + piece.bytes), piece.first)
        continue
      }
      for (const { physical, first, bytes: size } of deviceParts(piece)) {
        const end = this.#machine.call(deviceRead, physical, size)
        if (end.kind === 'fault') return undefined
        const value = end.value as bigint
        for (let i = 0; i < size; i++) data[first + i] = Number((value >> BigInt(8 * i)) & 0xffn)
      }
    }
    return data
  }

  #write(pieces: readonly Piece[], data: Uint8Array): boolean {
    // Devices first: their exits abandon the instruction, and RAM must not be written by then.
    for (const piece of pieces) {
      if (this.#isRam(piece)) continue
      for (const { physical, first, bytes } of deviceParts(piece)) {
        let value = 0n
        for (let i = bytes - 1; i >= 0; i--) value = (value << 8n) | BigInt(data[first + i]!)
        if (this.#machine.call(deviceWrite, physical, bytes, value).kind === 'fault') return false
      }
    }
    for (const piece of pieces)
      if (this.#isRam(piece))
        this.#machine.ram.set(data.subarray(piece.first, piece.first + piece.bytes), Number(piece.physical))
    return true
  }
}

/** Accesses of 1, 2, 4 and 8 bytes that make up a part; a device sees an unaligned one as it is. */
function deviceParts(piece: Piece): Piece[] {
  const parts: Piece[] = []
  for (let done = 0; done < piece.bytes; ) {
    const left = piece.bytes - done
    const bytes = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1
    parts.push({ physical: piece.physical + BigInt(done), first: piece.first + done, bytes })
    done += bytes
  }
  return parts
}

/** Access to guest-physical memory for the page walk: RAM, or all ones. */
export function physicalAccess(machine: IrMachine): [Procedure, External][] {
  const inside = (address: bigint): boolean => address + 8n <= BigInt(machine.ram.length)
  const view = new DataView(machine.ram.buffer, machine.ram.byteOffset, machine.ram.length)
  const load = (address: bigint): bigint =>
    inside(address) ? view.getBigUint64(Number(address), true) : 2n ** 64n - 1n
  return [
    [physicalLoad, (address) => load(address as bigint)],
    [
      physicalCompareExchange,
      (address, expected, replacement) => {
        const found = load(address as bigint)
        if (found === expected && inside(address as bigint))
          view.setBigUint64(Number(address), replacement as bigint, true)
        return found
      },
    ],
  ]
}
