/** The image store on the real kernel: archives in and out, names, removal by Docker's rules, what is freed. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { present } from '#base/assert.ts'
import { systemClock } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { silentLogger } from '#base/log.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { BlobLeases } from '#oci/blobs/collect.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import type { Descriptor } from '#oci/descriptor.ts'
import { digestHex, digestOf, parseDigest } from '#oci/digest.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import type { Sample } from '#oci/layer/archive-samples.ts'
import { hostPlatform } from '#oci/platform.ts'
import type { Image } from '../contract/images.ts'
import { openOverlaySnapshots } from '../snapshots/overlay-snapshots.ts'
import type { OverlaySnapshots } from '../snapshots/overlay-snapshots.ts'
import { ImageRecords } from './image-records.ts'
import { ImageStore } from './image-store.ts'
import { importRoot } from './import-root.ts'
import { Assembly } from './index-assembly.ts'
import { loadArchive } from './load.ts'
import { saveArchive } from './save.ts'

let kernel: Kernel & AsyncDisposable

before(async () => {
  kernel = await openKernel()
})
after(() => kernel[Symbol.asyncDispose]())

interface Place extends AsyncDisposable {
  readonly root: string
  readonly store: ImageStore
  readonly snapshots: OverlaySnapshots
  load(archive: Readable): Promise<{ readonly image: Image; readonly names: readonly string[] }[]>
  reopen(): Promise<ImageStore>
}

async function place(): Promise<Place> {
  const root = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'im-'))
  const blobs = await openFileBlobs(join(root, 'b'))
  const snapshots = await openOverlaySnapshots({ root: join(root, 's'), mounts: kernel.mounts, confined: kernel.confined, blobs, logger: silentLogger })
  const open = async (): Promise<ImageStore> =>
    new ImageStore({
      records: await ImageRecords.open({ root: join(root, 'i'), blobs, logger: silentLogger }),
      // A clock ahead of the files' times: even the youngest blob is old enough for the collector.
      blobs, snapshots, leases: new BlobLeases(), otherRoots: [], graceMs: -60_000, clock: systemClock, logger: silentLogger,
    })
  const store = await open()
  return {
    root,
    store,
    snapshots,
    async load(archive) {
      const found: { image: Image; names: readonly string[] }[] = []
      await loadArchive(store, archive, { onLoaded: (image, names) => found.push({ image, names }) })
      return found
    },
    reopen: open,
    async [Symbol.asyncDispose]() {
      await snapshots[Symbol.asyncDispose]()
      rmSync(root, { recursive: true })
    },
  }
}

function rootTar(samples: readonly Sample[]): Readable {
  return Readable.from([sampleTar(samples)])
}

/** As `docker save` of Docker 20.10 writes it: layers in folders, a second one as a link to the first. */
function oldDockerArchive(layer: Buffer, tags: readonly string[]): Buffer {
  const diffId = digestOf(layer)
  const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', config: { Cmd: ['sh'] }, rootfs: { type: 'layers', diff_ids: [diffId, diffId] } }))
  const name = `${digestHex(digestOf(config))}.json`
  return sampleTar([
    { path: 'aaa/', type: 'directory' },
    { path: 'aaa/layer.tar', content: layer },
    { path: 'bbb/layer.tar', type: 'symlink', link: '../aaa/layer.tar' },
    { path: name, content: config },
    { path: 'manifest.json', content: JSON.stringify([{ Config: name, RepoTags: tags, Layers: ['aaa/layer.tar', 'bbb/layer.tar'] }]) },
  ])
}

test('docker import makes an image whose content can be mounted', async () => {
  await using at = await place()
  const image = await importRoot(at.store, Readable.from([gzipSync(sampleTar([{ path: 'hello', content: 'world' }]))]), { name: 'base', defaults: { Cmd: ['/hello'] } })
  assert.deepEqual(image.repoTags, ['base:latest'])
  assert.equal(image.sizeBytes, 5)
  const target = join(at.root, 't')
  mkdirSync(target)
  await at.snapshots.prepare('c', image.topLayer)
  await at.snapshots.mount('c', target)
  assert.equal(readFileSync(join(target, 'hello'), 'utf8'), 'world')
  await at.snapshots.unmount(target)
})

test('archives of docker save load, gzip or not; what is saved loads elsewhere as the same image', async () => {
  await using at = await place()
  const archive = oldDockerArchive(sampleTar([{ path: 'f', content: 'x' }]), ['team/app:1', 'localhost:5000/x'])
  const [loaded] = await at.load(Readable.from([gzipSync(archive)]))
  assert.deepEqual(loaded?.names, ['team/app:1', 'localhost:5000/x:latest'])
  const saved = await saveArchive(at.store, ['team/app:1', 'localhost:5000/x'])
  await using other = await place()
  const [again] = await other.load(saved)
  assert.equal(again?.image.id, loaded?.image.id)
  assert.deepEqual(again?.image.repoTags, ['localhost:5000/x:latest', 'team/app:1'])
  assert.deepEqual(readdirSync(join(at.root, 'b/ingests')), [])
})

