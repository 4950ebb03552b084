/**
 * MOVS, STOS, LODS, SCAS, CMPS (SDM volume 2), alone and with REP, REPE, REPNE.
 *
 * Repetition. Every iteration counts as one retired instruction, and RCX, RSI and RDI are exact after each. A body
 * executes some iterations (n >= 1) and, when more are to come, ends with `resync` to the instruction itself, so that
 * events and the budget are looked at. The contract with the engine:
 *
 * - When a body runs, State.budget is what may still retire, this instruction not yet charged (so it is >= 1).
 * - The engine charges 1 when the body ends, through `resync` too. The body itself charges the other n - 1, and never
 *   executes more iterations than the budget has.
 * - RCX = 0 at the start: nothing is done, and 1 is charged.
 *
 * What an iteration does that faults or exits is never committed; the iterations before it stay. An iteration that
 * needs more than plain RAM (device, code page, fault, crossing of pages) is therefore executed alone, through the
 * ordinary accesses: it is the first of its execution, so that its replayed accesses are in order. All others work on
 * spans of RAM, up to the end of the page. With TF set each execution is one iteration.
 *
 * Addresses: 64 bits, or 32 with a 67 prefix (outside 64-bit mode 32 or 16), which clears the upper halves of the registers that are counted (not
 * where ECX is 0). DS or an override for RSI, ES for RDI.
 */
import type { Builder, Value } from '../ir/builder.ts'
import { Access, Type } from '../ir/op.ts'
import { type Procedure, procedure } from '../ir/procedure.ts'
import { type Body, type Form, type FormOptions, form } from '../isa/form.ts'
import type { Operands } from '../isa/operands.ts'
import { Flag, Segment, State } from '../state-layout.ts'
import { spanForRead, spanForWrite } from '../system/engine.ts'
import { segmentedConstant } from '../system/segmentation.ts'
import { Gpr, readGpr, writeGpr } from './registers.ts'
import { accessOf, type Bits, everySize, hex, operandSize } from './sizes.ts'

const { i32, i64 } = Type
const PAGE = 4096

/** 64-bit mode has no base for ES, and no prefix overrides it. */
const destinationBase = (b: Builder): Value =>
  b.mode === 'legacy' ? segmentedConstant(b, Segment.es) : b.const64(0)
const backwards = (b: Builder): Value =>
  b.i32.wrapI64(b.i64.and(b.stateLoad(Access.u64, State.rflags), b.const64(Flag.df)))

/** Writes a register by the address size: 32 bits clear the upper half, 16 bits keep what is above. */
function writeMasked(b: Builder, register: number, value: Value, mask: Value): void {
  const narrow = b.i64.eq(mask, b.const64(0xffff))
  const kept = b.select(narrow, b.i64.and(readGpr(b, register), b.const64(~0xffff)), b.const64(0))
  writeGpr(b, register, b.i64.or(kept, b.i64.and(value, mask)))
}
/** Moves an index register by `bytes`. */
function advance(b: Builder, register: number, bytes: Value, mask: Value): void {
  writeMasked(b, register, b.i64.add(readGpr(b, register), bytes), mask)
}

/** What the five instructions differ in. Accesses and values are of `bits` bits. */
interface StringOperation {
  readonly source: boolean
  readonly destination: 'none' | 'read' | 'write'
  /** Repeats while operands are equal (REPE) or differ (REPNE). */
  readonly compares: boolean
}

/** Values of an element: where the instruction's two operands come from, and where its result goes. */
interface Element {
  readonly load: (from: 'source' | 'destination') => Value
  readonly store: (value: Value) => void
}

/** Executes one element and gives the operands that are compared (the second is missing elsewhere). */
function execute(
  b: Builder,
  bits: number,
  operation: StringOperation,
  element: Element,
): { x: Value; y?: Value } {
  const x = operation.source ? element.load('source') : readGpr(b, Gpr.rax, bits)
  if (operation.destination === 'read') return { x, y: element.load('destination') }
  if (operation.destination === 'write') element.store(x)
  return { x }
}

/** What follows an element: flags of a comparison, or the accumulator of LODS. */
function conclude(b: Builder, bits: number, operation: StringOperation, x: Value, y?: Value): void {
  if (y !== undefined) b.flagsSub(bits, x, y, b.truncate(bits, b.i64.sub(x, y)))
  else if (operation.destination === 'none') writeGpr(b, Gpr.rax, x, bits)
}

const guestElement = (b: Builder, bits: number, source: Value, destination: Value): Element => ({
  load: (from) => b.guestLoad(accessOf(bits), from === 'source' ? source : destination),
  store: (value) => b.guestStore(accessOf(bits), destination, value),
})

