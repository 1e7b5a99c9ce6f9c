/** A case of a foreign suite that once passed stays on the list of passing cases. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { passingCases, readResult, resultsFolder } from './record.ts'

const repository = resolve(import.meta.dirname, '..')

function git(...args: string[]): string | undefined {
  const result = spawnSync('git', ['-C', repository, ...args], { encoding: 'utf8', maxBuffer: 2 ** 28 })
  return result.status === 0 ? result.stdout : undefined
}

test('passing cases are counted by verdict', () => {
  assert.deepEqual([...passingCases('{"cases":[{"name":"a","verdict":"passed"},{"name":"b","verdict":"failed"}]}')], ['a'])
})

/** Cases that passed for a reason that was wrong, and what is right instead. */
const withdrawn: Readonly<Record<string, readonly string[]>> = {
  // It passed while a size quota was dropped without a word; now it is refused, and the suite skips the case, as with dockerd here.
  'docker-py.json': ['api_container_test.CreateContainerTest test_create_with_storage_opt'],
}

const names = existsSync(resultsFolder) ? readdirSync(resultsFolder).filter((file) => file.endsWith('.json')) : []
for (const file of names) {
  test(`no passing case was removed from conformance/results/${file}`, (t) => {
    const path = `conformance/results/${file}`
    const commits = git('log', '--format=%H', '--', path)
    if (commits === undefined) return t.skip('not a git checkout: nothing to compare with')
    const now = passingCases(readResult(file.replace(/\.json$/, '')))
    for (const commit of commits.trim().split('\n').filter((line) => line !== '')) {
      const before = git('show', `${commit}:${path}`)
      if (before === undefined) continue
      const gone = [...passingCases(before)].filter((name) => !now.has(name) && withdrawn[file]?.includes(name) !== true)
      assert.deepEqual(gone, [], `cases that passed at ${commit.slice(0, 9)}`)
    }
  })
}
