/** Which server is asked for a registry, and with what: mirrors, hosts.toml, Docker's folders of certificates, insecure registries. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { present } from '#base/assert.ts'
import { isFault } from '#base/fault.ts'
import { readBody } from '#base/http.ts'
import { selfSigned } from '#base/self-signed.fixture.ts'
import { digestOf } from '../digest.ts'
import { openRegistry } from './mirrored-registry.ts'
import { isInsecure, serversOf } from './registry-hosts.ts'
import type { RegistryHostsOptions } from './registry-hosts.ts'

let folder: string
before(() => {
  folder = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'mi-'))
})
after(() => rmSync(folder, { recursive: true }))

const none: RegistryHostsOptions = { folders: [], mirrors: [], insecure: [] }
const content = 'content'
const digest = digestOf(content)

interface Served extends AsyncDisposable {
  readonly host: string
  readonly seen: string[]
}

type Answering = (req: IncomingMessage, res: ServerResponse) => void

const has: Answering = (_req, res) => void res.end(content)
const hasNot: Answering = (req, res) => void res.writeHead(req.url === '/v2/' ? 200 : 404).end()

async function serve(answer: Answering, tls?: Parameters<typeof createTlsServer>[0]): Promise<Served> {
  const seen: string[] = []
  const handle = (req: IncomingMessage, res: ServerResponse): void => {
    seen.push(`${req.url} ${req.headers.authorization ?? '-'}`)
    answer(req, res)
  }
  const server: Server = tls === undefined ? createServer(handle) : createTlsServer(tls, handle)
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

/** A folder of certificates with files for one registry. */
function certs(registry: string, files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(folder, 'certs-'))
  mkdirSync(join(root, registry))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, registry, name), text)
  return root
}

async function fetched(registry: string, hosts: RegistryHostsOptions, credentials = {}): Promise<string> {
  using client = await openRegistry({ registry, credentials, hosts })
  const { body } = await client.blob('team/app', digest)
  return (await readBody(body, { maxBytes: 100 })).toString()
}

test('mirrors are asked in their order, then the registry; only it hears the credentials', async () => {
  await using first = await serve(hasNot)
  await using second = await serve(has)
  await using registry = await serve(has)
  const hosts = { ...none, folders: [certs(registry.host, { 'hosts.toml': `[host."http://${first.host}"]\n[host."http://${second.host}/cache"]\ncapabilities = ["pull"]\n[host."http://${second.host}/cache".header]\nAuthorization = ["Bearer of-the-mirror"]\n` })] }
  assert.equal(await fetched(registry.host, hosts, { registryToken: 'secret' }), content)
  assert.deepEqual([first.seen, second.seen, registry.seen], [[`/v2/team/app/blobs/${digest}?ns=${encodeURIComponent(registry.host)} -`], [`/cache/v2/team/app/blobs/${digest}?ns=${encodeURIComponent(registry.host)} Bearer of-the-mirror`], []])
  // It does not resolve tags.
  using client = await openRegistry({ registry: registry.host, credentials: {}, hosts })
  await client.manifest('team/app', 'v1')
  assert.deepEqual([first.seen.length, second.seen.length, registry.seen.filter((line) => line.includes('/manifests/v1'))], [2, 1, ['/v2/team/app/manifests/v1 -']])
})

test('a mirror that cannot be reached is asked once and the registry then; without anybody the registry says why', async () => {
  const gone = await serve(has)
  await gone[Symbol.asyncDispose]()
  await using registry = await serve(has)
  const hosts = { ...none, folders: [certs(registry.host, { 'hosts.toml': `[host."http://${gone.host}"]\n` })] }
  const failures: string[] = []
  using client = await openRegistry({ registry: registry.host, credentials: {}, hosts, onMirrorFailure: (mirror) => failures.push(mirror) })
  for (let time = 0; time < 2; time += 1) (await client.blob('team/app', digest)).body.resume()
  assert.deepEqual(failures, [`http://${gone.host}/`])
  await using empty = await serve(hasNot)
  await assert.rejects(fetched(empty.host, { ...none, folders: [certs(empty.host, { 'hosts.toml': `[host."http://${gone.host}"]\n` })] }), (error) => isFault(error, 'notFound') && error.message.includes(empty.host))
})

