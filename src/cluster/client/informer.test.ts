/** What informers promise, against a scripted server in virtual time. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fault } from '#base/fault.ts'
import { defineKind } from '#schema/kind.ts'
import type { Stored } from '#schema/kind.ts'
import { virtualClock } from '#sim/clock.ts'
import type { ReadClient, WatchEvent } from '../contract/client.ts'
import { createInformer } from './informer.ts'

const Thing = defineKind({ group: 'test', version: 'v1', kind: 'Thing', plural: 'things', namespaced: true, fields: {} })
type Thing = Stored<typeof Thing>

const thing = (name: string, resourceVersion: string, uid = `uid-${name}`, labels: Record<string, string> = {}): Thing => ({
  apiVersion: 'test/v1',
  kind: 'Thing',
  metadata: { namespace: 'default', name, resourceVersion, uid, labels, creationTimestamp: '2026-01-01T00:00:00Z' },
})

type Step = { readonly list: readonly Thing[]; readonly at: string } | { readonly watch: readonly WatchEvent<Thing>[]; readonly then: 'end' | 'hang' | Fault }

/** Answers lists and watches in the order of the script, and writes down what it was asked. */
function scripted(steps: readonly Step[]): { readonly client: ReadClient; readonly asked: string[] } {
  const left = [...steps]
  const asked: string[] = []
  // The kinds of the script are all Thing; the generic signature cannot know.
  const client = {
    get: () => Promise.reject(new Fault('unimplemented', 'not in the script')),
    async list() {
      asked.push('list')
      const step = left.shift()
      if (step === undefined || !('list' in step)) throw new Fault('unavailable', 'no list now')
      return { items: step.list, resourceVersion: step.at }
    },
    async *watch(_kind: unknown, options: { readonly resourceVersion: string; readonly signal?: AbortSignal }) {
      asked.push(`watch ${options.resourceVersion}`)
      const step = left.shift()
      if (step === undefined || !('watch' in step)) throw new Fault('unavailable', 'no watch now')
      yield* step.watch
      if (step.then === 'hang') await new Promise<void>((resolve) => options.signal?.addEventListener('abort', () => resolve()))
      else if (step.then !== 'end') throw step.then
    },
  } as unknown as ReadClient
  return { client, asked }
}

async function follow(steps: readonly Step[], forMs: number) {
  const clock = virtualClock(0)
  const { client, asked } = scripted(steps)
  const informer = createInformer(Thing, { client, clock })
  informer.addIndex('label', (object) => Object.entries(object.metadata.labels ?? {}).map(([name, value]) => `${name}=${value}`))
  const told: string[] = []
  informer.onChange(({ key, previous, current }) => told.push(`${key} ${previous?.metadata.resourceVersion ?? '-'}>${current?.metadata.resourceVersion ?? '-'}`))
  const controller = new AbortController()
  const running = informer.run(controller.signal)
  await clock.advance(forMs)
  controller.abort()
  await running
  assert.equal(clock.pending, 0)
  return { informer, told, asked }
}

test('it lists, follows the watch and keeps the indexes true', async () => {
  const { informer, told, asked } = await follow(
    [
      { list: [thing('a', '1', 'u', { app: 'x' }), thing('b', '2')], at: '5' },
      { watch: [{ type: 'MODIFIED', object: thing('a', '6', 'u', { app: 'y' }) }, { type: 'DELETED', object: thing('b', '7') }, { type: 'ADDED', object: thing('c', '8', 'w', { app: 'y' }) }], then: 'hang' },
    ],
    10,
  )
  assert.deepEqual(asked, ['list', 'watch 5'])
  assert.deepEqual(told, ['default/a ->1', 'default/b ->2', 'default/a 1>6', 'default/b 7>-', 'default/c ->8'])
  assert.deepEqual(informer.byIndex('label', 'app=x'), [])
  assert.deepEqual(informer.byIndex('label', 'app=y').map(({ metadata }) => metadata.name), ['a', 'c'])
  assert.equal(informer.resourceVersion, '8')
})

test('a watch that ends is resumed from the last revision, bookmarks included, without a new list', async () => {
  const { asked } = await follow(
    [
      { list: [], at: '5' },
      { watch: [{ type: 'ADDED', object: thing('a', '6') }], then: 'end' },
      { watch: [{ type: 'BOOKMARK', resourceVersion: '9' }], then: new Fault('unavailable', 'connection lost') },
      { watch: [], then: 'hang' },
    ],
    1000,
  )
  assert.deepEqual(asked, ['list', 'watch 5', 'watch 6', 'watch 9'])
})

test('an expired revision means a new list, which also tells of deletions that were missed', async () => {
  const { informer, told, asked } = await follow(
    [
      { list: [thing('a', '1'), thing('b', '2'), thing('c', '3')], at: '5' },
      { watch: [], then: new Fault('expired', 'too old') },
      { list: [thing('b', '2'), thing('c', '12', 'another')], at: '20' },
      { watch: [], then: 'hang' },
    ],
    1000,
  )
  assert.deepEqual(asked, ['list', 'watch 5', 'list', 'watch 20'])
  assert.deepEqual(told.slice(3), ['default/a 1>-', 'default/c 3>-', 'default/c ->12'])
  assert.deepEqual(informer.list().map(({ metadata }) => metadata.name), ['b', 'c'])
})

test('a server that is down is asked ever more seldom', async () => {
  const { asked } = await follow([], 1000)
  // 50, 150, 350, 750 ms after the first.
  assert.deepEqual(asked, ['list', 'list', 'list', 'list', 'list'])
})
