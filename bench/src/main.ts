/** `npm run bench`: chooses, prepares, measures, prints the tables and writes them to bench/results. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Bench } from './bench.ts'
import { BenchError } from './bench-error.ts'
import { measureBoot } from './boot.ts'
import { qemu, trapframe } from './emulator.ts'
import { type GuestProgram, guestPrograms } from './guest-program.ts'
import { measureIdle } from './idle.ts'
import { measureInterpreter } from './interpreter.ts'
import { prepareMeasuredGuest } from './measured-guest.ts'
import { measuredCore } from './process-cpu.ts'
import { measurePrograms } from './programs.ts'
import { measureStart } from './start.ts'

const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')

const suites: Readonly<Record<string, (bench: Bench) => Promise<string>>> = {
  start: measureStart,
  boot: measureBoot,
  interpreter: measureInterpreter,
  programs: measurePrograms,
  idle: measureIdle,
}

const USAGE = `npm run bench [-- [names…] [options]]

names  benchmarks: ${Object.keys(suites).join(', ')};
       default: all, or "programs" when a program is named
       what "programs" and "interpreter" run, default: all but the last two, and intmix:
       ${guestPrograms.map(({ name }) => name).join(', ')}

--quick         one round, and 10 s of idleness
--rounds N      how often each guest is booted (default 3)
--repeats N     how often a program runs in one boot (default 1)
--idle N        seconds of idleness (default 60)
--no-peer       Trapframe alone
--no-trapframe  the peer alone
--prepare       builds what is needed, and ends
--output FILE   file for the tables (default bench/results/<names>.md)
`

interface Choice {
  readonly suites: readonly string[]
  /** Those that are named. */
  readonly programs: readonly GuestProgram[]
}

async function main(parameters: readonly string[]): Promise<void> {
  const { values, positionals } = parse(parameters)
  if (values.help) {
    process.stdout.write(USAGE)
    return
  }
  const choice = choose(positionals)
  const startMs = performance.now()
  const tell = (message: string): void => {
    process.stderr.write(`bench: ${((performance.now() - startMs) / 1000).toFixed(0)} s: ${message}\n`)
  }
  const guest = await prepareMeasuredGuest(root, tell)
  if (values.prepare) return
  const core = measuredCore()
  const surroundings = { root, debian: guest.debian, core }
  const ours = values['no-trapframe'] ? undefined : trapframe(surroundings)
  const peer = values['no-peer'] ? undefined : qemu(surroundings)
  const emulators = [ours, peer].filter((emulator) => emulator !== undefined)
  const notes: string[] = []
  const failures: string[] = []
  const bench: Bench = {
    guest,
    emulators,
    core,
    programs: choice.programs,
    rounds: count(values.rounds) ?? (values.quick ? 1 : 3),
    repeats: count(values.repeats) ?? 1,
    idleSeconds: count(values.idle) ?? (values.quick ? 10 : 60),
    tell,
    failures,
  }
  if (!peer && !values['no-peer']) {
    notes.push('no qemu-system-x86_64 on PATH (Debian: qemu-system-x86): Trapframe alone was measured')
  }
  if (core === undefined) notes.push('no taskset on PATH: nothing was pinned to a core')

  const sections: string[] = []
  for (const name of choice.suites) {
    const table = await suites[name]!(bench)
    if (table === '') continue
    process.stdout.write(`${table}\n`)
    sections.push(table)
  }
  const remarks = [...notes, ...failures]
    .map((text) => `- ${text.replaceAll(root, '.').replaceAll('\n', '\n  ')}\n`)
    .join('')
  process.stdout.write(remarks)
  const file = values.output ?? join(root, 'bench', 'results', `${positionals.join('-') || 'all'}.md`)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, [head(bench), ...sections, ...(remarks === '' ? [] : [remarks])].join('\n'))
  tell(`tables are in ${file}`)
  if (failures.length > 0) process.exitCode = 1
}

function parse(parameters: readonly string[]) {
  try {
    return parseArgs({
      args: [...parameters],
      allowPositionals: true,
      options: {
        help: { type: 'boolean' },
        quick: { type: 'boolean' },
        rounds: { type: 'string' },
        repeats: { type: 'string' },
        idle: { type: 'string' },
        'no-peer': { type: 'boolean' },
        'no-trapframe': { type: 'boolean' },
        prepare: { type: 'boolean' },
        output: { type: 'string' },
      },
    })
  } catch (cause) {
    throw new BenchError('bench/usage', `${(cause as Error).message}\n${USAGE}`, { cause })
  }
}

function choose(names: readonly string[]): Choice {
  const programs = guestPrograms.filter(({ name }) => names.includes(name))
  for (const name of names) {
    if (!(name in suites) && !programs.some((program) => program.name === name)) {
      throw new BenchError('bench/usage', `no benchmark and no program "${name}"\n${USAGE}`)
    }
  }
  const all = Object.keys(suites)
  const named = all.filter((name) => names.includes(name))
  return { suites: named.length > 0 ? named : programs.length > 0 ? ['programs'] : all, programs }
}

function count(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[1-9]\d*$/.test(text)) throw new BenchError('bench/usage', `"${text}" is no number of times`)
  return Number(text)
}

function head(bench: Bench): string {
  const peer = bench.emulators.find(({ name }) => name === 'QEMU')
  const facts = [
    `${new Date().toISOString().slice(0, 10)}, commit ${commit()}`,
    `host CPU ${cpus()[0]?.model.trim()}, ${cpus().length} cores; Node ${process.versions.node}; ${peer ? `QEMU ${peer.version} (TCG, q35, qemu64)` : 'no QEMU'}`,
    `guest: Linux ${bench.guest.debian.kernelRelease}, 512 MiB; programs by ${bench.guest.compilerVersion}`,
    `medians of ${bench.rounds * bench.repeats}; CPU seconds of the whole process${bench.core === undefined ? '' : ', pinned to one core'}`,
  ]
  return `# Benchmarks\n\n${facts.map((fact) => `- ${fact}\n`).join('')}`
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim()
  } catch {
    return 'unknown'
  }
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof Error)) throw error
  process.stderr.write(`bench: ${'code' in error ? error.message : error.stack}\n`)
  process.exitCode = 1
}
