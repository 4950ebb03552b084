/**
 * CPUID (SDM volume 2): a search in the table that the VM was created with (`State.cpuid`), and what depends on the
 * state: OSXSAVE, and the sizes in leaf 0xD. A leaf beyond the last one of its range answers as the last basic leaf,
 * as Intel's processors do; a missing leaf within a range is zero.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { State } from '../state-layout.ts'
import { bit, bitField32 } from './bit-field.ts'
import { Cr4 } from './control-bits.ts'

const { i32 } = Type

/** Offsets in an entry of the table. */
export const CpuidEntry = {
  leaf: 0,
  subleaf: 4,
  eax: 8,
  ebx: 12,
  ecx: 16,
  edx: 20,
  flags: 24,
  sizeBytes: 32,
} as const
/** Flag of an entry: its subleaf counts. */
export const CPUID_SUBLEAF_COUNTS = 1

/** Offset of an entry from the start of the table, or -1. (leaf, subleaf) -> i32 */
export const findCpuid: Procedure = procedure(
  'findCpuid',
  { parameters: [i32, i32], result: i32 },
  (b, leaf, subleaf) => {
    const at = b.local(i32, b.const32(0))
    const end = b.i32.mul(b.stateLoad(Access.i32, State.cpuidCount), b.const32(CpuidEntry.sizeBytes))
    const load = (field: number): Value => b.stateLoad(Access.i32, State.cpuid + field, b.get(at))
    b.loop((again) => {
      b.if(b.i32.geU(b.get(at), end), () => b.return(b.const32(-1)))
      const anySubleaf = b.i32.eqz(b.i32.and(load(CpuidEntry.flags), b.const32(CPUID_SUBLEAF_COUNTS)))
      const found = b.i32.and(
        b.i32.eq(load(CpuidEntry.leaf), leaf!),
        b.i32.or(anySubleaf, b.i32.eq(load(CpuidEntry.subleaf), subleaf!)),
      )
      b.if(found, () => b.return(b.get(at)))
      b.set(at, b.i32.add(b.get(at), b.const32(CpuidEntry.sizeBytes)))
      b.br(again)
    })
  },
)

/** One register of an entry that is in the table, or 0. */
export function cpuidRegister(b: Builder, leaf: number, subleaf: number, field: number): Value {
  const at = b.call(findCpuid, b.const32(leaf), b.const32(subleaf))
  const missing = b.i32.eq(at, b.const32(-1))
  // A missing entry is looked up at offset 0, which is readable, and not used.
  const value = b.stateLoad(Access.i32, State.cpuid + field, b.select(missing, b.const32(0), at))
  return b.select(missing, b.const32(0), value)
}

/** Bytes of the XSAVE area's standard form for the components in XCR0: legacy 576, AVX at 576, 256 bytes. */
function xsaveBytes(b: Builder): Value {
  return b.select(bit(b, b.stateLoad(Access.u64, State.xcr0), 2), b.const32(832), b.const32(576))
}

/** CPUID with EAX and ECX. () */
export const cpuid: Procedure = procedure('cpuid', {}, (b) => {
  const gpr = (number: number): number => State.gpr + 8 * number
  const leaf = b.local(i32, b.i32.wrapI64(b.stateLoad(Access.u64, gpr(0))))
  const subleaf = b.i32.wrapI64(b.stateLoad(Access.u64, gpr(1)))
  const registers = [b.local(i32), b.local(i32), b.local(i32), b.local(i32)] as const
  const [eax, ebx, ecx, edx] = registers
  for (const register of registers) b.set(register, b.const32(0))

  const lastBasic = cpuidRegister(b, 0, 0, CpuidEntry.eax)
  const lastExtended = cpuidRegister(b, 0x8000_0000 | 0, 0, CpuidEntry.eax)
  const lastHypervisor = cpuidRegister(b, 0x4000_0000, 0, CpuidEntry.eax)
  const asked = b.get(leaf)
  const range = b.i32.shrU(asked, b.const32(28))
  const last = b.select(
    b.i32.eq(range, b.const32(8)),
    lastExtended,
    b.select(b.i32.eq(range, b.const32(4)), lastHypervisor, lastBasic),
  )
  b.if(b.i32.gtU(asked, last), () => b.set(leaf, lastBasic))

  const at = b.call(findCpuid, b.get(leaf), subleaf)
  const fill = (from: Value): void => {
    const fields = [CpuidEntry.eax, CpuidEntry.ebx, CpuidEntry.ecx, CpuidEntry.edx]
    fields.forEach((field, index) => {
      b.set(registers[index]!, b.stateLoad(Access.i32, State.cpuid + field, from))
    })
  }
  const is = (number: number): Value => b.i32.eq(b.get(leaf), b.const32(number))
  b.if(
    b.i32.ne(at, b.const32(-1)),
    () => fill(at),
    () => {
      // Topology leaves beyond the last level still tell the x2APIC id, and echo the level.
      b.if(b.i32.or(is(0xb), is(0x1f)), () => {
        const first = b.call(findCpuid, b.get(leaf), b.const32(0))
        b.if(b.i32.ne(first, b.const32(-1)), () => {
          b.set(edx, b.stateLoad(Access.i32, State.cpuid + CpuidEntry.edx, first))
        })
        b.set(ecx, b.i32.and(subleaf, b.const32(0xff)))
      })
    },
  )
  b.if(is(1), () => {
    const osxsave = b.i32.ne(
      b.i32.and(b.i32.wrapI64(b.stateLoad(Access.u64, State.cr4)), b.const32(Cr4.osxsave)),
      b.const32(0),
    )
    const others = b.i32.and(b.get(ecx), b.const32(~(1 << 27)))
    b.set(ecx, b.i32.or(others, b.i32.shl(osxsave, b.const32(27))))
  })
  b.if(b.i32.and(is(0xd), b.i32.ne(at, b.const32(-1))), () => {
    b.if(b.i32.eqz(subleaf), () => b.set(ebx, xsaveBytes(b)))
    // Sub-leaf 1 tells the size of the compacted form where XSAVEC or XSAVES is there.
    const compacts = b.i32.ne(b.i32.and(b.get(eax), b.const32(0b1010)), b.const32(0))
    b.if(b.i32.and(b.i32.eq(subleaf, b.const32(1)), compacts), () => b.set(ebx, xsaveBytes(b)))
  })
  const order = [0, 3, 1, 2]
  registers.forEach((register, index) => {
    b.stateStore(Access.u64, gpr(order[index]!), b.i64.extendI32U(b.get(register)))
  })
  b.return()
})

/** i32: one CPUID bit, as the guest sees it. */
export function hasCpuidBit(b: Builder, leaf: number, field: number, bitNumber: number): Value {
  const register = b.i64.extendI32U(cpuidRegister(b, leaf, 0, field))
  return bitField32(b, register, bitNumber, 1)
}
