/** A registry with the mirrors that are asked before it. Writing, listing and logging in are the registry's own affair. */
import { Fault, isFault } from '#base/fault.ts'
import type { Digest } from '../digest.ts'
import { isDigest } from '../digest.ts'
import { RegistryClient } from './registry-client.ts'
import type { BlobSource, FetchedManifest, RegistryCredentials } from './registry-client.ts'
import { serversOf } from './registry-hosts.ts'
import type { Mirror, RegistryHostsOptions } from './registry-hosts.ts'

export interface OpenRegistryOptions {
  /** As in a reference. */
  readonly registry: string
  /** For the registry itself; a mirror is told nothing of them. */
  readonly credentials: RegistryCredentials
  readonly hosts: RegistryHostsOptions
  /** Hears of mirrors that did not help. */
  readonly onMirrorFailure?: (mirror: string, error: Fault) => void
}

interface Asked {
  readonly mirror: Mirror
  readonly client: RegistryClient
  /** It could not be reached: it is not asked again by this client. */
  isLost: boolean
}

export async function openRegistry(options: OpenRegistryOptions): Promise<MirroredRegistry> {
  const { registry, credentials, hosts } = options
  const { mirrors, server, trust } = await serversOf(registry, hosts)
  const own = new RegistryClient({ registry, credentials, ...trust, ...(server === undefined ? {} : { server }) })
  const asked = mirrors.map((mirror): Asked => ({
    mirror,
    isLost: false,
    client: new RegistryClient({ registry: mirror.url.host, server: mirror.url, insecure: mirror.insecure, authorities: mirror.authorities, certificates: mirror.certificates, headers: mirror.headers, overridePath: mirror.overridePath, mirrorOf: registry }),
  }))
  return new MirroredRegistry(own, asked, options.onMirrorFailure)
}

export class MirroredRegistry implements BlobSource, Disposable {
  /** The registry itself. */
  readonly own: RegistryClient
  readonly #mirrors: readonly Asked[]
  readonly #onFailure: OpenRegistryOptions['onMirrorFailure']

  constructor(own: RegistryClient, mirrors: readonly Asked[], onFailure: OpenRegistryOptions['onMirrorFailure']) {
    this.own = own
    this.#mirrors = mirrors
    this.#onFailure = onFailure
  }

  get registry(): string {
    return this.own.registry
  }

  async manifest(repository: string, reference: string, signal?: AbortSignal): Promise<FetchedManifest> {
    return await this.#firstOf((mirror) => mirror.pulls && (mirror.resolves || isDigest(reference)), (client) => client.manifest(repository, reference, signal))
  }

  async blob(repository: string, digest: Digest, options: Parameters<RegistryClient['blob']>[2] = {}): ReturnType<RegistryClient['blob']> {
    return await this.#firstOf((mirror) => mirror.pulls, (client) => client.blob(repository, digest, options))
  }

  /** Whatever a mirror says against it, the next one is asked, and the registry in the end. */
  async #firstOf<T>(may: (mirror: Mirror) => boolean, ask: (client: RegistryClient) => Promise<T>): Promise<T> {
    for (const asked of this.#mirrors) {
      if (asked.isLost || !may(asked.mirror)) continue
      try {
        return await ask(asked.client)
      } catch (error) {
        if (!(error instanceof Fault) || isFault(error, 'canceled')) throw error
        asked.isLost = isFault(error, 'unavailable')
        this.#onFailure?.(asked.mirror.url.href, error)
      }
    }
    return await ask(this.own)
  }

  [Symbol.dispose](): void {
    for (const { client } of this.#mirrors) client[Symbol.dispose]()
    this.own[Symbol.dispose]()
  }
}
