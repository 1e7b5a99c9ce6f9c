/**
 * The store in memory: for tests and for the simulator, so nothing here asks the machine for anything. Commits take effect
 * in the order of the calls, at once; what differs from one run to the next is the caller's alone.
 */
import { firstIndex } from '#base/bisect.ts'
import { checkRevision, checkWrites, brokenExpectation, storeClosed } from '../refusals.ts'
import { Feed } from '../feed.ts'
import type { Store, StoreEvent, StoreList, StoreListOptions, StoreWatchOptions, StoredValue, Write } from '../../contract/store.ts'

/** One version of one key. `value` is absent where the version is the key's deletion. */
interface Version {
  readonly revision: bigint
  readonly createRevision: bigint
  readonly version: number
  readonly value: Buffer | undefined
}

export function openMemoryStore(): Store {
  return new MemoryStore()
}

class MemoryStore implements Store {
  readonly #feed = new Feed()
  /** Every kept version of every key, oldest first. */
  readonly #versions = new Map<string, Version[]>()
  /** Keys in order; rebuilt when a key was added or forgotten. */
  #sortedKeys: string[] | undefined
  /** Kept events, oldest first. */
  #events: StoreEvent[] = []
  #revision = 0n
  #compacted = 0n
  #closed = false

  revision(): bigint {
    return this.#revision
  }

  compactedRevision(): bigint {
    return this.#compacted
  }

  async get(key: string): Promise<StoredValue | undefined> {
    return this.#at(key, this.#revision)
  }

  async list(prefix: string, options: StoreListOptions = {}): Promise<StoreList> {
    const revision = options.revision ?? this.#revision
    checkRevision(revision, { compacted: this.#compacted, current: this.#revision })
    const limit = options.limit ?? Number.POSITIVE_INFINITY
    const items: StoredValue[] = []
    let remaining = 0
    const keys = this.#keys()
    const first = lowerBound(keys, options.after !== undefined && options.after > prefix ? options.after : prefix)
    for (let index = first; index < keys.length; index += 1) {
      const key = keys[index] ?? ''
      if (!key.startsWith(prefix)) {
        if (key > prefix) break
        continue
      }
      if (options.after !== undefined && key <= options.after) continue
      const stored = this.#at(key, revision)
      if (stored === undefined) continue
      if (items.length < limit) items.push(stored)
      else remaining += 1
    }
    return { items, revision, remaining: remaining === 0 ? undefined : remaining }
  }

  async commit(writes: readonly Write[]): Promise<{ readonly revision: bigint }> {
    if (this.#closed) throw storeClosed()
    checkWrites(writes)
    for (const { key, expect } of writes) {
      if (expect === undefined) continue
      const modRevision = this.#at(key, this.#revision)?.modRevision
      if (expect === 'absent' ? modRevision !== undefined : modRevision !== expect.modRevision) throw brokenExpectation(key, modRevision)
    }
    const revision = this.#revision + 1n
    const events: StoreEvent[] = []
    for (const write of writes) {
      const event = this.#apply(write, revision)
      if (event !== undefined) events.push(event)
    }
    if (events.length === 0) return { revision: this.#revision }
    this.#revision = revision
    for (const event of events) this.#events.push(event)
    this.#feed.publish(events)
    return { revision }
  }

  async *watch(prefix: string, options: StoreWatchOptions): AsyncGenerator<readonly StoreEvent[]> {
    if (this.#closed) throw storeClosed()
    checkRevision(options.after, { compacted: this.#compacted, current: this.#revision })
    using subscription = this.#feed.subscribe(prefix, options)
    const missed = this.#events.slice(firstAfter(this.#events, options.after)).filter(({ key }) => key.startsWith(prefix))
    if (missed.length > 0 && !options.signal.aborted) yield missed
    for (let batch = await subscription.next(); batch !== undefined; batch = await subscription.next()) yield batch
  }

  async compact(revision: bigint): Promise<void> {
    if (revision <= this.#compacted) return
    checkRevision(revision, { compacted: this.#compacted, current: this.#revision })
    this.#compacted = revision
    this.#events = this.#events.slice(firstAfter(this.#events, revision))
    for (const [key, versions] of this.#versions) {
      const kept = versions.filter((version, index) => {
        const supersededAt = version.value === undefined ? version.revision : versions[index + 1]?.revision
        return supersededAt === undefined || supersededAt > revision
      })
      if (kept.length > 0) this.#versions.set(key, kept)
      else {
        this.#versions.delete(key)
        this.#sortedKeys = undefined
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#feed.close(storeClosed())
  }

  #keys(): string[] {
    this.#sortedKeys ??= [...this.#versions.keys()].sort()
    return this.#sortedKeys
  }

  /** The key as it was at `revision`. */
  #at(key: string, revision: bigint): StoredValue | undefined {
    const found = this.#versions.get(key)?.findLast((version) => version.revision <= revision)
    if (found?.value === undefined) return undefined
    return { key, value: found.value, createRevision: found.createRevision, modRevision: found.revision, version: found.version }
  }

  #apply(write: Write, revision: bigint): StoreEvent | undefined {
    const { key } = write
    let versions = this.#versions.get(key)
    const last = versions?.at(-1)
    const previous = last?.value === undefined ? undefined : last
    if (write.op === 'delete') {
      if (previous === undefined) return undefined
      versions?.push({ revision, createRevision: previous.createRevision, version: previous.version, value: undefined })
      return { type: 'delete', key, revision }
    }
    if (versions === undefined) {
      versions = []
      this.#versions.set(key, versions)
      this.#sortedKeys = undefined
    }
    const createRevision = previous?.createRevision ?? revision
    const version = (previous?.version ?? 0) + 1
    versions.push({ revision, createRevision, version, value: write.value })
    return { type: 'put', key, revision, value: write.value, createRevision, version }
  }
}

/** Index of the first key not less than `bound`. */
function lowerBound(keys: readonly string[], bound: string): number {
  return firstIndex(keys.length, (index) => (keys[index] ?? '') >= bound)
}

/** Index of the first event whose revision is greater than `revision`. */
function firstAfter(events: readonly StoreEvent[], revision: bigint): number {
  return firstIndex(events.length, (index) => (events[index]?.revision ?? 0n) > revision)
}
