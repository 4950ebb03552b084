/**
 * FXSAVE, XSAVE and their like, MXCSR and XCR0 (SDM volume 1, chapter 13; volume 2, FXSAVE, XSAVE, XRSTOR, XGETBV). The
 * standard format with the components x87 (0), SSE (1) and AVX (2, upper halves at byte 576). XSAVEC, XSAVES and the
 * compacted format are not announced and so not here.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { procedure } from '../ir/procedure.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { State, Vector } from '../state-layout.ts'
import { CpuidEntry, cpuidRegister } from '../system/cpuid.ts'
import { in64BitMode } from '../system/mode.ts'
import { forEachStackRegister, initialiseFpu, setControlWord, updateErrorSummary } from './fpu-environment.ts'
import { requireFpu, sse, updateFpuAvailability } from './fpu-guard.ts'

const X87 = 1
const SSE = 2
const AVX = 4
/** State components that XCR0 can enable. */
const SUPPORTED = X87 | SSE | AVX
const CR0_TS = 8
const CR4_OSXSAVE = 0x4_0000
/** Bits of MXCSR that exist, which FXSAVE reports as MXCSR_MASK. */
const MXCSR_MASK = 0xffff

// Offsets in the area.
const MXCSR = 24
const STACK = 32
const XMM = 160
const XSTATE_BV = 512
const XCOMP_BV = 520
const YMM_HIGH = 576

const YMM_BYTES = 32

const at = (b: Builder, address: Value, offset: number): Value => b.i64.add(address, b.const64(offset))

/** Bytes 0 to 23 and 32 to 159. (address, wide: 64-bit pointers) */
const saveX87 = procedure(
  'saveX87',
  { parameters: [Type.i64, Type.i32], mayFault: true },
  (b, address, wide) => {
    const load = (field: number): Value => b.i64.extendI32U(b.stateLoad(Access.i32, field))
    b.guestStore(Access.u16, address, load(State.fcw))
    b.guestStore(Access.u16, at(b, address, 2), load(State.fsw))
    b.guestStore(Access.u16, at(b, address, 4), load(State.ftw))
    b.guestStore(Access.u16, at(b, address, 6), load(State.fop))
    // The 32-bit form has selectors above the offsets; they are zero, as on processors that no longer keep them.
    const pointer = (field: number): Value => {
      const value = b.stateLoad(Access.u64, field)
      return b.select(wide, value, b.truncate(32, value))
    }
    b.guestStore(Access.u64, at(b, address, 8), pointer(State.fip))
    b.guestStore(Access.u64, at(b, address, 16), pointer(State.fdp))
    forEachStackRegister(b, (index, i) => {
      const to = at(b, b.i64.add(address, b.i64.shl(i, b.const64(4))), STACK)
      b.guestStore(Access.u64, to, b.stateLoad(Access.u64, State.x87, index))
      b.guestStore(Access.u64, at(b, to, 8), b.stateLoad(Access.u16, State.x87 + 8, index))
    })
  },
)

const restoreX87 = procedure(
  'restoreX87',
  { parameters: [Type.i64, Type.i32], mayFault: true },
  (b, address, wide) => {
    const words = b.guestLoad(Access.u64, address)
    const field = (shift: number, bits: number): Value =>
      b.i32.wrapI64(b.truncate(bits, b.i64.shrU(words, b.const64(shift))))
    const fip = b.guestLoad(Access.u64, at(b, address, 8))
    const fdp = b.guestLoad(Access.u64, at(b, address, 16))
    setControlWord(b, words)
    b.stateStore(Access.i32, State.fsw, field(16, 16))
    b.stateStore(Access.i32, State.ftw, field(32, 8))
    b.stateStore(Access.i32, State.fop, field(48, 11))
    b.stateStore(Access.u64, State.fip, b.select(wide, fip, b.truncate(32, fip)))
    b.stateStore(Access.u64, State.fdp, b.select(wide, fdp, b.truncate(32, fdp)))
    forEachStackRegister(b, (index, i) => {
      const from = at(b, b.i64.add(address, b.i64.shl(i, b.const64(4))), STACK)
      const significand = b.guestLoad(Access.u64, from)
      b.stateStore(Access.u16, State.x87 + 8, b.guestLoad(Access.u16, at(b, from, 8)), index)
      b.stateStore(Access.u64, State.x87, significand, index)
    })
    b.call(updateErrorSummary)
  },
)

