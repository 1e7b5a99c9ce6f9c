/**
 * Unpacked layers and the stacks made of them. A layer is a folder named after its diff id (`l/<16 hex>`), so that two
 * images share it whatever lies below it, or an EROFS image beside (`l/<16 hex>.erofs`) that is mounted there. A stack (chain id) is a
 * small record that names its parent and its layer.
 *
 * Order on the disk: folder or image first, record second. What has no record was cut off and is thrown away on open,
 * as is a layer that had not reached the disk when the machine went down (another boot, not yet synced): it is unpacked again
 * from its blob when it is needed.
 */
import { randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault, isFault, systemErrorCode } from '#base/fault.ts'
import { readState, sweepUnfinished, writeState } from '#base/files.ts'
import type { Clock, Timer } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import { KeyedSerial, TaskGroup } from '#base/task.ts'
import type { ConfinedJobs } from '#linux/contract/confined.ts'
import type { Mounts } from '#linux/contract/mounts.ts'
import { isDigest } from '#oci/digest.ts'
import { syncJob } from '#oci/layer/jobs.ts'
import type { ChainId, DiffId } from '../contract/images.ts'
import { LayerImages } from './layer-images.ts'

export interface Layer {
  readonly diffId: DiffId
  readonly folder: string
  readonly form: LayerForm
  readonly sizeBytes: number
  readonly inodes: number
}

/** Layers made here are folders, since an upper folder becomes one without a copy; fetched ones are images where the kernel mounts them. */
export type LayerForm = 'folder' | 'erofs'

/** What is about to become a layer: a folder with its tree, or with its image, named {@link imageName}. */
export type NewLayer = Omit<Layer, 'folder'>
export const imageName = 'image'

interface LayerRecord extends Layer {
  readonly synced: boolean
}

export interface Chain {
  readonly parent: ChainId | undefined
  readonly diffId: DiffId
}

/** Of stacks, and of layers that are folders. */
const formatVersion = 1
/** Of layers that are images: an older Berth would take the empty folder for the layer. */
const imageFormatVersion = 2

export interface LayerStoreOptions {
  readonly root: string
  readonly mounts: Mounts
  readonly confined: ConfinedJobs
  readonly logger: Logger
  readonly clock: Clock
}

/**
 * How long after a layer was unpacked its file system is synced. The kernel writes back by itself within half a minute; a sync
 * at once would compete with the transfer that is still going on.
 */
const syncAfterMs = 60_000

export class LayerStore implements AsyncDisposable {
  readonly #root: string
  readonly #confined: ConfinedJobs
  readonly #logger: Logger
  readonly #bootId: string
  readonly #layers = new Map<DiffId, LayerRecord>()
  readonly #chains = new Map<ChainId, Chain>()
  readonly #background: TaskGroup
  readonly #images: LayerImages
  readonly #adopting = new KeyedSerial<DiffId>()
  readonly #clock: Clock
  #syncTimer: Timer | undefined

  private constructor(options: LayerStoreOptions, bootId: string, images: LayerImages) {
    this.#images = images
    this.#root = options.root
    this.#confined = options.confined
    this.#logger = options.logger
    this.#clock = options.clock
    this.#bootId = bootId
    this.#background = new TaskGroup((error) => this.#logger.error({ error }, 'a snapshot task failed'))
  }

  static async open(options: LayerStoreOptions): Promise<LayerStore> {
    for (const folder of ['l', 'c', 't']) await mkdir(join(options.root, folder), { recursive: true, mode: 0o700 })
    const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
    const images = await LayerImages.open({ ...options, layers: join(options.root, 'l'), scratch: join(options.root, 't') })
    const store = new LayerStore(options, bootId, images)
    await store.#load()
    return store
  }

