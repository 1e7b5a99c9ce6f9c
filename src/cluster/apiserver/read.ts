/**
 * Get, list and watch, with the resourceVersion semantics of
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions. Everything is answered from the watch caches;
 * "newest" means that they first catch up with the store.
 */
import { Fault } from '#base/fault.ts'
import type { CacheWatcher, WatchItem } from './cache.ts'
import type { Entry } from './entry.ts'
import { badRequest, expiredContinue, notFound } from './refusals.ts'
import { scopePrefix, type Ref, type Resource } from './resources.ts'
import { equalityTerm, selection } from './selection.ts'
import type { State } from './state.ts'

export interface Scope {
  /** '' for all namespaces, and for cluster-scoped kinds. */
  readonly namespace: string
  readonly labelSelector?: string
  readonly fieldSelector?: string
}

export interface ListRequest extends Scope {
  readonly resourceVersion?: string
  readonly resourceVersionMatch?: string
  readonly limit?: number
  readonly continue?: string
}

export interface EntryList {
  readonly entries: readonly Entry[]
  readonly resourceVersion: string
  readonly continue: string | undefined
  readonly remainingItemCount: number | undefined
}

export interface WatchRequest extends Scope {
  readonly resourceVersion?: string
  readonly resourceVersionMatch?: string
  readonly sendInitialEvents?: boolean
  readonly allowWatchBookmarks?: boolean
  /** Absent: the server chooses, between 30 and 60 minutes, so that watchers do not all come back at once. */
  readonly timeoutSeconds?: number
  readonly signal: AbortSignal
}

/** A resourceVersion of a request: undefined when it was not given. Throws `invalidArgument`. */
function parseVersion(text: string | undefined, what = 'resourceVersion'): bigint | undefined {
  if (text === undefined || text === '') return undefined
  if (!/^\d{1,19}$/.test(text)) throw badRequest(`invalid ${what} "${text}": it must be a decimal number that the server gave out`)
  return BigInt(text)
}

/** Waits until the caches are as new as a request with this resourceVersion wants. */
async function fresh(state: State, version: bigint | undefined): Promise<void> {
  if (version === undefined) await state.caughtUp()
  else if (version > 0n) await state.reached(version)
}

export async function getEntry(state: State, resource: Resource, ref: Ref, resourceVersion?: string): Promise<Entry> {
  await fresh(state, parseVersion(resourceVersion))
  const entry = state.entry(resource, ref)
  if (entry === undefined) throw notFound(resource.kind, ref.name)
  return entry
}

interface Continue {
  readonly revision: bigint
  readonly after: string
}

/** Opaque to clients: the snapshot and the last key of the page before. */
function encodeContinue({ revision, after }: Continue): string {
  return Buffer.from(JSON.stringify({ v: 'berth/1', rv: String(revision), after })).toString('base64url')
}

function decodeContinue(text: string, prefix: string): Continue {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString())
    if (typeof value === 'object' && value !== null && 'v' in value && value.v === 'berth/1' && 'rv' in value && 'after' in value) {
      const after = String(value.after)
      if (after.startsWith(prefix)) return { revision: BigInt(String(value.rv)), after }
    }
  } catch (error) {
    throw new Fault('invalidArgument', 'continue key is not valid: send the one that the last page gave', { cause: error })
  }
  throw badRequest('continue key is not valid: send the one that the last page of the same list gave')
}

function checkListRequest(request: ListRequest): void {
  const { resourceVersion, resourceVersionMatch, limit } = request
  if (limit !== undefined && (!Number.isInteger(limit) || limit < 0)) throw badRequest(`invalid limit ${limit}: it must be a number of items`)
  if (request.continue !== undefined && request.continue !== '') {
    if (resourceVersionMatch !== undefined) throw badRequest('resourceVersionMatch is forbidden when continue is provided')
    if (resourceVersion !== undefined && resourceVersion !== '' && resourceVersion !== '0') {
      throw badRequest('specifying resource version is not allowed when using continue')
    }
    return
  }
  if (resourceVersionMatch === undefined || resourceVersionMatch === '') return
  if (resourceVersionMatch !== 'Exact' && resourceVersionMatch !== 'NotOlderThan') throw badRequest(`resourceVersionMatch "${resourceVersionMatch}" is not known: Exact or NotOlderThan`)
  if (resourceVersion === undefined || resourceVersion === '') throw badRequest('resourceVersionMatch is forbidden unless resourceVersion is provided')
  if (resourceVersionMatch === 'Exact' && resourceVersion === '0') throw badRequest('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"')
}

