/**
 * Which procedures may look at or change what a region keeps in locals: general registers, arithmetic flags, the
 * budget, the TLB of the current privilege. Found by reading their IR, so nothing has to be declared.
 */
import { Builder, Code, Op, type Procedure, type ProcedureTable, State } from '@trapframe/x86'

/** Procedures of the engine that change none of it. The others that semantics does not define itself may. */
const harmlessExternals = new Set(['physicalLoad', 'physicalCompareExchange', 'spanForRead', 'spanForWrite'])

export class ProcedureEffects {
  readonly #table: ProcedureTable
  readonly #known = new Map<Procedure, boolean>()

  constructor(table: ProcedureTable) {
    this.#table = table
  }

  /**
   * Whether code reaches the state's part in locals by other ways than the lowering's own.
   * @param inProcedure - every access to that part counts; in the body of an instruction only indexed ones do
   */
  touchesRegisters(code: Code, inProcedure: boolean): boolean {
    const { op, a, c, aux, length } = code
    for (let i = 0; i < length; i++) {
      switch (op[i]) {
        case Op.call:
          if (this.#touches(this.#table.list[aux[i]!]!)) return true
          break
        case Op.stateLoad:
        case Op.stateStore: {
          const kept =
            c[i]! < State.zero ||
            (c[i]! >= State.flagsResult && c[i]! < State.rflags) ||
            c[i] === State.budget
          if (kept && (inProcedure || a[i]! >= 0)) return true
          break
        }
        default:
          if (inProcedure && op[i]! >= Op.flagsAdd && op[i]! <= Op.condition) return true
      }
    }
    return false
  }

  #touches(procedure: Procedure): boolean {
    const known = this.#known.get(procedure)
    if (known !== undefined) return known
    if (!procedure.body) return !harmlessExternals.has(procedure.name)
    // Recursion adds nothing: what the rest of the procedure does decides.
    this.#known.set(procedure, false)
    const b = new Builder(this.#table, new Code())
    procedure.body(b, ...procedure.parameters.map((type, index) => b.parameter(index, type)))
    const touches = this.touchesRegisters(b.code, true)
    this.#known.set(procedure, touches)
    return touches
  }
}
