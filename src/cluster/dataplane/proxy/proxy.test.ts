/**
 * The service proxy against the real kernel, in the private network namespace of `npm test`: pods are network namespaces on
 * a bridge with a small HTTP and UDP server in each.
 */
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { get } from 'node:http'
import type { Socket } from 'node:net'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import type { Child } from '#linux/contract/processes.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { Namespace } from '../../api/core/v1/namespace.ts'
import type { SubmittedService } from '../../api/core/v1/service.ts'
import { Service } from '../../api/core/v1/service.ts'
import { EndpointSlice } from '../../api/discovery/v1/endpoint-slice.ts'
import { allKinds } from '../../api/index.ts'
import { createApi } from '../../apiserver/api.ts'
import { localClient } from '../../apiserver/local-client.ts'
import type { Client } from '../../contract/client.ts'
import { openMemoryStore } from '../../store/memory/store.ts'
import type { ServiceProxy } from './proxy.ts'
import { removeServiceProxy, startServiceProxy } from './proxy.ts'

/** Answers `NAME CLIENT-ADDRESS`, over HTTP on 8080 and UDP on 5353. */
const server = `
const name = process.argv[1]
require('node:http').createServer((q, r) => r.end(name + ' ' + q.socket.remoteAddress.replace('::ffff:', ''))).listen(8080, () => {
  const udp = require('node:dgram').createSocket('udp4')
  udp.on('message', (m, from) => udp.send(name + ' ' + from.address, from.port, from.address))
  udp.bind(5353, () => console.log('ready'))
})`

/** Per network namespace since Linux 5.3. */
const bridgeFilter = '/proc/sys/net/bridge/bridge-nf-call-iptables'

interface SimPod {
  readonly name: string
  readonly ip: string
  readonly netns: string
  readonly child: Child
}

let kernel: Kernel & AsyncDisposable
let root: string
let client: Client
let proxy: ServiceProxy
const pods: SimPod[] = []
const closers: (() => Promise<void>)[] = []
const names = { table: 'berth_test_services', serviceInterface: 'bt-svc', serviceCidr: '10.43.0.0/16', podCidr: '10.42.0.0/24' }

async function addPod(name: string, ip: string): Promise<void> {
  const netns = join(root, name)
  await kernel.namespaces.create({ pinAt: { net: netns } })
  await kernel.links.attach({ bridge: 'bt-pods', hostName: `bt-${name}`, netns, ifName: 'eth0', addresses: [`${ip}/24`], gateways: ['10.42.0.1'], hairpin: true })
  const child = await kernel.processes.start(['nsenter', `--net=${netns}`, process.execPath, '-e', server, name], { stdio: ['null', 'pipeOut', 'inherit'] })
  pods.push({ name, ip, netns, child })
  const out = child.stdio[1]
  assert.ok(out)
  await new Promise<void>((resolve) => out.once('data', () => resolve()))
}

before(async () => {
  root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'px-'))
  mkdirSync(root, { recursive: true })
  kernel = await openKernel()
  await kernel.links.setSysctl('net.ipv4.ip_forward', '1')
  await kernel.links.ensureBridge({ name: 'bt-pods', addresses: ['10.42.0.1/24'] })
  // The way out of the machine, where no packet for a service or pod may be seen.
  await kernel.links.ensureBridge({ name: 'bt-out', addresses: ['192.0.2.1/24'] })
  // Only those are counted: other suites and the kernel itself (neighbour discovery) may send by this link too.
  await kernel.nftables.apply('table ip bt_out {\nchain leaving {\ntype filter hook postrouting priority 300\noifname "bt-out" ip daddr { 10.42.0.0/16, 10.43.0.0/16 } counter\n}\n}\n')
  await kernel.links.route({ destination: '10.0.0.0/8', gateway: '192.0.2.254', device: 'bt-out' })
  await Promise.all([addPod('a', '10.42.0.2'), addPod('b', '10.42.0.3')])
  const store = openMemoryStore()
  const api = await createApi({ store, kinds: allKinds, clock: systemClock, random: systemRandom, log: silentLogger, ranges: { serviceCidr: '10.43.0.0/16', nodePorts: [30_000, 32_767] } })
  client = localClient({ api })
  await client.create(Namespace, { metadata: { name: 'default' } })
  const bridgedTrafficFiltered = readOrEmpty(bridgeFilter).trim() === '1'
  proxy = await startServiceProxy({ client, links: kernel.links, nftables: kernel.nftables, clock: systemClock, log: silentLogger, nodeName: 'n1', ...names, serviceAddresses: ['10.43.0.10'], podInterfaces: ['bt-pods'], bridgedTrafficFiltered })
  closers.push(() => proxy.close(), () => api.close(), () => store.close())
})

