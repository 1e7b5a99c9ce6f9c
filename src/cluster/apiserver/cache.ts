/**
 * The watch cache of one resource: all current objects in key order, the recent changes, and the watchers. Lists at a recent
 * revision are answered by undoing changes; watches replay them. Everything in it is shared and frozen.
 */
import { assert, present } from '#base/assert.ts'
import { firstIndex } from '#base/bisect.ts'
import { Fault } from '#base/fault.ts'
import type { JsonObject } from '#schema/json.ts'
import { Entry } from './entry.ts'
import { expiredVersion } from './refusals.ts'
import type { FieldTerm, Predicate } from './selection.ts'

/** One change of one object. `entry` is the state after it; of a deletion the last state, stamped with the deletion's revision. */
export interface Change {
  readonly type: 'put' | 'delete'
  readonly entry: Entry
  readonly previous: Entry | undefined
}

export type WatchItem =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly entry: Entry }
  /** Everything up to `revision` was sent. `initialEnd`: the state that was asked for with sendInitialEvents ends here. */
  | { readonly type: 'BOOKMARK'; readonly revision: bigint; readonly initialEnd: boolean }

export interface CacheWatchOptions {
  /** Keys must begin with it: the resource's own prefix, or one namespace's. */
  readonly prefix: string
  readonly selects: Predicate | undefined
  /** A field that everything selected has with this value: then changes of other objects do not even ask this watcher. */
  readonly term: FieldTerm | undefined
  /** Changes after this revision; undefined: first the current state as ADDED. */
  readonly after: bigint | undefined
  /** After the current state, say where it ends. */
  readonly initialEnd: boolean
  readonly bookmarks: boolean
}

/** The text that field selectors compare with. */
export type FieldText = (path: string, object: JsonObject) => string

/** Changes kept per resource for lists and watches of the past. */
const keptChanges = 8_192
/** Items a watcher may leave unread. */
const bufferedItems = 16_384

export class ResourceCache {
  readonly prefix: string
  readonly #entries = new Map<string, Entry>()
  #keys: string[] = []
  /** Keys were added out of order and await sorting. */
  #unsorted = false
  #changes: Change[] = []
  /** Lists and watches below this revision need more than `#changes` has. */
  #horizon: bigint
  readonly #watchers = new Set<CacheWatcher>()
  /** Watchers without a term. */
  readonly #general = new Set<CacheWatcher>()
  /** The others by path and value: a kubelet's watch of its node's pods is one of thousands. */
  readonly #byTerm = new Map<string, Map<string, Set<CacheWatcher>>>()
  readonly #fieldText: FieldText
  readonly #listeners = new Set<(change: Change) => void>()

  constructor(prefix: string, horizon: bigint, fieldText: FieldText) {
    this.prefix = prefix
    this.#horizon = horizon
    this.#fieldText = fieldText
  }

  get size(): number {
    return this.#entries.size
  }

  get watchers(): number {
    return this.#watchers.size
  }

  get(key: string): Entry | undefined {
    return this.#entries.get(key)
  }

  /** Calls `listener` with each later change, synchronously, before any watcher sees it. */
  listen(listener: (change: Change) => void): void {
    this.#listeners.add(listener)
  }

