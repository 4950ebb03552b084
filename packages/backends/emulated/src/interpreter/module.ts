/**
 * Generates the interpreter: one WebAssembly module with the main loop, a handler for each form and kind of operands,
 * and the system procedures, all from the rows of @trapframe/x86. Runs at build time.
 */
import { Builder, Code, type Form, Operands, type Procedure, ProcedureTable, Type } from '@trapframe/x86'
import { wasmTypes } from '../compiler/lowering-target.ts'
import { guard, jumpSlow, lookup } from '../engine/code-lookup.ts'
import { afterFault, nextBlock } from '../engine/events.ts'
import { engineFunctions, procedureExport } from '../engine/function-names.ts'
import { dropBlock, importedProcedures } from '../engine/imports.ts'
import { Handler } from '../engine/layout.ts'
import { spanSupplies } from '../engine/memory-access.ts'
import { timeSupplies } from '../engine/time.ts'
import {
  atomicCompareExchange,
  chooseTables,
  count,
  dropWriteTags,
  flushJumps,
  translationSupplies,
} from '../engine/translation.ts'
import { ByteWriter } from '../wasm/byte-writer.ts'
import { ModuleWriter } from '../wasm/module-writer.ts'
import { Wasm, WasmType } from '../wasm/opcode.ts'
import { type FunctionIndices, lowerHandler, lowerProcedure } from './function-target.ts'
import { mainFunction } from './main-function.ts'
import { RecordBinding } from './record-binding.ts'
import { type HandlerVariant, handlerVariants, isLegacy, VARIANTS_PER_FORM, Variant } from './variants.ts'

export interface InterpreterModule {
  readonly bytes: Uint8Array
  /** See ModuleWriter.finish. */
  readonly memoryFlagOffset: number
  /** Handler of form * VARIANTS_PER_FORM + variant key; 0 where there is none. */
  readonly handlers: Uint16Array
  readonly inlinedCount: number
}

/** Procedures that TypeScript calls: exported under their names. */
const exported: readonly Procedure[] = [chooseTables, dropWriteTags, flushJumps]

