/** What KeyedSerial, TaskGroup and Gate promise. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isFault } from './fault.ts'
import { Gate, KeyedSerial, TaskGroup } from './task.ts'

test('KeyedSerial keeps the order within a key, and a failure does not stop the next task', async () => {
  const serial = new KeyedSerial<string>()
  const order: string[] = []
  const gate = Promise.withResolvers<void>()
  const first = serial.run('a', async () => {
    await gate.promise
    order.push('a1')
    throw new Error('a1 failed')
  })
  const second = serial.run('a', async () => order.push('a2'))
  await serial.run('b', async () => order.push('b1'))
  gate.resolve()
  await assert.rejects(first, /a1 failed/)
  await second
  assert.deepEqual(order, ['b1', 'a1', 'a2'])
})

test('TaskGroup.close aborts its tasks and waits until they have ended', async () => {
  const errors: unknown[] = []
  const group = new TaskGroup((error) => errors.push(error))
  let ended = false
  group.spawn(
    (signal) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          ended = true
          resolve()
        })
      }),
  )
  await group.close()
  assert.equal(ended, true)
  assert.deepEqual(errors, [])
  assert.throws(() => group.spawn(async () => undefined), (error) => isFault(error, 'canceled'))
})

test('Gate refuses with resourceExhausted when its queue is full', async () => {
  const gate = new Gate(1, 0)
  const hold = Promise.withResolvers<void>()
  const running = gate.run(() => hold.promise)
  await assert.rejects(gate.run(async () => undefined), (error) => isFault(error, 'resourceExhausted'))
  hold.resolve()
  await running
  assert.equal(await gate.run(async () => 'free'), 'free')
})
