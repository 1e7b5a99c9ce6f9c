/**
 * `Snapshots` on overlayfs. Lower folders are the layers of a stack, upper and work folder belong to the active snapshot;
 * mounts are made through the linux room, everything that reads a tree a container may write to runs in a confined job.
 */
import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rmdir } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { Readable } from 'node:stream'
import { Fault, isFault } from '#base/fault.ts'
import { systemClock } from '#base/clock.ts'
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import { KeyedSerial } from '#base/task.ts'
import type { ConfinedJobs, FileInput } from '#linux/contract/confined.ts'
import type { IdMapping } from '#linux/contract/id-mapping.ts'
import type { Mounts } from '#linux/contract/mounts.ts'
import type { BlobIngester } from '#oci/blobs/contract.ts'
import type { LayerCompression } from '#oci/descriptor.ts'
import { mediaTypes } from '#oci/descriptor.ts'
import { parseDigest } from '#oci/digest.ts'
import type { Digest } from '#oci/digest.ts'
import { folderTimesJob, listJob, packJob, statJob, unpackJob } from '#oci/layer/jobs.ts'
import type { FolderTimes, ListedEntry, PackArgs, PackResult, StatResult, UnpackArgs, UnpackResult } from '#oci/layer/jobs.ts'
import type { ChainId, DiffId } from '../contract/images.ts'
import type { ArchiveTree, ArchiveWriteOptions, FileToLink, LayerDescriptor, PathStat, SnapshotChange, SnapshotFolders, SnapshotKey, SnapshotMountOptions, Snapshots } from '../contract/snapshots.ts'
import { ActiveStore, clearVolatileMark } from './active-store.ts'
import type { Active } from './active-store.ts'
import { chainIdOf } from './chain.ts'
import { changesAgainst, usageOf } from './changes.ts'
import { InitLayers, madeInitLayers, type InitLayersOptions } from './init-layers.ts'
import { imageName, LayerStore } from './layer-store.ts'
import type { LayerForm } from './layer-store.ts'
import { linkFiles } from './link-files.ts'
import { goMode } from './path-stat.ts'
import { mountedSnapshots, openShift, type MountedSnapshot, type ShiftedStore, type ShiftOptions } from './shifted.ts'

export interface OverlaySnapshotsOptions {
  /** A folder of its own on a file system that can be overlayfs's upper (not itself an overlay). */
  readonly root: string
  readonly mounts: Mounts
  readonly confined: ConfinedJobs
  /** Where `diff` stores layers. */
  readonly blobs: BlobIngester
  readonly logger: Logger
  readonly clock?: Clock
  /** What fetched layers become; left out: images where the kernel mounts them. */
  readonly layerForm?: LayerForm
  /** Absent: nothing can be mounted `shifted`. */
  readonly shift?: ShiftOptions
}

export interface LayerToUnpack {
  readonly diffId?: DiffId
  readonly blob: Readable | FileInput
  readonly compression: LayerCompression | 'detect'
  readonly signal?: AbortSignal
}

/** What the images room needs beyond the contract: layers unpacked side by side, stacked afterwards. */
export interface LayerUnpacker {
  hasLayer(diffId: DiffId): boolean
  /** Unpacks a layer, whatever it will lie on, and verifies its diff id where one is given (`dataLoss`). Answers the diff id. */
  unpackLayer(layer: LayerToUnpack): Promise<Digest>
  /** Stacks an unpacked layer on a stack. */
  stack(parent: ChainId | undefined, diffId: DiffId): Promise<ChainId>
  /** Says that an image needs these stacks now. What was stacked within the last minute and not claimed yet is spared by `collect`. */
  claim(chainIds: readonly ChainId[]): void
  /** Spares these layers from `collect`, unpacked already or yet to be, stacked or not, until it is disposed of. */
  hold(diffIds: readonly DiffId[]): Disposable
}

export type OverlaySnapshots = Snapshots & LayerUnpacker & AsyncDisposable

