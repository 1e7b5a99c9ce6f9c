/** Indexes in archives: saved whole where nothing of them is missing, loaded whole, and what other tools write. */
import assert from 'node:assert/strict'
import { buffer } from 'node:stream/consumers'
import { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { present } from '#base/assert.ts'
import { isFault } from '#base/fault.ts'
import type { Kernel } from '#linux/contract/kernel.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { mediaTypes, writeDescriptor } from '#oci/descriptor.ts'
import type { Descriptor } from '#oci/descriptor.ts'
import { digestOf } from '#oci/digest.ts'
import { sampleTar } from '#oci/layer/archive-samples.ts'
import type { Sample } from '#oci/layer/archive-samples.ts'
import { readTar } from '#oci/layer/reader.ts'
import { foreign, machine, own, publishIndex, serve } from './transfer.fixture.ts'
import type { Machine } from './transfer.fixture.ts'

let kernel: Kernel & AsyncDisposable

before(async () => {
  kernel = await openKernel()
})
after(() => kernel[Symbol.asyncDispose]())

interface Loaded {
  readonly id: string
  readonly architecture: string
  readonly names: readonly string[]
}

async function load(here: Machine, archive: Buffer, platform?: string): Promise<readonly Loaded[]> {
  const loaded: Loaded[] = []
  await here.images.load(Readable.from([archive]), { ...(platform === undefined ? {} : { platform }), onLoaded: ({ id, config }, names) => loaded.push({ id, architecture: config.architecture, names }) })
  return loaded
}

/** Small files of an archive, by path. */
async function filesOf(archive: Buffer): Promise<ReadonlyMap<string, Buffer>> {
  const files = new Map<string, Buffer>()
  for await (const item of readTar(Readable.from([archive]))) {
    const chunks: Uint8Array[] = []
    for (let chunk = await item.read(); chunk !== undefined; chunk = await item.read()) chunks.push(chunk)
    files.set(item.entry.path.toString(), Buffer.concat(chunks))
  }
  return files
}

function listedIn(files: ReadonlyMap<string, Buffer>): readonly Descriptor[] {
  const { manifests }: { readonly manifests: readonly Descriptor[] } = JSON.parse(String(files.get('index.json')))
  return manifests
}

test('an index is saved with all that belongs to it, and loaded as it was; old readers find the image of this machine', async () => {
  await using registry = await serve()
  await using here = await machine(kernel)
  const { index, images } = publishIndex(registry.repository('app'), [foreign, own])
  const name = `${registry.host}/app`
  await here.images.pull(name, { platform: `linux/${foreign}` })
  const image = await here.images.pull(name, {})
  await here.images.tag(name, 'copy:1')
  const archive = await buffer(await here.images.save([name, 'copy:1']))
  const files = await filesOf(archive)
  assert.deepEqual(listedIn(files).map(({ digest, annotations }) => [digest, annotations?.['io.containerd.image.name']]), [[index.digest, `${name}:latest`], [index.digest, 'docker.io/library/copy:1']])
  const [entry]: readonly { readonly Config: string; readonly RepoTags: readonly string[]; readonly Layers: readonly string[] }[] = JSON.parse(String(files.get('manifest.json')))
  assert.deepEqual([entry?.Config, entry?.RepoTags, entry?.Layers.length], [`blobs/sha256/${image.id.slice(7)}`, [`${name}:latest`, 'copy:1'], 1])
  await using there = await machine(kernel)
  assert.deepEqual(await load(there, gzipSync(archive)), [{ id: image.id, architecture: own, names: [`${name}:latest`, 'copy:1'] }])
  await using other = await serve()
  await there.images.tag('copy:1', `${other.host}/copy:1`)
  assert.equal((await there.images.push(`${other.host}/copy:1`, {})).digest, index.digest)
  // One platform of it, by itself.
  const one = await filesOf(await buffer(await here.images.save([name], { platform: `linux/${foreign}` })))
  assert.deepEqual(listedIn(one).map(({ digest }) => digest), [images[0]?.digest])
  await assert.rejects(here.images.save([name], { platform: 'linux/mips' }), /was found but does not provide the specified platform \(linux\/mips\)/)
  assert.deepEqual(listedIn(await filesOf(await buffer(await here.images.save([image.id])))).map(({ digest }) => digest), [images[1]?.digest])
})

test('an image that was loaded with layers as they lie goes to other registries compressed; two of them stay two', async () => {
  await using registry = await serve()
  await using here = await machine(kernel)
  await using there = await machine(kernel)
  for (const name of ['one', 'two']) await here.images.importRoot(Readable.from([sampleTar([{ path: name, content: name }])]), { name })
  const loaded = await load(there, await buffer(await here.images.save(['one', 'two'])))
  assert.deepEqual(loaded.map(({ names }) => names), [['one:latest'], ['two:latest']])
  assert.notEqual(loaded[0]?.id, loaded[1]?.id)
  await there.images.tag('one', `${registry.host}/one`)
  const { digest } = await there.images.push(`${registry.host}/one`, {})
  const { layers }: { readonly layers: readonly Descriptor[] } = JSON.parse(String(registry.repository('one').manifests.get(digest)?.bytes))
  assert.deepEqual(layers.map(({ mediaType }) => mediaType), [mediaTypes.ociLayerGzip])
})

test('of an index that is not whole the image that is here is saved: the archive lacks nothing that it lists', async () => {
  await using registry = await serve()
  await using here = await machine(kernel)
  const { images: [image] } = publishIndex(registry.repository('app'), [own, foreign])
  await here.images.pull(`${registry.host}/app`, {})
  const files = await filesOf(await buffer(await here.images.save([`${registry.host}/app`])))
  assert.deepEqual(listedIn(files).map(({ digest }) => digest), [image?.digest])
  assert.ok(files.has(`blobs/sha256/${present(image, 'image').digest.slice(7)}`))
})

/** An OCI layout as others write it. */
interface Layout {
  readonly samples: Sample[]
  add(bytes: Buffer): { readonly digest: ReturnType<typeof digestOf>; readonly size: number }
  image(architecture: string, more?: object): Descriptor
  archive(manifests: readonly Descriptor[]): Buffer
}

function layout(): Layout {
  const samples: Sample[] = []
  const self: Layout = {
    samples,
    add(bytes) {
      samples.push({ path: `blobs/sha256/${digestOf(bytes).slice(7)}`, content: bytes })
      return { digest: digestOf(bytes), size: bytes.length }
    },
    image(architecture, more = {}) {
      const tar = sampleTar([{ path: 'architecture', content: architecture }])
      const config = Buffer.from(JSON.stringify({ architecture, os: 'linux', rootfs: { type: 'layers', diff_ids: [digestOf(tar)] } }))
      const manifest = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config: { mediaType: mediaTypes.ociConfig, ...self.add(config) }, layers: [{ mediaType: mediaTypes.ociLayerGzip, ...self.add(gzipSync(tar)) }], ...more }
      return { mediaType: mediaTypes.ociManifest, ...self.add(Buffer.from(JSON.stringify(manifest))), platform: { os: 'linux', architecture } }
    },
    archive: (manifests) => sampleTar([...samples, { path: 'oci-layout', content: '{"imageLayoutVersion":"1.0.0"}' }, { path: 'index.json', content: JSON.stringify({ schemaVersion: 2, manifests: manifests.map(writeDescriptor) }) }]),
  }
  return self
}

