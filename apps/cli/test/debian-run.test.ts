/**
 * The command with its Debian guest. The guest is prepared here if it is not in the cache; where that cannot be done (no
 * apt, no network), the tests are skipped and say why.
 */
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { prepareDebianGuest } from '../src/guest/index.ts'
import { runCommand } from './run-command.ts'

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url))
const missing = await prepareDebianGuest({
  cacheFolder: path('../../../.cache/guest'),
  sourceFolder: path('../../../guests/initramfs'),
}).then(
  () => undefined,
  (error: Error) => error.message,
)
if (missing !== undefined) console.warn(`skipped, no Debian guest: ${missing}`)

describe.skipIf(missing !== undefined)('Debian guest', { timeout: 120_000 }, () => {
  test('default: --exec has the command’s output and status, and nothing else', async () => {
    const { status, stdout, stderr } = await runCommand(['run', '--exec', 'uname -srm; echo no >&2; exit 7'])
    expect(stdout.toString()).toMatch(/^Linux \S+-cloud-amd64 x86_64\n$/)
    expect([stderr, status]).toEqual(['no\n', 7])
  })

  test('behaviour: --exec is binary clean in both directions', async () => {
    const input = Uint8Array.from({ length: 40_000 }, (_, n) => (n * 7 + (n >> 8)) & 0xff)
    const { status, stdout } = await runCommand(['run', '--exec', 'cat'], input)
    expect(status).toBe(0)
    expect(Buffer.compare(stdout, Buffer.from(input))).toBe(0)
  })

  test('behaviour: a shell on the console; the line of phases; power off', async () => {
    const { status, stdout, stderr } = await runCommand(
      ['run', '--append', 'quiet', '--timeout', '100'],
      'echo $((6 * 7)); dmesg | grep -ciE "tsc.*(unstable|mark)|timer.*(fail|broken|not)"; poweroff\n',
    )
    expect(status).toBe(0)
    expect(stdout.toString()).toMatch(/\r\n42\r\n0\r\n/)
    expect(stderr).toMatch(
      /^trapframe: process start .* s, first guest instruction .* s, kernel .* s, init .* s\n$/,
    )
  })

  test('behaviour: reboot starts again; with --no-reboot it ends', async () => {
    const { status, stdout } = await runCommand(
      ['run', '--append', 'quiet', '--no-reboot', '--timeout', '100'],
      'reboot\n',
    )
    expect(status).toBe(0)
    expect(stdout.toString()).toContain('reboot: ')
  })

  test('behaviour: a kernel panic has its own status', async () => {
    const { status, stderr } = await runCommand(['run', '--append', 'quiet rdinit=/none root=/dev/none'])
    expect([status, stderr]).toEqual([100, "trapframe: the guest's kernel panicked\n"])
  })

  test('error: the guest ends before the command of --exec does', async () => {
    const { status, stdout, stderr } = await runCommand(['run', '--exec', 'poweroff -f; sleep 60'])
    expect([status, stdout.length]).toEqual([70, 0])
    expect(stderr).toContain('the guest ended before the command did; its console said last:')
  })
})
