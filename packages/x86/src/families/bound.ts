/** BOUND (SDM volume 2): #BR unless a signed index lies between two bounds in memory. Not in 64-bit mode. */
import { type Body, type Form, form } from '../isa/form.ts'
import { Vector } from '../state-layout.ts'
import { accessOf } from './sizes.ts'

const bound =
  (bits: 16 | 32): Body =>
  (b, o) => {
    const address = o.address()
    const index = o.readSigned(0)
    const low = b.signExtend(bits, b.guestLoad(accessOf(bits), address))
    const high = b.signExtend(bits, b.guestLoad(accessOf(bits), b.i64.add(address, b.const64(bits / 8))))
    b.if(b.i32.or(b.i64.ltS(index, low), b.i64.gtS(index, high)), () => b.raise(Vector.br))
  }

export const boundForms: readonly Form[] = [
  form('BOUND r16, m16&16', '62 /r', bound(16), { user: true, mode: 'no64' }),
  form('BOUND r32, m32&32', '62 /r', bound(32), { user: true, mode: 'no64' }),
]
