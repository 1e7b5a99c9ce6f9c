/**
 * Networks through the Docker API on a real engine: what containers are told (files, environment), what inspection shows, and the
 * refusals. Expected answers are those of Debian's dockerd 20.10, run side by side when this was written.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import { sleep, systemClock } from '#base/clock.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import { openEngine, type Engine } from '../open.ts'
import { engineHandler } from './handler.ts'

const root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'nw-'))
const socketPath = join(root, 'd.sock')
const server = createServer()
let kernel: Kernel & AsyncDisposable
let engine: Engine

before(async () => {
  kernel = await openKernel()
  engine = await openEngine({
    kernel, blobs: await openFileBlobs(join(root, 'blobs')), paths: { state: join(root, 's'), run: join(root, 'r') }, names: { cgroup: `berth-nw-${process.pid}`, table: 'berth_nw', bridge: 'bnw0' },
    networks: { bridgeSubnet: '10.231.0.0/24', addressPools: [{ base: '10.232.0.0/16', length: 24 }] }, clock: systemClock, random: systemRandom, log: silentLogger,
  })
  server.on('request', engineHandler(engine).request).listen(socketPath)
  await once(server, 'listening')
  await engine.images.importRoot(Readable.from([sampleTar([{ path: 'bin', type: 'directory' }, { path: 'proc', type: 'directory' }, { path: 'bin/busybox', content: readFileSync('/bin/busybox'), mode: 0o755 }, { path: 'bin/sleep', type: 'symlink', link: 'busybox' }])]), { name: 'bb:latest' })
})

after(async () => {
  for (const { id } of engine.containers.list({ namespace: 'all' })) await engine.containers.remove(id, { force: true, volumes: true })
  await call('POST', '/networks/prune')
  server.closeAllConnections()
  server.close()
  await engine[Symbol.asyncDispose]()
  await kernel.links.deleteLink('bnw0')
  await kernel.nftables.apply('delete table ip berth_nw')
  await kernel.cgroups.remove(`berth-nw-${process.pid}`)
  await kernel[Symbol.asyncDispose]()
  rmSync(root, { recursive: true })
})

interface Answer {
  readonly status: number
  readonly body: unknown
}

/** What stands at a path of an answer. */
function at(body: unknown, ...path: readonly string[]): unknown {
  return path.reduce<unknown>((value, key) => (typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined), body)
}

function call(method: string, path: string, body?: unknown, version = '1.41'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path: `/v${version}${path}`, headers: { 'content-type': 'application/json' } }, (response) => {
      let text = ''
      response.on('data', (chunk) => (text += String(chunk)))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text === '' ? undefined : JSON.parse(text) }))
    })
    outgoing.on('error', reject)
    outgoing.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

async function start(name: string, config: Readonly<Record<string, unknown>>): Promise<Answer> {
  const created = await call('POST', `/containers/create?name=${name}`, { Image: 'bb', Cmd: ['sleep', '1000'], ...config })
  return created.status === 201 ? call('POST', `/containers/${name}/start`) : created
}

async function inspect(name: string, version?: string): Promise<unknown> {
  return (await call('GET', `/containers/${name}/json`, undefined, version)).body
}

/** A file that the container's process sees. */
async function inside(name: string, path: string): Promise<string> {
  return readFileSync(`/proc/${String(at(await inspect(name), 'State', 'Pid'))}/${path}`, 'utf8')
}

