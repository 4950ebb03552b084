// What a user can get wrong: one clear line on standard error with the error's code, the documented status, no output.
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { bzImage, elfKernel } from '@trapframe/guests/kernel-image.ts'
import { afterAll, describe, expect, test } from 'vitest'
import { runCommand } from '../run-command.ts'

const folder = mkdtempSync(join(tmpdir(), 'trapframe-e2e-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function file(name: string, bytes: string | Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}

async function refused(args: readonly string[], status: number, text: RegExp, code: string): Promise<void> {
  const result = await runCommand(args)
  expect(result.stderr).toMatch(/^trapframe: [^\n]+\n$/)
  expect(result.stderr).toMatch(text)
  expect(result.stderr.trimEnd().endsWith(`(${code})`), result.stderr).toBe(true)
  expect(result.stdout.length).toBe(0)
  expect(result.status).toBe(status)
}

const kernel = file('kernel', elfKernel())

describe.concurrent('files', () => {
  const image = bzImage({ payload: new Uint8Array(10_000) })
  mkdirSync(join(folder, 'folder'))
  const big = file('big', '')
  truncateSync(big, 300 * 2 ** 20)

  test.each<[string, string[], RegExp, string]>([
    ['no such kernel', ['--kernel', join(folder, 'none')], /there is no such file/, 'cli/file'],
    [
      'no such initrd',
      ['--kernel', kernel, '--initrd', join(folder, 'none')],
      /initrd.*no such file/,
      'cli/file',
    ],
    ['a folder', ['--kernel', join(folder, 'folder')], /it is a folder/, 'cli/file'],
    [
      'text',
      ['--kernel', file('text', 'no kernel\n'.repeat(100))],
      /neither a bzImage nor an ELF/,
      'boot/not-a-kernel',
    ],
    ['nothing', ['--kernel', file('empty', '')], /neither a bzImage nor an ELF/, 'boot/not-a-kernel'],
    [
      'a 32-bit ELF',
      ['--kernel', file('elf32', elfKernel({ elfClass: 1 }))],
      /32-bit ELF/,
      'boot/elf-32-bit',
    ],
    [
      'a truncated bzImage',
      ['--kernel', file('short', image.subarray(0, 9000))],
      /has 9000 bytes/,
      'boot/truncated',
    ],
    [
      'a truncated ELF',
      ['--kernel', file('short-elf', elfKernel().subarray(0, 100))],
      /ends before/,
      'boot/truncated',
    ],
    [
      'an initrd larger than memory',
      ['--kernel', kernel, '--initrd', big],
      /initrd.*does not fit/,
      'boot/initrd-does-not-fit',
    ],
    [
      'a kernel where there is no memory',
      ['--kernel', kernel, '--memory', '3M'],
      /needs memory/,
      'boot/kernel-does-not-fit',
    ],
  ])('error: %s', (_, args, text, code) => refused(['run', ...args], 66, text, code))

  test('error: a damaged kernel, of which nothing gets into the cache', async () => {
    const payload = gzipSync(elfKernel())
    payload.fill(0xff, 20, 40)
    const cached = (): string[] => {
      const kernels = fileURLToPath(new URL('../../../../.cache/kernels', import.meta.url))
      return existsSync(kernels) ? readdirSync(kernels).sort() : []
    }
    const before = cached()
    await refused(['run', '--kernel', file('damaged', bzImage({ payload }))], 66, /gzip/, 'boot/corrupt-data')
    expect(cached()).toEqual(before)
  })

  const unreadable = file('unreadable', '')
  chmodSync(unreadable, 0)
  const mayReadAll = process.getuid?.() === 0
  test.skipIf(mayReadAll)(
    `error: an unreadable file${mayReadAll ? ' (skipped: this user may read all files)' : ''}`,
    () => refused(['run', '--kernel', unreadable], 66, /permission denied/, 'cli/file'),
  )
})

// All that needs no file is in options.test.ts.
describe.concurrent('options', () => {
  const usage = 'cli/usage'
  test.each<[string[], RegExp, string]>([
    [['--memory', '0'], /0 bytes/, 'memory/size'],
    [['--memory=100T'], /at most/, 'machine/capability'],
    [['--memory', '4G'], /at most/, 'machine/capability'],
    [['--memory', '-5'], /--memory/, usage],
    [['--memory', 'abc'], /"abc" is no size/, usage],
    [['--memory', '1.5M'], /multiple of 1 MiB/, 'memory/size'],
    [['--frob'], /Unknown option '--frob'/, usage],
    [['--cpus', '2'], /one vCPU/, usage],
    [['--cpu', 'unknown'], /"unknown" is not known; there are .*trapframe-v1/, 'cpu/unknown-profile'],
    [['--backend', 'unknown'], /"unknown" is not known; there is emulated/, usage],
    [['--exec', 'true'], /initramfs of the Debian guest/, 'cli/exec-needs-guest'],
    [['--gdb', 'x'], /from 1 to 65535/, usage],
  ])('error: %j', (args, text, code) => refused(['run', '--kernel', kernel, ...args], 64, text, code))
})
