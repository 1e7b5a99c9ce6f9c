/** Bridge networks on the real kernel, inside the private network namespace that the test runner makes. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { sleep, systemClock } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { silentLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import type { Child } from '#linux/contract/processes.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { openNetworks, type BridgeNetworks } from './networks.ts'

const folder = await mkdtemp(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'net-'))
let kernel: Kernel & AsyncDisposable
let networks: BridgeNetworks
const children: Child[] = []
const outside = join(folder, 'outside')

const open = (): Promise<BridgeNetworks> =>
  openNetworks({
    links: kernel.links,
    namespaces: kernel.namespaces,
    nftables: kernel.nftables,
    sockets: kernel.poller,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    stateDir: join(folder, 'state'),
    runDir: join(folder, 'run'),
    table: 'berth_nettest',
    defaultBridge: { name: 'tn0', subnet: '10.201.0.0/24' },
    addressPools: [{ base: '10.203.0.0/16', length: 24 }],
  })

before(async () => {
  kernel = await openKernel()
  networks = await open()
  await mkdir(folder, { recursive: true })
  await kernel.namespaces.create({ pinAt: { net: outside } })
  await kernel.links.attach({ hostName: 'tnout', netns: outside, ifName: 'eth0', addresses: ['10.202.0.2/24'], gateways: ['10.202.0.1'] })
  await kernel.links.addAddress('tnout', '10.202.0.1/24')
})

after(async () => {
  for (const child of children) await kernel.processes.kill(child.pid, 9)
  await Promise.all(children.map(({ exited }) => exited))
  await networks.tearDown()
  await kernel.links.deleteLink('tnout')
  await kernel.namespaces.remove(outside)
  await rm(folder, { recursive: true })
  await kernel[Symbol.asyncDispose]()
})

/** A server in a namespace that answers each connection with `name` and the peer's address. Resolves when it listens. */
async function serve(netns: string, port: number, name: string): Promise<void> {
  const program = `require('net').createServer((s) => s.end(${JSON.stringify(name)} + ' ' + s.remoteAddress)).listen(${port}, '0.0.0.0', () => console.log('ready'))`
  const child = await kernel.processes.start(['nsenter', `--net=${netns}`, process.execPath, '-e', program], { stdio: ['null', 'pipeOut', 'inherit'] })
  children.push(child)
  for await (const _ of child.stdio[1] ?? []) return
}

/** What a server says to a client in a namespace; `failed` when it cannot be reached within a second. */
async function ask(netns: string, address: string, port: number): Promise<string> {
  const program = `const s = require('net').connect({ host: '${address}', port: ${port}, timeout: 1000 }); s.on('timeout', () => s.destroy(new Error('timeout'))); s.on('error', () => console.log('failed')); s.on('data', (d) => console.log(String(d)))`
  const { stdout } = await kernel.processes.run(['nsenter', `--net=${netns}`, process.execPath, '-e', program])
  return stdout.toString().trim()
}

function askFromHost(host: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 2000 })
    socket.on('timeout', () => socket.destroy(new Error('timeout')))
    socket.on('error', () => resolve('failed'))
    socket.on('data', (data) => resolve(data.toString()))
  })
}

/** How many interfaces are on the bridge, once they are as many as wanted or a second has passed. */
async function portsOfBridge(wanted: number): Promise<number> {
  for (let attempt = 0; ; attempt += 1) {
    const count = (await kernel.links.list()).filter(({ master }) => master === 'tn0').length
    if (count === wanted || attempt === 100) return count
    await sleep(systemClock, 10)
  }
}

test('the three predefined networks are there and stay', async () => {
  assert.deepEqual((await networks.list()).map(({ name, driver }) => `${name} ${driver}`).sort(), ['bridge bridge', 'host host', 'none null'])
  await assert.rejects(networks.remove('bridge'), (error) => isFault(error, 'permissionDenied'))
  await assert.rejects(networks.get('nope'), (error) => isFault(error, 'notFound') && error.message === 'network nope not found')
})