test('a path can be overridden, a server be elsewhere, folders be written without a colon, and there is a default for all', async () => {
  await using mirror = await serve(has)
  const override = certs('registry.example_5000_', { 'hosts.toml': `[host."http://${mirror.host}/v2/proxy"]\noverride_path = true\n` })
  assert.equal(await fetched('registry.example:5000', { ...none, folders: [override] }), content)
  assert.equal(await fetched('other.example', { ...none, folders: [certs('_default', { 'hosts.toml': `server = "http://${mirror.host}"\n` })] }), content)
  assert.deepEqual(mirror.seen.map((line) => line.split('?')[0]?.split(' ')[0]), [`/v2/proxy/team/app/blobs/${digest}`, `/v2/team/app/blobs/${digest}`])
})

test("Docker Hub's mirrors are those of the engine", async () => {
  await using mirror = await serve(has)
  assert.equal(await fetched('docker.io', { ...none, mirrors: [`http://${mirror.host}`], insecure: [mirror.host] }), content)
  assert.deepEqual((await serversOf('quay.io', { ...none, mirrors: ['https://mirror.example'] })).mirrors, [])
})

test('an authority and a client certificate of the folder are used, and without them TLS refuses', async () => {
  const server = await selfSigned()
  const client = await selfSigned()
  await using registry = await serve(has, { ...server, requestCert: true, ca: [client.cert], rejectUnauthorized: true })
  // A name that is no loopback address, whose certificates nobody doubts.
  const toml = `server = "https://${registry.host}"\n`
  await assert.rejects(fetched('registry.example', { ...none, folders: [certs('registry.example', { 'hosts.toml': toml })] }), (error) => isFault(error, 'unavailable') && /certificate/.test(error.message))
  const files = { 'ca.crt': server.cert, 'client.cert': client.cert, 'client.key': client.key }
  assert.equal(await fetched('registry.example', { ...none, folders: [certs('registry.example', { 'hosts.toml': toml, ...files })] }), content)
  const named = `server = "https://${registry.host}"\nca = "mine.pem"\nclient = [["c.pem", "k.pem"]]\n`
  assert.equal(await fetched('registry.example', { ...none, folders: [certs('registry.example', { 'hosts.toml': named, 'mine.pem': server.cert, 'c.pem': client.cert, 'k.pem': client.key })] }), content)
  await assert.rejects(fetched('registry.example', { ...none, folders: [certs('registry.example', { 'client.cert': client.cert })] }), /missing key .*client.key for client certificate/)
})

test('insecure registries are hosts, ports and ranges', async () => {
  const insecure = ['plain.example', 'other.example:5000', '10.1.0.0/16', 'fd00::/8']
  const asked = ['plain.example', 'plain.example:80', 'other.example:5000', 'other.example', '10.1.2.3:5000', '10.2.0.1', '[fd00::1]:5000', '[2001:db8::1]']
  assert.deepEqual(await Promise.all(asked.map((registry) => isInsecure(registry, insecure))), [true, true, true, false, true, false, true, false])
  await assert.rejects(isInsecure('10.1.2.3', ['10.1.0.0/33']), /no address range/)
})

test('a file that says something wrong is refused with its path', async () => {
  for (const toml of ['host = 1', 'server = 5', '[host."ftp://x"]', '[host."https://x"]\ncapabilities = [1]', 'a = ', '[host."https://x".header]\nx = 1']) {
    const root = certs('bad.example', { 'hosts.toml': toml })
    await assert.rejects(serversOf('bad.example', { ...none, folders: [root] }), (error) => isFault(error, 'invalidArgument') && error.message.includes(root), toml)
  }
})
