/**
 * The state of the cluster in this process: the store, and the watch caches that follow it. Everybody reads the caches;
 * whoever writes waits until they have caught up, so that one reads one's own writes.
 */
import { present } from '#base/assert.ts'
import type { Clock } from '#base/clock.ts'
import { asFault, Fault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import { TaskGroup } from '#base/task.ts'
import type { JsonObject } from '#schema/json.ts'
import { fieldText } from '#schema/selector.ts'
import type { Store, StoreEvent, Write } from '../contract/store.ts'
import { ResourceCache, type Change } from './cache.ts'
import { Entry, parseStored, storedBytes } from './entry.ts'
import { every } from './every.ts'
import { versionTooLarge } from './refusals.ts'
import { keyOf, registryPrefix, type Ref, type Resource, type Resources } from './resources.ts'

/** Encryption at rest. The key binds the ciphertext to its place. */
export interface Sealer {
  seal(key: string, plain: Buffer): Buffer
  open(key: string, sealed: Buffer): Buffer
}

export interface StateOptions {
  readonly store: Store
  readonly resources: Resources
  readonly clock: Clock
  readonly log: Logger
  readonly sealer?: Sealer
}

/** Revisions before the start whose changes are loaded too, so that watches survive a restart of the server. */
const replayedRevisions = 2_000n
/** How long a read waits for a revision that is still to come. */
const catchUpMs = 3_000
const compactionIntervalMs = 5 * 60_000
const bookmarkIntervalMs = 60_000

/** One change to the store, at the level of objects. */
export type ObjectWrite =
  | { readonly op: 'put'; readonly resource: Resource; readonly ref: Ref; readonly object: JsonObject; readonly expect: Write['expect'] }
  | { readonly op: 'delete'; readonly resource: Resource; readonly ref: Ref; readonly expect: Write['expect'] }

interface Waiter {
  readonly revision: bigint
  readonly resolve: () => void
}

export async function openState(options: StateOptions): Promise<State> {
  const { store } = options
  const newest = store.revision()
  const oldest = newest > replayedRevisions ? newest - replayedRevisions : 0n
  const from = oldest > store.compactedRevision() ? oldest : store.compactedRevision()
  const state = new State(options, from)
  await state.load(from)
  state.follow()
  await state.reached(newest)
  return state
}

export class State implements AsyncDisposable {
  readonly resources: Resources
  readonly #store: Store
  readonly #clock: Clock
  readonly #log: Logger
  readonly #sealer: Sealer | undefined
  readonly #caches = new Map<Resource, ResourceCache>()
  readonly #tasks: TaskGroup
  /** Objects that were just written, so that their own events need no parsing. */
  readonly #written = new WeakMap<Buffer, JsonObject>()
  #applied: bigint
  #waiters: Waiter[] = []
  #failure: Fault | undefined

  constructor({ store, resources, clock, log, sealer }: StateOptions, from: bigint) {
    this.resources = resources
    this.#store = store
    this.#clock = clock
    this.#log = log
    this.#sealer = sealer
    this.#applied = from
    for (const resource of resources.stored) {
      this.#caches.set(resource, new ResourceCache(resource.prefix, from, (path, object) => fieldText(resource.kind, path, object)))
    }
    this.#tasks = new TaskGroup((error) => this.#fail(asFault(error)))
  }

  /** The revision that the caches show. */
  get revision(): bigint {
    return this.#applied
  }

  /** False once the caches no longer follow the store. */
  get healthy(): boolean {
    return this.#failure === undefined
  }

  get clock(): Clock {
    return this.#clock
  }

  cache(resource: Resource): ResourceCache {
    return present(this.#caches.get(resource), `the cache of ${resource.prefix}`)
  }

  entry(resource: Resource, ref: Ref): Entry | undefined {
    return this.cache(resource).get(keyOf(resource, ref))
  }

  listen(resource: Resource, listener: (change: Change) => void): void {
    this.cache(resource).listen(listener)
  }

  async load(from: bigint): Promise<void> {
    const { items } = await this.#store.list(registryPrefix, { revision: from })
    for (const { key, value, modRevision } of items) {
      const resource = this.resources.ofKey(key)
      if (resource === undefined) continue
      this.cache(resource).load(new Entry(key, this.#source(resource, key, value), modRevision, this.#plain(resource, value)))
    }
  }

  follow(): void {
    this.#tasks.spawn(async (signal) => {
      for await (const events of this.#store.watch(registryPrefix, { after: this.#applied, signal })) this.#apply(events)
    })
    this.#tasks.spawn((signal) =>
      every(this.#clock, bookmarkIntervalMs, signal, () => {
        for (const cache of this.#caches.values()) cache.bookmark(this.#applied)
      }),
    )
    let previous = this.#applied
    this.#tasks.spawn((signal) =>
      every(this.#clock, compactionIntervalMs, signal, () => {
        const target = previous
        previous = this.#applied
        if (target > this.#store.compactedRevision()) this.#compact(target)
      }),
    )
  }

  /** Resolves when the caches show `revision`; `timeout` when it does not come. */
  async reached(revision: bigint): Promise<void> {
    if (this.#applied >= revision) return
    if (this.#failure !== undefined) throw this.#failure
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const waiter: Waiter = { revision, resolve }
    this.#waiters.push(waiter)
    using _timer = this.#clock.after(catchUpMs, () => {
      this.#waiters = this.#waiters.filter((other) => other !== waiter)
      reject(this.#failure ?? versionTooLarge(revision, this.#applied))
    })
    await promise
  }

  /** Resolves when the caches show all that was committed before the call. */
  caughtUp(): Promise<void> {
    return this.reached(this.#store.revision())
  }

  /** Commits and waits until the caches show it. Faults of the store pass through: `conflict` names the store's key. */
  async commit(writes: readonly ObjectWrite[]): Promise<bigint> {
    const { revision } = await this.#store.commit(writes.map((write) => this.#storeWrite(write)))
    await this.reached(revision)
    return revision
  }

  async close(): Promise<void> {
    for (const cache of this.#caches.values()) cache.close(undefined)
    await this.#tasks.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** A compaction that fails harms nothing but the file's size: the next one tries again. */
  #compact(revision: bigint): void {
    this.#tasks.spawn(async () => {
      try {
        await this.#store.compact(revision)
      } catch (error) {
        this.#log.warn({ err: error, revision: String(revision) }, 'the store could not be compacted')
      }
    })
  }

  #storeWrite(write: ObjectWrite): Write {
    const key = keyOf(write.resource, write.ref)
    if (write.op === 'delete') return { op: 'delete', key, expect: write.expect }
    const plain = storedBytes(write.object)
    const value = this.#seals(write.resource)?.seal(key, plain) ?? plain
    this.#written.set(value, write.object)
    return { op: 'put', key, value, expect: write.expect }
  }

  #seals(resource: Resource): Sealer | undefined {
    return resource.strategy.sealed === true ? this.#sealer : undefined
  }

  /** What a value holds: known when it was written here, else read when somebody asks. */
  #source(resource: Resource, key: string, value: Buffer): JsonObject | (() => JsonObject) {
    return this.#written.get(value) ?? (() => parseStored(this.#seals(resource)?.open(key, value) ?? value))
  }

  /** The stored form, unless it is sealed. */
  #plain(resource: Resource, value: Buffer): Buffer | undefined {
    return this.#seals(resource) === undefined ? value : undefined
  }

  #apply(events: readonly StoreEvent[]): void {
    for (const event of events) {
      const resource = this.resources.ofKey(event.key)
      if (resource === undefined) continue
      if (event.type === 'delete') this.cache(resource).delete(event.key, event.revision)
      else this.cache(resource).put(event.key, this.#source(resource, event.key, event.value), event.revision, this.#plain(resource, event.value))
    }
    this.#applied = present(events.at(-1), 'an event of a batch').revision
    const ready = this.#waiters.filter(({ revision }) => revision <= this.#applied)
    if (ready.length === 0) return
    this.#waiters = this.#waiters.filter(({ revision }) => revision > this.#applied)
    for (const { resolve } of ready) resolve()
  }

  /** The caches no longer follow the store: nothing that they would answer could be trusted. */
  #fail(fault: Fault): void {
    this.#failure = new Fault('unavailable', `the API server lost its store: ${fault.message}`, { cause: fault })
    this.#log.error({ err: fault }, 'the watch caches stopped following the store')
    for (const cache of this.#caches.values()) cache.close(this.#failure)
  }
}
