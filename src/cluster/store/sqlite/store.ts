/**
 * The store in one SQLite file. Writes go to a writer thread, one batch in flight; whatever is committed meanwhile forms
 * the next batch, so that concurrent commits share an fsync. Reads run here, on a read-only connection, in slices that end
 * before the event loop notices, always at the last published revision: what a reader sees has been announced to watchers.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { Worker } from 'node:worker_threads'
import { assert, present, unreachable } from '#base/assert.ts'
import { sleep, type Clock } from '#base/clock.ts'
import { asFault, Fault } from '#base/fault.ts'
import type { Store, StoreEvent, StoreList, StoreListOptions, StoreWatchOptions, StoredValue, Write } from '../../contract/store.ts'
import { Feed } from '../feed.ts'
import { brokenExpectation, checkRevision, checkWrites, storeClosed } from '../refusals.ts'
import { revisionOf, rowId, type CommitResult, type FromWriter, type ToWriter, type WriteMessage } from './protocol.ts'

export interface SqliteStoreOptions {
  /** Made when missing, mode 0700; holds `store.db` and its WAL. */
  readonly folder: string
  readonly clock: Clock
  /** Commits that may wait for the writer; one more is refused with `resourceExhausted`. 4,096 unless told otherwise. */
  readonly queuedCommits?: number
}

/** Rows read in one go: about 5 ms of objects of 4 kB. */
const rowsPerSlice = 500
const batchCommits = 512
const batchBytes = 8 * 1_048_576

interface PendingCommit {
  readonly writes: readonly Write[]
  readonly bytes: number
  readonly resolve: (result: { readonly revision: bigint }) => void
  readonly reject: (fault: Fault) => void
}

interface PendingCompaction {
  readonly revision: number
  readonly done: PromiseWithResolvers<void>
}

