/** What an operator may set: rights, a token server, read-only, quotas, mirrors, webhooks; and what he sees: health, metrics, the access log. */
import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { createServer } from 'node:http'
import type { RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { hashSync } from 'bcryptjs'
import { sleep, systemClock } from '#base/clock.ts'
import { Fault, isFault } from '#base/fault.ts'
import { readBody } from '#base/http.ts'
import type { Logger } from '#base/log.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import { mediaTypes } from '#oci/descriptor.ts'
import { digestOf } from '#oci/digest.ts'
import { parseRights } from './auth/rights.ts'
import type { RegistryOptions } from './registry.ts'
import type { Instance } from './shared-storage.suite.ts'
import { serve } from './shared-storage.suite.ts'
import { MemoryObjects } from './storage/objects/memory-objects.ts'
import { openObjectStorage } from './storage/objects/object-storage.ts'

function memory(objects = new MemoryObjects({ clock: systemClock })): RegistryOptions['storage'] {
  return openObjectStorage({ objects, clock: systemClock, random: systemRandom })
}

function basic(user: string): { readonly Authorization: string } {
  return { Authorization: `Basic ${Buffer.from(`${user}:pw`).toString('base64')}` }
}

const users = ['joe', 'ci', 'release-1'].map((user) => `${user}:${hashSync('pw', 4)}`).join('\n')

function imageOf(layer: string): string {
  return JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config: { mediaType: mediaTypes.ociConfig, digest: digestOf('{}'), size: 2 }, layers: [{ mediaType: mediaTypes.ociLayer, digest: digestOf(layer), size: layer.length }] })
}

async function pushBlob(at: Instance, repository: string, content: string): Promise<number> {
  return (await at.request('POST', `/v2/${repository}/blobs/uploads/?digest=${digestOf(content)}`, { body: content })).status
}

async function pushImage(at: Instance, repository: string, tag: string, layer: string): Promise<string> {
  for (const content of ['{}', layer]) assert.equal(await pushBlob(at, repository, content), 201)
  assert.equal((await at.request('PUT', `/v2/${repository}/manifests/${tag}`, { body: imageOf(layer) })).status, 201)
  return digestOf(imageOf(layer))
}

function codeOf(body: Buffer): unknown {
  return JSON.parse(body.toString()).errors[0].code
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(systemClock, 5)
}

async function listening(listener: RequestListener): Promise<AsyncDisposable & { readonly host: string }> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

test('rights say who may do what where, whatever a token says', async () => {
  const rights = parseRights([
    { users: ['*', 'anonymous'], repositories: ['public/**'], actions: ['pull'] },
    { users: ['ci', 'release-*'], repositories: ['team/*', 'public/**'], actions: ['pull', 'push'] },
    { users: ['release-*'], repositories: ['**'], actions: ['delete'] },
  ])
  await using at = await serve(memory(), { htpasswd: users, rights })
  const begin = async (repository: string, headers: Record<string, string>): Promise<number> => (await at.request('POST', `/v2/${repository}/blobs/uploads/`, { headers })).status
  assert.deepEqual(await Promise.all([begin('team/app', basic('ci')), begin('team/app/deep', basic('ci')), begin('team/app', basic('joe')), begin('team/app', {}), begin('public/a/b', basic('release-1'))]), [202, 403, 403, 401, 202])
  const list = async (repository: string, headers: Record<string, string>): Promise<number> => (await at.request('GET', `/v2/${repository}/tags/list`, { headers })).status
  assert.deepEqual(await Promise.all([list('public/x', {}), list('team/x', {}), list('team/x', basic('joe')), list('team/x', basic('ci'))]), [404, 401, 403, 404])
  const token = async (user: string, scope: string): Promise<Record<string, string>> => ({ Authorization: `Bearer ${JSON.parse((await at.request('GET', `/token?scope=${scope}`, { headers: basic(user) })).body.toString()).token}` })
  assert.equal(await begin('team/app', await token('joe', 'repository:team/app:pull,push')), 403)
  assert.equal(await begin('team/app', await token('ci', 'repository:team/app:pull,push')), 202)
  assert.equal(await begin('team/app', await token('ci', 'repository:team/app:pull')), 401)
  assert.throws(() => parseRights([{ users: ['a'], repositories: ['b'], actions: ['admin'] }], 'registry.yaml: rights'), (error) => isFault(error, 'invalidArgument') && /^registry\.yaml: rights\[0\]\.actions: 'admin' is no action/.test(error.message))
})

