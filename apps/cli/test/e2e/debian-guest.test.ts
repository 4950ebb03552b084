// The command with the guest that it is for: Debian's kernel and busybox, from the first instruction to power-off.
//
// TRAPFRAME_TEST_REBOOTS: how often the guest reboots in one process; 3 without it.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import { commandLine, type Result, runCommand } from '../run-command.ts'
import { Command, debianGuest } from './command.ts'

const { reason } = await debianGuest()
const REBOOTS = Number(process.env.TRAPFRAME_TEST_REBOOTS ?? 3)
const MINUTE_MS = 60_000
const PROMPT = /trapframe:~# /

let command: Command | undefined
afterEach(() => {
  command?.kill()
  command = undefined
})
const start = (...args: string[]): Command => {
  command = new Command(['run', ...args])
  return command
}
/** Runs a command in the guest. */
const exec = (text: string, input?: string | Uint8Array): Promise<Result> =>
  runCommand(['run', '--exec', text], input)

/** What a healthy boot does not say. */
const COMPLAINTS = [
  /WARNING|BUG:|Call Trace|Oops|not syncing|general protection|segfault|soft lockup|rcu.*stall/i,
  /firmware bug/i,
  /unstable|TSC.*(fail|warp|skew|unsynch|not)|(tsc|clocksource).*(watchdog|fail|too|skew)/i,
  /(APIC|PIT|HPET|RTC) ?timer.*(fail|not|broken|disabled)|MP-BIOS|lost tick|timer doesn't work|hrtimer: interrupt took/i,
]