/** Runs `body` for the halves of the vector registers that the mode has, 16 or 8, with state index and address. */
function forEachVector(b: Builder, address: Value, body: (index: Value, address: Value) => void): void {
  const index = b.local(Type.i32, b.const32(0))
  const end = b.select(in64BitMode(b), b.const32(16 * YMM_BYTES), b.const32(8 * YMM_BYTES))
  b.loop((again) => {
    body(b.get(index), b.i64.add(address, b.i64.extendI32U(b.i32.shrU(b.get(index), b.const32(1)))))
    b.set(index, b.i32.add(b.get(index), b.const32(YMM_BYTES)))
    b.brIf(b.i32.ltU(b.get(index), end), again)
  })
}

/** Stores the halves of the vector registers. (address, half: 0 or 16) */
const saveVectors = procedure(
  'saveVectors',
  { parameters: [Type.i64, Type.i32], mayFault: true },
  (b, address, half) =>
    forEachVector(b, address, (index, to) =>
      b.guestStore(Access.v128, to, b.stateLoad(Access.v128, State.ymm, b.i32.add(index, half))),
    ),
)
const restoreVectors = procedure(
  'restoreVectors',
  { parameters: [Type.i64, Type.i32], mayFault: true },
  (b, address, half) =>
    forEachVector(b, address, (index, from) =>
      b.stateStore(Access.v128, State.ymm, b.guestLoad(Access.v128, from), b.i32.add(index, half)),
    ),
)
const clearVectors = procedure('clearVectors', { parameters: [Type.i32] }, (b, half) =>
  forEachVector(b, b.const64(0), (index) =>
    b.stateStore(Access.v128, State.ymm, b.constV128(new Uint8Array(16)), b.i32.add(index, half)),
  ),
)

const saveMxcsr = procedure('saveMxcsr', { parameters: [Type.i64], mayFault: true }, (b, address) => {
  const mxcsr = b.i64.extendI32U(b.stateLoad(Access.i32, State.mxcsr))
  b.guestStore(Access.u64, at(b, address, MXCSR), b.i64.or(mxcsr, b.const64(BigInt(MXCSR_MASK) << 32n)))
})
/** An MXCSR value (i64) as i32; #GP(0) for bits that do not exist. */
function checkedMxcsr(b: Builder, value: Value): Value {
  b.if(b.i64.ne(b.i64.and(value, b.const64(0xffff_ffff & ~MXCSR_MASK)), b.const64(0)), () =>
    b.raise(Vector.gp, b.const32(0)),
  )
  return b.i32.wrapI64(value)
}

const fxsave = procedure(
  'fxsave',
  { parameters: [Type.i64, Type.i32], mayFault: true },
  (b, address, wide) => {
    // All 512 bytes must be writable, those that are not written too.
    b.guestRef(Access.u64, address)
    b.guestRef(Access.u64, at(b, address, 504))
    b.call(saveX87, address, wide)
    b.call(saveMxcsr, address)
    b.call(saveVectors, at(b, address, XMM), b.const32(0))
  },
)
const fxrstor = procedure(
  'fxrstor',
  { parameters: [Type.i64, Type.i32], mayFault: true },
  (b, address, wide) => {
    // Takes the faults of both pages before anything else is looked at.
    b.guestLoad(Access.u64, address)
    b.guestLoad(Access.u64, at(b, address, 504))
    const mxcsr = checkedMxcsr(b, b.guestLoad(Access.u32, at(b, address, MXCSR)))
    b.call(restoreX87, address, wide)
    b.stateStore(Access.i32, State.mxcsr, mxcsr)
    b.call(restoreVectors, at(b, address, XMM), b.const32(0))
  },
)

