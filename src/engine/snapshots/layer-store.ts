/**
 * Unpacked layers and the stacks made of them. A layer is a folder named after its diff id (`l/<16 hex>`), so that two
 * images share it whatever lies below it; a stack (chain id) is a small record that names its parent and its layer.
 *
 * Order on the disk: folder first, record second. What has a folder but no record was cut off and is thrown away on open,
 * as is a layer that had not reached the disk when the machine went down (another boot, not yet synced): it is unpacked again
 * from its blob when it is needed.
 */
import { randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault, isFault, systemErrorCode } from '#base/fault.ts'
import { readState, writeState } from '#base/files.ts'
import type { Clock, Timer } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import { KeyedSerial, TaskGroup } from '#base/task.ts'
import type { ConfinedJobs } from '#linux/contract/confined.ts'
import { isDigest } from '#oci/digest.ts'
import { syncJob } from '#oci/layer/jobs.ts'
import type { ChainId, DiffId } from '../contract/images.ts'

export interface Layer {
  readonly diffId: DiffId
  readonly folder: string
  readonly sizeBytes: number
  readonly inodes: number
}

interface LayerRecord extends Layer {
  readonly synced: boolean
}

export interface Chain {
  readonly parent: ChainId | undefined
  readonly diffId: DiffId
}

const formatVersion = 1

export interface LayerStoreOptions {
  readonly root: string
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
  readonly #adopting = new KeyedSerial<DiffId>()
  readonly #clock: Clock
  #syncTimer: Timer | undefined

  private constructor(options: LayerStoreOptions, bootId: string) {
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
    const store = new LayerStore(options, bootId)
    await store.#load()
    return store
  }

  async #load(): Promise<void> {
    const present = await readdir(join(this.#root, 'l'))
    const folders = new Set(present.filter((name) => /^[0-9a-f]{16}$/.test(name)))
    for (const name of present.filter((file) => file.endsWith('.json'))) {
      const record = parseLayer(await this.#readRecord(join(this.#root, 'l', name)), this.#bootId)
      const stem = name.slice(0, -'.json'.length)
      if (record !== undefined && folders.has(stem)) {
        this.#layers.set(record.diffId, { ...record, folder: join(this.#root, 'l', stem) })
        folders.delete(stem)
      } else await unlink(join(this.#root, 'l', name))
    }
    for (const orphan of folders) await this.discard(join(this.#root, 'l', orphan))
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

  /** Records are not synced one by one: after a power cut one may be empty, and then its layer is unpacked again. */
  async #readRecord(path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
    try {
      return await readState(path, formatVersion)
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

  /** A fresh empty folder on the same file system, to be filled and then adopted or discarded. */
  async scratch(): Promise<string> {
    const folder = join(this.#root, 't', randomUUID())
    await mkdir(folder, { mode: 0o755 })
    return folder
  }

  /** Makes a filled folder the layer `diffId`. When that layer exists already the folder is discarded. */
  async adopt(folder: string, layer: { readonly diffId: DiffId; readonly sizeBytes: number; readonly inodes: number }): Promise<Layer> {
    return await this.#adopting.run(layer.diffId, () => this.#adoptAlone(folder, layer))
  }

  async #adoptAlone(folder: string, layer: { readonly diffId: DiffId; readonly sizeBytes: number; readonly inodes: number }): Promise<Layer> {
    const existing = this.#layers.get(layer.diffId)
    if (existing !== undefined) {
      await this.discard(folder)
      return existing
    }
    const place = join(this.#root, 'l', shortName(layer.diffId))
    await rename(folder, place)
    const record: LayerRecord = { ...layer, folder: place, synced: false }
    await this.#writeLayer(record)
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
    await writeState(`${folder}.json`, { formatVersion, ...plain, bootId: this.#bootId }, { durable: false })
  }

  /** Records that `chainId` is `chain.diffId` on `chain.parent`; both must be here. */
  async addChain(chainId: ChainId, chain: Chain): Promise<void> {
    if (this.#chains.has(chainId)) return
    if (!this.#layers.has(chain.diffId)) throw new Fault('notFound', `layer ${chain.diffId} is not unpacked here`)
    if (chain.parent !== undefined && !this.#chains.has(chain.parent)) throw new Fault('notFound', `snapshot ${chain.parent} is not unpacked here`)
    await writeState(this.#chainPath(chainId), { formatVersion, chainId, ...chain }, { durable: false })
    this.#chains.set(chainId, chain)
  }

  /** Forgets stacks without child for which `inUse` is false, then layers of no stack. Answers the bytes freed. */
  async collect(inUse: (chainId: ChainId) => boolean): Promise<number> {
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
    const needed = new Set([...this.#chains.values()].map((chain) => chain.diffId))
    let freed = 0
    for (const layer of [...this.#layers.values()]) {
      if (needed.has(layer.diffId)) continue
      this.#layers.delete(layer.diffId)
      await unlink(`${layer.folder}.json`)
      await this.discard(layer.folder)
      freed += layer.sizeBytes
    }
    return freed
  }

  /** Throws a folder away: out of sight at once, deleted in the background. */
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

function shortName(diffId: DiffId): string {
  return diffId.slice(diffId.indexOf(':') + 1).slice(0, 16)
}

function parseLayer(state: Readonly<Record<string, unknown>> | undefined, bootId: string): LayerRecord | undefined {
  if (state === undefined) return undefined
  const { diffId, sizeBytes, inodes, synced } = state
  if (typeof diffId !== 'string' || !isDigest(diffId) || typeof sizeBytes !== 'number' || typeof inodes !== 'number') return undefined
  if (synced !== true && state['bootId'] !== bootId) return undefined
  return { diffId, sizeBytes, inodes, synced: synced === true, folder: '' }
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
