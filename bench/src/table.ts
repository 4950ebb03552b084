/** Tables in Markdown, with columns aligned so that they read well on a terminal too. */

/** Text, or a number that is missing (undefined, NaN) or given with three digits that mean something. */
export type Cell = string | number | undefined

/** A table; the first column is for names, the others for figures. */
export function markdownTable(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const texts = [head, ...rows].map((row) => row.map(cellText))
  const widths = head.map((_, column) => Math.max(3, ...texts.map((row) => row[column]?.length ?? 0)))
  const line = (row: readonly string[]): string =>
    `| ${widths.map((width, column) => pad(row[column] ?? '', width, column)).join(' | ')} |`
  const rule = `|${widths.map((width, column) => (column === 0 ? `${'-'.repeat(width + 2)}` : `${'-'.repeat(width + 1)}:`)).join('|')}|`
  return `${[line(texts[0]!), rule, ...texts.slice(1).map(line)].join('\n')}\n`
}

/** A figure with three significant digits, without an exponent. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const digits = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)))
  return value.toFixed(Math.min(3, Math.max(0, 2 - digits)))
}

function cellText(cell: Cell): string {
  return typeof cell === 'string' ? cell : figure(cell ?? Number.NaN)
}

function pad(text: string, width: number, column: number): string {
  return column === 0 ? text.padEnd(width) : text.padStart(width)
}
