/**
 * Compiles a region to one WebAssembly function: structured control flow, general registers and the words of the flags
 * in locals, TLB lookups inlined.
 *
 * (state) -> RegionOutcome. State.rip and State.budget are exact when it returns; registers and flags are in the state.
 *
 * Counting: the function is entered with a budget of at least the region's instructions, and looks at it (and at the
 * request word) again on every backward edge; in between a block is charged before its last instruction. An instruction
 * that faults leaves with the number of instructions by which the charge has to be mended.
 *
 * Instructions that call procedures are executed on the state itself: registers go there before and come back after.
 */
import {
  Access,
  Builder,
  bindDecoded,
  Code,
  Decoded,
  type Decoder,
  Op,
  Operands,
  type ProcedureTable,
  State,
  Type,
} from '@trapframe/x86'
import { lower } from '../compiler/lowering.ts'
import {
  type EngineFunction,
  LocalPool,
  type LoweringTarget,
  type StateCache,
  wasmTypes,
} from '../compiler/lowering-target.ts'
import { EngineState, REGION_RECORD_OFFSET } from '../engine/layout.ts'
import type { FunctionIndices } from '../interpreter/function-target.ts'
import { ByteWriter } from '../wasm/byte-writer.ts'
import type { FunctionBody } from '../wasm/module-writer.ts'
import { Wasm, WasmType } from '../wasm/opcode.ts'
import { analyse, type ControlFlow } from './control-flow.ts'
import { LazyFlags } from './lazy-flags.ts'
import type { ProcedureEffects } from './procedure-effects.ts'
import type { Region, RegionBlock, RegionInstruction } from './region.ts'
import { RegionOutcome } from './region-outcome.ts'

/** Locals: the state, then these. */
const STATE = 0
const GPR = 1
const FLAGS = 17
const BUDGET = 20
const PAGE = 21
const TLB = 22
/** RIP minus page at which the function leaves. */
const EXIT_OFFSET = 23
/** Instructions to be given back (positive: charged too many). */
const MEND = 24
/** Not zero: code was dropped while this instruction stored. */
const DROPPED = 25
const TARGET = 26
const FLAGS_KIND = 27
const FLAGS_X = 28
const FIRST_POOL_LOCAL = 31
const FIXED_LOCALS: readonly Type[] = [
  ...Array.from({ length: 21 }, () => Type.i64),
  Type.i32,
  Type.i64,
  Type.i64,
  Type.i32,
  Type.i64,
  Type.i32,
  Type.i64,
  Type.i64,
  Type.i64,
]

/** Blocks around all code: where a fault, and an exit at EXIT_OFFSET, go. Depths from the outermost one inwards. */
const Edge = { fault: 1, exit: 0 } as const

export interface RegionTools {
  readonly decoder: Decoder
  readonly bytes: Uint8Array
  readonly procedures: ProcedureTable
  readonly indices: FunctionIndices
  /** Builders that are used for one region after the other: making one costs more than translating an instruction. */
  readonly builders: Builder[]
  readonly effects: ProcedureEffects
}

/** Locals declaration and code of the function. */
export function compileRegion(region: Region, tools: RegionTools): FunctionBody {
  return new RegionCompiler(region, tools).compile()
}

class RegionCompiler implements LoweringTarget {
  readonly w: ByteWriter = new ByteWriter(8192)
  readonly pool: LocalPool = new LocalPool(FIRST_POOL_LOCAL)
  readonly stateLocal = STATE
  readonly inlineMemory = true
  readonly #region: Region
  readonly #tools: RegionTools
  readonly #flow: ControlFlow
  readonly #decoded = new Decoded()
  /** A builder for each nesting of branches. */
  readonly #builders: Builder[]
  /** Offsets of branches that are hardly ever taken. */
  readonly #hints: number[] = []
  #nesting = 0
  #cached = true
  /** Regions of WebAssembly blocks open outside of the code that is being lowered. */
  #depth = 0
  /** Depth at which a block's label was opened: loops by their header, merge points by themselves. */
  readonly #loopDepth: number[] = []
  readonly #mergeDepth: number[] = []
  #block: RegionBlock
  #blockNumber = 0
  #instruction: RegionInstruction | undefined
  /** Instructions of the block that are executed but not charged when the running one begins; negative: charged already. */
  #uncharged = 0
  #usedRegisters = 0
  #writtenRegisters = 0
  #stores = false
  readonly #stateCache: StateCache
  readonly #flags: LazyFlags

