// Boots Linux on two engines side by side, in virtual time, and compares the whole machines' hashes every so many
// instructions: npx tsx --conditions=trapframe-source packages/difference/scripts/lockstep.ts
//   --vmlinux FILE --bzimage FILE [--initrd FILE] [--instructions N] [--step N] [--skip N] [--engines LEFT,RIGHT]
// Engines: evaluator, interpreter, jit; default: evaluator,interpreter. `--skip`: the right one runs so far alone; the
// left one begins with its saved state. Where they part, the machines go back to the last point at which they were equal
// and step one by one.
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { emulated } from '@trapframe/backend-emulated'
import type { Backend } from '@trapframe/cpu'
import {
  createMachine,
  javascriptHost,
  linux,
  type Machine,
  type MachineState,
  microvm,
} from '@trapframe/machine'
import { disassemble } from '@trapframe/x86'
import { evaluatorBackend } from './evaluator-backend.ts'
import { outcomeDifferences } from './system-cases.ts'

const { values } = parseArgs({
  options: {
    vmlinux: { type: 'string' },
    bzimage: { type: 'string' },
    initrd: { type: 'string' },
    instructions: { type: 'string', default: '200000' },
    step: { type: 'string', default: '20000' },
    skip: { type: 'string', default: '0' },
    engines: { type: 'string', default: 'evaluator,interpreter' },
  },
})
if (!values.vmlinux || !values.bzimage) throw new Error('--vmlinux and --bzimage say which kernel')

const boot = linux({
  kernel: readFileSync(values.vmlinux),
  bzImage: readFileSync(values.bzimage),
  ...(values.initrd && { initrd: readFileSync(values.initrd) }),
})
const make = (backend: Backend): Promise<Machine> =>
  createMachine({
    backend,
    board: microvm({ memoryBytes: 128 << 20 }),
    boot,
    host: javascriptHost(),
    time: 'virtual',
  })
const backends: Readonly<Record<string, () => Backend>> = {
  evaluator: () => evaluatorBackend(),
  interpreter: () => emulated(),
  jit: () => emulated({ jit: 'eager' }),
}
const [left, right] = await Promise.all(
  values.engines.split(',').map((name) => {
    const backend = backends[name]
    if (!backend) throw new Error(`no engine ${name}`)
    return make(backend())
  }),
)
if (!left || !right) throw new Error('--engines LEFT,RIGHT')
right.console.onOutput((bytes) => process.stdout.write(bytes))

/** Runs a machine to a point of its guest's time. */
async function runTo(machine: Machine, timeNs: number): Promise<void> {
  if (machine.end || machine.guestTimeNs >= timeNs) return
  machine.pauseAt(timeNs)
  const rests = new Promise<void>((resolve) => {
    const remove = machine.onStateChange((state) => {
      if (state === 'paused' || state === 'stopped' || state === 'failed') {
        remove()
        resolve()
      }
    })
  })
  machine.start()
  await rests
}

function differences(before: MachineState, after: MachineState): string[] {
  const found = outcomeDifferences(before.vcpus[0], after.vcpus[0], 'vcpu')
  found.push(...outcomeDifferences(before.sections, after.sections, 'sections'))
  if (before.ram.length !== after.ram.length)
    found.push(`${before.ram.length} runs of RAM, not ${after.ram.length}`)
  before.ram.forEach((run, index) => {
    const bytes = after.ram[index]
    if (!bytes) return
    for (const key of Object.keys(run) as (keyof typeof run)[]) {
      const [x, y] = [run[key] as unknown, bytes[key] as unknown]
      if (x instanceof Uint8Array && y instanceof Uint8Array) {
        const at = x.findIndex((byte, offset) => byte !== y[offset])
        if (at >= 0) found.push(`RAM run ${index} at 0x${at.toString(16)}: ${x[at]}, not ${y[at]}`)
      } else if (x !== y) found.push(`RAM run ${index}: ${key} ${String(x)}, not ${String(y)}`)
    }
  })
  return found
}

const skip = Number(values.skip)
if (skip > 0) {
  await runTo(right, skip)
  left.restore(right.save())
}
let time = skip
let equal: MachineState = left.save()
const begun = performance.now()
while (time < skip + Number(values.instructions)) {
  time += Number(values.step)
  await runTo(left, time)
  await runTo(right, time)
  if (left.hash() !== right.hash()) {
    console.log(`\nthey part before ${time} ns`)
    left.restore(equal)
    right.restore(equal)
    for (time -= Number(values.step); ; time++) {
      const rip = left.vcpus[0]!.save().rip
      await runTo(left, time + 1)
      await runTo(right, time + 1)
      const found = differences(left.save(), right.save())
      if (found.length === 0) continue
      const physical = left.vcpus[0]!.debug.translate(rip)
      const bytes = physical === undefined ? new Uint8Array() : left.memory.read(physical, 15).slice()
      console.log(`at ${time} ns, RIP 0x${rip.toString(16)}: ${disassemble(bytes, { address: rip }).text}`)
      console.log(found.slice(0, 40).join('\n'))
      process.exit(1)
    }
  }
  equal = left.save()
}
console.log(`\nequal to ${time} ns; ${((performance.now() - begun) / 1000).toFixed(1)} s`)
process.exit(0)
