import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { interpreterEngine, jitEngine } from '../scripts/engines.ts'
import { evaluatorEngine, FixtureError, formatFixture, parseFixture, unexplained } from '../src/index.ts'

const folder = join(import.meta.dirname, '..', 'fixtures')
const names = readdirSync(folder).filter((name) => name.endsWith('.txt'))
const engines = [evaluatorEngine(), await interpreterEngine(), await jitEngine()]

describe('behaviour: what silicon did', () => {
  test.each(names)('%s', (name) => {
    const fixture = parseFixture(name, readFileSync(join(folder, name), 'utf8'))
    for (const engine of engines) {
      const [end] = engine.run([fixture.case])
      expect(unexplained(fixture.case, fixture.end, end!), engine.name).toEqual([])
    }
  })

  test('a fixture survives being written and read', () => {
    for (const name of names) {
      const { case: one, end } = parseFixture(name, readFileSync(join(folder, name), 'utf8'))
      const again = parseFixture(name, formatFixture({ case: one, end }, 'a comment'))
      expect(again.case.start.bytes).toEqual(one.start.bytes)
      expect(again.end.bytes).toEqual(end.bytes)
    }
  })
})

describe('error: a fixture that is not understood', () => {
  test.each([
    ['start rax 1', 'does not say how it ends'],
    ['start rax 1\nend', 'no such field'],
    ['begin rax 1', 'not understood'],
    ['end memory 0x1 00', 'memory that is not watched'],
  ])('%s', (text, message) => {
    expect(() => parseFixture('broken.txt', text)).toThrow(FixtureError)
    expect(() => parseFixture('broken.txt', text)).toThrow(message)
  })
})