test('a container is told of its networks while it runs: hosts, resolv.conf, addresses; and inspection shows them', async () => {
  assert.equal((await call('POST', '/networks/create', { Name: 'six', EnableIPv6: true, IPAM: { Config: [{ Subnet: 'fd00:233::/64' }, { Subnet: '10.233.0.0/24' }] } })).status, 201)
  assert.equal((await start('web', { Hostname: 'hh', HostConfig: { NetworkMode: 'bridge', Dns: ['192.0.2.53'], PortBindings: { '80/tcp': [{ HostPort: '18680' }] } } })).status, 204)
  assert.equal(await inside('web', 'root/etc/resolv.conf'), 'nameserver 192.0.2.53\n')
  assert.equal((await call('POST', '/networks/six/connect', { Container: 'web', EndpointConfig: { IPAMConfig: { IPv6Address: 'fd00:233::55', IPv4Address: '10.233.0.55' }, Aliases: ['foo'], GwPriority: 1 } }, '1.48')).status, 200)
  const hosts = await inside('web', 'root/etc/hosts')
  for (const line of ['10.231.0.2\thh', '10.233.0.55\thh', 'fd00:233::55\thh']) assert.ok(hosts.includes(`${line}\n`), hosts)
  // The engine's DNS answers now, and asks the container's own server.
  assert.match(await inside('web', 'root/etc/resolv.conf'), /^nameserver 127\.0\.0\.11\n(.*\n)*options .*ndots:0\n$/)
  const six = at(await inspect('web'), 'NetworkSettings', 'Networks', 'six')
  const id = String(at(await inspect('web'), 'Id')).slice(0, 12)
  assert.deepEqual(
    ['GlobalIPv6Address', 'GlobalIPv6PrefixLen', 'IPv6Gateway', 'IPAddress', 'Gateway', 'Aliases', 'IPAMConfig', 'GwPriority'].map((key) => at(six, key)),
    ['fd00:233::55', 64, 'fd00:233::1', '10.233.0.55', '10.233.0.1', ['foo', id, 'hh'], { IPv4Address: '10.233.0.55', IPv6Address: 'fd00:233::55' }, undefined],
  )
  const late = at(await inspect('web', '1.48'), 'NetworkSettings', 'Networks', 'six')
  assert.deepEqual([at(late, 'Aliases'), at(late, 'DNSNames'), at(late, 'GwPriority')], [['foo'], ['web', 'foo', id, 'hh'], 1])
  assert.match(await inside('web', 'net/route'), /^eth1\t00000000\t0100E90A/m)
  const rows = at((await call('GET', '/networks/six')).body, 'Containers')
  assert.deepEqual(Object.values(rows as object).map((row) => [at(row, 'Name'), at(row, 'IPv4Address'), at(row, 'IPv6Address')]), [['web', '10.233.0.55/24', 'fd00:233::55/64']])
  assert.deepEqual(at(await inspect('web'), 'NetworkSettings', 'Ports'), { '80/tcp': [{ HostIp: '0.0.0.0', HostPort: '18680' }] })
  assert.equal((await call('POST', '/networks/six/disconnect', { Container: 'web' })).status, 200)
  assert.equal(await inside('web', 'root/etc/resolv.conf'), 'nameserver 192.0.2.53\n')
  assert.ok(!(await inside('web', 'root/etc/hosts')).includes('10.233.0.55'))
})

test('a stopped container keeps the networks it was connected to, and joins them when it starts', async () => {
  await call('POST', '/containers/create?name=later', { Image: 'bb', Cmd: ['sleep', '1000'], HostConfig: { NetworkMode: 'none' } })
  assert.deepEqual(await call('POST', '/networks/six/connect', { Container: 'later' }), { status: 400, body: { message: 'container cannot be connected to multiple networks with one of the networks in private (none) mode' } })
  assert.equal((await call('POST', '/networks/none/disconnect', { Container: 'later' })).status, 200)
  assert.equal((await call('POST', '/networks/six/connect', { Container: 'later', EndpointConfig: { IPAMConfig: { IPv4Address: '10.233.0.77' }, MacAddress: '02:42:0a:e9:00:4d' } })).status, 200)
  // Shown as it was asked for, by every version (docker-py asks at 1.41 and later).
  assert.equal(at(await inspect('later'), 'NetworkSettings', 'Networks', 'six', 'MacAddress'), '02:42:0a:e9:00:4d')
  assert.equal((await call('POST', '/containers/later/start')).status, 204)
  assert.deepEqual(at(await inspect('later'), 'NetworkSettings', 'Networks', 'six', 'IPAddress'), '10.233.0.77')
  await call('POST', '/containers/later/stop?t=0')
  assert.match(String(at(await inspect('later'), 'NetworkSettings', 'Networks', 'six', 'NetworkID')), /^([0-9a-f]{64})?$/)
  assert.equal((await call('DELETE', '/containers/later')).status, 204)
  assert.equal((await call('DELETE', '/networks/six')).status, 204)
})

