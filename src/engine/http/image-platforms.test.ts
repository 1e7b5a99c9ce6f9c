/** A name that stands for an index, through the Engine API: its manifests, its platforms, and containers of them. */
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { openKernel } from '#linux/real/kernel.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import { hostPlatform } from '#oci/platform.ts'
import { busyboxMissing, field, messageOf, openRealEngine } from '../real-engine.fixture.ts'

const own = hostPlatform.architecture
const foreign = own === 's390x' ? 'ppc64le' : 's390x'

function platformQuery(architecture: string): string {
  return `platform=${encodeURIComponent(JSON.stringify({ os: 'linux', architecture }))}`
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

test('an index is looked into, and containers are made of the platform that was asked for', { skip: busyboxMissing }, async () => {
  await using real = await openRealEngine(await openKernel(), { name: 'bimp', subnet: '172.29.116.0/24' })
  const { images } = real.engine
  const [ours, theirs] = await Promise.all([own, foreign].map((architecture) => images.importRoot(Readable.from([sampleTar([{ path: architecture, content: 'x' }])]), { platform: `linux/${architecture}` })))
  {
    using index = images.assembleIndex()
    await index.finish({ manifests: [await index.manifest(theirs?.id ?? ''), await index.manifest(ours?.id ?? '')], names: ['many:1'] })
  }
  const { client } = real
  const get = async (path: string): Promise<unknown> => (await client.call('GET', path)).body
  const inspected = await get('/images/many:1/json?manifests=1')
  assert.equal(field(inspected, 'Id'), ours?.id)
  assert.equal(field(field(inspected, 'Descriptor'), 'mediaType'), 'application/vnd.oci.image.index.v1+json')
  const told = list(field(inspected, 'Manifests')).map((manifest) => [field(manifest, 'Kind'), field(manifest, 'Available'), field(field(field(manifest, 'ImageData'), 'Platform'), 'architecture')])
  assert.deepEqual(told, [['image', true, foreign], ['image', true, own]])
  const listed = list(await get('/images/json?manifests=1')).filter((image) => list(field(image, 'RepoTags')).includes('many:1'))
  assert.deepEqual(listed.map((image) => list(field(image, 'Manifests')).length), [2])
  assert.deepEqual(list(await get('/images/json')).map((image) => field(image, 'Manifests')), [undefined, undefined])
  const other = await get(`/images/many:1/json?${platformQuery(foreign)}`)
  assert.deepEqual([field(other, 'Id'), field(other, 'RepoTags')], [theirs?.id, ['many:1']])
  assert.equal((await client.call('GET', `/images/many:1/json?manifests=1&${platformQuery(foreign)}`)).status, 400)
  assert.equal((await client.call('GET', `/images/many:1/history?${platformQuery(foreign)}`)).status, 200)
  const create = (query: string): ReturnType<typeof client.call> => client.call('POST', `/containers/create?${query}`, { Image: 'many:1', Cmd: ['x'] })
  const made = await create(`name=asked&platform=linux/${foreign}`)
  assert.deepEqual([made.status, field(made.body, 'Warnings'), field(await get('/containers/asked/json'), 'Image')], [201, [], theirs?.id])
  const absent = await create('platform=linux/mips')
  assert.deepEqual([absent.status, messageOf(absent.body)], [404, 'image with reference many:1 was found but does not provide the specified platform (linux/mips)'])
  // Nobody asked for a foreign platform: that is said.
  const unasked = await client.call('POST', '/containers/create', { Image: theirs?.id, Cmd: ['x'] })
  assert.deepEqual(field(unasked.body, 'Warnings'), [`The requested image's platform (linux/${foreign}) does not match the detected host platform (linux/${own}) and no specific platform was requested`])
  // A tag by name stands for the same.
  assert.equal((await client.call('POST', '/images/many:1/tag?repo=second&tag=1')).status, 201)
  assert.equal(list(field(await get('/images/second:1/json?manifests=1'), 'Manifests')).length, 2)
  // The name never goes for one platform.
  const part = `platforms=${encodeURIComponent(JSON.stringify({ os: 'linux', architecture: foreign }))}`
  assert.equal((await client.call('DELETE', `/images/many:1?${part}`)).status, 400)
  assert.equal((await client.call('DELETE', `/images/many:1?force=1&${part}`)).status, 501)
  assert.equal(list(field(await get('/images/many:1/json?manifests=1'), 'Manifests')).length, 2)
})
