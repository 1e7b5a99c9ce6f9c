/** What nothing names is collected without anybody asking. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Clock, systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/log.ts'
import { collectRegularly } from './collector.ts'

test('a collection comes some time after the start and again and again, a failed one ends nothing', async () => {
  let due: (() => void) | undefined
  const clock: Clock = {
    ...systemClock,
    after(_delayMs, fire) {
      due = fire
      const cancel = (): void => void (due = undefined)
      return { cancel, [Symbol.dispose]: cancel }
    },
  }
  let collections = 0
  const collector = collectRegularly({ clock, logger: silentLogger, collect: async () => {
    collections += 1
    if (collections === 2) throw new Error('the disk is gone')
    return 1
  } })
  for (let round = 0; round < 3; round += 1) due?.()
  await collector[Symbol.asyncDispose]()
  assert.deepEqual([collections, due], [3, undefined])
})