/** XINUSE: which of the three components differ from their initial state. i64 */
const componentsInUse = procedure('componentsInUse', { result: Type.i64 }, (b) => {
  const any = (half: number): Value => {
    let all = b.stateLoad(Access.v128, State.ymm + half)
    for (let number = 1; number < 16; number++)
      all = b.v128.or(all, b.stateLoad(Access.v128, State.ymm + number * YMM_BYTES + half))
    return b.v128.anyTrue(all)
  }
  let x87 = b.i32.xor(b.stateLoad(Access.i32, State.fcw), b.const32(0x37f))
  for (const field of [State.fsw, State.ftw, State.fop]) x87 = b.i32.or(x87, b.stateLoad(Access.i32, field))
  let registers = b.i64.or(b.stateLoad(Access.u64, State.fip), b.stateLoad(Access.u64, State.fdp))
  for (let number = 0; number < 8; number++) {
    registers = b.i64.or(registers, b.stateLoad(Access.u64, State.x87 + number * 16))
    registers = b.i64.or(registers, b.stateLoad(Access.u16, State.x87 + number * 16 + 8))
  }
  const x87InUse = b.i32.or(b.i32.ne(x87, b.const32(0)), b.i64.ne(registers, b.const64(0)))
  const sseInUse = b.i32.shl(any(0), b.const32(1))
  const avxInUse = b.i32.shl(any(16), b.const32(2))
  b.return(b.i64.extendI32U(b.i32.or(b.i32.or(x87InUse, sseInUse), avxInUse)))
})

const has = (b: Builder, mask: Value, bits: number): Value =>
  b.i64.ne(b.i64.and(mask, b.const64(bits)), b.const64(0))

/** (address, RFBM, components to write, wide) */
const xsave = procedure(
  'xsave',
  { parameters: [Type.i64, Type.i64, Type.i64, Type.i32], mayFault: true },
  (b, address, rfbm, written, wide) => {
    const inUse = b.call(componentsInUse)
    const old = b.guestLoad(Access.u64, at(b, address, XSTATE_BV))
    b.if(has(b, written, X87), () => {
      b.call(saveX87, address, wide)
    })
    b.if(has(b, rfbm, SSE | AVX), () => {
      b.call(saveMxcsr, address)
    })
    b.if(has(b, written, SSE), () => {
      b.call(saveVectors, at(b, address, XMM), b.const32(0))
    })
    b.if(has(b, written, AVX), () => {
      b.call(saveVectors, at(b, address, YMM_HIGH), b.const32(16))
    })
    const others = b.i64.and(old, b.i64.xor(rfbm, b.const64(-1)))
    b.guestStore(Access.u64, at(b, address, XSTATE_BV), b.i64.or(others, b.i64.and(rfbm, inUse)))
  },
)

