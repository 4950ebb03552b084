/**
 * How a guest ends, as values: nothing that a guest does is thrown. An end that is no wish of the guest carries a
 * report: registers, the last exit, the code at RIP.
 */
import { ExitReason, type Vcpu, type VcpuState } from '@trapframe/cpu'
import type { GuestMemory } from '@trapframe/memory'
import type { LastExit } from './vcpu-driver.ts'

/** The end of a guest. */
export type GuestEnd =
  /** It switched the machine off. */
  | { readonly kind: 'power-off' }
  /** It asked for a reset, and the machine was told to end then. */
  | { readonly kind: 'reset' }
  /** It wrote `value` to the debug exit port. */
  | { readonly kind: 'debug-exit'; readonly value: number }
  /** `stop` was called. */
  | { readonly kind: 'stopped' }
  | { readonly kind: GuestFault; readonly report: GuestReport }
  /** The host could not go on: a defect, or no memory. */
  | { readonly kind: 'failed'; readonly error: unknown }

/**
 * What a guest cannot recover from: a triple fault; HLT with interrupts off; an instruction fetch where there is no
 * memory; an instruction that the vCPU does not implement.
 */
export type GuestFault = 'triple-fault' | 'halted' | 'fetch-outside-memory' | 'unsupported-instruction'

/** The guest's last moment. */
export interface GuestReport {
  readonly kind: GuestFault
  /** Registers at the end. */
  readonly state: VcpuState
  /** Up to 16 bytes at RIP; empty where it is not mapped to memory. */
  readonly code: Uint8Array
  /** Guest-physical address of RIP, if it is mapped. */
  readonly codeAddress: number | undefined
  /** What the guest did last outside of the CPU. */
  readonly lastExit: LastExit
}

const CODE_BYTES = 16
const PAGE_MASK = 0xfffn

/** Makes the report of a guest that came to rest. `unsupported` is told apart by where RIP points. */
export function reportGuest(
  kind: GuestFault,
  vcpu: Vcpu,
  memory: GuestMemory,
  lastExit: LastExit,
): GuestReport {
  const state = vcpu.save()
  const { bytes, guestPhysical } = codeAt(vcpu, memory, state.rip)
  const outside = kind === 'unsupported-instruction' && bytes.length === 0
  return {
    kind: outside ? 'fetch-outside-memory' : kind,
    state,
    code: bytes,
    codeAddress: guestPhysical,
    lastExit,
  }
}

/** Bytes of memory at a linear address, up to the first that is not there. */
function codeAt(
  vcpu: Vcpu,
  memory: GuestMemory,
  linear: bigint,
): { bytes: Uint8Array; guestPhysical: number | undefined } {
  const bytes: number[] = []
  let first: number | undefined
  let page: number | undefined
  for (let n = 0n; n < CODE_BYTES; n++) {
    const address = BigInt.asUintN(64, linear + n)
    if (n === 0n || (address & PAGE_MASK) === 0n) {
      const gpa = vcpu.debug.translate(address)
      page = gpa === undefined ? undefined : gpa - Number(address & PAGE_MASK)
      if (n === 0n) first = gpa
    }
    if (page === undefined) break
    const gpa = page + Number(address & PAGE_MASK)
    if (!memory.isRam(gpa, 1)) break
    bytes.push(memory.readU8(gpa))
  }
  return { bytes: Uint8Array.from(bytes), guestPhysical: first }
}

const TITLES: Readonly<Record<GuestFault, string>> = {
  'triple-fault': 'triple fault',
  halted: 'halted for ever, with interrupts off',
  'fetch-outside-memory': 'instruction fetch outside memory',
  'unsupported-instruction': 'unsupported instruction',
}
const GPR_NAMES = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ')
const SEGMENT_NAMES = 'es cs ss ds fs gs ldtr tr'.split(' ')
const EFER = 0xc000_0080

/** The report as lines of text. */
export function formatReport(report: GuestReport): string {
  const { state, code, lastExit } = report
  const wide = (value: bigint): string => value.toString(16).padStart(16, '0')
  const lines = [`guest ended: ${TITLES[report.kind]} at rip ${wide(state.rip)}`]
  const registers = GPR_NAMES.map((name, n) => `${name.padStart(3)} ${wide(state.gpr[n]!)}`)
  registers.push(`rip ${wide(state.rip)}`, `rfl ${wide(state.rflags)}`)
  for (let n = 0; n < registers.length; n += 4) lines.push(registers.slice(n, n + 4).join('  '))
  const efer = state.msrs.find(([index]) => index === EFER)?.[1] ?? 0n
  const hex = (value: bigint): string => value.toString(16)
  lines.push(
    `cr0 ${hex(state.cr0)}  cr2 ${hex(state.cr2)}  cr3 ${hex(state.cr3)}  cr4 ${hex(state.cr4)}  efer ${hex(efer)}`,
  )
  for (let from = 0; from < 8; from += 4)
    lines.push(
      state.segments
        .slice(from, from + 4)
        .map((segment, n) => {
          const attributes = segment.attributes.toString(16)
          return `${SEGMENT_NAMES[from + n]} ${segment.selector.toString(16).padStart(4, '0')} base ${hex(segment.base)} (${attributes})`
        })
        .join('  '),
    )
  lines.push(
    `gdtr ${hex(state.gdtr.base)}+${state.gdtr.limit.toString(16)}  idtr ${hex(state.idtr.base)}+${state.idtr.limit.toString(16)}  instructions ${state.instructionsRetired}`,
  )
  lines.push(`last exit: ${formatExit(lastExit)}`)
  const bytes = Array.from(code, (byte) => byte.toString(16).padStart(2, '0')).join(' ')
  lines.push(code.length === 0 ? 'code: not in memory' : `code: ${bytes}`)
  return lines.join('\n')
}

function formatExit({ reason, address, sizeBytes, value }: LastExit): string {
  const at = `0x${address.toString(16)}`
  const size = `${sizeBytes} ${sizeBytes === 1 ? 'byte' : 'bytes'}`
  switch (reason) {
    case ExitReason.pioRead:
      return `${size} from port ${at}`
    case ExitReason.pioWrite:
      return `${size} to port ${at}, 0x${value.toString(16)}`
    case ExitReason.mmioRead:
      return `${size} from device memory at ${at}`
    case ExitReason.mmioWrite:
      return `${size} to device memory at ${at}, 0x${value.toString(16)}`
    case ExitReason.msrRead:
      return `read of MSR ${at}`
    case ExitReason.msrWrite:
      return `write of MSR ${at}`
    default: {
      const name = Object.entries(ExitReason).find(([, number]) => number === reason)?.[0]
      return name ?? 'none'
    }
  }
}
