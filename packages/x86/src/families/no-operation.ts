/**
 * Instructions that do nothing that a guest can see (SDM volume 2): NOP in all its encodings, ENDBR (without CET),
 * PAUSE, prefetches, cache-line flushes, fences; and UD0, UD1, UD2, which do nothing but fault.
 *
 * Guest memory has no caches that are modelled, and accesses of one vCPU happen in order: the fences are for other
 * CPUs, which see a vCPU's accesses in an order that x86 allows. Instructions on cache lines fault as loads of a byte do,
 * prefetches never.
 */
import { Access } from '../ir/op.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { Vector } from '../state-layout.ts'
import { hex, rexW, wordSizes } from './sizes.ts'

const nothing: Body = () => {}
const cacheLine: Body = (b, o) => {
  b.guestLoad(Access.u8, o.address())
}
const undefinedInstruction: Body = (b) => b.raise(Vector.ud)
const plain: FormOptions = { user: true }
const hot: FormOptions = { user: true, hot: true }
const ud: FormOptions = { ends: true }

export const noOperationForms: readonly Form[] = [
  form('NOP', '90', nothing, hot),
  ...wordSizes.map((bits) =>
    form(`NOP r/m${bits}`, `${rexW(bits)}0F 1F /0`, nothing, bits === 64 ? plain : hot),
  ),
  // Reserved for hints: CPUs execute 0F 19 to 0F 1F, and what is left of 0F 18, as NOP whatever ModRM says.
  ...wordSizes.flatMap((bits) => [
    ...[4, 5, 6, 7].map((digit) => form(`NOP r/m${bits}`, `${rexW(bits)}0F 18 /${digit}`, nothing, plain)),
    ...[0, 1, 2, 3].map((digit) =>
      form(`NOP r/m${bits}`, `${rexW(bits)}0F 18 /${digit} reg`, nothing, plain),
    ),
    ...[1, 2, 3, 4, 5, 6, 7].map((digit) =>
      form(`NOP r/m${bits}`, `${rexW(bits)}0F 1F /${digit}`, nothing, plain),
    ),
    ...[0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e].map((opcode) =>
      form(`NOP r/m${bits}, r${bits}`, `${rexW(bits)}0F ${hex(opcode)} /r`, nothing, plain),
    ),
  ]),
  form('ENDBR64', 'F3 0F 1E FA', nothing, hot),
  form('ENDBR32', 'F3 0F 1E FB', nothing, plain),
  form('PAUSE', 'F3 90', nothing, plain),

  form('PREFETCHNTA m8', '0F 18 /0', nothing, plain),
  form('PREFETCHT0 m8', '0F 18 /1', nothing, plain),
  form('PREFETCHT1 m8', '0F 18 /2', nothing, plain),
  form('PREFETCHT2 m8', '0F 18 /3', nothing, plain),
  form('PREFETCH m8', '0F 0D /0', nothing, plain),
  form('PREFETCHW m8', '0F 0D /1', nothing, plain),
  form('PREFETCHWT1 m8', '0F 0D /2', nothing, plain),
  // Reserved; AMD CPUs execute them as prefetches.
  ...[3, 4, 5, 6, 7].map((digit) => form('PREFETCH m8', `0F 0D /${digit}`, nothing, plain)),
  form('CLFLUSH m8', 'NP 0F AE /7', cacheLine, plain),
  form('CLFLUSHOPT m8', '66 0F AE /7', cacheLine, { ...plain, feature: 'clflushopt' }),
  form('CLWB m8', '66 0F AE /6', cacheLine, { ...plain, feature: 'clwb' }),
  form('LFENCE', 'NP 0F AE /5 reg', nothing, plain),
  form('MFENCE', 'NP 0F AE /6 reg', nothing, plain),
  form('SFENCE', 'NP 0F AE /7 reg', nothing, plain),

  form('UD2', '0F 0B', undefinedInstruction, ud),
  form('UD1 r32, r/m32', '0F B9 /r', undefinedInstruction, ud),
  form('UD0 r32, r/m32', '0F FF /r', undefinedInstruction, ud),
]
