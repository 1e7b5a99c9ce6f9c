/** What registries that serve one storage owe each other; run over each driver. Both run here, but share nothing but the storage. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, test } from 'node:test'
import { present } from '#base/assert.ts'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import { realSendfile } from '#linux/real/sendfile.ts'
import { mediaTypes } from '#oci/descriptor.ts'
import { digestOf } from '#oci/digest.ts'
import { openRegistry } from './registry.ts'
import type { Registry, RegistryOptions } from './registry.ts'
import type { StorageUnderTest } from './storage/storage.suite.ts'

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Buffer
}

export interface Instance extends AsyncDisposable {
  readonly registry: Registry
  request(method: string, path: string, options?: { readonly body?: string | Buffer; readonly headers?: Record<string, string> }): Promise<Answer>
}

export async function serve(storage: RegistryOptions['storage'], options: Partial<RegistryOptions> = {}): Promise<Instance> {
  const registry = await openRegistry({ storage, sendfile: realSendfile, clock: systemClock, random: systemRandom, logger: silentLogger, ...options })
  const server = createServer((req, res) => void registry.handle(req, res))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    registry,
    async request(method, path, { body, headers } = {}) {
      const type = path.includes('/manifests/') ? { 'Content-Type': mediaTypes.ociManifest } : {}
      const response = await fetch(new URL(path, `http://127.0.0.1:${port}`), { method, headers: { ...type, ...headers }, ...(body === undefined ? {} : { body }) })
      return { status: response.status, headers: response.headers, body: Buffer.from(await response.arrayBuffer()) }
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await registry[Symbol.asyncDispose]()
    },
  }
}

function imageOf(layer: string | Buffer): string {
  return JSON.stringify({ schemaVersion: 2, config: { mediaType: mediaTypes.ociConfig, digest: digestOf('{}'), size: 2 }, layers: [{ mediaType: mediaTypes.ociLayer, digest: digestOf(layer), size: layer.length }] })
}

async function pushBlob(at: Instance, repository: string, content: string | Buffer): Promise<void> {
  assert.equal((await at.request('POST', `/v2/${repository}/blobs/uploads/?digest=${digestOf(content)}`, { body: content })).status, 201)
}

async function pushImage(at: Instance, repository: string, tag: string, layer: string): Promise<string> {
  await pushBlob(at, repository, '{}')
  await pushBlob(at, repository, layer)
  const put = await at.request('PUT', `/v2/${repository}/manifests/${tag}`, { body: imageOf(layer) })
  assert.equal(put.status, 201, put.body.toString())
  return digestOf(imageOf(layer))
}

export function sharedStorageSuite(name: string, make: () => Promise<StorageUnderTest>): void {
  const withTwo = async (task: (at: StorageUnderTest, one: Instance, two: Instance) => Promise<void>): Promise<void> => {
    await using at = await make()
    await using one = await serve(at.storage)
    await using two = await serve(await at.other())
    await task(at, one, two)
  }

  describe(`registries over one storage: ${name}`, () => {
    test('an upload begun at one goes on at the other and ends at the first', () => withTwo(async (_at, one, two) => {
      const parts = [randomBytes(9_000_000), randomBytes(10), randomBytes(70_000), randomBytes(3)]
      const whole = Buffer.concat(parts)
      const location = present((await one.request('POST', '/v2/a/blobs/uploads/')).headers.get('location'), 'Location')
      let offset = 0
      for (const [index, part] of parts.slice(0, 3).entries()) {
        const end = offset + part.length
        const answer = await (index % 2 === 0 ? one : two).request('PATCH', location, { body: part, headers: { 'Content-Range': `${offset}-${end - 1}` } })
        assert.deepEqual([answer.status, answer.headers.get('range')], [202, `0-${end - 1}`])
        offset = end
      }
      assert.equal((await two.request('GET', location)).headers.get('range'), `0-${offset - 1}`)
      const late = await two.request('PATCH', location, { body: 'xxx', headers: { 'Content-Range': '10-12' } })
      assert.deepEqual([late.status, late.headers.get('range')], [416, `0-${offset - 1}`])
      const done = await two.request('PUT', `${location}?digest=${digestOf(whole)}`, { body: parts[3] ?? '' })
      assert.equal(done.status, 201, done.body.toString())
      for (const at of [one, two]) assert.ok((await at.request('GET', `/v2/a/blobs/${digestOf(whole)}`)).body.equals(whole))
      assert.equal((await one.request('GET', location)).status, 404)
    }))

    test('of two chunks at the same place, sent to both, one is taken', (t) => withTwo(async (at, one, two) => {
      if (at.isConditional === false) return t.diagnostic('the storage does not settle races')
      for (let round = 0; round < 8; round += 1) {
        const location = present((await one.request('POST', '/v2/a/blobs/uploads/')).headers.get('location'), 'Location')
        const answers = await Promise.all([one, two].map((each, index) => each.request('PATCH', location, { body: `from ${index}`, headers: { 'Content-Range': '0-5' } })))
        assert.deepEqual(answers.map(({ status }) => status).sort((left, right) => left - right), [202, 416])
        const winner = `from ${answers.findIndex(({ status }) => status === 202)}`
        assert.equal((await two.request('PUT', `${location}?digest=${digestOf(winner)}`)).status, 201)
      }
    }))

    test('tags written at both at once name one of the manifests, and each of these is whole', () => withTwo(async (_at, one, two) => {
      await Promise.all(Array.from({ length: 10 }, (_, index) => pushImage(index % 2 === 0 ? one : two, 'team/app', 'latest', `layer ${index}`)))
      const [first, second] = await Promise.all([one, two].map((at) => at.request('GET', '/v2/team/app/manifests/latest')))
      assert.equal(first?.headers.get('docker-content-digest'), second?.headers.get('docker-content-digest'))
      for (let index = 0; index < 10; index += 1) {
        const manifest = await one.request('GET', `/v2/team/app/manifests/${digestOf(imageOf(`layer ${index}`))}`)
        assert.equal(manifest.body.toString(), imageOf(`layer ${index}`))
        assert.equal((await two.request('GET', `/v2/team/app/blobs/${digestOf(`layer ${index}`)}`)).body.toString(), `layer ${index}`)
      }
      assert.deepEqual(JSON.parse((await two.request('GET', '/v2/_catalog')).body.toString()), { repositories: ['team/app'] })
    }))

    test('a deletion at one and a push at the other: what was pushed last is there', () => withTwo(async (_at, one, two) => {
      for (let round = 0; round < 5; round += 1) {
        const digest = await pushImage(one, 'a', 'v1', 'layer')
        const [gone, tagged] = await Promise.all([two.request('DELETE', `/v2/a/manifests/${digest}`), one.request('PUT', '/v2/a/manifests/v2', { body: imageOf('layer') })])
        assert.equal(gone?.status, 202)
        assert.equal(tagged?.status, 201)
        await pushImage(two, 'a', 'v3', 'layer')
        assert.equal((await one.request('GET', '/v2/a/manifests/v3')).body.toString(), imageOf('layer'))
        assert.equal((await one.request('GET', `/v2/a/blobs/${digestOf('layer')}`)).body.toString(), 'layer')
      }
    }))

    test('a token of one is good at the other', async () => {
      await using at = await make()
      const engine = { username: 'engine', password: 'secret' }
      await using one = await serve(at.storage, { engine })
      await using two = await serve(await at.other(), { engine })
      const answer = await one.request('GET', '/token?scope=repository:a:pull,push', { headers: { Authorization: `Basic ${Buffer.from('engine:secret').toString('base64')}` } })
      const { token } = JSON.parse(answer.body.toString())
      assert.equal((await two.request('POST', '/v2/a/blobs/uploads/', { headers: { Authorization: `Bearer ${token}` } })).status, 202)
    })

    test('a canceled upload and a refused one leave nothing', () => withTwo(async (at, one, two) => {
      const before = (await at.names()).length
      const canceled = present((await one.request('POST', '/v2/a/blobs/uploads/')).headers.get('location'), 'Location')
      await one.request('PATCH', canceled, { body: 'bytes' })
      assert.equal((await two.request('DELETE', canceled)).status, 204)
      const refused = present((await one.request('POST', '/v2/a/blobs/uploads/')).headers.get('location'), 'Location')
      await two.request('PATCH', refused, { body: 'bytes' })
      assert.equal((await one.request('PUT', `${refused}?digest=${digestOf('others')}`, { body: 'more' })).status, 400)
      assert.equal((await at.names()).length, before)
    }))
  })
}
