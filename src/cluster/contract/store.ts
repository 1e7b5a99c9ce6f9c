/**
 * The revisioned key-value store under the API server: SQLite on one machine, etcd on many, memory in the simulation.
 * The model is etcd's (https://etcd.io/docs/v3.5/learning/api/): one counter for the whole store, a snapshot at every
 * revision until it is compacted, and a watch that replays from any revision which is not. `store.suite.ts` says the
 * same in tests; a driver that passes it serves the API server.
 *
 * ```ts
 * const { revision } = await store.commit([{ op: 'put', key: '/registry/pods/default/web', value, expect: 'absent' }])
 * const stored = await store.get('/registry/pods/default/web')             // stored.modRevision === revision
 * await store.commit([{ op: 'delete', key: stored.key, expect: { modRevision: stored.modRevision } }])
 * for await (const events of store.watch('/registry/pods/', { after: revision, signal })) apply(events)
 * ```
 *
 * Keys are non-empty strings, ordered by their UTF-16 code units as JavaScript compares them; callers stay within ASCII, where
 * every driver agrees. Values are opaque bytes, at most `maxValueBytes`. Neither side changes a buffer it handed over.
 */

/** 1.5 MB, as upstream bounds an object. */
export const maxValueBytes = 1_572_864
/** Writes in one commit. */
export const maxWritesPerCommit = 1024

export interface StoredValue {
  readonly key: string
  readonly value: Buffer
  /** The revision that created the key (anew, when it had been deleted before). */
  readonly createRevision: bigint
  /** The revision of the last write to the key: what the next write guards on. */
  readonly modRevision: bigint
  /** 1 for the first write since the key was created, then counted up. */
  readonly version: number
}

/** What must hold for a write to happen: the key does not exist, or was last written at exactly this revision. */
export type Expectation = 'absent' | { readonly modRevision: bigint }

/** A write without `expect` always happens; deleting a key that does not exist is no event. */
export type Write =
  | { readonly op: 'put'; readonly key: string; readonly value: Buffer; readonly expect?: Expectation }
  | { readonly op: 'delete'; readonly key: string; readonly expect?: Expectation }

/** One change of one key. All events of one commit carry the same revision and arrive in one batch, in the order written. */
export type StoreEvent =
  | { readonly type: 'put'; readonly key: string; readonly revision: bigint; readonly value: Buffer; readonly createRevision: bigint; readonly version: number }
  | { readonly type: 'delete'; readonly key: string; readonly revision: bigint }

export interface StoreList {
  /** In key order. */
  readonly items: readonly StoredValue[]
  /** The snapshot the items were read from: watch `after` it for what follows. */
  readonly revision: bigint
  /** How many keys of the prefix come after the last item; undefined when the list is complete. */
  readonly remaining: number | undefined
}

export interface StoreListOptions {
  /** At most this many items. */
  readonly limit?: number
  /** Only keys greater than this one: the last key of the page before. */
  readonly after?: string
  /** The snapshot to read; the last committed one when absent. `expired` when compacted, `invalidArgument` when in the future. */
  readonly revision?: bigint
}

export interface StoreWatchOptions {
  /**
   * Events with a revision greater than this one are delivered, beginning with those that already happened.
   * The iterator's first step throws `expired` when they are no longer all known, `invalidArgument` when it lies in the future.
   */
  readonly after: bigint
  /** Ends the iteration without an error. */
  readonly signal: AbortSignal
  /** Events kept for a consumer that lags; one more ends its watch with `resourceExhausted`. 16,384 unless told otherwise. */
  readonly bufferedEvents?: number
}

export interface Store {
  /** The last committed revision; 0 for a new store. Never decreases, also not across a crash. */
  revision(): bigint

  /** The lowest revision that can still be listed, and watched `after`. */
  compactedRevision(): bigint

  get(key: string): Promise<StoredValue | undefined>

  /** All keys that begin with `prefix`. */
  list(prefix: string, options?: StoreListOptions): Promise<StoreList>

  /**
   * All writes or none. Resolves when they are durable, with the one revision they share; a commit that changes nothing
   * (only deletes of absent keys) resolves with the current revision.
   *
   * Faults: `conflict` when an expectation does not hold (`details.key` names the first such key, `details.modRevision`
   * is what it has, as a bigint, absent when the key does not exist); `invalidArgument` when a key is written twice or a bound is
   * broken; `resourceExhausted` when the queue is full; `unavailable` when the store is closed or its disk fails.
   */
  commit(writes: readonly Write[]): Promise<{ readonly revision: bigint }>

  /**
   * Changes below `prefix`, in revision order, without gap and without repetition. Each batch is not empty and holds whole
   * commits. A commit is delivered after it became durable; `revision()` covers it by then.
   */
  watch(prefix: string, options: StoreWatchOptions): AsyncIterable<readonly StoreEvent[]>

  /** Forgets every version that was superseded at or before `revision`, and gives the space back. Lower revisions then expire. */
  compact(revision: bigint): Promise<void>

  /** Waits for commits under way, ends watches, lets go of files. */
  close(): Promise<void>
}
