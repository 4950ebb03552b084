// The kernel that users boot: Debian's cloud kernel, where the command has put it into the project's cache.
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { E820_TYPE } from '../../src/boot/boot-params.ts'
import { parseBzImage } from '../../src/boot/bzimage.ts'
import { extractVmlinux } from '../../src/boot/decompress.ts'
import { planLinuxBoot } from '../../src/boot/load-linux.ts'
import { parseVmlinux } from '../../src/boot/vmlinux.ts'

const path = fileURLToPath(new URL('../../../../.cache/guest/vmlinuz', import.meta.url))
const reason = existsSync(path) ? '' : ' (skipped: .cache/guest has no kernel; `npm run boot` gets one)'

describe.skipIf(reason !== '')(`Debian's kernel${reason}`, () => {
  test('default: header, unpacking, all entries', () => {
    const bytes = new Uint8Array(readFileSync(path))
    const image = parseBzImage(bytes)
    expect(image.kernelVersion).toMatch(/^\d+\.\d+\..*cloud-amd64/)
    const unpacked = extractVmlinux(image)
    const vmlinux = parseVmlinux(unpacked)
    expect(vmlinux.startPhysical).toBe(image.prefAddress)
    expect(vmlinux.entry).toBe(image.prefAddress)
    expect(vmlinux.pvhEntry).toBeGreaterThan(vmlinux.startPhysical)
    expect(vmlinux.endPhysical).toBeLessThanOrEqual(image.prefAddress + image.initSizeBytes)

    const memoryMap = [
      { base: 0, sizeBytes: 0x9_fc00, type: E820_TYPE.ram },
      { base: 2 ** 20, sizeBytes: 127 * 2 ** 20, type: E820_TYPE.ram },
    ]
    const common = { commandLine: 'console=ttyS0', memoryMap, initrd: new Uint8Array(1000) }
    for (const [kernel, entry] of [
      [bytes, 'bzimage64'],
      [unpacked, 'vmlinux64'],
      [unpacked, 'pvh'],
    ] as const) {
      const plan = planLinuxBoot({ ...common, kernel, bzImage: bytes, entry })
      const into = plan.segments.find(
        ({ guestPhysical, sizeBytes }) =>
          plan.state.rip >= guestPhysical && plan.state.rip < guestPhysical + sizeBytes,
      )
      expect(into?.name).toMatch(/^kernel/)
    }
  })
})