/** Faults: `unavailable` when another process holds the folder or the format is newer, `dataLoss` when the file is damaged. */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  await mkdir(options.folder, { recursive: true, mode: 0o700 })
  const worker = new Worker(new URL('./writer.ts', import.meta.url), { workerData: { folder: options.folder }, name: 'store-writer' })
  const opened = await new Promise<FromWriter>((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  if (opened.type === 'refused') throw new Fault(opened.code, opened.message)
  assert(opened.type === 'opened', `the store writer answered ${opened.type} first`)
  return new SqliteStore(worker, options, { revision: opened.revision, compacted: opened.compacted })
}

class SqliteStore implements Store {
  readonly #worker: Worker
  readonly #clock: Clock
  readonly #queueLimit: number
  readonly #feed = new Feed()
  readonly #reader: DatabaseSync
  readonly #sql: { readonly get: StatementSync; readonly list: StatementSync; readonly count: StatementSync; readonly replay: StatementSync }
  readonly #queue: PendingCommit[] = []
  readonly #compactions: PendingCompaction[] = []
  readonly #exited: Promise<void>
  #inFlight: readonly PendingCommit[] | 'compaction' | undefined
  #revision: number
  #compacted: number
  #closed: Fault | undefined
  #drained: PromiseWithResolvers<void> | undefined

  constructor(worker: Worker, options: SqliteStoreOptions, at: { readonly revision: number; readonly compacted: number }) {
    this.#worker = worker
    this.#clock = options.clock
    this.#queueLimit = options.queuedCommits ?? 4_096
    this.#revision = at.revision
    this.#compacted = at.compacted
    this.#reader = new DatabaseSync(join(options.folder, 'store.db'), { readOnly: true, timeout: 5_000 })
    const visible = 'id < :end AND (until IS NULL OR until > :revision) AND value IS NOT NULL'
    this.#sql = {
      get: this.#reader.prepare(`SELECT id, key, created, version, value FROM versions WHERE key = :key AND ${visible}`),
      list: this.#reader.prepare(`SELECT id, key, created, version, value FROM versions WHERE key > :after AND key >= :prefix AND key < :bound AND ${visible} ORDER BY key LIMIT :limit`),
      count: this.#reader.prepare(`SELECT count(*) AS count FROM versions WHERE key > :after AND key >= :prefix AND key < :bound AND ${visible}`),
      replay: this.#reader.prepare('SELECT id, key, created, version, value FROM versions WHERE id > :after AND id < :end ORDER BY id LIMIT :limit'),
    }
    worker.on('message', (message: FromWriter) => this.#hear(message))
    worker.on('error', (cause) => this.#fail(new Fault('unavailable', `the store's writer died: ${asFault(cause).message}`, { cause })))
    this.#exited = new Promise((resolve) => worker.once('exit', () => resolve()))
    worker.once('exit', () => this.#fail(storeClosed()))
  }

  revision(): bigint {
    return BigInt(this.#revision)
  }

  compactedRevision(): bigint {
    return BigInt(this.#compacted)
  }

  async get(key: string): Promise<StoredValue | undefined> {
    if (this.#closed !== undefined) throw this.#closed
    const row = this.#sql.get.get({ ...this.#snapshot(this.#revision), key })
    return row === undefined ? undefined : storedValue(row)
  }

  async list(prefix: string, options: StoreListOptions = {}): Promise<StoreList> {
    const revision = options.revision ?? BigInt(this.#revision)
    const at = { ...this.#snapshot(Number(revision)), prefix, bound: upperBound(prefix) }
    const limit = options.limit ?? Number.POSITIVE_INFINITY
    const items: StoredValue[] = []
    for (let after = options.after ?? ''; ; ) {
      this.#checkReadable(revision)
      const wanted = Math.min(rowsPerSlice, limit - items.length)
      const rows = this.#sql.list.all({ ...at, after, limit: wanted })
      for (const row of rows) items.push(storedValue(row))
      after = items.at(-1)?.key ?? after
      if (rows.length < wanted) return { items, revision, remaining: undefined }
      if (items.length >= limit) {
        const count = Number(this.#sql.count.get({ ...at, after })?.['count'])
        return { items, revision, remaining: count === 0 ? undefined : count }
      }
      await sleep(this.#clock, 0)
    }
  }

  commit(writes: readonly Write[]): Promise<{ readonly revision: bigint }> {
    return new Promise((resolve, reject) => {
      if (this.#closed !== undefined) throw this.#closed
      checkWrites(writes)
      if (this.#queue.length >= this.#queueLimit) {
        throw new Fault('resourceExhausted', `${this.#queueLimit} commits already wait for the store`, { retryAfterSeconds: 1 })
      }
      let bytes = 0
      for (const write of writes) if (write.op === 'put') bytes += write.value.length
      this.#queue.push({ writes, bytes, resolve, reject })
      this.#send()
    })
  }

  async *watch(prefix: string, options: StoreWatchOptions): AsyncGenerator<readonly StoreEvent[]> {
    this.#checkReadable(options.after)
    using subscription = this.#feed.subscribe(prefix, options)
    const until = this.#revision
    let position = Number(options.after)
    while (position < until && !options.signal.aborted) {
      this.#checkReadable(BigInt(position))
      // A slice may end inside a commit: what it has of that commit waits for the next slice.
      const rows = this.#sql.replay.all({ after: rowId(position + 1, 0) - 1, end: rowId(until + 1, 0), limit: rowsPerSlice + 1024 })
      const last = rows.at(-1)
      const whole = last === undefined || rows.length < rowsPerSlice + 1024 ? until : revisionOf(Number(last['id'])) - 1
      const events = rows.filter((row) => revisionOf(Number(row['id'])) <= whole && String(row['key']).startsWith(prefix)).map(storeEvent)
      position = whole
      if (events.length > 0) yield events
      if (position < until) await sleep(this.#clock, 0)
    }
    for (let batch = await subscription.next(); batch !== undefined; batch = await subscription.next()) yield batch
  }

  compact(revision: bigint): Promise<void> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed)
    if (revision <= BigInt(this.#compacted)) return Promise.resolve()
    checkRevision(revision, { compacted: BigInt(this.#compacted), current: BigInt(this.#revision) })
    // From here on nobody reads below it, so the writer may delete while slices of other reads are still to come.
    this.#compacted = Number(revision)
    const done = Promise.withResolvers<void>()
    this.#compactions.push({ revision: Number(revision), done })
    this.#send()
    return done.promise
  }

  async close(): Promise<void> {
    if (this.#closed === undefined) {
      this.#closed = storeClosed()
      if (this.#inFlight !== undefined || this.#queue.length > 0) {
        this.#drained = Promise.withResolvers<void>()
        await this.#drained.promise
      }
      this.#feed.close(storeClosed())
      // First, so that the writer is the last connection and folds the WAL into the file as it closes.
      this.#reader.close()
      this.#worker.postMessage({ type: 'close' } satisfies ToWriter)
    }
    await this.#exited
  }

  #snapshot(revision: number): { readonly revision: number; readonly end: number } {
    return { revision, end: rowId(revision + 1, 0) }
  }

  #checkReadable(revision: bigint): void {
    if (this.#closed !== undefined) throw this.#closed
    checkRevision(revision, { compacted: BigInt(this.#compacted), current: BigInt(this.#revision) })
  }

  /** Gives the writer its next piece of work, unless it has one. Commits go before compaction. */
  #send(): void {
    if (this.#inFlight !== undefined) return
    if (this.#queue.length > 0) {
      let [count, bytes] = [0, 0]
      for (const pending of this.#queue) {
        if (count === batchCommits || (count > 0 && bytes + pending.bytes > batchBytes)) break
        count += 1
        bytes += pending.bytes
      }
      const batch = this.#queue.splice(0, count)
      this.#inFlight = batch
      const values = new ArrayBuffer(bytes)
      const message: ToWriter = { type: 'commit', batch: packBatch(batch, values), values }
      this.#worker.postMessage(message, [values])
      return
    }
    const compaction = this.#compactions[0]
    if (compaction !== undefined && this.#closed === undefined) {
      this.#inFlight = 'compaction'
      this.#worker.postMessage({ type: 'compact', revision: compaction.revision } satisfies ToWriter)
      return
    }
    this.#drained?.resolve()
  }

  #hear(message: FromWriter): void {
    const inFlight = this.#inFlight
    this.#inFlight = undefined
    switch (message.type) {
      case 'committed':
        assert(Array.isArray(inFlight), 'the writer answered a commit that nobody made')
        this.#publish(inFlight, message.results)
        break
      case 'failed': {
        const fault = new Fault('unavailable', `the store could not write: ${message.message}`)
        if (Array.isArray(inFlight)) for (const { reject } of inFlight) reject(fault)
        else this.#compactions.shift()?.done.reject(fault)
        break
      }
      case 'compacted':
        this.#compactions.shift()?.done.resolve()
        break
      case 'compactMore':
        break
      case 'opened':
      case 'refused':
        throw new Fault('internal', `the store's writer said ${message.type} twice`)
      default:
        unreachable(message)
    }
    this.#send()
  }

  #publish(batch: readonly PendingCommit[], results: readonly CommitResult[]): void {
    const events: StoreEvent[] = []
    for (const [index, pending] of batch.entries()) {
      const result = present(results[index], 'a result for each commit')
      if (result.type === 'conflict') continue
      this.#revision = Math.max(this.#revision, result.revision)
      const revision = BigInt(result.revision)
      for (const [ordinal, write] of pending.writes.entries()) {
        const change = result.changes[ordinal]
        if (change?.type === 'put' && write.op === 'put') {
          events.push({ type: 'put', key: write.key, revision, value: write.value, createRevision: BigInt(change.created), version: change.version })
        } else if (change?.type === 'deleted') events.push({ type: 'delete', key: write.key, revision })
      }
    }
    this.#feed.publish(events)
    for (const [index, pending] of batch.entries()) {
      const result = present(results[index], 'a result for each commit')
      if (result.type === 'done') pending.resolve({ revision: BigInt(result.revision) })
      else pending.reject(brokenExpectation(result.key, result.modRevision === undefined ? undefined : BigInt(result.modRevision)))
    }
  }

  #fail(fault: Fault): void {
    this.#closed ??= fault
    this.#feed.close(fault)
    const inFlight = Array.isArray(this.#inFlight) ? this.#inFlight : []
    for (const { reject } of [...inFlight, ...this.#queue.splice(0)]) reject(fault)
    for (const { done } of this.#compactions.splice(0)) done.reject(fault)
    this.#inFlight = undefined
    this.#drained?.resolve()
  }
}

function packBatch(batch: readonly PendingCommit[], values: ArrayBuffer): WriteMessage[][] {
  const target = Buffer.from(values)
  let offset = 0
  return batch.map(({ writes }) =>
    writes.map((write) => {
      const modRevision = write.expect === undefined ? undefined : write.expect === 'absent' ? 0 : Number(write.expect.modRevision)
      if (write.op === 'delete') return { key: write.key, length: undefined, modRevision }
      offset += write.value.copy(target, offset)
      return { key: write.key, length: write.value.length, modRevision }
    }),
  )
}

type Row = Record<string, unknown>

function rowValue(row: Row): Buffer | undefined {
  const { value } = row
  if (!(value instanceof Uint8Array)) return undefined
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
}

function storedValue(row: Row): StoredValue {
  return {
    key: String(row['key']),
    value: present(rowValue(row), 'the value of a current version'),
    createRevision: BigInt(Number(row['created'])),
    modRevision: BigInt(revisionOf(Number(row['id']))),
    version: Number(row['version']),
  }
}

function storeEvent(row: Row): StoreEvent {
  const key = String(row['key'])
  const revision = BigInt(revisionOf(Number(row['id'])))
  const value = rowValue(row)
  if (value === undefined) return { type: 'delete', key, revision }
  return { type: 'put', key, revision, value, createRevision: BigInt(Number(row['created'])), version: Number(row['version']) }
}

/** The least string greater than all that begin with `prefix`, in SQLite's order of UTF-8 bytes. */
function upperBound(prefix: string): string {
  return `${prefix}\u{10ffff}`
}
