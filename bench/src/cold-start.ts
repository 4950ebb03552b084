/**
 * How fast the engine is from its first instruction on: intmix as the only program of a machine, on the backend's own
 * API, without devices and without an operating system.
 *
 * A program of its own (`node --import tsx cold-start.ts FILE`), because a JavaScript engine that has run the
 * interpreter before is warm; prints JSON. CPU time is that of the whole process, compilers of the JavaScript engine included; it
 * counts from the first instruction, when the machine has been made.
 */
import { readFileSync } from 'node:fs'
import { emulated } from '@trapframe/backend-emulated'
import { ExitReason } from '@trapframe/cpu'
import { parseVmlinux } from '@trapframe/machine'
import { createGuestMemory } from '@trapframe/memory'
import { BARE_RAM_BYTES, bareProgramState, loadBareProgram } from './bare-machine.ts'
import { BenchError } from './bench-error.ts'
import type { ColdStart } from './interpreter.ts'

const POINTS_MS = [100, 500, 1000]
/** About a millisecond. */
const SLICE_INSTRUCTIONS = 200_000
const TSC_HZ = 1e9

async function run(path: string): Promise<ColdStart> {
  const memory = createGuestMemory({ ramBytes: BARE_RAM_BYTES })
  const vm = await emulated().createVm({ memory, cpuid: [], time: { kind: 'virtual' }, tscHz: TSC_HZ })
  const vcpu = vm.createVcpu(0)
  const program = parseVmlinux(readFileSync(path))
  loadBareProgram(memory, program)
  vcpu.load(bareProgramState(vcpu.save(), program))

  const points: { untilMs: number; cpuMs: number; instructions: number }[] = []
  let checksum = ''
  const start = process.cpuUsage()
  for (;;) {
    const reason = vcpu.run(SLICE_INSTRUCTIONS)
    if (reason === ExitReason.pioWrite && vcpu.exit.address === 0xf4) checksum = vcpu.exit.value.toString(16)
    else if (reason !== ExitReason.budget && reason !== ExitReason.pioWrite && reason !== ExitReason.halted) {
      throw new BenchError('bench/no-result', `the guest ended with exit reason ${reason}`)
    }
    const { user, system } = process.cpuUsage(start)
    const cpuMs = (user + system) / 1000
    const untilMs = POINTS_MS[points.length]!
    if (cpuMs >= untilMs) points.push({ untilMs, cpuMs, instructions: vcpu.instructionsRetired })
    if (points.length === POINTS_MS.length || reason === ExitReason.halted) break
  }
  vm.close()
  return { points, checksum }
}

process.stdout.write(JSON.stringify(await run(process.argv[2]!)))
