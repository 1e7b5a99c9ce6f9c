/**
 * The collector beside pushes, mounts and deletions, each step of each at a moment that a seed chooses, over several registries on one
 * storage in virtual time: what a push was told is there stays until its manifest names it, what a manifest names stays until somebody
 * deletes it, and in the end nothing is left that nothing names.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isFault } from '#base/fault.ts'
import { silentLogger } from '#base/log.ts'
import { mediaTypes } from '#oci/descriptor.ts'
import type { Digest } from '#oci/digest.ts'
import { digestOf } from '#oci/digest.ts'
import { virtualClock } from '#sim/clock.ts'
import type { VirtualClock } from '#sim/clock.ts'
import { seededRandom } from '#sim/random.ts'
import type { SeededRandom } from '#sim/random.ts'
import { sleep } from '#base/clock.ts'
import { Manifests } from '../manifests.ts'
import { Repositories } from '../repositories.ts'
import { MemoryObjects } from '../storage/objects/memory-objects.ts'
import { openObjectStorage } from '../storage/objects/object-storage.ts'
import { Uploads } from '../uploads.ts'
import { Collector } from './collector.ts'
import { expiredTags } from './retention.ts'
import type { RetentionRule } from './retention.ts'

const graceMs = 3_600_000
const repositories = ['one', 'two']

interface Node {
  readonly repositories: Repositories
  readonly manifests: Manifests
  readonly uploads: Uploads
  readonly collector: Collector
  hasBlob(repository: string, digest: Digest): Promise<boolean>
  push(repository: string, tag: string, layers: readonly string[]): Promise<Digest>
}

function nodeOver(objects: MemoryObjects, clock: VirtualClock, random: SeededRandom, retention: readonly RetentionRule[] = []): Node {
  const storage = openObjectStorage({ objects, clock, random })
  const own = new Repositories({ records: storage.records, clock, renewAfterMs: graceMs / 4 })
  const manifests = new Manifests({ content: storage.content, repositories: own, sparse: false })
  const uploads = new Uploads({ storage, random })
  const collector = new Collector({ storage, repositories: own, uploads, graceMs, retention, clock, logger: silentLogger })
  const upload = async (repository: string, content: string): Promise<void> => {
    const key = { repository, id: await uploads.begin(repository) }
    const half = Math.floor(content.length / 2)
    const source = async function* (text: string): AsyncGenerator<Uint8Array> {
      yield Buffer.from(text)
    }
    await uploads.append(key, { source: source(content.slice(0, half)) })
    await uploads.finish(key, { source: source(content.slice(half)) }, { expect: digestOf(content), link: () => own.linkBlob(repository, digestOf(content)) })
  }
  const node: Node = {
    repositories: own, manifests, uploads, collector,
    // As HEAD answers who may push.
    hasBlob: async (repository, digest) => (await own.keepBlob(repository, digest)) && (await storage.content.stat(digest)) !== undefined,
    async push(repository, tag, layers) {
      for (const layer of ['{}', ...layers]) {
        if (await node.hasBlob(repository, digestOf(layer))) continue
        const from = random.pick(repositories)
        // As a mount does.
        if ((await own.hasBlob(from, digestOf(layer))) && (await storage.content.keep(digestOf(layer)))) await own.linkBlob(repository, digestOf(layer))
        else await upload(repository, layer)
      }
      const bytes = Buffer.from(imageOf(layers))
      return (await manifests.put(repository, { reference: tag, bytes, contentType: undefined, tags: [] })).digest
    },
  }
  return node
}

function imageOf(layers: readonly string[]): string {
  return JSON.stringify({
    schemaVersion: 2, mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociConfig, digest: digestOf('{}'), size: 2 },
    layers: layers.map((layer) => ({ mediaType: mediaTypes.ociLayer, digest: digestOf(layer), size: layer.length })),
  })
}

async function mustBeWhole(node: Node, repository: string, digest: Digest, layers: readonly string[]): Promise<void> {
  assert.equal((await node.manifests.get(repository, digest)).bytes.toString(), imageOf(layers))
  for (const layer of ['{}', ...layers]) assert.ok(await node.hasBlob(repository, digestOf(layer)), `${layer} of ${repository} is gone`)
}

/** A round of pushes, deletions and collections at once; answers what stands in the end, as far as it is known. */
async function round(nodes: readonly Node[], random: SeededRandom, clock: VirtualClock, stands: Map<string, readonly string[]>): Promise<void> {
  const work: Promise<unknown>[] = []
  const busy = new Set<string>()
  for (let task = 0; task < 6; task += 1) {
    const node = random.pick(nodes)
    const repository = random.pick(repositories)
    const layers = Array.from({ length: random.between(1, 2) }, () => `layer ${random.int(3)}`)
    const key = `${repository}@${digestOf(imageOf(layers))}`
    if (busy.has(key)) continue
    busy.add(key)
    if (stands.has(key) && random.chance(0.6)) {
      work.push(node.manifests.delete(repository, digestOf(imageOf(layers))).then(() => stands.delete(key)))
      continue
    }
    work.push((async () => {
      await sleep(clock, random.int(30_000))
      const digest = await node.push(repository, `t${random.int(3)}`, layers)
      await mustBeWhole(node, repository, digest, layers)
      stands.set(key, layers)
    })())
  }
  for (const node of nodes) if (random.chance(0.8)) work.push(sleep(clock, random.int(45_000)).then(() => node.collector.collect()))
  await Promise.all(work)
}

