/**
 * The writer thread of the SQLite store: the only connection that writes. A batch of commits is one transaction, made durable
 * by one fsync (WAL, synchronous=FULL); a commit whose expectation fails leaves the others of its batch alone. Compaction goes
 * in small transactions between batches.
 */
import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
import { saveCompiled } from '#base/compile-cache.ts'
import { formatVersion, revisionOf, rowId, schemaSql, type CommitResult, type FromWriter, type ToWriter, type WriteMessage, type WriteResult } from './protocol.ts'

const compactionRows = 500

interface Statements {
  readonly current: StatementSync
  readonly supersede: StatementSync
  readonly insert: StatementSync
  readonly setCounter: StatementSync
  readonly forget: StatementSync
}

/** Throws Errors whose message names file and remedy; the main thread turns them into Faults. */
function openDatabase(folder: string): DatabaseSync {
  const database = new DatabaseSync(join(folder, 'store.db'), { timeout: 5_000 })
  database.exec('PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA journal_size_limit=67108864; PRAGMA cache_size=-8192')
  const found = Number(database.prepare('PRAGMA user_version').get()?.['user_version'])
  if (found > formatVersion) {
    database.close()
    throw new Error(`${folder}/store.db has format ${found}, this Berth knows up to ${formatVersion}: start the newer Berth that wrote it`)
  }
  if (found === 0) database.exec(`BEGIN IMMEDIATE; ${schemaSql}; PRAGMA user_version=${formatVersion}; COMMIT`)
  return database
}

/** Holds the folder for this process: SQLite's own file lock, which the kernel drops when the process dies, however it dies. */
function holdFolder(folder: string): DatabaseSync {
  const lock = new DatabaseSync(join(folder, 'lock.db'))
  try {
    lock.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    throw new Error(`the store in ${folder} is in use by another process: stop it first, or choose another BERTH_ROOT`, { cause: error })
  }
  return lock
}

function counter(database: DatabaseSync, name: string): number {
  return Number(database.prepare('SELECT value FROM counters WHERE name = ?').get(name)?.['value'])
}

class Writer {
  readonly #database: DatabaseSync
  readonly #sql: Statements
  revision: number
  compacted: number

  constructor(database: DatabaseSync) {
    this.#database = database
    this.#sql = {
      current: database.prepare('SELECT id, created, version FROM versions WHERE key = ? AND until IS NULL'),
      supersede: database.prepare('UPDATE versions SET until = ? WHERE id = ?'),
      insert: database.prepare('INSERT INTO versions (id, key, created, version, until, value) VALUES (?, ?, ?, ?, ?, ?)'),
      setCounter: database.prepare('UPDATE counters SET value = ? WHERE name = ?'),
      forget: database.prepare('DELETE FROM versions WHERE id IN (SELECT id FROM versions WHERE until <= ? LIMIT ?)'),
    }
    this.revision = counter(database, 'revision')
    this.compacted = counter(database, 'compacted')
  }

  commit(batch: readonly (readonly WriteMessage[])[], values: ArrayBuffer): CommitResult[] {
    const before = this.revision
    let offset = 0
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      const results = batch.map((writes) => {
        const result = this.#apply(writes, new Uint8Array(values, offset))
        for (const { length } of writes) offset += length ?? 0
        return result
      })
      if (this.revision !== before) this.#sql.setCounter.run(this.revision, 'revision')
      this.#database.exec('COMMIT')
      return results
    } catch (error) {
      this.revision = before
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      throw error
    }
  }

  #apply(writes: readonly WriteMessage[], values: Uint8Array): CommitResult {
    const found = writes.map(({ key }) => this.#current(key))
    for (const [index, { key, modRevision }] of writes.entries()) {
      if (modRevision === undefined) continue
      const actual = found[index] === undefined ? undefined : revisionOf(found[index].id)
      if ((actual ?? 0) !== modRevision) return { type: 'conflict', key, modRevision: actual }
    }
    if (writes.every(({ length }, index) => length === undefined && found[index] === undefined)) {
      return { type: 'done', revision: this.revision, changes: writes.map(() => ({ type: 'nothing' })) }
    }
    this.revision += 1
    let offset = 0
    const changes = writes.map(({ key, length }, index): WriteResult => {
      const previous = found[index]
      if (previous !== undefined) this.#sql.supersede.run(this.revision, previous.id)
      const id = rowId(this.revision, index)
      if (length === undefined) {
        if (previous === undefined) return { type: 'nothing' }
        this.#sql.insert.run(id, key, previous.created, previous.version, this.revision, null)
        return { type: 'deleted' }
      }
      const [created, version] = previous === undefined ? [this.revision, 1] : [previous.created, previous.version + 1]
      this.#sql.insert.run(id, key, created, version, null, values.subarray(offset, offset + length))
      offset += length
      return { type: 'put', created, version }
    })
    return { type: 'done', revision: this.revision, changes }
  }

  #current(key: string): { readonly id: number; readonly created: number; readonly version: number } | undefined {
    const row = this.#sql.current.get(key)
    return row === undefined ? undefined : { id: Number(row['id']), created: Number(row['created']), version: Number(row['version']) }
  }

  /** Notes that lower revisions are gone, then forgets some rows. False when nothing is left to forget. */
  compactSome(revision: number): boolean {
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      if (revision > this.compacted) this.#sql.setCounter.run(revision, 'compacted')
      const { changes } = this.#sql.forget.run(revision, compactionRows)
      this.#database.exec('COMMIT')
      this.compacted = Math.max(this.compacted, revision)
      if (Number(changes) > 0) this.#database.exec('PRAGMA incremental_vacuum(2000)')
      return Number(changes) === compactionRows
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      throw error
    }
  }
}

function serve(folder: string, reply: (message: FromWriter) => void, listen: (handle: (message: ToWriter) => void) => void): void {
  const lock = holdFolder(folder)
  const database = openDatabase(folder)
  const writer = new Writer(database)
  reply({ type: 'opened', revision: writer.revision, compacted: writer.compacted })
  listen((message) => {
    try {
      switch (message.type) {
        case 'commit':
          return reply({ type: 'committed', results: writer.commit(message.batch, message.values) })
        case 'compact':
          return reply(writer.compactSome(message.revision) ? { type: 'compactMore' } : { type: 'compacted' })
        case 'close':
          database.close()
          lock.close()
          parentPort?.close()
      }
    } catch (error) {
      reply({ type: 'failed', message: error instanceof Error ? error.message : String(error) })
    }
  })
}

if (parentPort !== null) {
  const port = parentPort
  const { folder }: { folder: string } = workerData
  try {
    serve(folder, (message) => port.postMessage(message), (handle) => port.on('message', handle))
    saveCompiled()
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    const damaged = /malformed|not a database/.test(why)
    const remedy = damaged ? ': the file is damaged, restore a copy of the folder' : ''
    const message = why.includes(folder) ? why : `the store in ${folder} cannot be opened: ${why}${remedy}`
    port.postMessage({ type: 'refused', code: damaged ? 'dataLoss' : 'unavailable', message })
    port.close()
  }
}
