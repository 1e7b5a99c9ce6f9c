/** Requests that no client would send: each is answered, in the registry's words, and none is its own fault. */
import assert from 'node:assert/strict'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { systemClock } from '#base/clock.ts'
import { readBody } from '#base/http.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import { mediaTypes } from '#oci/descriptor.ts'
import { digestOf } from '#oci/digest.ts'
import { openRegistry } from './registry.ts'
import { MemoryObjects } from './storage/objects/memory-objects.ts'
import { openObjectStorage } from './storage/objects/object-storage.ts'

const digest = digestOf('{}')
const word = fc.oneof(
  fc.constantFrom('a', 'team', 'v2', '_catalog', 'blobs', 'uploads', 'manifests', 'tags', 'list', 'referrers', 'latest', digest, 'sha512:00', '..', '.', '', '%2e%2e', '%00', '%ff', '~', '_uploads', 'token', 'collect', '__proto__'),
  fc.stringMatching(/^[!-~]{0,12}$/).map((text) => text.replaceAll(/[?#]/g, '')),
)
const query = fc.array(fc.tuple(fc.constantFrom('n', 'last', 'digest', 'mount', 'from', 'artifactType', 'tag', 'scope', 'digest-algorithm'), fc.oneof(word, fc.constantFrom('-1', '1e9', '99999999999999999999'))), { maxLength: 3 })
const path = fc.tuple(fc.array(word, { maxLength: 5 }), query).map(([words, pairs]) => `/v2/${words.join('/')}${pairs.length === 0 ? '' : `?${pairs.map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join('&')}`}`)
const descriptor = fc.record({ mediaType: fc.oneof(fc.constantFrom<unknown>(mediaTypes.ociLayer, mediaTypes.ociManifest), fc.anything()), digest: fc.oneof(fc.constant<unknown>(digest), fc.anything()), size: fc.oneof(fc.constantFrom<unknown>(2, -1, 2 ** 60), fc.anything()) }, { requiredKeys: [] })
const manifest = fc.record({ schemaVersion: fc.constantFrom<unknown>(2, 1, '2'), mediaType: fc.constantFrom<unknown>(mediaTypes.ociManifest, mediaTypes.ociIndex, 'x', 7), config: descriptor, layers: fc.oneof(fc.array(descriptor, { maxLength: 3 }), fc.anything()), manifests: fc.array(descriptor, { maxLength: 3 }), subject: fc.oneof(descriptor, fc.anything()), annotations: fc.anything() }, { requiredKeys: [] })
const body = fc.oneof(fc.constant(''), fc.constant('{}'), fc.string(), fc.json(), manifest.map((value) => JSON.stringify(value, (_key, each: unknown) => (typeof each === 'bigint' ? String(each) : each)) ?? ''))
const headers = fc.record({
  Range: fc.constantFrom('bytes=0-0', 'bytes=-1', 'bytes=5-1', 'bytes=0-,1-', 'x'),
  'Content-Range': fc.constantFrom('0-1', '1-0', '0-99999999999999999999', 'x'),
  'Content-Type': fc.constantFrom(mediaTypes.ociManifest, mediaTypes.ociIndex, '', 'text/plain; charset=x'),
  Authorization: fc.constantFrom('Basic', 'Basic !!!', 'Bearer a.b', 'Bearer a.b.c', 'Digest x', 'Basic Og=='),
  'If-None-Match': fc.constantFrom('*', digest, '"'),
}, { requiredKeys: [] })

for (const htpasswd of [undefined, 'joe:$2b$04$CwTycUXWue0Thq9StjUM0uJ8Z8W4JzCJ3fVv2pYvXq5vBvPp0yQhK']) {
  test(`whatever is asked is answered, ${htpasswd === undefined ? 'open' : 'with users'}`, async () => {
    const storage = openObjectStorage({ objects: new MemoryObjects({ clock: systemClock }), clock: systemClock, random: systemRandom })
    await using registry = await openRegistry({ storage, clock: systemClock, random: systemRandom, logger: silentLogger, ...(htpasswd === undefined ? {} : { htpasswd }) })
    const server = createServer((req, res) => void registry.handle(req, res))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    await using stack = new AsyncDisposableStack()
    stack.defer(() => new Promise<void>((closed) => void server.close(() => closed())))
    stack.defer(() => server.closeAllConnections())
    const ask = (asked: { readonly method: string; readonly path: string; readonly headers: Readonly<Record<string, string>>; readonly body: string }): Promise<{ readonly status: number; readonly text: string }> =>
      new Promise((resolve, reject) => {
        const bytes = Buffer.from(asked.body)
        const req = request({ port, method: asked.method, path: asked.path, headers: { ...asked.headers, 'Content-Length': bytes.length } }, (res) => void readBody(res, { maxBytes: 1e7 }).then((text) => resolve({ status: res.statusCode ?? 0, text: text.toString() }), reject))
        req.once('error', reject).end(bytes)
      })
    await ask({ method: 'POST', path: `/v2/a/blobs/uploads/?digest=${digest}`, headers: {}, body: '{}' })
    await fc.assert(
      fc.asyncProperty(fc.record({ method: fc.constantFrom('GET', 'HEAD', 'PUT', 'POST', 'PATCH', 'DELETE', 'OPTIONS'), path, headers, body }), async (asked) => {
        const { status, text } = await ask(asked)
        assert.ok(status >= 200 && status < 500, `${asked.method} ${asked.path}: ${status} ${text}`)
        if (status >= 400 && asked.method !== 'HEAD') assert.equal(typeof JSON.parse(text).errors[0].code, 'string')
      }),
      { numRuns: 400 },
    )
  })
}
