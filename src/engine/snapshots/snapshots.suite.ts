/** What every form of layers must show on the real kernel: layers in and out, sharing, what a crash leaves, hostile archives, a full disk. */
import assert from 'node:assert/strict'
import { chmodSync, chownSync, existsSync, linkSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import { present } from '#base/assert.ts'
import { isFault } from '#base/fault.ts'
import { silentLogger } from '#base/log.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import { openKernel } from '#linux/real/kernel.ts'
import type { Blobs } from '#oci/blobs/contract.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { digestOf, parseDigest } from '#oci/digest.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import type { Sample } from '#oci/layer/archive-samples.ts'
import { readTar } from '#oci/layer/reader.ts'
import { chainIdOf } from './chain.ts'
import type { LayerForm } from './layer-store.ts'
import { openOverlaySnapshots } from './overlay-snapshots.ts'
import type { OverlaySnapshots } from './overlay-snapshots.ts'

let kernel: Kernel & AsyncDisposable


interface Store extends AsyncDisposable {
  readonly root: string
  readonly blobs: Blobs
  snapshots: OverlaySnapshots
  reopen(): Promise<void>
  folder(name: string): string
  layer(parent: string | undefined, samples: readonly Sample[]): Promise<string>
  mounted(key: string, parent: string | undefined, options?: { readonly init?: boolean }): Promise<string>
}

async function openStore(layerForm: LayerForm): Promise<Store> {
  const root = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'sn-'))
  const blobs = await openFileBlobs(join(root, 'b'))
  const open = (): Promise<OverlaySnapshots> => openOverlaySnapshots({ root: join(root, 's'), mounts: kernel.mounts, confined: kernel.confined, blobs, logger: silentLogger, layerForm })
  const targets: string[] = []
  const store: Store = {
    root,
    blobs,
    snapshots: await open(),
    async reopen() {
      await this.snapshots[Symbol.asyncDispose]()
      this.snapshots = await open()
    },
    folder(name) {
      const path = join(root, name)
      mkdirSync(path, { recursive: true })
      return path
    },
    async layer(parent, samples) {
      const tar = sampleTar(samples)
      return await this.snapshots.unpack({ parent, diffId: digestOf(tar), tar: Readable.from([tar]) })
    },
    async mounted(key, parent, options) {
      await this.snapshots.prepare(key, parent, options)
      const target = this.folder(`t-${key}`)
      await this.snapshots.mount(key, target)
      targets.push(target)
      return target
    },
    async [Symbol.asyncDispose]() {
      for (const target of targets) await this.snapshots.unmount(target)
      await this.snapshots[Symbol.asyncDispose]()
      rmSync(root, { recursive: true })
    },
  }
  return store
}

async function names(tar: Readable): Promise<string[]> {
  const found: string[] = []
  for await (const item of readTar(tar)) found.push(`${item.entry.type[0]} ${item.entry.path.toString()}`)
  return found
}

