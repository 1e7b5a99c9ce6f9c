/**
 * Pull-through: repositories below a prefix stand for those of another registry. What is asked for is fetched once, checked by its
 * digest, kept like anything that was pushed, and served from here; a tag is asked for again when what we know of it is old. While
 * the other registry does not answer, what is here is served.
 */
import type { Clock } from '#base/clock.ts'
import { Fault, isFault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import type { RegistryClient, RegistryCredentials } from '#oci/client/registry-client.ts'
import { RegistryClient as Client } from '#oci/client/registry-client.ts'
import type { Digest } from '#oci/digest.ts'
import { isDigest } from '#oci/digest.ts'
import type { Metrics } from '../http/metrics.ts'
import type { Manifests } from '../manifests.ts'
import type { Repositories } from '../repositories.ts'
import type { RegistryStorage, Segment } from '../storage/contract.ts'

export interface MirrorRule {
  /** Starts the names of the repositories here, such as `docker.io/`; empty for all of them. The rest is the name there. */
  readonly prefix: string
  /** Host with optional port, as in a reference. */
  readonly upstream: string
  readonly credentials?: RegistryCredentials
  readonly insecure?: boolean
  /** How long a tag is believed without asking, milliseconds. Default: a minute. */
  readonly freshMs?: number
}

export interface MirrorParts {
  readonly rules: readonly MirrorRule[]
  readonly storage: RegistryStorage
  readonly repositories: Repositories
  readonly manifests: Manifests
  readonly metrics: Metrics
  readonly clock: Clock
  readonly logger: Logger
}

/** Sees the bytes of a blob as they arrive; for who waits for it. */
export interface Watcher {
  begin(sizeBytes: number): void
  take(bytes: Uint8Array): Promise<void>
}

interface Upstream {
  readonly rule: MirrorRule
  readonly client: RegistryClient
  readonly repository: string
}

const usualFreshMs = 60_000

export class Mirror implements Disposable {
  readonly #parts: MirrorParts
  readonly #clients = new Map<MirrorRule, RegistryClient>()
  /** What is being fetched, so that it is fetched once. */
  readonly #flights = new Map<string, Promise<void>>()

  constructor(parts: MirrorParts) {
    this.#parts = parts
  }

  /** Whether a repository is another registry's: nothing is pushed there. */
  covers(repository: string): boolean {
    return this.#upstream(repository) !== undefined
  }

  #upstream(repository: string): Upstream | undefined {
    const rule = this.#parts.rules.find(({ prefix }) => repository.startsWith(prefix) && repository.length > prefix.length)
    if (rule === undefined) return undefined
    let client = this.#clients.get(rule)
    if (client === undefined) {
      client = new Client({ registry: rule.upstream, insecure: rule.insecure === true, ...(rule.credentials === undefined ? {} : { credentials: rule.credentials }) })
      this.#clients.set(rule, client)
    }
    return { rule, client, repository: repository.slice(rule.prefix.length) }
  }

  /** Sees to it that a manifest is here, and a tag not older than it may be. Without the other registry, what is here has to do. */
  async bringManifest(repository: string, reference: string): Promise<void> {
    const upstream = this.#upstream(repository)
    if (upstream === undefined) return
    const isHere = await this.#knows(upstream, repository, reference)
    this.#parts.metrics.add(isHere ? 'registry_proxy_hits_total' : 'registry_proxy_misses_total', { type: 'manifest' })
    if (isHere) return
    try {
      await this.#once(`${repository}@${reference}`, () => this.#fetchManifest(upstream, repository, reference))
    } catch (error) {
      // It says that there is none: so do we. Anything else is no reason to refuse what we have.
      if (isFault(error, 'notFound') || !(await this.#hasManifest(repository, reference))) throw asUpstreamFault(error)
      this.#parts.logger.warn({ repository, reference, upstream: upstream.rule.upstream, error }, 'the mirrored registry does not answer: what was fetched before is served')
    }
  }

  async #knows({ rule }: Upstream, repository: string, reference: string): Promise<boolean> {
    if (isDigest(reference)) return (await this.#parts.repositories.manifest(repository, reference)) !== undefined
    const stat = await this.#parts.repositories.tagStat(repository, reference)
    return stat !== undefined && stat.writtenAtMs > this.#parts.clock.nowMs() - (rule.freshMs ?? usualFreshMs)
  }

  async #hasManifest(repository: string, reference: string): Promise<boolean> {
    const digest = isDigest(reference) ? reference : await this.#parts.repositories.tag(repository, reference)
    return digest !== undefined && (await this.#parts.repositories.manifest(repository, digest)) !== undefined
  }

  async #fetchManifest({ client, repository: there }: Upstream, repository: string, reference: string): Promise<void> {
    const found = await client.manifest(there, reference)
    await this.#parts.manifests.put(repository, { reference, bytes: found.bytes, contentType: found.mediaType, tags: [], sparse: true })
  }

  /** Brings a blob here that the repository does not have yet; `watcher` sees it arrive, if it was not on its way already. */
  async bringBlob(repository: string, digest: Digest, watcher?: Watcher): Promise<void> {
    const upstream = this.#upstream(repository)
    if (upstream === undefined || (await this.#parts.repositories.hasBlob(repository, digest))) {
      if (upstream !== undefined) this.#parts.metrics.add('registry_proxy_hits_total', { type: 'blob' })
      return
    }
    this.#parts.metrics.add('registry_proxy_misses_total', { type: 'blob' })
    try {
      await this.#once(`${repository}@${digest}`, () => this.#fetchBlob(upstream, { repository, digest, watcher }))
    } catch (error) {
      throw asUpstreamFault(error)
    }
  }

  async #fetchBlob({ client, repository: there }: Upstream, { repository, digest, watcher }: { readonly repository: string; readonly digest: Digest; readonly watcher: Watcher | undefined }): Promise<void> {
    const { content } = this.#parts.storage
    const { body, sizeBytes } = await client.blob(there, digest)
    if (sizeBytes !== undefined) watcher?.begin(sizeBytes)
    const segments: Segment[] = []
    try {
      await content.takeIn(sizeBytes === undefined ? body : watched(body, watcher), { claim: async (segment) => void segments.push(segment) })
      await content.assemble(segments, { expect: digest })
    } catch (error) {
      for (const segment of segments) await content.discard(segment)
      throw error
    }
    await this.#parts.repositories.linkBlob(repository, digest)
  }

  async #once(key: string, fetchIt: () => Promise<void>): Promise<void> {
    let flight = this.#flights.get(key)
    if (flight === undefined) {
      flight = fetchIt().finally(() => this.#flights.delete(key))
      this.#flights.set(key, flight)
    }
    await flight
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients.values()) client[Symbol.dispose]()
  }
}

async function* watched(body: AsyncIterable<Uint8Array>, watcher: Watcher | undefined): AsyncGenerator<Uint8Array> {
  for await (const bytes of body) {
    yield bytes
    await watcher?.take(bytes)
  }
}

/** What goes wrong between us and the other registry is no fault of the client's: 404 stays, the rest is that it is unavailable. */
function asUpstreamFault(error: unknown): unknown {
  if (!(error instanceof Fault) || error.code === 'notFound' || error.code === 'unavailable') return error
  return new Fault('unavailable', `the mirrored registry did not give it: ${error.message}`, { cause: error })
}