function indexOf(from: Layout, manifests: readonly Descriptor[], name: string): Descriptor {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: manifests.map(writeDescriptor) }))
  return { mediaType: mediaTypes.ociIndex, ...from.add(bytes), annotations: { 'org.opencontainers.image.ref.name': name } }
}

test('archives for foreign platforms alone load too; the platform that was asked for is what the name means', async () => {
  await using here = await machine(kernel)
  const two = layout()
  const archive = two.archive([indexOf(two, [two.image(foreign), two.image('riscv64')], 'far/away:1')])
  assert.deepEqual((await load(here, archive)).map(({ architecture, names }) => [architecture, names]), [[foreign, ['far/away:1']]])
  assert.deepEqual((await load(here, archive, 'linux/riscv64')).map(({ architecture }) => architecture), ['riscv64'])
  const { id, config } = await here.images.resolve('far/away:1')
  assert.equal(config.architecture, 'riscv64')
  // What was bytes only becomes an image when somebody asks for it.
  assert.equal((await here.images.resolve('far/away:1', { platform: `linux/${foreign}` })).config.architecture, foreign)
  assert.deepEqual((await here.images.list()).map((image) => image.id), [id])
  await assert.rejects(load(here, archive, `linux/${own}`), (error) => isFault(error, 'notFound') && /does not provide the specified platform/.test(error.message))
})

