/** A case of a foreign suite that once passed stays on the list of passing cases. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { currentName } from './engines/podman-names.ts'
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
  // It passed while the stand-in hub had no search and so failed every one. To podman `bogus` is a host that is not there; Docker
  // (moby `daemon/pkg/registry/search.go`) asks the hub for the whole term and answers a list, which is empty.
  'podman-compat.json': ['test_images.TestImages test_search_bogus_image'],
  // They asked for the soft limit of an exec, which dockerd's runc 1.1.5 sets in a race with itself (opencontainers/runc#4195); the
  // container's own limits are asked for now.
  'compose.json': ['1.29', 'v2'].map((tool) => `${tool} app 10: exec -T web sh -c "echo $$FROM_FILE $$QUOTED $$MODE $$BUILT; hostname; ulimit -n; ls -d /anonymous"`),
  'podman-api.json': [
    // The parameter `filter` is Docker's until API 1.40; at 1.41, where the suite asks, it says nothing, with dockerd as well.
    '[10-images] GET images/json?filter=nonesuch : length',
    // The id was null: the suite asks podman's own API for it, and is told Docker's now.
    '[35-networks] GET networks?filters={"id":["null"]} : status',
    '[35-networks] GET networks?filters={"id":["null"]} : .[0].Id',
    // A push of what is not there fails in the stream of progress, under a status 200, with dockerd as well.
    '[12-imagesMore] POST images/localhost:PORT/idonotexist/push?tlsVerify=false [-d {}] : status',
    // 404 was the answer to an unknown page. Docker's is 503: there is no swarm.
    '[50-secrets] DELETE secrets/bogus [-d {}] : status',
    '[50-secrets] GET secrets/bogus : status',
    // Docker saves every tag of a name without one (moby `daemon/internal/image/tarexport/save.go`), so that `foo` is found by its `foo:tag`.
    '[70-short-names] GET images/foo/get : status (2)',
  ],
}

/** Names of a driver's cases have changed; an older one is looked for under today's. */
const renamed: Readonly<Record<string, (recorded: string) => string>> = { 'podman-api.json': currentName }

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
      const gone = [...passingCases(before)].map(renamed[file] ?? ((name) => name)).filter((name) => !now.has(name) && withdrawn[file]?.includes(name) !== true)
      assert.deepEqual(gone, [], `cases that passed at ${commit.slice(0, 9)}`)
    }
  })
}
