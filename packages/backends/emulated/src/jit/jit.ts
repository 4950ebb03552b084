/**
 * The tier above the interpreter: finds hot code by looking where the vCPU is from time to time, compiles it by region,
 * and puts a region record in front of the decoded blocks.
 *
 * Sampling costs nothing in the interpreter, and what it finds is what takes the time. Regions are compiled in batches,
 * one WebAssembly module each; V8 starts them in its baseline tier and optimises what stays hot.
 *
 * A region belongs to one physical page and is dropped with the page's decoded code. Its place in the table is then
 * free for another one.
 */
import { type Builder, type Decoder, type Procedure, ProcedureTable, Type } from '@trapframe/x86'
import type { CodeCache } from '../code-cache.ts'
import { type EngineFunction, wasmTypes } from '../compiler/lowering-target.ts'
import { engineFunctions, procedureExport } from '../engine/function-names.ts'
import { REGION_RECORD_OFFSET, RecordField } from '../engine/layout.ts'
import { type FunctionBody, ModuleWriter } from '../wasm/module-writer.ts'
import { WasmType } from '../wasm/opcode.ts'
import { ProcedureEffects } from './procedure-effects.ts'
import { discoverRegion, formFlow, type Region } from './region.ts'
import { compileRegion } from './region-compiler.ts'

/**
 * Times that a block must be seen running before its region is compiled: it has then cost about what the compilation
 * will (1 to 2 ms).
 */
const HOT_SAMPLES = 10
/** Regions compiled in one go: a module costs about 0.6 ms, however little is in it. */
const BATCH = 8
/** Samples after which hot code is compiled even if the batch is not full. */
const PATIENCE = 40

export interface JitStatistics {
  regions: number
  regionInstructions: number
  modules: number
  droppedRegions: number
}

export interface JitOptions {
  readonly memory: WebAssembly.Memory
  readonly shared: boolean
  readonly decoder: Decoder
  readonly code: CodeCache
  /** Exports of the engine's instance, for the procedures that regions call. */
  readonly engine: WebAssembly.Exports
}

export class Jit {
  readonly statistics: JitStatistics = { regions: 0, regionInstructions: 0, modules: 0, droppedRegions: 0 }
  readonly #options: JitOptions
  readonly #bytes: Uint8Array
  readonly #table: WebAssembly.Table
  readonly #procedures = new ProcedureTable()
  readonly #flows: Uint8Array
  readonly #builders: Builder[] = []
  readonly #effects = new ProcedureEffects(this.#procedures)
  /** Samples by host address of the block's start. */
  readonly #samples = new Map<number, number>()
  readonly #hot: number[] = []
  /** Samples since the first of `#hot` became hot. */
  #waited = 0
  /** Places in the table whose region is gone. */
  readonly #free: number[] = []

  constructor(options: JitOptions) {
    this.#options = options
    this.#bytes = new Uint8Array(options.memory.buffer)
    this.#bytes[REGION_RECORD_OFFSET + RecordField.count] = 1
    this.#table = options.engine.handlers as WebAssembly.Table
    this.#flows = Uint8Array.from(options.decoder.forms, formFlow)
  }

  /** The vCPU was seen at the code at a host address. */
  sample(host: number): void {
    const start = this.#options.code.blockAt(host)
    if (start === undefined) return
    const count = (this.#samples.get(start) ?? 0) + 1
    this.#samples.set(start, count)
    if (count === HOT_SAMPLES) this.#hot.push(start)
  }

  /** Compiles what has become hot. */
  compileHot(): void {
    if (this.#hot.length === 0 || (this.#hot.length < BATCH && ++this.#waited < PATIENCE)) return
    this.#waited = 0
    this.#compile(this.#hot.splice(0, BATCH))
  }

  /** Compiles the code at a host address at once, for tests: every block's first execution is in a region. */
  compileNow(host: number): void {
    if (!this.#options.code.hasRegion(host)) this.#compile([host])
  }

  #compile(hosts: readonly number[]): void {
    // Regions know no breakpoints; the interpreter does.
    if (this.#options.code.hasBreakpoints) return
    const regions: { host: number; region: Region; body: FunctionBody }[] = []
    const imports: Procedure[] = []
    const importNumbers = new Map<Procedure, number>()
    const importOf = (procedure: Procedure): number => {
      let number = importNumbers.get(procedure)
      if (number === undefined) {
        number = imports.push(procedure) - 1
        importNumbers.set(procedure, number)
      }
      return number
    }
    const indices = {
      procedure: (number: number): number => importOf(this.#procedures.list[number]!),
      procedureMayFault: (number: number): boolean => this.#procedures.list[number]!.mayFault,
      engineFunction: (name: EngineFunction): number => importOf(engineFunctions[name]),
    }
    for (const host of hosts) {
      this.#samples.delete(host)
      const region = discoverRegion(this.#options.decoder, this.#flows, this.#bytes, host)
      if (!region) continue
      const body = compileRegion(region, {
        decoder: this.#options.decoder,
        bytes: this.#bytes,
        procedures: this.#procedures,
        indices,
        builders: this.#builders,
        effects: this.#effects,
      })
      regions.push({ host, region, body })
    }
    if (regions.length === 0) return
    const writer = new ModuleWriter()
    for (const procedure of imports) {
      const results = procedure.result === Type.none ? [] : [wasmTypes[procedure.result]!]
      writer.importFunction(
        'engine',
        procedureExport(procedure),
        [WasmType.i32, ...procedure.parameters.map((type) => wasmTypes[type]!)],
        results,
      )
    }
    regions.forEach(({ body }, index) => {
      const number = writer.declare([WasmType.i32], [WasmType.i32])
      writer.define(number, body.bytes, body.unlikely)
      writer.export(`r${index}`, number)
    })
    const { bytes, memoryFlagOffset } = writer.finish()
    if (this.#options.shared) bytes[memoryFlagOffset] = 3
    const given: Record<string, unknown> = { memory: this.#options.memory }
    for (const procedure of imports)
      given[procedureExport(procedure)] = this.#options.engine[procedureExport(procedure)]
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>), {
      engine: given as never,
    })
    regions.forEach(({ host, region }, index) => {
      const place = this.#free.pop() ?? this.#table.grow(1)
      this.#table.set(place, instance.exports[`r${index}`] as never)
      this.#options.code.installRegion(host, place, region.instructionCount, () => {
        this.#table.set(place, null)
        this.#free.push(place)
        this.statistics.droppedRegions++
      })
      this.statistics.regions++
      this.statistics.regionInstructions += region.instructionCount
    })
    this.statistics.modules++
  }
}