function once(b: Builder, o: Operands, bits: number, operation: StringOperation): void {
  const mask = b.const64((1n << BigInt(o.addressBits)) - 1n)
  const source = b.i64.add(o.segmentBase(Segment.ds), b.i64.and(readGpr(b, Gpr.rsi), mask))
  const destination = b.i64.add(destinationBase(b), b.i64.and(readGpr(b, Gpr.rdi), mask))
  const { x, y } = execute(b, bits, operation, guestElement(b, bits, source, destination))
  const step = b.select(backwards(b), b.const64(-bits / 8), b.const64(bits / 8))
  if (operation.source) advance(b, Gpr.rsi, step, mask)
  if (operation.destination !== 'none') advance(b, Gpr.rdi, step, mask)
  conclude(b, bits, operation, x, y)
}

/**
 * One execution of a repeated instruction: at least one iteration unless the count is 0. (mask of the address size,
 * base of the source, base of the destination, i32: 1 to go on while operands are equal, 0 while they differ) ->
 * i32: 1 when more iterations are to come
 */
function repetition(name: string, bits: Bits, operation: StringOperation): Procedure {
  const sizeBytes = bits / 8
  const log2 = Math.log2(sizeBytes)
  const access = accessOf(bits)
  const options = { parameters: [i64, i64, i64, i32], result: i32, mayFault: true }
  return procedure(name, options, (b, mask, sourceBase, destinationBase, whileEqual) => {
    const minimum = (x: Value, y: Value): Value => b.select(b.i64.ltU(x, y), x, y)
    const one = b.const64(1)
    const count = b.i64.and(readGpr(b, Gpr.rcx), mask!)
    b.if(b.i64.eqz(count), () => b.return(b.const32(0)))
    const flags = b.i32.wrapI64(b.stateLoad(Access.u64, State.rflags))
    const down = b.i32.and(flags, b.const32(Flag.df))
    const step = b.select(down, b.const64(-sizeBytes), b.const64(sizeBytes))
    const source = b.i64.add(sourceBase!, b.i64.and(readGpr(b, Gpr.rsi), mask!))
    const destination = b.i64.add(destinationBase!, b.i64.and(readGpr(b, Gpr.rdi), mask!))

    // How many iterations: the count, the budget, the pages.
    const single = b.i32.or(b.i32.and(flags, b.const32(Flag.tf)), b.stateLoad(Access.i32, State.debugStep))
    const budget = b.stateLoad(Access.u64, State.budget)
    const charged = b.select(b.i32.or(b.i32.ne(single, b.const32(0)), b.i64.leS(budget, one)), one, budget)
    /** Elements that lie in the page of an address, in the direction of the instruction. */
    const room = (address: Value): Value => {
      const offset = b.i64.and(address, b.const64(PAGE - 1))
      const above = b.i64.shrU(b.i64.sub(b.const64(PAGE), offset), b.const64(log2))
      const below = b.i64.add(b.i64.shrU(offset, b.const64(log2)), one)
      const crosses = b.i64.gtU(offset, b.const64(PAGE - sizeBytes))
      return b.select(down, b.select(crosses, b.const64(0), below), above)
    }
    let possible = minimum(count, charged)
    if (operation.source) possible = minimum(possible, room(source))
    if (operation.destination !== 'none') possible = minimum(possible, room(destination))
    // With bases that are multiples of a page, addresses wrap between pages only; segmented ones have their bases looked
    // at by the spans.
    const bases = b.i64.and(b.i64.or(sourceBase!, destinationBase!), b.const64(PAGE - 1))
    const n = b.local(i32, b.select(b.i64.eqz(bases), b.i32.wrapI64(possible), b.const32(0)))

    const from = b.local(i32)
    const to = b.local(i32)
    const done = b.local(i32)
    const x = b.local(i64)
    const y = b.local(i64)
    // A span that is missing leaves n at 0.
    const span = (pointer: typeof from, supply: Procedure, address: Value): void =>
      b.if(b.get(n), () => {
        const found = b.call(supply, address)
        b.set(pointer, found)
        b.set(n, b.select(found, b.get(n), b.const32(0)))
      })
    if (operation.source) span(from, spanForRead, source)
    if (operation.destination !== 'none')
      span(to, operation.destination === 'write' ? spanForWrite : spanForRead, destination)

    const spanElement: Element = {
      load: (which) => b.hostLoad(access, b.get(which === 'source' ? from : to)),
      store: (value) => b.hostStore(access, b.get(to), value),
    }
    const narrowStep = b.i32.wrapI64(step)
    /** Elements one by one; those that compare stop where they should. */
    const oneByOne = (): void =>
      b.loop((again) => {
        const values = execute(b, bits, operation, spanElement)
        b.set(x, values.x)
        b.set(done, b.i32.add(b.get(done), b.const32(1)))
        b.set(from, b.i32.add(b.get(from), narrowStep))
        b.set(to, b.i32.add(b.get(to), narrowStep))
        const more = b.i32.ltU(b.get(done), b.get(n))
        if (values.y === undefined) b.brIf(more, again)
        else {
          b.set(y, values.y)
          b.brIf(b.i32.and(more, b.i32.eq(b.i64.eq(values.x, values.y), whileEqual!)), again)
        }
      })
    /** All n elements at once, when `allowed`. */
    const atOnce = (allowed: Value, work: (lengthBytes: Value) => void): void =>
      b.if(
        allowed,
        () => {
          work(b.i32.shl(b.get(n), b.const32(log2)))
          b.set(done, b.get(n))
        },
        oneByOne,
      )
    /** Lowest address of n elements that start at a pointer. */
    const lowest = (pointer: typeof from, lengthBytes: Value): Value =>
      b.i32.sub(b.get(pointer), b.select(down, b.i32.sub(lengthBytes, b.const32(sizeBytes)), b.const32(0)))

    b.set(done, b.const32(0))
    b.if(
      b.get(n),
      () => {
        if (operation.source && operation.destination === 'write') {
          // A copy that runs into what it has written repeats it: a block copy would not.
          const ahead = b.i32.sub(b.get(to), b.get(from))
          const distance = b.select(down, b.i32.sub(b.const32(0), ahead), ahead)
          const apart = b.i32.geU(distance, b.i32.shl(b.get(n), b.const32(log2)))
          atOnce(apart, (length) => b.hostCopy(lowest(to, length), lowest(from, length), length))
        } else if (operation.destination === 'write') {
          const value = readGpr(b, Gpr.rax, bits)
          const byte = readGpr(b, Gpr.rax, 8)
          const pattern = b.truncate(bits, b.i64.mul(byte, b.const64(0x0101_0101_0101_0101n)))
          atOnce(b.i64.eq(value, pattern), (length) =>
            b.hostFill(lowest(to, length), b.i32.wrapI64(byte), length),
          )
        } else oneByOne()
      },
      () => {
        const values = execute(b, bits, operation, guestElement(b, bits, source, destination))
        b.set(x, values.x)
        if (values.y !== undefined) b.set(y, values.y)
        b.set(done, b.const32(1))
      },
    )

    // Nothing can fault any more.
    const iterations = b.i64.extendI32U(b.get(done))
    const rest = b.i64.sub(count, iterations)
    const bytes = b.i64.mul(iterations, step)
    writeMasked(b, Gpr.rcx, rest, mask!)
    if (operation.source) advance(b, Gpr.rsi, bytes, mask!)
    if (operation.destination !== 'none') advance(b, Gpr.rdi, bytes, mask!)
    b.stateStore(Access.u64, State.budget, b.i64.sub(budget, b.i64.sub(iterations, one)))
    conclude(b, bits, operation, b.get(x), operation.compares ? b.get(y) : undefined)
    const more = b.i64.ne(rest, b.const64(0))
    b.return(operation.compares ? b.i32.and(more, b.i32.eq(b.i64.eq(b.get(x), b.get(y)), whileEqual!)) : more)
  })
}

