/** The file system under the contract, and what only it can do wrong: names of unfinished files, folders that come and go. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { present } from '#base/assert.ts'
import { systemClock } from '#base/clock.ts'
import { systemRandom } from '#base/random.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { sharedStorageSuite } from '../shared-storage.suite.ts'
import type { RegistryStorage } from './contract.ts'
import { openFileStorage } from './file-storage.ts'
import type { StorageUnderTest } from './storage.suite.ts'
import { storageSuite } from './storage.suite.ts'

async function open(root: string): Promise<RegistryStorage> {
  return await openFileStorage({ root: join(root, 'registry'), blobs: await openFileBlobs(join(root, 'content')), clock: systemClock, random: systemRandom })
}

async function make(): Promise<StorageUnderTest & { readonly root: string }> {
  const root = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'st-'))
  return {
    root,
    storage: await open(root),
    other: () => open(root),
    names: async () => readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map(({ name }) => name),
    [Symbol.asyncDispose]: async () => rmSync(root, { recursive: true }),
  }
}

storageSuite('file system', make)
sharedStorageSuite('file system', make)

test('a record that a killed remover put aside is found, and nothing unfinished is listed', async () => {
  await using at = await make()
  const { records } = at.storage
  await records.write('a/x', 'kept')
  renameSync(join(at.root, 'registry/a/x'), join(at.root, 'registry/a/x~'))
  assert.deepEqual(await Array.fromAsync(records.list('a')), [])
  assert.equal((await records.read('a/x'))?.toString(), 'kept')
  assert.deepEqual((await Array.fromAsync(records.list(''))).map(({ name }) => name), ['a'])
})

test('folders that are emptied and filled at once lose nothing', async () => {
  await using at = await make()
  const other = await at.other()
  await Promise.all(Array.from({ length: 40 }, async (_, index) => {
    const { records } = index % 2 === 0 ? at.storage : other
    for (let round = 0; round < 5; round += 1) {
      await records.write(`f/g/${index}`, 'x', { durable: false })
      assert.equal(await records.remove(`f/g/${index}`), true)
    }
    await records.write(`f/h/${index}`, 'x', { durable: false })
  }))
  assert.equal((await Array.fromAsync(at.storage.records.list('f/h'))).length, 40)
})
