/**
 * The store of images: names, ids, removal as Docker does it, and the collector that frees what no image needs. Transfers and
 * archives build on it (`pull.ts`, `push.ts`, `load.ts`, `save.ts`).
 */
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import { KeyedSerial } from '#base/task.ts'
import { collectBlobs, sweepIngests } from '#oci/blobs/collect.ts'
import type { BlobLeases, BlobRoots } from '#oci/blobs/collect.ts'
import type { Blobs } from '#oci/blobs/contract.ts'
import { layerCompression, mediaTypes } from '#oci/descriptor.ts'
import { digestHex, parseDigest } from '#oci/digest.ts'
import type { Digest } from '#oci/digest.ts'
import { parseImageConfig } from '#oci/image-config.ts'
import { canonicalReference, familiarReference, parseReference, withDefaultTag } from '#oci/reference.ts'
import type { Reference } from '#oci/reference.ts'
import type { ChainId, Image, ImageConfig, ImageId, ImageRemoval, ImageUser } from '../contract/images.ts'
import type { SnapshotCommitter, SnapshotReader } from '../contract/snapshots.ts'
import { chainIdOf, chainIdsOf, topChainId } from '../snapshots/chain.ts'
import type { LayerUnpacker } from '../snapshots/overlay-snapshots.ts'
import type { ImageRecord, ImageRecords, KnownImage, StoredLayer } from './image-records.ts'

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
  /** Canonical names with tag. */
  readonly names?: readonly string[]
  /** Canonical `name@digest`. */
  readonly repoDigests?: readonly string[]
}

/** A download that was interrupted can be gone on with for a day. */
const givenUpAfterMs = 24 * 3_600_000

type UsedBy = (id: ImageId) => readonly ImageUser[]

export class ImageStore {
  readonly parts: ImageStoreParts
  /** What changes records and names runs one after another: a name must not be given to an image that somebody is just removing. */
  readonly #changes = new KeyedSerial<'images'>()

  constructor(parts: ImageStoreParts) {
    this.parts = parts
  }

  // ---- finding ----

  async resolve(nameOrId: string): Promise<Image> {
    const known = this.find(nameOrId)
    await this.ensureUnpacked(known)
    return await this.describe(known)
  }

  /** By name, `name@digest`, id or unique id prefix; `notFound` otherwise. */
  find(nameOrId: string): KnownImage {
    const { records } = this.parts
    if (/^(sha256:)?[0-9a-f]{64}$/.test(nameOrId)) {
      const id = parseDigest(nameOrId.startsWith('sha256:') ? nameOrId : `sha256:${nameOrId}`)
      return records.get(id) ?? this.#missing(nameOrId)
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

  /** True when the text finds its image by a name; a name such as `abc` wins over an id that begins so. */
  isName(text: string): boolean {
    return !/^(sha256:)?[0-9a-f]{64}$/.test(text) && this.#findByName(text) !== undefined
  }

  #findByName(text: string): KnownImage | undefined {
    if (/^sha256:/.test(text)) return undefined
    const reference = withDefaultTag(parseReference(text))
    const { records } = this.parts
    if (reference.digest === undefined) {
      const id = records.idOf(canonicalReference(reference))
      return id === undefined ? undefined : records.get(id)
    }
    const byDigest = digestName(reference)
    return records.all().find(({ record }) => record.repoDigests.includes(byDigest) || record.id === reference.digest)
  }

  #missing(name: string): never {
    throw new Fault('notFound', `No such image: ${name}`)
  }

  async list(options: { readonly all?: boolean } = {}): Promise<readonly Image[]> {
    const parents = new Set(this.parts.records.all().map(({ record }) => record.parentId))
    const shown = this.parts.records.all().filter(({ record }) => options.all === true || !parents.has(record.id) || this.#isNamed(record))
    const images = await Promise.all(shown.map((known) => this.describe(known)))
    return images.sort((a, b) => (a.createdAt === b.createdAt ? 0 : a.createdAt < b.createdAt ? 1 : -1))
  }

  #isNamed(record: ImageRecord): boolean {
    return record.repoDigests.length > 0 || this.parts.records.namesOf(record.id).length > 0
  }

