/** What every store driver promises (`store.ts`). A driver's test calls `storeSuite('sqlite', () => openSqliteStore(…))`. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFault } from '#base/fault.ts'
import type { Store, StoreEvent, StoredValue, Write } from './store.ts'

const bytes = (text: string): Buffer => Buffer.from(text)

function put(key: string, text: string, expect?: Extract<Write, { op: 'put' }>['expect']): Write {
  return { op: 'put', key, value: bytes(text), expect }
}

/** Reads a watch until `until` says that enough has come. Fails when it ends before. */
async function collect(store: Store, prefix: string, after: bigint, until: (events: readonly StoreEvent[]) => boolean): Promise<StoreEvent[]> {
  const controller = new AbortController()
  const events: StoreEvent[] = []
  if (until(events)) return events
  for await (const batch of store.watch(prefix, { after, signal: controller.signal })) {
    assert.ok(batch.length > 0, 'a batch is never empty')
    events.push(...batch)
    if (until(events)) break
  }
  controller.abort()
  assert.ok(until(events), 'the watch ended early')
  return events
}

function plainEvent(event: StoreEvent): string {
  return event.type === 'put'
    ? `${event.revision} put ${event.key}=${event.value.toString()} created ${event.createRevision} version ${event.version}`
    : `${event.revision} delete ${event.key}`
}

function plainValue(stored: StoredValue): string {
  return `${stored.key}=${stored.value.toString()} created ${stored.createRevision} modified ${stored.modRevision} version ${stored.version}`
}

/** The contract again, as simply as it can be said: every snapshot is kept. */
class Model {
  readonly snapshots: Map<string, StoredValue>[] = [new Map()]
  readonly events: StoreEvent[] = []

  get revision(): bigint {
    return BigInt(this.snapshots.length - 1)
  }

  at(revision: bigint): Map<string, StoredValue> {
    return this.snapshots[Number(revision)] ?? new Map()
  }

  /** The key whose expectation fails, or undefined after the writes were applied. */
  commit(writes: readonly Write[]): string | undefined {
    const current = this.at(this.revision)
    for (const { key, expect } of writes) {
      const modRevision = current.get(key)?.modRevision
      if (expect === 'absent' ? modRevision !== undefined : expect !== undefined && expect.modRevision !== modRevision) return key
    }
    const effective = writes.filter(({ op, key }) => op === 'put' || current.has(key))
    if (effective.length === 0) return undefined
    const revision = this.revision + 1n
    const next = new Map(current)
    for (const write of effective) {
      if (write.op === 'delete') {
        next.delete(write.key)
        this.events.push({ type: 'delete', key: write.key, revision })
        continue
      }
      const previous = current.get(write.key)
      const stored = { key: write.key, value: write.value, modRevision: revision, createRevision: previous?.createRevision ?? revision, version: (previous?.version ?? 0) + 1 }
      next.set(write.key, stored)
      this.events.push({ type: 'put', revision, key: write.key, value: write.value, createRevision: stored.createRevision, version: stored.version })
    }
    this.snapshots.push(next)
    return undefined
  }

  list(prefix: string, revision: bigint, after = ''): StoredValue[] {
    return [...this.at(revision).values()].filter(({ key }) => key.startsWith(prefix) && key > after).sort((a, b) => (a.key < b.key ? -1 : 1))
  }
}

type Step =
  | { readonly do: 'commit'; readonly writes: readonly { readonly op: 'put' | 'delete'; readonly key: string; readonly text: string; readonly guard: 'none' | 'absent' | 'right' | 'stale' }[] }
  | { readonly do: 'compact'; readonly back: number }
  | { readonly do: 'list'; readonly back: number; readonly prefix: string; readonly limit: number }
  | { readonly do: 'replay'; readonly back: number; readonly prefix: string }

const keys = ['/a', '/a/1', '/a/2', '/b/1', '/b/10', '/b/2', '/b0'] as const
const prefixes = ['/', '/a', '/a/', '/b/', '/b/1', '/c'] as const
const write = fc.record({
  op: fc.constantFrom('put' as const, 'delete' as const),
  key: fc.constantFrom(...keys),
  text: fc.string({ maxLength: 6 }),
  guard: fc.constantFrom('none' as const, 'none' as const, 'right' as const, 'absent' as const, 'stale' as const),
})
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('commit' as const), writes: fc.uniqueArray(write, { minLength: 1, maxLength: 4, selector: ({ key }) => key }) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('compact' as const), back: fc.nat(4) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('list' as const), back: fc.nat(5), prefix: fc.constantFrom(...prefixes), limit: fc.integer({ min: 1, max: 4 }) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('replay' as const), back: fc.nat(8), prefix: fc.constantFrom(...prefixes) }) },
  ),
  { maxLength: 30 },
)

