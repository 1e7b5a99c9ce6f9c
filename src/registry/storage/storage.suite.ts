/** What every driver of `RegistryStorage` must do; run by each driver's test with a fresh, empty storage per case. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import { sleep, systemClock } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import type { Digest } from '#oci/digest.ts'
import { digestOf } from '#oci/digest.ts'
import type { Content, RegistryStorage, Segment } from './contract.ts'
import { storeBytes } from './contract.ts'

export interface StorageUnderTest extends AsyncDisposable {
  readonly storage: RegistryStorage
  /** The same storage as another process sees it. */
  other(): Promise<RegistryStorage>
  /** Everything that is stored, by whatever names the driver gives it, for seeing that nothing is left. */
  names(): Promise<readonly string[]>
  /** How coarse the storage's clock is, milliseconds. */
  readonly tickMs?: number
  /** How many objects a list of the storage holds before it is asked for more. */
  readonly pageSize?: number
  /** Whether conditional writes and removals are settled by the storage itself; where not, races are not tried. */
  readonly isConditional?: boolean
}

async function* pieces(...parts: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield Buffer.from(part)
}

async function* failing(first: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(first)
  throw new Error('the sender went away')
}

async function segmentsOf(content: Content, source: AsyncIterable<Uint8Array>, after?: Segment): Promise<Segment[]> {
  const taken: Segment[] = []
  await content.takeIn(source, { claim: async (segment) => void taken.push(segment), ...(after === undefined ? {} : { after }) })
  return taken
}

async function textOf(content: Content, digest: Digest, range?: { start?: number; end?: number }): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of await content.open(digest, range)) chunks.push(chunk)
  return Buffer.concat(chunks).toString('latin1')
}

async function namesIn(storage: RegistryStorage, folder: string): Promise<string[]> {
  return (await Array.fromAsync(storage.records.list(folder))).map(({ name, isFolder }) => (isFolder ? `${name}/` : name))
}

/** Until the storage's clock, which may tell whole seconds, says something else than at `ms`. */
async function later(storage: RegistryStorage, ms: number): Promise<number> {
  for (;;) {
    await storage.records.write('tick', String(systemClock.nowMs()))
    const now = (await storage.records.stat('tick'))?.writtenAtMs ?? 0
    if (now > ms) return now
    await sleep(systemClock, 20)
  }
}

