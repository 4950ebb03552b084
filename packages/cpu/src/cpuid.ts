/** What CPUID answers, as data. */

/** One CPUID answer. */
export interface CpuidLeaf {
  readonly leaf: number
  /** Absent: the leaf has the same answer for every ECX. */
  readonly subleaf?: number
  readonly eax: number
  readonly ebx: number
  readonly ecx: number
  readonly edx: number
}