  constructor(region: Region, tools: RegionTools) {
    this.#region = region
    this.#tools = tools
    this.#flow = analyse(region.blocks)
    this.#block = region.blocks[0]!
    this.#stateCache = this.#makeCache()
    const locals = {
      state: STATE,
      words: FLAGS,
      kind: FLAGS_KIND,
      x: FLAGS_X,
      y: FLAGS_X + 1,
      result: FLAGS_X + 2,
    }
    this.#flags = new LazyFlags(this.w, locals, () => tools.indices.engineFunction('materializeFlags'))
    this.#builders = tools.builders
  }

  // The target of the lowering.

  get cache(): StateCache | undefined {
    return this.#cached ? this.#stateCache : undefined
  }

  parameter(): void {
    throw new Error('operands of a region are known')
  }
  procedure(number: number): number {
    return this.#tools.indices.procedure(number)
  }
  procedureMayFault(number: number): boolean {
    return this.#tools.indices.procedureMayFault(number)
  }
  engineFunction(name: EngineFunction): number {
    return this.#tools.indices.engineFunction(name)
  }
  fault(depth: number): void {
    this.#setExit(this.#instruction!.start, -this.#uncharged)
    this.#brOut(Edge.fault, depth)
  }
  unlikely(): void {
    this.#hints.push(this.w.length)
  }
  faultIf(depth: number): void {
    this.unlikely()
    this.w.u8(Wasm.if).u8(WasmType.empty)
    this.fault(depth + 1)
    this.w.u8(Wasm.end)
  }
  branch(depth: number): void {
    if (!this.#cached) this.#fetchState()
    this.#go(this.#block.taken, this.#instruction!.target, depth)
  }
  jump(depth: number): void {
    const { w } = this
    w.u8(Wasm.localSet).u32(TARGET)
    if (!this.#cached) this.#fetchState()
    this.#setExit(0, 0)
    // RIP as an offset from the page, which the exit adds again.
    w.u8(Wasm.localGet)
      .u32(TARGET)
      .u8(Wasm.localGet)
      .u32(PAGE)
      .u8(Wasm.i64Sub)
      .u8(Wasm.localSet)
      .u32(EXIT_OFFSET)
    this.#brOut(Edge.exit, depth)
  }
  resync(): void {
    const { w } = this
    w.u8(Wasm.localSet).u32(TARGET)
    if (this.#cached) {
      this.#spill()
    } else {
      // On the state, and not yet charged to itself.
      this.#fetchBudget()
      this.#charge(1)
    }
    this.#storeBudget()
    w.u8(Wasm.localGet).u32(STATE).u8(Wasm.localGet).u32(TARGET).u8(Wasm.i64Store).u32(3).u32(State.rip)
    w.u8(Wasm.i32Const).s32(RegionOutcome.resync).u8(Wasm.return)
  }
  return(): void {
    throw new Error('the body of an instruction does not return')
  }
  nextRip(): void {
    this.#pageOffset(this.#instruction!.start + this.#instruction!.length)
  }
  thisRip(): void {
    this.#pageOffset(this.#instruction!.start)
  }

  compile(): FunctionBody {
    const { w } = this
    // Twice: the first time tells which registers are used. Translation is cheap beside what V8 does with the result.
    this.#emitBody()
    const used = this.#usedRegisters | this.#writtenRegisters
    w.length = 0
    this.#hints.length = 0
    this.#prologue(used)
    this.#emitBody()
    this.#epilogue()
    const types = [...FIXED_LOCALS, ...this.pool.types]
    const out = new ByteWriter(w.length + 2 * types.length + 16)
    out.u32(types.length)
    for (const type of types) out.u32(1).u8(wasmTypes[type]!)
    const header = out.length
    return {
      bytes: out.bytes(w.view()).view().slice(),
      unlikely: this.#hints.map((offset) => offset + header),
    }
  }

  #prologue(used: number): void {
    const { w } = this
    for (let register = 0; register < 16; register++)
      if ((used >> register) & 1) this.#fetch(GPR + register, State.gpr + 8 * register)
    this.#flags.fetch()
    this.#fetchBudget()
    this.#fetch(PAGE, State.ripPage)
    this.#fetchTlb()
    w.u8(Wasm.block).u8(WasmType.empty)
    w.u8(Wasm.block).u8(WasmType.empty)
  }

  #epilogue(): void {
    const { w } = this
    const leave = (outcome: number): void => {
      this.#flags.known = undefined
      this.#spill()
      w.u8(Wasm.localGet)
        .u32(BUDGET)
        .u8(Wasm.localGet)
        .u32(MEND)
        .u8(Wasm.i64Add)
        .u8(Wasm.localSet)
        .u32(BUDGET)
      this.#storeBudget()
      w.u8(Wasm.localGet)
        .u32(STATE)
        .u8(Wasm.localGet)
        .u32(PAGE)
        .u8(Wasm.localGet)
        .u32(EXIT_OFFSET)
        .u8(Wasm.i64Add)
        .u8(Wasm.i64Store)
        .u32(3)
        .u32(State.rip)
      w.u8(Wasm.i32Const).s32(outcome)
    }
    // Code never falls off the end of the inner block.
    w.u8(Wasm.unreachable).u8(Wasm.end)
    leave(RegionOutcome.fault)
    w.u8(Wasm.return).u8(Wasm.end)
    leave(RegionOutcome.continue)
    w.u8(Wasm.end)
  }