export function storageSuite(name: string, make: () => Promise<StorageUnderTest>): void {
  describe(`registry storage: ${name}`, () => {
    test('records are written, replaced, listed and removed, and another process sees it', async () => {
      await using at = await make()
      const { records } = at.storage
      const other = await at.other()
      assert.equal(await records.read('a/b/x'), undefined)
      await records.write('a/b/x', 'one')
      await other.records.write('a/b/x', 'two')
      await records.write('a/b/Y', '')
      await records.write('a/b/x.tmp/z', 'deep', { durable: false })
      assert.equal((await records.read('a/b/x'))?.toString(), 'two')
      assert.equal((await other.records.read('a/b/Y'))?.toString(), '')
      assert.deepEqual(await namesIn(other, 'a/b'), ['Y', 'x', 'x.tmp/'])
      assert.deepEqual(await namesIn(at.storage, 'a'), ['b/'])
      assert.equal(await records.read('a/b'), undefined, 'a folder is no record')
      assert.equal(await records.stat('a/b'), undefined)
      assert.equal(await other.records.remove('a/b/x'), true)
      assert.equal(await records.remove('a/b/x'), false)
      await records.remove('a/b/Y')
      await records.remove('a/b/x.tmp/z')
      assert.deepEqual(await namesIn(at.storage, 'a/b'), [])
      assert.deepEqual(await namesIn(at.storage, 'a'), [], 'a folder lives as long as it holds something')
    })

    test('more records than a page holds are listed, each once', async () => {
      await using at = await make()
      const expected = Array.from({ length: (at.pageSize ?? 100) + 10 }, (_, index) => `n${String(index).padStart(4, '0')}`)
      for (let start = 0; start < expected.length; start += 50) await Promise.all(expected.slice(start, start + 50).map((each) => at.storage.records.write(`many/${each}`, '', { durable: false })))
      assert.deepEqual(await namesIn(at.storage, 'many'), expected)
    })

    test('of those who create a record, one wins', async (t) => {
      await using at = await make()
      const other = await at.other()
      assert.equal(await at.storage.records.create('c/first', 'mine'), true)
      assert.equal(await other.records.create('c/first', 'theirs'), false)
      assert.equal((await other.records.read('c/first'))?.toString(), 'mine')
      if (at.isConditional === false) return t.diagnostic('the storage does not settle races')
      for (let round = 0; round < 10; round += 1) {
        const won = await Promise.all([at.storage, other, at.storage, other].map(({ records }, index) => records.create(`c/race-${round}`, String(index))))
        assert.equal(won.filter((each) => each).length, 1)
        assert.equal((await at.storage.records.read(`c/race-${round}`))?.toString(), String(won.indexOf(true)))
      }
    })

    test('a record that was touched or written since is not removed', async () => {
      await using at = await make()
      const { records } = at.storage
      const other = await at.other()
      await records.write('d/x', 'kept')
      const old = await records.stat('d/x')
      await later(at.storage, old?.writtenAtMs ?? 0)
      assert.equal(await other.records.touch('d/x'), true)
      const touched = await records.stat('d/x')
      assert.ok((touched?.writtenAtMs ?? 0) > (old?.writtenAtMs ?? 0))
      assert.equal(await records.remove('d/x', { version: old?.version ?? '' }), false)
      assert.equal((await records.read('d/x'))?.toString(), 'kept')
      assert.equal(await records.remove('d/x', { version: touched?.version ?? '' }), true)
      assert.equal(await records.touch('d/x'), false)
      assert.equal(await records.read('d/x'), undefined)
    })

    test('touching and removing at once: the record is gone, or it is young', async (t) => {
      await using at = await make()
      if (at.isConditional === false) return t.diagnostic('the storage does not settle races')
      const other = await at.other()
      for (let round = 0; round < 25; round += 1) {
        await at.storage.records.write('d/y', `content ${round}`, { durable: false })
        const version = (await at.storage.records.stat('d/y'))?.version ?? ''
        const [touched] = await Promise.all([other.records.touch('d/y'), at.storage.records.remove('d/y', { version })])
        assert.equal((await other.records.read('d/y'))?.toString(), touched ? `content ${round}` : undefined)
      }
    })

    test('segments taken in by several processes become one blob', async () => {
      await using at = await make()
      const other = await at.other()
      const first = await segmentsOf(at.storage.content, pieces('hello ', 'dear '))
      const second = await segmentsOf(other.content, pieces('world'), first.at(-1))
      const digest = digestOf('hello dear world')
      assert.equal(await at.storage.content.stat(digest), undefined)
      const stat = await at.storage.content.assemble([...first, ...second], { expect: digest })
      assert.equal(stat.sizeBytes, 16)
      assert.equal((await other.content.stat(digest))?.sizeBytes, 16)
      assert.equal(await textOf(other.content, digest), 'hello dear world')
      assert.equal(await textOf(other.content, digest, { start: 6, end: 10 }), 'dear')
      assert.equal(await textOf(other.content, digest, { start: 11 }), 'world')
      await assert.rejects(other.content.open(digest, { start: 17 }), (error) => isFault(error, 'rangeNotSatisfiable'))
      assert.equal((await other.content.read(digest, { maxBytes: 16 })).toString(), 'hello dear world')
      await assert.rejects(other.content.read(digest, { maxBytes: 15 }), (error) => isFault(error, 'tooLarge'))
      assert.deepEqual((await Array.fromAsync(other.content.list())).map((blob) => blob.digest), [digest])
    })

    test('a large blob comes out as it went in, whole and in parts', async () => {
      await using at = await make()
      const bytes = randomBytes(20_000_001)
      const source = (async function* () {
        for (let start = 0; start < bytes.length; start += 65_536) yield bytes.subarray(start, start + 65_536)
      })()
      const segments = await segmentsOf(at.storage.content, source)
      assert.equal(segments.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0), bytes.length)
      const digest = digestOf(bytes)
      await at.storage.content.assemble(segments, { expect: digest })
      assert.equal(await textOf(at.storage.content, digest), bytes.toString('latin1'))
      for (const [start, end] of [[8_388_607, 8_388_609], [8_388_608, 20_000_001], [0, 1], [16_777_215, 16_777_217], [7, 7]] as const) {
        assert.equal(await textOf(at.storage.content, digest, { start, end }), bytes.subarray(start, end).toString('latin1'), `${start}-${end}`)
      }
    })

    test('another digest than promised makes no blob, and the segments stay their owner’s', async () => {
      await using at = await make()
      const { content } = at.storage
      const segments = await segmentsOf(content, pieces('right'))
      await assert.rejects(content.assemble(segments, { expect: digestOf('wrong') }), (error) => isFault(error, 'invalidArgument') && error.details['reason'] === 'DIGEST_INVALID')
      assert.equal(await content.stat(digestOf('wrong')), undefined)
      await content.assemble(segments, { expect: digestOf('right', 'sha512') })
      assert.equal(await textOf(content, digestOf('right', 'sha512')), 'right')
      const others = await segmentsOf(content, pieces('given up'))
      for (const segment of others) {
        await content.discard(segment)
        await content.discard(segment)
      }
      await assert.rejects(content.assemble(others, { expect: digestOf('given up') }), (error) => isFault(error, 'notFound'))
    })

    test('what arrived before the source failed is kept; a bound is kept; a claim refused keeps nothing', async () => {
      await using at = await make()
      const { content } = at.storage
      const before = (await at.names()).length
      const taken: Segment[] = []
      const claim = async (segment: Segment): Promise<void> => void taken.push(segment)
      await assert.rejects(content.takeIn(failing('part '), { claim }), /went away/)
      assert.equal(taken.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0), 5)
      await content.assemble([...taken, ...(await segmentsOf(content, pieces('two')))], { expect: digestOf('part two') })
      await assert.rejects(content.takeIn(pieces('12345'), { claim: async (segment) => content.discard(segment), maxBytes: 4 }), (error) => isFault(error, 'tooLarge'))
      const after = (await at.names()).length
      await assert.rejects(content.takeIn(pieces('x'), { claim: () => Promise.reject(new Error('not yours')) }), /not yours/)
      await content.takeIn(pieces(), { claim: () => Promise.reject(new Error('there is nothing to claim')) })
      assert.equal((await at.names()).length, after)
      assert.ok(after > before)
    })

    test('the empty blob is a blob, and the same content twice is one', async () => {
      await using at = await make()
      const { content } = at.storage
      await storeBytes(content, Buffer.alloc(0), digestOf(''))
      await storeBytes(content, Buffer.alloc(0), digestOf(''))
      assert.equal(await textOf(content, digestOf('')), '')
      const digest = digestOf('same')
      await Promise.all([at.storage, await at.other(), at.storage].map(({ content: each }) => storeBytes(each, Buffer.from('same'), digest)))
      assert.equal(await textOf(content, digest), 'same')
      assert.equal((await Array.fromAsync(content.list())).length, 2)
    })

    test('a blob that was kept or committed again since is not removed', async () => {
      await using at = await make()
      const { content } = at.storage
      const other = await at.other()
      const digest = digestOf('old')
      await storeBytes(content, Buffer.from('old'), digest)
      for (const renew of [() => other.content.keep(digest), () => storeBytes(other.content, Buffer.from('old'), digest)]) {
        const first = (await content.stat(digest))?.committedAtMs ?? 0
        await later(at.storage, first + (at.tickMs ?? 0))
        await renew()
        const renewedAtMs = (await content.stat(digest))?.committedAtMs ?? 0
        assert.ok(renewedAtMs > first)
        assert.equal(await content.remove(digest, { committedBeforeMs: renewedAtMs }), undefined)
        assert.equal(await textOf(content, digest), 'old')
      }
      const now = (await content.stat(digest))?.committedAtMs ?? 0
      assert.equal(await other.content.remove(digest, { committedBeforeMs: now + 1 }), 3)
      assert.equal(await content.stat(digest), undefined)
      assert.equal(await content.keep(digest), false)
      await assert.rejects(content.open(digest), (error) => isFault(error, 'notFound'))
      assert.deepEqual(await Array.fromAsync(content.list()), [])
    })

    test('keeping and removing a blob at once: it is gone, or it is young', async (t) => {
      await using at = await make()
      if (at.isConditional === false) return t.diagnostic('the storage does not settle races')
      const other = await at.other()
      const digest = digestOf('contended')
      for (let round = 0; round < (at.tickMs === undefined ? 10 : 2); round += 1) {
        await storeBytes(at.storage.content, Buffer.from('contended'), digest)
        const committedBeforeMs = ((await other.content.stat(digest))?.committedAtMs ?? 0) + 1
        await later(at.storage, committedBeforeMs + (at.tickMs ?? 0))
        const [kept] = await Promise.all([other.content.keep(digest), at.storage.content.remove(digest, { committedBeforeMs })])
        assert.equal((await at.storage.content.stat(digest)) !== undefined, kept, `round ${round}`)
        if (kept === true) assert.equal(await textOf(other.content, digest), 'contended')
      }
    })

    test('bytes that belong to nobody are swept when they are old, what is used or a blob is not', async () => {
      await using at = await make()
      const { content } = at.storage
      const [used] = await segmentsOf(content, pieces('used'))
      await segmentsOf(content, pieces('left behind'))
      await storeBytes(content, Buffer.from('blob'), digestOf('blob'))
      const sweeper = (await at.other()).content
      const spared = new Set(used === undefined ? [] : [used.id])
      assert.equal(await sweeper.sweep({ writtenBeforeMs: 0, used: spared }), 0)
      const now = await later(at.storage, 0)
      assert.equal(await sweeper.sweep({ writtenBeforeMs: now + 60_000, used: spared }), 11)
      assert.equal(await textOf(content, digestOf('blob')), 'blob')
      await content.assemble(used === undefined ? [] : [used], { expect: digestOf('used') })
      await content.remove(digestOf('blob'), { committedBeforeMs: now + 60_000 })
      await sweeper.sweep({ writtenBeforeMs: now + 60_000, used: new Set() })
      assert.equal(await textOf(content, digestOf('used')), 'used')
    })
  })
}
