/**
 * MMX moves, state and conversions (SDM volume 1, chapter 9). The lane operations on MMX registers stand beside their
 * XMM forms in sse-integer.ts and sse-shuffle.ts.
 */
import type { Builder } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { Segment, State } from '../state-layout.ts'
import { requireMmx, sse } from './fpu-guard.ts'
import { enterMmx, mmx, readMmx, writeMmx, writeMmx64 } from './mmx-registers.ts'
import { packedF32ToI32, packedF64ToI32 } from './sse-convert.ts'
import { zeroExtended } from './sse-move.ts'

const moveIn = mmx((b, o) => writeMmx64(b, o, 0, o.read(1)))
const moveOut32 = mmx((_b, o) => o.write(0, o.readLow(1, Access.u32)))
const moveOut64 = mmx((_b, o) => o.write(0, o.readLow(1, Access.u64)))
const load = mmx((b, o) => writeMmx64(b, o, 0, o.readLow(1, Access.u64)))
const store = mmx((b, o) => {
  if (o.isMemory(0)) o.writeLow(0, Access.u64, o.readLow(1, Access.u64))
  else writeMmx64(b, o, 0, o.readLow(1, Access.u64))
})

const byteMask = mmx((b, o) =>
  o.write(0, b.i64.extendI32U(b.i32.and(b.i8x16.bitmask(readMmx(b, o, 1)), b.const32(0xff)))),
)

const maskedStore = mmx((b, o) => {
  const value = readMmx(b, o, 0)
  const selected = b.i8x16.bitmask(readMmx(b, o, 1))
  const rdi = b.truncate(o.addressBits, b.stateLoad(Access.u64, State.gpr + 7 * 8))
  const address = b.i64.add(o.segmentBase(Segment.ds), rdi)
  // All faults before the first byte. That bytes which are not selected fault as well is allowed, and what AMD CPUs do.
  b.guestRef(Access.u64, address)
  for (let byte = 0; byte < 8; byte++)
    b.if(b.i32.and(selected, b.const32(1 << byte)), () => {
      const lane = b.i64.extendI32U(b.extractLane('i8x16', value, byte))
      b.guestStore(Access.u8, b.i64.add(address, b.const64(byte)), lane)
    })
})

const emms: Body = (b) => {
  requireMmx(b)
  enterMmx(b)
  b.stateStore(Access.i32, State.ftw, b.const32(0))
}

/** Conversions to an MMX register. */
const toMmx = (body: Body): Body =>
  sse((b, o) => {
    requireMmx(b)
    body(b, o)
    enterMmx(b)
  })
const f32ToMmx = (truncate: boolean): Body =>
  toMmx((b, o) => {
    const x = b.i64x2.splat(o.readLow(1, Access.u64))
    writeMmx(b, o, 0, packedF32ToI32(b, x, truncate))
  })
const f64ToMmx = (truncate: boolean): Body =>
  toMmx((b, o) => writeMmx(b, o, 0, packedF64ToI32(b, o.readVector(1), truncate)))

/** Conversions from an MMX register; one from memory leaves the x87 unit alone. */
const fromMmx = (write: (b: Builder, o: Parameters<Body>[1]) => void, memoryIsMmx: boolean): Body =>
  sse((b, o) => {
    const touches = memoryIsMmx || !o.isMemory(1)
    if (touches) requireMmx(b)
    write(b, o)
    if (touches) enterMmx(b)
  })
const mmxToF32 = fromMmx((b, o) => {
  const value = b.f32x4.convertI32x4S(b.i64x2.splat(o.readLow(1, Access.u64)))
  o.writeLow(0, Access.u64, b.extractLane('i64x2', value, 0))
}, true)
const mmxToF64 = fromMmx(
  (b, o) => o.writeVector(0, b.f64x2.convertLowI32x4S(b.i64x2.splat(o.readLow(1, Access.u64)))),
  false,
)

const base: FormOptions = { feature: 'mmx', user: true }
const sse1: FormOptions = { feature: 'sse', user: true }
const sse2: FormOptions = { feature: 'sse2', user: true }

export const mmxForms: readonly Form[] = [
  form('EMMS', 'NP 0F 77', emms, base),
  form('MOVD mm, r/m32', 'NP 0F 6E /r', moveIn, base),
  form('MOVQ mm, r/m64', 'NP REX.W 0F 6E /r', moveIn, base),
  form('MOVD r/m32, mm', 'NP 0F 7E /r', moveOut32, base),
  form('MOVQ r/m64, mm', 'NP REX.W 0F 7E /r', moveOut64, base),
  form('MOVQ mm, mm/m64', 'NP 0F 6F /r', load, base),
  form('MOVQ mm/m64, mm', 'NP 0F 7F /r', store, base),
  form('MOVNTQ m64, mm', 'NP 0F E7 /r', store, sse1),
  form('MASKMOVQ mm1, mm2', 'NP 0F F7 /r', maskedStore, { ...sse1, addressSized: true }),
  form('PMOVMSKB r32, mm', 'NP 0F D7 /r', byteMask, sse1),
  form(
    'MOVQ2DQ xmm, mm',
    'F3 0F D6 /r',
    toMmx((b, o) => o.writeVector(0, zeroExtended(b, o.readLow(1, Access.u64)))),
    sse2,
  ),
  form(
    'MOVDQ2Q mm, xmm',
    'F2 0F D6 /r',
    toMmx((b, o) => writeMmx64(b, o, 0, o.readLow(1, Access.u64))),
    sse2,
  ),

  form('CVTPI2PS xmm, mm/m64', 'NP 0F 2A /r', mmxToF32, sse1),
  form('CVTPI2PD xmm, mm/m64', '66 0F 2A /r', mmxToF64, sse2),
  form('CVTTPS2PI mm, xmm/m64', 'NP 0F 2C /r', f32ToMmx(true), sse1),
  form('CVTTPD2PI mm, xmm/m128', '66 0F 2C /r', f64ToMmx(true), sse2),
  form('CVTPS2PI mm, xmm/m64', 'NP 0F 2D /r', f32ToMmx(false), sse1),
  form('CVTPD2PI mm, xmm/m128', '66 0F 2D /r', f64ToMmx(false), sse2),
]
