/**
 * Procedures: IR that is compiled once and called, such as the page walk or the delivery of an interrupt. The
 * interpreter, regions of the JIT and the evaluator call the same ones.
 */
import type { Builder, Value } from './builder.ts'
import type { Type } from './op.ts'

/** A piece of semantics that is compiled once and called. */
export interface Procedure {
  readonly name: string
  readonly parameters: readonly Type[]
  readonly result: Type
  /** May leave with a fault pending; a call then goes to the caller's fault edge. */
  readonly mayFault: boolean
  /**
   * Emits the body. The result, if any, is given back by `b.return`. A procedure without a body (`undefined`) is
   * supplied by the engine: see `external`.
   */
  readonly body: ((b: Builder, ...parameters: Value[]) => void) | undefined
}

/** Defines a procedure. */
export function procedure(
  name: string,
  options: { parameters?: readonly Type[]; result?: Type; mayFault?: boolean },
  body: (b: Builder, ...parameters: Value[]) => void,
): Procedure {
  return {
    name,
    parameters: options.parameters ?? [],
    result: options.result ?? 0,
    mayFault: options.mayFault ?? false,
    body,
  }
}

/** Declares a procedure that each engine supplies itself, such as reading the clock or flushing its TLB. */
export function external(
  name: string,
  options: { parameters?: readonly Type[]; result?: Type; mayFault?: boolean },
): Procedure {
  return {
    name,
    parameters: options.parameters ?? [],
    result: options.result ?? 0,
    mayFault: options.mayFault ?? false,
    body: undefined,
  }
}

/** Makes each of a family of procedures once: `make` is called at the first use of a key. */
export function procedureFamily<K extends readonly unknown[]>(
  make: (...key: K) => Procedure,
): (...key: K) => Procedure {
  const made = new Map<string, Procedure>()
  return (...key) => {
    const text = key.join(',')
    const known = made.get(text) ?? make(...key)
    made.set(text, known)
    return known
  }
}
