/**
 * The registry's collector, online: it runs beside pushes, in any number of registries over one storage at once. It removes only what
 * has been old for the grace, and each removal is conditional on nobody having renewed it (`storage/contract.ts`): so it needs no
 * lock, and a push that it meets never misses what it was told of.
 *
 * One run: uploads nobody goes on with; bytes that belong to nobody; tags and manifests that the retention rules let go; links that no
 * manifest needs; blobs that nothing links.
 */
import { sleep } from '#base/clock.ts'
import type { Clock } from '#base/clock.ts'
import { asFault, isFault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import type { Digest } from '#oci/digest.ts'
import type { Repositories } from '../repositories.ts'
import type { RegistryStorage } from '../storage/contract.ts'
import type { Uploads } from '../uploads.ts'
import { pruneLinks } from './links.ts'
import type { RetentionRule } from './retention.ts'
import { applyRetention, ruleFor } from './retention.ts'

export interface CollectorParts {
  readonly storage: RegistryStorage
  readonly repositories: Repositories
  readonly uploads: Uploads
  /** What nobody has used for so long may go, milliseconds. */
  readonly graceMs: number
  readonly retention: readonly RetentionRule[]
  /** Collects blobs instead of the registry, where others need them too; answers the bytes freed. */
  readonly collectBlobs?: () => Promise<number>
  readonly clock: Clock
  readonly logger: Logger
}

export interface Collected {
  readonly tags: number
  readonly manifests: number
  readonly links: number
  readonly freedBytes: number
  /** True when something is left that would have gone if it were older. */
  readonly more: boolean
}

/** When the last run ended, for whichever registry would start the next. */
const lastRunPath = 'collected'

export class Collector {
  readonly #parts: CollectorParts
  #running: Promise<Collected> | undefined
  #isDirty = true

  constructor(parts: CollectorParts) {
    this.#parts = parts
  }

  /** Something was written: the next run of the timer has something to look for. */
  touch(): void {
    this.#isDirty = true
  }

  /** Runs once; who asks while a run is under way gets that one's result. */
  async collect(): Promise<Collected> {
    this.#running ??= this.#collect().finally(() => {
      this.#running = undefined
    })
    return await this.#running
  }

  /** Runs every `everyMs` until the signal aborts, unless nothing was written since and nothing was left, or another registry did just so. */
  async keepCollecting(everyMs: number, signal: AbortSignal): Promise<void> {
    const { clock, logger, storage } = this.#parts
    while (!signal.aborted) {
      await sleep(clock, everyMs, signal)
      if (!this.#isDirty) continue
      try {
        const last = await storage.records.stat(lastRunPath)
        if (last === undefined || last.writtenAtMs < clock.nowMs() - everyMs / 2) await this.collect()
      } catch (error) {
        logger.error({ error }, 'collecting what the registry no longer needs failed')
      }
    }
  }

  async #collect(): Promise<Collected> {
    const { storage, clock, logger, graceMs } = this.#parts
    this.#isDirty = false
    const nowMs = clock.nowMs()
    const usedBeforeMs = nowMs - graceMs
    const used = new Set<string>()
    for await (const repository of this.#parts.repositories.walk()) for (const { id } of await this.#parts.uploads.sweep(repository, usedBeforeMs)) used.add(id)
    const swept = await storage.content.sweep({ writtenBeforeMs: usedBeforeMs, used })
    const sum = { tags: 0, manifests: 0, links: 0, young: used.size }
    for await (const repository of this.#parts.repositories.walk()) {
      try {
        await this.#collectRepository(repository, nowMs, sum)
      } catch (error) {
        // A repository with a damaged manifest keeps all it has; the others go on.
        if (!isFault(error, 'notFound') && !isFault(error, 'invalidArgument')) throw error
        logger.error({ repository, reason: asFault(error).message }, 'a manifest is damaged: nothing of its repository is collected')
      }
    }
    const freed = await (this.#parts.collectBlobs ?? (() => this.#collectBlobs(usedBeforeMs)))()
    await storage.records.write(lastRunPath, '', { durable: false })
    const { young, ...counts } = sum
    // In some storages the bytes of a blob are swept a run later than the blob.
    const more = young > 0 || freed > 0
    if (more) this.#isDirty = true
    const collected = { ...counts, freedBytes: swept + freed, more }
    logger.info({ ...collected }, 'collected what the registry no longer needs')
    return collected
  }

  async #collectRepository(repository: string, nowMs: number, sum: { tags: number; manifests: number; links: number; young: number }): Promise<void> {
    const parts = { repositories: this.#parts.repositories, content: this.#parts.storage.content }
    const rule = ruleFor(this.#parts.retention, repository)
    if (rule !== undefined) {
      const { tags, manifests } = await applyRetention(parts, rule, repository, nowMs)
      sum.tags += tags
      sum.manifests += manifests
      // What is young today goes another day.
      sum.young += 1
    }
    const { pruned, young } = await pruneLinks(parts, repository, nowMs - this.#parts.graceMs)
    sum.links += pruned
    sum.young += young
  }

  /** Candidates are listed before the roots: who links one of them meanwhile has made it young before. */
  async #collectBlobs(committedBeforeMs: number): Promise<number> {
    const { content } = this.#parts.storage
    const candidates = new Set<Digest>()
    for await (const blob of content.list()) if (blob.committedAtMs < committedBeforeMs) candidates.add(blob.digest)
    if (candidates.size > 0) for await (const digest of this.#parts.repositories.roots()) candidates.delete(digest)
    let freed = 0
    for (const digest of candidates) freed += (await content.remove(digest, { committedBeforeMs })) ?? 0
    return freed
  }
}