  /** Takes over one object at start, without history. */
  load(entry: Entry): void {
    this.#entries.set(entry.key, entry)
    if ((this.#keys.at(-1) ?? '') > entry.key) this.#unsorted = true
    this.#keys.push(entry.key)
  }

  /** `object`: as an Entry takes it. `stored`: the object's stored form, if it is not sealed. */
  put(key: string, object: JsonObject | (() => JsonObject), revision: bigint, stored?: Buffer): void {
    const previous = this.#entries.get(key)
    const entry = new Entry(key, object, revision, stored)
    this.#entries.set(key, entry)
    if (previous === undefined) this.#insertKey(key)
    this.#record({ type: 'put', entry, previous })
  }

  delete(key: string, revision: bigint): void {
    const previous = this.#entries.get(key)
    if (previous === undefined) return
    this.#entries.delete(key)
    const at = lowerBound(this.#sortedKeys(), key)
    this.#keys.splice(at, 1)
    this.#record({ type: 'delete', entry: new Entry(key, () => previous.object, revision), previous })
  }

  /** All current entries whose key begins with `prefix`, in key order, from the first key greater than `after`. */
  *scan(prefix = this.prefix, after = ''): Generator<Entry> {
    const keys = this.#sortedKeys()
    let index = lowerBound(keys, after > prefix ? after : prefix)
    if (keys[index] === after) index += 1
    for (; index < keys.length; index += 1) {
      const key = keys[index] ?? ''
      if (!key.startsWith(prefix)) return
      yield present(this.#entries.get(key), 'the entry of a cached key')
    }
  }

  /** Whether `listAt` can answer for `revision`. */
  remembers(revision: bigint): boolean {
    return revision >= this.#horizon
  }

  /** The entries below `prefix` as they were at `revision`, in key order, from the first key greater than `after`. Throws `expired`. */
  *scanAt(revision: bigint, prefix: string, after: string): Generator<Entry> {
    const undone = this.#changedSince(revision)
    if (undone.size === 0) return yield* this.scan(prefix, after)
    const former: Entry[] = []
    for (const entry of undone.values()) if (entry !== undefined && entry.key > after && entry.key.startsWith(prefix)) former.push(entry)
    former.sort((a, b) => (a.key < b.key ? -1 : 1))
    let index = 0
    for (const entry of this.scan(prefix, after)) {
      if (undone.has(entry.key)) continue
      for (let next = former[index]; next !== undefined && next.key < entry.key; next = former[(index += 1)]) yield next
      yield entry
    }
    yield* former.slice(index)
  }

  /** How many entries `scanAt` would give, without going through them. */
  countAt(revision: bigint, prefix: string, after: string): number {
    const keys = this.#sortedKeys()
    const counts = (key: string): boolean => key > after && key.startsWith(prefix)
    let count = lowerBound(keys, `${prefix}\uffff`) - lowerBound(keys, after > prefix ? `${after}\0` : prefix)
    for (const [key, former] of this.#changedSince(revision)) if (counts(key)) count += Number(former !== undefined) - Number(this.#entries.has(key))
    return count
  }

  /** What was under each key that changed after `revision`. */
  #changedSince(revision: bigint): ReadonlyMap<string, Entry | undefined> {
    if (!this.remembers(revision)) throw expiredVersion()
    const former = new Map<string, Entry | undefined>()
    for (let index = this.#changes.length - 1; index >= 0; index -= 1) {
      const change = this.#changes[index]
      if (change === undefined || change.entry.revision <= revision) break
      former.set(change.entry.key, change.previous)
    }
    return former
  }

  /** `at`: the revision up to which this cache is complete. Throws `expired`. */
  watch(options: CacheWatchOptions, at: bigint): CacheWatcher {
    const { prefix, selects, after } = options
    const items: WatchItem[] = []
    if (after === undefined) {
      for (const entry of this.scan(prefix)) if (selects === undefined || selects(entry.object)) items.push({ type: 'ADDED', entry })
      if (options.initialEnd) items.push({ type: 'BOOKMARK', revision: at, initialEnd: true })
    } else {
      if (after < this.#horizon) throw expiredVersion()
      for (let index = firstAfter(this.#changes, after); index < this.#changes.length; index += 1) {
        const item = itemFor(present(this.#changes[index], 'a change'), options)
        if (item !== undefined) items.push(item)
      }
    }
    const group = this.#groupOf(options.term)
    const watcher: CacheWatcher = new CacheWatcher(options, items, () => {
      this.#watchers.delete(watcher)
      group.delete(watcher)
      if (group.size === 0 && options.term !== undefined) this.#byTerm.get(options.term.path)?.delete(options.term.value)
    })
    this.#watchers.add(watcher)
    group.add(watcher)
    return watcher
  }

  #groupOf(term: FieldTerm | undefined): Set<CacheWatcher> {
    if (term === undefined) return this.#general
    const values = this.#byTerm.get(term.path) ?? new Map<string, Set<CacheWatcher>>()
    this.#byTerm.set(term.path, values)
    const group = values.get(term.value) ?? new Set<CacheWatcher>()
    values.set(term.value, group)
    return group
  }

  /** Tells watchers that want to know that nothing else happened up to `revision`. */
  bookmark(revision: bigint): void {
    for (const watcher of this.#watchers) if (watcher.options.bookmarks) watcher.offer({ type: 'BOOKMARK', revision, initialEnd: false })
  }

  /** Ends all watches. */
  close(fault: Fault | undefined): void {
    for (const watcher of this.#watchers) watcher.end(fault)
  }

  #record(change: Change): void {
    this.#changes.push(change)
    if (this.#changes.length > keptChanges * 1.25) {
      const dropped = this.#changes.splice(0, this.#changes.length - keptChanges).at(-1)
      this.#horizon = present(dropped, 'a dropped change').entry.revision
    }
    for (const listener of this.#listeners) listener(change)
    tell(this.#general, change)
    for (const [path, values] of this.#byTerm) {
      const now = this.#fieldText(path, change.entry.object)
      const before = change.previous === undefined ? now : this.#fieldText(path, change.previous.object)
      tell(values.get(now), change)
      if (before !== now) tell(values.get(before), change)
    }
  }

  #sortedKeys(): readonly string[] {
    if (this.#unsorted) {
      this.#keys.sort()
      this.#unsorted = false
    }
    return this.#keys
  }

  #insertKey(key: string): void {
    const keys = this.#sortedKeys()
    const at = lowerBound(keys, key)
    assert(keys[at] !== key, `the key ${key} is cached already`)
    this.#keys.splice(at, 0, key)
  }
}

function tell(watchers: ReadonlySet<CacheWatcher> | undefined, change: Change): void {
  for (const watcher of watchers ?? []) {
    const item = itemFor(change, watcher.options)
    if (item !== undefined) watcher.offer(item)
  }
}

/** What a watcher hears of a change: an object that leaves its selection is DELETED to it, in its last selected state. */
function itemFor(change: Change, { prefix, selects }: CacheWatchOptions): WatchItem | undefined {
  const { entry, previous, type } = change
  if (!entry.key.startsWith(prefix)) return undefined
  const was = previous !== undefined && (selects === undefined || selects(previous.object))
  if (type === 'delete') return was ? { type: 'DELETED', entry } : undefined
  if (selects === undefined || selects(entry.object)) return { type: was ? 'MODIFIED' : 'ADDED', entry }
  return was ? { type: 'DELETED', entry: new Entry(entry.key, () => previous.object, entry.revision) } : undefined
}

/** One watch: a bounded queue that its consumer empties. */
export class CacheWatcher implements Disposable {
  readonly options: CacheWatchOptions
  readonly #leave: () => void
  /** The items to begin with do not count as unread. */
  readonly #limit: number
  #items: WatchItem[]
  #wake: (() => void) | undefined
  #ended = false
  #fault: Fault | undefined

  constructor(options: CacheWatchOptions, items: WatchItem[], leave: () => void) {
    this.options = options
    this.#items = items
    this.#limit = items.length + bufferedItems
    this.#leave = leave
  }

  offer(item: WatchItem): void {
    if (this.#ended) return
    if (this.#items.length >= this.#limit && item.type !== 'BOOKMARK') {
      this.#items = []
      this.end(new Fault('expired', `the watcher left more than ${bufferedItems} events unread: list again`))
      return
    }
    this.#items.push(item)
    this.#wake?.()
  }

  /** Items already queued are still delivered, then the watch ends: with `fault`, or quietly. */
  end(fault: Fault | undefined): void {
    if (this.#ended) return
    this.#ended = true
    this.#fault = fault
    this.#leave()
    this.#wake?.()
  }

  /** The next items, at least one; undefined when the watch has ended. */
  async next(): Promise<readonly WatchItem[] | undefined> {
    while (this.#items.length === 0) {
      if (this.#fault !== undefined) throw this.#fault
      if (this.#ended) return undefined
      await new Promise<void>((resolve) => (this.#wake = resolve))
      this.#wake = undefined
    }
    const items = this.#items
    this.#items = []
    return items
  }

  [Symbol.dispose](): void {
    this.end(undefined)
  }
}

/** Index of the first key not less than `bound`. */
function lowerBound(keys: readonly string[], bound: string): number {
  return firstIndex(keys.length, (index) => (keys[index] ?? '') >= bound)
}

function firstAfter(changes: readonly Change[], revision: bigint): number {
  return firstIndex(changes.length, (index) => (changes[index]?.entry.revision ?? 0n) > revision)
}
