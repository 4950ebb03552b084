/** The programs that are measured: how each is built, what is run in the guest, and which group of goals it counts for. */

/** Which geometric mean a program counts for. */
export type ProgramGroup = 'integer' | 'floating point' | 'system' | 'memory'

/** One row of the table. */
export interface GuestProgram {
  readonly name: string
  /** For the table. */
  readonly title: string
  readonly group: ProgramGroup
  /** Source in guests/bench and what the binary is called in /bench. */
  readonly builds: readonly ProgramBuild[]
  /**
   * What is run, a shell command in the folder of the programs. `$BUSYBOX` is the static busybox, `$TMP` a folder.
   * It prints one START and one BENCH line for each of `results`.
   */
  readonly command: string
  /** Names in the BENCH lines, where there are several. Default: one, whatever its name. */
  readonly results?: readonly string[]
  /** Left out unless it is named. */
  readonly extra?: boolean
}

export interface ProgramBuild {
  readonly source: string
  readonly binary: string
  readonly flags: readonly string[]
}

const SCALAR = ['-O2', '-fno-tree-vectorize', '-fno-tree-slp-vectorize']

function simple(
  name: string,
  title: string,
  group: ProgramGroup,
  flags: readonly string[] = ['-O2'],
): GuestProgram {
  return { name, title, group, builds: [{ source: `${name}.c`, binary: name, flags }], command: `./${name}` }
}

function named(binary: string, source: string, flags: readonly string[]): ProgramBuild {
  return { source, binary, flags: [...flags, `-DNAME="${binary}"`] }
}

export const guestPrograms: readonly GuestProgram[] = [
  simple('intmix', 'intmix: list sort, int matrix, state machine, CRC', 'integer'),
  simple('dhry', 'dhry: record and string copies, small procedures', 'integer'),
  simple('sha256', 'sha256, 64 MiB', 'integer'),
  {
    name: 'gzip',
    title: 'gzip, 16 MiB (busybox)',
    group: 'integer',
    builds: [
      { source: 'gen.c', binary: 'gen', flags: ['-O2'] },
      { source: 'timed.c', binary: 'timed', flags: ['-O2'] },
    ],
    command:
      './gen $TMP/text 16; ./timed gzip $TMP/text.gz $BUSYBOX gzip -c $TMP/text; rm $TMP/text $TMP/text.gz',
  },
  // More optimization turns half of the calls into loops.
  simple('fib', 'fib(35): call and return', 'integer', ['-O1']),
  simple('interp', 'interp: byte-code switch loop', 'integer'),
  {
    name: 'nbody',
    title: 'nbody, double, scalar SSE2',
    group: 'floating point',
    builds: [named('nbody', 'nbody.c', SCALAR)],
    command: './nbody',
  },
  {
    name: 'matmul',
    title: 'matmul, double, scalar',
    group: 'floating point',
    builds: [named('matmul', 'matmul.c', SCALAR)],
    command: './matmul',
  },
  {
    name: 'matmul-packed',
    title: 'matmul, double, packed SSE2',
    group: 'floating point',
    builds: [named('matmul_packed', 'matmul.c', ['-O3'])],
    command: './matmul_packed',
  },
  simple('syscall', 'syscall, 1 M', 'system'),
  { ...simple('forkexec', 'fork + exec, 200', 'system'), command: './forkexec 200 $BUSYBOX' },
  simple('pagefault', 'page faults, 65,536', 'system'),
  simple('pipe', 'pipe, 20,000 round trips', 'system'),
  {
    ...simple('memcpy', 'memcpy', 'memory'),
    results: ['memcpy_word', 'memcpy_sse2', 'memcpy_rep'],
    extra: true,
  },
  { ...simple('ptrchase', 'ptrchase, 64 MiB', 'memory'), extra: true },
]

/** Every binary once. */
export function allBuilds(): ProgramBuild[] {
  return guestPrograms.flatMap(({ builds }) => builds)
}
