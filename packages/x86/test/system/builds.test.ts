import { expect, test } from 'vitest'
import { systemPortForms } from '../../src/families/system-port.ts'
import { systemRegisterForms } from '../../src/families/system-registers.ts'
import { systemSegmentForms } from '../../src/families/system-segments.ts'
import { systemTransferForms } from '../../src/families/system-transfer.ts'
import { Builder, ProcedureTable, type Value } from '../../src/ir/builder.ts'
import type { Procedure } from '../../src/ir/procedure.ts'
import { encodingOf } from '../../src/isa/encoding.ts'
import * as procedures from '../../src/system/procedures.ts'

function build(procedure: Procedure, table: ProcedureTable): void {
  const b = new Builder(table)
  procedure.body?.(b, ...procedure.parameters.map((type, index): Value => b.parameter(index, type)))
}

test('default: every system procedure builds, and so does all it calls', () => {
  const table = new ProcedureTable()
  for (const entry of Object.values(procedures))
    if (typeof entry === 'object' && 'body' in entry) table.number(entry as Procedure)
  for (let index = 0; index < table.list.length; index++) build(table.list[index]!, table)
  expect(table.list.length).toBeGreaterThan(40)
})

test('default: the encodings of the system rows parse, and no two rows are the same', () => {
  const rows = [...systemPortForms, ...systemRegisterForms, ...systemSegmentForms, ...systemTransferForms]
  for (const row of rows) encodingOf(row)
  const texts = rows.map((row) => `${row.text} ${row.encoding}`)
  expect(new Set(texts).size).toBe(texts.length)
})
