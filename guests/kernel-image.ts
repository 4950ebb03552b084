// Kernels made by hand: a bzImage with a valid header around any payload, and small ELF files.

export interface ElfParts {
  entry?: bigint
  machine?: number
  type?: number
  elfClass?: number
  segments?: { physical: bigint; virtual?: bigint; bytes: Uint8Array; memorySizeBytes?: number }[]
  pvhEntry?: number
}

/** An ELF64 file; by default one segment of 64 bytes at 16 MiB that is entered at its start. */
export function elfKernel(parts: ElfParts = {}): Uint8Array {
  const segments = parts.segments ?? [{ physical: 0x100_0000n, bytes: new Uint8Array(64).fill(0xf4) }]
  const note = new Uint8Array(20)
  const noteView = new DataView(note.buffer)
  noteView.setUint32(0, 4, true)
  noteView.setUint32(4, 4, true)
  noteView.setUint32(8, 18, true)
  note.set([0x58, 0x65, 0x6e, 0], 12)
  noteView.setUint32(16, parts.pvhEntry ?? 0, true)
  const headerCount = segments.length + (parts.pvhEntry === undefined ? 0 : 1)
  const dataStart = 64 + headerCount * 56
  const bytes = new Uint8Array(dataStart + segments.reduce((sum, s) => sum + s.bytes.length, 0) + note.length)
  const view = new DataView(bytes.buffer)
  bytes.set([0x7f, 0x45, 0x4c, 0x46, parts.elfClass ?? 2, 1, 1])
  view.setUint16(16, parts.type ?? 2, true)
  view.setUint16(18, parts.machine ?? 62, true)
  view.setBigUint64(24, parts.entry ?? segments[0]!.physical, true)
  view.setBigUint64(32, 64n, true)
  view.setUint16(54, 56, true)
  view.setUint16(56, headerCount, true)
  let at = dataStart
  segments.forEach((segment, index) => {
    const header = 64 + index * 56
    view.setUint32(header, 1, true)
    view.setBigUint64(header + 8, BigInt(at), true)
    view.setBigUint64(header + 16, segment.virtual ?? segment.physical, true)
    view.setBigUint64(header + 24, segment.physical, true)
    view.setBigUint64(header + 32, BigInt(segment.bytes.length), true)
    view.setBigUint64(header + 40, BigInt(segment.memorySizeBytes ?? segment.bytes.length), true)
    bytes.set(segment.bytes, at)
    at += segment.bytes.length
  })
  if (parts.pvhEntry !== undefined) {
    const header = 64 + segments.length * 56
    view.setUint32(header, 4, true)
    view.setBigUint64(header + 8, BigInt(at), true)
    view.setBigUint64(header + 32, BigInt(note.length), true)
    bytes.set(note, at)
  }
  return bytes
}

export interface BzImageParts {
  payload?: Uint8Array
  xloadflags?: number
  protocolVersion?: number
  cmdlineSizeBytes?: number
  initSizeBytes?: number
  initrdAddrMax?: number
}

/** A bzImage of protocol 2.15 that prefers 16 MiB and needs 2 MiB there. */
export function bzImage(parts: BzImageParts = {}): Uint8Array {
  const payload = parts.payload ?? new Uint8Array(64)
  const setupBytes = 3 * 512
  const kernelBytes = Math.ceil((0x400 + payload.length) / 16) * 16
  const bytes = new Uint8Array(setupBytes + kernelBytes)
  const view = new DataView(bytes.buffer)
  bytes[0x1f1] = 2
  view.setUint32(0x1f4, kernelBytes / 16, true)
  view.setUint16(0x1fe, 0xaa55, true)
  bytes.set([0xeb, 0x6a], 0x200)
  bytes.set(new TextEncoder().encode('HdrS'), 0x202)
  view.setUint16(0x206, parts.protocolVersion ?? 0x020f, true)
  view.setUint16(0x20e, 0x300 - 0x200 + 0x100, true)
  bytes.set(new TextEncoder().encode('6.1.0-test (builder)\0'), 0x400)
  bytes[0x211] = 1 | 2 // LOADED_HIGH, and KASLR_FLAG, which a loader must clear
  view.setUint32(0x22c, parts.initrdAddrMax ?? 0x7fff_ffff, true)
  view.setUint32(0x230, 0x20_0000, true)
  bytes[0x234] = 1
  view.setUint16(0x236, parts.xloadflags ?? 0x7f, true)
  view.setUint32(0x238, parts.cmdlineSizeBytes ?? 2047, true)
  view.setUint32(0x248, 0x400, true)
  view.setUint32(0x24c, payload.length, true)
  view.setBigUint64(0x258, 0x100_0000n, true)
  view.setUint32(0x260, parts.initSizeBytes ?? 0x20_0000, true)
  bytes.fill(0xcc, setupBytes, setupBytes + 0x400)
  bytes.set(payload, setupBytes + 0x400)
  return bytes
}

/** What the kernel's build appends to compressed data. */
export function withSize(packed: Uint8Array, sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(packed.length + 4)
  bytes.set(packed)
  new DataView(bytes.buffer).setUint32(packed.length, sizeBytes, true)
  return bytes
}

/** The code of the error that the function throws; undefined where it throws none. */
export function errorCode(run: () => unknown): string | undefined {
  try {
    run()
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
  return undefined
}
