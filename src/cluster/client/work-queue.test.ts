/** What the work queue promises, in virtual time. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { virtualClock } from '#sim/clock.ts'
import { WorkQueue } from './work-queue.ts'

test('a key waits once, is worked on by one worker at a time, and once more when it was added meanwhile', async () => {
  const clock = virtualClock(0)
  const seen: string[] = []
  const hold = Promise.withResolvers<void>()
  const queue = new WorkQueue({
    clock,
    concurrency: 2,
    reconcile: async (key) => {
      seen.push(`${key} begins`)
      if (seen.length === 1) await hold.promise
      seen.push(`${key} ends`)
    },
  })
  for (const key of ['a', 'a', 'b', 'b']) queue.add(key)
  queue.start()
  await clock.settle()
  assert.deepEqual(seen, ['a begins', 'b begins', 'b ends'])
  queue.add('a')
  queue.add('a')
  await clock.settle()
  assert.equal(seen.length, 3)
  hold.resolve()
  await clock.settle()
  assert.deepEqual(seen.slice(3), ['a ends', 'a begins', 'a ends'])
  assert.equal(queue.idle, true)
  await queue.close()
})

test('failures back off per key and are forgotten by a success', async () => {
  const clock = virtualClock(0)
  const attempts: number[] = []
  let failing = true
  const queue = new WorkQueue({
    clock,
    maxBackoffMs: 40,
    reconcile: async () => {
      attempts.push(clock.nowMs())
      if (failing) throw new Error('not yet')
    },
  })
  queue.start()
  queue.add('a')
  await clock.advance(120)
  assert.deepEqual(attempts, [0, 5, 15, 35, 75, 115])
  failing = false
  await clock.advance(40)
  failing = true
  queue.add('a')
  await clock.advance(5)
  assert.deepEqual(attempts.slice(6), [155, 160, 165].slice(0, 3))
  await queue.close()
  assert.equal(clock.pending, 0)
})

test('a reconciler may ask to be called again; the earliest of several delays holds', async () => {
  const clock = virtualClock(0)
  const calls: number[] = []
  const queue = new WorkQueue({
    clock,
    reconcile: async () => {
      calls.push(clock.nowMs())
      return calls.length === 1 ? { requeueAfterMs: 500 } : {}
    },
  })
  queue.start()
  queue.add('a')
  await clock.settle()
  queue.addAfter('a', 100)
  queue.addAfter('a', 300)
  await clock.advance(1000)
  assert.deepEqual(calls, [0, 100])
  await queue.close()
})

test('closing aborts the running reconcilers and waits for them', async () => {
  const clock = virtualClock(0)
  let ended = false
  const queue = new WorkQueue({
    clock,
    reconcile: (_key, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          ended = true
          reject(new Error('aborted'))
        })
      }),
  })
  queue.start()
  queue.add('a')
  await clock.settle()
  await queue.close()
  assert.equal(ended, true)
  queue.add('b')
  assert.equal(queue.idle, true)
})
