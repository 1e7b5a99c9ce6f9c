/** The DNS server over real sockets, asked by Node's own resolver (c-ares) and by hand-made messages. */
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import dnsPacket from 'dns-packet'
import fc from 'fast-check'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import { Namespace } from '../../api/core/v1/namespace.ts'
import type { SubmittedService } from '../../api/core/v1/service.ts'
import { Service } from '../../api/core/v1/service.ts'
import { EndpointSlice } from '../../api/discovery/v1/endpoint-slice.ts'
import { allKinds } from '../../api/index.ts'
import { createApi } from '../../apiserver/api.ts'
import { localClient } from '../../apiserver/local-client.ts'
import { createInformer } from '../../client/informer.ts'
import type { Client } from '../../contract/client.ts'
import { openMemoryStore } from '../../store/memory/store.ts'
import type { ClusterDns } from './server.ts'
import { startClusterDns } from './server.ts'
import { decodeQuery } from './wire.ts'

let dns: ClusterDns
let upstream: ClusterDns
let resolver: Resolver
const closers: (() => Promise<void> | void)[] = []

async function makeService(client: Client, name: string, spec: NonNullable<SubmittedService['spec']>): Promise<void> {
  await client.create(Service, { metadata: { name, namespace: 'default' }, spec })
}

before(async () => {
  const store = openMemoryStore()
  const api = await createApi({ store, kinds: allKinds, clock: systemClock, random: systemRandom, log: silentLogger, ranges: { serviceCidr: '10.43.0.0/16', nodePorts: [30_000, 32_767] } })
  const client = localClient({ api })
  await client.create(Namespace, { metadata: { name: 'default' } })
  await makeService(client, 'web', { clusterIP: '10.43.0.7', ports: [{ name: 'http', port: 80 }] })
  await makeService(client, 'db', { clusterIP: 'None', ports: [{ name: 'pg', port: 5432 }] })
  await makeService(client, 'many', { clusterIP: 'None', ports: [{ port: 1 }] })
  await makeService(client, 'out', { type: 'ExternalName', externalName: 'web.default.svc.cluster.local' })
  const slice = (name: string, endpoints: { addresses: string[]; hostname?: string; conditions?: { ready: boolean } }[]): Promise<unknown> =>
    client.create(EndpointSlice, { metadata: { name: `${name}-1`, namespace: 'default', labels: { 'kubernetes.io/service-name': name } }, addressType: 'IPv4', endpoints, ports: [{ name: 'pg', port: 5432 }] })
  await slice('db', [{ addresses: ['10.42.0.5'], hostname: 'db-0' }, { addresses: ['10.42.0.6'] }, { addresses: ['10.42.0.9'], conditions: { ready: false } }])
  await slice('many', Array.from({ length: 100 }, (_, at) => ({ addresses: [`10.42.1.${at + 1}`] })))
  const stop = new AbortController()
  const services = createInformer(Service, { client, clock: systemClock })
  const slices = createInformer(EndpointSlice, { client, clock: systemClock })
  const running = [services.run(stop.signal), slices.run(stop.signal)]
  await Promise.all([services.whenSynced(), slices.whenSynced()])
  const common = { services, slices, clock: systemClock, random: systemRandom, log: silentLogger, addresses: ['127.0.0.1'], port: 0, reverseCidrs: ['10.43.0.0/16', '10.42.0.0/16'] }
  upstream = await startClusterDns({ ...common, domain: 'example', upstreams: [] })
  dns = await startClusterDns({ ...common, domain: 'cluster.local', upstreams: [`127.0.0.1:${upstream.port}`] })
  resolver = new Resolver({ tries: 1, timeout: 2000 })
  resolver.setServers([`127.0.0.1:${dns.port}`])
  closers.push(() => dns.close(), () => upstream.close(), () => stop.abort(), async () => void (await Promise.all(running)), () => api.close(), () => store.close())
})

after(async () => {
  for (const close of closers) await close()
})

