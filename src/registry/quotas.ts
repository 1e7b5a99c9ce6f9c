/**
 * How much a repository, and the whole registry, may hold: the sum of its distinct blobs. Usage is measured by adding up what is linked,
 * now and then, and counted along in between; what other registries over the storage take in meanwhile is found at the next measuring.
 */
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import type { Digest } from '#oci/digest.ts'
import type { Repositories } from './repositories.ts'
import type { Content } from './storage/contract.ts'

export interface QuotaLimits {
  readonly repositoryBytes?: number
  readonly totalBytes?: number
}

export interface QuotaParts {
  readonly limits: QuotaLimits
  readonly repositories: Repositories
  readonly content: Content
  readonly clock: Clock
}

/** A measurement is good for a minute, or for twenty times as long as it took. */
const minFreshMs = 60_000
const freshFactor = 20

interface Usage {
  bytes: number
  readonly freshUntilMs: number
}

export class Quotas {
  readonly #parts: QuotaParts
  readonly #usage = new Map<string, Usage>()

  constructor(parts: QuotaParts) {
    this.#parts = parts
  }

  /** Bytes that may still come; undefined when there is no limit. `permissionDenied` when there is no room for another byte. */
  async room(repository: string): Promise<number | undefined> {
    const { repositoryBytes, totalBytes } = this.#parts.limits
    const rooms: number[] = []
    if (repositoryBytes !== undefined) rooms.push(await this.#left(repository, repositoryBytes, `repository '${repository}'`))
    if (totalBytes !== undefined) rooms.push(await this.#left('', totalBytes, 'this registry'))
    return rooms.length === 0 ? undefined : Math.min(...rooms)
  }

  async #left(key: string, limitBytes: number, what: string): Promise<number> {
    const usage = await this.#measured(key)
    if (usage.bytes < limitBytes) return limitBytes - usage.bytes
    throw new Fault('permissionDenied', `quota exceeded: ${what} holds ${usage.bytes} of the ${limitBytes} bytes allowed: delete something first`, { details: { reason: 'DENIED' } })
  }

  /** Counts a blob that has just been linked. */
  add(repository: string, bytes: number): void {
    for (const key of [repository, '']) {
      const usage = this.#usage.get(key)
      if (usage !== undefined) usage.bytes += bytes
    }
  }

  /** Something was deleted: usage is measured again before anybody is refused. */
  forget(repository: string): void {
    this.#usage.delete(repository)
    this.#usage.delete('')
  }

  async #measured(key: string): Promise<Usage> {
    const known = this.#usage.get(key)
    const startedMs = this.#parts.clock.monotonicMs()
    if (known !== undefined && known.freshUntilMs > startedMs) return known
    const bytes = await this.#measure(key)
    const endedMs = this.#parts.clock.monotonicMs()
    const measured = { bytes, freshUntilMs: endedMs + Math.max(minFreshMs, freshFactor * (endedMs - startedMs)) }
    this.#usage.set(key, measured)
    return measured
  }

  async #measure(key: string): Promise<number> {
    const { repositories, content } = this.#parts
    const digests = new Set<Digest>()
    const names = key === '' ? repositories.walk() : [key]
    for await (const name of names) for await (const { digest } of repositories.blobLinks(name)) digests.add(digest)
    let bytes = 0
    for (const digest of digests) bytes += (await content.stat(digest))?.sizeBytes ?? 0
    return bytes
  }
}
