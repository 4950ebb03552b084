/**
 * SSE to SSE4.1 data movement: whole registers, scalars, halves, masks, non-temporal stores (SDM volume 2, MOVAPS to
 * MOVUPS, MASKMOVDQU). Moves never look at what they carry: NaNs pass unchanged. Non-temporal hints mean nothing here.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import { Segment, State } from '../state-layout.ts'
import { sse } from './fpu-guard.ts'

const sse1: FormOptions = { feature: 'sse', user: true }
const sse2: FormOptions = { feature: 'sse2', user: true }
const sse3: FormOptions = { feature: 'sse3', user: true }
const hot = (options: FormOptions): FormOptions => ({ ...options, hot: true })

const zeros = new Uint8Array(16)
/** A vector with `value` (i64) as its low half and zero above. */
export function zeroExtended(b: Builder, value: Value): Value {
  return b.replaceLane('i64x2', b.constV128(zeros), 0, value)
}

const moveAligned = sse((_b, o) => o.writeVector(0, o.readVector(1)))
const moveUnaligned = sse((_b, o) => o.writeVector(0, o.readVector(1, false), false))

/** MOVSS, MOVSD: from memory the rest of the register is cleared, between registers it stays. */
const moveScalar = (access: Access): Body =>
  sse((b, o) => {
    const value = o.readLow(1, access)
    if (o.isMemory(1)) o.writeVector(0, zeroExtended(b, value))
    else o.writeLow(0, access, value)
  })

const moveLow = sse((_b, o) => o.writeLow(0, Access.u64, o.readLow(1, Access.u64)))
const moveHigh = sse((b, o) => {
  if (o.isMemory(0)) o.writeLow(0, Access.u64, b.extractLane('i64x2', o.readVector(1), 1))
  else o.writeVector(0, b.replaceLane('i64x2', o.readVector(0), 1, o.readLow(1, Access.u64)))
})
const moveHighToLow = sse((b, o) => o.writeLow(0, Access.u64, b.extractLane('i64x2', o.readVector(1), 1)))

/** To a vector register, zero-extended to 128 bits. */
const moveIn = sse((b, o) => o.writeVector(0, zeroExtended(b, o.read(1))))
const moveInLow = sse((b, o) => o.writeVector(0, zeroExtended(b, o.readLow(1, Access.u64))))
const moveOut32 = sse((_b, o) => o.write(0, o.readLow(1, Access.u32)))
const moveOut64 = sse((_b, o) => o.write(0, o.readLow(1, Access.u64)))
const moveQuadword = sse((b, o) => {
  const value = o.readLow(1, Access.u64)
  if (o.isMemory(0)) o.writeLow(0, Access.u64, value)
  else o.writeVector(0, zeroExtended(b, value))
})

const signMask = (shape: 'i8x16' | 'i32x4' | 'i64x2'): Body =>
  sse((b, o) => o.write(0, b.i64.extendI32U(b[shape].bitmask(o.readVector(1)))))

const storeIntegerNonTemporal: Body = (_b, o) => o.write(0, o.read(1))

/** MASKMOVDQU: stores the bytes whose mask byte has its top bit set to seg:[RDI]. */
const maskedStore = sse((b, o) => {
  const value = o.readVector(0)
  const selected = b.i8x16.bitmask(o.readVector(1))
  const rdi = b.truncate(o.addressBits, b.stateLoad(Access.u64, State.gpr + 7 * 8))
  const address = b.i64.add(o.segmentBase(Segment.ds), rdi)
  // All faults before the first byte. That bytes which are not selected fault as well is allowed, and what AMD CPUs do.
  b.guestRef(Access.u64, address)
  b.guestRef(Access.u64, b.i64.add(address, b.const64(8)))
  for (let byte = 0; byte < 16; byte++)
    b.if(b.i32.and(selected, b.const32(1 << byte)), () => {
      const lane = b.i64.extendI32U(b.extractLane('i8x16', value, byte))
      b.guestStore(Access.u8, b.i64.add(address, b.const64(byte)), lane)
    })
})

const duplicate = (pattern: readonly number[]): Body =>
  sse((b, o) => {
    const value = o.readVector(1)
    o.writeVector(0, b.shuffle(value, value, pattern))
  })

