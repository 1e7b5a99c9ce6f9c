/**
 * A cache that follows one kind (optionally one namespace or selection) of an API server: list, then watch from the
 * list's revision, for ever. A watch that ends is resumed from the last revision seen (bookmarks move it along); a
 * revision that is gone (`expired`) means a new list, whose difference to the cache is told to the handlers, so that a
 * deletion missed meanwhile is seen too.
 *
 * The cache lags behind the server by design. Code over it is level-triggered: it must be right for any state the
 * object has ever been in, and writes must carry the resourceVersion they were decided on.
 */
import type { Clock } from '#base/clock.ts'
import { sleep } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import type { Stored, StoredObject } from '#schema/kind.ts'
import type { ClientKind, ReadClient, WatchEvent } from '../contract/client.ts'
import type { IndexFunction, ReadCache } from './cache.ts'
import { ObjectCache, objectKey } from './cache.ts'

/** One object before and after: no `previous` = new, no `current` = gone. */
export interface Change<T> {
  readonly key: string
  readonly previous: T | undefined
  readonly current: T | undefined
}

export type ChangeHandler<T> = (change: Change<T>) => void

export interface InformerOptions {
  readonly client: ReadClient
  readonly clock: Clock
  readonly namespace?: string
  readonly labelSelector?: string
  readonly fieldSelector?: string
  /** First and longest wait after a failed list or watch; doubles in between. */
  readonly baseBackoffMs?: number
  readonly maxBackoffMs?: number
  /** Hears of every failure that is retried. */
  readonly onError?: (error: unknown) => void
}

export interface Informer<T extends StoredObject> extends ReadCache<T> {
  readonly kind: ClientKind
  /** True once the first list is in the cache. */
  readonly synced: boolean
  /** Resolves when `synced`; rejects with `canceled` when `signal` aborts first. */
  whenSynced(signal?: AbortSignal): Promise<void>
  /** The newest revision the cache reflects; `''` before the first list. */
  readonly resourceVersion: string
  addIndex(name: string, values: IndexFunction<T>): void
  /** Hears of every change from now on, and first of all that is in the cache already. Must not throw. */
  onChange(handler: ChangeHandler<T>): void
  /** Follows the server until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>
}

export function createInformer<K extends ClientKind>(kind: K, options: InformerOptions): Informer<Stored<K>> {
  return new KindInformer(kind, options)
}

class KindInformer<K extends ClientKind> extends ObjectCache<Stored<K>> implements Informer<Stored<K>> {
  readonly kind: K
  readonly #options: InformerOptions
  readonly #handlers: ChangeHandler<Stored<K>>[] = []
  readonly #synced = Promise.withResolvers<void>()
  #isSynced = false
  #resourceVersion = ''
  #failures = 0

  constructor(kind: K, options: InformerOptions) {
    super()
    this.kind = kind
    this.#options = options
  }

  get synced(): boolean {
    return this.#isSynced
  }

  get resourceVersion(): string {
    return this.#resourceVersion
  }

  async whenSynced(signal?: AbortSignal): Promise<void> {
    if (this.#isSynced) return
    if (signal === undefined) return this.#synced.promise
    const aborted = Promise.withResolvers<void>()
    const onAbort = (): void => aborted.reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    try {
      await Promise.race([this.#synced.promise, aborted.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  onChange(handler: ChangeHandler<Stored<K>>): void {
    this.#handlers.push(handler)
    for (const key of this.keys()) handler({ key, previous: undefined, current: this.getKey(key) })
  }

  async run(signal: AbortSignal): Promise<void> {
    let listNeeded = true
    while (!signal.aborted) {
      try {
        if (listNeeded) await this.#relist(signal)
        listNeeded = false
        await this.#follow(signal)
      } catch (error) {
        if (signal.aborted) return
        if (isFault(error, 'expired')) listNeeded = true
        this.#options.onError?.(error)
        await this.#pause(signal)
      }
    }
  }

  async #pause(signal: AbortSignal): Promise<void> {
    const { clock, baseBackoffMs = 50, maxBackoffMs = 30_000 } = this.#options
    const delayMs = Math.min(maxBackoffMs, baseBackoffMs * 2 ** Math.min(this.#failures, 20))
    this.#failures += 1
    try {
      await sleep(clock, delayMs, signal)
    } catch (error) {
      if (!isFault(error, 'canceled')) throw error
    }
  }

  /**
   * Replaces the cache by a fresh list. It asks for the newest state, never for "whatever is at hand": a restarted
   * controller must not see an older world than it acted on (kubernetes#59848).
   */
  async #relist(signal: AbortSignal): Promise<void> {
    const { client, namespace, labelSelector, fieldSelector } = this.#options
    const found = new Map<string, Stored<K>>()
    let resourceVersion = ''
    let from: string | undefined
    do {
      const page = await client.list(this.kind, { namespace, labelSelector, fieldSelector, limit: 500, continue: from, signal })
      for (const item of page.items) found.set(objectKey(item), item)
      if (resourceVersion === '') resourceVersion = page.resourceVersion
      from = page.continue
    } while (from !== undefined && from !== '')
    this.#resourceVersion = resourceVersion
    for (const key of this.keys()) if (!found.has(key)) this.#remove(key)
    for (const [key, object] of found) {
      const known = this.getKey(key)
      // Deleted and created anew while we did not look: two objects, so two changes.
      if (known !== undefined && known.metadata?.uid !== object.metadata?.uid) this.#remove(key)
      if (known?.metadata?.resourceVersion !== object.metadata?.resourceVersion) this.#put(key, object)
    }
    this.#isSynced = true
    this.#synced.resolve()
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { client, namespace, labelSelector, fieldSelector } = this.#options
    const startedWith = this.#resourceVersion
    const events = client.watch(this.kind, { namespace, labelSelector, fieldSelector, resourceVersion: startedWith, signal })
    for await (const event of events) {
      this.#failures = 0
      this.#apply(event)
      if (signal.aborted) return
    }
    // Ends are normal, but a server that ends every watch at once must not make us spin.
    if (!signal.aborted && this.#resourceVersion === startedWith) await this.#pause(signal)
  }

  #apply(event: WatchEvent<Stored<K>>): void {
    if (event.type === 'BOOKMARK') {
      this.#resourceVersion = event.resourceVersion
      return
    }
    const { object } = event
    this.#resourceVersion = object.metadata?.resourceVersion ?? this.#resourceVersion
    if (event.type === 'DELETED') this.#remove(objectKey(object), object)
    else this.#put(objectKey(object), object)
  }

  #put(key: string, object: Stored<K>): void {
    const previous = this.set(key, object)
    this.#tell({ key, previous, current: object })
  }

  /** `last`, the state the server deleted, tells more than the one in the cache. */
  #remove(key: string, last?: Stored<K>): void {
    const previous = this.delete(key)
    if (previous !== undefined) this.#tell({ key, previous: last ?? previous, current: undefined })
  }

  #tell(change: Change<Stored<K>>): void {
    for (const handler of this.#handlers) handler(change)
  }
}