/** The snapshot that a list reads, and the key after which it begins. */
async function snapshotFor(state: State, prefix: string, request: ListRequest): Promise<Continue> {
  if (request.continue !== undefined && request.continue !== '') {
    const token = decodeContinue(request.continue, prefix)
    await state.reached(token.revision)
    return token
  }
  const version = parseVersion(request.resourceVersion)
  await fresh(state, version)
  // With a limit, an older version means that snapshot exactly (it is how clients page on); without one, at least as new.
  const exact = request.resourceVersionMatch === 'Exact' && version !== undefined
  return { revision: exact ? version : state.revision, after: '' }
}

export async function listEntries(state: State, resource: Resource, request: ListRequest): Promise<EntryList> {
  checkListRequest(request)
  const selects = selection(resource.kind, request.labelSelector, request.fieldSelector)
  const prefix = scopePrefix(resource, request.namespace)
  const { revision, after } = await snapshotFor(state, prefix, request)
  const cache = state.cache(resource)
  if (!cache.remembers(revision)) {
    throw request.continue === undefined ? new Fault('expired', `The provided resourceVersion ${revision} is too old to list`) : expiredContinue()
  }
  const limit = request.limit === undefined || request.limit === 0 ? Number.POSITIVE_INFINITY : request.limit
  const entries: Entry[] = []
  let [more, last] = [false, after]
  for (const entry of cache.scanAt(revision, prefix, after)) {
    if (entries.length >= limit) {
      more = true
      break
    }
    if (selects !== undefined && !selects(entry.object)) continue
    entries.push(entry)
    last = entry.key
  }
  return {
    entries,
    resourceVersion: String(revision),
    continue: more ? encodeContinue({ revision, after: last }) : undefined,
    // With a selector the rest is not counted, as upstream.
    remainingItemCount: more && selects === undefined ? cache.countAt(revision, prefix, last) : undefined,
  }
}

function checkWatchRequest({ sendInitialEvents, resourceVersionMatch }: WatchRequest): void {
  if (sendInitialEvents === undefined) {
    if (resourceVersionMatch !== undefined && resourceVersionMatch !== '') throw badRequest('resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided')
    return
  }
  if (resourceVersionMatch !== 'NotOlderThan') throw badRequest('sendInitialEvents requires setting resourceVersionMatch to NotOlderThan')
}

/**
 * Registers a watch; what it answers are batches of events, never empty. They end quietly on `signal`, on the timeout and when
 * the server stops, and with `expired` when the watcher was too slow. Throws `expired` when the version is too old.
 */
export async function openWatch(state: State, resource: Resource, request: WatchRequest, jitter: () => number): Promise<AsyncIterable<readonly WatchItem[]>> {
  checkWatchRequest(request)
  const selects = selection(resource.kind, request.labelSelector, request.fieldSelector)
  const version = parseVersion(request.resourceVersion)
  await fresh(state, version)
  const initial = request.sendInitialEvents ?? (version === undefined || version === 0n)
  const bookmarks = request.allowWatchBookmarks === true
  const watcher = state.cache(resource).watch(
    {
      prefix: scopePrefix(resource, request.namespace),
      selects,
      term: equalityTerm(request.fieldSelector),
      after: initial ? undefined : version === undefined || version === 0n ? state.revision : version,
      initialEnd: request.sendInitialEvents === true && bookmarks,
      bookmarks,
    },
    state.revision,
  )
  const end = (): void => watcher.end(undefined)
  if (request.signal.aborted) end()
  else request.signal.addEventListener('abort', end, { once: true })
  const timeoutMs = (request.timeoutSeconds ?? 1_800 + jitter() * 1_800) * 1000
  const timer = state.clock.after(
    timeoutMs,
    () => {
      if (bookmarks) watcher.offer({ type: 'BOOKMARK', revision: state.revision, initialEnd: false })
      end()
    },
    { background: true },
  )
  const release = (): void => {
    timer.cancel()
    request.signal.removeEventListener('abort', end)
    end()
  }
  return drain(watcher, request.signal, release)
}

async function* drain(watcher: CacheWatcher, signal: AbortSignal, release: () => void): AsyncGenerator<readonly WatchItem[]> {
  try {
    for (let items = await watcher.next(); items !== undefined && !signal.aborted; items = await watcher.next()) yield items
  } finally {
    release()
  }
}
