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
async function serve(netns: string, port: number, name: string, address = '0.0.0.0'): Promise<void> {
  const program = `require('net').createServer((s) => s.end(${JSON.stringify(name)} + ' ' + s.remoteAddress)).listen(${port}, '${address}', () => console.log('ready'))`
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

test('a network that only holds a configuration takes no endpoints and no subnet, gives others what they are, and stays while they are there', async () => {
  const conf = await networks.create({ name: 'conf', configOnly: true, driver: 'nosuch', ipam: { config: [{ subnet: '10.205.0.0/24', gateway: '10.205.0.9' }] }, options: { 'com.docker.network.driver.mtu': '1400' }, labels: { a: 'b' } })
  assert.deepEqual([conf.driver, conf.configOnly, conf.ipam.config], ['null', true, [{ subnet: '10.205.0.0/24', gateway: '10.205.0.9' }]])
  await networks.create({ name: 'twin', configOnly: true, ipam: { config: [{ subnet: '10.205.0.0/24' }] } })
  const made = await networks.create({ name: 'made', configFrom: 'conf', internal: true })
  assert.deepEqual([made.driver, made.configFrom, made.internal, made.ipam.config, made.options, made.labels], ['bridge', 'conf', true, conf.ipam.config, conf.options, conf.labels])
  await networks.openSandbox('four')
  await assert.rejects(networks.connect('four', conf.id, {}), (error) => isFault(error, 'permissionDenied') && error.message === 'cannot create endpoint on configuration-only network')
  assert.equal((await networks.connect('four', made.id, {})).gateway, '')
  await networks.closeSandbox('four')
  for (const [spec, code, words] of [
    [{ configFrom: 'nosuch' }, 'notFound', /configuration network "nosuch" does not exist/],
    [{ configFrom: 'bridge' }, 'notFound', /does not exist/],
    [{ configFrom: 'conf', labels: { x: 'y' } }, 'permissionDenied', /user specified configurations are not supported/],
    [{ configFrom: 'conf', options: { x: 'y' } }, 'permissionDenied', /network driver options are not supported/],
    [{ configFrom: 'conf' }, 'permissionDenied', /Pool overlaps/],
    [{ configFrom: 'conf', configOnly: true }, 'permissionDenied', /cannot depend on another/],
    [{ configOnly: true, internal: true }, 'permissionDenied', /can only contain network specific fields/],
    [{ configOnly: true, scope: 'local' }, 'permissionDenied', /can only contain network specific fields/],
  ] as const) await assert.rejects(networks.create({ name: 'x', ...spec }), (error) => isFault(error, code) && words.test(error.message), JSON.stringify(spec))
  await networks[Symbol.asyncDispose]()
  networks = await open()
  assert.equal((await networks.get('made')).configFrom, 'conf')
  await assert.rejects(networks.remove('conf'), (error) => isFault(error, 'permissionDenied') && error.message === 'error while removing network: configuration network "conf" is in use')
  for (const name of ['made', 'conf', 'twin']) await networks.remove(name)
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

/** What `ip` says inside a namespace. */
async function ip(netns: string, ...args: readonly string[]): Promise<string> {
  return (await kernel.processes.run(['nsenter', `--net=${netns}`, 'ip', ...args])).stdout.toString().trim()
}

test('IPv6 stands beside IPv4: addresses, routes, names, published ports and the way out', async () => {
  await kernel.links.addAddress('tnout', 'fd00:202::1/64')
  await kernel.links.addAddress('eth0', 'fd00:202::2/64', { netns: outside })
  await kernel.links.route({ destination: 'default', gateway: 'fd00:202::1', device: 'eth0' }, { netns: outside })
  const dual = await networks.create({ name: 'dual', enableIPv6: true, ipam: { config: [{ subnet: 'fd00:203::/64' }] } })
  assert.deepEqual(dual.ipam.config.map(({ subnet, gateway }) => [subnet, gateway]), [['10.203.0.0/24', '10.203.0.1'], ['fd00:203::/64', 'fd00:203::1']])
  const six = (await networks.openSandbox('six')).netnsPath
  const endpoint = await networks.connect('six', dual.id, { aliases: ['six'], ipv6Address: 'fd00:203::66', ports: [{ containerPort: 80, protocol: 'tcp', hostIp: '', hostPort: 18466 }] })
  assert.deepEqual([endpoint.ipv4Address, endpoint.ipv6Address, endpoint.ipv6PrefixLength, endpoint.ipv6Gateway], ['10.203.0.2', 'fd00:203::66', 64, 'fd00:203::1'])
  assert.deepEqual(endpoint.ports.map(({ hostIp, hostPort }) => `${hostIp} ${hostPort}`), ['0.0.0.0 18466', ':: 18466'])
  const peer = (await networks.openSandbox('peer')).netnsPath
  await networks.connect('peer', dual.id, { aliases: ['peer'] })
  assert.equal(await lookUp(peer, 'six', 'AAAA'), 'fd00:203::66')
  assert.equal(await lookUp(peer, 'fd00:203::66', 'PTR'), 'six.dual')
  await serve(six, 80, 'six', '::')
  await serve(outside, 91, 'outside', '::')
  assert.equal(await ask(peer, 'fd00:203::66', 80), 'six fd00:203::2')
  assert.equal(await askFromHost('fd00:203::1', 18466), 'six fd00:203::1')
  assert.equal(await askFromHost('127.0.0.1', 18466), 'six ::ffff:10.203.0.1')
  assert.equal(await ask(outside, 'fd00:202::1', 18466), 'six fd00:202::2')
  assert.equal(await ask(six, 'fd00:203::1', 18466), 'six fd00:203::1')
  assert.equal(await ask(outside, 'fd00:203::66', 80), 'failed')
  assert.equal(await ask(six, 'fd00:202::2', 91), 'outside fd00:202::1')
  await assert.rejects(networks.connect('peer', dual.id, { ports: [] }), (error) => isFault(error, 'alreadyExists'))
  await networks.closeSandbox('six')
  await networks.closeSandbox('peer')
  await networks.remove('dual')
})

test('a network without IPv4 has names, too, and a subnet of its own where none is named', async () => {
  const only = await networks.create({ name: 'only6', enableIPv4: false, enableIPv6: true })
  assert.match(only.ipam.config[0]?.subnet ?? '', /^fd.*::\/64$/)
  assert.equal(only.ipam.config.length, 1)
  for (const name of ['a', 'b']) {
    await networks.openSandbox(name)
    const { ipv4Address, ipv6Address } = await networks.connect(name, only.id, { aliases: [name] })
    assert.equal(ipv4Address, '')
    assert.notEqual(ipv6Address, '')
  }
  const a = (await networks.openSandbox('a')).netnsPath
  assert.match(await lookUp(a, 'b', 'AAAA'), /^fd/)
  assert.equal(await lookUp(a, 'b', 'A'), 'ENODATA')
  await assert.rejects(networks.connect('a', (await networks.get('bridge')).id, { ipv6Address: 'fd00::1' }), (error) => isFault(error, 'invalidArgument'))
  for (const name of ['a', 'b']) await networks.closeSandbox(name)
  await networks.remove('only6')
})

test('the default route follows the priority, falls back when its network is left, and internal networks give none', async () => {
  const [first, second, inner] = [await networks.create({ name: 'first' }), await networks.create({ name: 'second' }), await networks.create({ name: 'inner', internal: true })]
  const { netnsPath } = await networks.openSandbox('routed')
  await networks.connect('routed', inner.id, {})
  assert.equal(await ip(netnsPath, 'route', 'show', 'default'), '')
  await networks.connect('routed', first.id, {})
  await networks.connect('routed', second.id, { gatewayPriority: 5, linkLocalAddresses: ['169.254.7.7'], driverOptions: { 'com.docker.network.endpoint.ifname': 'lan0', 'com.docker.network.endpoint.sysctls': 'net.ipv4.conf.IFNAME.log_martians=1' } })
  assert.match(await ip(netnsPath, 'route', 'show', 'default'), /^default via 10\.203\.1\.1 dev lan0\b[^\n]*$/)
  assert.match(await ip(netnsPath, 'addr', 'show', 'lan0'), /169\.254\.7\.7\/16/)
  assert.equal((await kernel.processes.run(['nsenter', `--net=${netnsPath}`, 'sysctl', '-n', 'net.ipv4.conf.lan0.log_martians'])).stdout.toString().trim(), '1')
  await networks.disconnect('routed', second.id)
  assert.match(await ip(netnsPath, 'route', 'show', 'default'), /^default via 10\.203\.0\.1 dev eth1\b[^\n]*$/)
  await networks.closeSandbox('routed')
  for (const { id } of [first, second, inner]) await networks.remove(id)
})

test('links give one container a name that the others do not know', async () => {
  const shop = await networks.create({ name: 'shop' })
  for (const [name, links] of [['db', []], ['web', ['db:database', 'web']], ['cache', []]] as const) {
    await networks.openSandbox(name)
    await networks.connect(name, shop.id, { aliases: [name], links })
  }
  const [web, cache] = [(await networks.openSandbox('web')).netnsPath, (await networks.openSandbox('cache')).netnsPath]
  assert.equal(await lookUp(web, 'database'), '10.203.0.2')
  assert.equal(await lookUp(web, 'database.shop'), '10.203.0.2')
  assert.notEqual(await lookUp(cache, 'database'), '10.203.0.2')
  for (const name of ['db', 'web', 'cache']) await networks.closeSandbox(name)
  await networks.remove('shop')
})

test('a macvlan network puts containers on the wire of its parent; without one they reach each other alone', async () => {
  await kernel.links.ensurePair({ name: 'tnwire', peer: 'tnwirep' })
  await kernel.links.addAddress('tnwirep', '10.207.0.1/24')
  const wire = await networks.create({ name: 'wire', driver: 'macvlan', options: { parent: 'tnwire' }, ipam: { config: [{ subnet: '10.207.0.0/24', gateway: '10.207.0.1' }] } })
  await assert.rejects(networks.create({ name: 'again', driver: 'macvlan', options: { parent: 'tnwire' } }), /is already using parent interface tnwire/)
  await assert.rejects(networks.create({ name: 'mode', driver: 'macvlan', options: { macvlan_mode: 'foo' } }), /requested macvlan mode 'foo' is not valid/)
  await assert.rejects(networks.create({ name: 'nope', driver: 'macvlan', options: { parent: 'nope' } }), /invalid subinterface vlan name nope, example formatting is eth0.10/)
  await assert.rejects(networks.create({ name: 'nope', driver: 'macvlan', options: { parent: 'nope.10' } }), /parent interface was not found on the host: nope/)
  const one = (await networks.openSandbox('mv1')).netnsPath
  const two = (await networks.openSandbox('mv2')).netnsPath
  assert.deepEqual((await networks.connect('mv1', wire.id, { aliases: ['mv1'], ports: [{ containerPort: 80, protocol: 'tcp', hostIp: '', hostPort: 18467 }] })).ports, [])
  await networks.connect('mv2', wire.id, { aliases: ['mv2'] })
  await serve(one, 80, 'mv1')
  assert.equal(await ask(two, '10.207.0.2', 80), 'mv1 10.207.0.3')
  assert.equal(await askFromHost('10.207.0.2', 80), 'mv1 10.207.0.1')
  assert.equal(await lookUp(two, 'mv1'), '10.207.0.2')
  await networks.disconnect('mv2', wire.id)
  assert.equal((await kernel.links.list({ netns: two })).some(({ kind }) => kind === 'macvlan'), false)
  const island = await networks.create({ name: 'island', driver: 'macvlan', internal: true })
  assert.match(island.options['parent'] ?? '', /^dm-/)
  await networks.connect('mv1', island.id, {})
  const { ipv4Address } = await networks.connect('mv2', island.id, {})
  await serve(two, 81, 'mv2')
  assert.match(await ask(one, ipv4Address, 81), /^mv2 /)
  await networks.closeSandbox('mv1')
  await networks.closeSandbox('mv2')
  await networks.remove('island')
  await networks.remove('wire')
  const left = (await kernel.links.list()).map(({ name }) => name)
  assert.ok(left.includes('tnwire') && !left.some((name) => name.startsWith('dm-') || name.startsWith('dp-')), left.join(' '))
  await kernel.links.deleteLink('tnwire')
})

test('a bridge of the host’s own is used under its name, and stays when the network goes', async () => {
  await kernel.links.ensureBridge({ name: 'tnown', addresses: [] })
  await networks.create({ name: 'own', options: { 'com.docker.network.bridge.name': 'tnown' } })
  await networks.create({ name: 'made', options: { 'com.docker.network.bridge.name': 'tnmade' } })
  await assert.rejects(networks.create({ name: 'twice', options: { 'com.docker.network.bridge.name': 'tnmade' } }), /networks have same bridge name/)
  await networks.remove('own')
  await networks.remove('made')
  assert.deepEqual((await kernel.links.list()).map(({ name }) => name).filter((name) => ['tnown', 'tnmade'].includes(name)), ['tnown'])
  await kernel.links.deleteLink('tnown')
})

test('what cannot be made is refused in Docker’s words, and leaves nothing', async () => {
  const before = await networks.list()
  const refused: readonly (readonly [Parameters<typeof networks.create>[0], RegExp])[] = [
    [{ name: '' }, /invalid name: $/],
    [{ name: 'bridge' }, /operation is not permitted on predefined bridge network/],
    [{ name: 'h', driver: 'host' }, /only one instance of "host" network is allowed/],
    [{ name: 'x', driver: 'nosuch' }, /plugin "nosuch" not found/],
    [{ name: 'x', driver: 'ipvlan' }, /ipvlan driver is not supported/],
    [{ name: 'x', ipam: { driver: 'nosuch' } }, /plugin "nosuch" not found/],
    [{ name: 'x', ipam: { config: [{ subnet: 'foo' }] } }, /invalid network config:\ninvalid subnet foo: invalid CIDR block notation/],
    [{ name: 'x', ipam: { config: [{ subnet: '10.6.0.0/24', gateway: '10.7.0.1' }] } }, /invalid gateway 10.7.0.1: parent subnet 10.6.0.0\/24 doesn't contain this address/],
    [{ name: 'x', ipam: { config: [{ subnet: '10.6.0.0/24', ipRange: '10.7.0.0/24' }] } }, /invalid ip-range 10.7.0.0\/24: parent subnet 10.6.0.0\/24 doesn't contain ip-range/],
    [{ name: 'x', ipam: { config: [{ subnet: '10.201.0.0/16' }] } }, /Pool overlaps with other one on this address space/],
    [{ name: 'x', options: { 'com.docker.network.driver.mtu': 'x' } }, /failed to parse com.docker.network.driver.mtu value: x \(strconv.Atoi: parsing "x": invalid syntax\)/],
    [{ name: 'x', options: { 'com.docker.network.bridge.enable_icc': 'maybe' } }, /strconv.ParseBool: parsing "maybe": invalid syntax/],
    [{ name: 'x', enableIPv4: false }, /IPv4 or IPv6 must be enabled/],
  ]
  for (const [spec, words] of refused) await assert.rejects(networks.create(spec), words)
  assert.deepEqual(await networks.list(), before)
})

/** Everything of ours that the kernel holds. */
async function inventory(): Promise<string> {
  const links = (await kernel.links.list()).map(({ name }) => name).sort()
  const pins = (await kernel.processes.run(['grep', '-c', folder, '/proc/self/mounts'])).stdout.toString().trim()
  const rules = await Promise.all(['ip berth_nettest', 'ip6 berth_nettest'].map((table) => kernel.nftables.list(table)))
  return JSON.stringify({ links, pins, rules: JSON.stringify(rules.flat().map((item) => (typeof item === 'object' && item !== null && 'map' in item ? item.map : (item as { set?: unknown }).set ?? null))) })
}

test('fifty rounds of networks, containers and ports leave the kernel as it was', async () => {
  const round = async (number: number): Promise<void> => {
    const network = await networks.create({ name: 'round', enableIPv6: true, ipam: { config: [{ subnet: 'fd00:777::/64' }] } })
    const ids = ['r1', 'r2', 'r3']
    await Promise.all(
      ids.map(async (id, index) => {
        await networks.openSandbox(id)
        await networks.connect(id, network.id, { aliases: [id], ports: [{ containerPort: 80, protocol: 'tcp', hostIp: '', hostPort: 18500 + index }] })
        if (number % 2 === 0) await networks.disconnect(id, network.id)
      }),
    )
    await Promise.all(ids.map((id) => networks.closeSandbox(id)))
    await networks.remove('round')
  }
  await round(0)
  const settled = async (wanted?: string): Promise<string> => {
    for (let attempt = 0; ; attempt += 1) {
      const now = await inventory()
      if (now === wanted || attempt === 100 || (wanted === undefined && !/"be[0-9a-f]/.test(now.replaceAll('\\"', '')))) return now
      await sleep(systemClock, 20)
    }
  }
  const before = await settled()
  for (let number = 1; number <= 50; number += 1) await round(number)
  assert.equal(await settled(before), before)
})

test('500 published ports of one container are one transaction, and elements of one map', async () => {
  const bridge = await networks.get('bridge')
  const ports = Array.from({ length: 500 }, (_, index) => ({ containerPort: 1000 + index, protocol: 'udp' as const, hostIp: '', hostPort: 20_000 + index }))
  await networks.openSandbox('many')
  const rulesBefore = (await kernel.nftables.list('ip berth_nettest')).length
  const started = systemClock.nowMs()
  assert.equal((await networks.connect('many', bridge.id, { ports })).ports.length, 500)
  const connected = systemClock.nowMs()
  assert.equal((await kernel.nftables.list('ip berth_nettest')).length, rulesBefore)
  await networks.closeSandbox('many')
  assert.ok(connected - started < 5000, `${connected - started} ms`)
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
