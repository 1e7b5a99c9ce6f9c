/**
 * The store of images: finding, storing, naming, and the collector that frees what no image and no name needs. Removal has a file of its
 * own (`removal.ts`); transfers and archives build on the store (`pull.ts`, `push.ts`, `load.ts`, `save.ts`).
 */
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import { KeyedSerial } from '#base/task.ts'
import { collectBlobs, sweepIngests } from '#oci/blobs/collect.ts'
import type { BlobLeases, BlobRoots } from '#oci/blobs/collect.ts'
import type { Blobs } from '#oci/blobs/contract.ts'
import { layerCompression, mediaTypes } from '#oci/descriptor.ts'
import { digestHex, isDigest, parseDigest } from '#oci/digest.ts'
import type { Digest } from '#oci/digest.ts'
import { parseImageConfig } from '#oci/image-config.ts'
import { parsePlatform } from '#oci/platform.ts'
import type { Platform } from '#oci/platform.ts'
import { canonicalReference, familiarReference, parseReference, withDefaultTag } from '#oci/reference.ts'
import type { ChainId, Image, ImageConfig, ImageId, ImageRemoval, ImageTarget } from '../contract/images.ts'
import type { SnapshotCommitter, SnapshotReader } from '../contract/snapshots.ts'
import { chainIdOf, chainIdsOf, topChainId } from '../snapshots/chain.ts'
import type { LayerUnpacker } from '../snapshots/overlay-snapshots.ts'
import { digestName, namedTag } from './image-names.ts'
import type { Named } from './image-names.ts'
import { newImage, requirePlatform, wholeImages } from './image-of-manifest.ts'
import type { ImageRecord, ImageRecords, KnownImage, StoredLayer } from './image-records.ts'
import { isNamed, pruneNow, removeNow } from './removal.ts'
import type { PruneOptions, RemoveOptions } from './removal.ts'
import { storeBytes } from './store-bytes.ts'
import { Targets } from './targets.ts'

export interface ImageStoreParts {
  readonly records: ImageRecords
  readonly blobs: Blobs
  readonly leases: BlobLeases
  readonly snapshots: SnapshotReader & Pick<SnapshotCommitter, 'collect'> & LayerUnpacker
  /** Blobs that others need (the registry's manifests and links). */
  readonly otherRoots: readonly BlobRoots[]
  /** Layer stacks that others need (the build cache). */
  readonly otherChains?: () => Iterable<ChainId>
  /** Blobs younger than this survive a collection even when nothing names them yet. */
  readonly graceMs: number
  readonly clock: Clock
  readonly logger: Logger
}

export interface NewImage {
  readonly configBytes: Uint8Array
  readonly layers: readonly StoredLayer[]
  readonly manifestDigest?: Digest
  readonly parentId?: Digest
  /** Canonical, with tag or digest. */
  readonly names?: readonly string[]
  /** What the names stand for. */
  readonly target?: ImageTarget
}

/** A download that was interrupted can be gone on with for a day. */
const givenUpAfterMs = 24 * 3_600_000

export class ImageStore {
  readonly parts: ImageStoreParts
  readonly targets: Targets
  /** What changes records and names runs one after another: a name must not be given to an image that somebody is just removing. */
  readonly #changes = new KeyedSerial<'images'>()

  constructor(parts: ImageStoreParts) {
    this.parts = parts
    this.targets = new Targets(parts.blobs)
  }

  // ---- finding ----

  async resolve(nameOrId: string, { platform }: { readonly platform?: string } = {}): Promise<Image> {
    const found = this.find(nameOrId)
    const target = this.targetOf(nameOrId)
    const known = platform === undefined ? found : await this.#ofPlatform(found, { target, platform: parsePlatform(platform), name: nameOrId })
    await this.ensureUnpacked(known)
    return await this.describe(known, known.record.id === found.record.id ? undefined : target)
  }