test('links on the default bridge give an address and an environment; on other networks a name', async () => {
  await start('db', { Env: ['FOO=bar'], ExposedPorts: { '5432/tcp': {} } })
  const address = String(at(await inspect('db'), 'NetworkSettings', 'IPAddress'))
  assert.equal((await start('app', { HostConfig: { Links: ['db:data-base'] } })).status, 204)
  // The process has its environment once the runtime has become the program.
  let environment: readonly string[] = []
  for (let attempt = 0; attempt < 250 && !environment.some((line) => line.startsWith('DATA_BASE_NAME=')); attempt += 1) {
    if (attempt > 0) await sleep(systemClock, 20)
    environment = (await inside('app', 'environ')).split('\0')
  }
  for (const line of [`DATA_BASE_PORT=tcp://${address}:5432`, `DATA_BASE_PORT_5432_TCP_ADDR=${address}`, 'DATA_BASE_NAME=/app/data-base', 'DATA_BASE_ENV_FOO=bar']) assert.ok(environment.includes(line), environment.join(' '))
  assert.ok((await inside('app', 'root/etc/hosts')).includes(`${address}\tdata-base ${String(at(await inspect('db'), 'Id')).slice(0, 12)} db\n`))
  assert.deepEqual(at(await inspect('app'), 'HostConfig', 'Links'), ['/db:/app/data-base'])
  assert.deepEqual(await start('lost', { HostConfig: { Links: ['nope'] } }), { status: 400, body: { message: 'could not get container for nope: No such container: nope' } })
  await call('POST', '/containers/db/stop?t=0')
  await call('POST', '/containers/app/stop?t=0')
  assert.deepEqual((await call('POST', '/containers/app/start')).body, { message: 'Cannot link to a non running container: /db AS /app/data-base' })
  await call('POST', '/networks/create', { Name: 'named' })
  await start('db2', { HostConfig: { NetworkMode: 'named' } })
  assert.equal((await start('app2', { HostConfig: { NetworkMode: 'named', Links: ['db2:base'] } })).status, 204)
  assert.deepEqual(at(await inspect('app2'), 'NetworkSettings', 'Networks', 'named', 'Links'), ['db2:base'])
  assert.equal(at(await inspect('app2'), 'HostConfig', 'Links'), null)
})

test('a container that does not run may be connected again to what it is connected to', async () => {
  await call('POST', '/networks/create', { Name: 'again' })
  await call('POST', '/containers/create?name=unstarted', { Image: 'bb', Cmd: ['true'] })
  await call('POST', '/networks/bridge/disconnect', { Container: 'unstarted' })
  for (const alias of ['first', 'second']) assert.equal((await call('POST', '/networks/again/connect', { Container: 'unstarted', EndpointConfig: { Aliases: [alias] } })).status, 200)
  const aliases = at((await call('GET', '/containers/unstarted/json')).body, 'NetworkSettings', 'Networks', 'again', 'Aliases')
  assert.ok(Array.isArray(aliases) && aliases.includes('first') && !aliases.includes('second'), String(aliases))
  await call('DELETE', '/containers/unstarted')
  await call('DELETE', '/networks/again')
})

