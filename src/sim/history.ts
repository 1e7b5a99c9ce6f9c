/**
 * The truth: every change of the store, as the store itself told it. Checks compare what others were told with it. It
 * listens at the store, below the API server and all injected faults.
 */
import type { Clock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { isJsonObject, type JsonObject } from '#schema/json.ts'
import { valueAt } from '#schema/selector.ts'
import type { Store, StoreEvent, Write } from '#cluster/contract/store.ts'

export interface HistoryEntry {
  readonly revision: bigint
  readonly key: string
  readonly kind: string
  /** `namespace/name`, or `name`. */
  readonly name: string
  /** Undefined: deleted by this change. */
  readonly object: JsonObject | undefined
  readonly previous: JsonObject | undefined
}

export interface History {
  readonly entries: readonly HistoryEntry[]
  /** What broke the rules of a store. */
  readonly violations: readonly string[]
  /** Objects of a kind as they were at `revision`, by name. */
  stateAt(kind: string, revision: bigint): Map<string, HistoryEntry>
  /** Changes of a kind with a revision in (after, upTo]. */
  between(kind: string, after: bigint, upTo: bigint): HistoryEntry[]
  /** Current objects of a kind. */
  current(kind: string): JsonObject[]
  /** The store as everybody should use it: commits are watched for revisions that repeat or go back. */
  readonly store: Store
  onEntry(listener: (entry: HistoryEntry) => void): void
  close(): void
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '')

export function nameOf(object: JsonObject): string {
  const namespace = text(valueAt(object, 'metadata.namespace'))
  const name = text(valueAt(object, 'metadata.name'))
  return namespace === '' ? name : `${namespace}/${name}`
}

/** So many commits in one moment are a fight between two writers that will never end. */
const commitsPerMoment = 3000

export function recordHistory(raw: Store, clock: Clock): History {
  let moment = { atMs: clock.nowMs(), commits: 0 }
  const entries: HistoryEntry[] = []
  const byKind = new Map<string, HistoryEntry[]>()
  const last = new Map<string, JsonObject>()
  const violations: string[] = []
  const listeners: ((entry: HistoryEntry) => void)[] = []
  const controller = new AbortController()
  let committed = raw.revision()

  const add = (event: StoreEvent): void => {
    const previous = last.get(event.key)
    let object: JsonObject | undefined
    if (event.type === 'put') {
      const parsed: unknown = JSON.parse(event.value.toString())
      if (!isJsonObject(parsed)) return
      object = parsed
      last.set(event.key, object)
    } else last.delete(event.key)
    const known = object ?? previous
    if (known === undefined) return
    const entry: HistoryEntry = { revision: event.revision, key: event.key, kind: text(known['kind']), name: nameOf(known), object, previous }
    entries.push(entry)
    const same = byKind.get(entry.kind)
    if (same === undefined) byKind.set(entry.kind, [entry])
    else same.push(entry)
    for (const listener of listeners) listener(entry)
  }

  const follow = async (): Promise<void> => {
    for await (const events of raw.watch('/', { after: raw.revision(), signal: controller.signal, bufferedEvents: Number.POSITIVE_INFINITY })) for (const event of events) add(event)
  }
  // A history that fails to follow is a broken harness: let it surface as an unhandled rejection.
  void follow()

  const commit = async (writes: readonly Write[]): Promise<{ readonly revision: bigint }> => {
    if (moment.atMs !== clock.nowMs()) moment = { atMs: clock.nowMs(), commits: 0 }
    moment.commits += 1
    if (moment.commits > commitsPerMoment) {
      if (moment.commits === commitsPerMoment + 1) violations.push(`more than ${commitsPerMoment} commits in one moment, the last of ${writes.map(({ key }) => key).join(', ')}`)
      // Whoever fights backs off, so that time can pass and the run end.
      throw new Fault('unavailable', 'too many commits in one moment')
    }
    const { revision } = await raw.commit(writes)
    if (revision <= committed && writes.some(({ op }) => op === 'put')) violations.push(`the store gave revision ${revision} to a commit of ${writes.map(({ key }) => key).join(', ')}, after it had given ${committed}`)
    if (revision > committed) committed = revision
    return { revision }
  }

  return {
    entries,
    violations,
    store: {
      revision: () => raw.revision(),
      compactedRevision: () => raw.compactedRevision(),
      get: (key) => raw.get(key),
      list: (prefix, options) => raw.list(prefix, options),
      watch: (prefix, options) => raw.watch(prefix, options),
      compact: (revision) => raw.compact(revision),
      close: () => raw.close(),
      commit,
    },
    stateAt(kind, revision) {
      const state = new Map<string, HistoryEntry>()
      for (const entry of byKind.get(kind) ?? []) {
        if (entry.revision > revision) break
        if (entry.object === undefined) state.delete(entry.name)
        else state.set(entry.name, entry)
      }
      return state
    },
    between: (kind, after, upTo) => (byKind.get(kind) ?? []).filter(({ revision }) => revision > after && revision <= upTo),
    current: (kind) => [...last.values()].filter((object) => object['kind'] === kind),
    onEntry: (listener) => void listeners.push(listener),
    close: () => controller.abort(),
  }
}