function guarded(step: Extract<Step, { do: 'commit' }>, model: Model): Write[] {
  return step.writes.map(({ op, key, text, guard }) => {
    const modRevision = model.at(model.revision).get(key)?.modRevision
    const expect = guard === 'none' ? undefined : guard === 'absent' ? 'absent' : { modRevision: guard === 'right' ? (modRevision ?? 1n) : (modRevision ?? 2n) - 1n }
    return op === 'put' ? { op, key, value: bytes(text), expect } : { op, key, expect }
  })
}

async function runStep(store: Store, model: Model, step: Step): Promise<void> {
  const back = (count: number): bigint => (model.revision > BigInt(count) ? model.revision - BigInt(count) : 0n)
  switch (step.do) {
    case 'commit': {
      const writes = guarded(step, model)
      const failing = model.commit(writes)
      if (failing === undefined) assert.equal((await store.commit(writes)).revision, model.revision)
      else await assert.rejects(store.commit(writes), (error) => isFault(error, 'conflict') && error.details['key'] === failing)
      assert.equal(store.revision(), model.revision)
      return
    }
    case 'compact':
      await store.compact(back(step.back))
      assert.ok(store.compactedRevision() >= back(step.back))
      return
    case 'list': {
      const revision = back(step.back)
      if (revision < store.compactedRevision()) {
        await assert.rejects(store.list(step.prefix, { revision }), (error) => isFault(error, 'expired'))
        return
      }
      const found: StoredValue[] = []
      for (;;) {
        const page = await store.list(step.prefix, { revision, limit: step.limit, after: found.at(-1)?.key })
        assert.equal(page.revision, revision)
        found.push(...page.items)
        if (page.remaining === undefined) break
        assert.equal(page.items.length, step.limit)
        assert.equal(page.remaining, model.list(step.prefix, revision, found.at(-1)?.key).length)
      }
      assert.deepEqual(found.map(plainValue), model.list(step.prefix, revision).map(plainValue))
      return
    }
    case 'replay': {
      const after = back(step.back)
      if (after < store.compactedRevision()) {
        await assert.rejects(collect(store, step.prefix, after, (events) => events.length > 1_000), (error) => isFault(error, 'expired'))
        return
      }
      const expected = model.events.filter((event) => event.revision > after && event.key.startsWith(step.prefix))
      const events = await collect(store, step.prefix, after, (seen) => seen.length >= expected.length)
      assert.deepEqual(events.map(plainEvent), expected.map(plainEvent))
    }
  }
}

