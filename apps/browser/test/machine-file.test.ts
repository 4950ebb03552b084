import type { MachineState } from '@trapframe/machine'
import { describe, expect, test } from 'vitest'
import { crc32 } from '../src/crc32.ts'
import {
  isMachineFile,
  type MachineFileError,
  packMachine,
  type SavedMachine,
  unpackMachine,
} from '../src/machine-file.ts'

const bytes = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(text, (c) => c.charCodeAt(0))

const saved: SavedMachine = {
  title: 'Debian 6.1.0',
  terminal: '\x1b[1mtrapframe:~#\x1b[0m ä',
  state: {
    version: 1,
    board: 'microvm',
    ramBytes: 2 ** 20,
    ram: [
      { base: 0, bytes: new Uint8Array(4096).fill(7) },
      { base: 0x8000, bytes: Uint8Array.from({ length: 8192 }, (_, n) => n * n) },
    ],
    vcpus: [{ gpr: [2n ** 64n - 1n, 0n], rip: 0xffff_ffff_8100_0000n } as never],
    sections: [
      {
        owner: 'pit',
        name: 'i8254',
        version: 1,
        state: {
          deadlineNs: Number.POSITIVE_INFINITY,
          on: true,
          nothing: null,
          fifo: Uint8Array.of(1, 2, 3),
          list: [1, -2.5, 'x'],
        },
      },
    ],
  } satisfies MachineState,
}

const file = (parts: readonly (Uint8Array | Blob)[]): Blob => new Blob(parts as Uint8Array<ArrayBuffer>[])
const changed = async (packed: Blob, at: number): Promise<Blob> => {
  const all = new Uint8Array(await packed.arrayBuffer())
  all[at < 0 ? all.length + at : at]! ^= 1
  return file([all])
}
const refusal = async (packed: Blob): Promise<MachineFileError> =>
  unpackMachine(packed).then(
    () => {
      throw new Error('the file was accepted')
    },
    (error) => error,
  )

describe('files of saved machines', () => {
  test('default: what was packed is what is unpacked', async () => {
    const packed = await packMachine(saved)
    expect(isMachineFile(new Uint8Array(await packed.arrayBuffer()))).toBe(true)
    expect(packed.size).toBeLessThan(8192)
    expect(await unpackMachine(packed)).toEqual(saved)
  })

  test('behaviour: byte strings have memory of their own, so that they can be given away', async () => {
    const { state } = await unpackMachine(await packMachine(saved))
    for (const run of state.ram) expect(run.bytes.buffer.byteLength).toBe(run.bytes.length)
  })

  test('error: what is no saved machine', async () => {
    for (const other of ['', 'TFM', '\x7fELF'.padEnd(100)])
      expect((await refusal(file([bytes(other)]))).code).toBe('browser/not-a-machine')
  })

  test('error: another version', async () => {
    const error = await refusal(await changed(await packMachine(saved), 9))
    expect(error.code).toBe('browser/machine-version')
    expect(error.message).toContain('257')
  })

  test('error: every damage is noticed', async () => {
    const packed = await packMachine(saved)
    for (const at of [12, 16, 40, 60, -20, -6, -1])
      expect((await refusal(await changed(packed, at))).code, `byte ${at}`).toBe('browser/machine-damaged')
    for (const length of [9, 23, 24, 30, packed.size - 1])
      expect((await refusal(packed.slice(0, length))).code, `${length} bytes`).toBe('browser/machine-damaged')
  })

  test('error: a body that is no state, with a valid checksum', async () => {
    const wrap = async (text: string, textBytes = text.length): Promise<Blob> => {
      const body = new Uint8Array(4 + text.length)
      new DataView(body.buffer).setUint32(0, textBytes, true)
      body.set(bytes(text), 4)
      const header = new Uint8Array(await (await packMachine(saved)).slice(0, 24).arrayBuffer())
      const view = new DataView(header.buffer)
      view.setUint32(12, crc32(body), true)
      view.setBigUint64(16, BigInt(body.length), true)
      const packed = file([body]).stream().pipeThrough(new CompressionStream('gzip'))
      return file([header, (await new Response(packed as ReadableStream).blob()) as Blob])
    }
    const state = '{"ramBytes":1,"ram":[],"vcpus":[],"sections":[]}'
    expect(await unpackMachine(await wrap(`{"title":"","terminal":"","state":${state}}`))).toBeDefined()
    for (const text of [
      'null',
      '{',
      '{"state":{}}',
      '{"$bytes":[0,1]}',
      '{"$bytes":[-1,1]}',
      '{"$bytes":[0.5,1]}',
      '{"$bigint":"x"}',
      `${'['.repeat(1000)}${']'.repeat(1000)}`,
      `{"title":"","terminal":"","state":${state.replace('"ram":[]', '"ram":[{"base":0}]')}}`,
    ])
      expect((await refusal(await wrap(text))).code, text).toBe('browser/machine-damaged')
    expect((await refusal(await wrap('null', 4000))).code).toBe('browser/machine-damaged')
  })

  test('CRC-32 is the one of gzip, in one piece or several', () => {
    expect(crc32(bytes('123456789'))).toBe(0xcbf43926)
    const text = bytes('The quick brown fox jumps over the lazy dog')
    expect(crc32(text)).toBe(0x414fa339)
    for (let n = 0; n <= text.length; n++)
      expect(crc32(text.subarray(n), crc32(text.subarray(0, n)))).toBe(0x414fa339)
  })
})