after(async () => {
  for (const close of closers) await close()
  await removeServiceProxy({ links: kernel.links, nftables: kernel.nftables, ...names })
  for (const { child, netns } of pods) {
    await kernel.processes.kill(child.pid, 9)
    await child.exited
    await kernel.namespaces.remove(netns)
  }
  await kernel.nftables.apply('delete table ip bt_out\n')
  for (const bridge of ['bt-pods', 'bt-out']) await kernel.links.deleteLink(bridge)
  await kernel[Symbol.asyncDispose]()
  rmSync(root, { recursive: true })
})

/** What the one counter of the table `bt_out` says. */
async function packetsLeaving(): Promise<readonly number[]> {
  const text = JSON.stringify(await kernel.nftables.list('ip bt_out'))
  return [...text.matchAll(/"counter":\{"packets":(\d+)/g)].map((match) => Number(match[1]))
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return ''
    throw error
  }
}

async function makeService(name: string, spec: NonNullable<SubmittedService['spec']>, targets: readonly string[], port = 8080): Promise<Service> {
  const made = await client.create(Service, { metadata: { name, namespace: 'default' }, spec })
  const [first] = made.spec.ports ?? []
  await client.create(EndpointSlice, {
    metadata: { name: `${name}-1`, namespace: 'default', labels: { 'kubernetes.io/service-name': name } }, addressType: 'IPv4',
    endpoints: targets.map((ip) => ({ addresses: [ip], conditions: { ready: true } })), ports: [{ name: first?.name ?? '', port, protocol: first?.protocol ?? 'TCP' }],
  })
  await seen(name)
  return made
}

/** Waits until the proxy's caches have what the API has, then until the rules do. */
async function seen(name: string): Promise<void> {
  const slice = await client.get(EndpointSlice, { namespace: 'default', name: `${name}-1` })
  await new Promise<void>((resolve) => {
    const look = (): void => {
      const known = proxy.slices.get({ namespace: 'default', name: `${name}-1` })
      if (known?.metadata.resourceVersion === slice.metadata.resourceVersion && proxy.services.get({ namespace: 'default', name }) !== undefined) resolve()
    }
    proxy.slices.onChange(look)
    proxy.services.onChange(look)
    look()
  })
  await proxy.settled()
}

function fetchText(host: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = get({ host, port, agent: false, signal: AbortSignal.timeout(3000) }, (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => (text += chunk.toString()))
      response.on('end', () => resolve(text))
    })
    outgoing.on('error', reject)
  })
}

async function fetchFromPod(pod: SimPod | undefined, url: string): Promise<string> {
  assert.ok(pod)
  const script = `fetch(${JSON.stringify(url)}, { signal: AbortSignal.timeout(3000) }).then((r) => r.text()).then(console.log, (e) => console.log('failed ' + (e.cause?.code ?? e.name)))`
  const { stdout } = await kernel.processes.run(['nsenter', `--net=${pod.netns}`, process.execPath, '-e', script], { timeoutMs: 10_000 })
  return stdout.toString().trim()
}

test('a cluster address leads to both endpoints, from the node and from a pod, which also reaches itself', async () => {
  const { spec } = await makeService('web', { ports: [{ port: 80, targetPort: 8080 }] }, ['10.42.0.2', '10.42.0.3'])
  const fromNode = new Set<string>()
  for (let at = 0; at < 40; at += 1) fromNode.add((await fetchText(spec.clusterIP ?? '', 80)).split(' ')[0] ?? '')
  assert.deepEqual([...fromNode].sort(), ['a', 'b'])
  const fromPod = new Set<string>()
  for (let at = 0; at < 8 && fromPod.size < 2; at += 1) fromPod.add((await fetchFromPod(pods[0], `http://${spec.clusterIP}/`)).split(' ')[0] ?? '')
  assert.deepEqual([...fromPod].sort(), ['a', 'b'])
})

