/** What the build cache holds, as clients see it, and what of it goes when room is wanted. */
import { statfs } from 'node:fs/promises'
import type { Clock } from '#base/clock.ts'
import type { ImageLister } from '../contract/images.ts'
import type { BuildCacheEntry, BuildPruneOptions } from '../http/backend.ts'
import { chainIdsOf } from '../snapshots/chain.ts'
import { cacheKey, type BuildCache } from './cache.ts'
import type { FolderUsage } from './cache-mounts.ts'

/** Frees layers that neither an image nor the cache needs; answers the bytes. */
export interface LayerCollector {
  collect(): Promise<number>
}

/** Folders kept for builds to come. */
export interface KeptFolders {
  usage(): Promise<readonly FolderUsage[]>
  /** False: a build has it, or it is gone already. */
  remove(name: string): Promise<boolean>
}

export interface CacheKeeperOptions {
  readonly cache: BuildCache
  readonly mounts: KeptFolders
  readonly contexts: KeptFolders
  readonly images: ImageLister & LayerCollector
  readonly clock: Clock
  readonly stateDir: string
  /** Bytes of layers and folders that the cache keeps; 10 GiB by default. */
  readonly maxCacheBytes?: number
}

/** What the cache may hold before the least used of it goes. */
const defaultCacheBytes = 10 * 1024 ** 3

/** Under what a cached step goes by in lists. */
function shortKey(key: string): string {
  return key.slice(0, 25)
}

interface ShownEntry {
  readonly shown: BuildCacheEntry
  readonly usedAtMs: number
  /** Of the step; undefined: it is a folder. */
  readonly stepKey?: string
  /** False: it is in use after all. */
  readonly remove: () => Promise<boolean>
}

interface Bounds {
  readonly keepBytes: number
  readonly usedBeforeMs?: number
}

function nsOf(ms: number): bigint {
  return BigInt(Math.round(ms)) * 1_000_000n
}

export class CacheKeeper {
  readonly #options: CacheKeeperOptions

  constructor(options: CacheKeeperOptions) {
    this.#options = options
  }

  async keepWithinBounds(): Promise<void> {
    const keepBytes = this.#options.maxCacheBytes ?? defaultCacheBytes
    if ((await this.#takenBytes()) <= keepBytes) return
    const entries = await this.#entries()
    // A step in use may be forgotten: its build keeps the layer.
    const chosen = choose(entries, { keepBytes }, ({ shown, stepKey }) => stepKey !== undefined || !shown.inUse)
    await this.#forget(chosen, chosen.at(-1)?.usedAtMs ?? 0)
  }

  /** Without asking for the images: every build asks for this. */
  async #takenBytes(): Promise<number> {
    const { cache, mounts, contexts } = this.#options
    const folders = [...(await mounts.usage()), ...(await contexts.usage())]
    return cache.usage().sizeBytes + folders.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  }

  async diskUsage(): Promise<readonly BuildCacheEntry[]> {
    return (await this.#entries()).map(({ shown }) => shown)
  }

  async #entries(): Promise<readonly ShownEntry[]> {
    const { mounts, contexts } = this.#options
    return [...(await this.#steps()), ...(await foldersOf(mounts, 'exec.cachemount')), ...(await foldersOf(contexts, 'source.local'))]
  }

  /** A step whose layer an image has is shared: forgetting it frees nothing. */
  async #steps(): Promise<readonly ShownEntry[]> {
    const inImages = new Set((await this.#options.images.list({ all: true })).flatMap(({ config }) => chainIdsOf(config)))
    return this.#options.cache.entries().map(({ key, created, usedAtMs, layer, description, inUse, parentKey }) => ({
      stepKey: key,
      usedAtMs,
      remove: () => Promise.resolve(true),
      shown: {
        id: shortKey(key), parentId: parentKey === undefined ? '' : shortKey(parentKey), type: 'regular', description, sizeBytes: layer.sizeBytes, createdAtNs: nsOf(Date.parse(created) || usedAtMs), lastUsedAtNs: nsOf(usedAtMs),
        usageCount: 1, inUse, shared: inImages.has(layer.chainId),
      },
    }))
  }

  async prune({ all, unusedForMs, matches, ...space }: BuildPruneOptions): Promise<{ readonly deleted: readonly string[]; readonly reclaimedBytes: number }> {
    const entries = await this.#entries()
    const keepBytes = await this.#bytesToKeep(totalOf(entries), space)
    if (keepBytes === undefined) return { deleted: [], reclaimedBytes: 0 }
    const usedBeforeMs = unusedForMs === undefined ? undefined : this.#options.clock.nowMs() - unusedForMs
    const chosen = choose(entries, { keepBytes, ...(usedBeforeMs === undefined ? {} : { usedBeforeMs }) }, ({ shown }) => !shown.inUse && (all || !shown.shared) && (matches?.(shown) ?? true))
    // What has no layer (contents, times of images) goes only with everything else.
    const isEverything = all && matches === undefined && !entries.some(({ shown }) => shown.inUse)
    const othersUsedBeforeMs = !isEverything ? 0 : keepBytes > 0 ? (chosen.at(-1)?.usedAtMs ?? 0) : (usedBeforeMs ?? Number.POSITIVE_INFINITY)
    return await this.#forget(chosen, othersUsedBeforeMs)
  }

  async #forget(chosen: readonly ShownEntry[], othersUsedBeforeMs: number): Promise<{ readonly deleted: readonly string[]; readonly reclaimedBytes: number }> {
    const gone: ShownEntry[] = []
    for (const entry of chosen) if (await entry.remove()) gone.push(entry)
    const steps = new Set(gone.flatMap(({ stepKey }) => (stepKey === undefined ? [] : [stepKey])))
    await this.#options.cache.forget({ steps, othersUsedBeforeMs })
    const layerBytes = steps.size === 0 ? 0 : await this.#options.images.collect()
    return { deleted: gone.map(({ shown }) => shown.id), reclaimedBytes: layerBytes + totalOf(gone.filter(({ stepKey }) => stepKey === undefined)) }
  }