  /** Of what a name stands for the image of a platform: stored as one if it was only bytes so far. */
  async #ofPlatform(known: KnownImage, asked: { readonly target: ImageTarget | undefined; readonly platform: Platform; readonly name: string }): Promise<KnownImage> {
    const others = asked.target === undefined ? [] : (await wholeImages(this, asked.target)).filter(({ manifest }) => manifest.config.digest !== known.record.id)
    const chosen = requirePlatform([{ platform: known.config }, ...others], asked.platform, asked.name)
    if (!('manifest' in chosen)) return known
    const { config, layers } = chosen.manifest
    return this.parts.records.get(config.digest) ?? (await this.add(await newImage(this, { config: config.digest, layers, names: [], manifestDigest: chosen.descriptor.digest })))
  }

  /** By name, `name@digest`, id, unique id prefix, or digest of a name's target; `notFound` otherwise. */
  find(nameOrId: string): KnownImage {
    const { records } = this.parts
    if (/^(sha256:)?[0-9a-f]{64}$/.test(nameOrId)) {
      const id = parseDigest(nameOrId.startsWith('sha256:') ? nameOrId : `sha256:${nameOrId}`)
      return records.get(id) ?? this.#ofTarget(id) ?? this.#missing(nameOrId)
    }
    const byName = this.#findByName(nameOrId)
    if (byName !== undefined) return byName
    if (!/^(sha256:)?[0-9a-f]{1,64}$/.test(nameOrId)) return this.#missing(familiarReference(withDefaultTag(parseReference(nameOrId))))
    const prefix = nameOrId.replace(/^sha256:/, '')
    const fitting = records.all().filter(({ record }) => digestHex(record.id).startsWith(prefix))
    const [only] = fitting
    if (fitting.length > 1) throw new Fault('conflict', `the id prefix '${nameOrId}' fits ${fitting.length} images: give more digits`)
    return only ?? this.#missing(nameOrId.startsWith('sha256:') ? nameOrId : `${nameOrId}:latest`)
  }

  /** The image that names with this index or manifest mean: who built it was told its digest. */
  #ofTarget(digest: Digest): KnownImage | undefined {
    const named = this.parts.records.names.meaning(digest)
    return named === undefined ? undefined : this.parts.records.get(named.id)
  }

  /** True when the text finds its image by a name; a name such as `abc` wins over an id that begins so. */
  isName(text: string): boolean {
    return !/^(sha256:)?[0-9a-f]{64}$/.test(text) && this.#findByName(text) !== undefined
  }

  #findByName(text: string): KnownImage | undefined {
    if (/^sha256:/.test(text)) return undefined
    const reference = withDefaultTag(parseReference(text))
    const { records } = this.parts
    const id = reference.digest === undefined ? records.names.get(canonicalReference(reference))?.id : (records.names.get(digestName(reference))?.id ?? reference.digest)
    return id === undefined ? undefined : records.get(id)
  }

  /** What a name stands for; undefined for an id, and for a name that was given to the image itself. A target is found by its digest, too. */
  targetOf(nameOrId: string): ImageTarget | undefined {
    const { names } = this.parts.records
    const digest = nameOrId.startsWith('sha256:') ? nameOrId : `sha256:${nameOrId}`
    if (isDigest(digest)) return names.meaning(digest)?.target
    if (!this.isName(nameOrId)) return undefined
    const reference = withDefaultTag(parseReference(nameOrId))
    return names.get(reference.digest === undefined ? canonicalReference(reference) : digestName(reference))?.target
  }

  #missing(name: string): never {
    throw new Fault('notFound', `No such image: ${name}`)
  }

  async list(options: { readonly all?: boolean } = {}): Promise<readonly Image[]> {
    const parents = new Set(this.parts.records.all().map(({ record }) => record.parentId))
    const siblings = options.all === true ? new Set<Digest>() : await this.siblings()
    const shown = this.parts.records.all().filter(({ record: { id } }) => options.all === true || isNamed(this.parts.records, id) || (!parents.has(id) && !siblings.has(id)))
    const images = await Promise.all(shown.map((known) => this.describe(known)))
    return images.sort((a, b) => (a.createdAt === b.createdAt ? 0 : a.createdAt < b.createdAt ? 1 : -1))
  }

  /** Images that no name means but that belong to what one stands for: other platforms of its index. */
  async siblings(): Promise<ReadonlySet<Digest>> {
    const { records } = this.parts
    const unnamed = new Set(records.all().map(({ record }) => record.id).filter((id) => !isNamed(records, id)))
    const siblings = new Set<Digest>()
    if (unnamed.size > 0) for (const target of records.names.targets()) for await (const { digest } of this.targets.reachable(target)) if (unnamed.has(digest)) siblings.add(digest)
    return siblings
  }

  /** With the names that stand for `target`, or its own. */
  async describe({ record, config }: KnownImage, target?: ImageTarget): Promise<Image> {
    const familiar = (name: string): string => familiarReference(parseReference(name))
    const names = target === undefined ? this.parts.records.names.of(record.id) : this.parts.records.names.standingFor(target)
    const layerSizes: number[] = []
    let chain: string | undefined
    for (const diffId of config.rootfs.diff_ids) {
      chain = chainIdOf(chain, diffId)
      layerSizes.push((await this.parts.snapshots.has(chain)) ? (await this.parts.snapshots.usage(chain)).sizeBytes : 0)
    }
    return {
      id: record.id,
      config,
      repoTags: names.tags.map(familiar).sort(),
      repoDigests: names.digests.map(familiar).sort(),
      topLayer: chain,
      sizeBytes: layerSizes.reduce((sum, size) => sum + size, 0),
      layerSizes,
      createdAt: config.created ?? '0001-01-01T00:00:00Z',
      lastTaggedAtMs: record.lastTaggedAtMs,
      ...(record.parentId === undefined ? {} : { parentId: record.parentId }),
      ...(record.manifestDigest === undefined ? {} : { manifestDigest: record.manifestDigest }),
    }
  }

  // ---- storing ----

  /** Stores an image whose blobs are here and whose layers are unpacked or can be. Identical configs are one image. */
  async add(image: NewImage): Promise<KnownImage> {
    const { records, blobs } = this.parts
    const config = parseImageConfig(image.configBytes)
    const id = await storeBytes(blobs, image.configBytes)
    using _leases = this.#holdBlobs([id, ...image.layers.map((layer) => layer.digest)])
    await this.ensureUnpacked({ record: { id, layers: records.get(id)?.record.layers ?? image.layers }, config })
    return await this.#changes.run('images', async () => {
      const known: KnownImage = { record: this.#recordOf(id, image), config }
      await records.put(known)
      this.parts.snapshots.claim(chainIdsOf(config))
      const named: Named = { id, ...(image.target === undefined ? {} : { target: image.target }) }
      await records.names.change(new Map((image.names ?? []).map((name) => [name, named])))
      return known
    })
  }

  #holdBlobs(digests: readonly Digest[]): Disposable {
    const held = new DisposableStack()
    for (const digest of digests) held.use(this.parts.leases.hold(digest))
    return held
  }

  /** What is said of an image now, with what was said before. */
  #recordOf(id: Digest, image: NewImage): ImageRecord {
    const { records, clock } = this.parts
    const before = records.get(id)?.record
    return {
      ...before,
      id,
      layers: before?.layers ?? image.layers,
      ...(image.manifestDigest === undefined ? {} : { manifestDigest: image.manifestDigest }),
      ...(image.parentId === undefined || image.parentId === id ? {} : { parentId: image.parentId }),
      ...(image.names?.some((name) => !name.includes('@')) === true ? { lastTaggedAtMs: clock.nowMs() } : {}),
    }
  }

  /** Changes what is said of an image, and gives it a name; nothing happens when it is gone by then. */
  async amend(id: Digest, change: (record: ImageRecord) => ImageRecord, named?: { readonly name: string; readonly target: ImageTarget }): Promise<void> {
    await this.#changes.run('images', async () => {
      const current = this.parts.records.get(id)
      if (current === undefined) return
      await this.parts.records.put({ ...current, record: change(current.record) })
      if (named !== undefined) await this.parts.records.names.change(new Map([[named.name, { id, target: named.target }]]))
    })
  }

  async put(config: ImageConfig, options: { readonly name?: string; readonly parentId?: ImageId } = {}): Promise<Image> {
    const layers = await Promise.all(config.rootfs.diff_ids.map((diffId) => this.#layerBlob(parseDigest(diffId, 'rootfs.diff_ids'))))
    const known = await this.add({
      configBytes: Buffer.from(JSON.stringify(config)),
      layers,
      ...(options.parentId === undefined ? {} : { parentId: parseDigest(options.parentId, 'parentId') }),
      ...(options.name === undefined ? {} : { names: [namedTag(options.name)] }),
    })
    return await this.describe(known)
  }

  /** The blob that holds a layer: as another image has it, else the uncompressed one made here. */
  async findLayer(diffId: Digest): Promise<StoredLayer | undefined> {
    for (const { record } of this.parts.records.all()) {
      const layer = record.layers.find((candidate) => candidate.diffId === diffId)
      if (layer !== undefined) return layer
    }
    const blob = await this.parts.blobs.stat(diffId)
    return blob === undefined ? undefined : { diffId, digest: diffId, mediaType: mediaTypes.ociLayer, sizeBytes: blob.sizeBytes }
  }

  async #layerBlob(diffId: Digest): Promise<StoredLayer> {
    const found = await this.findLayer(diffId)
    if (found === undefined) throw new Fault('notFound', `layer ${diffId} is not here: commit or unpack it before the image is stored`)
    return found
  }

  /** Unpacks from the blobs what is not unpacked (any more): after a power cut, say. */
  async ensureUnpacked({ record, config }: KnownImage): Promise<void> {
    const { snapshots, blobs } = this.parts
    const top = topChainId(config.rootfs.diff_ids)
    if (top === undefined || (await snapshots.has(top))) return
    using _held = snapshots.hold(config.rootfs.diff_ids)
    let chain: string | undefined
    for (const [index, diffId] of config.rootfs.diff_ids.entries()) {
      if (!snapshots.hasLayer(diffId)) {
        const layer = record.layers[index]
        if (layer === undefined) throw new Fault('dataLoss', `image ${record.id}: no blob is known for layer ${diffId}: pull or load the image again`)
        await snapshots.unpackLayer({ diffId, blob: await blobs.open(layer.digest), compression: layerCompression(layer.mediaType) ?? 'detect' })
      }
      chain = await snapshots.stack(chain, diffId)
    }
  }

  async tag(nameOrId: string, name: string): Promise<void> {
    const given = namedTag(name)
    await this.#changes.run('images', async () => {
      const known = this.find(nameOrId)
      const target = this.targetOf(nameOrId)
      await this.parts.records.put({ ...known, record: { ...known.record, lastTaggedAtMs: this.parts.clock.nowMs() } })
      await this.parts.records.names.change(new Map([[given, { id: known.record.id, ...(target === undefined ? {} : { target }) }]]))
    })
  }

  async remove(nameOrId: string, options: RemoveOptions = {}): Promise<readonly ImageRemoval[]> {
    const removals = await this.#changes.run('images', () => removeNow(this, nameOrId, options))
    await this.collect()
    return removals
  }

  async prune(options: PruneOptions): Promise<{ readonly removals: readonly ImageRemoval[]; readonly reclaimedBytes: number }> {
    const removals: ImageRemoval[] = []
    for (const { record } of this.parts.records.all()) removals.push(...(await this.#changes.run('images', () => pruneNow(this, record.id, options))))
    return { removals, reclaimedBytes: await this.collect() }
  }

  /** Frees layers and blobs that nothing needs, blobs only when they are older than `sparedMs` (default `graceMs`). Answers the bytes. */
  async collect(options: { readonly sparedMs?: number } = {}): Promise<number> {
    const needed = new Set([...this.parts.records.all().flatMap(({ config }) => chainIdsOf(config)), ...(this.parts.otherChains?.() ?? [])])
    const layers = await this.parts.snapshots.collect((chainId) => needed.has(chainId))
    const blobs = await collectBlobs({
      blobs: this.parts.blobs,
      leases: this.parts.leases,
      roots: [() => this.blobRoots(), ...this.parts.otherRoots],
      committedBeforeMs: this.parts.clock.nowMs() - (options.sparedMs ?? this.parts.graceMs),
    })
    return layers + blobs + (await sweepIngests(this.parts.blobs, this.parts.clock.nowMs() - givenUpAfterMs))
  }

  /** Every blob that an image needs, and all that can be reached from what a name stands for, here or not. */
  async *blobRoots(): AsyncGenerator<Digest> {
    for (const { record } of this.parts.records.all()) {
      yield record.id
      if (record.manifestDigest !== undefined) yield record.manifestDigest
      for (const layer of [...record.layers, ...(record.compressed ?? [])]) yield layer.digest
    }
    for (const target of this.parts.records.names.targets()) for await (const { digest } of this.targets.reachable(target)) yield digest
  }
}