const code = (wanted: string) => (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === wanted

test('services have addresses, in whatever case they are asked for', async () => {
  assert.deepEqual(await resolver.resolve4('web.default.svc.cluster.local', { ttl: true }), [{ address: '10.43.0.7', ttl: 5 }])
  assert.deepEqual(await resolver.resolve4('WEB.Default.svc.CLUSTER.local'), ['10.43.0.7'])
})

test('headless services answer with their ready endpoints; an endpoint has a name of its own', async () => {
  assert.deepEqual((await resolver.resolve4('db.default.svc.cluster.local')).sort(), ['10.42.0.5', '10.42.0.6'])
  assert.deepEqual(await resolver.resolve4('db-0.db.default.svc.cluster.local'), ['10.42.0.5'])
  assert.deepEqual(await resolver.resolve4('10-42-0-6.db.default.svc.cluster.local'), ['10.42.0.6'])
})

test('SRV names ports: of the service, or of each endpoint of a headless one', async () => {
  const [http, ...others] = await resolver.resolveSrv('_http._tcp.web.default.svc.cluster.local')
  assert.deepEqual([http?.name, http?.port, http?.priority, http?.weight, others], ['web.default.svc.cluster.local', 80, 0, 100, []])
  const records = await resolver.resolveSrv('_pg._tcp.db.default.svc.cluster.local')
  assert.deepEqual(records.map(({ name }) => name).sort(), ['10-42-0-6.db.default.svc.cluster.local', 'db-0.db.default.svc.cluster.local'])
  await assert.rejects(resolver.resolveSrv('_none._tcp.web.default.svc.cluster.local'), code('ENOTFOUND'))
})

test('addresses have names, pods are named by their address, external names are followed', async () => {
  assert.deepEqual(await resolver.resolvePtr('7.0.43.10.in-addr.arpa'), ['web.default.svc.cluster.local'])
  assert.deepEqual(await resolver.reverse('10.42.0.5'), ['db-0.db.default.svc.cluster.local'])
  await assert.rejects(resolver.reverse('10.43.9.9'), code('ENOTFOUND'))
  assert.deepEqual(await resolver.resolve4('10-42-0-77.default.pod.cluster.local'), ['10.42.0.77'])
  assert.deepEqual(await resolver.resolve4('out.default.svc.cluster.local'), ['10.43.0.7'])
  assert.deepEqual(await resolver.resolveCname('out.default.svc.cluster.local'), ['web.default.svc.cluster.local'])
})

test('what does not exist is NXDOMAIN, what exists under another type has no data', async () => {
  await assert.rejects(resolver.resolve4('nope.default.svc.cluster.local'), code('ENOTFOUND'))
  await assert.rejects(resolver.resolve4('web.other.svc.cluster.local'), code('ENOTFOUND'))
  await assert.rejects(resolver.resolve6('web.default.svc.cluster.local'), code('ENODATA'))
  await assert.rejects(resolver.resolve4('default.svc.cluster.local'), code('ENODATA'))
})

test('other names go to the resolvers; without any they do not exist, at once', async () => {
  assert.deepEqual(await resolver.resolveTxt('dns-version.example'), [['1.1.0']])
  await assert.rejects(resolver.resolve4('www.invalid'), code('ENOTFOUND'))
})

test('a long answer is cut off over UDP and whole over TCP', async () => {
  const message = dnsPacket.encode({ type: 'query', id: 7, flags: 0x100, questions: [{ type: 'A', name: 'many.default.svc.cluster.local' }] })
  const socket = createSocket('udp4')
  const answered = new Promise<Buffer>((resolve) => socket.once('message', resolve))
  socket.send(message, dns.port, '127.0.0.1')
  const cut = dnsPacket.decode(await answered)
  socket.close()
  assert.equal(cut.flag_tc, true)
  const tcp = connect({ host: '127.0.0.1', port: dns.port })
  tcp.write(Buffer.concat([Buffer.from([0, message.length]), message]))
  let received = Buffer.alloc(0)
  for await (const chunk of tcp) {
    if (Buffer.isBuffer(chunk)) received = Buffer.concat([received, chunk])
    if (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) break
  }
  const whole = dnsPacket.decode(received.subarray(2))
  assert.equal(whole.answers?.length, 100)
  assert.equal(whole.flag_tc, false)
  // Resolvers do the same by themselves.
  assert.equal((await resolver.resolve4('many.default.svc.cluster.local')).length, 100)
})

test('property: no message, however broken, brings the server down', async () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => void decodeQuery(Buffer.from(bytes))))
  const socket = createSocket('udp4')
  for (const broken of [Buffer.alloc(0), Buffer.alloc(5), Buffer.alloc(12), Buffer.from('00010100000100000000000001c00c', 'hex')]) socket.send(broken, dns.port, '127.0.0.1')
  assert.deepEqual(await resolver.resolve4('web.default.svc.cluster.local'), ['10.43.0.7'])
  socket.close()
})
