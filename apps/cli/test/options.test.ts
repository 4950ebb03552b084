import { describe, expect, test } from 'vitest'
import type { CommandError } from '../src/command-error.ts'
import { ExitStatus, exitStatusOf } from '../src/exit-status.ts'
import { helpText, parseCommandLine, parseSize, type RunOptions } from '../src/options.ts'

const options = (...args: string[]): RunOptions => {
  const invocation = parseCommandLine(['run', ...args])
  if (invocation.action !== 'run') throw new Error(invocation.action)
  return invocation.options
}
const refused = (...args: string[]): string => {
  try {
    parseCommandLine(args)
  } catch (error) {
    const { code, status, message } = error as CommandError
    return `${code} ${status} ${message}`
  }
  return 'taken'
}

describe('command line', () => {
  test('default: a run without options', () => {
    expect(options()).toEqual({
      kernel: undefined,
      initrd: undefined,
      append: '',
      memoryBytes: 256 * 2 ** 20,
      cpu: undefined,
      backend: 'emulated',
      jit: false,
      exec: undefined,
      virtualTime: false,
      debugExit: false,
      gdbPort: undefined,
      stats: false,
      timeoutSeconds: undefined,
      reboot: true,
      extract: true,
    })
  })

  test('default: every option', () => {
    const all =
      '--kernel k --initrd=i --append a=1 --memory 1G --cpus 1 --cpu x86-64-v1 --backend emulated --jit --virtual-time --debug-exit --gdb 1234 --stats --timeout 1.5 --no-reboot --no-extract'
    expect(options(...all.split(' '))).toMatchObject({
      kernel: 'k',
      initrd: 'i',
      append: 'a=1',
      memoryBytes: 2 ** 30,
      cpu: 'x86-64-v1',
      jit: true,
      virtualTime: true,
      debugExit: true,
      gdbPort: 1234,
      stats: true,
      timeoutSeconds: 1.5,
      reboot: false,
      extract: false,
    })
  })

  test('behaviour: arguments that look like numbers or are empty stay as they are', () => {
    expect(options('--exec', '007').exec).toBe('007')
    expect(options('--append', '').append).toBe('')
    expect(options('--append=--x').append).toBe('--x')
  })

  test('behaviour: sizes', () => {
    expect(['512', '512M', '512MiB', '1.5G', '65536K', '2g'].map(parseSize)).toEqual(
      [512, 512, 512, 1536, 64, 2048].map((mib) => mib * 2 ** 20),
    )
  })

  test('behaviour: help names every option and status; help and version win over the rest', () => {
    const text = helpText()
    for (const option of 'kernel initrd append memory cpus cpu backend exec virtual-time debug-exit gdb stats timeout no-reboot version'.split(
      ' ',
    ))
      expect(text).toContain(`--${option}`)
    for (const status of Object.values(ExitStatus)) expect(text).toMatch(new RegExp(`^ +${status} `, 'm'))
    expect(parseCommandLine(['--help']).action).toBe('help')
    expect(parseCommandLine(['run', '-h']).action).toBe('help')
    expect(parseCommandLine(['--version']).action).toBe('version')
  })

  test('error: one clear line, with the offending value', () => {
    const cases: [string[], string][] = [
      [[], 'no command'],
      [['walk'], 'unknown command "walk"'],
      [['run', 'x'], 'unexpected argument "x"'],
      [['run', '--bogus'], "Unknown option '--bogus'"],
      [['run', '--kernel'], "Option '--kernel <value>' argument missing"],
      [['run', '--stats=1'], "Option '--stats' does not take an argument"],
      [['run', '--cpu', 'a', '--cpu', 'b'], '--cpu is given twice'],
      [['run', '--cpus', '2'], '--cpus 2: guests have one vCPU so far'],
      [['run', '--cpus', 'two'], '--cpus "two": a number from 1 to 255 is needed'],
      [['run', '--memory', '-1'], '--memory: a value that begins with a dash is written --memory=VALUE'],
      [['run', '--memory=-1'], '--memory "-1" is no size such as 512M or 1G'],
      [['run', '--memory', '1P'], '--memory "1P" is no size such as 512M or 1G'],
      [['run', '--backend', 'kvm'], '--backend "kvm" is not known; there is emulated'],
      [['run', '--gdb', '70000'], '--gdb "70000": a number from 1 to 65535 is needed'],
      [['run', '--timeout', '0'], '--timeout "0": a number of seconds above 0 is needed'],
      [['run', '--exec', ''], '--exec needs a command'],
    ]
    for (const [args, message] of cases) expect(refused(...args)).toBe(`cli/usage 64 ${message}`)
  })
})

test('behaviour: exit statuses of a guest’s end; those of our own are even', () => {
  const report = {} as never
  expect(exitStatusOf({ kind: 'power-off' })).toBe(0)
  expect([0, 1, 0x10, 0xff].map((value) => exitStatusOf({ kind: 'debug-exit', value }))).toEqual([
    1, 3, 33, 255,
  ])
  expect(exitStatusOf({ kind: 'triple-fault', report })).toBe(102)
  expect(exitStatusOf({ kind: 'halted', report })).toBe(104)
  expect(exitStatusOf({ kind: 'fetch-outside-memory', report })).toBe(106)
  expect(exitStatusOf({ kind: 'unsupported-instruction', report })).toBe(106)
  expect(exitStatusOf({ kind: 'failed', error: undefined })).toBe(70)
  for (const status of Object.values(ExitStatus)) expect(status % 2).toBe(0)
})
