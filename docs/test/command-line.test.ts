import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const page = readFileSync(join(root, 'docs', 'guide', 'command-line.md'), 'utf8')
const main = join(root, 'apps', 'cli', 'src', 'main.ts')
const helpText = execFileSync(
  process.execPath,
  ['--conditions=trapframe-source', '--import', 'tsx', main, '--help'],
  { cwd: root, encoding: 'utf8' },
)

/** First cells of a page's table below a heading. */
function table(heading: string): string[] {
  const section = page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`))!
  return [...section.matchAll(/^\| `([^`]+)` \|/gm)].map(([, cell]) => cell!.replaceAll('\\|', '|'))
}

/** First columns of a table of `--help`, which is indented by two and separated by two spaces at least. */
function help(heading: string): string[] {
  const section = helpText.split(`\n${heading}:\n`)[1]!.split('\n\n')[0]!
  return [...section.matchAll(/^ {2}(\S.*?) {2,}\S/gm)].map(([, cell]) => cell!)
}

test('default: the page has every option of --help, in its order, and no other', () => {
  expect(help('Options')).toContain('--kernel FILE')
  expect(table('Options')).toEqual(help('Options'))
})

test('default: the page has every exit status, and no other', () => {
  expect(help('Exit status')).toContain('124')
  expect(table('Exit status')).toEqual(help('Exit status'))
})
