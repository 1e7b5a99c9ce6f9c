/**
 * What every kernel promises, the real one and the simulated one: that things appear once, vanish for good, and that taking
 * away what is not there is no error. `root` is a folder of the test's own; `tag` makes names unique on the machine.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isFault } from '#base/fault.ts'
import type { Kernel } from './kernel.ts'

export interface KernelUnderTest extends AsyncDisposable {
  readonly kernel: Pick<Kernel, 'mounts' | 'namespaces' | 'links' | 'cgroups'>
  /** An absolute path; `folder` makes one below it. */
  folder(name: string): string
  /** At most 8 letters and digits. */
  readonly tag: string
}

export function kernelSuite(name: string, make: () => Promise<KernelUnderTest>): void {
  test(`${name}: a mount is in the table until it is unmounted, and stacks`, async () => {
    await using world = await make()
    const { mounts } = world.kernel
    const target = world.folder('m')
    await mounts.mount({ source: 'tmpfs', target, type: 'tmpfs', flags: ['nosuid'] })
    await mounts.mount({ source: 'tmpfs', target, type: 'tmpfs' })
    assert.deepEqual((await mounts.table(target)).map(({ type }) => type), ['tmpfs', 'tmpfs'])
    await mounts.unmount(target)
    assert.ok((await mounts.table(target))[0]?.options.includes('nosuid'))
    await mounts.unmount(target)
    await mounts.unmount(target)
    assert.deepEqual(await mounts.table(target), [])
    await assert.rejects(mounts.mount({ source: `${target}/none`, target, flags: ['bind'] }), (error) => isFault(error, 'notFound'))
  })

  test(`${name}: a namespace is pinned once, and all of a request or nothing`, async () => {
    await using world = await make()
    const { namespaces } = world.kernel
    const folder = world.folder('n')
    await namespaces.create({ pinAt: { net: `${folder}/net` } })
    assert.equal(await namespaces.pinned(`${folder}/net`), true)
    await assert.rejects(namespaces.create({ pinAt: { net: `${folder}/net`, uts: `${folder}/uts` } }), (error) => isFault(error, 'alreadyExists'))
    assert.equal(await namespaces.pinned(`${folder}/uts`), false)
    await assert.rejects(namespaces.create({ pinAt: { net: `${folder}/none/net` } }), (error) => isFault(error, 'notFound'))
    await namespaces.remove(`${folder}/net`)
    await namespaces.remove(`${folder}/net`)
    assert.equal(await namespaces.pinned(`${folder}/net`), false)
  })

  test(`${name}: bridges are level-triggered, pairs have a port and an inside, and go together`, async () => {
    await using world = await make()
    const { links, namespaces } = world.kernel
    const netns = `${world.folder('l')}/net`
    const [bridge, host] = [`${world.tag}-br`, `${world.tag}-h`]
    await namespaces.create({ pinAt: { net: netns } })
    await links.ensureBridge({ name: bridge, addresses: ['10.123.0.1/24'] })
    await links.ensureBridge({ name: bridge, addresses: ['10.123.0.1/24'] })
    const request = { bridge, hostName: host, netns, ifName: 'eth0', mac: '02:00:00:00:00:07', addresses: ['10.123.0.2/24'], gateways: ['10.123.0.1'] }
    assert.deepEqual(await links.attach(request), { mac: '02:00:00:00:00:07' })
    await assert.rejects(links.attach(request), (error) => isFault(error, 'alreadyExists'))
    const outside = (await links.list()).find((link) => link.name === host)
    assert.deepEqual([outside?.kind, outside?.master, outside?.up], ['veth', bridge, true])
    const inside = (await links.list({ netns })).find((link) => link.name === 'eth0')
    assert.deepEqual([inside?.mac, inside?.addresses.includes('10.123.0.2/24')], ['02:00:00:00:00:07', true])
    await links.deleteLink(host)
    await links.deleteLink(host)
    assert.equal((await links.list({ netns })).some((link) => link.name === 'eth0'), false)
    await assert.rejects(links.attach({ ...request, bridge: `${world.tag}-no` }), (error) => isFault(error, 'notFound'))
    await links.deleteLink(bridge)
    await namespaces.remove(netns)
  })

  test(`${name}: a cgroup is made once, tells its limits, and is removed with what is below it`, async () => {
    await using world = await make()
    const { cgroups } = world.kernel
    const path = `berth-${world.tag}`
    await cgroups.create(`${path}/a/b`, { pids: 10n })
    await cgroups.create(`${path}/a/b`)
    assert.equal((await cgroups.stats(`${path}/a/b`)).pidsLimit, 10n)
    await cgroups.update(`${path}/a/b`, { memoryBytes: 64n << 20n })
    assert.equal((await cgroups.stats(`${path}/a/b`)).memoryLimitBytes, 64n << 20n)
    assert.deepEqual(await cgroups.pids(path), [])
    await cgroups.remove(path)
    await cgroups.remove(path)
    await assert.rejects(cgroups.stats(`${path}/a/b`), (error) => isFault(error, 'notFound'))
  })
}
