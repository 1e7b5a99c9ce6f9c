/**
 * Clients that write against each other, watchers that come late, fall behind and resume, a server that restarts over its store: whatever
 * happens, each watcher's picture is the list, versions only grow, and no acknowledged write is lost. Seeded: a failure prints its seed.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isFault } from '#base/fault.ts'
import { silentLogger } from '#base/log.ts'
import { virtualClock } from '#sim/clock.ts'
import { seededRandom } from '#sim/random.ts'
import { ConfigMap } from '../api/core/v1/config-map.ts'
import { Namespace } from '../api/core/v1/namespace.ts'
import { allKinds } from '../api/index.ts'
import type { Client } from '../contract/client.ts'
import { openMemoryStore } from '../store/memory/store.ts'
import { createApi, type Api } from './api.ts'
import { localClient } from './local-client.ts'

type Draw = ReturnType<typeof seededRandom>

/** A watcher's picture of the collection: name → version. */
class Picture {
  readonly objects = new Map<string, string>()
  version = 0n
  relists = 0

  see(version: string): void {
    assert.ok(BigInt(version) > this.version, `version ${version} came after ${this.version}`)
    this.version = BigInt(version)
  }
}

/** Lists, watches, and does so again when it is cut off or sent away: `steps` events at most per watch, to resume often. */
async function follow(client: Client, picture: Picture, draw: Draw, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    try {
      if (picture.version === 0n) {
        const list = await client.list(ConfigMap, { namespace: 'default' })
        picture.objects.clear()
        for (const { metadata } of list.items) picture.objects.set(metadata.name, metadata.resourceVersion)
        picture.version = BigInt(list.resourceVersion)
        picture.relists += 1
      }
      let left = 1 + draw.int(20)
      for await (const event of client.watch(ConfigMap, { namespace: 'default', resourceVersion: String(picture.version), signal: stop })) {
        if (event.type === 'BOOKMARK') continue
        const { name, resourceVersion } = event.object.metadata
        picture.see(resourceVersion)
        if (event.type === 'ADDED') assert.ok(!picture.objects.has(name), `${name} was added twice`)
        else assert.ok(picture.objects.has(name), `${event.type} of ${name}, which is not there`)
        if (event.type === 'DELETED') picture.objects.delete(name)
        else picture.objects.set(name, resourceVersion)
        if ((left -= 1) === 0) break
      }
    } catch (error) {
      if (isFault(error, 'expired')) picture.version = 0n
      else if (!isFault(error, 'unavailable')) throw error
    }
  }
}

/** Counts up in a few objects, guarded or patching; answers how many increments were acknowledged per object and incarnation. */
async function write(client: Client, draw: Draw, acknowledged: Map<string, number>): Promise<void> {
  for (let step = 0; step < 60; step += 1) {
    const ref = { namespace: 'default', name: `c${draw.int(6)}` }
    try {
      const action = draw.int(10)
      if (action < 2) await client.create(ConfigMap, { metadata: ref, data: { n: '0' } })
      else if (action < 3) await client.delete(ConfigMap, ref)
      else {
        const found = await client.get(ConfigMap, ref)
        const next = await client.update(ConfigMap, { ...found, data: { n: String(Number(found.data?.['n'] ?? 0) + 1) } })
        acknowledged.set(next.metadata.uid, (acknowledged.get(next.metadata.uid) ?? 0) + 1)
      }
    } catch (error) {
      if (!isFault(error) || !['conflict', 'notFound', 'alreadyExists'].includes(error.code)) throw error
    }
  }
}

async function world(seed: number): Promise<void> {
  const store = openMemoryStore()
  const clock = virtualClock()
  const draw = seededRandom(seed)
  const open = (start: number): Promise<Api> =>
    createApi({ store, kinds: allKinds, clock, random: draw.fork(`api ${start}`), log: silentLogger, ranges: { serviceCidr: '10.43.0.0/16', nodePorts: [30_000, 32_767] } })
  let api = await open(0)
  await localClient({ api }).create(Namespace, { metadata: { name: 'default' } })
  const acknowledged = new Map<string, number>()
  const pictures = Array.from({ length: 4 }, () => new Picture())
  for (let round = 0; round < 3; round += 1) {
    const client = localClient({ api })
    const stop = new AbortController()
    const following = pictures.map((picture, index) => follow(client, picture, draw.fork(`watch ${round} ${index}`), stop.signal))
    await Promise.all(Array.from({ length: 5 }, (_, index) => write(client, draw.fork(`write ${round} ${index}`), acknowledged)))
    const list = await client.list(ConfigMap, { namespace: 'default' })
    await clock.settle()
    const truth = Object.fromEntries(list.items.map(({ metadata }) => [metadata.name, metadata.resourceVersion]))
    for (const picture of pictures) assert.deepEqual(Object.fromEntries([...picture.objects].sort(([a], [b]) => (a < b ? -1 : 1))), truth)
    for (const { metadata, data } of list.items) assert.equal(Number(data?.['n']), acknowledged.get(metadata.uid) ?? 0, `${metadata.name} lost a write`)
    stop.abort()
    await Promise.all(following)
    // The server goes and comes again, sometimes after the history was compacted under its watchers.
    await api.close()
    if (draw.int(2) === 0) await store.compact(store.revision())
    api = await open(round + 1)
  }
  await api.close()
  await store.close()
}

test('watchers, writers and restarts agree, whatever the interleaving', async () => {
  for (let seed = 1; seed <= 12; seed += 1) {
    try {
      await world(seed)
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error })
    }
  }
})
