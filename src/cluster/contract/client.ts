/**
 * How everything of ours talks to an API server: controllers, scheduler, node agent, service proxy, DNS.
 *
 * There are two implementations: `cluster/client/http.ts` speaks HTTPS, `cluster/apiserver/local-client.ts` calls the
 * API core of the same process (the server's own controllers, and the simulator). Both refuse with the same `Fault`s, so
 * code above never learns which one it has. The verbs and their semantics are those of the Kubernetes API conventions
 * ("API concepts" in the Kubernetes reference).
 *
 * ```ts
 * const pod = await client.get(Pod, { namespace: 'default', name: 'web-1' })
 * await client.update(Pod, { ...pod, status: { ...pod.status, phase: 'Running' } }, { subresource: 'status' })
 * ```
 *
 * Objects that a client returns may be shared with a cache and frozen: never change one in place, build a new one.
 *
 * Faults, for every verb: `notFound`, `alreadyExists`, `conflict` (the object changed since it was read, or a
 * precondition does not hold), `unprocessable` (validation; `causes` name the fields), `permissionDenied`,
 * `unauthenticated`, `expired` (a list or watch asked for a revision that was compacted: list again),
 * `resourceExhausted` and `unavailable` (try again later), `timeout`, `canceled`.
 */

import type { Stored, StoredObject, Submitted, SubmittedObject } from '#schema/kind.ts'

/**
 * What a client needs to know of a kind: where it lives, and (phantom, never set) its submitted and stored types.
 * Every `KindDefinition` of `#schema` satisfies it.
 */
export interface ClientKind {
  /** `''` is the core group. */
  readonly group: string
  readonly version: string
  readonly kind: string
  readonly plural: string
  readonly namespaced: boolean
  readonly '~in'?: SubmittedObject
  readonly '~out'?: StoredObject
}

/** Names one object. `namespace` is left out exactly where the kind is cluster-scoped. */
export interface ObjectRef {
  readonly namespace?: string
  readonly name: string
}

export interface CallOptions {
  /** Aborting rejects the call with `canceled`; a write may have happened all the same. */
  readonly signal?: AbortSignal
}

export interface GetOptions extends CallOptions {
  /** Answer from a state at least this new; `'0'` = whatever is at hand; absent = the newest. */
  readonly resourceVersion?: string
}

export interface ListOptions extends CallOptions {
  /** Absent on a namespaced kind: all namespaces. */
  readonly namespace?: string
  /** E.g. `app=web,tier in (a,b)`. */
  readonly labelSelector?: string
  /** E.g. `spec.nodeName=node-1,status.phase!=Failed`. */
  readonly fieldSelector?: string
  /** As for get: at least this new, `'0'` = anything at hand, absent = the newest. */
  readonly resourceVersion?: string
  /** At most so many items; the rest follows under `continue`, at the same resourceVersion. */
  readonly limit?: number
  readonly continue?: string
}

export interface ListResult<T> {
  readonly items: readonly T[]
  /** State of the whole collection; a watch from here misses nothing. */
  readonly resourceVersion: string
  /** Present when items remain. */
  readonly continue?: string
  readonly remainingItemCount?: number
}

export interface WriteOptions extends CallOptions {
  /** Who writes, for managedFields and events: `kubelet`, `deployment-controller`, … */
  readonly fieldManager?: string
  readonly dryRun?: boolean
}

export interface UpdateOptions extends WriteOptions {
  /** `status`: only the status is taken from the object. `finalize`: a Namespace's `spec.finalizers`. */
  readonly subresource?: 'status' | 'finalize'
}

export interface PatchOptions extends WriteOptions {
  /** RFC 7386, RFC 6902, Kubernetes' strategic merge, or server-side apply (which needs a `fieldManager`). */
  readonly type: 'merge' | 'json' | 'strategic' | 'apply'
  readonly subresource?: string
  /** Server-side apply only: take fields over from other managers. */
  readonly force?: boolean
}

export interface DeleteOptions extends CallOptions {
  /** Refused with `conflict` unless they hold. */
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string }
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan'
  /** Pods: 0 removes the object at once; absent = the object's own grace period. */
  readonly gracePeriodSeconds?: number
}

export interface WatchOptions extends CallOptions {
  readonly namespace?: string
  readonly labelSelector?: string
  readonly fieldSelector?: string
  /** Events after this revision, exclusive, without gap or reordering. */
  readonly resourceVersion: string
  /** The server ends the watch after so many seconds; ends are normal, resume from the last revision seen. */
  readonly timeoutSeconds?: number
}

export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED'; readonly object: T }
  /** `object` is the last state, its resourceVersion that of the deletion. Under selectors: it left the selection. */
  | { readonly type: 'DELETED'; readonly object: T }
  /** Everything up to `resourceVersion` has been sent. */
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string }

export interface ReadClient {
  get<K extends ClientKind>(kind: K, ref: ObjectRef, options?: GetOptions): Promise<Stored<K>>
  list<K extends ClientKind>(kind: K, options?: ListOptions): Promise<ListResult<Stored<K>>>
  /**
   * Asks for bookmarks always. Iteration ends quietly when the server ends the watch or `signal` aborts, and throws
   * `expired` when the revision is gone or the watcher was too slow: list again. The connection opens with the first
   * `next()`.
   */
  watch<K extends ClientKind>(kind: K, options: WatchOptions): AsyncIterable<WatchEvent<Stored<K>>>
}

export interface Client extends ReadClient {
  /** The namespace is taken from `object.metadata.namespace`. Answers the stored object. */
  create<K extends ClientKind>(kind: K, object: Submitted<K>, options?: WriteOptions): Promise<Stored<K>>
  /**
   * POSTs to a subresource: `pods/binding`, `pods/eviction`, `serviceaccounts/token`. Answers what the server answers
   * (a Status for a binding).
   */
  createSubresource(kind: ClientKind, ref: ObjectRef, subresource: string, body: object, options?: WriteOptions): Promise<unknown>
  /** Guarded by `object.metadata.resourceVersion` when it is there (`conflict`), else unconditional. */
  update<K extends ClientKind>(kind: K, object: Submitted<K>, options?: UpdateOptions): Promise<Stored<K>>
  patch<K extends ClientKind>(kind: K, ref: ObjectRef, patch: unknown, options: PatchOptions): Promise<Stored<K>>
  /** Resolves once the deletion is accepted: with finalizers or a grace period the object stays for a while. */
  delete<K extends ClientKind>(kind: K, ref: ObjectRef, options?: DeleteOptions): Promise<void>
}
