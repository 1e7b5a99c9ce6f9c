/** What the virtual clock and the seeded random promise. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sleep } from '#base/clock.ts'
import { virtualClock } from './clock.ts'
import { seededRandom } from './random.ts'

test('timers fire by due time, then by the order of setting, and see the time they were set for', async () => {
  const clock = virtualClock(0)
  const seen: string[] = []
  for (const [name, delay] of [['c', 30], ['a', 10], ['b1', 20], ['b2', 20]] as const) clock.after(delay, () => seen.push(`${name}@${clock.nowMs()}`))
  clock.after(20, () => seen.push('never')).cancel()
  await clock.advance(25)
  assert.deepEqual(seen, ['a@10', 'b1@20', 'b2@20'])
  assert.equal(clock.nowMs(), 25)
  assert.equal(clock.pending, 1)
})

test('continuations of a timer run before the next timer fires', async () => {
  const clock = virtualClock(0)
  const seen: string[] = []
  const worker = async (): Promise<void> => {
    await sleep(clock, 10)
    for (let i = 0; i < 50; i += 1) await Promise.resolve()
    seen.push('first done')
    await sleep(clock, 10)
    seen.push(`woke at ${clock.nowMs()}`)
  }
  void worker()
  clock.after(10, () => seen.push('second'))
  assert.equal(await clock.runUntilIdle(1000), 20)
  assert.deepEqual(seen, ['first done', 'second', 'woke at 20'])
})

test('a thousand random timers fire in order', async () => {
  const clock = virtualClock(0)
  const random = seededRandom(7)
  const seen: number[] = []
  const timers = Array.from({ length: 300 }, () => clock.after(random.int(1000), () => seen.push(clock.nowMs())))
  for (const timer of timers.slice(0, 100)) timer.cancel()
  await clock.advance(1000)
  assert.equal(seen.length, 200)
  assert.deepEqual(seen, seen.toSorted((a, b) => a - b))
})

test('a seed gives one sequence, and forks are independent of each other', () => {
  const draw = (seed: number): number[] => Array.from({ length: 5 }, ((random) => () => random.int(1000))(seededRandom(seed)))
  assert.deepEqual(draw(1), draw(1))
  assert.notDeepEqual(draw(1), draw(2))
  const [a, b] = [seededRandom(1), seededRandom(1)]
  a.int(10)
  assert.deepEqual(a.fork('x').bytes(16), b.fork('x').bytes(16))
  assert.notDeepEqual(a.fork('x').bytes(16), a.fork('y').bytes(16))
})

test('two drivers take turns and time never goes back', async () => {
  const clock = virtualClock(0)
  const seen: number[] = []
  for (let due = 10; due <= 100; due += 10) clock.after(due, () => seen.push(clock.nowMs()))
  await Promise.all([clock.advance(50), clock.runUntil(() => clock.nowMs() >= 100, 1000)])
  assert.deepEqual(seen, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100])
  assert.equal(clock.nowMs(), 100)
})
