/**
 * Shorthand for procedures that are mostly 64-bit integer arithmetic: operations over a builder that take a bigint where
 * a constant is meant. Comparisons give i32.
 */
import type { Builder, Value } from './builder.ts'

/** An i64 value, or a constant. */
export type Term = Value | bigint

type Binary = (x: Term, y: Term) => Value

export interface Int64 {
  /** The value of a term. */
  readonly of: (x: Term) => Value
  readonly add: Binary
  readonly sub: Binary
  readonly mul: Binary
  readonly and: Binary
  readonly or: Binary
  readonly xor: Binary
  readonly shl: Binary
  /** Logical. */
  readonly shr: Binary
  readonly eq: Binary
  readonly ne: Binary
  readonly ltU: Binary
  readonly gtU: Binary
  readonly leU: Binary
  readonly geU: Binary
  readonly ltS: Binary
  readonly gtS: Binary
  readonly leS: Binary
  readonly geS: Binary
  readonly not: (x: Term) => Value
  readonly clz: (x: Term) => Value
  readonly isZero: (x: Term) => Value
  /** `condition` (i32) ? `yes` : `no`. */
  readonly select: (condition: Value, yes: Term, no: Term) => Value
  /** 1 or 0 from a condition (i32 that is 0 or 1). */
  readonly fromBool: (condition: Value) => Value
}

export function int64(b: Builder): Int64 {
  const of = (x: Term): Value => (typeof x === 'bigint' ? b.const64(x) : x)
  const binary =
    (name: string): Binary =>
    (x, y) =>
      b.i64[name](of(x), of(y))
  return {
    of,
    add: binary('add'),
    sub: binary('sub'),
    mul: binary('mul'),
    and: binary('and'),
    or: binary('or'),
    xor: binary('xor'),
    shl: binary('shl'),
    shr: binary('shrU'),
    eq: binary('eq'),
    ne: binary('ne'),
    ltU: binary('ltU'),
    gtU: binary('gtU'),
    leU: binary('leU'),
    geU: binary('geU'),
    ltS: binary('ltS'),
    gtS: binary('gtS'),
    leS: binary('leS'),
    geS: binary('geS'),
    not: (x) => b.i64.xor(of(x), b.const64(-1)),
    clz: (x) => b.i64.clz(of(x)),
    isZero: (x) => b.i64.eqz(of(x)),
    select: (condition, yes, no) => b.select(condition, of(yes), of(no)),
    fromBool: (condition) => b.i64.extendI32U(condition),
  }
}