function stringForms(name: string, opcode: number, operation: StringOperation): Form[] {
  return everySize.map((bits, index) => {
    const mnemonic = name + 'BWDQ'[index]!
    const repeated = repetition(`rep${mnemonic}`, bits, operation)
    const body: Body = (b, o) => {
      if (o.repeat === 'none') {
        once(b, o, bits, operation)
        return
      }
      const mask = b.const64((1n << BigInt(o.addressBits)) - 1n)
      const whileEqual = b.const32(o.repeat === 'rep' ? 1 : 0)
      const more = b.call(repeated, mask, o.segmentBase(Segment.ds), destinationBase(b), whileEqual)
      b.if(more, () => b.resync(b.thisRip()))
    }
    const options: FormOptions = { string: true, ends: true, user: true }
    return form(mnemonic, `${operandSize(bits)}${hex(opcode + (bits === 8 ? 0 : 1))}`, body, options)
  })
}

export const stringInstructionForms: readonly Form[] = [
  ...stringForms('MOVS', 0xa4, { source: true, destination: 'write', compares: false }),
  ...stringForms('CMPS', 0xa6, { source: true, destination: 'read', compares: true }),
  ...stringForms('STOS', 0xaa, { source: false, destination: 'write', compares: false }),
  ...stringForms('LODS', 0xac, { source: true, destination: 'none', compares: false }),
  ...stringForms('SCAS', 0xae, { source: false, destination: 'read', compares: true }),
]