test('an archive that lies is refused and leaves no image', async () => {
  await using at = await place()
  const layer = sampleTar([{ path: 'f' }])
  const config = JSON.stringify({ architecture: 'a', os: 'linux', rootfs: { type: 'layers', diff_ids: [digestOf('other')] } })
  const lying = sampleTar([{ path: 'c', content: config }, { path: 'l', content: layer }, { path: 'manifest.json', content: JSON.stringify([{ Config: 'c', RepoTags: ['x'], Layers: ['l'] }]) }])
  await assert.rejects(at.load(Readable.from([lying])), /layer 0 has the digest .* but its configuration promises/)
  await assert.rejects(at.load(rootTar([{ path: 'x' }])), /neither manifest.json/)
  await assert.rejects(at.load(rootTar([{ path: 'manifest.json', content: '[{"Config":"gone","Layers":[]}]' }])), /'gone', which is not in the archive/)
  await assert.rejects(at.load(Readable.from([gzipSync(lying).subarray(0, 60)])), (error) => isFault(error, 'invalidArgument'))
  assert.deepEqual(await at.store.list({ all: true }), [])
  await at.store.collect()
  assert.deepEqual(await Array.fromAsync(at.store.parts.blobs.list()), [])
})

test('images are found by name, digest, id and prefix, also after a restart', async () => {
  await using at = await place()
  const image = await importRoot(at.store, rootTar([{ path: 'f' }]), { name: 'busybox:1.36' })
  await at.store.tag(image.id, 'localhost:5000/bb')
  for (const store of [at.store, await at.reopen()]) {
    for (const name of ['busybox:1.36', 'docker.io/library/busybox:1.36', image.id, image.id.slice(7), image.id.slice(7, 19), image.id.slice(0, 19), 'localhost:5000/bb']) {
      assert.equal((await store.resolve(name)).id, image.id, name)
    }
    await assert.rejects(store.resolve('busybox'), (error) => isFault(error, 'notFound') && error.message === 'No such image: busybox:latest')
    await assert.rejects(store.resolve('Bad'), (error) => isFault(error, 'invalidArgument') && /repository name must be lowercase/.test(error.message))
  }
})

test('removal follows Docker: names first, then the image, never one in use', async () => {
  await using at = await place()
  const image = await importRoot(at.store, rootTar([{ path: 'f', content: 'x'.repeat(1000) }]), { name: 'a' })
  await at.store.tag(image.id, 'b')
  const usedBy = (): readonly { containerId: string; running: boolean }[] => [{ containerId: 'c'.repeat(64), running: false }]
  await assert.rejects(at.store.remove(image.id), /referenced in multiple repositories/)
  assert.deepEqual(await at.store.remove('a', { usedBy }), [{ untagged: 'a:latest' }])
  await assert.rejects(at.store.remove('b', { usedBy }), /unable to remove repository reference "b" \(must force\) - container cccccccccccc is using/)
  await assert.rejects(at.store.remove(image.id, { usedBy }), /must be forced\) - image is being used by stopped container/)
  assert.deepEqual(await at.store.remove('b'), [{ untagged: 'b:latest' }, { deleted: image.id }])
  await assert.rejects(at.store.resolve('b'), (error) => isFault(error, 'notFound'))
  assert.deepEqual(await Array.fromAsync(at.store.parts.blobs.list()), [])
  assert.equal(await at.snapshots.has(present(image.topLayer, 'top layer')), false)
})

test('a built image shares its parent, and goes with it when the last name goes', async () => {
  await using at = await place()
  const base = await importRoot(at.store, rootTar([{ path: 'f', content: '1' }]), { name: 'base' })
  const target = join(at.root, 't')
  mkdirSync(target)
  await at.snapshots.prepare('step', base.topLayer)
  const layer = await at.snapshots.diff('step')
  await at.snapshots.commit('step', layer)
  const step = { ...base.config, rootfs: { type: 'layers' as const, diff_ids: [...base.config.rootfs.diff_ids, layer.diffId] } }
  const middle = await at.store.put(step, { parentId: base.id })
  const built = await at.store.put({ ...step, author: 'me' }, { parentId: middle.id, name: 'built' })
  assert.equal(built.parentId, middle.id)
  assert.deepEqual((await at.store.list()).flatMap((image) => image.repoTags).sort(), ['base:latest', 'built:latest'])
  await assert.rejects(at.store.remove(base.id), /dependent child images/)
  assert.deepEqual(await at.store.remove('built'), [{ untagged: 'built:latest' }, { deleted: built.id }, { deleted: middle.id }])
  assert.deepEqual((await at.store.prune({ all: false, usedBy: () => [] })).removals, [])
  const pruned = await at.store.prune({ all: true, usedBy: () => [] })
  assert.deepEqual(pruned.removals, [{ untagged: 'base:latest' }, { deleted: base.id }])
  assert.ok(pruned.reclaimedBytes > 0)
})

