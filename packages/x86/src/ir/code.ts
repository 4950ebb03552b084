/**
 * A piece of IR: a list of operations in flat typed arrays, no object per node. The value that an operation produces
 * is named by its index, and is visible until the structured region that it lies in ends (a local carries it further).
 *
 * One `Code` is reused for many translations: `clear` keeps the arrays.
 */
import type { Type } from './op.ts'

/**
 * IR in flat arrays: no object for an operation, so that translation costs little and nothing is left to
 * collect.
 */
export class Code {
  /** Number of operations. */
  length = 0
  op: Uint16Array = new Uint16Array(256)
  type: Uint8Array = new Uint8Array(256)
  aux: Int32Array = new Int32Array(256)
  a: Int32Array = new Int32Array(256)
  b: Int32Array = new Int32Array(256)
  c: Int32Array = new Int32Array(256)
  /** Argument lists of calls. */
  readonly extra: number[] = []
  /** Types of locals; parameters are not among them. */
  readonly locals: Type[] = []
  /** 16-byte constants and shuffle patterns. */
  readonly pool: Uint8Array[] = []
  /** Number of labels given out. */
  labels = 0

  /** Empties it for another body; the arrays stay. */
  clear(): void {
    this.length = 0
    this.extra.length = 0
    this.locals.length = 0
    this.pool.length = 0
    this.labels = 0
  }

  /** Appends an operation and returns its index. */
  push(op: number, type: Type, aux: number, a: number, b: number, c: number): number {
    const index = this.length++
    if (index === this.op.length) this.#grow()
    this.op[index] = op
    this.type[index] = type
    this.aux[index] = aux
    this.a[index] = a
    this.b[index] = b
    this.c[index] = c
    return index
  }

  #grow(): void {
    const size = this.op.length * 2
    const wide = (from: Int32Array): Int32Array => {
      const to = new Int32Array(size)
      to.set(from)
      return to
    }
    const op = new Uint16Array(size)
    op.set(this.op)
    this.op = op
    const type = new Uint8Array(size)
    type.set(this.type)
    this.type = type
    this.aux = wide(this.aux)
    this.a = wide(this.a)
    this.b = wide(this.b)
    this.c = wide(this.c)
  }
}