test('a node port answers on the node’s address, on 127.0.0.1, and for a pod', async () => {
  await makeService('np', { type: 'NodePort', ports: [{ port: 80, targetPort: 8080, nodePort: 30_080 }] }, ['10.42.0.2'])
  assert.match(await fetchText('127.0.0.1', 30_080), /^a 10\.42\.0\.1$/)
  assert.match(await fetchText('192.0.2.1', 30_080), /^a /)
  assert.match(await fetchFromPod(pods[1], 'http://192.0.2.1:30080/'), /^a /)
})

test('a service without endpoints, and a port that no service has, are refused at once and never leave the machine', async () => {
  const { spec } = await makeService('none', { ports: [{ port: 80, targetPort: 8080 }] }, [])
  await assert.rejects(fetchText(spec.clusterIP ?? '', 80), /ECONNREFUSED/)
  await assert.rejects(fetchText('10.43.77.77', 80), /ECONNREFUSED/)
  assert.match(await fetchFromPod(pods[0], `http://${spec.clusterIP}/`), /^failed ECONN(REFUSED|RESET)/)
  assert.deepEqual(await packetsLeaving(), [0])
})

test('UDP services work, and client affinity keeps a client at one endpoint', async () => {
  const { spec } = await makeService('dns', { ports: [{ port: 53, protocol: 'UDP', targetPort: 5353 }], sessionAffinity: 'ClientIP' }, ['10.42.0.2', '10.42.0.3'], 5353)
  const answers = new Set<string>()
  for (let at = 0; at < 6; at += 1) {
    const socket = createSocket('udp4')
    const answer = new Promise<string>((resolve) => socket.once('message', (message) => resolve(message.toString().split(' ')[0] ?? '')))
    socket.send('?', 53, spec.clusterIP ?? '')
    answers.add(await answer)
    socket.close()
  }
  assert.equal(answers.size, 1)
})

test('a connection to an endpoint that leaves the service goes on; new ones avoid it; a restarted proxy changes nothing', async () => {
  const { spec } = await makeService('roll', { ports: [{ port: 80, targetPort: 8080 }] }, ['10.42.0.2'])
  const socket: Socket = connect({ host: spec.clusterIP ?? '', port: 80 })
  const ask = (): Promise<string> => {
    const answered = new Promise<string>((resolve) => socket.once('data', (data) => resolve(data.toString())))
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
    return answered
  }
  assert.match(await ask(), /\r\n\r\na /)
  await client.patch(EndpointSlice, { namespace: 'default', name: 'roll-1' }, { endpoints: [{ addresses: ['10.42.0.2'], conditions: { ready: false, serving: true, terminating: true } }, { addresses: ['10.42.0.3'], conditions: { ready: true } }] }, { type: 'merge' })
  await seen('roll')
  assert.match(await ask(), /\r\n\r\na /, 'the old connection is still served by a')
  assert.match(await fetchText(spec.clusterIP ?? '', 80), /^b /)
  await proxy.close()
  assert.match(await fetchText(spec.clusterIP ?? '', 80), /^b /, 'the rules hold without the process')
  const switchable = readOrEmpty(bridgeFilter).trim() === '1'
  if (switchable) await kernel.links.setSysctl(bridgeFilter.replace('/proc/sys/', ''), '0')
  proxy = await startServiceProxy({ client, links: kernel.links, nftables: kernel.nftables, clock: systemClock, log: silentLogger, nodeName: 'n1', ...names, serviceAddresses: ['10.43.0.10'], podInterfaces: ['bt-pods'], bridgedTrafficFiltered: false })
  assert.match(await ask(), /\r\n\r\na /, 'and the old connection survives the restart')
  assert.match(await fetchFromPod(pods[0], `http://${spec.clusterIP}/`), /^b /, 'pod to pod on one bridge, without br_netfilter')
  assert.match(await fetchFromPod(pods[1], `http://${spec.clusterIP}/`), /^b /, 'a pod to itself')
  if (switchable) await kernel.links.setSysctl(bridgeFilter.replace('/proc/sys/', ''), '1')
  socket.destroy()
})