/** @param forms - rows in the order that the decoder numbers them */
export function generateInterpreter(forms: readonly Form[]): InterpreterModule {
  const table = new ProcedureTable()
  const supplies = new Map([...translationSupplies, ...timeSupplies, ...spanSupplies])
  const variants = handlerVariants(forms)
  const codes = variants.map((variant) => {
    const b = new Builder(table, new Code())
    b.mode = isLegacy(variant.key) ? 'legacy' : 'long'
    if (/^SYS(CALL|ENTER)$/.test(variant.form.mnemonic)) count(b, 'system-calls')
    try {
      variant.form.body(b, new Operands(b, variant.form, new RecordBinding(b, variant)))
    } catch (cause) {
      throw new Error(`form ${variant.form.text} (${variant.form.encoding}), variant ${variant.key}`, {
        cause,
      })
    }
    return b.code
  })

  // Procedures, as far as anything calls them. Building a body may name further ones.
  for (const root of [
    lookup,
    jumpSlow,
    guard,
    nextBlock,
    afterFault,
    ...Object.values(engineFunctions),
    ...exported,
    ...importedProcedures,
  ])
    table.number(root)
  const supplied = (procedure: Procedure): Procedure => supplies.get(procedure) ?? procedure
  const procedureCodes = new Map<Procedure, Code>()
  for (let i = 0; i < table.list.length; i++) {
    const procedure = supplied(table.list[i]!)
    if (procedureCodes.has(procedure) || !procedure.body) continue
    const b = new Builder(table, new Code())
    procedure.body(b, ...procedure.parameters.map((type, index) => b.parameter(index, type)))
    procedureCodes.set(procedure, b.code)
  }

  const module = new ModuleWriter()
  const functionOf = new Map<Procedure, number>()
  const types = (list: readonly Type[]): number[] => list.map((type) => wasmTypes[type]!)
  const results = (procedure: Procedure): number[] =>
    procedure.result === Type.none ? [] : types([procedure.result])
  // Imports get no state: there is one module instance per vCPU.
  for (const procedure of importedProcedures)
    functionOf.set(
      procedure,
      module.importFunction('engine', procedure.name, types(procedure.parameters), results(procedure)),
    )
  const wrappers = importedProcedures.filter((procedure) => procedure !== dropBlock)
  const importIndex = new Map(functionOf)
  for (const procedure of wrappers)
    functionOf.set(
      procedure,
      module.declare([WasmType.i32, ...types(procedure.parameters)], results(procedure)),
    )
  const atomicIndex = module.declare(
    [WasmType.i32, ...types(atomicCompareExchange.parameters)],
    results(atomicCompareExchange),
  )
  functionOf.set(atomicCompareExchange, atomicIndex)
  for (const procedure of procedureCodes.keys())
    functionOf.set(
      procedure,
      module.declare([WasmType.i32, ...types(procedure.parameters)], results(procedure)),
    )

  const find = (procedure: Procedure): number => {
    const index = functionOf.get(supplied(procedure))
    if (index === undefined)
      throw new Error(`procedure ${procedure.name} is external and this engine does not supply it`)
    return index
  }
  const indices: FunctionIndices = {
    procedure: (number) => find(table.list[number]!),
    procedureMayFault: (number) => supplied(table.list[number]!).mayFault || table.list[number]!.mayFault,
    engineFunction: (name) => find(engineFunctions[name]),
  }

  for (const procedure of wrappers) {
    const w = new ByteWriter().u32(0)
    procedure.parameters.forEach((_, index) => w.u8(Wasm.localGet).u32(index + 1))
    module.define(
      functionOf.get(procedure)!,
      w.u8(Wasm.call).u32(importIndex.get(procedure)!).u8(Wasm.end).view().slice(),
    )
  }
  module.define(atomicIndex, atomicBody())
  for (const [procedure, code] of procedureCodes) {
    try {
      module.define(functionOf.get(procedure)!, lowerProcedure(procedure, code, indices))
    } catch (cause) {
      throw new Error(`procedure ${procedure.name}`, { cause })
    }
  }

  // Handlers: inlined ones first, so that their numbers are the cases of the main function.
  const handlers = new Uint16Array(forms.length * VARIANTS_PER_FORM)
  const inlined = variants
    .map((variant, index) => ({ variant, code: codes[index]! }))
    .filter((entry) => entry.variant.inline)
  const others = variants
    .map((variant, index) => ({ variant, code: codes[index]! }))
    .filter((entry) => !entry.variant.inline)
  const handlerParameters = [WasmType.i32, WasmType.i32]
  let id: number = Handler.first
  const inlineCodes = inlined.map(({ variant, code }) => {
    handlers[variant.formIndex * VARIANTS_PER_FORM + variant.key] = id
    return { id: id++, code }
  })
  // A handler that comes out the same in 64-bit mode serves both: what has only register operands, mostly.
  const longCodes = new Map<number, Code>()
  variants.forEach((variant, index) => {
    if (variant.key === Variant.register) longCodes.set(variant.formIndex, codes[index]!)
  })
  const shared: HandlerVariant[] = []
  for (const { variant, code } of others) {
    if (variant.key === Variant.legacyRegister) {
      const long = longCodes.get(variant.formIndex)
      if (long && sameCode(long, code)) {
        shared.push(variant)
        continue
      }
    }
    handlers[variant.formIndex * VARIANTS_PER_FORM + variant.key] = id++
    const index = module.declare(handlerParameters, [WasmType.i32])
    try {
      module.define(index, lowerHandler(code, indices))
    } catch (cause) {
      throw new Error(`handler ${variant.form.text}, variant ${variant.key}`, { cause })
    }
    module.element(index)
  }
  for (const { formIndex } of shared)
    handlers[formIndex * VARIANTS_PER_FORM + Variant.legacyRegister] =
      handlers[formIndex * VARIANTS_PER_FORM + Variant.register]!
  const main = module.declare([WasmType.i32], [])
  const { bytes, unlikely } = mainFunction(
    inlineCodes,
    {
      nextBlock: find(nextBlock),
      afterFault: find(afterFault),
      jumpSlow: find(jumpSlow),
      lookup: find(lookup),
      guard: find(guard),
      dropBlock: importIndex.get(dropBlock)!,
      handlerType: module.type(handlerParameters, [WasmType.i32]),
      regionType: module.type([WasmType.i32], [WasmType.i32]),
    },
    indices,
  )
  module.define(main, bytes, unlikely)
  module.export('run', main)
  for (const procedure of exported) module.export(procedure.name, find(procedure))
  // For regions of the JIT, which call the same procedures.
  const names = table.list.map((procedure) => procedure.name)
  const twice = names.filter((name, index) => names.indexOf(name) !== index)
  if (twice.length > 0) throw new Error(`procedures of the same name: ${twice.join(', ')}`)
  for (const procedure of table.list) module.export(procedureExport(procedure), find(procedure))
  module.exportTable('handlers')
  return { ...module.finish(), handlers, inlinedCount: inlined.length }
}

/** Whether two bodies are the same, operation by operation. */
function sameCode(x: Code, y: Code): boolean {
  if (x.length !== y.length || x.locals.join() !== y.locals.join() || x.extra.join() !== y.extra.join())
    return false
  if (x.pool.length > 0 || y.pool.length > 0) return false
  for (const field of ['op', 'type', 'aux', 'a', 'b', 'c'] as const)
    for (let index = 0; index < x.length; index++) if (x[field][index] !== y[field][index]) return false
  return true
}

/** (state, host address, bytes, expected, replacement) -> found. Sizes 1, 2, 4, 8; naturally aligned. */
function atomicBody(): Uint8Array {
  const w = new ByteWriter().u32(0)
  const operands = (): ByteWriter =>
    w.u8(Wasm.localGet).u32(1).u8(Wasm.localGet).u32(3).u8(Wasm.localGet).u32(4)
  for (const [bytes, opcode, alignment] of [
    [8, Wasm.i64AtomicRmwCmpxchg, 3],
    [4, Wasm.i64AtomicRmw32CmpxchgU, 2],
    [2, Wasm.i64AtomicRmw16CmpxchgU, 1],
  ] as const) {
    w.u8(Wasm.localGet).u32(2).u8(Wasm.i32Const).s32(bytes).u8(Wasm.i32Eq).u8(Wasm.if).u8(WasmType.empty)
    operands().u8(Wasm.prefixAtomic).u32(opcode).u32(alignment).u32(0).u8(Wasm.return).u8(Wasm.end)
  }
  operands().u8(Wasm.prefixAtomic).u32(Wasm.i64AtomicRmw8CmpxchgU).u32(0).u32(0)
  return w.u8(Wasm.end).view().slice()
}
