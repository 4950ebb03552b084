/** The guest programs: CPU seconds on the host's CPU, in Trapframe and in QEMU, with checksums compared. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Bench, measuredColumns } from './bench.ts'
import type { Emulator, EmulatorName } from './emulator.ts'
import { type GuestProgram, guestPrograms, type ProgramGroup } from './guest-program.ts'
import { pinned } from './process-cpu.ts'
import { geometricMean, median } from './statistics.ts'
import { type Cell, markdownTable } from './table.ts'

/** One BENCH line of one run. */
export interface Measurement {
  readonly cpuSeconds: number
  readonly checksum: string
  /** Seconds of the guest's clock. */
  readonly guestSeconds: number
}

/** Measurements by result name: of a program, or of one of its parts. */
export type Measurements = Map<string, Measurement[]>

/** A program is given up after this. */
const PROGRAM_TIMEOUT_SECONDS = 300
const BOOT_TIMEOUT_SECONDS = 180

/** Runs the chosen programs in every emulator in turn, `rounds` times, and makes the table. */
export async function measurePrograms(bench: Bench): Promise<string> {
  const chosen = bench.programs.length > 0 ? bench.programs : guestPrograms.filter(({ extra }) => !extra)
  const native: Measurements = new Map()
  const emulated = new Map<EmulatorName, Measurements>()
  for (let round = 0; round < bench.rounds; round++) {
    // Alternating, so that a drift of the machine's speed meets both.
    const order = round % 2 === 0 ? bench.emulators : bench.emulators.toReversed()
    for (const program of chosen) runNatively(bench, program, native)
    for (const emulator of order) {
      bench.tell(`programs: ${emulator.name}, round ${round + 1} of ${bench.rounds}`)
      const into = emulated.get(emulator.name) ?? new Map()
      emulated.set(emulator.name, into)
      try {
        await runInGuest(bench, emulator, chosen, into)
      } catch (error) {
        bench.failures.push(`${emulator.name}: ${(error as Error).message}`)
      }
    }
  }
  for (const [name, measurements] of emulated) {
    for (const [result, list] of measurements) {
      const expected = native.get(result)?.[0]?.checksum
      const wrong = list.find(({ checksum }) => checksum !== expected)
      if (wrong)
        bench.failures.push(`${name}: ${result} has checksum ${wrong.checksum}, natively ${expected}`)
    }
  }
  return programTable(bench, chosen, native, emulated)
}

/** Runs programs in one guest; for figures other than the table. */
export async function measureInGuest(
  bench: Bench,
  emulator: Emulator,
  programs: readonly GuestProgram[],
  options: readonly string[] = [],
): Promise<Measurements> {
  const into: Measurements = new Map()
  await runInGuest(bench, emulator, programs, into, options)
  return into
}

async function runInGuest(
  bench: Bench,
  emulator: Emulator,
  chosen: readonly GuestProgram[],
  into: Measurements,
  options: readonly string[] = [],
): Promise<void> {
  const process = emulator.start({
    kernel: 'vmlinux',
    initramfs: bench.guest.initramfs,
    commandLine: `bench.run=${chosen.map(({ name }) => name).join(',')} bench.repeats=${bench.repeats}`,
    options,
  })
  try {
    await process.line(/^bench: init/, BOOT_TIMEOUT_SECONDS)
    let program: GuestProgram | undefined
    let startSeconds = Number.NaN
    for (;;) {
      const line = await process.line(/^(bench: (run|status|over)|START|BENCH )/, PROGRAM_TIMEOUT_SECONDS)
      const words = line.text.split(' ')
      if (line.text.startsWith('bench: over')) break
      if (line.text.startsWith('bench: run')) program = guestPrograms.find(({ name }) => name === words[2])
      if (line.text.startsWith('bench: status') && words[2] !== '0') {
        bench.failures.push(`${emulator.name}: ${words[3]} ended with status ${words[2]}`)
      }
      if (line.text === 'START') startSeconds = line.cpuSeconds
      if (words[0] === 'BENCH' && program) {
        add(into, resultName(program, words[1]!), {
          cpuSeconds: line.cpuSeconds - startSeconds,
          guestSeconds: Number(words[3]),
          checksum: words[5] ?? '',
        })
      }
    }
    await process.end(10)
  } finally {
    await process.kill()
  }
}

/** On the host's CPU: the program measures itself, because a process of some 50 ms is too short for clock ticks. */
function runNatively(bench: Bench, program: GuestProgram, into: Measurements): void {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'))
  try {
    for (let i = 0; i < bench.repeats; i++) {
      const [command, ...parameters] = pinned(bench.core, ['sh', '-c', program.command])
      const { stdout } = spawnSync(command!, parameters, {
        cwd: bench.guest.programFolder,
        env: { ...process.env, BUSYBOX: bench.guest.debian.busybox, TMP: folder },
        encoding: 'utf8',
      })
      for (const line of stdout.split('\n')) {
        const [word, name, , seconds, cpuSeconds, checksum] = line.split(' ')
        if (word !== 'BENCH') continue
        add(into, resultName(program, name!), {
          cpuSeconds: Number(cpuSeconds),
          guestSeconds: Number(seconds),
          checksum: checksum!,
        })
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function resultName(program: GuestProgram, name: string): string {
  return program.results ? name : program.name
}

function add(into: Measurements, name: string, measurement: Measurement): void {
  const list = into.get(name)
  if (list) list.push(measurement)
  else into.set(name, [measurement])
}

function programTable(
  bench: Bench,
  chosen: readonly GuestProgram[],
  native: Measurements,
  emulated: ReadonlyMap<EmulatorName, Measurements>,
): string {
  const seconds = (measurements: Measurements | undefined, result: string): number =>
    median((measurements?.get(result) ?? []).map(({ cpuSeconds }) => cpuSeconds))
  const ratios = new Map<ProgramGroup, { ours: number[]; theirs: number[]; speed: number[] }>()
  const rows: Cell[][] = []
  for (const program of chosen) {
    const group = ratios.get(program.group) ?? { ours: [], theirs: [], speed: [] }
    ratios.set(program.group, group)
    for (const result of program.results ?? [program.name]) {
      const own = seconds(native, result)
      const ours = seconds(emulated.get('Trapframe'), result)
      const theirs = seconds(emulated.get('QEMU'), result)
      group.ours.push(ours / own)
      group.theirs.push(theirs / own)
      group.speed.push(theirs / ours)
      rows.push([
        program.results ? result : program.title,
        own,
        ours,
        ours / own,
        theirs,
        theirs / own,
        theirs / ours,
      ])
    }
  }
  for (const [group, { ours, theirs, speed }] of ratios) {
    if (speed.length < 2) continue
    const means = [ours, theirs, speed].map(geometricMean)
    rows.push([`geometric mean, ${group}`, '', '', means[0], '', means[1], means[2]])
  }
  const head = [
    'guest program, CPU s',
    'native',
    'Trapframe',
    'Trapframe / native',
    'QEMU',
    'QEMU / native',
    'QEMU / Trapframe',
  ]
  return markdownTable(...measuredColumns(bench, head, rows))
}
