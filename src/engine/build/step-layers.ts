/** What one stage's steps make: known from the cache, or really done on a snapshot of its own, which becomes a layer. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { rfc3339Nano } from '#base/clock.ts'
import { asFault } from '#base/fault.ts'
import { parseDigest } from '#oci/digest.ts'
import type { ChainId, DiffId, ImageConfig } from '../contract/images.ts'
import type { FileToLink } from '../contract/snapshots.ts'
import { chainIdOf } from '../snapshots/chain.ts'
import type { BuildShared } from './build-shared.ts'
import { cacheKey } from './cache.ts'
import type { Stage } from './dockerfile/stages.ts'
import { storeFailed } from './image-output.ts'
import type { StageState, StepResult } from './stage-state.ts'

/** `link`: to be done once the root is no longer mounted. */
export type Act = (rootfs: string, link: (file: FileToLink) => void) => Promise<void>

export interface CachedStep {
  readonly parent: ChainId | undefined
  /** The state with the step's result. */
  readonly next: (result: StepResult) => StageState
  /** Changes the mounted root; a step without it touches no file. */
  readonly act?: Act
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
      const known = this.#isUncached() ? undefined : ((await this.#known(key, step)) ?? (await this.#imported(key, step)))
      if (known !== undefined) {
        step.onCached()
        if (known.layer !== undefined) this.keep(known.layer.chainId, known.layer.diffId)
        await cache.touch(key)
        return this.#ended(key, step, known)
      }
      const { act } = step
      const layer = act === undefined ? undefined : await steps.run(() => this.#makeLayer(step, act))
      if (layer !== undefined) this.keep(layer.chainId, layer.diffId)
      const result: StepResult = { created: rfc3339Nano(this.#shared.options.clock.nowNs()), ...(layer === undefined ? {} : { layer }) }
      await this.#remember(key, step, result)
      return this.#ended(key, step, result)
    })
  }

  async #known(key: string, step: CachedStep): Promise<StepResult | undefined> {
    const known = this.#shared.cache.get(key, 'step')
    if (known === undefined || !this.#mayUse(step.next(known))) return undefined
    return known.layer === undefined || (await this.#shared.options.snapshots.has(known.layer.chainId)) ? known : undefined
  }

  /** What another machine has made becomes a step of ours. */
  async #imported(key: string, step: CachedStep): Promise<StepResult | undefined> {
    const { imported, options, signal } = this.#shared
    const found = imported.find(key)
    if (found === undefined) return undefined
    const { parent } = step
    const { created, layer } = found
    if (layer === undefined) return this.#remember(key, step, { created })
    const chainId = chainIdOf(parent, layer.diffId)
    this.keep(chainId, layer.diffId)
    try {
      await layer.fetch()
    } catch (error) {
      if (signal.aborted) throw error
      this.#shared.vertices.tell(`[Warning] a cached layer cannot be fetched, so that its step is run: ${asFault(error).message}\n`)
      return undefined
    }
    if (!(await options.snapshots.has(chainId))) await options.snapshots.unpack({ parent, diffId: layer.diffId, tar: await options.blobs.open(parseDigest(layer.diffId)), signal })
    return this.#remember(key, step, { created, layer: { diffId: layer.diffId, chainId, sizeBytes: layer.sizeBytes, ...(parent === undefined ? {} : { parent }) } })
  }

  async #remember(key: string, step: CachedStep, result: StepResult): Promise<StepResult> {
    const description = step.next(result).history.at(-1)?.created_by
    await this.#shared.cache.put(key, { kind: 'step', ...result, ...(description === undefined ? {} : { description }) })
    return result
  }

  #ended(key: string, step: CachedStep, result: StepResult): StepResult {
    this.#shared.ended.set(key, { key, result, description: step.next(result).history.at(-1)?.created_by ?? '' })
    return result
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

  async #makeLayer(step: CachedStep, act: Act): Promise<StepResult['layer']> {
    const { parent, runs } = step
    const shifted = runs === true && this.#shared.options.remap !== undefined
    const { snapshots } = this.#shared.options
    const key = this.#snapshotKey()
    const rootfs = join(this.#shared.folder, key)
    const toLink: FileToLink[] = []
    await mkdir(rootfs)
    await snapshots.prepare(key, parent)
    try {
      await snapshots.mount(key, rootfs, { volatile: true, shifted })
      try {
        await act(rootfs, (file) => void toLink.push(file))
      } catch (error) {
        await snapshots.unmount(rootfs)
        if (runs === true) await this.#keepFailed(key, step)
        throw error
      }
      await snapshots.unmount(rootfs)
      await snapshots.link(key, toLink)
      const layer = await snapshots.diff(key, { signal: this.#shared.signal })
      // Folders that were only looked into make a small archive, too; a large one needs no second look.
      if (layer.sizeBytes <= smallLayerBytes && (await snapshots.changes(key)).length === 0) return undefined
      return { diffId: layer.diffId, chainId: await snapshots.commit(key, layer), sizeBytes: layer.sizeBytes, ...(parent === undefined ? {} : { parent }) }
    } finally {
      await snapshots.remove(key)
    }
  }

  /** Where it was asked for, what a failed command has left becomes an image to look into. */
  async #keepFailed(key: string, step: CachedStep): Promise<void> {
    const { options, signal, request } = this.#shared
    if (request.keepFailedRoot !== true || signal.aborted) return
    const { diffId, sizeBytes, ...descriptor } = await options.snapshots.diff(key)
    const chainId = await options.snapshots.commit(key, { diffId, sizeBytes, ...descriptor })
    this.keep(chainId, diffId)
    const { id } = await storeFailed(this.#shared, step.next({ created: rfc3339Nano(options.clock.nowNs()), layer: { diffId, chainId, sizeBytes } }))
    request.onMessage({ kind: 'failedRoot', imageId: id })
  }

  #snapshotKey(): string {
    this.#counter += 1
    return `build-${this.#shared.id}-${this.#shared.target.index}-${this.#stage.index}-${this.#counter}`
  }
}

function beginsWith({ rootfs, history = [] }: ImageConfig, { diffIds, history: steps }: StageState): boolean {
  return diffIds.every((diffId, index) => rootfs.diff_ids[index] === diffId) && steps.every(({ created_by }, index) => history[index] !== undefined && history[index].created_by === created_by)
}

const smallLayerBytes = 64 * 1024