export function storeSuite(name: string, make: () => Promise<Store>): void {
  const withStore = async (body: (store: Store) => Promise<void>): Promise<void> => {
    const store = await make()
    try {
      await body(store)
    } finally {
      await store.close()
    }
  }

  test(`${name}: a new store stands at revision 0 and holds nothing`, () =>
    withStore(async (store) => {
      assert.equal(store.revision(), 0n)
      assert.equal(await store.get('/a'), undefined)
      assert.deepEqual(await store.list('/'), { items: [], revision: 0n, remaining: undefined })
    }))

  test(`${name}: all writes of a commit share one revision, and a broken expectation undoes them all`, () =>
    withStore(async (store) => {
      assert.equal((await store.commit([put('/a', '1'), put('/b', '1')])).revision, 1n)
      await assert.rejects(store.commit([put('/a', '2'), put('/b', '2', 'absent')]), (error) => isFault(error, 'conflict') && error.details['key'] === '/b' && error.details['modRevision'] === 1n)
      await assert.rejects(store.commit([put('/c', '2', { modRevision: 1n })]), (error) => isFault(error, 'conflict') && error.details['modRevision'] === undefined)
      assert.equal((await store.get('/a'))?.value.toString(), '1')
      assert.equal(store.revision(), 1n)
    }))

  test(`${name}: writes that are out of bounds are refused before anything happens`, () =>
    withStore(async (store) => {
      const refused = (error: unknown): boolean => isFault(error, 'invalidArgument')
      await assert.rejects(store.commit([put('/a', '1'), put('/a', '2')]), refused)
      await assert.rejects(store.commit([put('', '1')]), refused)
      await assert.rejects(store.commit([{ op: 'put', key: '/a', value: Buffer.alloc(1_572_865) }]), refused)
      await assert.rejects(store.commit(Array.from({ length: 1025 }, (_, index) => put(`/${index}`, ''))), refused)
      await assert.rejects(store.list('/', { revision: 1n }), refused)
      assert.equal(store.revision(), 0n)
    }))

  test(`${name}: of concurrent guarded writes to one key exactly one wins, and revisions follow the order of the calls`, () =>
    withStore(async (store) => {
      const results = await Promise.allSettled(Array.from({ length: 20 }, (_, index) => store.commit([put('/lock', String(index), 'absent')])))
      assert.deepEqual(results.map(({ status }) => status), ['fulfilled', ...Array<string>(19).fill('rejected')])
      const revisions = await Promise.all(Array.from({ length: 50 }, (_, index) => store.commit([put(`/k${index}`, '')])))
      assert.deepEqual(revisions.map(({ revision }) => revision), Array.from({ length: 50 }, (_, index) => BigInt(index + 2)))
    }))

  test(`${name}: a watch goes over from history to live events without gap or repetition`, () =>
    withStore(async (store) => {
      for (let index = 0; index < 50; index += 1) await store.commit([put('/w/key', String(index))])
      const live = (async () => {
        for (let index = 50; index < 200; index += 1) await store.commit([put('/w/key', String(index)), put('/other', '')])
      })()
      const events = await collect(store, '/w/', 10n, (seen) => seen.length >= 190)
      await live
      assert.deepEqual(events.map(({ revision }) => revision), Array.from({ length: 190 }, (_, index) => BigInt(index + 11)))
    }))

  test(`${name}: when a watcher sees an event, revision() and get() cover it`, () =>
    withStore(async (store) => {
      const controller = new AbortController()
      const writes = (async () => {
        for (let index = 0; index < 30; index += 1) await store.commit([put('/k', String(index))])
      })()
      for await (const batch of store.watch('/', { after: 0n, signal: controller.signal })) {
        const last = batch.at(-1)
        assert.ok(last !== undefined && store.revision() >= last.revision)
        assert.ok(((await store.get('/k'))?.modRevision ?? 0n) >= last.revision)
        if (last.revision === 30n) break
      }
      await writes
    }))

  test(`${name}: aborting ends a watch quietly, a watch of the future or of the compacted past is refused`, () =>
    withStore(async (store) => {
      for (let index = 0; index < 5; index += 1) await store.commit([put('/k', String(index))])
      await store.compact(3n)
      assert.equal(store.compactedRevision(), 3n)
      const never = (): boolean => false
      await assert.rejects(collect(store, '/', 2n, never), (error) => isFault(error, 'expired'))
      await assert.rejects(collect(store, '/', 9n, never), (error) => isFault(error, 'invalidArgument'))
      const controller = new AbortController()
      const iterator = store.watch('/', { after: 5n, signal: controller.signal })[Symbol.asyncIterator]()
      const pending = iterator.next()
      controller.abort()
      assert.equal((await pending).done, true)
      assert.deepEqual((await collect(store, '/', 3n, (seen) => seen.length === 2)).map(plainEvent), ['4 put /k=3 created 1 version 4', '5 put /k=4 created 1 version 5'])
    }))

  test(`${name}: a watcher that does not read is cut off, the store and other watchers go on`, () =>
    withStore(async (store) => {
      const controller = new AbortController()
      const iterator = store.watch('/', { after: 0n, signal: controller.signal, bufferedEvents: 10 })[Symbol.asyncIterator]()
      const first = iterator.next()
      for (let index = 0; index < 40; index += 1) await store.commit([put('/k', String(index))])
      await first
      await assert.rejects(
        (async () => {
          while ((await iterator.next()).done !== true);
        })(),
        (error) => isFault(error, 'resourceExhausted'),
      )
      assert.equal((await collect(store, '/', 0n, (seen) => seen.length >= 40)).length, 40)
      controller.abort()
    }))

  test(`${name}: closing ends watches and refuses further work`, async () => {
    const store = await make()
    const iterator = store.watch('/', { after: 0n, signal: new AbortController().signal })[Symbol.asyncIterator]()
    const pending = iterator.next()
    await store.commit([put('/k', '1')])
    await pending
    const ended = assert.rejects(iterator.next(), (error) => isFault(error, 'unavailable'))
    await store.close()
    await ended
    await assert.rejects(store.commit([put('/k', '2')]), (error) => isFault(error, 'unavailable'))
  })

  test(`${name} agrees with the model under any sequence of commits, compactions, lists and replays`, () =>
    fc.assert(
      fc.asyncProperty(steps, (sequence) =>
        withStore(async (store) => {
          const model = new Model()
          for (const step of sequence) await runStep(store, model, step)
        }),
      ),
      { numRuns: 60 },
    ))
}
