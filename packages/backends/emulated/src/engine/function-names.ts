/** The engine's functions by name: those that lowered code calls, and the names under which procedures are exported. */
import type { Procedure } from '@trapframe/x86'
import type { EngineFunction } from '../compiler/lowering-target.ts'
import { materializeFlags } from '../jit/lazy-flags.ts'
import { setFlags } from './flags.ts'
import { compareExchange, read, reference, write } from './memory-access.ts'

export const engineFunctions: Readonly<Record<EngineFunction, Procedure>> = {
  read,
  write,
  reference,
  compareExchange,
  setFlags,
  materializeFlags,
}

/** Name under which the engine's module exports a procedure. */
export function procedureExport(procedure: Procedure): string {
  return `procedure:${procedure.name}`
}