test('parts that are absent or unknown are no failure, an index without a whole image is one', async () => {
  await using here = await machine(kernel)
  const part = layout()
  const absent: Descriptor = { mediaType: mediaTypes.ociManifest, digest: digestOf('elsewhere'), size: 9, platform: { os: 'linux', architecture: foreign } }
  const odd: Descriptor = { mediaType: 'application/vnd.nobody.knows', ...part.add(Buffer.from('odd')) }
  const helm = part.image('unknown', { config: { mediaType: 'application/vnd.cncf.helm.config.v1+json', ...part.add(Buffer.from('{}')) } })
  const archive = part.archive([helm, indexOf(part, [absent, part.image(own), odd, helm], 'part:1')])
  assert.deepEqual((await load(here, archive)).map(({ names }) => names), [['part:1']])
  await here.images.collect({ sparedMs: -60_000 })
  for (const kept of [odd, helm]) assert.ok((await here.blobs.stat(kept.digest)) !== undefined)
  await here.images.remove('part:1')
  await here.images.collect({ sparedMs: -60_000 })
  assert.deepEqual(await Array.fromAsync(here.blobs.list()), [])
  const none = layout()
  await assert.rejects(load(here, none.archive([indexOf(none, [absent], 'none:1')])), /the archive holds no image/)
  const half = layout()
  const image = half.image(own)
  half.samples.splice(1, 1)
  await assert.rejects(load(here, half.archive([indexOf(half, [image], 'half:1')])), /of none of its images all parts are in the archive/)
  await assert.rejects(load(here, half.archive([absent])), /index\.json names sha256:\w+, which is not in the archive/)
})

test('a name that a flat layout gives to several platforms means the image of this machine', async () => {
  await using here = await machine(kernel)
  const flat = layout()
  const annotations = { 'org.opencontainers.image.ref.name': 'flat:1' }
  const archive = flat.archive([{ ...flat.image(own), annotations }, { ...flat.image(foreign), annotations }])
  assert.deepEqual((await load(here, archive)).map(({ architecture, names }) => [architecture, names]), [[own, ['flat:1']]])
})

test('an index that is made here and has no name is saved and pushed by itself', async () => {
  await using here = await machine(kernel)
  await using registry = await serve()
  const image = await here.images.importRoot(Readable.from([sampleTar([{ path: 'f' }])]), {})
  using index = here.images.assembleIndex()
  const target = await index.finish({ manifests: [await index.manifest(image.id, { compressed: true })] })
  await here.images.collect({ sparedMs: -60_000 })
  const files = await filesOf(await buffer(await here.images.save([], { target, names: ['docker.io/library/made:1'] })))
  assert.deepEqual(listedIn(files).map(({ digest }) => digest), [target.digest])
  assert.equal((await here.images.push(`${registry.host}/made:1`, { target })).digest, target.digest)
})