  async describe({ record, config }: KnownImage): Promise<Image> {
    const familiar = (name: string): string => familiarReference(parseReference(name))
    const layerSizes: number[] = []
    let chain: string | undefined
    for (const diffId of config.rootfs.diff_ids) {
      chain = chainIdOf(chain, diffId)
      layerSizes.push((await this.parts.snapshots.has(chain)) ? (await this.parts.snapshots.usage(chain)).sizeBytes : 0)
    }
    return {
      id: record.id,
      config,
      repoTags: this.parts.records.namesOf(record.id).map(familiar).sort(),
      repoDigests: record.repoDigests.map(familiar).sort(),
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
    await using ingest = await blobs.begin()
    await ingest.write(oneChunk(image.configBytes))
    const { digest: id } = await ingest.commit()
    using _leases = this.#holdBlobs([id, ...image.layers.map((layer) => layer.digest)])
    await this.ensureUnpacked({ record: { id, layers: records.get(id)?.record.layers ?? image.layers, repoDigests: [] }, config })
    return await this.#changes.run('images', async () => {
      const known: KnownImage = { record: this.#recordOf(id, image), config }
      await records.put(known)
      this.parts.snapshots.claim(chainIdsOf(config))
      if (image.names !== undefined && image.names.length > 0) await records.rename(new Map(image.names.map((name) => [name, id])))
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
      ...(image.names === undefined || image.names.length === 0 ? {} : { lastTaggedAtMs: clock.nowMs() }),
      repoDigests: [...new Set([...(before?.repoDigests ?? []), ...(image.repoDigests ?? [])])],
    }
  }

  /** Changes what is said of an image; nothing happens when it is gone by then. */
  async amend(id: Digest, change: (record: ImageRecord) => ImageRecord): Promise<void> {
    await this.#changes.run('images', async () => {
      const current = this.parts.records.get(id)
      if (current !== undefined) await this.parts.records.put({ ...current, record: change(current.record) })
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

  async tag(id: ImageId, name: string): Promise<void> {
    const target = namedTag(name)
    await this.#changes.run('images', async () => {
      const known = this.find(id)
      await this.parts.records.put({ ...known, record: { ...known.record, lastTaggedAtMs: this.parts.clock.nowMs() } })
      await this.parts.records.rename(new Map([[target, known.record.id]]))
    })
  }

  // ---- removing (the rules of Docker's image deletion) ----

  async remove(nameOrId: string, options: { readonly force?: boolean; readonly noPrune?: boolean; readonly usedBy?: UsedBy } = {}): Promise<readonly ImageRemoval[]> {
    const removals = await this.#changes.run('images', () => this.#removeNow(nameOrId, options))
    await this.collect()
    return removals
  }

