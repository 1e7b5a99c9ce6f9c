/** The kernel room against the real kernel: mounts, namespaces, links, nftables, cgroups. Runs in private namespaces (tools/test.ts). */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chownSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { present } from '#base/assert.ts'
import { isFault } from '#base/fault.ts'
import type { Kernel } from '../contract/kernel.ts'
import { openKernel } from './kernel.ts'

let kernel: Kernel & AsyncDisposable
let root: string

before(async () => {
  root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'k-'))
  kernel = await openKernel()
})

after(async () => {
  await kernel[Symbol.asyncDispose]()
  rmSync(root, { recursive: true })
})

function folder(name: string): string {
  const path = join(root, name)
  mkdirSync(path, { recursive: true })
  return path
}

test('a tmpfs is mounted, seen in the table, and unmounted twice without complaint', async () => {
  const target = folder('tmp fs')
  await kernel.mounts.mount({ source: 'tmpfs', target, type: 'tmpfs', flags: ['nosuid', 'nodev'], data: 'size=1m' })
  const [entry] = await kernel.mounts.table(target)
  assert.equal(entry?.target, target)
  assert.equal(entry.type, 'tmpfs')
  assert.ok(entry.options.includes('nosuid'))
  assert.equal(entry.propagation, 'private')
  await kernel.mounts.unmount(target)
  await kernel.mounts.unmount(target)
  assert.deepEqual(await kernel.mounts.table(target), [])
})

test('a bind inside a root is made though files are renamed all around, and `..` ends at the root', async () => {
  const inside = folder('jail/deep/er')
  writeFileSync(join(inside, 'file'), 'inside')
  const busy = folder('busy')
  writeFileSync(join(busy, 'a'), '')
  const renaming = await kernel.processes.start([process.execPath, '--eval', `const fs = require('node:fs'); console.log('ready'); for (;;) { fs.renameSync('${busy}/a', '${busy}/b'); fs.renameSync('${busy}/b', '${busy}/a') }`], { stdio: ['null', 'pipeOut', 'inherit'] })
  try {
    await once(present(renaming.stdio[1], 'its output'), 'data')
    for (let round = 0; round < 300; round += 1) {
      const target = join(root, `inside-${round % 2}`)
      await kernel.mounts.bindInside({ root: join(root, 'jail'), path: 'deep/../../../deep/er/../er/file', target })
      assert.equal(readFileSync(target, 'utf8'), 'inside')
      await kernel.mounts.unmount(target)
    }
  } finally {
    await kernel.processes.kill(renaming.pid, 9)
    await renaming.exited
  }
})

const shifted = [{ containerId: 0, hostId: 100_000, size: 1000 }, { containerId: 4_294_967_294, hostId: 0, size: 1 }]

test('a bind with shifted owners shows and writes them through the mapping, and the disk keeps its own', async () => {
  const source = folder('shift/source')
  const target = folder('shift/target')
  const pin = join(root, 'shift/user')
  await kernel.namespaces.create({ pinAt: {}, owner: { mapping: { uids: shifted, gids: shifted }, pinAt: pin } })
  try {
    for (const [name, uid] of [['root', 0], ['bob', 7], ['stranger', 5000]] as const) {
      writeFileSync(join(source, name), '')
      chownSync(join(source, name), uid, uid)
    }
    await kernel.mounts.bindShifted({ source, target, userNamespace: pin })
    assert.deepEqual(['root', 'bob', 'stranger'].map((name) => statSync(join(target, name)).uid), [100_000, 100_007, 65_534])
    chownSync(join(target, 'bob'), 100_009, 100_000)
    assert.deepEqual([lstatSync(join(source, 'bob')).uid, lstatSync(join(source, 'bob')).gid], [9, 0])
    // Our own root has its place in the mapping, or nothing could be made.
    writeFileSync(join(target, 'ours'), '')
    assert.equal(lstatSync(join(source, 'ours')).uid, 4_294_967_294)
    assert.equal((await kernel.mounts.table(target))[0]?.propagation, 'private')
    await assert.rejects(kernel.mounts.bindShifted({ source: target, target: folder('shift/twice'), userNamespace: pin }), (error) => isFault(error, 'permissionDenied') || isFault(error, 'invalidArgument'))
  } finally {
    await kernel.mounts.unmount(target)
    await kernel.namespaces.remove(pin)
  }
})

