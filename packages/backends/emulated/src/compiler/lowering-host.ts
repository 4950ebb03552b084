/** What the parts of the lowering ask of the whole. */
export interface LoweringHost {
  /** Puts a value of the IR on the stack. */
  value(v: number): void
  /** Leaves by the fault edge if the i32 on the stack is not zero. */
  faultIf(): void
  /** A structured region is opened, or closed, around what is emitted next. */
  enter(): void
  leave(): void
}
