/**
 * Object storage under the contract: in memory, through S3's protocol against a stand-in, and against servers that others wrote where
 * BERTH_S3_SERVERS names some (`s3-server.suite.ts`).
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { present } from '#base/assert.ts'
import { systemClock } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { systemRandom } from '#base/random.ts'
import { sharedStorageSuite } from '../../shared-storage.suite.ts'
import type { RegistryStorage } from '../contract.ts'
import type { StorageUnderTest } from '../storage.suite.ts'
import { storageSuite } from '../storage.suite.ts'
import { MemoryObjects } from './memory-objects.ts'
import { openObjectStorage } from './object-storage.ts'
import { openS3Objects } from './s3-objects.ts'
import type { S3Options } from './s3-objects.ts'
import { freePort, s3Servers, startS3Server } from './s3-server.suite.ts'
import { startS3StandIn } from './s3-stand-in.ts'

async function inMemory(): Promise<StorageUnderTest> {
  const objects = new MemoryObjects({ clock: systemClock })
  return {
    storage: openObjectStorage({ objects, clock: systemClock, random: systemRandom }),
    other: async () => openObjectStorage({ objects, clock: systemClock, random: systemRandom }),
    names: async () => (await Array.fromAsync(objects.list(''))).map(({ key }) => key),
    [Symbol.asyncDispose]: async () => {},
  }
}

async function throughS3(options: S3Options, server: AsyncDisposable, quirks: Pick<StorageUnderTest, 'pageSize' | 'isConditional'> = {}): Promise<StorageUnderTest> {
  const stack = new AsyncDisposableStack()
  stack.use(server)
  const open = async (): Promise<RegistryStorage> => stack.use(openObjectStorage({ objects: await openS3Objects(options), clock: systemClock, random: systemRandom }))
  const objects = stack.use(await openS3Objects(options))
  return {
    storage: await open(),
    other: open,
    names: async () => (await Array.fromAsync(objects.list(''))).map(({ key }) => key),
    tickMs: 1000,
    ...quirks,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

async function standIn(): Promise<StorageUnderTest> {
  const server = await startS3StandIn(new MemoryObjects({ clock: systemClock }))
  return await throughS3({ endpoint: server.endpoint, bucket: 'bucket', prefix: 'some/where/', credentials: { accessKeyId: 'a', secretAccessKey: 'b' } }, server)
}

function server(name: string): () => Promise<StorageUnderTest> {
  // versitygw knows the conditions, but looks and acts in two steps.
  const quirks = { pageSize: 1000, isConditional: name !== 'versitygw' }
  return async () => {
    const root = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 's3-'))
    const started = await startS3Server(root, name)
    const stop = async (): Promise<void> => {
      await started[Symbol.asyncDispose]()
      rmSync(root, { recursive: true })
    }
    return await throughS3(started.options, { [Symbol.asyncDispose]: stop }, quirks)
  }
}

storageSuite('objects in memory', inMemory)
sharedStorageSuite('objects in memory', inMemory)
storageSuite('S3, stand-in', standIn)
sharedStorageSuite('S3, stand-in', standIn)
if (s3Servers.size === 0) test('S3 as others serve it', { skip: 'BERTH_S3_SERVERS is not set: expected the paths of a versitygw or a minio' })
for (const name of s3Servers.keys()) {
  storageSuite(`S3, ${name}`, server(name))
  sharedStorageSuite(`S3, ${name}`, server(name))
}

test('a storage that does not answer is unavailable, with its words', async () => {
  const port = await freePort()
  await assert.rejects(openS3Objects({ endpoint: `http://127.0.0.1:${port}`, bucket: 'b', credentials: { accessKeyId: 'a', secretAccessKey: 'b' } }), (error) => isFault(error, 'unavailable') && /did not look into 'b\/'.*ECONNREFUSED/.test(error.message))
})