/** Opens the store below `root` and throws away what a crash left half-made. */
export async function openOverlaySnapshots(options: OverlaySnapshotsOptions): Promise<OverlaySnapshots> {
  const layers = await LayerStore.open({ ...options, clock: options.clock ?? systemClock })
  const actives = await ActiveStore.open(options.root, (folder) => layers.discard(folder))
  for (const folder of ['e', 'm']) await mkdir(join(options.root, folder), { recursive: true, mode: 0o755 })
  for (const leftover of await readdir(join(options.root, 'm'))) {
    const target = join(options.root, 'm', leftover)
    await options.mounts.unmount(target, { lazy: true })
    await rmdir(target)
  }
  const mounted = await mountedSnapshots(options, actives.all())
  const shifted = await openShift(options)
  if (shifted !== undefined) layers.beforeHiding((folder) => shifted.hide(folder))
  return new OverlayDriver(options, { layers, actives, mounted, madeInits: await madeInitLayers(options.root), shifted })
}

/**
 * What Berth relies on, whatever the kernel's defaults are: layers must mean the same on every machine. With `xino` a file keeps its device
 * and inode number when it is written to, though its layer is a file system of its own.
 */
const overlayOptions = ['index=off', 'metacopy=off', 'redirect_dir=off', 'xino=on']

/** Who stacks names what needs the stack within this time: an image, a cache of builds, a container. */
const unclaimedMs = 60_000

class OverlayDriver implements OverlaySnapshots {
  readonly #options: OverlaySnapshotsOptions
  readonly #layers: LayerStore
  readonly #inits: InitLayers
  readonly #actives: ActiveStore
  /** By target. */
  readonly #mounted: Map<string, MountedSnapshot>
  readonly #shifted: ShiftedStore | undefined
  readonly #serial = new KeyedSerial<string>()
  /** Stacks that no image has claimed yet, and when they were made (monotonic): a build or a pull is under way, or was given up. */
  readonly #unclaimed = new Map<ChainId, number>()
  readonly #held = new Map<DiffId, number>()
  readonly #clock: Clock
  readonly #looks = new Map<SnapshotKey, Look>()
  /** What `diff` counted, so that `commit` need not count again. */
  readonly #sizes = new Map<DiffId, PackResult>()

  constructor(options: OverlaySnapshotsOptions, found: { readonly layers: LayerStore; readonly actives: ActiveStore; readonly mounted: Map<string, MountedSnapshot>; readonly madeInits: readonly string[]; readonly shifted: ShiftedStore | undefined }) {
    const { root, mounts } = options
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#layers = found.layers
    this.#actives = found.actives
    this.#mounted = found.mounted
    this.#shifted = found.shifted
    const withTree: InitLayersOptions['withTree'] = ({ chainId, upper, work }, task) =>
      this.#withScratchMount(async (target) => {
        await mounts.overlay({ target, lower: await this.#showLower({ parent: chainId, init: false }), upper, work, options: [...overlayOptions, 'volatile'] })
        await task(target)
      })
    this.#inits = new InitLayers({ root, withTree, discard: (folder) => this.#layers.discard(folder) }, found.madeInits)
  }

  // ---- reading ----

  async has(chainId: ChainId): Promise<boolean> {
    return this.#layers.chain(chainId) !== undefined
  }

  async usage(keyOrChainId: string): Promise<{ readonly sizeBytes: number; readonly inodes: number }> {
    const chain = this.#layers.chain(keyOrChainId)
    const layer = chain === undefined ? undefined : this.#layers.layer(chain.diffId)
    if (layer !== undefined) return { sizeBytes: layer.sizeBytes, inodes: layer.inodes }
    return usageOf(await this.#list(this.#actives.get(keyOrChainId)))
  }

  async folders(keyOrChainId: string): Promise<SnapshotFolders> {
    if (this.#layers.chain(keyOrChainId) !== undefined) {
      const [upper = '', ...lower] = this.#stack(keyOrChainId)
      return { upper, lower }
    }
    const active = this.#actives.get(keyOrChainId)
    return { upper: active.upper, work: active.work, lower: this.#lowerOf(active) }
  }

  async changes(key: SnapshotKey): Promise<readonly SnapshotChange[]> {
    const active = this.#actives.get(key)
    const entries = await this.#list(active)
    if (active.parent === undefined && !active.init) return changesAgainst(entries, undefined)
    return await this.#withScratchMount(async (target) => {
      await this.#options.mounts.overlay({ target, lower: [...(await this.#showLower(active)), join(this.#options.root, 'e')], options: overlayOptions.slice(1) })
      return changesAgainst(entries, target)
    })
  }

