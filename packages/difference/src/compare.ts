/** Compares how two engines ended one case. */
import { memoryOffset } from './address.ts'
import type { Case } from './engine.ts'
import { Fxsave, type MachineImage, memoryRegions } from './machine-image.ts'

const ARITHMETIC = 0x8d5
const DF = 0x400
/** Flags that are compared: arithmetic ones, DF, NT, AC, ID. */
const COMPARED_FLAGS = ARITHMETIC | DF | 0x4000 | 0x24_0000
const registerNames = 'RAX RCX RDX RBX RSP RBP RSI RDI R8 R9 R10 R11 R12 R13 R14 R15'.split(' ')
/** Linux tells a user that every page from here on is present: the last of user space, and the kernel's half. */
const KERNEL_HALF = 0x7fff_ffff_f000n
const PAGE_FAULT = 14
const RSP = 4

/** One thing in which two ends differ. */
export interface Difference {
  /** Register, flag word, `error code` or `byte at ADDRESS`. */
  readonly what: string
  /** Value of the oracle, hexadecimal. */
  readonly expected: string
  /** Value of the other engine, hexadecimal. */
  readonly actual: string
}

const hex = (value: number | bigint): string =>
  `0x${(typeof value === 'number' ? value >>> 0 : value).toString(16)}`

/** What differs between two ends of a case; empty when they agree. */
export function differences(one: Case, expected: MachineImage, actual: MachineImage): Difference[] {
  const found: Difference[] = []
  const compare = (what: string, left: number | bigint, right: number | bigint): void => {
    if (left !== right) found.push({ what, expected: hex(left), actual: hex(right) })
  }
  compare('vector', expected.vector, actual.vector)
  // Where they took different ways, the rest differs as well and says nothing.
  if (found.length > 0) return found
  compare('RIP', expected.rip, actual.rip)
  if (expected.vector < 0) return []
  const ignoredError = expected.vector === PAGE_FAULT && expected.faultAddress >= KERNEL_HALF ? 1 : 0
  compare('error code', expected.errorCode | ignoredError, actual.errorCode | ignoredError)
  compare('CR2', expected.faultAddress, actual.faultAddress)
  registerNames.forEach((name, register) => {
    // The upper half of RSP after code of 16 bits is the kernel's affair (espfix).
    const bits = register === RSP && expected.mode === 16 ? 32 : 64
    compare(name, BigInt.asUintN(bits, expected.gpr(register)), BigInt.asUintN(bits, actual.gpr(register)))
  })
  const flags = COMPARED_FLAGS & ~(one.undefinedFlags ?? 0)
  compare('RFLAGS', expected.rflags & flags, actual.rflags & flags)

  const left = expected.fxsaveView
  const right = actual.fxsaveView
  compare('FCW', left.getUint16(Fxsave.fcw, true), right.getUint16(Fxsave.fcw, true))
  compare('FSW', left.getUint16(Fxsave.fsw, true), right.getUint16(Fxsave.fsw, true))
  compare('FTW', left.getUint8(Fxsave.ftw), right.getUint8(Fxsave.ftw))
  compare('MXCSR', left.getUint32(Fxsave.mxcsr, true), right.getUint32(Fxsave.mxcsr, true))
  const extended = (view: DataView, at: number): bigint =>
    (BigInt(view.getUint16(at + 8, true)) << 64n) | view.getBigUint64(at, true)
  // XSAVE stores zeros for registers once the x87 unit is in its initial state: what they held cannot be seen any more.
  if (!isInitial(left))
    for (let register = 0; register < 8; register++) {
      const at = Fxsave.st + 16 * register
      compare(`ST${register}`, extended(left, at), extended(right, at))
    }
  const vector = (view: DataView, at: number): bigint =>
    (view.getBigUint64(at + 8, true) << 64n) | view.getBigUint64(at, true)
  for (let register = 0; register < 16; register++) {
    const at = Fxsave.xmm + 16 * register
    compare(`XMM${register}`, vector(left, at), vector(right, at))
  }

  const ignored = new Uint8Array(expected.memory.length)
  for (const [address, sizeBytes] of one.ignoredMemory ?? [])
    for (let byte = 0; byte < sizeBytes; byte++) {
      const offset = memoryOffset(address + BigInt(byte), 1)
      if (offset !== undefined) ignored[offset] = 1
    }
  for (const { address, sizeBytes, offset } of memoryRegions)
    for (let at = offset; at < offset + sizeBytes; at++)
      if (!ignored[at] && expected.memory[at] !== actual.memory[at])
        compare(`byte at ${hex(address + BigInt(at - offset))}`, expected.memory[at]!, actual.memory[at]!)
  return found
}

function isInitial(view: DataView): boolean {
  return (
    view.getUint16(Fxsave.fcw, true) === 0x37f &&
    view.getUint16(Fxsave.fsw, true) === 0 &&
    view.getUint8(Fxsave.ftw) === 0
  )
}
