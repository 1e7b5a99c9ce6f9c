/** Indexes through pull and push: what a name was given from is kept, and pushed as it is where nothing of it is missing. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { isFault } from '#base/fault.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { mediaTypes } from '#oci/descriptor.ts'
import { digestOf } from '#oci/digest.ts'
import type { TransferProgress } from '../contract/images.ts'
import { foreign, machine, own, publish, publishIndex, publishManifest, serve } from './transfer.fixture.ts'
import type { Machine, Served } from './transfer.fixture.ts'

let kernel: Kernel & AsyncDisposable

before(async () => {
  kernel = await openKernel()
})
after(() => kernel[Symbol.asyncDispose]())

async function architectureOf(here: Machine, name: string): Promise<string> {
  return (await here.images.resolve(name)).config.architecture
}

/** Every digest that the registry holds in this repository. */
function held(registry: Served, repository: string): readonly string[] {
  const { blobs, manifests } = registry.repository(repository)
  return [...new Set([...blobs.keys(), ...manifests.keys()])].filter((key) => key.startsWith('sha256:')).sort()
}

test('a pull keeps the index, its own image and what is attested of that, and fetches nothing of other platforms', async () => {
  await using registry = await serve()
  await using here = await machine(kernel)
  const { index, images: [theirs, ours], attestations: [theirAttestation, ourAttestation] } = publishIndex(registry.repository('app'), [foreign, own])
  const image = await here.images.pull(`${registry.host}/app`, {})
  assert.equal(image.config.architecture, own)
  assert.deepEqual(image.repoDigests, [`${registry.host}/app@${index.digest}`])
  for (const kept of [index, ours, ourAttestation]) assert.ok(kept !== undefined && (await here.blobs.stat(kept.digest)) !== undefined)
  for (const left of [theirs, theirAttestation]) assert.ok(left !== undefined && !registry.requests.some((line) => line.endsWith(left.digest)))
  await here.images.collect({ sparedMs: -60_000 })
  assert.ok((await here.blobs.stat(index.digest)) !== undefined)
  assert.equal((await here.images.resolve(`${registry.host}/app@${index.digest}`)).id, image.id)
  // With the name all of it goes.
  await here.images.remove(`${registry.host}/app`)
  await here.images.collect({ sparedMs: -60_000 })
  assert.deepEqual(await Array.fromAsync(here.blobs.list()), [])
})

test('a pull for another platform adds that one, and then the index is whole: pushed elsewhere and pulled again it has its digest', async () => {
  await using registry = await serve()
  await using other = await serve()
  await using here = await machine(kernel)
  const { index } = publishIndex(registry.repository('app'), [own, foreign])
  const name = `${registry.host}/app`
  await here.images.pull(name, {})
  await here.images.pull(name, { platform: `linux/${foreign}` })
  assert.equal(await architectureOf(here, name), foreign)
  await here.images.pull(name, {})
  assert.equal(await architectureOf(here, name), own)
  await here.images.tag(name, `${other.host}/copy:1`)
  // The image that no name means any more may go: what can be reached from the name stays.
  await here.images.prune({ all: false, usedBy: () => [] })
  const progress: TransferProgress[] = []
  const pushed = await here.images.push(`${other.host}/copy:1`, { onProgress: (step) => progress.push(step) })
  assert.deepEqual(pushed, { tag: '1', digest: index.digest, sizeBytes: index.size })
  assert.deepEqual(held(other, 'copy'), held(registry, 'app'))
  assert.equal(progress.filter(({ status }) => status === 'Pushed').length, 2)
  assert.deepEqual((await here.images.resolve(name)).repoDigests, [`${other.host}/copy@${index.digest}`, `${name}@${index.digest}`].sort())
  await using there = await machine(kernel)
  assert.deepEqual((await there.images.pull(`${other.host}/copy:1`, {})).repoDigests, [`${other.host}/copy@${index.digest}`])
})