  /** 0: nothing; undefined: everything. As BuildKit reckons it, but that enough free space keeps everything where nothing else is bounded. */
  async #bytesToKeep(totalBytes: number, { reservedBytes = 0, maxUsedBytes = 0, minFreeBytes = 0 }: Pick<BuildPruneOptions, 'reservedBytes' | 'maxUsedBytes' | 'minFreeBytes'>): Promise<number | undefined> {
    if (minFreeBytes === 0) return Math.max(maxUsedBytes, reservedBytes)
    const { bavail, bsize } = await statfs(this.#options.stateDir)
    const excess = minFreeBytes - bavail * bsize
    if (excess <= 0) return maxUsedBytes === 0 && reservedBytes === 0 ? undefined : Math.max(maxUsedBytes, reservedBytes)
    const left = totalBytes - excess
    return Math.max(0, maxUsedBytes === 0 ? left : Math.min(maxUsedBytes, left), reservedBytes)
  }
}

function totalOf(entries: readonly ShownEntry[]): number {
  return entries.reduce((sum, { shown }) => sum + shown.sizeBytes, 0)
}

async function foldersOf(folders: KeptFolders, type: 'exec.cachemount' | 'source.local'): Promise<readonly ShownEntry[]> {
  return (await folders.usage()).map(({ name, description, sizeBytes, createdAtMs, usedAtMs, usageCount, inUse }) => ({
    usedAtMs,
    remove: () => folders.remove(name),
    shown: { id: shortKey(cacheKey(type, name)), parentId: '', type, description, sizeBytes, createdAtNs: nsOf(createdAtMs), lastUsedAtNs: nsOf(usedAtMs), usageCount, inUse, shared: false },
  }))
}

/** What was not used for longest, until what is left has at most `keepBytes`; 0: all that is selected. */
function choose(entries: readonly ShownEntry[], { keepBytes, usedBeforeMs }: Bounds, isSelected: (entry: ShownEntry) => boolean): readonly ShownEntry[] {
  let leftBytes = totalOf(entries)
  const chosen: ShownEntry[] = []
  for (const entry of entries.toSorted((a, b) => a.usedAtMs - b.usedAtMs)) {
    if (keepBytes > 0 && leftBytes <= keepBytes) break
    if (usedBeforeMs !== undefined && entry.usedAtMs >= usedBeforeMs) break
    if (!isSelected(entry)) continue
    leftBytes -= entry.shown.sizeBytes
    chosen.push(entry)
  }
  return chosen
}