export const sseMoveForms: readonly Form[] = [
  form('MOVAPS xmm1, xmm2/m128', 'NP 0F 28 /r', moveAligned, hot(sse1)),
  form('MOVAPS xmm2/m128, xmm1', 'NP 0F 29 /r', moveAligned, hot(sse1)),
  form('MOVAPD xmm1, xmm2/m128', '66 0F 28 /r', moveAligned, hot(sse2)),
  form('MOVAPD xmm2/m128, xmm1', '66 0F 29 /r', moveAligned, hot(sse2)),
  form('MOVDQA xmm1, xmm2/m128', '66 0F 6F /r', moveAligned, hot(sse2)),
  form('MOVDQA xmm2/m128, xmm1', '66 0F 7F /r', moveAligned, hot(sse2)),
  form('MOVUPS xmm1, xmm2/m128', 'NP 0F 10 /r', moveUnaligned, hot(sse1)),
  form('MOVUPS xmm2/m128, xmm1', 'NP 0F 11 /r', moveUnaligned, hot(sse1)),
  form('MOVUPD xmm1, xmm2/m128', '66 0F 10 /r', moveUnaligned, hot(sse2)),
  form('MOVUPD xmm2/m128, xmm1', '66 0F 11 /r', moveUnaligned, hot(sse2)),
  form('MOVDQU xmm1, xmm2/m128', 'F3 0F 6F /r', moveUnaligned, hot(sse2)),
  form('MOVDQU xmm2/m128, xmm1', 'F3 0F 7F /r', moveUnaligned, hot(sse2)),
  form('LDDQU xmm1, m128', 'F2 0F F0 /r', moveUnaligned, sse3),

  form('MOVSS xmm1, xmm2/m32', 'F3 0F 10 /r', moveScalar(Access.u32), hot(sse1)),
  form(
    'MOVSS xmm2/m32, xmm1',
    'F3 0F 11 /r',
    sse((_b, o) => o.writeLow(0, Access.u32, o.readLow(1, Access.u32))),
    hot(sse1),
  ),
  form('MOVSD xmm1, xmm2/m64', 'F2 0F 10 /r', moveScalar(Access.u64), hot(sse2)),
  form('MOVSD xmm2/m64, xmm1', 'F2 0F 11 /r', moveLow, hot(sse2)),
  form('MOVLPS xmm1, m64', 'NP 0F 12 /r', moveLow, sse1),
  form('MOVHLPS xmm1, xmm2', 'NP 0F 12 /r', moveHighToLow, sse1),
  form('MOVLPS m64, xmm1', 'NP 0F 13 /r', moveLow, sse1),
  form('MOVLPD xmm1, m64', '66 0F 12 /r', moveLow, sse2),
  form('MOVLPD m64, xmm1', '66 0F 13 /r', moveLow, sse2),
  form('MOVHPS xmm1, m64', 'NP 0F 16 /r', moveHigh, sse1),
  form('MOVLHPS xmm1, xmm2', 'NP 0F 16 /r', moveHigh, sse1),
  form('MOVHPS m64, xmm1', 'NP 0F 17 /r', moveHigh, sse1),
  form('MOVHPD xmm1, m64', '66 0F 16 /r', moveHigh, sse2),
  form('MOVHPD m64, xmm1', '66 0F 17 /r', moveHigh, sse2),

  form('MOVD xmm, r/m32', '66 0F 6E /r', moveIn, hot(sse2)),
  form('MOVQ xmm, r/m64', '66 REX.W 0F 6E /r', moveIn, hot(sse2)),
  form('MOVD r/m32, xmm', '66 0F 7E /r', moveOut32, hot(sse2)),
  form('MOVQ r/m64, xmm', '66 REX.W 0F 7E /r', moveOut64, hot(sse2)),
  form('MOVQ xmm1, xmm2/m64', 'F3 0F 7E /r', moveInLow, hot(sse2)),
  form('MOVQ xmm2/m64, xmm1', '66 0F D6 /r', moveQuadword, hot(sse2)),

  form('MOVMSKPS r32, xmm', 'NP 0F 50 /r', signMask('i32x4'), sse1),
  form('MOVMSKPD r32, xmm', '66 0F 50 /r', signMask('i64x2'), sse2),
  form('PMOVMSKB r32, xmm', '66 0F D7 /r', signMask('i8x16'), hot(sse2)),

  form('MOVNTPS m128, xmm1', 'NP 0F 2B /r', moveAligned, sse1),
  form('MOVNTPD m128, xmm1', '66 0F 2B /r', moveAligned, sse2),
  form('MOVNTDQ m128, xmm1', '66 0F E7 /r', moveAligned, sse2),
  form('MOVNTI m32, r32', 'NP 0F C3 /r', storeIntegerNonTemporal, sse2),
  form('MOVNTI m64, r64', 'NP REX.W 0F C3 /r', storeIntegerNonTemporal, sse2),
  form('MOVNTDQA xmm1, m128', '66 0F 38 2A /r', moveAligned, { feature: 'sse4.1', user: true }),
  form('MASKMOVDQU xmm1, xmm2', '66 0F F7 /r', maskedStore, { ...sse2, addressSized: true }),

  form(
    'MOVDDUP xmm1, xmm2/m64',
    'F2 0F 12 /r',
    sse((b, o) => o.writeVector(0, b.i64x2.splat(o.readLow(1, Access.u64)))),
    sse3,
  ),
  form(
    'MOVSLDUP xmm1, xmm2/m128',
    'F3 0F 12 /r',
    duplicate([0, 1, 2, 3, 0, 1, 2, 3, 8, 9, 10, 11, 8, 9, 10, 11]),
    sse3,
  ),
  form(
    'MOVSHDUP xmm1, xmm2/m128',
    'F3 0F 16 /r',
    duplicate([4, 5, 6, 7, 4, 5, 6, 7, 12, 13, 14, 15, 12, 13, 14, 15]),
    sse3,
  ),
]
