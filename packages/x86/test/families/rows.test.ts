import { describe, expect, test } from 'vitest'
import { prepareProgram } from '../../src/evaluator/program.ts'
import { Builder, type Value } from '../../src/ir/builder.ts'
import { Access } from '../../src/ir/op.ts'
import type { Procedure } from '../../src/ir/procedure.ts'
import { DecodeTable, FormTable } from '../../src/isa/decode-table.ts'
import { createDecoder } from '../../src/isa/decoder.ts'
import { takesMemory } from '../../src/isa/encoding.ts'
import type { Form } from '../../src/isa/form.ts'
import { forms } from '../../src/isa/forms.ts'
import { type Binding, Operands } from '../../src/isa/operands.ts'

/** Operands that are known to nobody: every number comes from the state. */
function unknownOperands(b: Builder, memory: boolean, form: Form, variant: Partial<Binding>): Binding {
  const word = (): Value => b.stateLoad(Access.u64, 0)
  const small = (): Value => b.stateLoad(Access.i32, 0)
  return {
    isMemory: (index) =>
      form.operands[index]!.startsWith('moffs') || (memory && takesMemory(form.operands[index]!)),
    register: () => ({ offset: 0, dynamic: small() }),
    number: small,
    effectiveAddress: word,
    linearAddress: word,
    immediate: word,
    secondImmediate: word,
    segmentBase: word,
    target: word,
    addressBits: 64,
    lock: false,
    repeat: 'none',
    ...variant,
  }
}

const modes = ['long', 'legacy'] as const

function variants(
  form: Form,
): { memory: boolean; mode: (typeof modes)[number]; binding: Partial<Binding> }[] {
  return modes
    .filter((mode) => form.options.mode !== (mode === 'long' ? 'no64' : 'only64'))
    .flatMap((mode) => placesOf(form).map((place) => ({ ...place, mode })))
}

function placesOf(form: Form): { memory: boolean; binding: Partial<Binding> }[] {
  const mayBeMemory = form.operands.some(takesMemory)
  const mustBeMemory = form.operands.some((kind) => /^m\d*$/.test(kind))
  const kinds = mustBeMemory ? [true] : mayBeMemory ? [false, true] : [false]
  return kinds.flatMap((memory) => [
    { memory, binding: {} },
    ...(form.options.lock && memory ? [{ memory, binding: { lock: true } }] : []),
    ...(form.options.addressSized ? [{ memory, binding: { addressBits: 32 as const } }] : []),
    ...(form.options.string
      ? (['rep', 'repne'] as const).flatMap((repeat) => [
          { memory, binding: { repeat } },
          { memory, binding: { repeat, addressBits: 32 as const } },
        ])
      : []),
  ])
}

function build(name: string, emit: (b: Builder) => void, b: Builder): void {
  b.code.clear()
  emit(b)
  prepareProgram(name, b.code, b.procedures.list)
}

describe('rows', () => {
  test('default: every form is found by the decoder, no two claim the same bytes', () => {
    const table = new DecodeTable(new FormTable(forms), 64)
    expect(
      table.conflicts.map(({ first, second }) => `${first.text} (${first.encoding}) / ${second.text}`),
    ).toEqual([])
    expect(createDecoder(forms).forms.length).toBe(forms.length)
    const names = forms.map((form) => `${form.text} (${form.encoding})`)
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([])
  })

  test('behaviour: every variant of every form builds well-formed IR, and so does every procedure', () => {
    const b = new Builder()
    for (const form of forms)
      for (const { memory, binding, mode } of variants(form)) {
        b.mode = mode
        build(
          form.text,
          () => form.body(b, new Operands(b, form, unknownOperands(b, memory, form, binding))),
          b,
        )
      }
    b.mode = 'long'
    // The list grows while procedures are built.
    for (let index = 0; index < b.procedures.list.length; index++) {
      const procedure: Procedure = b.procedures.list[index]!
      if (procedure.body)
        build(
          procedure.name,
          () => procedure.body!(b, ...procedure.parameters.map((type, at) => b.parameter(at, type))),
          b,
        )
    }
  })

  test('behaviour: a form that ends otherwise than by falling off its end says so', () => {
    const ends = new Set([0x2d0, 0x2d1, 0x2d2])
    const b = new Builder()
    const wrong: string[] = []
    for (const form of forms)
      for (const { memory, binding, mode } of variants(form)) {
        b.mode = mode
        b.code.clear()
        form.body(b, new Operands(b, form, unknownOperands(b, memory, form, binding)))
        if (b.code.op.subarray(0, b.code.length).some((op) => ends.has(op)) && !form.options.ends)
          wrong.push(form.text)
      }
    expect(wrong).toEqual([])
  })
})
