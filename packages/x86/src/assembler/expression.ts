/**
 * Integer expressions over numbers and symbols: | ^ & << >> + - * / %, unary - + ~, parentheses; `.` and `$` are the
 * address of the statement. Exact: values are cut to a width only where they are stored.
 */
import type { Cursor } from './lexer.ts'

/** What an expression is evaluated against. */
export interface Scope {
  /** The value of a symbol. Throws where it has none. */
  lookup(name: string): bigint
  /** Address of the statement. */
  readonly here: bigint
}

export interface Expression {
  evaluate(scope: Scope): bigint
  /** Depends on symbols or on the address: may change between passes. */
  readonly relocatable: boolean
}

/** How names become symbols (local labels). */
export type Rename = (name: string) => string

export class SyntaxProblem extends Error {}

export function constant(value: bigint): Expression {
  return { evaluate: () => value, relocatable: false }
}

const levels: readonly (readonly string[])[] = [
  ['|'],
  ['^'],
  ['&'],
  ['<<', '>>'],
  ['+', '-'],
  ['*', '/', '%'],
]
const SUM = 4

function apply(operator: string, x: bigint, y: bigint): bigint {
  switch (operator) {
    case '|':
      return x | y
    case '^':
      return x ^ y
    case '&':
      return x & y
    case '<<':
    case '>>':
      if (y < 0n || y > 4096n) throw new SyntaxProblem(`shift by ${y}`)
      return operator === '<<' ? x << y : x >> y
    case '+':
      return x + y
    case '-':
      return x - y
    case '*':
      return x * y
  }
  if (y === 0n) throw new SyntaxProblem('division by zero')
  return operator === '/' ? x / y : x % y
}

export function binary(operator: string, x: Expression, y: Expression): Expression {
  const relocatable = x.relocatable || y.relocatable
  if (!relocatable) return constant(apply(operator, x.evaluate(nowhere), y.evaluate(nowhere)))
  return { relocatable, evaluate: (scope) => apply(operator, x.evaluate(scope), y.evaluate(scope)) }
}

const nowhere: Scope = {
  here: 0n,
  lookup(name) {
    throw new SyntaxProblem(`${name} has no value here`)
  },
}

/** Parses an expression. @throws SyntaxProblem */
export function parseExpression(cursor: Cursor, rename: Rename, level = 0): Expression {
  if (level === levels.length) return parseUnary(cursor, rename)
  let left = parseExpression(cursor, rename, level + 1)
  for (;;) {
    const operator = levels[level]!.find((symbol) => cursor.at(symbol))
    if (operator === undefined) return left
    cursor.next()
    left = binary(operator, left, parseExpression(cursor, rename, level + 1))
  }
}

/** A term of a sum: what `parseExpression` takes between + and -. */
export function parseTerm(cursor: Cursor, rename: Rename): Expression {
  return parseExpression(cursor, rename, SUM + 1)
}

function parseUnary(cursor: Cursor, rename: Rename): Expression {
  if (cursor.take('+')) return parseUnary(cursor, rename)
  if (cursor.take('-')) return binary('-', constant(0n), parseUnary(cursor, rename))
  if (cursor.take('~')) return binary('^', constant(-1n), parseUnary(cursor, rename))
  if (cursor.take('(')) {
    const inner = parseExpression(cursor, rename)
    if (!cursor.take(')')) throw new SyntaxProblem('a ) is missing')
    return inner
  }
  const token = cursor.next()
  if (!token) throw new SyntaxProblem('an expression is missing')
  if (token.type === 'number') return constant(token.value)
  if (token.type === 'name' && (token.text === '.' || token.text === '$'))
    return { relocatable: true, evaluate: (scope) => scope.here }
  if (token.type === 'name' || token.type === 'label') {
    const name = rename(token.text)
    return { relocatable: true, evaluate: (scope) => scope.lookup(name) }
  }
  throw new SyntaxProblem(`'${token.text}' is no value`)
}