  async #list(active: Active): Promise<readonly ListedEntry[]> {
    return await this.#options.confined.run<undefined, readonly ListedEntry[]>(active.upper, listJob, undefined)
  }

  // ---- mounting ----

  async prepare(key: SnapshotKey, parent: ChainId | undefined, options: { readonly init?: boolean } = {}): Promise<void> {
    const like = parent === undefined ? undefined : (await this.#layers.show(parent))[0]?.folder
    const init = options.init === true
    await this.#serial.run(`k ${key}`, async () => {
      await this.#actives.create(key, { parent, init }, like)
      if (init) await this.#inits.ensure(parent)
    })
  }

  async mount(key: SnapshotKey, target: string, options: SnapshotMountOptions = {}): Promise<void> {
    await this.#serial.run(`k ${key}`, async () => {
      const active = this.#actives.get(key)
      const holder = this.#mounted.get(target)?.key
      if (holder === key) return
      if (holder !== undefined) throw new Fault('conflict', `snapshot '${holder}' is mounted at ${target}`)
      await this.#mountAt(active, target, options)
      this.#mounted.set(target, { key, ...(options.shifted === true ? { ids: this.#shiftedStore().mapping } : {}) })
    })
  }

  #shiftedStore(): ShiftedStore {
    if (this.#shifted === undefined) throw new Fault('internal', 'no user namespace is set up for containers')
    return this.#shifted
  }

  async #mountAt(active: Active, target: string, options: SnapshotMountOptions): Promise<void> {
    if (active.init) await this.#inits.ensure(active.parent)
    const shown = await this.#showLower(active)
    const shifted = options.shifted === true ? this.#shiftedStore() : undefined
    if (shifted !== undefined && active.parent !== undefined) await shifted.show(this.#layers.imageFolders(active.parent))
    const at = (path: string): string => shifted?.at(path) ?? path
    const lower = shown.map(at)
    if (options.readonly === true) {
      // Without upper folder; overlayfs wants two lower ones then.
      await this.#options.mounts.overlay({ target, lower: [at(active.upper), ...lower], options: overlayOptions.slice(1) })
      return
    }
    await clearVolatileMark(active)
    await this.#options.mounts.overlay({ target, lower, upper: at(active.upper), work: at(active.work), options: [...overlayOptions, ...(options.volatile === true ? ['volatile'] : [])] })
  }

  /** Top first. overlayfs refuses a folder that stands twice; what the lower one of two equal layers has, the upper one has as well. */
  #stack(chainId: ChainId): string[] {
    return [...new Set(this.#layers.stack(chainId).map((layer) => layer.folder))]
  }

  /** What lies below an upper folder; never nothing, for overlayfs wants something. */
  #lowerOf({ parent, init }: Pick<Active, 'parent' | 'init'>): string[] {
    return [...(init ? [this.#inits.folder(parent)] : []), ...(parent === undefined ? [join(this.#options.root, 'e')] : this.#stack(parent))]
  }

  /** The same, with everything in its place. */
  async #showLower(active: Pick<Active, 'parent' | 'init'>): Promise<string[]> {
    if (active.parent !== undefined) await this.#layers.show(active.parent)
    return this.#lowerOf(active)
  }

  async unmount(target: string): Promise<void> {
    await this.#options.mounts.unmount(target, { lazy: true })
    this.#mounted.delete(target)
  }

  async remove(key: SnapshotKey): Promise<void> {
    await this.#serial.run(`k ${key}`, async () => {
      const active = this.#actives.find(key)
      if (active === undefined) return
      this.#mustBeUnmounted(key)
      await this.#endLook(key)
      this.#actives.forget(key)
      await this.#layers.discard(active.folder)
    })
  }

  #mustBeUnmounted(key: SnapshotKey): void {
    const mount = this.#mountOf(key)
    if (mount !== undefined) throw new Fault('conflict', `snapshot '${key}' is mounted at ${mount.path}: unmount it first`)
  }

  #mountOf(key: SnapshotKey): Pick<OpenRoot, 'path' | 'ids'> | undefined {
    for (const [path, { key: holder, ids }] of this.#mounted) if (holder === key) return { path, ...(ids === undefined ? {} : { ids }) }
    return undefined
  }

  async keys(): Promise<readonly SnapshotKey[]> {
    return this.#actives.all().map((active) => active.key)
  }

  // ---- committing ----

  async link(key: SnapshotKey, files: readonly FileToLink[]): Promise<void> {
    if (files.length === 0) return
    this.#mustBeUnmounted(key)
    const { upper } = this.#actives.get(key)
    await this.#options.confined.run<readonly FolderTimes[], void>(upper, folderTimesJob, await linkFiles(upper, files))
  }

  async diff(key: SnapshotKey, options: { readonly signal?: AbortSignal } = {}): Promise<LayerDescriptor> {
    const active = this.#actives.get(key)
    await using ingest = await this.#options.blobs.begin()
    await ingest.fill(async (fd) => {
      const { filled, ...size } = await this.#options.confined.run<PackArgs, PackResult>(active.upper, packJob, { kind: 'layer', path: '/', name: '', fd }, options)
      if (filled === undefined) throw new Fault('internal', 'a layer was packed, but not into its blob')
      this.#sizes.set(filled.digest, size)
      return filled
    })
    const blob = await ingest.commit()
    return { diffId: blob.digest, digest: blob.digest, mediaType: mediaTypes.ociLayer, sizeBytes: blob.sizeBytes }
  }

  async commit(key: SnapshotKey, layer: LayerDescriptor): Promise<ChainId> {
    return await this.#serial.run(`k ${key}`, async () => {
      const active = this.#actives.get(key)
      this.#mustBeUnmounted(key)
      const chainId = chainIdOf(active.parent, layer.diffId)
      await this.#serial.run(`l ${layer.diffId}`, async () => {
        const { sizeBytes, entries } = this.#sizes.get(layer.diffId) ?? (await this.#measured(active))
        this.#sizes.delete(layer.diffId)
        await this.#layers.adopt(active.upper, { diffId: layer.diffId, form: 'folder', sizeBytes, inodes: entries })
        await this.#addChain(chainId, active.parent, layer.diffId)
      })
      this.#actives.forget(key)
      await this.#layers.discard(active.folder)
      return chainId
    })
  }

  async #measured(active: Active): Promise<PackResult> {
    const { sizeBytes, inodes } = usageOf(await this.#list(active))
    return { sizeBytes, entries: inodes }
  }

  async unpack(layer: { readonly parent: ChainId | undefined; readonly diffId: DiffId; readonly tar: Readable; readonly signal?: AbortSignal }): Promise<ChainId> {
    const chainId = chainIdOf(layer.parent, layer.diffId)
    if (this.#layers.chain(chainId) !== undefined) layer.tar.destroy()
    else {
      await this.unpackLayer({ diffId: layer.diffId, blob: layer.tar, compression: 'none', ...(layer.signal === undefined ? {} : { signal: layer.signal }) })
      await this.stack(layer.parent, layer.diffId)
    }
    return chainId
  }

  hasLayer(diffId: DiffId): boolean {
    return this.#layers.layer(diffId) !== undefined
  }

  async unpackLayer(layer: LayerToUnpack): Promise<Digest> {
    const { diffId } = layer
    if (diffId === undefined) return await this.#unpackNow(layer)
    return await this.#serial.run(`l ${diffId}`, async () => {
      if (!this.hasLayer(diffId)) return await this.#unpackNow(layer)
      if (layer.blob instanceof Readable) layer.blob.destroy()
      return parseDigest(diffId, 'diffId')
    })
  }

  async #unpackNow(layer: LayerToUnpack): Promise<Digest> {
    const folder = await this.#layers.scratch()
    try {
      const form = this.#options.layerForm ?? ((await this.#layers.canShowImages()) ? 'erofs' : 'folder')
      const args: UnpackArgs = { kind: 'layer', compression: layer.compression, base: '/', ...(form === 'erofs' ? { image: `/${imageName}` } : {}) }
      const result = await this.#options.confined.run<UnpackArgs, UnpackResult>(folder, unpackJob, args, { input: layer.blob, ...(layer.signal === undefined ? {} : { signal: layer.signal }) })
      if (layer.diffId !== undefined && result.diffId !== layer.diffId) throw new Fault('dataLoss', `a layer unpacks to ${result.diffId}, but the image promises ${layer.diffId}`)
      await this.#layers.adopt(folder, { diffId: result.diffId, form, sizeBytes: result.sizeBytes, inodes: result.entries })
      return result.diffId
    } catch (error) {
      await this.#layers.discard(folder)
      throw error
    }
  }

  async stack(parent: ChainId | undefined, diffId: DiffId): Promise<ChainId> {
    const chainId = chainIdOf(parent, diffId)
    await this.#addChain(chainId, parent, diffId)
    return chainId
  }

  async #addChain(chainId: ChainId, parent: ChainId | undefined, diffId: DiffId): Promise<void> {
    if (this.#layers.chain(chainId) !== undefined) return
    this.#unclaimed.set(chainId, this.#clock.monotonicMs())
    await this.#layers.addChain(chainId, { parent, diffId })
  }

  claim(chainIds: readonly ChainId[]): void {
    for (const chainId of chainIds) this.#unclaimed.delete(chainId)
  }

  hold(diffIds: readonly DiffId[]): Disposable {
    for (const diffId of diffIds) this.#held.set(diffId, (this.#held.get(diffId) ?? 0) + 1)
    let held = diffIds
    return {
      [Symbol.dispose]: () => {
        for (const diffId of held) {
          const count = this.#held.get(diffId) ?? 1
          if (count === 1) this.#held.delete(diffId)
          else this.#held.set(diffId, count - 1)
        }
        held = []
      },
    }
  }

  async collect(inUse: (chainId: ChainId) => boolean): Promise<number> {
    const held = new Set(this.#actives.all().map((active) => active.parent))
    const spared = this.#clock.monotonicMs() - unclaimedMs
    for (const [chainId, stackedAtMs] of this.#unclaimed) if (stackedAtMs < spared) this.#unclaimed.delete(chainId)
    const freed = await this.#layers.collect((chainId) => held.has(chainId) || this.#unclaimed.has(chainId) || inUse(chainId), (diffId) => this.#held.has(diffId))
    await this.#inits.collect(this.#layers.chainIds())
    return freed
  }

  // ---- archives ----

  async statPath(key: SnapshotKey, path: string, { tree }: { readonly tree?: ArchiveTree } = {}): Promise<PathStat> {
    return await this.#withRoot(key, tree, async ({ path: root }) => asPathStat(await this.#stat(root, path), tree))
  }

  async #stat(root: string, path: string): Promise<StatResult> {
    return await this.#options.confined.run<{ readonly path: string }, StatResult>(root, statJob, { path: posix.join('/', path) })
  }

  async readArchive(key: SnapshotKey, path: string, options: { readonly signal?: AbortSignal; readonly tree?: ArchiveTree } = {}): Promise<{ readonly stat: PathStat; readonly tar: Readable }> {
    const wanted = posix.join('/', path)
    const root = await this.#openTree(key, options.tree)
    try {
      const found = await this.#stat(root.path, wanted)
      const contentOnly = /\/\.$/.test(path)
      const source = wanted.endsWith('/') || contentOnly ? (found.resolved?.path ?? wanted) : wanted
      const name = contentOnly ? '.' : found.name === '/' ? (options.tree?.name ?? '') : found.name
      const tar = this.#pack(root, { kind: 'tree', path: source, name }, options)
      return { stat: asPathStat(found, options.tree), tar }
    } catch (error) {
      await root.close()
      throw error
    }
  }

  async exportRoot(key: SnapshotKey, options: { readonly signal?: AbortSignal } = {}): Promise<Readable> {
    const root = await this.#openRoot(key)
    return this.#pack(root, { kind: 'tree', path: '/', name: '' }, options)
  }

  /** The root is given back when the stream has ended, however it ended. */
  #pack(root: OpenRoot, args: PackArgs, options: { readonly signal?: AbortSignal }): Readable {
    const packing = this.#options.confined.start<PackArgs, PackResult>(root.path, packJob, { ...args, ...(root.ids === undefined ? {} : { ids: root.ids }) }, options)
    packing.output.once('close', () => {
      this.#closeArchive(packing, root).catch((error: unknown) => this.#options.logger.error({ error }, 'an archive could not be closed'))
    })
    // A failure reaches the reader through the stream.
    packing.result.catch((error: unknown) => this.#options.logger.debug({ error }, 'an archive ended early'))
    return packing.output
  }

  async #closeArchive(packing: AsyncDisposable, root: OpenRoot): Promise<void> {
    await packing[Symbol.asyncDispose]()
    await root.close()
  }

  async writeArchive(key: SnapshotKey, path: string, tar: Readable, options: ArchiveWriteOptions = {}): Promise<void> {
    await this.#withRoot(key, options.tree, async ({ path: root, ids }) => {
      const base = await this.#unpackBase(root, posix.join('/', path), options.makeFolder === true)
      const args: UnpackArgs = {
        kind: 'tree', compression: 'detect', base, makeBase: options.makeFolder === true,
        keepKinds: options.noOverwriteDirNonDir === true,
        ...(options.owner === undefined ? {} : { owner: options.owner }),
        ...(ids === undefined ? {} : { ids }),
      }
      await this.#options.confined.run<UnpackArgs, UnpackResult>(root, unpackJob, args, { input: tar, ...(options.signal === undefined ? {} : { signal: options.signal }) })
    })
  }

  async #unpackBase(root: string, path: string, mayBeMade: boolean): Promise<string> {
    try {
      const found = await this.#stat(root, path)
      if (found.resolved === undefined) throw new Fault('notFound', `${path} is a link to what is not there`)
      if (!found.resolved.isFolder) throw new Fault('invalidArgument', `extraction point is not a directory: ${path}`)
      return found.resolved.path
    } catch (error) {
      if (mayBeMade && isFault(error, 'notFound')) return path
      throw error
    }
  }

  async #openTree(key: SnapshotKey, tree: ArchiveTree | undefined): Promise<OpenRoot> {
    return tree === undefined ? await this.#openRoot(key) : { path: tree.root, ...(tree.ids === undefined ? {} : { ids: tree.ids }), close: async () => {} }
  }

  async #withRoot<T>(key: SnapshotKey, tree: ArchiveTree | undefined, task: (root: OpenRoot) => Promise<T>): Promise<T> {
    const root = await this.#openTree(key, tree)
    try {
      return await task(root)
    } finally {
      await root.close()
    }
  }

  /** Where the whole tree of a snapshot can be seen: its own mount, or one made for the occasion and shared by all who look. */
  async #openRoot(key: SnapshotKey): Promise<OpenRoot> {
    return await this.#serial.run(`k ${key}`, async () => {
      const active = this.#actives.get(key)
      const existing = this.#mountOf(key)
      if (existing !== undefined) return { ...existing, close: async () => {} }
      const looked = this.#looks.get(key) ?? { target: await this.#mountScratch(active), users: 0 }
      this.#looks.set(key, looked)
      looked.users += 1
      return { path: looked.target, close: () => this.#closeLook(key, looked) }
    })
  }

  async #mountScratch(active: Active): Promise<string> {
    const target = await this.#makeScratchTarget()
    try {
      await this.#mountAt(active, target, {})
      return target
    } catch (error) {
      await rmdir(target)
      throw error
    }
  }

  async #closeLook(key: SnapshotKey, looked: Look): Promise<void> {
    await this.#serial.run(`k ${key}`, async () => {
      looked.users -= 1
      if (looked.users === 0 && this.#looks.get(key) === looked) await this.#endLook(key)
    })
  }

  /** Whoever still reads sees the tree until the last descriptor is closed (lazy unmount). */
  async #endLook(key: SnapshotKey): Promise<void> {
    const looked = this.#looks.get(key)
    if (looked === undefined) return
    this.#looks.delete(key)
    await this.#options.mounts.unmount(looked.target, { lazy: true })
    await rmdir(looked.target)
  }

  async #withScratchMount<T>(task: (target: string) => Promise<T>): Promise<T> {
    const target = await this.#makeScratchTarget()
    try {
      return await task(target)
    } finally {
      await this.#options.mounts.unmount(target, { lazy: true })
      await rmdir(target)
    }
  }

  async #makeScratchTarget(): Promise<string> {
    const target = join(this.#options.root, 'm', randomUUID().slice(0, 8))
    await mkdir(target)
    return target
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const mounted = [...this.#mounted.values()].flatMap(({ key }) => this.#actives.find(key)?.parent ?? [])
    await this.#layers.hideAllBut(mounted)
    await this.#layers[Symbol.asyncDispose]()
    // Whoever is mounted through it has a hold on it.
    await this.#shifted?.close()
  }
}

/** A mount made to look into a snapshot that is not mounted. */
interface Look {
  readonly target: string
  users: number
}

interface OpenRoot {
  readonly path: string
  /** How owners are shown there, where they are not those on the disk. */
  readonly ids?: IdMapping
  close(): Promise<void>
}

function asPathStat(found: StatResult, tree: ArchiveTree | undefined): PathStat {
  return { name: found.name === '/' ? (tree?.name ?? found.name) : found.name, sizeBytes: found.sizeBytes, goMode: goMode(found), modifiedAtNs: found.modifiedNs, linkTarget: found.linkTarget }
}
