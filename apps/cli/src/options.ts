/** The command line of `trapframe`: what is asked for, checked as far as that needs no file. */
import { parseArgs } from 'node:util'
import { CommandError } from './command-error.ts'
import { EXIT_STATUS_HELP } from './exit-status.ts'

/** What `trapframe run` was asked for. */
export interface RunOptions {
  readonly kernel: string | undefined
  readonly initrd: string | undefined
  readonly append: string
  readonly memoryBytes: number
  readonly cpu: string | undefined
  readonly backend: string
  /** Compile hot code. */
  readonly jit: boolean
  readonly exec: string | undefined
  readonly virtualTime: boolean
  readonly debugExit: boolean
  readonly gdbPort: number | undefined
  readonly stats: boolean
  readonly timeoutSeconds: number | undefined
  readonly reboot: boolean
  /** Take the kernel proper out of a bzImage on the host. */
  readonly extract: boolean
}

/** What the command is to do. */
export type Invocation =
  | { readonly action: 'help' | 'version' }
  | { readonly action: 'run'; readonly options: RunOptions }

const MIB = 2 ** 20
const DEFAULT_MEMORY = '256M'
export const BACKENDS: readonly string[] = ['emulated']

const FLAGS = {
  kernel: { type: 'string' },
  initrd: { type: 'string' },
  append: { type: 'string' },
  memory: { type: 'string' },
  cpus: { type: 'string' },
  cpu: { type: 'string' },
  backend: { type: 'string' },
  jit: { type: 'boolean' },
  exec: { type: 'string' },
  'virtual-time': { type: 'boolean' },
  'debug-exit': { type: 'boolean' },
  gdb: { type: 'string' },
  stats: { type: 'boolean' },
  timeout: { type: 'string' },
  'no-reboot': { type: 'boolean' },
  'no-extract': { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const

const HELP_OPTIONS: readonly (readonly [option: string, meaning: string])[] = [
  [
    '--kernel FILE',
    'a bzImage or a 64-bit ELF kernel; without it, Debian’s cloud kernel with a busybox shell',
  ],
  ['--initrd FILE', 'initial RAM disk'],
  ['--append STRING', 'more for the kernel’s command line, behind "console=ttyS0,115200 panic=-1"'],
  ['--memory SIZE', `guest RAM, in MiB or with a suffix K, M, G or T (default ${DEFAULT_MEMORY})`],
  ['--cpus N', 'number of vCPUs (only 1 so far)'],
  ['--cpu PROFILE', 'what the processor can do'],
  ['--backend NAME', `what executes the guest: ${BACKENDS.join(', ')}`],
  ['--jit', 'compile hot guest code to WebAssembly (new: quicker for long computations)'],
  [
    '--exec COMMAND',
    'run a shell command in the Debian guest, with this standard input, output and error; then end',
  ],
  ['--virtual-time', 'one instruction takes one nanosecond; a run without input repeats exactly'],
  ['--debug-exit', 'writing to port 0xf4 ends the guest, as with QEMU’s isa-debug-exit'],
  ['--gdb PORT', 'wait for gdb on this TCP port of the local host before the first instruction'],
  ['--stats', 'print counters at the end'],
  ['--timeout SECONDS', 'end the guest after this time'],
  ['--no-reboot', 'a reset ends the guest'],
  ['--no-extract', 'let the guest unpack its kernel, rather than the host'],
  ['-h, --help', 'this text'],
  ['-v, --version', 'the version'],
]

/** The text of `--help`. */
export function helpText(): string {
  const table = (rows: readonly (readonly [string, string])[]): string => {
    const width = Math.max(...rows.map(([left]) => left.length)) + 2
    return rows.map(([left, right]) => `  ${left.padEnd(width)}${right}`).join('\n')
  }
  return `Usage: trapframe run [options]
       trapframe --help | --version

Runs a virtual machine. Its serial console is standard input and output, raw when that is a terminal (Ctrl-A X leaves,
Ctrl-A Ctrl-A sends Ctrl-A). Everything else that the command says goes to standard error.

Options:
${table(HELP_OPTIONS)}

Exit status:
${table(EXIT_STATUS_HELP)}

Counters of --stats: "exits-…" and "calls-…" of a vCPU are all the ways out of the guest's code into JavaScript: device
accesses and ends of slices (exits), decoding, notice of overwritten code and readings of the clock (calls). System
calls, page faults, interrupts and TLB misses, which have counters of their own, need none.
`
}

/**
 * Reads the command line.
 *
 * @param args - what follows the program's name
 * @throws CommandError `cli/usage`
 */
export function parseCommandLine(args: readonly string[]): Invocation {
  const { values, positionals } = parse(args)
  if (values.help) return { action: 'help' }
  if (values.version) return { action: 'version' }
  const [command, ...rest] = positionals
  if (command === undefined) throw usage('no command')
  if (command !== 'run') throw usage(`unknown command ${JSON.stringify(command)}`)
  if (rest.length > 0) throw usage(`unexpected argument ${JSON.stringify(rest[0])}`)
  const cpus = values.cpus === undefined ? 1 : integer('--cpus', values.cpus, 1, 255)
  if (cpus > 1) throw usage(`--cpus ${cpus}: guests have one vCPU so far`)
  const backend = values.backend ?? BACKENDS[0]!
  if (!BACKENDS.includes(backend))
    throw usage(`--backend ${JSON.stringify(backend)} is not known; there is ${BACKENDS.join(', ')}`)
  if (values.exec === '') throw usage('--exec needs a command')
  return {
    action: 'run',
    options: {
      kernel: values.kernel,
      initrd: values.initrd,
      append: values.append ?? '',
      memoryBytes: parseSize(values.memory ?? DEFAULT_MEMORY),
      cpu: values.cpu,
      backend,
      jit: values.jit ?? false,
      exec: values.exec,
      virtualTime: values['virtual-time'] ?? false,
      debugExit: values['debug-exit'] ?? false,
      gdbPort: values.gdb === undefined ? undefined : integer('--gdb', values.gdb, 1, 65535),
      stats: values.stats ?? false,
      timeoutSeconds: values.timeout === undefined ? undefined : parseSeconds(values.timeout),
      reboot: !(values['no-reboot'] ?? false),
      extract: !(values['no-extract'] ?? false),
    },
  }
}

function parse(args: readonly string[]) {
  try {
    const parsed = parseArgs({
      args: [...args],
      options: FLAGS,
      allowPositionals: true,
      strict: true,
      tokens: true,
    })
    const seen = new Set<string>()
    for (const token of parsed.tokens) {
      if (token.kind !== 'option') continue
      if (seen.has(token.name)) throw usage(`--${token.name} is given twice`)
      seen.add(token.name)
    }
    return parsed
  } catch (error) {
    if (error instanceof CommandError) throw error
    const ambiguous = /'(--\S+)' argument is ambiguous/.exec((error as Error).message)
    if (ambiguous)
      throw usage(`${ambiguous[1]}: a value that begins with a dash is written ${ambiguous[1]}=VALUE`, error)
    // Node's text goes on with hints.
    throw usage((error as Error).message.split(/\. |\n/)[0]!.replace(/\.$/, ''), error)
  }
}

function usage(message: string, cause?: unknown): CommandError {
  return new CommandError('cli/usage', message, { cause })
}

function integer(option: string, text: string, least: number, most: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < least || value > most)
    throw usage(`${option} ${JSON.stringify(text)}: a number from ${least} to ${most} is needed`)
  return value
}

/** Bytes of a size such as `512`, `512M`, `1.5G`, `1T`; a number alone counts MiB. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?$/i.exec(text)
  const unit = { '': MIB, K: 1024, M: MIB, G: 1024 * MIB, T: MIB * MIB }[match?.[2]?.toUpperCase() ?? 'x']
  const bytes = Number(match?.[1]) * (unit ?? Number.NaN)
  if (!Number.isSafeInteger(bytes))
    throw usage(`--memory ${JSON.stringify(text)} is no size such as 512M or 1G`)
  return bytes
}

function parseSeconds(text: string): number {
  const seconds = Number(text)
  // setTimeout takes up to 2^31 ms.
  if (!/^\d+(\.\d+)?$/.test(text) || seconds <= 0 || seconds > 2_000_000)
    throw usage(`--timeout ${JSON.stringify(text)}: a number of seconds above 0 is needed`)
  return seconds
}