test('what Docker refuses of networks is refused in its words', async () => {
  const refusals: readonly (readonly [string, string, unknown, number, RegExp])[] = [
    ['POST', '/networks/host/connect', { Container: 'web' }, 400, /^container cannot be disconnected from host network or connected to host network$/],
    ['POST', '/networks/nope/connect', { Container: 'web' }, 404, /^network nope not found$/],
    ['POST', '/networks/bridge/connect', { Container: 'nope' }, 404, /^No such container: nope$/],
    ['POST', '/networks/bridge/connect', { Container: 'web', EndpointConfig: { IPAMConfig: { IPv4Address: '10.231.0.9' } } }, 400, /^user specified IP address is supported on user defined networks only$/],
    ['POST', '/networks/named/connect', { Container: 'app2' }, 403, /^endpoint with name app2 already exists in network named$/],
    ['POST', '/networks/named/disconnect', { Container: 'nope', Force: true }, 404, /^endpoint nope not found$/],
    ['POST', '/networks/create', { Name: 'named' }, 409, /^network with name named already exists$/],
    ['POST', '/networks/create', { Name: 'x', IPAM: { Config: [{ Gateway: '10.7.0.1' }] } }, 400, /invalid subnet : invalid CIDR block notation/],
    ['DELETE', '/networks/bridge', undefined, 403, /^bridge is a pre-defined network and cannot be removed$/],
    ['DELETE', '/networks/named', undefined, 403, /^error while removing network: network named id [0-9a-f]{64} has active endpoints$/],
    ['GET', '/networks/named?scope=swarm', undefined, 404, /^network named not found$/],
    ['GET', '/networks/named?verbose=x', undefined, 400, /^invalid value for verbose: x: strconv.ParseBool: parsing "x": invalid syntax$/],
    ['GET', `/networks?filters=${encodeURIComponent('{"type":["foo"]}')}`, undefined, 400, /^invalid filter: 'type'='foo'$/],
    ['GET', `/networks?filters=${encodeURIComponent('{"dangling":["foo"]}')}`, undefined, 400, /^invalid value for filter 'dangling'/],
    ['GET', `/networks?filters=${encodeURIComponent('{"dangling":["true","0"]}')}`, undefined, 400, /^got more than one value for filter key "dangling"/],
    ['POST', `/networks/prune?filters=${encodeURIComponent('{"foo":["x"]}')}`, undefined, 400, /invalid filter 'foo'/i],
  ]
  for (const [method, path, body, status, words] of refusals) {
    const answer = await call(method, path, body)
    assert.equal(answer.status, status, `${method} ${path}`)
    assert.match(String(at(answer.body, 'message')), words)
  }
  assert.match(String(at((await start('taken', { HostConfig: { PortBindings: { '80/tcp': [{ HostPort: '18680' }] } } })).body, 'message')), /^driver failed programming external connectivity on endpoint taken \([0-9a-f]{64}\): Bind for 0\.0\.0\.0:18680 failed: port is already allocated$/)
  assert.deepEqual(await start('bad', { HostConfig: { NetworkMode: 'named' }, NetworkingConfig: { EndpointsConfig: { named: { IPAMConfig: { IPv4Address: '10.5.0.300' } } } } }), { status: 400, body: { message: 'invalid IPv4 address: 10.5.0.300' } })
})

test('lists are filtered, prune spares what is used, labelled otherwise or young, and old clients see no later fields', async () => {
  await call('POST', '/networks/create', { Name: 'idle', Labels: { keep: 'no' }, Driver: 'bridge' })
  const names = async (filters: unknown): Promise<unknown> => ((await call('GET', `/networks?filters=${encodeURIComponent(JSON.stringify(filters))}`)).body as readonly unknown[]).map((row) => String(at(row, 'Name'))).sort((a, b) => a.localeCompare(b))
  assert.deepEqual(await names({ type: ['custom'] }), ['idle', 'named'])
  assert.deepEqual(await names({ dangling: ['true'] }), ['idle'])
  assert.deepEqual(await names({ driver: ['null', 'host'] }), ['host', 'none'])
  assert.deepEqual(await names({ label: ['keep=no'], scope: ['local'] }), ['idle'])
  assert.equal(at((await call('GET', '/networks/idle')).body, 'EnableIPv4'), undefined)
  assert.equal(at((await call('GET', '/networks/idle', undefined, '1.48')).body, 'EnableIPv4'), true)
  const prune = async (filters: unknown): Promise<unknown> => at((await call('POST', `/networks/prune?filters=${encodeURIComponent(JSON.stringify(filters))}`)).body, 'NetworksDeleted')
  assert.equal(await prune({ until: ['1h'] }), null)
  assert.equal(await prune({ 'label!': ['keep=no'] }), null)
  assert.deepEqual(await prune({ label: ['keep'] }), ['idle'])
})