test('a network namespace belongs to a user namespace of its own, or joins the one of another', async () => {
  const at = (name: string): string => join(root, `owned-${name}`)
  const owned = async (net: string, user: string): Promise<string> => (await kernel.processes.run(['nsenter', `--net=${net}`, `--user=${user}`, '--', 'ip', 'link', 'add', 'inner', 'type', 'bridge'])).stderr.toString()
  await kernel.namespaces.create({ pinAt: { net: at('net') }, owner: { mapping: { uids: shifted, gids: shifted.slice(0, 1) }, pinAt: at('user') }, sysctls: { 'net.ipv4.ip_unprivileged_port_start': '80' } })
  try {
    assert.equal(await owned(at('net'), at('user')), '')
    assert.deepEqual((await kernel.links.list({ netns: at('net') })).map(({ name, up }) => [name, up]), [['lo', true], ['inner', false]])
    await kernel.namespaces.create({ pinAt: { net: at('net2') }, owner: { path: at('user') } })
    assert.equal(await owned(at('net2'), at('user')), '')
    await assert.rejects(kernel.namespaces.create({ pinAt: { net: at('net3') }, owner: { path: '/proc/self/ns/net' } }), (error) => isFault(error, 'internal'))
    assert.equal(await kernel.namespaces.pinned(at('net3')), false)
  } finally {
    for (const name of ['net', 'net2', 'user']) await kernel.namespaces.remove(at(name))
  }
})

test('a read-only bind mount refuses writes', async () => {
  const source = folder('source')
  const target = folder('bound')
  writeFileSync(join(source, 'file'), 'x')
  await kernel.mounts.mount({ source, target, flags: ['bind', 'ro'] })
  assert.throws(() => writeFileSync(join(target, 'file'), 'y'), /EROFS/)
  await kernel.mounts.unmount(target)
})

test('an overlay takes 200 layers with colons and commas in their paths', async () => {
  const lower = Array.from({ length: 200 }, (_, index) => folder(`layers/a:b,c-${index}`))
  for (const [index, layer] of lower.entries()) writeFileSync(join(layer, `f${index}`), String(index))
  const target = folder('merged')
  await kernel.mounts.mount({ source: 'tmpfs', target: folder('writable'), type: 'tmpfs' })
  await kernel.mounts.overlay({ target, lower, upper: folder('writable/upper'), work: folder('writable/work'), options: ['volatile'] })
  assert.equal(readFileSync(join(target, 'f199'), 'utf8'), '199')
  writeFileSync(join(target, 'f0'), 'changed')
  assert.equal(readFileSync(join(root, 'writable/upper/f0'), 'utf8'), 'changed')
  await kernel.mounts.unmount(target)
  await kernel.mounts.unmount(join(root, 'writable'))
})

test('a mount that the kernel refuses is a fault which names both ends', async () => {
  await assert.rejects(kernel.mounts.mount({ source: join(root, 'nothing'), target: root, flags: ['bind'] }), (error) => isFault(error, 'notFound') && error.message.includes(join(root, 'nothing')))
})

