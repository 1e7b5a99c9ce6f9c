/** The file-system driver against the suite, and what only a disk can do: fill up. */
import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { present } from '#base/assert.ts'
import { blobsSuite } from './blobs.suite.ts'
import { openFileBlobs } from './file-system.ts'

const testRoot = present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT')

blobsSuite('file system', async () => {
  const root = await mkdtemp(join(testRoot, 'bl-'))
  return {
    blobs: await openFileBlobs(root),
    reopen: () => openFileBlobs(root),
    [Symbol.asyncDispose]: () => rm(root, { recursive: true }),
  }
})

test('a committed ingest leaves no file but the blob', { timeout: 10_000 }, async () => {
  const root = await mkdtemp(join(testRoot, 'bl-'))
  const blobs = await openFileBlobs(root)
  for (let round = 0; round < 2; round += 1) {
    await using ingest = await blobs.begin()
    await ingest.write((async function* () { yield Buffer.from('once') })())
    await ingest.commit()
  }
  // The second one goes behind the commit's back; nobody takes it for abandoned meanwhile.
  while ((await readdir(join(root, 'ingests'))).length > 0) assert.deepEqual(await Array.fromAsync(blobs.abandoned()), [])
  assert.equal((await readdir(join(root, 'blobs', 'sha256'))).length, 1)
  await rm(root, { recursive: true })
})
