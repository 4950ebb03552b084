import { bzImage, elfKernel, errorCode } from '@trapframe/guests/kernel-image.ts'
import { describe, expect, test } from 'vitest'
import { E820_TYPE, type E820Entry } from '../../src/boot/boot-params.ts'
import { isBzImage, parseBzImage } from '../../src/boot/bzimage.ts'
import { type BootSegment, type LinuxBootPlan, planLinuxBoot } from '../../src/boot/load-linux.ts'
import { parseVmlinux } from '../../src/boot/vmlinux.ts'

const MIB = 2 ** 20
const memoryMap = (sizeBytes: number): E820Entry[] => [
  { base: 0, sizeBytes: 0x9_fc00, type: E820_TYPE.ram },
  { base: 0x9_fc00, sizeBytes: 0x6_0400, type: E820_TYPE.reserved },
  { base: MIB, sizeBytes: sizeBytes - MIB, type: E820_TYPE.ram },
]
const segment = (plan: LinuxBootPlan, name: string): BootSegment => {
  const found = plan.segments.find((candidate) => candidate.name === name)
  if (found === undefined) throw new Error(`no segment ${name}`)
  return found
}
const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

describe('parseBzImage', () => {
  test('default: header fields', () => {
    const bytes = bzImage({ payload: new Uint8Array(100).fill(7) })
    const image = parseBzImage(bytes)
    expect(image).toMatchObject({
      protocolVersion: 0x020f,
      kernelVersion: '6.1.0-test (builder)',
      prefAddress: 16 * MIB,
      initSizeBytes: 2 * MIB,
      alignmentBytes: 2 * MIB,
      relocatable: true,
      cmdlineSizeBytes: 2047,
      initrdAddrMax: 0x7fff_ffff,
    })
    expect(image.payload).toEqual(new Uint8Array(100).fill(7))
    expect(image.protectedModeKernel.length).toBe(bytes.length - 1536)
    expect(image.setupHeader.length).toBe(0x202 + 0x6a - 0x1f1)
  })

  test('behaviour: data behind the kernel (a signature) are left out', () => {
    const bytes = bzImage()
    const signed = new Uint8Array(bytes.length + 1000)
    signed.set(bytes)
    expect(parseBzImage(signed).protectedModeKernel.length).toBe(bytes.length - 1536)
  })

  test('error: no kernel, truncated, no 64-bit entry, contradictions', () => {
    const code = (bytes: Uint8Array): string | undefined => errorCode(() => parseBzImage(bytes))
    expect(code(new Uint8Array(0))).toBe('boot/not-a-kernel')
    expect(code(new TextEncoder().encode('#!/bin/sh\n'.repeat(100)))).toBe('boot/not-a-kernel')
    const good = bzImage()
    expect(isBzImage(good)).toBe(true)
    expect(code(good.subarray(0, 0x240))).not.toBe(undefined)
    expect(code(good.subarray(0, good.length - 16))).toBe('boot/truncated')
    expect(code(good.subarray(0, 1536))).toBe('boot/truncated')
    expect(code(bzImage({ xloadflags: 0 }))).toBe('boot/no-64-bit-entry')
    expect(code(bzImage({ protocolVersion: 0x020a }))).toBe('boot/no-64-bit-entry')
    const badPayload = good.slice()
    viewOf(badPayload).setUint32(0x24c, 0x7fff_ffff, true)
    expect(code(badPayload)).toBe('boot/malformed')
  })

  test('error: any prefix and any single wrong header byte gives a typed error or a sane image', () => {
    const good = bzImage()
    for (let length = 0; length < good.length; length += 7) {
      expect(errorCode(() => parseBzImage(good.subarray(0, length)))).toMatch(/^boot\//)
    }
    for (let at = 0x1f1; at < 0x26c; at++) {
      for (const value of [0, 0x7f, 0xff]) {
        const bytes = good.slice()
        bytes[at] = value
        const code = errorCode(() => parseBzImage(bytes))
        if (code !== undefined) expect(code).toMatch(/^boot\//)
      }
    }
  })
})

describe('parseVmlinux', () => {
  test('default: segments, entry, PVH note', () => {
    const bytes = elfKernel({
      entry: 0x100_0010n,
      pvhEntry: 0x100_0800,
      segments: [
        { physical: 0x100_0000n, virtual: 0xffff_ffff_8100_0000n, bytes: new Uint8Array(4096).fill(1) },
        {
          physical: 0x120_0000n,
          virtual: 0xffff_ffff_8120_0000n,
          bytes: new Uint8Array(8),
          memorySizeBytes: 8192,
        },
      ],
    })
    const vmlinux = parseVmlinux(bytes)
    expect(vmlinux).toMatchObject({
      entry: 0x100_0010,
      pvhEntry: 0x100_0800,
      startPhysical: 0x100_0000,
      endPhysical: 0x120_2000,
    })
    expect(vmlinux.segments.map((s) => [s.guestPhysical, s.bytes.length, s.memorySizeBytes])).toEqual([
      [0x100_0000, 4096, 4096],
      [0x120_0000, 8, 8192],
    ])
  })

  test('behaviour: a virtual entry is translated by its segment', () => {
    const bytes = elfKernel({
      entry: 0xffff_ffff_8000_0020n,
      segments: [{ physical: 0x20_0000n, virtual: 0xffff_ffff_8000_0000n, bytes: new Uint8Array(64) }],
    })
    expect(parseVmlinux(bytes).entry).toBe(0x20_0020)
    expect(parseVmlinux(bytes).pvhEntry).toBe(undefined)
  })

  test('error: 32-bit, wrong machine, object file, truncated, nonsense', () => {
    const code = (bytes: Uint8Array): string | undefined => errorCode(() => parseVmlinux(bytes))
    expect(code(new Uint8Array(100))).toBe('boot/not-a-kernel')
    expect(code(elfKernel({ elfClass: 1 }))).toBe('boot/elf-32-bit')
    expect(code(elfKernel({ machine: 183 }))).toBe('boot/elf-wrong-machine')
    expect(code(elfKernel({ type: 1 }))).toBe('boot/elf-wrong-machine')
    expect(code(elfKernel().subarray(0, 30))).toBe('boot/truncated')
    expect(code(elfKernel().subarray(0, 100))).toBe('boot/truncated')
    expect(code(elfKernel().subarray(0, 130))).toBe('boot/truncated')
    expect(code(elfKernel({ entry: 5n }))).toBe('boot/malformed')
    expect(code(elfKernel({ segments: [{ physical: 1n << 60n, bytes: new Uint8Array(8) }] }))).toBe(
      'boot/malformed',
    )
    expect(code(elfKernel({ entry: 0n, segments: [] }).subarray(0))).toBe('boot/malformed')
    expect(
      code(elfKernel({ segments: [{ physical: 0x1000n, bytes: new Uint8Array(8), memorySizeBytes: 4 }] })),
    ).toBe('boot/malformed')
  })
})

describe('planLinuxBoot', () => {
  test('default: bzImage, 64-bit entry', () => {
    const kernel = bzImage()
    const initrd = new Uint8Array(5000).fill(9)
    const plan = planLinuxBoot({
      kernel,
      initrd,
      commandLine: 'console=ttyS0',
      memoryMap: memoryMap(64 * MIB),
      rsdpAddress: 0xe_0000,
    })
    expect(plan.entry).toBe('bzimage64')
    expect(plan.kernelVersion).toBe('6.1.0-test (builder)')
    expect(segment(plan, 'kernel').guestPhysical).toBe(16 * MIB)
    expect(plan.state).toMatchObject({
      mode: 'long64',
      rip: 16 * MIB + 0x200,
      rsi: 0x7000,
      rsp: 0x9000,
      cr3: 0x9000,
    })

    const params = segment(plan, 'boot_params')
    const view = viewOf(params.bytes)
    expect(params.bytes.subarray(0x1f1, 0x210)).toEqual(kernel.subarray(0x1f1, 0x210))
    expect(view.getUint8(0x210)).toBe(0xff)
    expect(view.getUint8(0x211)).toBe(1) // KASLR_FLAG is gone
    expect(view.getUint8(0x1ef)).toBe(0) // the sentinel: the page was cleared
    expect(view.getBigUint64(0x70, true)).toBe(0xe_0000n)
    expect(view.getUint8(0x1e8)).toBe(3)
    expect(view.getBigUint64(0x2d0 + 40, true)).toBe(BigInt(MIB))
    expect(view.getBigUint64(0x2d0 + 48, true)).toBe(BigInt(63 * MIB))
    expect(view.getUint32(0x2d0 + 56, true)).toBe(1)
    const place = segment(plan, 'initrd')
    expect(place.guestPhysical).toBe(64 * MIB - 8192) // as high as it goes, on a page
    expect(view.getUint32(0x218, true)).toBe(place.guestPhysical)
    expect(view.getUint32(0x21c, true)).toBe(5000)
    const commandLine = segment(plan, 'command line')
    expect(view.getUint32(0x228, true)).toBe(commandLine.guestPhysical)
    expect(new TextDecoder().decode(commandLine.bytes)).toBe('console=ttyS0\0')
  })

  test('behaviour: page tables map the first 4 GiB one to one; descriptors are flat', () => {
    const plan = planLinuxBoot({ kernel: bzImage(), commandLine: '', memoryMap: memoryMap(64 * MIB) })
    const { guestPhysical: base, bytes } = segment(plan, 'page tables')
    const view = viewOf(bytes)
    const entryAt = (address: number): bigint => view.getBigUint64(address - base, true)
    for (const linear of [0, 0x1234_5678, 0x7fff_ffff, 0xffff_f000]) {
      const pdpt = Number(entryAt(base) & ~0xfffn)
      const directory = Number(entryAt(pdpt + Math.floor(linear / 2 ** 30) * 8) & ~0xfffn)
      const page = entryAt(directory + (Math.floor(linear / 2 ** 21) % 512) * 8)
      expect(page & 0x83n).toBe(0x83n)
      expect(Number(page & ~0x1f_ffffn) + (linear % 2 ** 21)).toBe(linear)
    }
    const gdt = viewOf(segment(plan, 'gdt').bytes)
    expect(gdt.getBigUint64(0x10, true)).toBe(0x00af9b000000ffffn)
    expect(gdt.getBigUint64(0x18, true)).toBe(0x00cf93000000ffffn)
    expect(plan.state).toMatchObject({ cr0: 0x8000_0031, cr4: 0x20, efer: 0x500, rflags: 2 })
  })

  test('behaviour: ELF kernel with the set-up header of its bzImage', () => {
    const kernel = elfKernel({
      entry: 0x100_0000n,
      segments: [{ physical: 0x100_0000n, bytes: new Uint8Array(64).fill(0x90), memorySizeBytes: 3 * MIB }],
    })
    const memory = memoryMap(32 * MIB)
    const plan = planLinuxBoot({ kernel, bzImage: bzImage(), commandLine: 'a', memoryMap: memory })
    expect(plan.entry).toBe('vmlinux64')
    expect(plan.state).toMatchObject({ mode: 'long64', rip: 0x100_0000, rsi: 0x7000 })
    expect(segment(plan, 'kernel segment 0')).toMatchObject({ guestPhysical: 0x100_0000, sizeBytes: 3 * MIB })
    expect(viewOf(segment(plan, 'boot_params').bytes).getBigUint64(0x258, true)).toBe(0x100_0000n)
    const alone = planLinuxBoot({ kernel, commandLine: 'a', memoryMap: memory })
    expect(viewOf(segment(alone, 'boot_params').bytes).getUint32(0x202, true)).toBe(0x53726448)
  })

  test('behaviour: PVH', () => {
    const plan = planLinuxBoot({
      kernel: elfKernel({ pvhEntry: 0x100_0020 }),
      initrd: new Uint8Array(10),
      commandLine: 'x',
      memoryMap: memoryMap(32 * MIB),
      rsdpAddress: 0xf_0000,
      entry: 'pvh',
    })
    expect(plan.state).toMatchObject({ mode: 'protected32', rip: 0x100_0020, rbx: 0x6000, cr0: 0x11 })
    const info = segment(plan, 'start info')
    const view = viewOf(info.bytes)
    expect(view.getUint32(0, true)).toBe(0x336ec578)
    expect(view.getUint32(12, true)).toBe(1)
    const modules = Number(view.getBigUint64(16, true)) - info.guestPhysical
    expect(Number(view.getBigUint64(modules, true))).toBe(segment(plan, 'initrd').guestPhysical)
    expect(view.getBigUint64(modules + 8, true)).toBe(10n)
    expect(Number(view.getBigUint64(24, true))).toBe(segment(plan, 'command line').guestPhysical)
    expect(view.getBigUint64(32, true)).toBe(0xf_0000n)
    expect(view.getUint32(48, true)).toBe(3)
    const map = Number(view.getBigUint64(40, true)) - info.guestPhysical
    expect(view.getBigUint64(map + 48, true)).toBe(BigInt(MIB))
  })

  test('behaviour: the initrd keeps clear of the kernel and of what it claims, and below initrd_addr_max', () => {
    const options = {
      kernel: bzImage({ initSizeBytes: 40 * MIB }),
      commandLine: '',
      memoryMap: memoryMap(60 * MIB),
    }
    const above = planLinuxBoot({ ...options, initrd: new Uint8Array(3 * MIB) })
    expect(segment(above, 'initrd').guestPhysical).toBe(57 * MIB)
    const below = planLinuxBoot({ ...options, initrd: new Uint8Array(5 * MIB) })
    expect(segment(below, 'initrd').guestPhysical).toBe(11 * MIB)
    const limited = planLinuxBoot({
      kernel: bzImage({ initrdAddrMax: 20 * MIB - 1 }),
      commandLine: '',
      memoryMap: memoryMap(60 * MIB),
      initrd: new Uint8Array(MIB),
    })
    expect(segment(limited, 'initrd').guestPhysical).toBe(19 * MIB)
  })

  test('behaviour: the initrd may go above the hole, neighbouring RAM entries count as one', () => {
    const map: E820Entry[] = [
      { base: 0, sizeBytes: 0xa_0000, type: E820_TYPE.ram },
      { base: 17 * MIB, sizeBytes: 47 * MIB, type: E820_TYPE.ram },
      { base: MIB, sizeBytes: 16 * MIB, type: E820_TYPE.ram },
    ]
    const plan = planLinuxBoot({
      kernel: bzImage(),
      commandLine: '',
      memoryMap: map,
      initrd: new Uint8Array(4096),
    })
    expect(segment(plan, 'initrd').guestPhysical).toBe(64 * MIB - 4096)
  })

  test('error: what does not fit', () => {
    const code = (options: Partial<Parameters<typeof planLinuxBoot>[0]>): string | undefined =>
      errorCode(() =>
        planLinuxBoot({ kernel: bzImage(), commandLine: '', memoryMap: memoryMap(32 * MIB), ...options }),
      )
    expect(code({})).toBe(undefined)
    expect(code({ memoryMap: memoryMap(17 * MIB) })).toBe('boot/kernel-does-not-fit')
    expect(code({ kernel: elfKernel(), memoryMap: memoryMap(8 * MIB) })).toBe('boot/kernel-does-not-fit')
    expect(code({ initrd: new Uint8Array(40 * MIB) })).toBe('boot/initrd-does-not-fit')
    expect(code({ commandLine: 'x'.repeat(2047) })).toBe(undefined)
    expect(code({ commandLine: 'x'.repeat(2048) })).toBe('boot/bad-command-line')
    expect(code({ kernel: bzImage({ cmdlineSizeBytes: 255 }), commandLine: 'ä'.repeat(128) })).toBe(
      'boot/bad-command-line',
    )
    expect(code({ commandLine: 'a\0b' })).toBe('boot/bad-command-line')
    expect(code({ memoryMap: [{ base: MIB, sizeBytes: 63 * MIB, type: E820_TYPE.ram }] })).toBe(
      'boot/bad-memory-map',
    )
    const many = Array.from({ length: 127 }, (_, index) => ({
      base: 2 ** 32 + index * 8192,
      sizeBytes: 4096,
      type: E820_TYPE.reserved,
    }))
    expect(code({ memoryMap: [...memoryMap(32 * MIB), ...many] })).toBe('boot/bad-memory-map')
    expect(code({ kernel: new Uint8Array(1000) })).toBe('boot/not-a-kernel')
    expect(code({ kernel: elfKernel(), entry: 'pvh' })).toBe('boot/no-pvh-entry')
    expect(code({ kernel: elfKernel(), entry: 'bzimage64' })).toBe('boot/malformed')
    const low = elfKernel({ segments: [{ physical: 0x7000n, bytes: new Uint8Array(64) }] })
    expect(code({ kernel: low })).toBe('boot/malformed')
  })
})