test('layers lost in a power cut are unpacked again from their blobs', async () => {
  await using at = await place()
  const image = await importRoot(at.store, rootTar([{ path: 'f', content: '1' }]), { name: 'a' })
  at.snapshots.claim([present(image.topLayer, 'top layer')])
  await at.snapshots.collect(() => false)
  assert.equal(await at.snapshots.has(present(image.topLayer, 'top layer')), false)
  await at.store.resolve('a')
  assert.equal(await at.snapshots.has(present(image.topLayer, 'top layer')), true)
})

test('an image that is stored while others prune keeps its name', async () => {
  await using at = await place()
  for (let round = 0; round < 20; round += 1) {
    const [image] = await Promise.all([
      importRoot(at.store, rootTar([{ path: `f${round}` }]), { name: `kept:${round}` }),
      ...Array.from({ length: 3 }, () => at.store.prune({ all: false, usedBy: () => [] })),
    ])
    assert.equal((await at.store.resolve(`kept:${round}`)).id, image.id)
  }
})

test('an index that is made here is kept whole as long as a name stands for it', async () => {
  await using at = await place()
  const { blobs } = at.store.parts
  const amd64 = await importRoot(at.store, rootTar([{ path: 'f', content: 'amd64' }]), { platform: 'linux/amd64' })
  const arm64 = await importRoot(at.store, rootTar([{ path: 'f', content: 'arm64' }]), { platform: 'linux/arm64' })
  const host = [amd64, arm64].find(({ config }) => config.architecture === hostPlatform.architecture) ?? amd64
  const odd = Buffer.from('{"schemaVersion":2,"mediaType":"application/vnd.nobody.knows+json"}')
  let target: Descriptor | undefined
  {
    using index = new Assembly(at.store)
    const manifests = [await index.manifest(arm64.id), await index.manifest(amd64.id, { compressed: true }), { mediaType: 'application/vnd.nobody.knows+json', ...(await index.blob(odd)) }]
    target = await index.finish({ manifests, names: ['many:1'] })
    await assert.rejects(index.finish({ manifests: [{ ...manifests[0] ?? target, digest: digestOf('gone') }] }), /which is not here/)
    await assert.rejects(index.finish({ manifests: manifests.slice(2), names: ['odd'] }), /holds no image/)
  }
  await at.store.collect()
  for (const store of [at.store, await at.reopen()]) {
    assert.equal((await store.resolve('many:1')).id, host.id)
    assert.deepEqual(store.targetOf('many:1'), target)
    assert.equal(store.targetOf(host.id), undefined)
    assert.deepEqual(await store.targets.missing(target), [])
  }
  // The images may go: what the name stands for stays, until it is taken away.
  await at.store.tag('many:1', 'second')
  await at.store.remove('many:1')
  await at.store.remove([amd64, arm64].find((image) => image !== host)?.id ?? '')
  assert.deepEqual(await at.store.targets.missing(target), [])
  assert.deepEqual(await at.store.remove('second'), [{ untagged: 'second:latest' }, { deleted: host.id }])
  assert.deepEqual(await Array.fromAsync(blobs.list()), [])
})

test('names of the first format open, with digests out of the records of images', async () => {
  await using at = await place()
  const image = await importRoot(at.store, rootTar([{ path: 'f' }]), { name: 'a' })
  const file = join(at.root, 'i/i', `${digestHex(parseDigest(image.id))}.json`)
  const record: object = JSON.parse(readFileSync(file, 'utf8'))
  const digestName = `docker.io/library/a@${digestOf('manifest')}`
  writeFileSync(file, JSON.stringify({ ...record, repoDigests: [digestName] }))
  writeFileSync(join(at.root, 'i/names.json'), JSON.stringify({ formatVersion: 1, names: { 'docker.io/library/a:latest': image.id } }))
  const store = await at.reopen()
  assert.deepEqual((await store.resolve('a')).repoDigests, [`a@${digestOf('manifest')}`])
  assert.equal((await store.resolve(digestName)).id, image.id)
  // Taken away once, it does not come back out of the record.
  await store.tag(image.id, 'b')
  await store.remove('a')
  assert.deepEqual((await (await at.reopen()).resolve('b')).repoDigests, [])
})
