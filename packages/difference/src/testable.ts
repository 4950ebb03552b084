/** Which forms can be compared with the CPU of a host, and what that CPU has. */
import { type CpuidRegister, cpuidBits } from '@trapframe/cpu'
import type { Feature, Form } from '@trapframe/x86'
import type { Case, Engine } from './engine.ts'
import { CODE_BASE, type CodeBits, Fxsave, MachineImage } from './machine-image.ts'

/** Near transfers, which are not marked `user` because they do affect more than registers, flags and memory. */
const transfers = new Set([
  'JMP',
  'CALL',
  'RET',
  'LOOP',
  'LOOPE',
  'LOOPNE',
  'JRCXZ',
  'POPF',
  'POPFQ',
  'UD0',
  'UD1',
  'UD2',
])
/** Answers that are the machine's own. */
const machineDependent = new Set(['CPUID', 'XGETBV', 'RDTSC', 'RDTSCP', 'RDPID', 'RDRAND', 'RDSEED'])

/** Whether cases can be made of a form in code of a mode: VEX is left out. */
export function isEncodable(form: Form, mode: CodeBits = 64): boolean {
  return form.options.mode !== (mode === 64 ? 'no64' : 'only64') && !form.encoding.startsWith('VEX')
}

/** Whether a form can run in user mode with a result that every CPU agrees on. */
export function isTestable(form: Form, mode: CodeBits = 64): boolean {
  if (machineDependent.has(form.mnemonic) || !isEncodable(form, mode)) return false
  if (form.options.user) return true
  const far = form.operands.some((kind) => kind.includes(':'))
  if (mode !== 64 && form.options.mode === 'no64') return !far && !loadsSystemRegister(form)
  return !far && (transfers.has(form.mnemonic) || /^J[A-Z]+$/.test(form.mnemonic))
}

/** Of forms that 64-bit code does not have. */
function loadsSystemRegister({ mnemonic, operands }: Form): boolean {
  const segment = operands.some((kind) => /^[EDSFG]S$/.test(kind))
  return operands.includes('CR') || operands.includes('DR') || (mnemonic === 'POP' && segment)
}

/** Whether an engine runs code of a mode: a kernel may be without 16-bit segments (modify_ldt), or without 32-bit code. */
export function runsCode(engine: Engine, mode: CodeBits): boolean {
  const start = new MachineImage()
  start.mode = mode
  start.rip = CODE_BASE - start.segmentBase
  start.rflags = 0x202
  start.fxsaveView.setUint16(Fxsave.fcw, 0x37f, true)
  start.fxsaveView.setUint32(Fxsave.mxcsr, 0x1f80, true)
  start.code = Uint8Array.of(0x90)
  return engine.run([{ start, label: 'NOP' }])[0]!.vector === 3
}

/** The features among those of forms that the CPU behind an engine has, as its CPUID tells. */
export function featuresOf(engine: Engine): Set<Feature> {
  const leaves = new Map<string, Record<CpuidRegister, number>>()
  const question = (leaf: number, subleaf: number): Case => {
    const start = new MachineImage()
    start.rip = CODE_BASE
    start.rflags = 0x202
    start.fxsaveView.setUint16(Fxsave.fcw, 0x37f, true)
    start.fxsaveView.setUint32(Fxsave.mxcsr, 0x1f80, true)
    start.code = Uint8Array.of(0x0f, 0xa2)
    start.setGpr(0, BigInt(leaf))
    start.setGpr(1, BigInt(subleaf))
    return { start, label: 'CPUID' }
  }
  const wanted = [...new Set(Object.values(cpuidBits).map(({ leaf, subleaf }) => `${leaf} ${subleaf}`))]
  const answers = engine.run(
    wanted.map((key) => {
      const [leaf, subleaf] = key.split(' ').map(Number)
      return question(leaf!, subleaf!)
    }),
  )
  wanted.forEach((key, index) => {
    const register = (number: number): number => Number(answers[index]!.gpr(number) & 0xffff_ffffn)
    leaves.set(key, { eax: register(0), ecx: register(1), edx: register(2), ebx: register(3) })
  })
  const features = new Set<Feature>(['base'])
  for (const [name, { leaf, subleaf, register, bit }] of Object.entries(cpuidBits))
    if ((leaves.get(`${leaf} ${subleaf}`)![register] >>> bit) & 1) features.add(name as Feature)
  return features
}
