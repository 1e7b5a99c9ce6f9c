/** Pumping: in order and together, and an end whatever fails at whatever instant. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isFault } from '#base/fault.ts'
import { pump } from './pump.ts'

const large = new Uint8Array(1024 * 1024)

test('pieces that come while others are taken are taken together, in order', async () => {
  const taken: number[][] = []
  const source = (async function* () {
    for (let index = 0; index < 100; index += 1) yield new Uint8Array([index])
  })()
  await pump(source, { take: async (pieces) => void taken.push(pieces.map(([first]) => first ?? -1)) })
  assert.deepEqual(taken.flat(), Array.from({ length: 100 }, (_, index) => index))
})

test('a refusal ends it, also at the instant at which the source gives more than there is room for', async () => {
  // The refusal and the piece are told within a few steps of each other, in either order.
  for (let distance = -5; distance <= 5; distance += 1) {
    const now = Promise.withResolvers<void>()
    const after = async (steps: number): Promise<void> => {
      await now.promise
      for (let step = 0; step < steps; step += 1) await Promise.resolve()
    }
    let ended = false
    const source = (async function* () {
      try {
        yield new Uint8Array(1)
        await after(5 + distance)
        for (let piece = 0; piece < 5; piece += 1) yield large
      } finally {
        ended = true
      }
    })()
    const pumping = pump(source, {
      take: async () => {
        await after(5)
        throw new Error('refused')
      },
    })
    now.resolve()
    await assert.rejects(pumping, /refused/)
    assert.ok(ended)
  }
})

test('a source that fails and one that is canceled still have taken what they gave', async () => {
  const taken: number[] = []
  const take = async (pieces: readonly Uint8Array[]): Promise<void> => void taken.push(...pieces.map(({ length }) => length))
  await assert.rejects(pump((async function* () {
    yield large
    throw new Error('broken off')
  })(), { take }), /broken off/)
  const stop = new AbortController()
  await assert.rejects(pump((async function* () {
    yield new Uint8Array(3)
    stop.abort()
    yield new Uint8Array(4)
    await new Promise(() => {})
  })(), { take, signal: stop.signal }), (error) => isFault(error, 'canceled'))
  assert.deepEqual(taken.slice(0, 2), [large.length, 3])
})
