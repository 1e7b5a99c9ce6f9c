/** The collector: what is named, held or young stays; what was given up goes. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { present } from '#base/assert.ts'
import type { Digest } from '../digest.ts'
import { BlobLeases, collectBlobs, sweepIngests } from './collect.ts'
import type { Blobs } from './contract.ts'
import { openFileBlobs } from './file-system.ts'

async function put(blobs: Blobs, text: string): Promise<Digest> {
  await using ingest = await blobs.begin()
  await ingest.write((async function* () { yield Buffer.from(text) })())
  return (await ingest.commit()).digest
}

test('only what nothing names, holds or has just committed is removed', async () => {
  const root = await mkdtemp(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'co-'))
  const blobs = await openFileBlobs(root)
  const [named, held, lost] = [await put(blobs, 'named'), await put(blobs, 'held'), await put(blobs, 'lost')]
  const leases = new BlobLeases()
  const options = { blobs, leases, roots: [() => [named]] }
  const first = leases.hold(held)
  const second = leases.hold(held)
  assert.equal(await collectBlobs({ ...options, committedBeforeMs: 0 }), 0)
  const future = (await blobs.stat(lost))?.committedAtMs ?? 0
  assert.equal(await collectBlobs({ ...options, committedBeforeMs: future + 60_000 }), 4)
  assert.equal(await blobs.stat(lost), undefined)
  first[Symbol.dispose]()
  first[Symbol.dispose]()
  assert.equal(await collectBlobs({ ...options, committedBeforeMs: future + 60_000 }), 0)
  second[Symbol.dispose]()
  assert.equal(await collectBlobs({ ...options, committedBeforeMs: future + 60_000 }), 4)
  assert.deepEqual((await Array.fromAsync(blobs.list())).map((blob) => blob.digest), [named])
  await rm(root, { recursive: true })
})

test('ingests that were given up are swept, others are not', async () => {
  const root = await mkdtemp(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'co-'))
  const blobs = await openFileBlobs(root)
  const left = await blobs.begin({ id: 'left' })
  await left.write((async function* () { yield Buffer.from('12345') })())
  await left.release()
  await using busy = await blobs.begin({ id: 'busy' })
  const [found] = await Array.fromAsync(blobs.abandoned())
  const touched = present(found, 'the abandoned ingest').touchedAtMs
  assert.equal(await sweepIngests(blobs, touched - 1000), 0)
  assert.equal(await sweepIngests(blobs, touched + 1000), 5)
  assert.deepEqual(await Array.fromAsync(blobs.abandoned()), [])
  await busy.abort()
  await rm(root, { recursive: true })
})