/** Registers the tests for one form. */
export function snapshotsSuite(layerForm: LayerForm): void {
  before(async () => {
    kernel = await openKernel()
  })
  after(() => kernel[Symbol.asyncDispose]())

  test('layers stack, hide and show as their whiteouts say', async () => {
    await using store = await openStore(layerForm)
    const base = await store.layer(undefined, [
      { path: 'keep', content: '1' }, { path: 'gone', content: '2' },
      { path: 'dir', type: 'directory' }, { path: 'dir/old', content: '3' },
      { path: 'cap', content: 'x', xattrs: { 'security.capability': Buffer.from('0100000200040000000000000000000000000000', 'hex') } },
    ])
    const top = await store.layer(base, [{ path: '.wh.gone' }, { path: 'dir', type: 'directory' }, { path: 'dir/.wh..wh..opq' }, { path: 'dir/new', content: '4' }])
    const root = await store.mounted('one', top)
    assert.deepEqual(readdirSync(root).sort(), ['cap', 'dir', 'keep'])
    assert.deepEqual(readdirSync(join(root, 'dir')), ['new'])
  })

  test('what Docker puts into every container is there and no change of it, and an image keeps what it has in these places', async () => {
    await using store = await openStore(layerForm)
    const base = await store.layer(undefined, [
      { path: 'etc', type: 'directory', mode: 0o711 }, { path: 'etc/hosts', content: 'own' }, { path: 'real', type: 'directory' }, { path: 'dev', type: 'symlink', link: 'real' },
    ])
    const root = await store.mounted('c', base, { init: true })
    assert.equal(readlinkSync(join(root, 'etc/mtab')), '/proc/mounts')
    assert.equal(readFileSync(join(root, 'etc/hosts'), 'utf8'), 'own')
    assert.equal(readFileSync(join(root, 'etc/resolv.conf'), 'utf8'), '')
    assert.equal(statSync(join(root, 'etc')).mode & 0o777, 0o711)
    assert.ok(existsSync(join(root, '.dockerenv')) && existsSync(join(root, 'proc')))
    assert.deepEqual(readdirSync(join(root, 'real')), [], 'a link is not followed')
    assert.deepEqual(await store.snapshots.changes('c'), [])
    assert.equal((await store.snapshots.usage('c')).sizeBytes, 0)
    writeFileSync(join(root, 'etc/own'), 'x')
    assert.deepEqual(await store.snapshots.changes('c'), [{ path: '/etc', kind: 'modified' }, { path: '/etc/own', kind: 'added' }])
    const { digest } = await store.snapshots.diff('c')
    assert.deepEqual(await names(await store.blobs.open(parseDigest(digest))), ['d etc', 'f etc/own'])

    // A new process knows of it, for an empty root as well.
    await store.reopen()
    assert.ok(existsSync(join(await store.mounted('d', base, { init: true }), 'etc/mtab')))
    assert.ok(existsSync(join(await store.mounted('e', undefined, { init: true }), '.dockerenv')))
    assert.equal((await store.snapshots.folders('d')).lower.length, 2)
  })

  test('what a container changed becomes a layer that means the same, and is listed as docker diff lists it', async () => {
    await using store = await openStore(layerForm)
    const base = await store.layer(undefined, [
      { path: 'etc', type: 'directory' }, { path: 'etc/passwd', content: 'root' }, { path: 'etc/hosts', content: 'h' },
      { path: 'var', type: 'directory' }, { path: 'var/a', content: 'a' }, { path: 'var/b', content: 'b' },
    ])
    const root = await store.mounted('c1', base)
    writeFileSync(join(root, 'etc/passwd'), 'changed')
    rmSync(join(root, 'etc/hosts'))
    rmSync(join(root, 'var'), { recursive: true })
    mkdirSync(join(root, 'var'))
    writeFileSync(join(root, 'var/c'), 'c')
    linkSync(join(root, 'var/c'), join(root, 'var/d'))
    symlinkSync('/etc/passwd', join(root, 'link'))
    assert.deepEqual(await store.snapshots.changes('c1'), [
      { path: '/etc', kind: 'modified' }, { path: '/etc/hosts', kind: 'deleted' }, { path: '/etc/passwd', kind: 'modified' },
      { path: '/link', kind: 'added' }, { path: '/var', kind: 'modified' }, { path: '/var/c', kind: 'added' }, { path: '/var/d', kind: 'added' },
    ])
    // A link is as long as what it names.
    assert.deepEqual(await store.snapshots.usage('c1'), { sizeBytes: 8 + '/etc/passwd'.length, inodes: 7 })

    const layer = await store.snapshots.diff('c1')
    assert.deepEqual(await names(await store.blobs.open(parseDigest(layer.digest))), [
      'd etc', 'f etc/.wh.hosts', 'f etc/passwd', 's link', 'd var', 'f var/.wh..wh..opq', 'f var/c', 'h var/d',
    ])
    await store.snapshots.unmount(root)
    const chain = await store.snapshots.commit('c1', layer)
    assert.equal(chain, chainIdOf(base, layer.diffId))
    const seen = await store.mounted('c2', chain)
    assert.deepEqual(readdirSync(join(seen, 'var')).sort(), ['c', 'd'])
    assert.equal(readlinkSync(join(seen, 'link')), '/etc/passwd')
    assert.equal(existsSync(join(seen, 'etc/hosts')), false)

    // The same layer unpacked from its blob elsewhere shows the same tree.
    await using other = await openStore(layerForm)
    const again = await other.layer(undefined, [
      { path: 'etc', type: 'directory' }, { path: 'etc/passwd', content: 'root' }, { path: 'etc/hosts', content: 'h' },
      { path: 'var', type: 'directory' }, { path: 'var/a', content: 'a' }, { path: 'var/b', content: 'b' },
    ])
    const copied = await other.snapshots.unpack({ parent: again, diffId: layer.diffId, tar: await store.blobs.open(parseDigest(layer.digest)) })
    const copy = await other.mounted('x', copied)
    assert.deepEqual(readdirSync(join(copy, 'var')).sort(), ['c', 'd'])
    assert.equal(statSync(join(copy, 'var/c')).nlink, 2)
    assert.equal(existsSync(join(copy, 'etc/hosts')), false)
  })

  test('images share layers, an active snapshot takes only what it changed, and removal leaves nothing', async () => {
    await using store = await openStore(layerForm)
    const base = await store.layer(undefined, [{ path: 'big', content: 'x'.repeat(100_000) }])
    const first = await store.mounted('a', base)
    const second = await store.mounted('b', base)
    writeFileSync(join(first, 'mine'), '1')
    assert.equal(existsSync(join(second, 'mine')), false)
    assert.equal((await store.snapshots.usage('a')).sizeBytes, 1)
    assert.equal((await store.snapshots.usage(base)).sizeBytes, 100_000)
    await assert.rejects(store.snapshots.remove('a'), (error) => isFault(error, 'conflict'))
    await assert.rejects(store.snapshots.prepare('a', base), (error) => isFault(error, 'alreadyExists'))
    await store.snapshots.unmount(first)
    await store.snapshots.remove('a')
    await store.snapshots.remove('a')
    assert.deepEqual(await store.snapshots.keys(), ['b'])
    store.snapshots.claim([base])
    assert.equal(await store.snapshots.collect(() => false), 0, 'a parent in use is not collected')
    await store.snapshots.unmount(second)
    await store.snapshots.remove('b')
    assert.equal(await store.snapshots.collect(() => false), 100_000)
    assert.equal(await store.snapshots.has(base), false)
    await store.reopen()
    await store.snapshots[Symbol.asyncDispose]()
    for (const place of ['l', 'c', 'a', 't']) assert.deepEqual(readdirSync(join(store.root, 's', place)), [], place)
  })

  test('a file takes the place of an empty one, with its owner, mode and time, and nothing else is replaced', async () => {
    await using store = await openStore(layerForm)
    const target = await store.mounted('a', await store.layer(undefined, [{ path: 'd', type: 'directory' }, { path: 'd/old', content: 'old' }]))
    writeFileSync(join(target, 'd/one'), '')
    writeFileSync(join(target, 'd/two'), '')
    writeFileSync(join(target, 'd/full'), 'full')
    symlinkSync('d', join(target, 'l'))
    const foldersTime = lstatSync(join(target, 'd'), { bigint: true }).mtimeNs
    await assert.rejects(store.snapshots.link('a', [{ path: '/d/one', source: '/etc/passwd' }]), (error) => isFault(error, 'conflict'), 'it is mounted')
    await store.snapshots.unmount(target)
    const elsewhere = store.folder('elsewhere')
    await kernel.mounts.mount({ source: 'tmpfs', target: elsewhere, type: 'tmpfs', data: 'size=1m' })
    try {
      const sources = [join(store.root, 'source'), join(elsewhere, 'source')]
      for (const [index, source] of sources.entries()) {
        writeFileSync(source, `content ${index}`)
        chownSync(source, 7, 8)
        chmodSync(source, 0o4750)
        utimesSync(source, 1_700_000_000, 1_700_000_000)
      }
      const [near = '', far = ''] = sources
      await store.snapshots.link('a', [{ path: '/d/one', source: near }, { path: '/d/two', source: far }])
      for (const path of ['/d/full', '/l/one', '/d/one']) await assert.rejects(store.snapshots.link('a', [{ path, source: near }]), /is no empty file/, path)
      assert.equal(lstatSync(near).nlink, 2)
    } finally {
      await kernel.mounts.unmount(elsewhere)
    }
    await store.snapshots.mount('a', target)
    for (const [index, name] of ['one', 'two'].entries()) {
      const { uid, gid, mode, mtimeMs } = lstatSync(join(target, 'd', name))
      assert.deepEqual([readFileSync(join(target, 'd', name), 'utf8'), uid, gid, mode & 0o7777, mtimeMs], [`content ${index}`, 7, 8, 0o4750, 1_700_000_000_000])
    }
    assert.deepEqual(readdirSync(join(target, 'd')).sort(), ['full', 'old', 'one', 'two'])
    assert.equal(lstatSync(join(target, 'd'), { bigint: true }).mtimeNs, foldersTime)
  })

  test('after a crash whole snapshots are there, mounts are adopted, half-made ones are gone', async () => {
    await using store = await openStore(layerForm)
    const base = await store.layer(undefined, [{ path: 'f', content: '1' }])
    const target = await store.mounted('kept', base)
    mkdirSync(join(store.root, 's/a/0123456789ab/w'), { recursive: true })
    mkdirSync(join(store.root, 's/l/0123456789abcdef'))
    // Killed while it tried whether the kernel mounts images.
    const tried = store.folder('s/t/tried/target')
    await kernel.mounts.mount({ source: 'tmpfs', target: tried, type: 'tmpfs' })
    await store.reopen()
    assert.deepEqual(await kernel.mounts.table(join(store.root, 's/t')), [])
    assert.deepEqual(await store.snapshots.keys(), ['kept'])
    assert.ok(await store.snapshots.has(base))
    await store.snapshots.mount('kept', target)
    await assert.rejects(store.snapshots.remove('kept'), (error) => isFault(error, 'conflict'))
    assert.deepEqual(readdirSync(join(store.root, 's/a')).length, 1)
    assert.deepEqual(readdirSync(join(store.root, 's/l')).filter((name) => name === '0123456789abcdef'), [])
  })

  test('a volatile mount can be mounted again after it was left', async () => {
    await using store = await openStore(layerForm)
    await store.snapshots.prepare('v', undefined)
    const target = store.folder('v')
    await store.snapshots.mount('v', target, { volatile: true })
    writeFileSync(join(target, 'x'), '1')
    await store.snapshots.unmount(target)
    await store.snapshots.mount('v', target, { volatile: true })
    assert.equal(readFileSync(join(target, 'x'), 'utf8'), '1')
    await store.snapshots.unmount(target)
  })

  test('many layers mount', async () => {
    await using store = await openStore(layerForm)
    let chain: string | undefined
    for (let index = 0; index < 130; index += 1) chain = await store.layer(chain, [{ path: `f${index}`, content: String(index) }])
    const root = await store.mounted('deep', chain)
    assert.equal(readdirSync(root).length, 130)
  })

  test('a layer may stand twice in a stack: the upper one counts', async () => {
    await using store = await openStore(layerForm)
    const content: readonly Sample[] = [{ path: 'file', content: '1' }, { path: 'dir', type: 'directory' }, { path: 'dir/old', content: '2' }]
    const between = await store.layer(await store.layer(undefined, content), [{ path: '.wh.file' }, { path: 'dir', type: 'directory' }, { path: 'dir/.wh..wh..opq' }, { path: 'dir/new', content: '3' }])
    const root = await store.mounted('twice', await store.layer(between, content))
    assert.deepEqual([readdirSync(root).sort(), readdirSync(join(root, 'dir')).sort()], [['dir', 'file'], ['new', 'old']])
    await store.mounted('thrice', await store.layer(await store.layer(undefined, []), []))
  })

  test('a layer with the wrong diff id and hostile ones leave nothing behind', async () => {
    await using store = await openStore(layerForm)
    const tar = sampleTar([{ path: 'f', content: '1' }])
    await assert.rejects(store.snapshots.unpack({ parent: undefined, diffId: digestOf('other'), tar: Readable.from([tar]) }), (error) => isFault(error, 'dataLoss'))
    const outside = join(store.root, 'outside')
    const bad: Sample[][] = [
      [{ path: '../../../outside', content: 'x' }],
      [{ path: outside, content: 'x' }],
      [{ path: 'l', type: 'symlink', link: store.root }, { path: 'l/outside', content: 'x' }],
      [{ path: 'h', type: 'hardlink', link: '../../b' }],
    ]
    for (const samples of bad) {
      const hostile = sampleTar(samples)
      await assert.rejects(store.snapshots.unpack({ parent: undefined, diffId: digestOf(hostile), tar: Readable.from([hostile]) }), (error) => isFault(error, 'invalidArgument'))
    }
    assert.equal(existsSync(outside), false)
    await store.snapshots[Symbol.asyncDispose]()
    assert.deepEqual([readdirSync(join(store.root, 's/l')), readdirSync(join(store.root, 's/t'))], [[], []])
    await store.reopen()
  })

  test('a full disk is a clear fault and leaves nothing half-written', async () => {
    const root = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'fd-'))
    await kernel.mounts.mount({ source: 'tmpfs', target: root, type: 'tmpfs', data: 'size=2m' })
    try {
      const blobs = await openFileBlobs(join(root, 'b'))
      await using snapshots = await openOverlaySnapshots({ root: join(root, 's'), mounts: kernel.mounts, confined: kernel.confined, blobs, logger: silentLogger, layerForm })
      const tar = sampleTar([{ path: 'big', content: Buffer.alloc(4_000_000, 1) }])
      await assert.rejects(snapshots.unpack({ parent: undefined, diffId: digestOf(tar), tar: Readable.from([tar]) }), (error) => isFault(error, 'resourceExhausted') && /no space left/.test(error.message))
      {
        await using ingest = await blobs.begin()
        await assert.rejects(ingest.write(Readable.from([tar])), (error) => isFault(error, 'resourceExhausted'))
      }
      assert.deepEqual(await Array.fromAsync(blobs.list()), [])
      assert.deepEqual(await Array.fromAsync(blobs.abandoned()), [])
      assert.deepEqual(readdirSync(join(root, 's/l')), [])
    } finally {
      await kernel.mounts.unmount(root, { lazy: true })
      rmSync(root, { recursive: true })
    }
  })

  test('docker cp reads and writes inside the root only', async () => {
    await using store = await openStore(layerForm)
    const base = await store.layer(undefined, [
      { path: 'etc', type: 'directory' }, { path: 'etc/conf', content: 'c' }, { path: 'abs', type: 'symlink', link: '/etc' }, { path: 'bin', type: 'directory' }, { path: 'bin/tool', content: 't', mode: 0o4755 },
    ])
    await store.snapshots.prepare('c', base)
    const { stat, tar } = await store.snapshots.readArchive('c', '/etc')
    assert.deepEqual([stat.name, stat.goMode], ['etc', 2 ** 31 + 0o755])
    assert.deepEqual(await names(tar), ['d etc', 'f etc/conf'])
    assert.equal((await store.snapshots.statPath('c', '/bin/tool')).goMode, 2 ** 23 + 0o755)
    assert.equal((await store.snapshots.statPath('c', 'abs')).linkTarget, '/etc')
    await assert.rejects(store.snapshots.readArchive('c', '/nowhere'), (error) => isFault(error, 'notFound'))
    await store.snapshots.writeArchive('c', '/abs', Readable.from([sampleTar([{ path: 'new', content: 'n' }])]))
    await store.snapshots.writeArchive('c', '/made/here', Readable.from([sampleTar([{ path: 'o', content: 'n' }])]), { makeFolder: true, owner: { uid: 5, gid: 6 } })
    await assert.rejects(store.snapshots.writeArchive('c', '/etc/conf', Readable.from([sampleTar([])])), /not a directory/)
    await assert.rejects(store.snapshots.writeArchive('c', '/', Readable.from([sampleTar([{ path: '../x' }])])), (error) => isFault(error, 'invalidArgument'))
    const root = store.folder('seen')
    await store.snapshots.mount('c', root)
    assert.equal(readFileSync(join(root, 'etc/new'), 'utf8'), 'n')
    assert.equal(lstatSync(join(root, 'made/here/o')).uid, 5)
    assert.ok((await names(await store.snapshots.exportRoot('c'))).includes('f made/here/o'))
    await store.snapshots.unmount(root)
    await store.snapshots.remove('c')
    assert.deepEqual(readdirSync(join(store.root, 's/m')), [])
  })

  test('layers that had not reached the disk when the machine went down, and damaged records, are dropped; synced ones stay', async () => {
    await using store = await openStore(layerForm)
    const kept = await store.layer(undefined, [{ path: 'kept', content: '1' }])
    const lost = await store.layer(kept, [{ path: 'lost', content: '1' }])
    const damaged = await store.layer(kept, [{ path: 'damaged', content: '1' }])
    const records = readdirSync(join(store.root, 's/l')).filter((name) => name.endsWith('.json')).map((name) => join(store.root, 's/l', name))
    const edit = (chain: string, change: (text: string) => string): void => {
      const diffId: string = JSON.parse(readFileSync(join(store.root, 's/c', `${chain.replace(':', '-')}.json`), 'utf8')).diffId
      const path = present(records.find((record) => readFileSync(record, 'utf8').includes(diffId)), 'record')
      writeFileSync(path, change(readFileSync(path, 'utf8')))
    }
    edit(kept, (text) => text.replace('"synced":false', '"synced":true').replace(/"bootId":"[^"]*"/, '"bootId":"an earlier one"'))
    edit(lost, (text) => text.replace(/"bootId":"[^"]*"/, '"bootId":"an earlier one"'))
    edit(damaged, () => '')
    await store.reopen()
    assert.deepEqual([await store.snapshots.has(kept), await store.snapshots.has(lost), await store.snapshots.has(damaged)], [true, false, false])
    assert.equal(await store.layer(kept, [{ path: 'lost', content: '1' }]), lost)
  })
}
