/** A few seeds of the simulated cluster; `npm run soak -- sim` runs many. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runSeed } from './run.ts'

for (const seed of [1, 2, 3]) {
  test(`seed ${seed}: ten machines, roll-outs, crashes and cuts; all invariants hold and the cluster comes to rest`, async () => {
    const { violations } = await runSeed(seed)
    assert.deepEqual(violations, [])
  })
}

test('the same seed gives the same transcript twice, another seed another one', async () => {
  const options = { nodes: 4, steps: 15 }
  const [first, again, other] = [await runSeed(11, options), await runSeed(11, options), await runSeed(12, options)]
  assert.deepEqual(first.transcript, again.transcript)
  assert.notDeepEqual(first.transcript, other.transcript)
  assert.ok(first.transcript.length > 100)
})