test('of an index that is not whole the image that is here is pushed, and that is said', async () => {
  await using registry = await serve()
  await using other = await serve()
  await using here = await machine(kernel)
  const { index, images: [ours] } = publishIndex(registry.repository('app'), [own, foreign])
  await here.images.pull(`${registry.host}/app`, {})
  await here.images.tag(`${registry.host}/app`, `${other.host}/copy:1`)
  const pushed = await here.images.push(`${other.host}/copy:1`, {})
  assert.equal(pushed.digest, ours?.digest)
  assert.deepEqual([pushed.insteadOf?.index.digest, pushed.insteadOf?.selected.digest], [index.digest, ours?.digest])
  // Only what a platform was asked for.
  await assert.rejects(here.images.push(`${other.host}/copy:1`, { platform: `linux/${foreign}` }), (error) => isFault(error, 'notFound') && error.message === `image with reference ${other.host}/copy:1 was found but does not provide the specified platform (linux/${foreign})`)
  await here.images.pull(`${registry.host}/app`, { platform: `linux/${foreign}` })
  await here.images.tag(`${registry.host}/app`, `${other.host}/copy:2`)
  assert.equal((await here.images.push(`${other.host}/copy:2`, { platform: `linux/${own}` })).digest, ours?.digest)
  assert.equal((await here.images.push(`${other.host}/copy:2`, {})).digest, index.digest)
})

test('within a registry an index is copied whole by mounts, whatever is here of it', async () => {
  await using registry = await serve()
  await using here = await machine(kernel)
  const { index } = publishIndex(registry.repository('app'), [own, foreign])
  await here.images.pull(`${registry.host}/app`, {})
  await here.images.tag(`${registry.host}/app`, `${registry.host}/team/copy:1`)
  registry.requests.length = 0
  const progress: TransferProgress[] = []
  assert.equal((await here.images.push(`${registry.host}/team/copy:1`, { onProgress: (step) => progress.push(step) })).digest, index.digest)
  assert.deepEqual(held(registry, 'team/copy'), held(registry, 'app'))
  assert.deepEqual(registry.requests.filter((line) => line.startsWith('PUT') && line.includes('/blobs/')), [])
  assert.ok(progress.some(({ status }) => status === `Mounted from ${registry.host}/app`))
})

