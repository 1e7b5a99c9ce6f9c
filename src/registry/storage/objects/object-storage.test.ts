/**
 * Object storage under the contract: in memory, through S3's protocol against a stand-in, and, where BERTH_S3_SERVER names a versitygw
 * (github.com/versity/versitygw, built with Go), against a server that others wrote.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { present } from '#base/assert.ts'
import { sleep, systemClock } from '#base/clock.ts'
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
import { startS3StandIn } from './s3-stand-in.ts'

async function inMemory(): Promise<StorageUnderTest> {
  const objects = new MemoryObjects({ clock: systemClock })
  return {
    storage: openObjectStorage(objects, systemRandom),
    other: async () => openObjectStorage(objects, systemRandom),
    names: async () => (await Array.fromAsync(objects.list(''))).map(({ key }) => key),
    [Symbol.asyncDispose]: async () => {},
  }
}

async function throughS3(options: S3Options, server: AsyncDisposable, quirks: Pick<StorageUnderTest, 'pageSize' | 'isConditional'> = {}): Promise<StorageUnderTest> {
  const stack = new AsyncDisposableStack()
  stack.use(server)
  const open = async (): Promise<RegistryStorage> => stack.use(openObjectStorage(await openS3Objects(options), systemRandom))
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

const gateway = process.env['BERTH_S3_SERVER']

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function versitygw(): Promise<StorageUnderTest> {
  const root = mkdtempSync(join(present(process.env['BERTH_TEST_ROOT'], 'BERTH_TEST_ROOT'), 'vg-'))
  mkdirSync(join(root, 'bucket'))
  const credentials = { accessKeyId: 'test', secretAccessKey: 'secretsecret' }
  const port = await freePort()
  const child = spawn(gateway ?? '', ['--quiet', '--port', `127.0.0.1:${port}`, 'posix', root], { stdio: 'ignore', env: { ...process.env, ROOT_ACCESS_KEY: credentials.accessKeyId, ROOT_SECRET_KEY: credentials.secretAccessKey } })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    await ended
    rmSync(root, { recursive: true })
  }
  const options = { endpoint: `http://127.0.0.1:${port}`, bucket: 'bucket', credentials }
  while (child.exitCode === null) {
    try {
      await (await openS3Objects(options))[Symbol.asyncDispose]()
      // It knows the conditions, but looks and acts in two steps.
      return await throughS3(options, { [Symbol.asyncDispose]: stop }, { pageSize: 1000, isConditional: false })
    } catch (error) {
      if (!isFault(error, 'unavailable')) throw error
      await sleep(systemClock, 50)
    }
  }
  throw new Error(`${gateway ?? ''} did not start`)
}

storageSuite('objects in memory', inMemory)
sharedStorageSuite('objects in memory', inMemory)
storageSuite('S3, stand-in', standIn)
sharedStorageSuite('S3, stand-in', standIn)
if (gateway === undefined) test('S3, versitygw', { skip: 'BERTH_S3_SERVER is not set: expected the path of a versitygw' })
else {
  storageSuite('S3, versitygw', versitygw)
  sharedStorageSuite('S3, versitygw', versitygw)
}

test('a storage that does not answer is unavailable, with its words', async () => {
  const port = await freePort()
  await assert.rejects(openS3Objects({ endpoint: `http://127.0.0.1:${port}`, bucket: 'b', credentials: { accessKeyId: 'a', secretAccessKey: 'b' } }), (error) => isFault(error, 'unavailable') && /did not look into 'b\/'.*ECONNREFUSED/.test(error.message))
})