  async #load(): Promise<void> {
    await this.#loadLayers()
    await sweepUnfinished(join(this.#root, 'c'))
    const chains = new Map<ChainId, Chain>()
    for (const name of await readdir(join(this.#root, 'c'))) {
      const chain = name.endsWith('.json') ? parseChain(await this.#readRecord(join(this.#root, 'c', name))) : undefined
      if (chain !== undefined) chains.set(chain.chainId, chain)
    }
    for (const [chainId, { parent, diffId }] of chains) {
      if (isComplete(chainId, chains, this.#layers)) this.#chains.set(chainId, { parent, diffId })
      else await rm(this.#chainPath(chainId), { force: true })
    }
    for (const leftover of await readdir(join(this.#root, 't'))) this.#removeLater(join(this.#root, 't', leftover))
    if ([...this.#layers.values()].some((layer) => !layer.synced)) this.#syncLater()
  }

  async #loadLayers(): Promise<void> {
    const names = new Set(await readdir(join(this.#root, 'l')))
    for (const name of [...names].filter((file) => file.endsWith('.json'))) {
      const record = parseLayer(await this.#readRecord(join(this.#root, 'l', name)), this.#bootId)
      const stem = name.slice(0, -'.json'.length)
      const content = record?.form === 'erofs' ? `${stem}.erofs` : stem
      if (record === undefined || !names.has(content) || (record.form === 'erofs' && !(await this.canShowImages()))) continue
      const layer: LayerRecord = { ...record, folder: join(this.#root, 'l', stem) }
      if (layer.form === 'erofs') await mkdir(layer.folder, { recursive: true, mode: 0o755 })
      this.#layers.set(layer.diffId, layer)
      for (const kept of [name, content, stem]) names.delete(kept)
    }
    for (const orphan of names) {
      await this.#images.hide(join(this.#root, 'l', orphan))
      await this.discard(join(this.#root, 'l', orphan))
    }
  }

  /** Whether the kernel mounts EROFS images. */
  async canShowImages(): Promise<boolean> {
    return await this.#images.canShow(join(this.#root, 't', randomUUID()))
  }

  /** Records are not synced one by one: after a power cut one may be empty, and then its layer is unpacked again. */
  async #readRecord(path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
    try {
      return await readState(path, imageFormatVersion)
    } catch (error) {
      if (!isFault(error, 'invalidArgument') && !isFault(error, 'dataLoss')) throw error
      this.#logger.warn({ path, error }, 'a snapshot record is damaged and dropped')
      return undefined
    }
  }

  layer(diffId: DiffId): Layer | undefined {
    return this.#layers.get(diffId)
  }

  chain(chainId: ChainId): Chain | undefined {
    return this.#chains.get(chainId)
  }

  chainIds(): readonly ChainId[] {
    return [...this.#chains.keys()]
  }

  /** The layers of a stack, topmost first. `notFound` when it is not unpacked here. */
  stack(chainId: ChainId): readonly Layer[] {
    const layers: Layer[] = []
    for (let at: ChainId | undefined = chainId; at !== undefined; ) {
      const chain = this.#chains.get(at)
      const layer = chain === undefined ? undefined : this.#layers.get(chain.diffId)
      if (chain === undefined || layer === undefined) throw new Fault('notFound', `snapshot ${chainId} is not unpacked here`)
      layers.push(layer)
      at = chain.parent
    }
    return layers
  }

  /** As `stack`, and every layer can be seen in its folder. */
  async show(chainId: ChainId): Promise<readonly Layer[]> {
    const layers = this.stack(chainId)
    await Promise.all(layers.map((layer) => this.#show(layer)))
    return layers
  }

  /** Where the images of a stack are mounted that `show` showed. */
  imageFolders(chainId: ChainId): readonly string[] {
    return this.stack(chainId).flatMap(({ form, folder }) => (form === 'erofs' ? [folder] : []))
  }

  /** Tells where an image will be unmounted. */
  beforeHiding(listener: (folder: string) => Promise<void>): void {
    this.#images.beforeHiding = listener
  }

  async #show(layer: Layer): Promise<void> {
    if (layer.form === 'erofs') await this.#images.show(imageOf(layer), layer.folder)
  }

  /** Unmounts the images of layers that are in none of these stacks. */
  async hideAllBut(chainIds: Iterable<ChainId>): Promise<void> {
    const used = new Set([...chainIds].flatMap((chainId) => (this.#chains.has(chainId) ? this.stack(chainId).map(({ diffId }) => diffId) : [])))
    for (const layer of this.#layers.values()) if (!used.has(layer.diffId)) await this.#images.hide(layer.folder)
  }

  /** A fresh empty folder on the same file system, to be filled and then adopted or discarded. */
  async scratch(): Promise<string> {
    const folder = join(this.#root, 't', randomUUID())
    await mkdir(folder, { mode: 0o755 })
    return folder
  }

  /** Makes a filled folder the layer `diffId`. When that layer exists already the folder is discarded. */
  async adopt(folder: string, layer: NewLayer): Promise<Layer> {
    return await this.#adopting.run(layer.diffId, () => this.#adoptAlone(folder, layer))
  }

  async #adoptAlone(folder: string, layer: NewLayer): Promise<Layer> {
    const existing = this.#layers.get(layer.diffId)
    if (existing !== undefined) {
      await this.discard(folder)
      return existing
    }
    const place = join(this.#root, 'l', shortName(layer.diffId))
    const record: LayerRecord = { ...layer, folder: place, synced: false }
    if (layer.form === 'erofs') {
      await rename(join(folder, imageName), imageOf(record))
      await mkdir(place, { recursive: true, mode: 0o755 })
    } else await rename(folder, place)
    await this.#writeLayer(record)
    if (layer.form === 'erofs') await this.discard(folder)
    this.#layers.set(layer.diffId, record)
    this.#syncLater()
    return record
  }

  #syncLater(): void {
    this.#syncTimer ??= this.#clock.after(syncAfterMs, () => {
      this.#syncTimer = undefined
      if (!this.#background.signal.aborted) this.#background.spawn(() => this.#sync())
    }, { background: true })
  }

  /** One syncfs for all layers that wait for it. */
  async #sync(): Promise<void> {
    const waiting = [...this.#layers.values()].filter((layer) => !layer.synced)
    await this.#confined.run<undefined, void>(join(this.#root, 'l'), syncJob, undefined)
    for (const { diffId } of waiting) {
      const record = this.#layers.get(diffId)
      if (record === undefined) continue
      const synced = { ...record, synced: true }
      this.#layers.set(diffId, synced)
      await this.#writeLayer(synced)
    }
  }

  async #writeLayer(record: LayerRecord): Promise<void> {
    const { folder, ...plain } = record
    await writeState(`${folder}.json`, { formatVersion: record.form === 'erofs' ? imageFormatVersion : formatVersion, ...plain, bootId: this.#bootId }, { durable: false })
  }

  /** Records that `chainId` is `chain.diffId` on `chain.parent`; both must be here. */
  async addChain(chainId: ChainId, chain: Chain): Promise<void> {
    if (this.#chains.has(chainId)) return
    if (!this.#layers.has(chain.diffId)) throw new Fault('notFound', `layer ${chain.diffId} is not unpacked here`)
    if (chain.parent !== undefined && !this.#chains.has(chain.parent)) throw new Fault('notFound', `snapshot ${chain.parent} is not unpacked here`)
    // Known before it is on the disk, so that `collect` sees that somebody needs the layer.
    this.#chains.set(chainId, chain)
    try {
      await writeState(this.#chainPath(chainId), { formatVersion, chainId, ...chain }, { durable: false })
    } catch (error) {
      this.#chains.delete(chainId)
      throw error
    }
  }

  /** Forgets stacks without child for which `inUse` is false, then layers of no stack that nobody holds. Answers the bytes freed. */
  async collect(inUse: (chainId: ChainId) => boolean, isHeld: (diffId: DiffId) => boolean): Promise<number> {
    for (let removed = true; removed; ) {
      removed = false
      const parents = new Set([...this.#chains.values()].map((chain) => chain.parent))
      for (const chainId of [...this.#chains.keys()]) {
        if (parents.has(chainId) || inUse(chainId)) continue
        this.#chains.delete(chainId)
        await rm(this.#chainPath(chainId), { force: true })
        removed = true
      }
    }
    let freed = 0
    for (const { diffId } of [...this.#layers.values()]) {
      freed += await this.#adopting.run(diffId, async () => (isHeld(diffId) || this.#isStacked(diffId) ? 0 : await this.#remove(diffId)))
    }
    return freed
  }

  #isStacked(diffId: DiffId): boolean {
    return this.#chains.values().some((chain) => chain.diffId === diffId)
  }

  async #remove(diffId: DiffId): Promise<number> {
    const layer = this.#layers.get(diffId)
    if (layer === undefined) return 0
    this.#layers.delete(diffId)
    await unlink(`${layer.folder}.json`)
    await this.#images.hide(layer.folder)
    if (layer.form === 'erofs') await this.discard(imageOf(layer))
    await this.discard(layer.folder)
    return layer.sizeBytes
  }

  /** Throws a folder or file away: out of sight at once, deleted in the background. */
  async discard(folder: string): Promise<void> {
    const trash = join(this.#root, 't', randomUUID())
    try {
      await rename(folder, trash)
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return
      throw error
    }
    this.#removeLater(trash)
  }

  #removeLater(folder: string): void {
    if (!this.#background.signal.aborted) this.#background.spawn(() => rm(folder, { recursive: true, force: true }))
  }

  #chainPath(chainId: ChainId): string {
    return join(this.#root, 'c', `${chainId.replace(':', '-')}.json`)
  }

  /** Waits for deletions and syncs that are under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#syncTimer?.cancel()
    await this.#background.close()
  }
}

function imageOf({ folder }: Pick<Layer, 'folder'>): string {
  return `${folder}.erofs`
}

function shortName(diffId: DiffId): string {
  return diffId.slice(diffId.indexOf(':') + 1).slice(0, 16)
}

function parseLayer(state: Readonly<Record<string, unknown>> | undefined, bootId: string): LayerRecord | undefined {
  if (state === undefined) return undefined
  const { diffId, sizeBytes, inodes, synced } = state
  const form = state['form'] ?? 'folder'
  if (typeof diffId !== 'string' || !isDigest(diffId) || typeof sizeBytes !== 'number' || typeof inodes !== 'number') return undefined
  if (form !== 'folder' && form !== 'erofs') return undefined
  if (synced !== true && state['bootId'] !== bootId) return undefined
  return { diffId, sizeBytes, inodes, form, synced: synced === true, folder: '' }
}

function parseChain(state: Readonly<Record<string, unknown>> | undefined): (Chain & { readonly chainId: ChainId }) | undefined {
  if (state === undefined) return undefined
  const { chainId, parent, diffId } = state
  if (typeof chainId !== 'string' || typeof diffId !== 'string' || (parent !== undefined && typeof parent !== 'string')) return undefined
  return { chainId, parent, diffId }
}

function isComplete(chainId: ChainId, chains: ReadonlyMap<ChainId, Chain>, layers: ReadonlyMap<DiffId, Layer>): boolean {
  for (let at: ChainId | undefined = chainId; at !== undefined; ) {
    const chain = chains.get(at)
    if (chain === undefined || !layers.has(chain.diffId)) return false
    at = chain.parent
  }
  return true
}