test('tokens of another server are good when they are signed, for us, and not too old', async () => {
  const pairs = [generateKeyPairSync('rsa', { modulusLength: 2048 }), generateKeyPairSync('ec', { namedCurve: 'P-256' })] as const
  const [rsa, ec] = pairs
  const keys = JSON.stringify({ keys: pairs.map(({ publicKey }, index) => ({ ...publicKey.export({ format: 'jwk' }), kid: `key ${index}` })) })
  await using at = await serve(memory(), { tokenServer: { realm: 'https://auth.example/token', service: 'registry.example', issuer: 'auth.example', keys } })
  const challenged = await at.request('POST', '/v2/a/blobs/uploads/')
  assert.deepEqual([challenged.status, challenged.headers.get('www-authenticate')], [401, 'Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a:pull,push"'])
  const nowSeconds = Math.floor(systemClock.nowMs() / 1000)
  const claims = { iss: 'auth.example', aud: 'registry.example', sub: 'joe', exp: nowSeconds + 300, nbf: nowSeconds, access: [{ type: 'repository', name: 'a', actions: ['pull', 'push'] }] }
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const jwt = (changes: object, algorithm: 'RS256' | 'ES256' | 'none' = 'RS256', key = algorithm === 'ES256' ? ec.privateKey : rsa.privateKey): string => {
    const text = `${encode({ alg: algorithm, kid: algorithm === 'ES256' ? 'key 1' : 'key 0' })}.${encode({ ...claims, ...changes })}`
    return `${text}.${algorithm === 'none' ? '' : sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
  }
  const begin = async (token: string, repository = 'a'): Promise<number> => (await at.request('POST', `/v2/${repository}/blobs/uploads/`, { headers: { Authorization: `Bearer ${token}` } })).status
  assert.equal(await begin(jwt({})), 202)
  assert.equal(await begin(jwt({}, 'ES256')), 202)
  assert.equal(await begin(jwt({ aud: ['other', 'registry.example'] })), 202)
  assert.equal(await begin(jwt({}), 'b'), 401)
  for (const bad of [jwt({ exp: nowSeconds - 300 }), jwt({ nbf: nowSeconds + 300 }), jwt({ iss: 'other' }), jwt({ aud: 'other' }), jwt({}, 'none'), jwt({}, 'RS256', generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey), 'x.y.z', `${jwt({})}x`]) {
    assert.equal(await begin(bad), 401, bad)
  }
  await assert.rejects(serve(memory(), { tokenServer: { realm: 'r', service: 's', issuer: 'i', keys: 'nothing' } }), (error) => isFault(error, 'invalidArgument'))
})

test('a read-only registry serves, and takes nothing', async () => {
  const objects = new MemoryObjects({ clock: systemClock })
  await using writer = await serve(memory(objects))
  const digest = await pushImage(writer, 'a', 'v1', 'layer')
  await using reader = await serve(memory(objects), { readOnly: true })
  assert.equal((await reader.request('GET', '/v2/a/manifests/v1')).status, 200)
  for (const [method, path] of [['POST', '/v2/a/blobs/uploads/'], ['PUT', '/v2/a/manifests/v2'], ['DELETE', `/v2/a/manifests/${digest}`], ['DELETE', `/v2/a/blobs/${digestOf('layer')}`]] as const) {
    const answer = await reader.request(method, path, method === 'PUT' ? { body: imageOf('layer') } : {})
    assert.deepEqual([answer.status, codeOf(answer.body)], [405, 'UNSUPPORTED'])
  }
})

test('a quota is kept, for one repository and for all, and deleting makes room', async () => {
  await using at = await serve(memory(), { quota: { repositoryBytes: 100, totalBytes: 150 } })
  assert.equal(await pushBlob(at, 'a', 'x'.repeat(80)), 201)
  const tooMuch = await at.request('POST', `/v2/a/blobs/uploads/?digest=${digestOf('y'.repeat(30))}`, { body: 'y'.repeat(30) })
  assert.deepEqual([tooMuch.status, codeOf(tooMuch.body)], [403, 'DENIED'])
  assert.match(tooMuch.body.toString(), /quota exceeded/)
  assert.equal(await pushBlob(at, 'b', 'z'.repeat(60)), 201)
  assert.equal(await pushBlob(at, 'b', 'w'.repeat(20)), 403, 'the whole is full')
  assert.equal(await pushBlob(at, 'a', 'v'.repeat(10)), 201)
  assert.equal((await at.request('POST', '/v2/c/blobs/uploads/')).status, 403)
  assert.equal((await at.request('DELETE', `/v2/a/blobs/${digestOf('x'.repeat(80))}`)).status, 202)
  assert.equal(await pushBlob(at, 'a', 'y'.repeat(30)), 201)
})

test('a mirror fetches once, checks, keeps, and serves what it has when the other registry is gone', async () => {
  const objects = new MemoryObjects({ clock: systemClock })
  await using upstream = await serve(memory(objects), { htpasswd: users, anonymousPull: false })
  const pushed = await serve(memory(objects))
  const big = 'layer '.repeat(500_000)
  const digest = await pushImage(pushed, 'team/app', 'v1', big)
  const asked: string[] = []
  await using wire = await listening((req, res) => {
    asked.push(`${req.method ?? ''} ${req.url ?? ''}`)
    void upstream.registry.handle(req, res)
  })
  await using at = await serve(memory(), { mirrors: [{ prefix: 'up/', upstream: wire.host, credentials: { username: 'joe', password: 'pw' }, freshMs: 0 }] })
  const manifest = await at.request('GET', '/v2/up/team/app/manifests/v1')
  assert.deepEqual([manifest.status, manifest.headers.get('docker-content-digest')], [200, digest])
  const blobs = await Promise.all([0, 1, 2].map(() => at.request('GET', `/v2/up/team/app/blobs/${digestOf(big)}`)))
  assert.ok(blobs.every(({ status, body }) => status === 200 && body.toString() === big))
  assert.equal(asked.filter((line) => line.startsWith('GET /v2/team/app/blobs/') && line.includes(digestOf(big))).length, 1)
  assert.equal((await at.request('GET', `/v2/up/team/app/blobs/${digestOf('{}')}`)).body.toString(), '{}')
  assert.equal((await at.request('GET', `/v2/up/team/app/blobs/${digestOf('none')}`)).status, 404)
  assert.equal((await at.request('GET', '/v2/up/team/app/manifests/none')).status, 404)
  assert.equal((await at.request('POST', '/v2/up/team/app/blobs/uploads/')).status, 405)
  assert.equal(await pushBlob(at, 'own', 'content'), 201)

  const second = await pushImage(pushed, 'team/app', 'v1', 'other layer')
  assert.equal((await at.request('HEAD', '/v2/up/team/app/manifests/v1')).headers.get('docker-content-digest'), second, 'the tag has moved')
  await pushed[Symbol.asyncDispose]()
  await wire[Symbol.asyncDispose]()
  assert.equal((await at.request('GET', '/v2/up/team/app/manifests/v1')).headers.get('docker-content-digest'), second)
  assert.equal((await at.request('GET', `/v2/up/team/app/blobs/${digestOf(big)}`)).body.toString(), big)
  const missing = await at.request('GET', `/v2/up/team/app/blobs/${digestOf('other layer')}`)
  assert.equal(missing.status, 503)
})

test('a mirrored blob that is not what its digest says is neither kept nor passed on as whole', async () => {
  await using wire = await listening((req, res) => void res.writeHead(200, { 'Content-Length': 5 }).end(req.url === '/v2/' ? '{}   ' : 'false'))
  await using at = await serve(memory(), { mirrors: [{ prefix: '', upstream: wire.host }] })
  const digest = digestOf('right')
  await at.request('GET', `/v2/a/blobs/${digest}`).then(({ status }) => assert.equal(status, 503), (error: unknown) => assert.ok(error instanceof TypeError))
  assert.equal((await at.request('HEAD', `/v2/a/blobs/${digest}`)).status, 503)
})

test('webhooks hear in order of what happened, again when they did not answer', async () => {
  const heard: { readonly events: readonly { readonly action: string; readonly target: Readonly<Record<string, unknown>>; readonly actor: object }[] }[] = []
  const types: (string | undefined)[] = []
  let failures = 1
  await using hook = await listening((req, res) => {
    void readBody(req, { maxBytes: 1e6 }).then((body) => {
      types.push(req.headers['content-type'])
      if (failures-- > 0) return res.writeHead(500).end()
      heard.push(JSON.parse(body.toString()))
      return res.end()
    })
  })
  await using at = await serve(memory(), { webhooks: [{ url: `http://${hook.host}/`, repositories: ['team/*'] }], instance: 'one' })
  const digest = await pushImage(at, 'team/app', 'v1', 'layer')
  await pushImage(at, 'other', 'v1', 'layer')
  await at.request('DELETE', `/v2/team/app/manifests/${digest}`)
  await until(() => heard.flatMap(({ events }) => events).length === 4)
  const events = heard.flatMap(({ events: each }) => each)
  assert.deepEqual(events.map(({ action, target }) => [action, target['digest'], target['tag']]), [['push', digestOf('{}'), undefined], ['push', digestOf('layer'), undefined], ['push', digest, 'v1'], ['delete', digest, undefined]])
  assert.deepEqual(events[2]?.target['mediaType'], mediaTypes.ociManifest)
  assert.ok(types.every((type) => type === 'application/vnd.docker.distribution.events.v2+json'))
  const metrics = (await at.request('GET', '/metrics')).body.toString()
  assert.match(metrics, /^registry_notifications_events_total\{type="Failures"\} [1-9]/m)
})

test('health, metrics and the access log', async () => {
  const lines: object[] = []
  const accessLog: Logger = { ...silentLogger, info: (fields) => void lines.push(fields) }
  let broken = false
  const objects = new MemoryObjects({ clock: systemClock, pause: async () => {
    if (broken) throw new Fault('unavailable', 'the storage is gone')
  } })
  await using at = await serve(memory(objects), { accessLog })
  await pushImage(at, 'a', 'v1', 'layer')
  assert.equal((await at.request('GET', '/healthz')).body.toString(), 'ok\n')
  assert.equal((await at.request('POST', '/collect')).status, 200)
  const metrics = (await at.request('GET', '/metrics')).body.toString()
  assert.match(metrics, /^registry_http_requests_total\{handler="\/v2\/:name\/blobs\/uploads\/",method="POST",code="201"\} 2$/m)
  assert.match(metrics, /^registry_http_request_duration_seconds_count\{handler="\/v2\/:name\/manifests\/:reference"\} 1$/m)
  assert.match(metrics, /^registry_http_in_flight_requests 1$/m)
  await until(() => lines.length >= 6)
  assert.deepEqual(lines.slice(0, 1).map((line) => Object.keys(line)), [['remote', 'user', 'method', 'url', 'status', 'durationMs', 'sentBytes', 'isWhole', 'agent']])
  broken = true
  assert.equal((await at.request('GET', '/readyz')).status, 503)
  assert.equal((await at.request('GET', '/livez')).status, 200)
})