test('parts of kinds that nobody knows are bytes: kept, and pushed with the index; alone they are no image', async () => {
  await using registry = await serve()
  await using here = await machine(kernel)
  const repository = registry.repository('app')
  const chart = Buffer.from('a chart')
  repository.blobs.set(digestOf(chart), chart)
  const artifact = publishManifest(repository, 'chart', {
    schemaVersion: 2, mediaType: mediaTypes.ociManifest, artifactType: 'application/vnd.example',
    config: { mediaType: 'application/vnd.cncf.helm.config.v1+json', digest: digestOf(chart), size: chart.length },
    layers: [{ mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip', digest: digestOf(chart), size: chart.length }],
  })
  const { index } = publishIndex(repository, [own], { more: [artifact] })
  await here.images.pull(`${registry.host}/app`, {})
  await here.images.tag(`${registry.host}/app`, `${registry.host}/copy:1`)
  assert.equal((await here.images.push(`${registry.host}/copy:1`, {})).digest, index.digest)
  assert.deepEqual(registry.repository('copy').blobs.get(digestOf(chart)), chart)
  await assert.rejects(here.images.pull(`${registry.host}/app:chart`, {}), (error) => isFault(error, 'invalidArgument') && /^unsupported media type application\/vnd\.cncf\.helm\.config\.v1\+json: .* no container image/.test(error.message))
})

test('two names of one image that came by different manifests are pushed each as it came', async () => {
  await using registry = await serve()
  await using other = await serve()
  await using here = await machine(kernel)
  const { index, images: [ours] } = publishIndex(registry.repository('app'), [own])
  const byIndex = await here.images.pull(`${registry.host}/app`, {})
  const alone = await here.images.pull(`${registry.host}/app:only-${own}`, {})
  assert.equal(alone.id, byIndex.id)
  await here.images.tag(`${registry.host}/app:only-${own}`, `${other.host}/copy:alone`)
  await here.images.tag(`${registry.host}/app`, `${other.host}/copy:index`)
  assert.equal((await here.images.push(`${other.host}/copy:alone`, {})).digest, ours?.digest)
  assert.equal((await here.images.push(`${other.host}/copy:index`, {})).digest, index.digest)
  // An id names the image alone.
  await here.images.tag(alone.id, `${other.host}/copy:id`)
  assert.equal((await here.images.push(`${other.host}/copy:id`, {})).digest, ours?.digest)
})

test('what is attested and cannot be had does not hold a pull up', async () => {
  await using registry = await serve()
  await using here = await machine(kernel)
  const repository = registry.repository('app')
  const { attestations: [attestation] } = publishIndex(repository, [own])
  repository.manifests.delete(attestation?.digest ?? '')
  assert.equal((await here.images.pull(`${registry.host}/app`, {})).config.architecture, own)
  const { images: [image] } = publishIndex(registry.repository('other'), [foreign])
  await assert.rejects(here.images.pull(`${registry.host}/other`, {}), /no matching manifest for linux\//)
  assert.equal((await here.images.pull(`${registry.host}/other@${image?.digest}`, {})).config.architecture, foreign)
  publish(repository, [], {})
})

test('of a name each platform that is here can be had; the others belong to the name, unlisted, and go with it', async () => {
  await using registry = await serve()
  await using here = await machine(kernel)
  const { index, attestations } = publishIndex(registry.repository('app'), [own, foreign])
  const name = `${registry.host}/app`
  const image = await here.images.pull(name, {})
  await assert.rejects(here.images.resolve(name, { platform: `linux/${foreign}` }), (error) => isFault(error, 'notFound') && error.message === `image with reference ${name} was found but does not provide the specified platform (linux/${foreign})`)
  assert.equal((await here.images.resolve(name, { platform: `linux/${own}` })).id, image.id)
  // For a build: the name is left as it is.
  const other = await here.images.pull(name, { platform: `linux/${foreign}`, leavesNames: true })
  assert.equal((await here.images.resolve(name)).id, image.id)
  const found = await here.images.resolve(name, { platform: `linux/${foreign}` })
  assert.deepEqual([found.id, found.repoTags, found.repoDigests], [other.id, [`${name}:latest`], [`${name}@${index.digest}`]])
  assert.deepEqual((await here.images.list()).map(({ id }) => id), [image.id])
  assert.deepEqual((await here.images.list({ all: true })).length, 2)
  assert.deepEqual((await here.images.prune({ all: false, usedBy: () => [] })).removals, [])
  const { target, manifests } = await here.images.manifests(name)
  assert.equal(target.digest, index.digest)
  assert.deepEqual(manifests.map(({ kind, isAvailable }) => [kind.is, kind.is === 'image' ? kind.platform.architecture : '', isAvailable]), [['image', own, true], ['image', foreign, true], ['attestation', '', true], ['attestation', '', true]])
  assert.deepEqual(manifests[2]?.descriptor.digest, attestations[0]?.digest)
  // An image that is used stays, whatever becomes of the name.
  const usedBy = (id: string): { containerId: string; running: boolean }[] => (id === other.id ? [{ containerId: 'c'.repeat(64), running: false }] : [])
  assert.deepEqual(await here.images.remove(name, { usedBy }), [{ untagged: `${name}:latest` }, { untagged: `${name}@${index.digest}` }, { deleted: image.id }])
  assert.deepEqual((await here.images.list()).map(({ id }) => id), [other.id])
  assert.deepEqual(await here.images.remove(other.id), [{ deleted: other.id }])
  await here.images.collect({ sparedMs: -60_000 })
  assert.deepEqual(await Array.fromAsync(here.blobs.list()), [])
})

test('what is known of manifests that are not here is what their index says', async () => {
  await using registry = await serve()
  await using here = await machine(kernel)
  const { images: [ours] } = publishIndex(registry.repository('app'), [own, foreign])
  const image = await here.images.pull(`${registry.host}/app`, {})
  const { manifests } = await here.images.manifests(`${registry.host}/app`)
  assert.deepEqual(manifests.map(({ kind, isAvailable }) => [kind.is, isAvailable]), [['image', true], ['image', false], ['attestation', true], ['attestation', false]])
  const [present, absent] = manifests
  assert.ok(present?.kind.is === 'image' && present.kind.id === image.id && present.kind.unpackedBytes === image.sizeBytes && present.contentBytes > 0)
  assert.equal(absent?.contentBytes, 0)
  // Of an id its own manifest.
  const own1 = await here.images.manifests(image.id)
  assert.deepEqual(own1.manifests.map(({ descriptor }) => descriptor.digest), [ours?.digest])
})
