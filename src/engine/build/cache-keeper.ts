/** What the build cache holds, as clients see it, and what of it goes when room is wanted. */
import { statfs } from 'node:fs/promises'
import type { Clock } from '#base/clock.ts'
import type { ImageLister } from '../contract/images.ts'
import type { BuildCacheEntry, BuildPruneOptions } from '../http/backend.ts'
import { chainIdsOf } from '../snapshots/chain.ts'
import type { BuildCache } from './cache.ts'
import type { CacheMounts } from './cache-mounts.ts'
import type { KeptContexts } from './kept-contexts.ts'

/** Frees layers that neither an image nor the cache needs; answers the bytes. */
export interface LayerCollector {
  collect(): Promise<number>
}

export interface CacheKeeperOptions {
  readonly cache: BuildCache
  readonly mounts: CacheMounts
  readonly contexts: KeptContexts
  readonly images: ImageLister & LayerCollector
  readonly clock: Clock
  readonly stateDir: string
  /** Bytes of layers that the cache keeps; 10 GiB by default. */
  readonly maxCacheBytes?: number
}

/** What the cache may hold before the least used of it goes. */
const defaultCacheBytes = 10 * 1024 ** 3

/** Under what a cached step goes by in lists. */
function shortKey(key: string): string {
  return key.slice(0, 25)
}

interface ShownEntry {
  readonly key: string
  readonly shown: BuildCacheEntry
}

export class CacheKeeper {
  readonly #options: CacheKeeperOptions

  constructor(options: CacheKeeperOptions) {
    this.#options = options
  }

  async keepWithinBounds(): Promise<void> {
    const { cache, images, maxCacheBytes } = this.#options
    const gone = await cache.prune({ keepBytes: maxCacheBytes ?? defaultCacheBytes })
    if (gone.length > 0) await images.collect()
  }

  async diskUsage(): Promise<readonly BuildCacheEntry[]> {
    return (await this.#entries()).map(({ shown }) => shown)
  }

  /** A step whose layer an image has is shared: forgetting it frees nothing. */
  async #entries(): Promise<readonly ShownEntry[]> {
    const ms = (time: number): bigint => BigInt(Math.round(time)) * 1_000_000n
    const inImages = new Set((await this.#options.images.list({ all: true })).flatMap(({ config }) => chainIdsOf(config)))
    return this.#options.cache.entries().map(({ key, created, usedAtMs, layer, description, inUse, parentKey }) => ({
      key,
      shown: {
        id: shortKey(key), parentId: parentKey === undefined ? '' : shortKey(parentKey), type: 'regular', description, sizeBytes: layer.sizeBytes, createdAtNs: ms(Date.parse(created) || usedAtMs), lastUsedAtNs: ms(usedAtMs),
        inUse, shared: inImages.has(layer.chainId),
      },
    }))
  }

  async prune({ all, unusedForMs, matches, ...space }: BuildPruneOptions): Promise<{ readonly deleted: readonly string[]; readonly reclaimedBytes: number }> {
    const { cache, images, clock, mounts, contexts } = this.#options
    const entries = await this.#entries()
    const keepBytes = await this.#bytesToKeep(space)
    if (keepBytes === undefined) return { deleted: [], reclaimedBytes: 0 }
    const isSelected = ({ shown }: ShownEntry): boolean => !shown.inUse && (all || !shown.shared) && (matches?.(shown) ?? true)
    // Everything without a layer (contents, times of images, cache mounts, clients' folders) goes only with everything else.
    const isEverything = all && matches === undefined && !entries.some(({ shown }) => shown.inUse)
    const only = isEverything ? {} : { only: new Set(entries.filter(isSelected).map(({ key }) => key)) }
    const gone = new Set(await cache.prune({ keepBytes, ...only, ...(unusedForMs === undefined ? {} : { usedBeforeMs: clock.nowMs() - unusedForMs }) }))
    if (isEverything && keepBytes === 0 && unusedForMs === undefined) await Promise.all([mounts.clear(), contexts.clear()])
    const deleted = entries.filter(({ key }) => gone.has(key)).map(({ shown }) => shown.id)
    return { deleted, reclaimedBytes: gone.size === 0 ? 0 : await images.collect() }
  }

  /** 0: nothing; undefined: everything. As BuildKit reckons it, but that enough free space keeps everything where nothing else is bounded. */
  async #bytesToKeep({ reservedBytes = 0, maxUsedBytes = 0, minFreeBytes = 0 }: Pick<BuildPruneOptions, 'reservedBytes' | 'maxUsedBytes' | 'minFreeBytes'>): Promise<number | undefined> {
    if (minFreeBytes === 0) return Math.max(maxUsedBytes, reservedBytes)
    const { bavail, bsize } = await statfs(this.#options.stateDir)
    const excess = minFreeBytes - bavail * bsize
    if (excess <= 0) return maxUsedBytes === 0 && reservedBytes === 0 ? undefined : Math.max(maxUsedBytes, reservedBytes)
    const left = this.#options.cache.usage().sizeBytes - excess
    return Math.max(0, maxUsedBytes === 0 ? left : Math.min(maxUsedBytes, left), reservedBytes)
  }
}