/** (address, RFBM, wide) */
const xrstor = procedure(
  'xrstor',
  { parameters: [Type.i64, Type.i64, Type.i32], mayFault: true },
  (b, address, rfbm, wide) => {
    const present = b.guestLoad(Access.u64, at(b, address, XSTATE_BV))
    const compaction = b.guestLoad(Access.u64, at(b, address, XCOMP_BV))
    const reserved = b.guestLoad(Access.u64, at(b, address, XCOMP_BV + 8))
    const xcr0 = b.stateLoad(Access.u64, State.xcr0)
    const unknown = b.i64.and(present, b.i64.xor(xcr0, b.const64(-1)))
    const bad = b.i64.or(unknown, b.i64.or(compaction, reserved))
    b.if(b.i64.ne(bad, b.const64(0)), () => b.raise(Vector.gp, b.const32(0)))
    b.if(has(b, rfbm, SSE | AVX), () => {
      const mxcsr = checkedMxcsr(b, b.guestLoad(Access.u32, at(b, address, MXCSR)))
      // Takes the faults of the last page before anything changes.
      b.if(has(b, b.i64.and(rfbm, present), AVX), () => {
        b.guestLoad(Access.u64, at(b, address, YMM_HIGH + 248))
      })
      b.stateStore(Access.i32, State.mxcsr, mxcsr)
    })
    b.if(has(b, rfbm, X87), () =>
      b.if(
        has(b, present, X87),
        () => {
          b.call(restoreX87, address, wide)
        },
        () => {
          b.call(initialiseFpu)
          for (let number = 0; number < 8; number++) {
            b.stateStore(Access.u64, State.x87 + number * 16, b.const64(0))
            b.stateStore(Access.u16, State.x87 + number * 16 + 8, b.const64(0))
          }
        },
      ),
    )
    const vectors = (component: number, offset: number, half: number): void =>
      b.if(has(b, rfbm, component), () =>
        b.if(
          has(b, present, component),
          () => {
            b.call(restoreVectors, at(b, address, offset), b.const32(half))
          },
          () => {
            b.call(clearVectors, b.const32(half))
          },
        ),
      )
    vectors(SSE, XMM, 0)
    vectors(AVX, YMM_HIGH, 16)
  },
)

const register32 = (b: Builder, number: number): Value => b.stateLoad(Access.u32, State.gpr + number * 8)
const RAX = 0
const RCX = 1
const RDX = 2
/** EDX:EAX. */
function edxEax(b: Builder): Value {
  return b.i64.or(register32(b, RAX), b.i64.shl(register32(b, RDX), b.const64(32)))
}
/** EDX:EAX = value; the upper halves of RAX and RDX become zero. */
function setEdxEax(b: Builder, value: Value): void {
  b.stateStore(Access.u64, State.gpr + RAX * 8, b.truncate(32, value))
  b.stateStore(Access.u64, State.gpr + RDX * 8, b.i64.shrU(value, b.const64(32)))
}

function requireOsxsave(b: Builder): void {
  const enabled = b.i64.and(b.stateLoad(Access.u64, State.cr4), b.const64(CR4_OSXSAVE))
  b.if(b.i64.eqz(enabled), () => b.raise(Vector.ud))
}
/** #UD, #NM, #GP of XSAVE and XRSTOR. Gives the address and RFBM. */
function xsavePrologue(b: Builder, o: Parameters<Body>[1]): { address: Value; rfbm: Value } {
  requireOsxsave(b)
  b.if(has(b, b.stateLoad(Access.u64, State.cr0), CR0_TS), () => b.raise(Vector.nm))
  const address = o.address()
  o.requireAligned(address, 64)
  return { address, rfbm: b.i64.and(edxEax(b), b.stateLoad(Access.u64, State.xcr0)) }
}

const fxsaveBody =
  (wide: boolean): Body =>
  (b, o) => {
    requireFpu(b)
    const address = o.address()
    o.requireAligned(address, 16)
    b.call(fxsave, address, b.const32(wide ? 1 : 0))
  }
const fxrstorBody =
  (wide: boolean): Body =>
  (b, o) => {
    requireFpu(b)
    const address = o.address()
    o.requireAligned(address, 16)
    b.call(fxrstor, address, b.const32(wide ? 1 : 0))
  }
/** @param optimised - XSAVEOPT: components in their initial state are not written */
const xsaveBody =
  (wide: boolean, optimised: boolean): Body =>
  (b, o) => {
    const { address, rfbm } = xsavePrologue(b, o)
    const written = optimised ? b.i64.and(rfbm, b.call(componentsInUse)) : rfbm
    b.call(xsave, address, rfbm, written, b.const32(wide ? 1 : 0))
  }
