/**
 * IN, OUT, INS and OUTS. Permission comes first (IOPL, I/O bitmap), then the memory operand of the string forms, last
 * the port, which the driver answers by an exit. With a repeat prefix one iteration is one execution: the instruction
 * resynchronises on itself until RCX is zero, so that interrupts come between and every exit belongs to one iteration.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access } from '../ir/op.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import type { Operands } from '../isa/operands.ts'
import { Segment, State } from '../state-layout.ts'
import { bit } from '../system/bit-field.ts'
import { portRead, portWrite } from '../system/exit.ts'
import { requirePort } from '../system/port-permission.ts'
import { segmentedConstant } from '../system/segmentation.ts'
import { Gpr, readGpr, writeGpr } from './registers.ts'
import { accessOf, accumulator, type Bits } from './sizes.ts'

type PortBits = 8 | 16 | 32
const portSizes: readonly PortBits[] = [8, 16, 32]

const toPort = (b: Builder, value: Value): Value => b.i32.and(b.i32.wrapI64(value), b.const32(0xffff))

const input =
  (bits: PortBits): Body =>
  (b, o) => {
    const port = toPort(b, o.read(1))
    const size = b.const32(bits / 8)
    b.call(requirePort, port, size)
    o.write(0, b.call(portRead, port, size))
  }
const output =
  (bits: PortBits): Body =>
  (b, o) => {
    const port = toPort(b, o.read(0))
    const size = b.const32(bits / 8)
    b.call(requirePort, port, size)
    b.call(portWrite, port, size, o.read(1))
  }

/** Runs `iteration` once, or, with a repeat prefix, while the count register is not zero. */
function repeated(b: Builder, o: Operands, iteration: () => void): void {
  if (o.repeat === 'none') {
    iteration()
    return
  }
  const count = readGpr(b, Gpr.rcx, o.addressBits)
  b.if(b.i64.ne(count, b.const64(0)), () => {
    iteration()
    const left = b.i64.sub(count, b.const64(1))
    writeGpr(b, Gpr.rcx, left, o.addressBits)
    b.if(b.i64.ne(left, b.const64(0)), () => b.resync(b.thisRip()))
  })
}
/** Moves an index register by the operand size, down with DF. */
function step(b: Builder, register: number, bits: PortBits, addressBits: Bits): void {
  const down = bit(b, b.stateLoad(Access.u64, State.rflags), 10)
  const delta = b.select(down, b.const64(-bits / 8), b.const64(bits / 8))
  writeGpr(b, register, b.i64.add(readGpr(b, register, addressBits), delta), addressBits)
}

const ins =
  (bits: PortBits): Body =>
  (b, o) =>
    repeated(b, o, () => {
      const port = toPort(b, readGpr(b, Gpr.rdx, 16))
      const size = b.const32(bits / 8)
      b.call(requirePort, port, size)
      const access = accessOf(bits)
      // ES, which no prefix overrides.
      const offset = readGpr(b, Gpr.rdi, o.addressBits)
      const address = b.mode === 'legacy' ? b.i64.add(segmentedConstant(b, Segment.es), offset) : offset
      const place = b.guestRef(access, address)
      b.refStore(access, place, b.call(portRead, port, size), address)
      step(b, Gpr.rdi, bits, o.addressBits)
    })
const outs =
  (bits: PortBits): Body =>
  (b, o) =>
    repeated(b, o, () => {
      const port = toPort(b, readGpr(b, Gpr.rdx, 16))
      const size = b.const32(bits / 8)
      b.call(requirePort, port, size)
      const offset = readGpr(b, Gpr.rsi, o.addressBits)
      const value = b.guestLoad(accessOf(bits), b.i64.add(o.segmentBase(Segment.ds), offset))
      b.call(portWrite, port, size, value)
      step(b, Gpr.rsi, bits, o.addressBits)
    })

const string: FormOptions = { string: true, ends: true }
const letter: Record<PortBits, string> = { 8: 'B', 16: 'W', 32: 'D' }
const size = (bits: PortBits): string => (bits === 8 ? '' : `o${bits} `)

export const systemPortForms: readonly Form[] = portSizes.flatMap((bits) => {
  const a = accumulator(bits)
  const wide = bits === 8 ? 0 : 1
  const opcode = (base: number): string => (base + wide).toString(16).toUpperCase()
  return [
    form(`IN ${a}, imm8`, `${opcode(0xe4)} ib`, input(bits)),
    form(`OUT imm8, ${a}`, `${opcode(0xe6)} ib`, output(bits)),
    form(`IN ${a}, DX`, opcode(0xec), input(bits)),
    form(`OUT DX, ${a}`, opcode(0xee), output(bits)),
    form(`INS${letter[bits]}`, `${size(bits)}${opcode(0x6c)}`, ins(bits), string),
    form(`OUTS${letter[bits]}`, `${size(bits)}${opcode(0x6e)}`, outs(bits), string),
  ]
})
