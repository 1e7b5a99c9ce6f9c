/** What every driver of `Blobs` must do; run by each driver's test with a fresh, empty store per case. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { describe, test } from 'node:test'
import { sleep, systemClock } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { digestOf } from '../digest.ts'
import type { BlobReader, Blobs } from './contract.ts'
import { HashedFile, type Filled } from './hashed-file.ts'

export interface BlobsUnderTest extends AsyncDisposable {
  readonly blobs: Blobs
  /** Opens the same store anew, as after a crash of the process. */
  reopen(): Promise<Blobs>
}

async function* pieces(...parts: (string | Buffer)[]): AsyncGenerator<Buffer> {
  for (const part of parts) yield Buffer.from(part)
}

async function* failing(first: string): AsyncGenerator<Buffer> {
  yield Buffer.from(first)
  throw new Error('the sender went away')
}

async function contentOf(blobs: BlobReader, digest: ReturnType<typeof digestOf>, range?: { start?: number; end?: number }): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of await blobs.open(digest, range)) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

async function put(blobs: Blobs, text: string): Promise<ReturnType<typeof digestOf>> {
  await using ingest = await blobs.begin()
  await ingest.write(pieces(text))
  return (await ingest.commit()).digest
}

/** Real time passes: blobs are as old as the file system says. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(systemClock, 1)
}

export function blobsSuite(name: string, make: () => Promise<BlobsUnderTest>): void {
  describe(`blobs: ${name}`, () => {
    test('what is committed can be read whole and in ranges', async () => {
      await using store = await make()
      const digest = await put(store.blobs, 'hello blob')
      assert.equal(digest, digestOf('hello blob'))
      assert.equal((await store.blobs.stat(digest))?.sizeBytes, 10)
      assert.equal(await contentOf(store.blobs, digest), 'hello blob')
      assert.equal(await contentOf(store.blobs, digest, { start: 6 }), 'blob')
      assert.equal(await contentOf(store.blobs, digest, { start: 1, end: 3 }), 'el')
      await assert.rejects(store.blobs.open(digest, { start: 11 }), (error) => isFault(error, 'rangeNotSatisfiable'))
      assert.equal((await store.blobs.read(digest, { maxBytes: 10 })).toString(), 'hello blob')
      await assert.rejects(store.blobs.read(digest, { maxBytes: 9 }), (error) => isFault(error, 'tooLarge'))
    })

    test('another thread may fill an ingest: the bytes are a blob like others, and a failure leaves the ingest empty', async () => {
      await using store = await make()
      await using ingest = await store.blobs.begin()
      const fill = async (fd: number, parts: readonly string[]): Promise<Filled> => {
        await using file = new HashedFile(fd)
        for (const part of parts) await file.append(Buffer.from(part))
        return await file.end()
      }
      await assert.rejects(ingest.fill(async (fd) => fill(fd, ['half']).then(() => Promise.reject(new Error('cut off')))), /cut off/)
      await ingest.fill((fd) => fill(fd, ['in ', 'one', ' go']))
      assert.equal(ingest.offset, 9)
      await assert.rejects(ingest.write(pieces('more')), (error) => isFault(error, 'conflict'))
      const { digest } = await ingest.commit()
      assert.equal(digest, digestOf('in one go'))
      assert.equal(await contentOf(store.blobs, digest), 'in one go')
    })

    test('the empty blob is a blob', async () => {
      await using store = await make()
      const digest = await put(store.blobs, '')
      assert.equal(await contentOf(store.blobs, digest), '')
      assert.deepEqual((await Array.fromAsync(store.blobs.list())).map((blob) => blob.digest), [digest])
    })

    test('what is not here is notFound, and stat says undefined', async () => {
      await using store = await make()
      const digest = digestOf('nowhere')
      assert.equal(await store.blobs.stat(digest), undefined)
      await assert.rejects(store.blobs.open(digest), (error) => isFault(error, 'notFound'))
      await assert.rejects(store.blobs.read(digest, { maxBytes: 1 }), (error) => isFault(error, 'notFound'))
      assert.equal(await store.blobs.remove(digest), undefined)
      assert.equal(await store.blobs.keep(digest), false)
      await assert.rejects(store.blobs.resume('nobody'), (error) => isFault(error, 'notFound'))
    })

    test('nothing is visible before the commit, and a wrong digest commits nothing', async () => {
      await using store = await make()
      await using ingest = await store.blobs.begin()
      assert.equal(await ingest.write(pieces('abc', 'def')), 6)
      assert.deepEqual(await Array.fromAsync(store.blobs.list()), [])
      await assert.rejects(ingest.commit({ expect: digestOf('other') }), (error) => isFault(error, 'invalidArgument') && error.details['reason'] === 'DIGEST_INVALID')
      assert.deepEqual(await Array.fromAsync(store.blobs.list()), [])
      assert.equal((await ingest.commit({ expect: digestOf('abcdef') })).sizeBytes, 6)
      assert.equal(await contentOf(store.blobs, digestOf('abcdef')), 'abcdef')
    })

    test('an ingest that was released is resumed with its bytes and its hash', async () => {
      await using store = await make()
      const first = await store.blobs.begin({ id: 'upload-1' })
      await first.write(pieces('one,'))
      await assert.rejects(store.blobs.begin({ id: 'upload-1' }), (error) => isFault(error, 'alreadyExists'))
      await assert.rejects(store.blobs.resume('upload-1'), (error) => isFault(error, 'conflict'))
      await first.release()
      assert.deepEqual((await Array.fromAsync(store.blobs.abandoned())).map(({ id, sizeBytes }) => ({ id, sizeBytes })), [{ id: 'upload-1', sizeBytes: 4 }])
      await using second = await store.blobs.resume('upload-1')
      assert.equal(second.offset, 4)
      await second.write(pieces('two'))
      assert.equal((await second.commit()).digest, digestOf('one,two'))
      assert.deepEqual(await Array.fromAsync(store.blobs.abandoned()), [])
    })

    test('a crash leaves committed blobs whole and ingests to be resumed', async () => {
      await using store = await make()
      const digest = await put(store.blobs, 'kept')
      const left = await store.blobs.begin({ id: 'cut' })
      await left.write(pieces('before the crash '))
      const after = await store.reopen()
      assert.equal(await contentOf(after, digest), 'kept')
      await using taken = await after.resume('cut')
      await taken.write(pieces('and after'))
      assert.equal((await taken.commit()).digest, digestOf('before the crash and after'))
      await left.release()
    })

    test('a source that fails leaves what arrived, and writing goes on', async () => {
      await using store = await make()
      await using ingest = await store.blobs.begin()
      await assert.rejects(ingest.write(failing('part ')), /went away/)
      assert.equal(ingest.offset, 5)
      await ingest.write(pieces('two'))
      assert.equal((await ingest.commit()).digest, digestOf('part two'))
    })

    test('pieces of any size arrive in order, and who follows the file is told how far it goes', async () => {
      await using store = await make()
      await using ingest = await store.blobs.begin()
      const content = randomBytes(20_000_000)
      const told: number[] = []
      const sizes = [0, 1, 65_536, 0, 3_000_000, 7, 700_000, 512 * 1024]
      await ingest.write((async function* () {
        for (let at = 0, turn = 0; at < content.length; turn += 1) {
          const size = sizes[turn % sizes.length] ?? 0
          yield content.subarray(at, at + size)
          at += size
        }
      })(), { onGrown: (offset) => told.push(offset) })
      assert.deepEqual(told, [...new Set(told)].sort((a, b) => a - b))
      assert.equal(told.at(-1), content.length)
      assert.deepEqual(await readFile(ingest.path), content)
      assert.equal((await ingest.commit()).digest, digestOf(content))
    })

    test('pieces that are given away are emptied, others and what they share stay', async () => {
      await using store = await make()
      await using ingest = await store.blobs.begin()
      const [given, part] = [new Uint8Array([1, 2, 3]), new Uint8Array([4, 5, 6]).subarray(1)]
      await ingest.write((async function* () { yield given; yield part })(), { isGiven: true })
      assert.deepEqual([given.length, part.length], [0, 2])
      const kept = new Uint8Array([7])
      await ingest.write((async function* () { yield kept })())
      assert.equal(kept.length, 1)
      assert.equal((await ingest.commit()).digest, digestOf(Buffer.from([1, 2, 3, 5, 6, 7])))
    })

    test('of what is beyond a bound nothing is taken, what is before it stays', async () => {
      await using store = await make()
      await using ingest = await store.blobs.begin()
      await assert.rejects(ingest.write(pieces('123', '4', '56'), { maxBytes: 5 }), (error) => isFault(error, 'tooLarge'))
      assert.equal(ingest.offset, 4)
      assert.equal((await ingest.commit()).digest, digestOf('1234'))
    })

    test('a bound is kept, a canceled write ends, two writes at once conflict', async () => {
      await using store = await make()
      await using ingest = await store.blobs.begin()
      await assert.rejects(ingest.write(pieces('12345'), { maxBytes: 4 }), (error) => isFault(error, 'tooLarge'))
      const controller = new AbortController()
      const endless = new Readable({ read() {} })
      const writing = ingest.write(endless, { signal: controller.signal })
      await assert.rejects(ingest.write(pieces('x')), (error) => isFault(error, 'conflict'))
      controller.abort()
      await assert.rejects(writing, (error) => isFault(error, 'canceled'))
      assert.equal(endless.destroyed, true)
    })

    test('aborting leaves nothing behind', async () => {
      await using store = await make()
      {
        await using ingest = await store.blobs.begin({ id: 'gone' })
        await ingest.write(pieces('x'))
      }
      await assert.rejects(store.blobs.resume('gone'), (error) => isFault(error, 'notFound'))
      assert.deepEqual(await Array.fromAsync(store.blobs.abandoned()), [])
    })

    test('the same content twice, also at once, is one blob', async () => {
      await using store = await make()
      const digests = await Promise.all(['same', 'same', 'same'].map((text) => put(store.blobs, text)))
      assert.equal(new Set(digests).size, 1)
      assert.equal((await Array.fromAsync(store.blobs.list())).length, 1)
    })

    test('a removed blob is gone, but a reader that has it open finishes', async () => {
      await using store = await make()
      const digest = await put(store.blobs, 'x'.repeat(300_000))
      const reader = await store.blobs.open(digest)
      await store.blobs.remove(digest)
      assert.equal(await store.blobs.stat(digest), undefined)
      let length = 0
      for await (const chunk of reader) length += chunk.length
      assert.equal(length, 300_000)
    })

    test('what was kept or committed again since is not removed, and what is aside is found', async () => {
      await using store = await make()
      const digest = await put(store.blobs, 'old')
      const first = (await store.blobs.stat(digest))?.committedAtMs ?? 0
      await until(() => systemClock.nowMs() > first + 5)
      assert.equal(await store.blobs.keep(digest), true)
      const kept = (await store.blobs.stat(digest))?.committedAtMs ?? 0
      assert.ok(kept > first)
      assert.equal(await store.blobs.remove(digest, { committedBeforeMs: kept }), undefined)
      assert.equal(await contentOf(store.blobs, digest), 'old')
      assert.equal(await store.blobs.remove(digest, { committedBeforeMs: kept + 1 }), 3)
      assert.equal(await store.blobs.stat(digest), undefined)
    })

    test('keeping and removing at once: the blob is gone, or it is young', async () => {
      await using store = await make()
      for (let round = 0; round < 50; round += 1) {
        const digest = await put(store.blobs, `round ${round}`)
        const committedBeforeMs = ((await store.blobs.stat(digest))?.committedAtMs ?? 0) + 1
        await until(() => systemClock.nowMs() > committedBeforeMs)
        const [kept, removed] = await Promise.all([store.blobs.keep(digest), store.blobs.remove(digest, { committedBeforeMs })])
        assert.equal((await store.blobs.stat(digest)) !== undefined, kept, `round ${round}`)
        if (kept) assert.equal(removed, undefined)
      }
    })

    test('sha512 names a blob as well', async () => {
      await using store = await make()
      await using ingest = await store.blobs.begin()
      await ingest.write(pieces('long'))
      const expect = digestOf('long', 'sha512')
      assert.equal((await ingest.commit({ expect })).digest, expect)
      assert.equal(await contentOf(store.blobs, expect), 'long')
    })
  })
}
