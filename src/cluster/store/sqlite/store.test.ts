/** The SQLite store keeps the store's contract, and what was acknowledged survives a kill at any instant. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { systemClock } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { storeSuite } from '../../contract/store.suite.ts'
import type { Store } from '../../contract/store.ts'
import { openSqliteStore } from './store.ts'

const root = mkdtempSync(join(process.env['BERTH_TEST_ROOT'] ?? tmpdir(), 'sq-'))
after(() => rmSync(root, { recursive: true }))
let folders = 0
const newFolder = (): string => join(root, String((folders += 1)))
const open = (folder = newFolder(), queuedCommits?: number): Promise<Store> => openSqliteStore({ folder, clock: systemClock, queuedCommits })

storeSuite('sqlite', () => open())

test('sqlite: a store opened again stands where it was, with its history', async () => {
  const folder = newFolder()
  const first = await open(folder)
  for (let index = 0; index < 10; index += 1) await first.commit([{ op: 'put', key: '/k', value: Buffer.from(String(index)) }])
  await first.compact(4n)
  await first.close()
  const second = await open(folder)
  assert.equal(second.revision(), 10n)
  assert.equal(second.compactedRevision(), 4n)
  assert.equal((await second.list('/', { revision: 6n })).items[0]?.value.toString(), '5')
  await second.close()
})

test('sqlite: a folder in use is refused, and so is a format from the future or a damaged file', async () => {
  const folder = newFolder()
  const first = await open(folder)
  await assert.rejects(open(folder), (error) => isFault(error, 'unavailable') && /in use/.test(error.message))
  await first.close()
  const database = new DatabaseSync(join(folder, 'store.db'))
  database.exec('PRAGMA user_version=99')
  database.close()
  await assert.rejects(open(folder), (error) => isFault(error, 'unavailable') && /format 99/.test(error.message))
  writeFileSync(join(folder, 'store.db'), 'this was a database once')
  await assert.rejects(open(folder), (error) => isFault(error, 'dataLoss') && error.message.includes(folder) && /damaged/.test(error.message))
})

test('sqlite: more commits than the queue holds are refused, and compaction gives space back', async () => {
  const folder = newFolder()
  const store = await open(folder, 8)
  const value = Buffer.alloc(100_000, 1)
  const results = await Promise.allSettled(Array.from({ length: 20 }, () => store.commit([{ op: 'put', key: '/big', value }])))
  const refused = results.filter((result) => result.status === 'rejected' && isFault(result.reason, 'resourceExhausted'))
  assert.ok(refused.length >= 10 && refused.length < 20, `${refused.length} were refused`)
  for (let index = 0; index < 60; index += 1) await store.commit([{ op: 'put', key: '/big', value }])
  await store.compact(store.revision())
  await store.close()
  assert.ok(statSync(join(folder, 'store.db')).size < 1_000_000, 'the file shrank')
})

test('sqlite: lists longer than a slice are one snapshot, whatever is written meanwhile', async () => {
  const store = await open()
  const key = (index: number): string => `/k/${String(index).padStart(5, '0')}`
  for (let page = 0; page < 3; page += 1) {
    await store.commit(Array.from({ length: 1000 }, (_, index) => ({ op: 'put', key: key(page * 1000 + index), value: Buffer.from('old') })))
  }
  const listing = store.list('/k/')
  await store.commit([{ op: 'put', key: key(2999), value: Buffer.from('new') }, { op: 'delete', key: key(2998) }])
  const { items, revision } = await listing
  assert.equal(revision, 3n)
  assert.equal(items.length, 3000)
  assert.ok(items.every(({ value }) => value.toString() === 'old'))
  await store.close()
})

test('sqlite: what was acknowledged before a kill is there after it', async () => {
  const folder = newFolder()
  // The thread stands for the process: terminate() stops it anywhere, also between two writes of a transaction.
  const victim = new Worker(
    `import { openSqliteStore } from ${JSON.stringify(new URL('./store.ts', import.meta.url).href)}
     import { systemClock } from ${JSON.stringify(import.meta.resolve('#base/clock.ts'))}
     import { parentPort } from 'node:worker_threads'
     const store = await openSqliteStore({ folder: ${JSON.stringify(folder)}, clock: systemClock })
     for (let index = 0; ; index += 1) {
       const { revision } = await store.commit([{ op: 'put', key: '/a/' + index, value: Buffer.from('x') }, { op: 'put', key: '/b/' + index, value: Buffer.from('x') }])
       parentPort.postMessage(Number(revision))
     }`,
    { eval: true },
  )
  let acknowledged = 0
  await new Promise<void>((resolve, reject) => {
    victim.on('error', reject)
    victim.on('message', (revision: number) => {
      acknowledged = revision
      if (revision >= 30) resolve()
    })
  })
  await victim.terminate()
  const store = await open(folder)
  assert.ok(store.revision() >= BigInt(acknowledged))
  const [a, b] = [await store.list('/a/'), await store.list('/b/')]
  assert.equal(a.items.length, Number(store.revision()))
  assert.equal(a.items.length, b.items.length)
  await store.close()
})
