/** Memory goes back when there is nothing to do, once for each time that there was. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLogger } from '#base/log.ts'
import { virtualClock } from '#sim/clock.ts'
import { settleSoon } from './settle.ts'

test('what work leaves behind goes once, when nothing has been to do for two seconds', async () => {
  const clock = virtualClock()
  let trims = 0
  const settling = settleSoon({ clock, log: silentLogger, processorMs: () => 0, trimMemory: async () => void (trims += 1) })
  const after = async (ms: number): Promise<number> => (await clock.advance(ms), trims)
  assert.equal(await after(1900), 0)
  settling.busy()
  assert.equal(await after(1900), 0)
  assert.equal(await after(200), 1)
  assert.equal(await after(60_000), 1)
  for (let round = 0; round < 5; round += 1) {
    settling.busy()
    assert.equal(await after(1500), 1)
  }
  assert.equal(await after(600), 2)
  assert.equal(await after(60_000), 2)
})

test('a process that still works on one long request is not stopped for it', async () => {
  const clock = virtualClock()
  let trims = 0
  let share = 1.2
  settleSoon({ clock, log: silentLogger, processorMs: () => clock.monotonicMs() * share, trimMemory: async () => void (trims += 1) })
  await clock.advance(20_000)
  assert.equal(trims, 0)
  share = 0
  await clock.advance(4000)
  assert.equal(trims, 1)
})