async function run(seed: number): Promise<void> {
  const random = seededRandom(seed)
  const clock = virtualClock()
  const pace = random.fork('pace')
  const objects = new MemoryObjects({ clock, pause: () => sleep(clock, pace.chance(0.3) ? 0 : pace.int(3000)) })
  const nodes = [1, 2, 3].map((number) => nodeOver(objects, clock, random.fork(`node ${number}`)))
  const [first] = nodes
  assert.ok(first !== undefined)
  const stands = new Map<string, readonly string[]>()
  const story = (async () => {
    for (let count = 0; count < 12; count += 1) {
      await round(nodes, random, clock, stands)
      // All that nothing names is old by the next round, when it is pushed again and collected at once.
      await sleep(clock, 2 * graceMs)
      for (const [key, layers] of stands) await mustBeWhole(first, key.split('@')[0] ?? '', digestOf(imageOf(layers)), layers)
    }
    // What is left has no more than a day to live.
    for (let count = 0; count < 3; count += 1) {
      await sleep(clock, 2 * graceMs)
      await first.collector.collect()
    }
  })()
  let ended = false
  story.finally(() => (ended = true)).catch((error: unknown) => error)
  assert.ok(await clock.runUntil(() => ended, 1e12))
  await story

  const expected = new Set([...stands].flatMap(([, layers]) => [imageOf(layers), '{}', ...layers]).map((content) => digestOf(content)))
  const keys = objects.keys()
  assert.deepEqual(new Set(keys.filter((key) => key.startsWith('blobs/')).map((key) => key.slice('blobs/'.length).replace('/', ':'))), expected, `seed ${seed}`)
  assert.deepEqual(keys.filter((key) => key.includes('_uploads') || key.includes('~')), [])
  const chunkBytes = keys.filter((key) => key.startsWith('chunks/')).map((key) => objects.sizeOf(key))
  const blobBytes = [...new Set([...stands].flatMap(([, layers]) => [imageOf(layers), '{}', ...layers]))].map((content) => content.length)
  const sum = (sizes: readonly number[]): number => sizes.reduce((total, size) => total + size, 0)
  assert.equal(sum(chunkBytes), sum(blobBytes), 'no chunk is left over, none is missing')
}

for (let seed = 1; seed <= 6; seed += 1) test(`seed ${seed}: pushes lose nothing to collectors, and garbage goes`, () => run(seed))

