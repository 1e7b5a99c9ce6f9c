/** Removers and renewers of one record or blob, their steps in every order that seeds come up with: who was told that it is there finds it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sleep } from '#base/clock.ts'
import { digestOf } from '#oci/digest.ts'
import { virtualClock } from '#sim/clock.ts'
import { seededRandom } from '#sim/random.ts'
import type { SeededRandom } from '#sim/random.ts'
import type { RegistryStorage } from '../contract.ts'
import { storeBytes } from '../contract.ts'
import { MemoryObjects } from './memory-objects.ts'
import { openObjectStorage } from './object-storage.ts'

async function inEveryOrder(seed: number, story: (storage: RegistryStorage, random: SeededRandom, nowMs: () => number) => Promise<void>): Promise<void> {
  const clock = virtualClock()
  const random = seededRandom(seed)
  const pace = random.fork('pace')
  const objects = new MemoryObjects({ clock, pause: () => sleep(clock, pace.chance(0.2) ? 5 * pace.int(20) : pace.int(20)) })
  let ended = false
  const told = story(openObjectStorage({ objects, clock, random }), random, () => clock.nowMs()).finally(() => (ended = true))
  told.catch((error: unknown) => error)
  assert.ok(await clock.runUntil(() => ended, 1e9), `seed ${seed} does not end`)
  await told
  assert.deepEqual(objects.keys().filter((key) => key.includes('~')), [], `seed ${seed}: a remover's word is left`)
}

test('a record that somebody has renewed or written is there, whoever removes the former one', async () => {
  for (let seed = 1; seed <= 150; seed += 1) {
    await inEveryOrder(seed, async ({ records }, random) => {
      await records.write('a/x', 'content')
      const version = (await records.stat('a/x'))?.version ?? ''
      const renew = async (): Promise<boolean> => {
        if (random.chance(0.5)) return await records.touch('a/x')
        await records.write('a/x', 'content')
        return true
      }
      const removers = [records.remove('a/x', { version }), ...(random.chance(0.5) ? [records.remove('a/x', { version })] : [])]
      const [renewed] = await Promise.all([renew(), ...removers])
      if (renewed) assert.equal((await records.read('a/x'))?.toString(), 'content', `seed ${seed}`)
      else assert.equal(await records.read('a/x'), undefined)
    })
  }
})

test('a blob that somebody has kept or committed again is there, whoever removes the old one', async () => {
  for (let seed = 1; seed <= 150; seed += 1) {
    await inEveryOrder(seed, async ({ content }, random, nowMs) => {
      const digest = digestOf('content')
      await storeBytes(content, Buffer.from('content'), digest)
      const committedBeforeMs = nowMs() + 1
      const renew = async (): Promise<boolean> => {
        if (random.chance(0.5)) return await content.keep(digest)
        await storeBytes(content, Buffer.from('content'), digest)
        return true
      }
      const [renewed] = await Promise.all([renew(), renew(), content.remove(digest, { committedBeforeMs }), content.remove(digest, { committedBeforeMs })])
      if (renewed) assert.equal((await content.read(digest, { maxBytes: 100 })).toString(), 'content', `seed ${seed}`)
    })
  }
})