  async #removeNow(nameOrId: string, options: { readonly force?: boolean; readonly noPrune?: boolean; readonly usedBy?: UsedBy }): Promise<readonly ImageRemoval[]> {
    const known = this.find(nameOrId)
    const removals: ImageRemoval[] = []
    const deletion = { force: options.force === true, prune: options.noPrune !== true, usedBy: options.usedBy ?? (() => []), removals }
    if (this.isName(nameOrId)) {
      this.#refuseLastNameInUse(known, nameOrId, deletion)
      const left = await this.#untag(known, nameOrId, removals)
      if (left) return removals
      await this.#delete(known, { ...deletion, quiet: true })
    } else {
      if (this.#repositories(known).size <= 1) {
        this.#refuse(known, { ...deletion, ignoreNames: true })
        await this.#untagAll(known, removals)
      }
      await this.#delete(known, { ...deletion, quiet: false })
    }
    return removals
  }

  #refuseLastNameInUse(known: KnownImage, name: string, deletion: Deletion): void {
    const { id } = known.record
    if (deletion.force || this.parts.records.namesOf(id).length > 1) return
    const [user] = deletion.usedBy(id)
    if (user === undefined) return
    throw new Fault('conflict', `conflict: unable to remove repository reference "${name}" (must force) - container ${user.containerId.slice(0, 12)} is using its referenced image ${digestHex(id).slice(0, 12)}`)
  }

  /** Takes one name away; true when others are left. Digest names of a repository without a tag go along. */
  async #untag(known: KnownImage, name: string, removals: ImageRemoval[]): Promise<boolean> {
    const { records } = this.parts
    const { id } = known.record
    const reference = withDefaultTag(parseReference(name))
    let { repoDigests } = known.record
    if (reference.digest === undefined) {
      const canonical = canonicalReference(reference)
      await records.rename(new Map([[canonical, undefined]]))
      removals.push({ untagged: familiarReference(reference) })
    } else repoDigests = dropped(repoDigests, (candidate) => candidate === digestName(reference), removals)
    const stillTagged = new Set(records.namesOf(id).map(repositoryOf))
    if (!stillTagged.has(`${reference.registry}/${reference.repository}`)) {
      repoDigests = dropped(repoDigests, (candidate) => repositoryOf(candidate) === `${reference.registry}/${reference.repository}`, removals)
    }
    await records.put({ ...known, record: { ...known.record, repoDigests } })
    return records.namesOf(id).length > 0 || repoDigests.length > 0
  }

  async #untagAll(known: KnownImage, removals: ImageRemoval[]): Promise<void> {
    const names = this.parts.records.namesOf(known.record.id)
    await this.parts.records.rename(new Map(names.map((name) => [name, undefined])))
    for (const name of names) removals.push({ untagged: familiarReference(parseReference(name)) })
    dropped(known.record.repoDigests, () => true, removals)
    await this.parts.records.put({ ...known, record: { ...known.record, repoDigests: [] } })
  }

  #repositories(known: KnownImage): ReadonlySet<string> {
    const tags = this.parts.records.namesOf(known.record.id)
    // Several tags count as several references even within one repository.
    return new Set(tags.length > 1 ? tags : [...tags, ...known.record.repoDigests].map(repositoryOf))
  }

  /** Throws the conflict that forbids the deletion, if there is one. */
  #refuse(known: KnownImage, deletion: Deletion & { readonly ignoreNames?: boolean }): void {
    const { id } = known.record
    const short = digestHex(id).slice(0, 12)
    const users = deletion.usedBy(id)
    const running = users.find((user) => user.running)
    if (this.parts.records.all().some(({ record }) => record.parentId === id)) throw new Fault('conflict', `conflict: unable to delete ${short} (cannot be forced) - image has dependent child images`)
    if (running !== undefined) throw new Fault('conflict', `conflict: unable to delete ${short} (cannot be forced) - image is being used by running container ${running.containerId.slice(0, 12)}`)
    if (deletion.force) return
    if (deletion.ignoreNames !== true && this.#repositories(known).size > 0) throw new Fault('conflict', `conflict: unable to delete ${short} (must be forced) - image is referenced in multiple repositories`)
    const [stopped] = users
    if (stopped !== undefined) throw new Fault('conflict', `conflict: unable to delete ${short} (must be forced) - image is being used by stopped container ${stopped.containerId.slice(0, 12)}`)
  }

  async #delete(known: KnownImage, deletion: Deletion & { readonly quiet: boolean }): Promise<void> {
    const current = this.parts.records.get(known.record.id)
    if (current === undefined) return
    try {
      this.#refuse(current, deletion)
    } catch (error) {
      if (deletion.quiet) return
      throw error
    }
    await this.#untagAll(current, deletion.removals)
    await this.parts.records.delete(current.record.id)
    deletion.removals.push({ deleted: current.record.id })
    const parent = current.record.parentId === undefined ? undefined : this.parts.records.get(current.record.parentId)
    if (deletion.prune && parent !== undefined && !this.#isNamed(parent.record)) await this.#delete(parent, { ...deletion, force: false, quiet: true })
  }

  async prune(options: { readonly all: boolean; readonly createdBeforeMs?: number; readonly usedBy: UsedBy; readonly keep?: (image: Image) => boolean }): Promise<{ readonly removals: readonly ImageRemoval[]; readonly reclaimedBytes: number }> {
    const removals: ImageRemoval[] = []
    for (const { record } of this.parts.records.all()) {
      await this.#changes.run('images', async () => {
        const current = this.parts.records.get(record.id)
        if (current === undefined || (!options.all && this.#isNamed(current.record))) return
        const image = await this.describe(current)
        if (options.createdBeforeMs !== undefined && Date.parse(image.createdAt) >= options.createdBeforeMs) return
        if (options.keep?.(image) === true || options.usedBy(image.id).length > 0) return
        if (options.all) await this.#untagAll(current, removals)
        await this.#delete(current, { force: false, prune: true, usedBy: options.usedBy, removals, quiet: true })
      })
    }
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

  /** Every blob that an image needs. */
  *blobRoots(): Generator<Digest> {
    for (const { record } of this.parts.records.all()) {
      yield record.id
      if (record.manifestDigest !== undefined) yield record.manifestDigest
      for (const layer of [...record.layers, ...(record.compressed ?? [])]) yield layer.digest
    }
  }
}

interface Deletion {
  readonly force: boolean
  readonly prune: boolean
  readonly usedBy: UsedBy
  readonly removals: ImageRemoval[]
}

/** Canonical form of a name that shall be given: with a tag, without a digest. */
export function namedTag(name: string): string {
  const reference = withDefaultTag(parseReference(name))
  if (reference.digest !== undefined) throw new Fault('invalidArgument', `refusing to create a tag with a digest reference: '${name}'`)
  return canonicalReference(reference)
}

/** Canonical `name@digest`, without a tag. */
export function digestName(reference: Reference): string {
  const { tag: _tag, ...rest } = reference
  return canonicalReference(rest)
}

function repositoryOf(canonical: string): string {
  const { registry, repository } = parseReference(canonical)
  return `${registry}/${repository}`
}

function dropped(repoDigests: readonly string[], goes: (name: string) => boolean, removals: ImageRemoval[]): readonly string[] {
  for (const name of repoDigests.filter(goes)) removals.push({ untagged: familiarReference(parseReference(name)) })
  return repoDigests.filter((name) => !goes(name))
}

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

