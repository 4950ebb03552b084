// `--gdb` with gdb itself; the protocol is tested beside its implementation, in packages/machine.
import { execFile, spawnSync } from 'node:child_process'
import { createServer } from 'node:net'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { guestKernel, runCommand } from '../run-command.ts'
import { Command, debianGuest } from './command.ts'

const reason = spawnSync('gdb', ['--version']).status === 0 ? '' : ' (skipped: no gdb here)'
const found = reason === '' ? await debianGuest() : { reason }

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Runs gdb on the command; answers what each line of its script printed. */
async function debug(
  args: readonly string[],
  script: readonly string[],
): Promise<{ command: Command; printed: string[] }> {
  const port = await freePort()
  const command = new Command(['run', ...args, '--gdb', `${port}`])
  await command.waitForError(/waiting for gdb/)
  const lines = ['set architecture i386:x86-64', 'set remotetimeout 60', `target remote :${port}`, ...script]
  const { stdout } = await promisify(execFile)(
    'gdb',
    ['-nx', '-batch', ...lines.flatMap((line) => ['-ex', line, '-ex', 'echo -----\\n'])],
    { timeout: 300_000 },
  )
  return { command, printed: stdout.split('-----\n').slice(3) }
}

describe.skipIf(reason !== '')(`gdb${reason}`, () => {
  test('default: registers, memory, breakpoints, single steps, detach', { timeout: 120_000 }, async () => {
    const kernel = guestKernel(`
      mov rax, 0x123456789abcdef0
      mov ecx, 3
      mov rdx, cr4
      or rdx, 0x600
      mov cr4, rdx
      lea rsi, [rip + value]
      movsd xmm0, qword ptr [rip + value]
      again: add rax, rcx
      call sub
      dec ecx
      jnz again
      mov dx, 0xf4
      out dx, al
      cli
      hlt
      sub: inc qword ptr [rsi]
      ret
      value: .double 1.5
    `)
    const { command, printed } = await debug(
      ['--kernel', kernel, '--debug-exit'],
      [
        'info registers rip rax rcx eflags cs',
        'x/2i $pc',
        'stepi 7',
        'print/x $rax',
        'print $xmm0.v2_double[0]',
        'x/1fg $rsi',
        // At the CALL: over it, then into it.
        'stepi',
        'stepi',
        'x/i $pc',
        'break *$pc',
        'continue',
        'print $ecx',
        'watch *(long*)$rsi',
        'continue',
        'delete',
        'set var $rax = 0x21',
        'set var $ecx = 1',
        'print/x $rax',
        'set {long}0x200000 = 0x1122334455667788',
        'x/xg 0x200000',
        'info registers cr0 cr3 efer',
        'detach',
      ],
    )
    const says = (pattern: RegExp): void => expect(printed.shift()).toMatch(pattern)
    says(/^rip +0x100000 .*\nrax +0x0 .*\nrcx +0x0 .*\neflags +0x2 .*\ncs +0x10 /)
    says(/=> 0x100000:\tmovabs \$0x123456789abcdef0,%rax\n.*mov +\$0x3,%ecx/)
    says(/./)
    says(/= 0x123456789abcdef0$/m)
    says(/= 1.5$/m)
    says(/1.5$/m)
    says(/./)
    says(/./)
    says(/=> .*\tincq? +\(%rsi\)/)
    says(/Breakpoint 1 at/)
    says(/Breakpoint 1, /)
    says(/= 2$/m)
    says(/atchpoint 2/)
    says(/atchpoint 2|Breakpoint 1/)
    says(/^$/)
    says(/^$/)
    says(/^$/)
    says(/= 0x21$/m)
    says(/^$/)
    says(/0x200000:\t0x1122334455667788/)
    says(/cr0|Invalid register/)
    says(/detached/)
    // It goes on where gdb left it: two more additions of 1 at most, then the exit port.
    const { status } = await command.ended
    expect(((status! >> 1) & 0x7f) - 0x21).toBeLessThan(3)
    expect(status! & 1).toBe(1)
  })

  test.skipIf(found.reason !== '')(
    `behaviour: a breakpoint in Linux${found.reason}`,
    { timeout: 300_000 },
    async () => {
      const kernel = ['--append', 'nokaslr quiet']
      const symbols = await runCommand([
        'run',
        ...kernel,
        '--exec',
        "grep -E ' (kernel_init|linux_banner)$' /proc/kallsyms",
      ])
      const [, address] = /^([0-9a-f]+) [tT] kernel_init$/m.exec(symbols.stdout.toString())!
      const [, banner] = /^([0-9a-f]+) [DR] linux_banner$/m.exec(symbols.stdout.toString())!
      // The page tables for it do not exist yet when it is set.
      const { command, printed } = await debug(
        [...kernel, '--timeout', '250'],
        [
          `break *0x${address}`,
          'continue',
          'print/x $rip',
          'x/i $pc',
          'stepi',
          'print $cs',
          `x/s 0x${banner}`,
          'delete',
          'detach',
        ],
      )
      expect(printed[0]).toMatch(/reakpoint 1 at/)
      expect(printed[1]).toMatch(/Breakpoint 1, /)
      expect(printed[2]).toContain(`0x${address}`)
      expect(printed[3]).toMatch(/=> 0xffffffff8/)
      expect(printed[4]).toMatch(/^0xffffffff8/m)
      expect(printed[5]).toMatch(/= 16/)
      expect(printed[6]).toMatch(/"Linux version 6/)
      await command.waitFor(/trapframe:~# /)
      command.process.stdin.write('poweroff\n')
      expect((await command.ended).status).toBe(0)
    },
  )
})