test('a published port is reached from everywhere, and nothing else is', async () => {
  const bridge = await networks.get('bridge')
  const one = await networks.openSandbox('one')
  const endpoint = await networks.connect('one', bridge.id, { ports: [{ containerPort: 80, protocol: 'tcp', hostIp: '', hostPort: 18387 }] })
  const two = await networks.openSandbox('two')
  await networks.connect('two', bridge.id, {})
  assert.equal(endpoint.ipv4Address, '10.201.0.2')
  assert.equal(endpoint.gateway, '10.201.0.1')
  await serve(one.netnsPath, 80, 'one')
  assert.equal(await askFromHost('10.201.0.2', 80), 'one 10.201.0.1')
  assert.equal(await askFromHost('127.0.0.1', 18387), 'one 10.201.0.1')
  assert.equal(await askFromHost('10.201.0.1', 18387), 'one 10.201.0.1')
  assert.equal(await ask(two.netnsPath, '10.201.0.2', 80), 'one 10.201.0.3')
  assert.equal(await ask(two.netnsPath, '10.201.0.1', 18387), 'one 10.201.0.1')
  assert.equal(await ask(one.netnsPath, '10.201.0.1', 18387), 'one 10.201.0.1')
  assert.equal(await ask(outside, '10.202.0.1', 18387), 'one 10.202.0.2')
  // The container's own address is no way in from outside.
  assert.equal(await ask(outside, '10.201.0.2', 80), 'failed')
  await assert.rejects(networks.connect('two', bridge.id, {}), (error) => isFault(error, 'alreadyExists'))
})