test('a repository with a damaged manifest keeps what it has, and others are collected', async () => {
  const clock = virtualClock()
  const objects = new MemoryObjects({ clock })
  const node = nodeOver(objects, clock, seededRandom(1))
  const damaged = await node.push('damaged', 'v1', ['layer 1'])
  const fine = await node.push('fine', 'v1', ['layer 2'])
  await node.manifests.delete('fine', fine)
  await objects.delete(`blobs/${damaged.replace(':', '/')}`)
  await clock.advance(2 * graceMs)
  await node.collector.collect()
  assert.ok(await node.hasBlob('damaged', digestOf('layer 1')))
  assert.equal(await node.hasBlob('fine', digestOf('layer 2')), false)
})

test('the timer runs while something is left, and rests afterwards', async () => {
  const clock = virtualClock()
  const objects = new MemoryObjects({ clock })
  const node = nodeOver(objects, clock, seededRandom(1))
  const digest = await node.push('a', 'v1', ['layer'])
  await node.manifests.delete('a', digest)
  const controller = new AbortController()
  const keeping = node.collector.keepCollecting(graceMs / 2, controller.signal).catch((error: unknown) => assert.ok(isFault(error, 'canceled')))
  await clock.advance(10 * graceMs)
  assert.deepEqual(objects.keys(), ['collected'])
  const lastRunMs = (await objects.stat('collected'))?.writtenAtMs
  await clock.advance(50 * graceMs)
  assert.equal((await objects.stat('collected'))?.writtenAtMs, lastRunMs)
  controller.abort()
  await keeping
})

test('retention keeps the newest tags, the young ones, and what a tag, an index or a subject needs', async () => {
  const clock = virtualClock()
  const objects = new MemoryObjects({ clock })
  const rules = [{ repositories: 'team/**', tags: 'build-*', keepNewest: 2, keepForMs: graceMs, untaggedForMs: 2 * graceMs }]
  const node = nodeOver(objects, clock, seededRandom(1), rules)
  const child = await node.push('team/app', 'child', ['child'])
  const index = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [{ mediaType: mediaTypes.ociManifest, digest: child, size: imageOf(['child']).length }] })
  await node.manifests.put('team/app', { reference: 'release', bytes: Buffer.from(index), contentType: undefined, tags: [] })
  await node.repositories.untag('team/app', 'child')
  const signature = JSON.stringify({ ...JSON.parse(imageOf(['child'])), subject: { mediaType: mediaTypes.ociIndex, digest: digestOf(index), size: index.length } })
  await node.manifests.put('team/app', { reference: digestOf(signature), bytes: Buffer.from(signature), contentType: undefined, tags: [] })
  const untagged = await node.push('team/app', 'gone', ['untagged'])
  await node.repositories.untag('team/app', 'gone')
  for (let build = 1; build <= 5; build += 1) {
    await node.push('team/app', `build-${build}`, [`build ${build}`])
    await node.push('other', `build-${build}`, [`build ${build}`])
    await clock.advance(graceMs)
  }
  await node.collector.collect()
  assert.deepEqual(await node.repositories.tags('team/app'), ['build-4', 'build-5', 'release'])
  assert.equal((await node.repositories.tags('other')).length, 5)
  await clock.advance(3 * graceMs)
  await node.collector.collect()
  const left = new Set((await Array.fromAsync(node.repositories.manifestLinks('team/app'))).map(({ digest }) => digest))
  assert.deepEqual(left, new Set([child, digestOf(index), digestOf(signature), ...['build 4', 'build 5'].map((layer) => digestOf(imageOf([layer])))]))
  assert.ok(!left.has(untagged))
  assert.equal(await node.hasBlob('team/app', digestOf('untagged')), false)
})

test('a rule without a bound lets nothing go', () => {
  assert.deepEqual(expiredTags({ repositories: '**' }, [{ tag: 'a', pushedAtMs: 0 }], 1e12), [])
  assert.deepEqual(expiredTags({ repositories: '**', keepNewest: 0 }, [{ tag: 'a', pushedAtMs: 0 }], 1e12), ['a'])
})