describe.skipIf(reason !== '')(`Debian's kernel${reason}`, () => {
  test('default: a shell at the end of a pipe', { timeout: 5 * MINUTE_MS }, async () => {
    const { ended } = start()
    await command!.waitFor(PROMPT)
    expect(await command!.shell('uname -a')).toMatch(
      /^Linux trapframe \d+\.\d+\.\S+-cloud-amd64 .*x86_64 GNU\/Linux\r\n/,
    )
    expect(await command!.shell('cat /proc/cpuinfo')).toMatch(/model name\s*: Trapframe Virtual CPU/)
    expect(await command!.shell('echo $$; tty; stty size')).toMatch(/\/dev\/ttyS0\r\n24 80/)
    command!.process.stdin.write('poweroff\n')
    const { status, stdout, stderr } = await ended
    expect(status).toBe(0)
    expect(stderr).toMatch(
      /^trapframe: process start [\d.]+ s, first guest instruction [\d.]+ s, kernel [\d.]+ s, init [\d.]+ s\n$/,
    )
    // The console said nothing but what the guest sent: the kernel's first line is the first one.
    expect(stdout.toString()).toMatch(/^\[ +0\.000000\] Linux version/)
  })

  test('behaviour: one guest, many programs', { timeout: 15 * MINUTE_MS }, async () => {
    const parts = [
      'cat /proc/cpuinfo',
      'dmesg -r',
      'cat /sys/devices/system/clocksource/clocksource0/current_clocksource',
      // Processes may end while their entries are listed.
      'ls -lR / >/tmp/list 2>/dev/null; wc -l </tmp/list; tail -n 1 /tmp/list',
      'seq 1 2400000 | head -c 16777216 >/tmp/numbers; md5sum </tmp/numbers; gzip -c /tmp/numbers >/tmp/numbers.gz; gunzip -c /tmp/numbers.gz | md5sum; wc -c </tmp/numbers.gz',
      'sleep 1; date +%s',
    ]
    const { status, stdout, stderr } = await exec(parts.join('; echo -----; '))
    expect(stderr).toBe('')
    expect(status).toBe(0)
    const [cpuinfo, dmesg, clocksource, list, gzip, time] = stdout.toString().split('-----\n') as [
      string,
      string,
      string,
      string,
      string,
      string,
    ]

    expect(cpuinfo).toMatch(/^processor\s*: 0$/m)
    expect(cpuinfo).toMatch(/^flags\s*:.* constant_tsc .*nonstop_tsc .*tsc_known_freq/m)

    expect(dmesg).toMatch(/Linux version/)
    for (const complaint of COMPLAINTS)
      expect(dmesg.split('\n').filter((line) => complaint.test(line))).toEqual([])
    // Errors (level 3) and above: the kernel's surprise that there is no PCI, and nothing else.
    const errors = dmesg.split('\n').filter((line) => /^<[0-3]>/.test(line) && !line.includes('PCI: Fatal'))
    expect(errors).toEqual([])
    expect(clocksource).toBe('tsc\n')

    expect(Number(list.split('\n')[0])).toBeGreaterThan(5000)

    let numbers = ''
    for (let n = 1; n <= 2_400_000; n++) numbers += `${n}\n`
    const sum = createHash('md5').update(numbers.slice(0, 16_777_216)).digest('hex')
    const [before, after, compressed] = gzip.split('\n')
    expect(before).toBe(`${sum}  -`)
    expect(after).toBe(`${sum}  -`)
    expect(Number(compressed)).toBeLessThan(6_000_000)

    expect(Math.abs(Number(time) - Date.now() / 1000)).toBeLessThan(30)
  })

  test('behaviour: --exec keeps standard input, output, error and status apart and unchanged', {
    timeout: 5 * MINUTE_MS,
  }, async () => {
    const input = Buffer.alloc(200_000)
    // Every byte value, and runs that look like protocol and terminal control.
    for (let n = 0; n < input.length; n++) input[n] = n < 2048 ? n : (n * n * 2654435761) >>> 24
    input.write('\ntrapframe-exec 1\nX 0\nC 4\nexit\x03\x04\x11\x13\x1a\r\n', 4096, 'latin1')
    const { status, stdout, stderr } = await runCommand(
      ['run', '--exec', 'cat >/tmp/x; cat /tmp/x; od -An -tx1 -v /tmp/x >&2; md5sum /tmp/x >&2; exit 37'],
      input,
    )
    expect(status).toBe(37)
    expect(stdout.equals(input)).toBe(true)
    const lines = stderr.trimEnd().split('\n')
    expect(lines.at(-1)).toBe(`${createHash('md5').update(input).digest('hex')}  /tmp/x`)
    expect(lines.slice(0, -1).join('').replaceAll(' ', '')).toBe(input.toString('hex'))
  })

  test('behaviour: --exec with a signal, without input, and with a command that is not there', {
    timeout: 5 * MINUTE_MS,
  }, async () => {
    const { status, stdout, stderr } = await exec('cat; sh -c "kill -9 \\$\\$"; echo $?; nonesuch')
    expect(stdout.toString()).toBe('137\n')
    expect(stderr).toMatch(/nonesuch: not found/)
    expect(status).toBe(127)
  })

  test('error: the guest ends before the command of --exec does', { timeout: 5 * MINUTE_MS }, async () => {
    const { status, stdout, stderr } = await exec('poweroff -f; sleep 60')
    expect([status, stdout.length]).toEqual([70, 0])
    expect(stderr).toMatch(/^trapframe: the guest ended before the command did; its console said last:\n/)
  })

  test(`behaviour: ${REBOOTS} reboots in one process, without growth`, {
    timeout: (5 + REBOOTS) * MINUTE_MS,
  }, async () => {
    const { ended } = start()
    const residentMib: number[] = []
    for (let n = 0; n < REBOOTS; n++) {
      await command!.waitFor(PROMPT)
      residentMib.push(Math.round(command!.residentMib() ?? 0))
      command!.process.stdin.write('reboot\n')
      await command!.waitFor(/reboot: Restarting system/)
    }
    await command!.waitFor(PROMPT)
    residentMib.push(Math.round(command!.residentMib() ?? 0))
    console.log(`resident memory at each prompt, in MiB: ${residentMib.join(' ')}`)
    // The first boot still grows: code is compiled. After that, noise.
    const later = residentMib.slice(Math.ceil(residentMib.length / 2))
    expect(Math.max(...later) - Math.max(...residentMib.slice(1, 1 + later.length))).toBeLessThan(100)
    command!.process.stdin.write('poweroff\n')
    expect((await ended).status).toBe(0)
  })

  test('behaviour: a panic of the kernel, which resets', { timeout: 5 * MINUTE_MS }, async () => {
    const { status, stdout, stderr } = await runCommand(['run', '--append', 'rdinit=/none root=/dev/none'])
    expect(stdout.toString()).toMatch(/Kernel panic - not syncing/)
    expect(stderr).toBe("trapframe: the guest's kernel panicked\n")
    expect(status).toBe(100)
  })

  test('behaviour: --no-reboot, --virtual-time, --no-extract and the x86-64-v1 processor', {
    timeout: 10 * MINUTE_MS,
  }, async () => {
    start('--no-reboot', '--virtual-time', '--no-extract', '--cpu', 'x86-64-v1', '--memory', '128M')
    await command!.waitFor(PROMPT)
    command!.process.stdin.write('reboot\n')
    const { status, stdout } = await command!.ended
    expect(status).toBe(0)
    expect(stdout.toString().match(/Linux version/g)).toHaveLength(1)
  })

  test('behaviour: --jit runs the same guest', { timeout: 5 * MINUTE_MS }, async () => {
    const loop = 'i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; echo $i'
    const { status, stdout, stderr } = await runCommand(['run', '--jit', '--stats', '--exec', loop])
    expect(stdout.toString()).toBe('20000\n')
    expect(stderr).toMatch(/jit-regions [1-9]/)
    expect(status).toBe(0)
  })

  test('behaviour: --timeout in the middle of a boot', { timeout: 5 * MINUTE_MS }, async () => {
    const result = await runCommand(['run', '--timeout', '2', '--stats', '--append', 'quiet'])
    expect(result.status).toBe(124)
    expect(result.stderr).toMatch(/^trapframe: time-out after 2 s\n/)
    expect(result.stderr).toMatch(/^vcpu-0: .*instructions-retired \d{7,}/m)
  })

  const script = spawnSync('script', ['--version']).status === 0
  test.skipIf(!script)(
    `behaviour: Ctrl-A X on a terminal${script ? '' : ' (skipped: there is no script(1) to make one)'}`,
    { timeout: 5 * MINUTE_MS },
    async () => {
      const quoted = [...commandLine, 'run'].map((word) => `'${word}'`).join(' ')
      command = new Command(
        [],
        ['script', '-qefc', `stty rows 40 cols 100; ${quoted}; echo status $?; stty -a`, '/dev/null'],
      )
      await command.waitFor(PROMPT)
      expect(await command.shell('stty size; echo a | cat')).toMatch(/40 100\r\na\r\n/)
      // Ctrl-C is for the guest.
      command.process.stdin.write("sh -c 'echo go$((1+1)); sleep 1000'\n")
      await command.waitFor(/go2\r\n/)
      command.process.stdin.write('\x03')
      await command.waitFor(PROMPT)
      // As is Ctrl-A, doubled: the start of the line in the shell's editor.
      command.process.stdin.write('ho second\x01\x01ec\n')
      await command.waitFor(/\nsecond\r\n/)
      command.process.stdin.write('\x01x')
      const { stdout } = await command.ended
      expect(stdout.toString()).toMatch(/status 0\r\n/)
      // The terminal is as it was.
      expect(stdout.toString()).toMatch(/ icanon .* echo /s)
    },
  )
})
