/**
 * The ConfigMaps and Secrets that pods of this node name, each followed by a watch of its own for as long as a pod needs it:
 * a node sees no other secrets than its pods' (Kubernetes, "Using Node Authorization").
 */
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import { ConfigMap } from '../../api/core/v1/config-map.ts'
import { Secret } from '../../api/core/v1/secret.ts'
import type { Informer } from '../../client/informer.ts'
import { createInformer } from '../../client/informer.ts'
import type { Client } from '../../contract/client.ts'

export interface Reference {
  readonly kind: 'ConfigMap' | 'Secret'
  readonly namespace: string
  readonly name: string
}

interface Followed {
  readonly owners: Set<string>
  readonly stop: AbortController
  readonly configMaps?: Informer<ConfigMap>
  readonly secrets?: Informer<Secret>
}

export interface ReferencesOptions {
  readonly client: Client
  readonly clock: Clock
  readonly log: Logger
  /** An object that the pod with this uid named has changed, appeared or gone. */
  readonly onChange: (ownerUid: string) => void
}

export class References {
  readonly #followed = new Map<string, Followed>()
  readonly #options: ReferencesOptions
  #closed = false

  constructor(options: ReferencesOptions) {
    this.#options = options
  }

  /** Follows the objects for the pod until `release`, and resolves when each has been looked up. */
  async acquire(ownerUid: string, references: readonly Reference[], signal: AbortSignal): Promise<void> {
    const waits: Promise<void>[] = []
    for (const reference of references) {
      const followed = this.#followed.get(keyOf(reference)) ?? this.#follow(reference)
      followed.owners.add(ownerUid)
      waits.push((followed.configMaps ?? followed.secrets)?.whenSynced(signal) ?? Promise.resolve())
    }
    await Promise.all(waits)
  }

  release(ownerUid: string): void {
    for (const [key, followed] of this.#followed) {
      if (!followed.owners.delete(ownerUid) || followed.owners.size > 0) continue
      followed.stop.abort()
      this.#followed.delete(key)
    }
  }

  configMap(namespace: string, name: string): ConfigMap | undefined {
    return this.#followed.get(keyOf({ kind: 'ConfigMap', namespace, name }))?.configMaps?.get({ namespace, name })
  }

  secret(namespace: string, name: string): Secret | undefined {
    return this.#followed.get(keyOf({ kind: 'Secret', namespace, name }))?.secrets?.get({ namespace, name })
  }

  close(): void {
    this.#closed = true
    for (const { stop } of this.#followed.values()) stop.abort()
    this.#followed.clear()
  }

  #follow(reference: Reference): Followed {
    const { client, clock, log, onChange } = this.#options
    const stop = new AbortController()
    const { namespace, name } = reference
    const options = { client, clock, namespace, fieldSelector: `metadata.name=${name}`, onError: (error: unknown) => log.debug({ err: error, ...reference }, 'following a reference failed, will be retried') }
    const owners = new Set<string>()
    const tell = (): void => {
      for (const owner of owners) if (!this.#closed) onChange(owner)
    }
    const informer = reference.kind === 'ConfigMap' ? { configMaps: createInformer(ConfigMap, options) } : { secrets: createInformer(Secret, options) }
    const followed: Followed = { owners, stop, ...informer }
    followed.configMaps?.onChange(tell)
    followed.secrets?.onChange(tell)
    const run = followed.configMaps?.run(stop.signal) ?? followed.secrets?.run(stop.signal)
    run?.catch((error: unknown) => log.error({ err: error, ...reference }, 'following a reference ended'))
    this.#followed.set(keyOf(reference), followed)
    return followed
  }
}

function keyOf({ kind, namespace, name }: Reference): string {
  return `${kind}/${namespace}/${name}`
}