test('a container that routes 127.0.0.1 to the host does not reach what listens on the host’s loopback', async () => {
  const server = createServer((socket) => socket.end('secret'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  const { netnsPath } = await networks.openSandbox('mallory')
  await networks.connect('mallory', (await networks.get('bridge')).id, {})
  const attack = 'echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet && ip addr del 127.0.0.1/8 dev lo && ip route add 127.0.0.1 via 10.201.0.1'
  const prepared = await kernel.processes.run(['nsenter', `--net=${netnsPath}`, 'sh', '-c', attack])
  assert.equal(prepared.exitCode, 0, prepared.stderr.toString())
  try {
    assert.equal(await askFromHost('127.0.0.1', address.port), 'secret')
    assert.equal(await ask(netnsPath, '127.0.0.1', address.port), 'failed')
  } finally {
    server.close()
    await networks.closeSandbox('mallory')
  }
})

test('what leaves for the outside carries the address of the host', async () => {
  await serve(outside, 90, 'outside')
  const { netnsPath } = await networks.openSandbox('two')
  assert.equal(await ask(netnsPath, '10.202.0.2', 90), 'outside 10.202.0.1')
})

test('user-defined networks get free subnets, are isolated from each other, and internal ones reach nothing', async () => {
  const shop = await networks.create({ name: 'shop', labels: { a: 'b' } })
  const vault = await networks.create({ name: 'vault', internal: true, ipam: { config: [{ subnet: '10.204.0.0/24' }] } })
  assert.deepEqual(shop.ipam.config, [{ subnet: '10.203.0.0/24', gateway: '10.203.0.1' }])
  await assert.rejects(networks.create({ name: 'shop' }), (error) => isFault(error, 'alreadyExists'))
  await assert.rejects(networks.create({ name: 'x', ipam: { config: [{ subnet: '10.203.0.128/25' }] } }), /Pool overlaps/)
  const three = await networks.openSandbox('three')
  await networks.connect('three', vault.id, {})
  assert.equal(await ask(three.netnsPath, '10.202.0.2', 90), 'failed')
  const joined = await networks.connect('three', shop.id, { aliases: ['web'], ipv4Address: '10.203.0.77' })
  assert.equal(joined.ipv4Address, '10.203.0.77')
  assert.equal(await ask(three.netnsPath, '10.202.0.2', 90), 'outside 10.202.0.1')
  assert.equal(await ask(three.netnsPath, '10.201.0.2', 80), 'failed')
  assert.equal(await ask(three.netnsPath, '10.202.0.1', 18387), 'one 10.201.0.1')
  await assert.rejects(networks.remove('shop'), (error) => isFault(error, 'permissionDenied') && /has active endpoints/.test(error.message))
  await networks.closeSandbox('three')
  await networks.remove('shop')
  await networks.remove(vault.id.slice(0, 10))
})

/** What `dns.resolve` says inside a namespace when it asks 127.0.0.11. */
async function lookUp(netns: string, name: string, type: 'A' | 'AAAA' | 'PTR' = 'A'): Promise<string> {
  const program = `const r = new (require('dns').promises.Resolver)({ timeout: 1000, tries: 1 }); r.setServers(['127.0.0.11']); r.${type === 'PTR' ? 'reverse' : `resolve${type === 'A' ? '4' : '6'}`}('${name}').then((a) => console.log(a.sort().join(' ')), (e) => console.log(e.code))`
  const { stdout } = await kernel.processes.run(['nsenter', `--net=${netns}`, process.execPath, '-e', program])
  return stdout.toString().trim()
}

test('containers of a user-defined network find each other by name and alias, and nobody else', async () => {
  const shop = await networks.create({ name: 'shop' })
  const other = await networks.create({ name: 'other' })
  const paths = new Map<string, string>()
  for (const [name, network, aliases] of [['web', shop, ['web', 'www']], ['db', shop, ['db', 'www']], ['far', other, ['far']]] as const) {
    paths.set(name, (await networks.openSandbox(name)).netnsPath)
    await networks.connect(name, network.id, { aliases })
  }
  const web = paths.get('web') ?? ''
  const far = paths.get('far') ?? ''
  assert.deepEqual((await networks.resolver('web')).nameservers, ['127.0.0.11'])
  assert.equal(await lookUp(web, 'db'), '10.203.0.3')
  assert.equal(await lookUp(web, 'DB.shop'), '10.203.0.3')
  assert.equal(await lookUp(web, 'www'), '10.203.0.2 10.203.0.3')
  assert.equal(await lookUp(web, 'db', 'AAAA'), 'ENODATA')
  assert.equal(await lookUp(web, '10.203.0.3', 'PTR'), 'db.shop')
  assert.notEqual(await lookUp(web, 'far'), '10.203.1.2')
  assert.notEqual(await lookUp(far, 'db'), '10.203.0.3')
  await networks.connect('far', shop.id, { aliases: ['guest'] })
  assert.equal(await lookUp(far, 'db'), '10.203.0.3')
  assert.equal(await lookUp(web, 'guest'), '10.203.0.4')
  // A new port after a restart: the rules in the sandboxes follow.
  await networks[Symbol.asyncDispose]()
  networks = await open()
  // As a crash in the middle of a connect leaves it: recorded, and no interface there. The others get their names all the same.
  await kernel.links.deleteLink('eth0', { netns: paths.get('db') ?? '' })
  assert.equal((await networks.recover(['one', ...paths.keys()])).length, 5)
  assert.equal(await lookUp(web, 'db'), '10.203.0.3')
  for (const name of paths.keys()) await networks.closeSandbox(name)
  await networks.remove('shop')
  await networks.remove('other')
})

test('after a restart endpoints stand as they were, and what nobody knows is swept', async () => {
  const again = await open()
  const kept = await again.recover(['one'])
  assert.deepEqual(kept.map(({ containerId, ipv4Address }) => [containerId, ipv4Address]), [['one', '10.201.0.2']])
  assert.equal(await askFromHost('127.0.0.1', 18387), 'one 10.201.0.1')
  await assert.rejects(again.resolver('two'), (error) => isFault(error, 'notFound'))
  assert.equal(await portsOfBridge(1), 1)
  networks = again
})

test('a flushed ruleset is made anew', async () => {
  await kernel.nftables.apply('delete table ip berth_nettest')
  const bridge = await networks.get('bridge')
  await networks.openSandbox('four')
  const endpoint = await networks.connect('four', bridge.id, { ports: [{ containerPort: 1, protocol: 'udp', hostIp: '', hostPort: 0 }] })
  assert.ok((endpoint.ports[0]?.hostPort ?? 0) >= 32768)
  assert.equal(await askFromHost('127.0.0.1', 18387), 'one 10.201.0.1')
  await networks.closeSandbox('four')
})

test('when the endpoint goes, so does the port', async () => {
  const bridge = await networks.get('bridge')
  await networks.disconnect('one', bridge.id)
  assert.equal(await askFromHost('127.0.0.1', 18387), 'failed')
  await assert.rejects(networks.disconnect('one', bridge.id), (error) => isFault(error, 'notFound'))
  await networks.closeSandbox('one')
  assert.deepEqual(await networks.endpoints(bridge.id), [])
})

test('tearing down leaves no interface and no rule', async () => {
  await networks.tearDown()
  assert.deepEqual((await kernel.links.list()).filter(({ name }) => name === 'tn0' || name.startsWith('br-')), [])
  assert.deepEqual(await kernel.nftables.list('ip berth_nettest'), [])
})