test('namespaces are pinned without a process, carry host name and sysctls, and are removed', async () => {
  const pins = folder('ns')
  const pinAt = { net: join(pins, 'net'), ipc: join(pins, 'ipc'), uts: join(pins, 'uts') }
  await kernel.namespaces.create({ pinAt, hostname: 'pod-1', sysctls: { 'net.ipv4.ip_unprivileged_port_start': '80' } })
  await assert.rejects(kernel.namespaces.create({ pinAt }), (error) => isFault(error, 'alreadyExists'))
  const inside = await kernel.processes.run(['nsenter', `--net=${pinAt.net}`, `--uts=${pinAt.uts}`, 'sh', '-c', 'hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start'])
  assert.equal(inside.stdout.toString(), 'pod-1\n80\n')
  assert.equal(await kernel.namespaces.pinned(pinAt.uts), true)
  for (const path of Object.values(pinAt)) await kernel.namespaces.remove(path)
  assert.equal(await kernel.namespaces.pinned(pinAt.uts), false)
  assert.deepEqual(await kernel.mounts.table(pins), [])
})

test('a failed creation of namespaces leaves no pin behind', async () => {
  const pins = folder('ns2')
  await assert.rejects(kernel.namespaces.create({ pinAt: { net: join(pins, 'net') }, sysctls: { 'net.no.such': '1' } }), (error) => isFault(error, 'invalidArgument'))
  assert.deepEqual(await kernel.mounts.table(pins), [])
  await kernel.namespaces.create({ pinAt: { net: join(pins, 'net') } })
  await kernel.namespaces.remove(join(pins, 'net'))
})

const listenOnce = '$s = IO::Socket::IP->new(LocalHost => $ARGV[0], LocalPort => 7000, Listen => 1) or die; syswrite(STDOUT, "up"); $s->accept->print("hello\\n")'

test('two namespaces on a bridge reach each other over IPv4 and IPv6', async () => {
  const pins = folder('nets')
  const { links, namespaces } = kernel
  await links.ensureBridge({ name: 'bt-br', addresses: ['10.99.0.1/24', 'fd99::1/64'] })
  await links.ensureBridge({ name: 'bt-br', addresses: ['10.99.0.1/24'] })
  for (const [index, name] of ['a', 'b'].entries()) {
    const netns = join(pins, name)
    await namespaces.create({ pinAt: { net: netns } })
    const mac = `02:00:00:00:00:0${index + 1}`
    const attached = await links.attach({ bridge: 'bt-br', hostName: `bt-${name}`, netns, ifName: 'eth0', mac, addresses: [`10.99.0.1${index}/24`, `fd99::1${index}/64`], gateways: ['10.99.0.1', 'fd99::1'], hairpin: true })
    assert.equal(attached.mac, mac)
  }
  const netns = join(pins, 'a')
  const inside = (await links.list({ netns })).find((link) => link.name === 'eth0')
  assert.ok(inside?.up)
  assert.ok(inside.addresses.includes('10.99.0.10/24'))
  assert.ok(inside.addresses.includes('fd99::10/64'))
  const host = (await links.list()).find((link) => link.name === 'bt-a')
  assert.equal(host?.master, 'bt-br')
  assert.equal(host.kind, 'veth')
  for (const address of ['10.99.0.11', 'fd99::11']) {
    const server = await kernel.processes.start(['nsenter', `--net=${join(pins, 'b')}`, 'perl', '-MIO::Socket::IP', '-e', listenOnce, address], { stdio: ['null', 'pipeOut', 'inherit'] })
    for await (const _ of server.stdio[1] ?? []) break
    const client = await kernel.processes.run(['nsenter', `--net=${netns}`, 'perl', '-MIO::Socket::IP', '-e', 'print IO::Socket::IP->new(PeerHost => $ARGV[0], PeerPort => 7000, Timeout => 5)->getline', address])
    assert.equal(client.stdout.toString(), 'hello\n', client.stderr.toString())
    await server.exited
  }
  const eth0 = (await links.statistics({ netns })).find((link) => link.name === 'eth0')
  assert.ok((eth0?.rxPackets ?? 0n) > 0n)
  await links.route({ destination: '10.98.0.0/16', type: 'unreachable' })
  const refused = await kernel.processes.run(['ip', 'route', 'get', '10.98.0.1'])
  assert.match(refused.stderr.toString(), /No route to host/)
  await links.deleteRoute({ destination: '10.98.0.0/16', type: 'unreachable' })
  await links.deleteRoute({ destination: '10.98.0.0/16', type: 'unreachable' })
  await assert.rejects(links.attach({ bridge: 'bt-none', hostName: 'bt-x', netns, ifName: 'eth1', addresses: [] }), (error) => isFault(error, 'notFound'))
  for (const name of ['bt-a', 'bt-b', 'bt-br', 'bt-br']) await links.deleteLink(name)
  for (const name of ['a', 'b']) await namespaces.remove(join(pins, name))
})

