import { TrapframeError } from '@trapframe/core'
import { describe, expect, test } from 'vitest'
import { readBootFile } from '../src/boot-file.ts'
import { fileKind } from '../src/file-kind.ts'
import { DEFAULT_CHOICE, machineRequest } from '../src/guest-choice.ts'
import { packMachine } from '../src/machine-file.ts'

describe('reading a file of the guest', () => {
  test('default: its bytes, and how far it is', async () => {
    const bytes = Uint8Array.from({ length: 300_000 }, (_, n) => n)
    const seen: [number, number | undefined][] = []
    const read = await readBootFile(new Blob([bytes]), (done, total) => seen.push([done, total]))
    expect(read).toEqual(bytes)
    expect(seen[0]).toEqual([0, bytes.length])
    expect(seen.at(-1)).toEqual([bytes.length, bytes.length])
  })

  test('behaviour: a size that is not told, or wrong', async () => {
    const bytes = Uint8Array.from({ length: 3 * 2 ** 20 }, (_, n) => n * 5)
    for (const size of [undefined, 10, bytes.length]) {
      const file = { stream: () => new Blob([bytes]).stream(), size } as unknown as Blob
      expect(Buffer.compare(await readBootFile(file, () => {}), bytes)).toBe(0)
    }
  })

  test('error: nobody answers', async () => {
    const failure = await readBootFile('http://127.0.0.1:1/vmlinux', () => {}).catch((error) => error)
    expect(failure).toBeInstanceOf(TrapframeError)
    expect(failure.code).toBe('browser/file')
    expect(failure.message).toContain('http://127.0.0.1:1/vmlinux')
  })
})

describe('what a file is', () => {
  const kind = (bytes: Uint8Array<ArrayBuffer>) => fileKind(new Blob([bytes]))

  test('kernels, saved machines, and the rest', async () => {
    const bzImage = new Uint8Array(4096)
    bzImage.set([0x55, 0xaa, 0, 0, 0x48, 0x64, 0x72, 0x53], 0x1fe)
    expect(await kind(bzImage)).toBe('kernel')
    expect(await kind(Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 2, 1, 1))).toBe('kernel')
    const state = { version: 1, board: '', ramBytes: 0, ram: [], vcpus: [], sections: [] } as const
    expect(await fileKind(await packMachine({ state, terminal: '', title: '' }))).toBe('machine')
    expect(await kind(Uint8Array.of(0x1f, 0x8b, 8))).toBe('initrd')
    expect(await kind(new Uint8Array())).toBe('initrd')
  })
})

describe('what a machine is made of', () => {
  const offer = { title: 'Debian', kernel: 'http://x/vmlinux', initrd: 'http://x/initramfs.cpio' }
  const screen = { rows: 30, columns: 100 }

  test('default: what the server offers, told the size of the terminal', () => {
    expect(machineRequest(DEFAULT_CHOICE, offer, screen)).toEqual({
      kernel: offer.kernel,
      initrd: offer.initrd,
      commandLine: 'console=ttyS0,115200 panic=-1 trapframe.size=30x100',
      memoryBytes: 256 * 2 ** 20,
    })
  })

  test('behaviour: own files and options', () => {
    const kernel = new File(['k'], 'bzImage')
    const request = machineRequest(
      { kernel, initrd: 'none', memoryMib: 64, append: 'quiet nokaslr' },
      offer,
      screen,
    )
    expect(request?.kernel).toBe(kernel)
    expect(request?.initrd).toBeUndefined()
    expect(request?.commandLine).toBe('console=ttyS0,115200 panic=-1 quiet nokaslr')
    expect(request?.memoryBytes).toBe(64 * 2 ** 20)
  })

  test('behaviour: no kernel, no request', () => {
    expect(machineRequest(DEFAULT_CHOICE, undefined, screen)).toBeUndefined()
  })
})
