/**
 * CMPXCHG8B and CMPXCHG16B (SDM volume 2): the memory operand is compared with xDX:xAX, and replaced by xCX:xBX or
 * loaded into xDX:xAX. Only ZF changes. Memory is written back either way.
 *
 * WebAssembly has no atomic access of 16 bytes: a CMPXCHG16B is not atomic with accesses of other vCPUs.
 */
import type { Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { type Body, type Form, form } from '../isa/form.ts'
import { Flag } from '../state-layout.ts'
import { Gpr, readGpr, writeGpr } from './registers.ts'

const cmpxchg8b: Body = (b, o) => {
  const pair = (high: number, low: number): Value =>
    b.i64.or(b.i64.shl(readGpr(b, high, 32), b.const64(32)), readGpr(b, low, 32))
  const expected = pair(Gpr.rdx, Gpr.rax)
  const replacement = pair(Gpr.rcx, Gpr.rbx)
  o.modify(
    0,
    (found) => b.select(b.i64.eq(found, expected), replacement, found),
    (found) => {
      const equal = b.i64.eq(found, expected)
      b.if(b.i32.eqz(equal), () => {
        writeGpr(b, Gpr.rax, found, 32)
        writeGpr(b, Gpr.rdx, b.i64.shrU(found, b.const64(32)), 32)
      })
      b.flagsSet(Flag.zf, b.i32.shl(equal, b.const32(6)))
    },
  )
}

const cmpxchg16b: Body = (b, o) => {
  const address = o.address()
  o.requireAligned(address, 16)
  const reference = b.guestRef(Access.v128, address)
  const found = b.refLoad(Access.v128, reference)
  const low = b.extractLane('i64x2', found, 0)
  const high = b.extractLane('i64x2', found, 1)
  const equal = b.i32.and(b.i64.eq(low, readGpr(b, Gpr.rax)), b.i64.eq(high, readGpr(b, Gpr.rdx)))
  const replacement = b.replaceLane('i64x2', b.i64x2.splat(readGpr(b, Gpr.rbx)), 1, readGpr(b, Gpr.rcx))
  b.refStore(Access.v128, reference, b.select(equal, replacement, found), address)
  b.if(b.i32.eqz(equal), () => {
    writeGpr(b, Gpr.rax, low)
    writeGpr(b, Gpr.rdx, high)
  })
  b.flagsSet(Flag.zf, b.i32.shl(equal, b.const32(6)))
}

export const compareExchangeForms: readonly Form[] = [
  form('CMPXCHG8B m64', '0F C7 /1', cmpxchg8b, { feature: 'cx8', lock: true, user: true }),
  form('CMPXCHG16B m128', 'REX.W + 0F C7 /1', cmpxchg16b, { feature: 'cx16', lock: true, user: true }),
]
