/** The table of what was compared: data for programs, Markdown for the documentation. */
import type { FormResult } from './comparison.ts'

/** A line of the table of instructions. */
export interface ReportRow {
  readonly form: string
  readonly encoding: string
  readonly feature: string
  /** How it was tested: names of engines, or why not. */
  readonly tested: string
  readonly cases: number
  readonly exceptions: number
  readonly failures: number
}

/** The line for a form. @param compared - names of the engines, or why it was not compared */
export function reportRow({ form, cases, exceptions, failures }: FormResult, tested: string): ReportRow {
  return {
    form: form.text,
    encoding: form.encoding,
    feature: form.options.feature ?? 'base',
    tested,
    cases,
    exceptions: [...exceptions.values()].reduce((sum, count) => sum + count, 0),
    failures: failures.length,
  }
}

/** A page: one table, in the order of the rows. @param about - lines above the table */
export function reportMarkdown(rows: readonly ReportRow[], about: readonly string[]): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|')
  const lines = rows.map(
    (row) =>
      `| ${cell(row.form)} | \`${row.encoding}\` | ${row.feature} | ${row.tested} | ${row.cases} | ${row.exceptions} | ${row.failures} |`,
  )
  return [
    '# Instructions',
    '',
    ...about,
    '',
    '| form | encoding | feature | compared | cases | of them ended in an exception | differ |',
    '|---|---|---|---|---:|---:|---:|',
    ...lines,
    '',
  ].join('\n')
}