test('an attach that fails half-way takes the pair back', async () => {
  const netns = join(folder('half'), 'net')
  await kernel.namespaces.create({ pinAt: { net: netns } })
  await assert.rejects(kernel.links.attach({ hostName: 'bt-half', netns, ifName: 'eth0', addresses: ['10.1.1.1/24'], gateways: ['10.7.7.7'] }), (error) => isFault(error, 'invalidArgument'))
  assert.equal((await kernel.links.list()).some((link) => link.name === 'bt-half'), false)
  await kernel.namespaces.remove(netns)
})

test('nftables applies a script as one transaction, lists it, and explains a refusal', async () => {
  const { nftables } = kernel
  await nftables.apply('table inet bt { chain c { type filter hook input priority 0; tcp dport 81 accept; }; }')
  await assert.rejects(nftables.apply('add rule inet bt c tcp dport 82 accept\nadd rule inet bt nochain accept'), (error) => isFault(error, 'notFound'))
  await assert.rejects(nftables.apply('add rule inet bt c tcp dprot 82 accept'), (error) => isFault(error, 'invalidArgument') && error.message.includes('syntax error'))
  const rules = (await nftables.list('inet bt')).filter((row) => typeof row === 'object' && row !== null && 'rule' in row)
  assert.equal(rules.length, 1)
  const netns = join(folder('nft'), 'net')
  await kernel.namespaces.create({ pinAt: { net: netns } })
  await nftables.apply('add table inet other', { netns })
  assert.notDeepEqual(await nftables.list('inet other', { netns }), [])
  assert.deepEqual(await nftables.list('inet other'), [])
  await kernel.namespaces.remove(netns)
  await nftables.apply('delete table inet bt')
})

test('a cgroup limits, counts, kills and is removed', async () => {
  const { cgroups, processes } = kernel
  const path = `berth-test-${process.pid}/inner`
  const home = readFileSync('/proc/self/cgroup', 'utf8')
  cgroups.expectMove()
  await cgroups.create(path, { pids: 20n, memoryBytes: 64n << 20n, cpuShares: 512, cpuQuotaUs: 50_000, cpuPeriodUs: 100_000 })
  await cgroups.create(path)
  await cgroups.update(path, { memoryBytes: 128n << 20n })
  const child = await processes.start(['sleep', '1000'], { cgroup: path })
  assert.deepEqual(await cgroups.pids(path), [child.pid])
  const stats = await cgroups.stats(path)
  assert.equal(stats.pids, 1n)
  assert.equal(stats.pidsLimit, 20n)
  assert.equal(stats.memoryLimitBytes, 128n << 20n)
  assert.equal(readFileSync('/proc/self/cgroup', 'utf8'), home)
  const outside = await processes.run(['cat', '/proc/self/cgroup'])
  assert.equal(outside.stdout.toString().includes('berth-test'), false)
  await cgroups.kill(path)
  assert.deepEqual(await child.exited, { exitCode: undefined, signal: 9 })
  await cgroups.remove(`berth-test-${process.pid}`)
  await cgroups.remove(`berth-test-${process.pid}`)
  await assert.rejects(cgroups.stats(path), (error) => isFault(error, 'notFound'))
})

test('the probe finds a runtime and names the missing capabilities', async () => {
  const facts = await kernel.probe()
  assert.equal(facts.overlay, true)
  assert.ok(facts.runtime !== undefined)
  assert.ok(facts.conmon !== undefined)
  assert.match(facts.runtime.version, /^\d+\./)
})