  #emitBody(): void {
    this.#depth = 2
    this.#tree(0)
  }

  // Structured control flow.

  /** Emits a block and everything that it dominates. */
  #tree(number: number): void {
    const { w } = this
    const merges = this.#flow.merges[number]!
    const loop = this.#flow.isLoop[number] === 1
    if (loop) {
      this.#flags.known = undefined
      w.u8(Wasm.loop).u8(WasmType.empty)
      this.#depth++
      this.#loopDepth[number] = this.#depth
    }
    for (const merge of merges) {
      w.u8(Wasm.block).u8(WasmType.empty)
      this.#depth++
      this.#mergeDepth[merge] = this.#depth
    }
    this.#emitBlock(number)
    for (const merge of [...merges].reverse()) {
      w.u8(Wasm.end)
      this.#depth--
      this.#flags.known = undefined
      this.#tree(merge)
    }
    if (loop) {
      w.u8(Wasm.end)
      this.#depth--
    }
    if (loop || merges.length > 0) w.u8(Wasm.unreachable)
  }

  #emitBlock(number: number): void {
    const outer = {
      block: this.#block,
      number: this.#blockNumber,
      instruction: this.#instruction,
      uncharged: this.#uncharged,
      stores: this.#stores,
    }
    this.#stores = false
    const block = this.#region.blocks[number]!
    this.#block = block
    this.#blockNumber = number
    this.#uncharged = 0
    block.instructions.forEach((instruction, index) => {
      this.#instruction = instruction
      const last = index === block.instructions.length - 1
      if (last) {
        // From here on everything is charged; the last instruction, if it faults, gives itself back.
        this.#charge(this.#uncharged + 1)
        this.#uncharged = -1
      }
      this.#emitInstruction(instruction, last)
      if (!last) this.#uncharged++
    })
    this.#instruction = block.instructions.at(-1)
    this.#go(block.next, block.end, 0)
    this.#block = outer.block
    this.#blockNumber = outer.number
    this.#instruction = outer.instruction
    this.#uncharged = outer.uncharged
    this.#stores = outer.stores
  }

  #emitInstruction(instruction: RegionInstruction, last: boolean): void {
    const { w } = this
    const { decoder, bytes, procedures } = this.#tools
    const form = decoder.forms[instruction.form]!
    const b = this.#builders[this.#nesting] ?? new Builder(procedures, new Code())
    this.#builders[this.#nesting] = b
    const { code } = b
    code.clear()
    decoder.decode(bytes, this.#region.page + instruction.start, 4096 - instruction.start, 64, this.#decoded)
    form.body(b, new Operands(b, form, bindDecoded(b, form, this.#decoded, 64)))
    const calls = this.#tools.effects.touchesRegisters(code, false)
    this.#stores = false
    this.#nesting++
    if (calls) {
      if (!last && this.#uncharged > 0) {
        this.#charge(this.#uncharged)
        this.#uncharged = 0
      }
      this.#spill()
      this.#showBudget(last)
      this.#cached = false
      lower(code, this)
      this.#cached = true
      this.#fetchState()
    } else {
      this.#flags.lazy = !this.#changesFlagsConditionally(code)
      if (!this.#flags.lazy) this.#flags.toWords()
      if (this.#mayStore(code)) w.u8(Wasm.i32Const).s32(0).u8(Wasm.localSet).u32(DROPPED)
      lower(code, this)
      this.#flags.lazy = true
    }
    this.#nesting--
    if (this.#stores && !last) {
      // The store hit decoded code, perhaps this very region: leave behind this instruction.
      w.u8(Wasm.localGet).u32(DROPPED)
      this.unlikely()
      w.u8(Wasm.if).u8(WasmType.empty)
      this.#setExit(instruction.start + instruction.length, -(this.#uncharged + 1))
      this.#brOut(Edge.exit, 1)
      w.u8(Wasm.end)
    }
  }

  /** Goes to a block, or leaves for an offset in or out of the page. @param depth - regions open in the running code */
  #go(to: number, offset: number, depth: number): void {
    const { w } = this
    if (this.#stores && to >= 0) {
      // The block's last instruction hit decoded code.
      w.u8(Wasm.localGet).u32(DROPPED)
      this.unlikely()
      w.u8(Wasm.if).u8(WasmType.empty)
      this.#setExit(offset, 0)
      this.#brOut(Edge.exit, depth + 1)
      w.u8(Wasm.end)
    }
    const { place, isMerge, isLoop, dominates } = this.#flow
    if (to < 0 || place[to] === -1) {
      this.#setExit(offset, 0)
      this.#brOut(Edge.exit, depth)
      return
    }
    if (place[to]! <= place[this.#blockNumber]!) {
      // Backwards: into the header of a loop around this block, unless the flow is irreducible.
      if (!isLoop[to] || !dominates(to, this.#blockNumber)) {
        this.#setExit(offset, 0)
        this.#brOut(Edge.exit, depth)
        return
      }
      this.#attention()
      w.u8(Wasm.i32Eqz)
        .u8(Wasm.brIf)
        .u32(this.#depth + depth - this.#loopDepth[to]!)
      this.#setExit(offset, 0)
      this.#brOut(Edge.exit, depth)
      return
    }
    if (isMerge[to]) {
      w.u8(Wasm.br).u32(this.#depth + depth - this.#mergeDepth[to]!)
      return
    }
    const { known } = this.#flags
    this.#depth += depth
    this.#tree(to)
    this.#depth -= depth
    this.#flags.known = known
  }

  /** Whether to leave for the interpreter: a request, or too little budget for another round. i32 */
  #attention(): void {
    const { w } = this
    w.u8(Wasm.localGet).u32(BUDGET).u8(Wasm.i64Const).s64(this.#region.instructionCount, 0).u8(Wasm.i64LtS)
    w.u8(Wasm.localGet).u32(STATE).u8(Wasm.i32Load).u32(2).u32(State.request).u8(Wasm.i32Or)
  }

  #setExit(offset: number, mend: number): void {
    this.w
      .u8(Wasm.i64Const)
      .s64(offset, offset >> 31)
      .u8(Wasm.localSet)
      .u32(EXIT_OFFSET)
    this.w
      .u8(Wasm.i64Const)
      .s64(mend, mend >> 31)
      .u8(Wasm.localSet)
      .u32(MEND)
  }

  #brOut(edge: number, depth: number): void {
    this.w.u8(Wasm.br).u32(this.#depth + depth - 1 - edge)
  }

  #charge(count: number): void {
    if (count > 0)
      this.w
        .u8(Wasm.localGet)
        .u32(BUDGET)
        .u8(Wasm.i64Const)
        .s64(count, 0)
        .u8(Wasm.i64Sub)
        .u8(Wasm.localSet)
        .u32(BUDGET)
  }

  #pageOffset(offset: number): void {
    this.w.u8(Wasm.localGet).u32(PAGE).u8(Wasm.i64Const).s64(offset, 0).u8(Wasm.i64Add)
  }

  // State in locals.

  #fetch(local: number, offset: number): void {
    this.w.u8(Wasm.localGet).u32(STATE).u8(Wasm.i64Load).u32(3).u32(offset).u8(Wasm.localSet).u32(local)
  }
  #put(local: number, offset: number): void {
    this.w.u8(Wasm.localGet).u32(STATE).u8(Wasm.localGet).u32(local).u8(Wasm.i64Store).u32(3).u32(offset)
  }
  #fetchBudget(): void {
    this.#fetch(BUDGET, State.budget)
  }
  #storeBudget(): void {
    this.#put(BUDGET, State.budget)
  }
  #fetchTlb(): void {
    this.w
      .u8(Wasm.localGet)
      .u32(STATE)
      .u8(Wasm.i32Load)
      .u32(2)
      .u32(EngineState.tlb)
      .u8(Wasm.localSet)
      .u32(TLB)
  }

  #spill(): void {
    for (let register = 0; register < 16; register++)
      if ((this.#writtenRegisters >> register) & 1) this.#put(GPR + register, State.gpr + 8 * register)
    this.#flags.put()
  }

  /**
   * What an instruction on the state may look at: the budget before it (a string instruction charges its further
   * iterations itself), and a record that tells the time stamp counter that nothing before it is uncharged.
   */
  #showBudget(last: boolean): void {
    const { w } = this
    // The last instruction of a block is charged already; to itself it is not.
    w.u8(Wasm.localGet)
      .u32(STATE)
      .u8(Wasm.localGet)
      .u32(BUDGET)
      .u8(Wasm.i64Const)
      .s64(last ? 1 : 0, 0)
      .u8(Wasm.i64Add)
    w.u8(Wasm.i64Store).u32(3).u32(State.budget)
    w.u8(Wasm.localGet)
      .u32(STATE)
      .u8(Wasm.i32Const)
      .s32(REGION_RECORD_OFFSET)
      .u8(Wasm.i32Store)
      .u32(2)
      .u32(EngineState.record)
  }

  /** Takes the state back into locals behind an instruction that was executed on it, and charges it. */
  #fetchState(): void {
    const { w } = this
    const used = this.#usedRegisters | this.#writtenRegisters
    for (let register = 0; register < 16; register++)
      if ((used >> register) & 1) this.#fetch(GPR + register, State.gpr + 8 * register)
    this.#flags.fetch()
    this.#fetchBudget()
    if (this.#uncharged < 0) this.#charge(1)
    this.#fetchTlb()
    w.u8(Wasm.localGet).u32(STATE).u8(Wasm.i32Load).u32(2).u32(State.request).u8(Wasm.localSet).u32(DROPPED)
    this.#stores = true
  }

  /** Whether flags are changed, or read, in a branch that may not be taken. */
  #changesFlagsConditionally(code: Code): boolean {
    let depth = 0
    for (let i = 0; i < code.length; i++) {
      const op = code.op[i]!
      if (op >= Op.block && op <= Op.if) depth++
      else if (op === Op.end) depth--
      else if (depth > 0 && op >= Op.flagsAdd && op <= Op.condition) return true
    }
    return false
  }

  #mayStore(code: Code): boolean {
    for (let i = 0; i < code.length; i++)
      if (code.op[i] === Op.guestStore || code.op[i] === Op.guestRef) return true
    return false
  }

  #makeCache(): StateCache {
    const { w } = this
    const registerOf = (offset: number): number => (offset < State.gpr + 128 ? (offset - State.gpr) >> 3 : -1)
    return {
      load: (access, offset) => {
        if (access === Access.u64 && this.#flags.loadWord(offset)) return true
        const register = registerOf(offset)
        if (register < 0) return false
        this.#usedRegisters |= 1 << register
        const shift = (offset & 7) * 8
        w.u8(Wasm.localGet).u32(GPR + register)
        if (shift > 0) w.u8(Wasm.i64Const).s64(shift, 0).u8(Wasm.i64ShrU)
        if (access === Access.u8) w.u8(Wasm.i64Const).s64(0xff, 0).u8(Wasm.i64And)
        else if (access === Access.u16) w.u8(Wasm.i64Const).s64(0xffff, 0).u8(Wasm.i64And)
        else if (access === Access.u32) w.u8(Wasm.i64Const).s64(-1, 0).u8(Wasm.i64And)
        else if (access === Access.i32) w.u8(Wasm.i32WrapI64)
        else if (access !== Access.u64) throw new Error('a general register is loaded as something else')
        return true
      },
      store: (access, offset, value) => {
        if (access === Access.u64 && this.#flags.storeWord(offset, value)) return true
        const register = registerOf(offset)
        if (register < 0) return false
        this.#writtenRegisters |= 1 << register
        const local = GPR + register
        if (access === Access.u64) {
          value()
          w.u8(Wasm.localSet).u32(local)
          return true
        }
        const bits = access === Access.u8 ? 8 : access === Access.u16 ? 16 : 32
        const shift = (offset & 7) * 8
        const mask = ((1n << BigInt(bits)) - 1n) << BigInt(shift)
        const constant = (wide: bigint): void =>
          void w
            .u8(Wasm.i64Const)
            .s64(Number(BigInt.asIntN(32, wide)), Number(BigInt.asIntN(32, wide >> 32n)))
        this.#usedRegisters |= 1 << register
        w.u8(Wasm.localGet).u32(local)
        constant(~mask)
        w.u8(Wasm.i64And)
        value()
        if (access === Access.i32) w.u8(Wasm.i64ExtendI32U)
        if (shift > 0) w.u8(Wasm.i64Const).s64(shift, 0).u8(Wasm.i64Shl)
        constant(mask)
        w.u8(Wasm.i64And).u8(Wasm.i64Or).u8(Wasm.localSet).u32(local)
        return true
      },
      tlb: () => {
        w.u8(Wasm.localGet).u32(TLB)
        return true
      },
      flagsOperation: (operation, aux, x, y, result) => this.#flags.record(operation, aux, x, y, result),
      flagsOverride: (image) => this.#flags.override(image),
      flag: (flag) => this.#flags.flag(flag),
      condition: (code) => this.#flags.condition(code),
      beforeFlags: () => this.#flags.put(),
      afterFlags: () => this.#flags.fetch(),
      afterSlowStore: () => {
        w.u8(Wasm.localGet)
          .u32(STATE)
          .u8(Wasm.i32Load)
          .u32(2)
          .u32(State.request)
          .u8(Wasm.localSet)
          .u32(DROPPED)
        this.#stores = true
      },
    }
  }
}
