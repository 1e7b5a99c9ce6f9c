/** What one stage's steps make: known from the cache, or really done on a snapshot of its own, which becomes a layer. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { rfc3339Nano } from '#base/clock.ts'
import { parseDigest } from '#oci/digest.ts'
import type { ChainId, DiffId, ImageConfig } from '../contract/images.ts'
import { chainIdOf } from '../snapshots/chain.ts'
import type { BuildShared } from './build-shared.ts'
import { cacheKey } from './cache.ts'
import type { Stage } from './dockerfile/stages.ts'
import type { StageState, StepResult } from './stage-state.ts'

export interface CachedStep {
  readonly parent: ChainId | undefined
  /** The state with the step's result. */
  readonly next: (result: StepResult) => StageState
  /** Changes the mounted root; a step without it touches no file. */
  readonly act?: (rootfs: string) => Promise<void>
  /** It runs a command: where users are remapped, the root shows them so. */
  readonly runs?: boolean
  /** Told when the step was known. */
  readonly onCached: () => void
}

export class StepLayers {
  readonly #shared: BuildShared
  readonly #stage: Stage
  #counter = 0

  constructor(shared: BuildShared, stage: Stage) {
    this.#shared = shared
    this.#stage = stage
  }

  /**
   * The result of a step by its key, or of running it. Builds that need the same step wait for each other, so that it runs once.
   */
  cached(keyParts: readonly unknown[], step: CachedStep): Promise<StepResult> {
    const { cache, keys, steps } = this.#shared
    const key = cacheKey(...keyParts)
    return keys.run(key, async () => {
      const known = this.#isUncached() ? undefined : cache.get(key, 'step')
      if (known !== undefined && this.#mayUse(step.next(known)) && (known.layer === undefined || (await this.#shared.options.snapshots.has(known.layer.chainId)))) {
        step.onCached()
        if (known.layer !== undefined) this.keep(known.layer.chainId, known.layer.diffId)
        await cache.touch(key)
        return known
      }
      const { act, parent, runs = false } = step
      const layer = act === undefined ? undefined : await steps.run(() => this.#makeLayer(parent, act, { shifted: runs && this.#shared.options.remap !== undefined }))
      if (layer !== undefined) this.keep(layer.chainId, layer.diffId)
      const result: StepResult = { created: rfc3339Nano(this.#shared.options.clock.nowNs()), ...(layer === undefined ? {} : { layer }) }
      const description = step.next(result).history.at(-1)?.created_by
      await cache.put(key, { kind: 'step', ...result, ...(description === undefined ? {} : { description }) })
      return result
    })
  }

  /**
   * A step whose layer is the same whatever lies below: made on nothing, and put upon the parent, for which the files are unpacked once.
   */
  async linked(keyParts: readonly unknown[], step: CachedStep): Promise<StepResult> {
    const { parent } = step
    const { created, layer } = await this.cached(keyParts, { ...step, parent: undefined })
    if (layer === undefined || parent === undefined) return { created, ...(layer === undefined ? {} : { layer }) }
    const { snapshots, blobs } = this.#shared.options
    const upon = chainIdOf(parent, layer.diffId)
    if (!(await snapshots.has(upon))) await snapshots.unpack({ parent, diffId: layer.diffId, tar: await blobs.open(parseDigest(layer.diffId)), signal: this.#shared.signal })
    this.keep(upon, layer.diffId)
    return { created, layer: { ...layer, chainId: upon, parent } }
  }

  #isUncached(): boolean {
    const { noCache } = this.#shared.request
    return typeof noCache === 'boolean' ? noCache : this.#stage.name !== undefined && noCache.includes(this.#stage.name)
  }

  /** Where images are named as the cache, a step is known when one of them begins with the same steps. */
  #mayUse(next: StageState): boolean {
    return this.#shared.cacheSources?.some(({ config }) => beginsWith(config, next)) ?? true
  }

  /** From the collectors, for as long as the build lasts. */
  keep(chainId: ChainId, diffId?: DiffId): void {
    const { lease } = this.#shared
    lease.chainIds.add(chainId)
    if (diffId !== undefined) lease.diffIds.add(diffId)
  }

  async #makeLayer(parent: ChainId | undefined, act: (rootfs: string) => Promise<void>, { shifted }: { readonly shifted: boolean }): Promise<StepResult['layer']> {
    const { snapshots } = this.#shared.options
    const key = this.#snapshotKey()
    const rootfs = join(this.#shared.folder, key)
    await mkdir(rootfs)
    await snapshots.prepare(key, parent)
    try {
      await snapshots.mount(key, rootfs, { volatile: true, shifted })
      try {
        await act(rootfs)
      } finally {
        await snapshots.unmount(rootfs)
      }
      const layer = await snapshots.diff(key, { signal: this.#shared.signal })
      // Folders that were only looked into make a small archive, too; a large one needs no second look.
      if (layer.sizeBytes <= smallLayerBytes && (await snapshots.changes(key)).length === 0) return undefined
      return { diffId: layer.diffId, chainId: await snapshots.commit(key, layer), sizeBytes: layer.sizeBytes, ...(parent === undefined ? {} : { parent }) }
    } finally {
      await snapshots.remove(key)
    }
  }

  #snapshotKey(): string {
    this.#counter += 1
    return `build-${this.#shared.id}-${this.#stage.index}-${this.#counter}`
  }
}

function beginsWith({ rootfs, history = [] }: ImageConfig, { diffIds, history: steps }: StageState): boolean {
  return diffIds.every((diffId, index) => rootfs.diff_ids[index] === diffId) && steps.every(({ created_by }, index) => history[index] !== undefined && history[index].created_by === created_by)
}

const smallLayerBytes = 64 * 1024
