/** The API server over real TLS: who gets in, what is answered in which representation, watches, and the tunnel to kubelets. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer as createPlainServer, type IncomingMessage } from 'node:http'
import { connect } from 'node:http2'
import { createServer, request as httpsRequest } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as tlsConnect, TLSSocket } from 'node:tls'
import { after, before, test } from 'node:test'
import * as k8s from '@kubernetes/client-node'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import { isJsonObject, textOf, type JsonObject } from '#schema/json.ts'
import { decodeEnvelope, encodeObject } from '#schema/protobuf.ts'
import { ConfigMap } from '../../api/core/v1/config-map.ts'
import { Namespace } from '../../api/core/v1/namespace.ts'
import { Node } from '../../api/core/v1/node.ts'
import { Pod } from '../../api/core/v1/pod.ts'
import { Secret } from '../../api/core/v1/secret.ts'
import { Service } from '../../api/core/v1/service.ts'
import { ServiceAccount } from '../../api/core/v1/service-account.ts'
import { EndpointSlice } from '../../api/discovery/v1/endpoint-slice.ts'
import { allKinds, groupOrder } from '../../api/index.ts'
import { openMemoryStore } from '../../store/memory/store.ts'
import type { KeyPair } from '../pki/authority.ts'
import { openPki, type Pki } from '../pki/files.ts'
import { kubeconfig } from '../pki/kubeconfig.ts'
import { startApiServer, type ApiServer } from '../server.ts'

const root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'api-'))
const store = openMemoryStore()
let pki: Pki
let server: ApiServer
let node: KeyPair

interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
  readonly bytes: Buffer
  readonly json: JsonObject
}

interface Ask {
  readonly method?: string
  readonly as?: KeyPair | 'nobody'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
}

function parsed(text: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text)
    return isJsonObject(value) ? value : {}
  } catch (error) {
    if (error instanceof SyntaxError) return {}
    throw error
  }
}

async function ask(path: string, { method = 'GET', as = pki.admin, headers = {}, body }: Ask = {}): Promise<Answer> {
  const credentials = as === 'nobody' ? {} : { cert: as.certificate, key: as.key }
  const outgoing = httpsRequest({ host: '127.0.0.1', port: server.addresses[0]?.port, path, method, ca: pki.authority.certificate, agent: false, ...credentials, headers })
  outgoing.end(body === undefined || Buffer.isBuffer(body) || typeof body === 'string' ? body : JSON.stringify(body))
  const [answer]: IncomingMessage[] = await once(outgoing, 'response')
  assert.ok(answer !== undefined)
  const chunks: Buffer[] = []
  for await (const chunk of answer) if (Buffer.isBuffer(chunk)) chunks.push(chunk)
  const bytes = Buffer.concat(chunks)
  return { status: answer.statusCode ?? 0, headers: answer.headers, bytes, text: bytes.toString(), json: parsed(bytes.toString()) }
}

const json = { 'content-type': 'application/json' }
const configMap = (name: string): object => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { k: 'v' } })
const configMaps = '/api/v1/namespaces/default/configmaps'

before(async () => {
  pki = await openPki({ folder: join(root, 'pki'), serverNames: [], serviceAddress: '10.43.0.1', clock: systemClock, random: systemRandom })
  node = await pki.certificate('node-n1', { commonName: 'system:node:n1', organizations: ['system:nodes'], usage: 'both', subjectAltNames: ['127.0.0.1'], validDays: 1 })
  server = await startApiServer({
    store,
    pki,
    kinds: allKinds,
    groupOrder,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    ranges: { serviceCidr: '10.43.0.0/16', nodePorts: [30_000, 32_767] },
    listen: [{ host: '127.0.0.1', port: 0 }],
    staticTokens: [{ token: 'bootstrap-secret', user: { name: 'boot', groups: ['system:masters'] } }],
  })
  await server.client.create(Namespace, { metadata: { name: 'default' } })
  await server.client.create(ServiceAccount, { metadata: { name: 'default', namespace: 'default' } })
})
after(async () => {
  await server.close()
  await store.close()
  rmSync(root, { recursive: true })
})

test('strangers may see that the server lives, and nothing else', async () => {
  for (const path of ['/healthz', '/livez', '/readyz', '/version']) assert.equal((await ask(path, { as: 'nobody' })).status, 200, path)
  for (const path of [configMaps, '/api', '/apis', '/openapi/v2', '/metrics']) {
    const answer = await ask(path, { as: 'nobody' })
    assert.equal(answer.status, 403, path)
    assert.equal(answer.json['reason'], 'Forbidden')
  }
  assert.match((await ask(configMaps, { as: 'nobody' })).text, /configmaps is forbidden: User \\"system:anonymous\\" cannot list resource \\"configmaps\\" in API group \\"\\" in the namespace \\"default\\"/)
})

test('a request target that is no path is answered, and harms nobody', async () => {
  const { port } = server.addresses[0] ?? { port: 0 }
  for (const target of ['//', '//evil/api', 'http://[', '*', '/%zz', '/api/v1/namespaces/%ff/pods', '/apis/%2f//x', 'x']) {
    const socket = tlsConnect({ host: '127.0.0.1', port, ca: pki.authority.certificate })
    socket.write(`GET ${target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`)
    socket.setEncoding('utf8')
    using _deadline = systemClock.after(5_000, () => socket.destroy(new Error(`no answer to ${target}`)))
    let answer = ''
    for await (const chunk of socket) answer += String(chunk)
    assert.match(answer, /^HTTP\/1\.1 4\d\d /, target)
  }
  assert.equal((await ask('/healthz', { as: 'nobody' })).status, 200)
})

test('credentials of somebody else are refused, not ignored', async () => {
  const foreign = await openPki({ folder: join(root, 'foreign'), serverNames: [], serviceAddress: '10.43.0.1', clock: systemClock, random: systemRandom })
  assert.equal((await ask('/healthz', { as: foreign.admin })).status, 401)
  for (const authorization of ['Bearer wrong', 'Basic eDp5', 'Bearer a.b.c']) assert.equal((await ask('/healthz', { as: 'nobody', headers: { authorization } })).status, 401, authorization)
  assert.equal((await ask(configMaps, { as: 'nobody', headers: { authorization: 'Bearer bootstrap-secret' } })).status, 200)
})

test('a service account token shows what is served, may do no more, and dies with its account', async () => {
  await server.client.create(ServiceAccount, { metadata: { name: 'robot', namespace: 'default' } })
  const request = await ask('/api/v1/namespaces/default/serviceaccounts/robot/token', { method: 'POST', headers: json, body: { spec: { expirationSeconds: 600 } } })
  assert.equal(request.status, 201)
  const { status } = request.json
  const headers = { authorization: `Bearer ${isJsonObject(status) ? textOf(status['token']) : ''}` }
  assert.equal((await ask('/apis', { as: 'nobody', headers })).status, 200)
  assert.match((await ask(configMaps, { as: 'nobody', headers })).text, /User \\"system:serviceaccount:default:robot\\" cannot list/)
  await server.client.delete(ServiceAccount, { namespace: 'default', name: 'robot' })
  assert.equal((await ask('/apis', { as: 'nobody', headers })).status, 401)
})

test('a node may write itself and what runs on it, and read only the secrets its pods use', async () => {
  await server.client.create(Secret, { metadata: { name: 'used', namespace: 'default' } })
  await server.client.create(Secret, { metadata: { name: 'other', namespace: 'default' } })
  const spec = (nodeName: string): object => ({ nodeName, containers: [{ name: 'c', image: 'x', envFrom: [{ secretRef: { name: 'used' } }] }] })
  const created = await ask('/api/v1/nodes', { method: 'POST', as: node, headers: json, body: { metadata: { name: 'n1' } } })
  assert.equal(created.status, 201, created.text)
  await server.client.create(Node, { metadata: { name: 'n2' } })
  assert.equal((await ask('/api/v1/namespaces/default/secrets/used', { as: node })).status, 403)
  for (const [name, nodeName] of [['mine', 'n1'], ['theirs', 'n2']] as const) {
    const pod = await ask('/api/v1/namespaces/default/pods', { method: 'POST', headers: json, body: { metadata: { name }, spec: spec(nodeName) } })
    assert.equal(pod.status, 201, pod.text)
  }
  const patch = (path: string): Promise<Answer> => ask(path, { method: 'PATCH', as: node, headers: { 'content-type': 'application/merge-patch+json' }, body: { status: {} } })
  assert.equal((await ask('/api/v1/namespaces/default/secrets/used', { as: node })).status, 200)
  assert.equal((await ask('/api/v1/namespaces/default/secrets/other', { as: node })).status, 403)
  assert.equal((await ask('/api/v1/namespaces/default/secrets', { as: node })).status, 403)
  assert.equal((await ask('/api/v1/namespaces/default/secrets?fieldSelector=metadata.name%3Dused', { as: node })).status, 200)
  assert.equal((await ask('/api/v1/namespaces/default/secrets?watch=true&timeoutSeconds=0&fieldSelector=metadata.name%3Dused', { as: node })).status, 200)
  assert.equal((await ask('/api/v1/namespaces/default/secrets?fieldSelector=metadata.name%3Dother', { as: node })).status, 403)
  assert.equal((await patch('/api/v1/nodes/n1/status')).status, 200)
  assert.equal((await patch('/api/v1/nodes/n2/status')).status, 403)
  assert.equal((await patch('/api/v1/namespaces/default/pods/mine/status')).status, 200)
  assert.equal((await patch('/api/v1/namespaces/default/pods/theirs/status')).status, 403)
  assert.equal((await ask('/api/v1/namespaces/default/pods', { method: 'DELETE', as: node })).status, 403)
})

test('impersonation acts with the rights of the other', async () => {
  const answer = await ask(configMaps, { headers: { 'impersonate-user': 'alice', 'impersonate-group': 'dev' } })
  assert.equal(answer.status, 403)
  assert.match(answer.text, /alice/)
  assert.equal((await ask('/api/v1/nodes', { as: node, headers: { 'impersonate-user': 'kubernetes-admin', 'impersonate-group': 'system:masters' } })).status, 403)
})

test('an object comes as JSON, YAML, protobuf, table or metadata, and 406 says what there is', async () => {
  assert.equal((await ask(configMaps, { method: 'POST', headers: json, body: configMap('shown') })).status, 201)
  const get = (accept: string): Promise<Answer> => ask(`${configMaps}/shown`, { headers: { accept } })
  assert.equal((await get('application/json')).json['kind'], 'ConfigMap')
  assert.match((await get('application/yaml')).text, /^kind: ConfigMap$/m)
  const envelope = decodeEnvelope((await get('application/vnd.kubernetes.protobuf,application/json')).bytes)
  assert.equal(envelope.kind, 'ConfigMap')
  const table = (await get('application/json;as=Table;v=v1;g=meta.k8s.io,application/json')).json
  assert.equal(table['kind'], 'Table')
  assert.deepEqual(Array.isArray(table['columnDefinitions']) ? table['columnDefinitions'].map((column) => (isJsonObject(column) ? column['name'] : '')) : [], ['Name', 'Data', 'Age'])
  assert.equal((await get('application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io')).json['data'], undefined)
  const refused = await get('text/csv')
  assert.equal(refused.status, 406)
  assert.match(refused.text, /application\/json/)
  assert.match((await ask(`${configMaps}/shown?pretty=true`)).text, /\n {2}"/)
})

test('bodies come as JSON, YAML or protobuf; what is none of them is refused by name', async () => {
  const post = (type: string, body: unknown, query = ''): Promise<Answer> => ask(`${configMaps}${query}`, { method: 'POST', headers: { 'content-type': type }, body })
  assert.equal((await post('application/yaml', 'metadata: {name: yaml}\ndata: {a: b}\n')).status, 201)
  const protobuf = await post('application/vnd.kubernetes.protobuf', encodeObject(ConfigMap, { metadata: { name: 'proto' }, data: { a: 'b' } }))
  assert.equal(protobuf.status, 201, protobuf.text)
  assert.equal((await post('application/json', '{"metadata":')).status, 400)
  assert.equal((await post('text/csv', 'a,b')).status, 415)
  assert.equal((await post('application/json', Buffer.alloc(3_200_000, ' '))).status, 413)
  assert.match((await post('application/json', { metadata: { name: 'x' }, dta: {} }, '?fieldValidation=Strict')).text, /strict decoding error: unknown field \\"dta\\"/)
  const warned = await post('application/json', { metadata: { name: 'x' }, dta: {} })
  assert.equal(warned.status, 201)
  assert.match(String(warned.headers.warning), /299 - "unknown field \\"dta\\""/)
  assert.equal((await post('application/json', { kind: 'Secret', metadata: { name: 'y' } })).status, 400)
})

test('discovery comes in both forms and agrees with itself', async () => {
  const legacy = (await ask('/api/v1')).json
  assert.equal(legacy['groupVersion'], 'v1')
  const aggregated = await ask('/apis', { headers: { accept: 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json' } })
  assert.equal(aggregated.headers['content-type'], 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList')
  assert.match(aggregated.text, /"resource":"deployments"/)
  assert.equal((await ask('/apis/apps')).json['kind'], 'APIGroup')
  assert.equal((await ask('/apis/nothing/v1')).status, 404)
  const v3 = (await ask('/openapi/v3')).json
  assert.ok(isJsonObject(v3['paths']) && Object.hasOwn(v3['paths'], 'apis/apps/v1'))
  const etag = (await ask('/openapi/v3/api/v1')).headers.etag
  assert.equal((await ask('/openapi/v3/api/v1', { headers: { 'if-none-match': String(etag) } })).status, 304)
})

test('a watch streams over HTTP/1.1 and HTTP/2, and what is too old is a 410', async () => {
  const { json: list } = await ask(configMaps)
  const version = isJsonObject(list['metadata']) ? textOf(list['metadata']['resourceVersion']) : ''
  const session = connect(`https://127.0.0.1:${server.addresses[0]?.port}`, { ca: pki.authority.certificate, cert: pki.admin.certificate, key: pki.admin.key })
  const stream = session.request({ ':path': `${configMaps}?watch=true&resourceVersion=${version}&allowWatchBookmarks=true`, accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' })
  const lines: JsonObject[] = []
  let rest = ''
  const arrived = new Promise<void>((resolve) =>
    stream.on('data', (chunk: Buffer) => {
      const parts = (rest + chunk.toString()).split('\n')
      rest = parts.pop() ?? ''
      lines.push(...parts.map(parsed))
      if (lines.length >= 2) resolve()
    }),
  )
  await once(stream, 'response')
  for (const name of ['w1', 'w2']) await ask(configMaps, { method: 'POST', headers: json, body: configMap(name) })
  await arrived
  assert.deepEqual(lines.map(({ type }) => type), ['ADDED', 'ADDED'])
  assert.deepEqual(lines.map(({ object }) => isJsonObject(object) && Array.isArray(object['columnDefinitions'])), [true, false])
  stream.close()
  session.close()
  assert.equal((await ask(`${configMaps}?watch=true&resourceVersion=nonsense`)).status, 400)
  const short = await ask(`${configMaps}?watch=1&timeoutSeconds=0&resourceVersion=${version}`)
  assert.equal(short.status, 200)
})

test('the JavaScript client lists, creates, watches and gets clear refusals', async () => {
  const config = new k8s.KubeConfig()
  config.loadFromString(kubeconfig({ server: `https://127.0.0.1:${server.addresses[0]?.port}`, authority: pki.authority.certificate, client: pki.admin }))
  const core = config.makeApiClient(k8s.CoreV1Api)
  const created = await core.createNamespacedConfigMap({ namespace: 'default', body: { metadata: { generateName: 'js-' }, data: { a: 'b' } } })
  const name = created.metadata?.name ?? ''
  assert.ok((await core.listNamespacedConfigMap({ namespace: 'default' })).items.some(({ metadata }) => metadata?.name === name))
  const seen = Promise.withResolvers<string>()
  const watch = new k8s.Watch(config)
  const controller = await watch.watch(configMaps, { resourceVersion: created.metadata?.resourceVersion }, (type) => seen.resolve(type), (error: unknown) => seen.reject(error))
  await core.deleteNamespacedConfigMap({ namespace: 'default', name })
  assert.equal(await seen.promise, 'DELETED')
  controller.abort()
  await assert.rejects(core.readNamespacedConfigMap({ namespace: 'default', name }), /configmaps .*not found/s)
})

test('logs and upgraded connections go to the kubelet of the pod, byte for byte, with the server as client', async () => {
  const seen: string[] = []
  const kubelet = createServer({ cert: node.certificate, key: node.key, ca: pki.authority.certificate, requestCert: true }, (request, response) => {
    seen.push(`${request.method} ${request.url}`)
    response.end('one\ntwo\n')
  })
  kubelet.on('upgrade', (request: IncomingMessage, socket: TLSSocket) => {
    seen.push(`${request.url} as ${String(socket.getPeerCertificate().subject.CN)} authorization ${request.headers.authorization}`)
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: ${request.headers.upgrade}\r\nsec-websocket-protocol: v5.channel.k8s.io\r\n\r\n`)
    socket.pipe(socket)
  })
  kubelet.listen(0, '127.0.0.1')
  await once(kubelet, 'listening')
  const { port } = kubelet.address() as AddressInfo
  const n3 = await server.client.create(Node, { metadata: { name: 'n3' } })
  await server.client.update(Node, { ...n3, status: { addresses: [{ type: 'InternalIP', address: '127.0.0.1' }], daemonEndpoints: { kubeletEndpoint: { Port: port } } } }, { subresource: 'status' })
  await server.client.create(Pod, { metadata: { name: 'logged', namespace: 'default' }, spec: { nodeName: 'n3', containers: [{ name: 'a', image: 'x' }, { name: 'b', image: 'x' }] } })
  const pod = '/api/v1/namespaces/default/pods/logged'

  assert.match((await ask(`${pod}/log`)).text, /a container name must be specified for pod logged, choose one of: \[a b\]/)
  assert.equal((await ask(`${pod}/log?container=a&tailLines=5&follow=true`)).text, 'one\ntwo\n')
  assert.equal((await ask(`${pod}/exec?container=a&command=ls`, { method: 'POST' })).status, 400)
  assert.equal((await ask(`${pod}/exec?container=a&command=ls`, { as: node, method: 'POST' })).status, 403)

  const outgoing = httpsRequest({
    host: '127.0.0.1',
    port: server.addresses[0]?.port,
    path: `${pod}/exec?container=a&command=sh&command=-c&stdin=true&stdout=true&tty=true`,
    ca: pki.authority.certificate,
    agent: false,
    headers: { authorization: 'Bearer bootstrap-secret', connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==' },
  })
  outgoing.end()
  const [answer, socket]: [IncomingMessage, TLSSocket, Buffer] = (await once(outgoing, 'upgrade')) as [IncomingMessage, TLSSocket, Buffer]
  assert.equal(answer.headers['sec-websocket-protocol'], 'v5.channel.k8s.io')
  const sent = systemRandom.bytes(300_000)
  const received: Buffer[] = []
  const back = new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      received.push(chunk)
      if (Buffer.concat(received).length >= sent.length) resolve()
    })
  })
  socket.write(sent)
  await back
  assert.ok(Buffer.concat(received).equals(sent))
  socket.end()
  await once(socket, 'close')
  assert.deepEqual(seen, ['GET /containerLogs/default/logged/a?follow=true&tailLines=5', '/exec/default/logged/a?input=1&output=1&tty=1&command=sh&command=-c as kube-apiserver-kubelet-client authorization undefined'])
  kubelet.closeAllConnections()
  kubelet.close()
  assert.equal((await ask(`${pod}/log?container=a`)).status, 503)
})

test('the proxy subresource reaches pods, and services through a ready endpoint', async () => {
  const backend = createPlainServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      response.writeHead(201, { 'x-backend': 'yes' })
      response.end(`${request.method} ${request.url} ${Buffer.concat(chunks).toString()} ${String(request.headers.authorization)}`)
    })
  })
  backend.listen(0, '127.0.0.1')
  await once(backend, 'listening')
  const { port } = backend.address() as AddressInfo
  const pod = await server.client.create(Pod, { metadata: { name: 'behind', namespace: 'default' }, spec: { containers: [{ name: 'c', image: 'x', ports: [{ name: 'web', containerPort: port }] }] } })
  assert.equal((await ask('/api/v1/namespaces/default/pods/behind/proxy/')).status, 503)
  await server.client.update(Pod, { ...pod, status: { ...pod.status, podIP: '127.0.0.1' } }, { subresource: 'status' })
  const answer = await ask('/api/v1/namespaces/default/pods/behind:web/proxy/a/b?c=d', { method: 'POST', as: 'nobody', headers: { authorization: 'Bearer bootstrap-secret' }, body: 'hello' })
  assert.equal(answer.status, 201)
  assert.equal(answer.text, 'POST /a/b?c=d hello undefined')
  assert.equal(answer.headers['x-backend'], 'yes')
  await server.client.create(Service, { metadata: { name: 'behind', namespace: 'default' }, spec: { ports: [{ port: 80, name: 'http' }] } })
  assert.match((await ask('/api/v1/namespaces/default/services/behind/proxy/')).text, /no endpoints available for service/)
  await server.client.create(EndpointSlice, {
    metadata: { name: 'behind-1', namespace: 'default', labels: { 'kubernetes.io/service-name': 'behind' } },
    addressType: 'IPv4',
    ports: [{ name: 'http', port, protocol: 'TCP' }],
    endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready: true } }],
  })
  assert.equal((await ask('/api/v1/namespaces/default/services/http:behind:http/proxy/x')).text, 'GET /x  undefined')
  backend.closeAllConnections()
  backend.close()
})

test('secrets lie encrypted in the store', async () => {
  await server.client.create(Secret, { metadata: { name: 'sealed', namespace: 'default' }, stringData: { password: 'correct horse' } })
  const raw = await store.get('/registry/secrets/default/sealed')
  assert.ok(raw !== undefined && raw.value.toString('latin1').startsWith('berth:aesgcm:1:'))
  assert.ok(!raw.value.includes(Buffer.from('correct horse').toString('base64')))
})
