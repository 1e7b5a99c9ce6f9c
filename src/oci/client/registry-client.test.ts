/** The registry client: every way to log in, redirects that must not take credentials along, challenges of any shape. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFault } from '#base/fault.ts'
import { readBody } from '#base/http.ts'
import { digestOf } from '../digest.ts'
import { parseChallenges } from './challenge.ts'
import { RegistryClient } from './registry-client.ts'

type Answering = (req: IncomingMessage, res: ServerResponse, body: string) => void

async function serve(answer: Answering): Promise<AsyncDisposable & { readonly host: string; readonly seen: string[] }> {
  const seen: string[] = []
  const server = createServer((req, res) => {
    seen.push(`${req.method} ${req.url} ${req.headers.authorization ?? '-'}`)
    void readBody(req, { maxBytes: 10_000 }).then((body) => answer(req, res, body.toString()))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const digest = digestOf('content')
const joe = `Basic ${Buffer.from('joe:pw').toString('base64')}`

async function blobText(client: RegistryClient): Promise<string> {
  const { body } = await client.blob('team/app', digest)
  return (await readBody(body, { maxBytes: 100 })).toString()
}

test('a registry that asks for Basic gets it, and only then', async () => {
  await using registry = await serve((req, res) => {
    if (req.headers.authorization === joe) return void res.end('content')
    res.writeHead(401, { 'WWW-Authenticate': 'Basic realm="r"' }).end()
  })
  using client = new RegistryClient({ registry: registry.host, credentials: { username: 'joe', password: 'pw' } })
  assert.equal(await blobText(client), 'content')
  assert.equal(await blobText(client), 'content')
  assert.deepEqual(registry.seen.map((line) => line.split(' ').slice(2).join(' ')), ['-', '-', joe, joe])
  using stranger = new RegistryClient({ registry: registry.host })
  await assert.rejects(blobText(stranger), (error) => isFault(error, 'unauthenticated'))
  using impostor = new RegistryClient({ registry: registry.host, credentials: { username: 'joe', password: 'guessed' } })
  await assert.rejects(impostor.login(), { code: 'internal', message: `login attempt to http://${registry.host}/v2/ failed with status: 401 Unauthorized` })
})

test('a registry that asks for a token gets one for the repository, by password, anonymously or by refresh token', async () => {
  const bodies: string[] = []
  await using registry = await serve((req, res, body) => {
    if (req.url?.startsWith('/token') === true) {
      bodies.push(body)
      const kept = req.url.includes('offline_token=true') ? { refresh_token: 'again' } : {}
      return void res.end(JSON.stringify({ ...kept, token: `for-${req.headers.authorization === joe ? 'joe' : req.method === 'POST' ? 'refreshed' : 'nobody'}` }))
    }
    if (req.headers.authorization?.startsWith('Bearer for-') === true) return void res.end(req.headers.authorization)
    res.writeHead(401, { 'WWW-Authenticate': `Bearer realm="http://${req.headers.host}/token",service="s",scope="x"` }).end()
  })
  using login = new RegistryClient({ registry: registry.host, credentials: { username: 'joe', password: 'pw' } })
  assert.equal(await login.login(), 'again')
  for (const [credentials, expected] of [[{ username: 'joe', password: 'pw' }, 'Bearer for-joe'], [{}, 'Bearer for-nobody'], [{ identityToken: 'again' }, 'Bearer for-refreshed']] as const) {
    using client = new RegistryClient({ registry: registry.host, credentials })
    assert.equal(await blobText(client), expected)
  }
  assert.ok(registry.seen.some((line) => line.startsWith('GET /token?service=s&scope=repository%3Ateam%2Fapp%3Apull ')))
  const refresh = new URLSearchParams(bodies.at(-1))
  assert.deepEqual([refresh.get('grant_type'), refresh.get('refresh_token')], ['refresh_token', 'again'])
})

test('a redirect to another host does not take the credentials along', async () => {
  await using storage = await serve((_req, res) => void res.end('content'))
  await using registry = await serve((req, res) => {
    if (req.headers.authorization !== joe) return void res.writeHead(401, { 'WWW-Authenticate': 'Basic' }).end()
    res.writeHead(307, { Location: `http://${storage.host}/somewhere` }).end()
  })
  using client = new RegistryClient({ registry: registry.host, credentials: { username: 'joe', password: 'pw' } })
  assert.equal(await blobText(client), 'content')
  assert.deepEqual(storage.seen, ['GET /somewhere -'])
})

test('refusals carry the registry\'s words, and endless redirects end', async () => {
  await using registry = await serve((req, res) => {
    if (req.url === '/v2/') return void res.end('{}')
    if (req.url?.includes('/manifests/') === true) return void res.writeHead(429, { 'Retry-After': '7' }).end('{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}')
    res.writeHead(302, { Location: req.url }).end()
  })
  using client = new RegistryClient({ registry: registry.host })
  await assert.rejects(client.manifest('a', 'latest'), (error) => isFault(error, 'resourceExhausted') && error.retryAfterSeconds === 7 && /TOOMANYREQUESTS: slow down/.test(error.message))
  await assert.rejects(blobText(client), /redirects more than 5 times/)
  await assert.rejects(new RegistryClient({ registry: '127.0.0.1:1' }).login(), (error) => isFault(error, 'unavailable'))
})

test('challenges are read, whatever their order and quoting; any text is survived', () => {
  const [basic, bearer] = parseChallenges('Basic realm="a \\"b\\"", Bearer realm="https://x/token",service=s , scope="repository:a:pull,push"')
  assert.deepEqual([basic?.scheme, basic?.parameters.get('realm')], ['basic', 'a "b"'])
  assert.deepEqual([bearer?.scheme, bearer?.parameters.get('service'), bearer?.parameters.get('scope')], ['bearer', 's', 'repository:a:pull,push'])
  fc.assert(fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[A-Za-z]+( [a-z]+="?[^"]{0,10}"?,?){0,5}$/)), (header) => void parseChallenges(header)))
})