const xrstorBody =
  (wide: boolean): Body =>
  (b, o) => {
    const { address, rfbm } = xsavePrologue(b, o)
    b.call(xrstor, address, rfbm, b.const32(wide ? 1 : 0))
  }

const ldmxcsr = sse((b, o) => b.stateStore(Access.i32, State.mxcsr, checkedMxcsr(b, o.read(0))))
const stmxcsr = sse((b, o) => o.write(0, b.i64.extendI32U(b.stateLoad(Access.i32, State.mxcsr))))

const xgetbv: Body = (b) => {
  requireOsxsave(b)
  // ECX = 1 (XCR0 & XINUSE) comes with XSAVEC, which is not announced.
  b.if(b.i64.ne(register32(b, RCX), b.const64(0)), () => b.raise(Vector.gp, b.const32(0)))
  setEdxEax(b, b.stateLoad(Access.u64, State.xcr0))
}
const xsetbv: Body = (b) => {
  requireOsxsave(b)
  const value = edxEax(b)
  const notRing0 = b.i32.ne(b.stateLoad(Access.i32, State.cpl), b.const32(0))
  const bits = (mask: number): Value => b.i64.and(value, b.const64(mask))
  const badIndex = b.i64.ne(register32(b, RCX), b.const64(0))
  // Components that CPUID announces, of those that are here.
  const announced = b.i64.and(
    b.i64.extendI32U(cpuidRegister(b, 0xd, 0, CpuidEntry.eax)),
    b.const64(SUPPORTED),
  )
  const unknown = b.i64.ne(b.i64.or(value, announced), announced)
  const noX87 = b.i64.eqz(bits(X87))
  const avxAlone = b.i64.eq(bits(SSE | AVX), b.const64(AVX))
  const bad = b.i32.or(b.i32.or(b.i32.or(notRing0, badIndex), b.i32.or(unknown, noX87)), avxAlone)
  b.if(bad, () => b.raise(Vector.gp, b.const32(0)))
  b.stateStore(Access.u64, State.xcr0, value)
  b.call(updateFpuAvailability)
  b.resync(b.nextRip())
}

const fxsr: FormOptions = { feature: 'fxsr', user: true }
const xsaves: FormOptions = { feature: 'xsave', user: true }
const sse1: FormOptions = { feature: 'sse', user: true }

export const xsaveForms: readonly Form[] = [
  form('FXSAVE m', 'NP 0F AE /0', fxsaveBody(false), fxsr),
  form('FXSAVE64 m', 'NP REX.W 0F AE /0', fxsaveBody(true), fxsr),
  form('FXRSTOR m', 'NP 0F AE /1', fxrstorBody(false), fxsr),
  form('FXRSTOR64 m', 'NP REX.W 0F AE /1', fxrstorBody(true), fxsr),
  form('LDMXCSR m32', 'NP 0F AE /2', ldmxcsr, sse1),
  form('STMXCSR m32', 'NP 0F AE /3', stmxcsr, sse1),
  form('XSAVE m', 'NP 0F AE /4', xsaveBody(false, false), xsaves),
  form('XSAVE64 m', 'NP REX.W 0F AE /4', xsaveBody(true, false), xsaves),
  form('XRSTOR m', 'NP 0F AE /5', xrstorBody(false), xsaves),
  form('XRSTOR64 m', 'NP REX.W 0F AE /5', xrstorBody(true), xsaves),
  form('XSAVEOPT m', 'NP 0F AE /6', xsaveBody(false, true), xsaves),
  form('XSAVEOPT64 m', 'NP REX.W 0F AE /6', xsaveBody(true, true), xsaves),
  form('XGETBV', 'NP 0F 01 D0', xgetbv, xsaves),
  form('XSETBV', 'NP 0F 01 D1', xsetbv, { feature: 'xsave', ends: true }),
]
