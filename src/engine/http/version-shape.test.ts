/** Fields that come and go: every rule at its edge, and nothing else touched. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fieldRules, shaped, type AnswerKind } from './version-shape.ts'
import { latestVersion, oldestVersion } from './version.ts'

/** An answer that holds exactly the field at `path`. */
function holding(path: string): object {
  return Object(path.split('.').reduceRight<unknown>((inner, step) => (step === '*' ? { any: inner } : { [step]: inner, kept: 1 }), 'value'))
}

function has(value: unknown, path: string): boolean {
  const [step = '', ...rest] = path.split('.')
  const next: unknown = Reflect.get(Object(value), step === '*' ? 'any' : step)
  return rest.length === 0 ? next !== undefined : next !== undefined && has(next, rest.join('.'))
}

for (const { kind, path, from = oldestVersion, before = latestVersion + 1 } of fieldRules) {
  test(`${kind}: ${path} is there from 1.${from} to 1.${before - 1} only`, () => {
    for (let version = oldestVersion; version <= latestVersion; version += 1) {
      const answer = shaped(kind, holding(path), version)
      assert.equal(has(answer, path), version >= from && version < before, `1.${version}`)
      assert.equal(has(answer, `${path.split('.').slice(0, -1).join('.')}${path.includes('.') ? '.' : ''}kept`) || path.endsWith('*'), true, 'its neighbour stays')
    }
  })
}

test('list items are shaped one by one', () => {
  const kind: AnswerKind = 'diskUsage'
  assert.deepEqual(shaped(kind, { BuildCache: [{ ID: 'a', Parent: '', Parents: [] }] }, 41), { BuildCache: [{ ID: 'a', Parent: '' }] })
  assert.deepEqual(shaped(kind, { BuildCache: [{ ID: 'a', Parent: '', Parents: [] }], BuilderSize: 0 }, 42), { BuildCache: [{ ID: 'a', Parents: [] }] })
})
