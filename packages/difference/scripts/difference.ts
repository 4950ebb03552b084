// npm run difference -- [--cases N] [--mode 64|32|16] [--programs N] [--seed N] [--forms REGEXP] [--mxcsr any|sticky] [--table FOLDER] [--keep FOLDER]
// --mxcsr sticky, the default: round to nearest, exceptions masked, flags set already; the rest of MXCSR is not modelled yet.
// Compares the engines on generated cases of every form; prints what differs, made small. Exit status 1 if anything does.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { forms } from '@trapframe/x86'
import {
  CaseGenerator,
  type CodeBits,
  compareCases,
  compareForm,
  describeFailure,
  type Failure,
  featuresOf,
  formatFixture,
  isEncodable,
  isTestable,
  ProgramGenerator,
  type ReportRow,
  reportMarkdown,
  reportRow,
  runsCode,
  shrink,
} from '../src/index.ts'
import { engines } from './engines.ts'

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '200' },
    programs: { type: 'string', default: '0' },
    seed: { type: 'string', default: '1' },
    forms: { type: 'string', default: '.' },
    mode: { type: 'string', default: '64' },
    mxcsr: { type: 'string', default: 'sticky' },
    table: { type: 'string' },
    keep: { type: 'string' },
  },
})
const pattern = new RegExp(values.forms)
const { native, all } = await engines()
if (native.unavailable) console.log(`without the CPU of the host: ${native.unavailable}`)
const features = native.unavailable ? undefined : featuresOf(native)
const mxcsr = values.mxcsr === 'any' ? 'any' : 'sticky'
const mode = Number(values.mode) as CodeBits
if (![64, 32, 16].includes(mode)) throw new RangeError(`--mode ${values.mode}: 64, 32 or 16`)
if (!native.unavailable && !runsCode(native, mode))
  throw new Error(`the host does not run code of ${mode} bits`)
const generator = new CaseGenerator(forms, { mxcsr, mode })
const names = all.map(({ name }) => name).join(', ')
const rows: ReportRow[] = []
const reasons = new Map<string, number>()
let cases = 0
let failing = 0
const begun = performance.now()

forms.forEach((form, index) => {
  if (!pattern.test(form.text)) return
  const skipped = !isEncodable(form, mode)
    ? `no: not ${mode}-bit code, or VEX`
    : !isTestable(form, mode)
      ? 'system: evaluator and interpreter, by the tests'
      : features && !features.has(form.options.feature ?? 'base')
        ? `the host has no ${form.options.feature}`
        : undefined
  const none = {
    form,
    cases: 0,
    exceptions: new Map<number, number>(),
    explained: new Map<string, number>(),
    failures: [],
  }
  if (skipped) {
    rows.push(reportRow(none, skipped))
    return
  }
  const result = compareForm(generator, index, all, {
    cases: Number(values.cases),
    seed: Number(values.seed),
  })
  rows.push(reportRow(result, result.cases === 0 ? 'no encoding of its own' : names))
  cases += result.cases
  for (const [reason, count] of result.explained) reasons.set(reason, (reasons.get(reason) ?? 0) + count)
  const [failure] = result.failures
  if (!failure) return
  failing++
  console.log(
    `${form.text} (${form.encoding}): ${result.failures.length} of ${result.cases} cases\n  ${describeFailure(failure)}`,
  )
  keep(failure, `${form.text} ${form.encoding}`)
})

for (let left = Number(values.programs), seed = Number(values.seed); left > 0; left -= 1000, seed++) {
  const programs = new ProgramGenerator(forms, features, { mxcsr }).programs(Math.min(1000, left), seed)
  const { failures } = compareCases(programs, all)
  for (const failure of failures) {
    console.log(describeFailure(failure))
    keep(failure, `program ${seed}`)
  }
  failing += failures.length
}

/** Makes a fixture of a failure, where --keep says. */
function keep(failure: Failure, about: string): void {
  if (!values.keep) return
  mkdirSync(values.keep, { recursive: true })
  const oracle = all[0]!
  const engine = all.find(({ name }) => name === failure.engine)!
  const small = shrink(failure.case, oracle, engine)
  const name = about.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')
  const text = formatFixture(
    { case: small, end: oracle.run([small])[0]! },
    `${about}: ${oracle.name} is right, ${engine.name} was not`,
  )
  writeFileSync(join(values.keep, `${name}.txt`), text)
}

const seconds = ((performance.now() - begun) / 1000).toFixed(1)
console.log(
  `${cases} cases of ${rows.filter((row) => row.cases > 0).length} forms and ${values.programs} programs on ${names}: ${failing} differ (${seconds} s)`,
)
for (const [reason, count] of reasons) console.log(`explained, ${count} times: ${reason}`)
if (values.table) {
  mkdirSync(values.table, { recursive: true })
  const about = [
    `Every form that is implemented, and how it was compared: ${names}, seed ${values.seed}, ${values.cases} cases for each form that user code can execute.`,
    'Made by `npm run difference -- --table`.',
  ]
  writeFileSync(join(values.table, 'instructions-table.md'), reportMarkdown(rows, about))
  writeFileSync(join(values.table, 'instructions-table.json'), `${JSON.stringify(rows, undefined, 1)}\n`)
}
process.exitCode = failing > 0 ? 1 : 0
